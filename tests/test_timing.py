"""Honest timing (case 35), with a clock and a device of the tests' own: nothing here depends on how fast a machine is."""

import inspect
import json
import re
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.benchmark import Timer

from helpers import timing, timing_runs
from helpers.state import write_json
from helpers.timing import (
    ACCELERATOR,
    CPU,
    NUMPY,
    Comparison,
    Timing,
    TooLong,
    UnequalResults,
    bytes_on,
    clocked,
    compare,
    cores_busy,
    crossover,
    in_units,
    measure,
    no_accelerator,
    sweep,
)
from helpers.timing_runs import FILE, forget_runs, keep_run, kept_runs, merge_runs, side_by_side


class World:
    """A clock that moves only when something is done, a device that works behind one's back, and a record of it all."""

    def __init__(self, durations=(), first=0.0):
        self.now, self.busy_until, self.events = 50.0, 50.0, []
        self.durations, self.first, self.calls = list(durations), first, 0

    def clock(self):
        self.events.append("clock")
        return self.now

    def wait(self, device=None):
        self.events.append("wait")
        self.now = max(self.now, self.busy_until)

    def run(self):
        """Order one piece of work: the first takes `first`, the others the durations in turn, again and again."""
        self.events.append("run")
        seconds = self.first if self.calls == 0 else self.durations[(self.calls - 1) % len(self.durations)]
        self.calls += 1
        self.busy_until = max(self.now, self.busy_until) + seconds


@pytest.fixture
def world(monkeypatch):
    """A function that makes a World and puts its clock in place of the real one."""

    def make(*durations, first=0.0):
        made = World(durations, first)
        monkeypatch.setattr(timing, "clock", made.clock)
        return made

    return make


def two(n=6, m=5):
    """A matrix of (n, m) and one of (m, n), float32."""
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in ((n, m), (m, n))]


def product(a, b):
    return a @ b


# --- one time: case 35, warm-up, waiting, the median ---


def test_the_device_is_waited_for_before_the_clock_starts_and_before_it_stops(world):
    w = world(0.5)
    clocked(w.run, 3, w.wait)
    assert w.events == ["wait", "clock", "run", "run", "run", "wait", "clock"]


def test_the_time_is_that_of_the_work_and_not_that_of_the_order(world):
    w = world(0.5, first=0.5)
    assert clocked(w.run, 4, w.wait) == pytest.approx(0.5)
    assert clocked(w.run, 4, lambda: None) == 0.0  # without waiting one would measure nothing


def test_work_that_was_begun_before_is_not_counted(world):
    w = world(0.5, first=9.0)
    w.run()  # 9 s, still going on
    assert clocked(w.run, 1, w.wait) == pytest.approx(0.5)


def test_the_first_call_is_a_warm_up_and_not_counted(world):
    w = world(0.25, first=30.0)
    found = measure(w.run, w.wait)
    assert (found.median, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    assert (
        found.repeats == 7 and w.calls == 1 + 2 + 7
    )  # warm-up, two looks at how long it takes, seven measurements


def test_it_rests_before_the_first_call_until_the_threads_of_another_library_sleep(world, monkeypatch):
    w = world(0.25)
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: w.events.append(f"sleep {seconds}"))
    measure(w.run, w.wait)
    assert w.events[0] == "sleep 0.1" and "sleep" not in "".join(w.events[1:])
    measure(w.run, w.wait, rest=0)
    assert "sleep 0" in w.events


def test_a_measurement_keeps_the_median_and_the_spread_and_not_the_mean(world):
    w = world(
        0.2, 0.2, 0.3, 5.0, 0.25, 0.2, 0.28
    )  # the first two are spent on the looks at how long it takes
    found = measure(w.run, w.wait, repeats=5)
    assert found.median == pytest.approx(0.28)
    assert (found.low, found.high) == pytest.approx((0.2, 5.0))


def test_a_quick_call_is_made_many_times_between_two_looks_at_the_clock(world):
    w = world(1e-5)
    found = measure(w.run, w.wait, repeats=5, shortest=0.002)
    assert found.median == pytest.approx(1e-5)
    longest = max(len(runs) for runs in re.findall("r+", "".join(event[0] for event in w.events)))
    assert 0.002 <= longest * 1e-5 < 0.004


def test_one_interrupted_look_does_not_make_a_measurement_of_a_single_call(world):
    w = world(0.5, *[1e-5] * 10_000)  # the first look at a quick call is interrupted for half a second
    assert measure(w.run, w.wait, repeats=5, shortest=0.002).high == pytest.approx(1e-5)
    assert w.calls > 5 * 0.002 / 1e-5


def test_a_clock_that_stands_still_does_not_make_it_endless(world):
    w = world(0.0)
    assert measure(w.run, w.wait, repeats=5).median == 0.0


def test_fewer_than_five_repeats_are_refused(world):
    w = world(0.1)
    with pytest.raises(ValueError, match="repeats=4"):
        measure(w.run, w.wait, repeats=4)
    assert w.calls == 0


def test_a_run_that_takes_too_long_ends_the_measurement_with_its_seconds(world):
    w = world(0.4)
    with pytest.raises(TooLong) as found:
        measure(w.run, w.wait, too_long=0.3)
    assert found.value.seconds == pytest.approx(0.4) and w.calls == 3
    assert measure(w.run, w.wait, too_long=0.5).median == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 µs"), (3.2e-6, "3.2 µs"), (9.996e-4, "1 ms"), (0.0457, "45.7 ms"), (0.9997, "1 s"), (12.3, "12.3 s")],
)  # fmt: skip
def test_seconds_are_told_in_a_unit_that_fits(seconds, words):
    assert in_units(seconds) == words


def test_pytorchs_own_timer_sets_one_thread_unless_it_is_told_otherwise():
    """Said in the notebook and in the module's docstring."""
    assert inspect.signature(Timer).parameters["num_threads"].default == 1


# --- the same operation in three places ---


@pytest.fixture
def quick(monkeypatch):
    """Measurements that take no time: 1 s each. Gives the list of what was measured: (result of the run, wait)."""
    measured = []

    def instead(run, wait, repeats=7, shortest=0.002, too_long=float("inf")):
        measured.append((run(), wait))
        return Timing(1.0, 0.5, 2.0, repeats)

    monkeypatch.setattr(timing, "measure", instead)
    return measured


@pytest.fixture
def gpu(monkeypatch):
    """A stand-in for CUDA: tensors "move" without moving. Gives the record of moves and waits."""
    record = []
    monkeypatch.setattr(timing, "_moved", lambda tensor, device: record.append(f"move to {device}") or tensor)
    monkeypatch.setattr(timing, "synchronize", lambda device: record.append(f"wait for {device}"))
    return record


def test_the_operation_is_measured_on_arrays_and_on_tensors_of_the_same_numbers(quick):
    a, b = two()
    found = compare(product, [a, b], name="product", device="cpu")
    (on_numpy, _), (on_torch, _) = quick
    assert isinstance(on_numpy, np.ndarray) and isinstance(on_torch, torch.Tensor)
    assert on_numpy.dtype == np.float32 and on_torch.dtype == torch.float32
    np.testing.assert_allclose(on_torch.numpy(), on_numpy, rtol=1e-5, atol=1e-6)
    assert list(found.timings) == [NUMPY, CPU] and found.transfer == {} and found.shapes == ((6, 5), (5, 6))


def test_without_an_accelerator_its_column_is_empty_with_the_reason(quick):
    found = compare(product, two(), name="product", device="cpu")
    assert found.empty == {ACCELERATOR: no_accelerator("cpu")}
    assert ACCELERATOR not in found.timings
    assert re.search(rf"{ACCELERATOR} +empty +this PyTorch|an accelerator is here", str(found))


def test_on_an_accelerator_each_look_at_the_clock_comes_after_a_wait(monkeypatch, gpu):
    """Case 35. A third column with the real `measure`; before each of its looks nothing may be at work."""
    segments, real = [], timing.measure
    monkeypatch.setattr(timing, "clock", lambda: gpu.append("clock") or float(len(gpu)))

    def marked(*args, **kwargs):
        begin = len(gpu)
        result = real(*args, **kwargs)
        segments.append(gpu[begin:])
        return result

    monkeypatch.setattr(timing, "measure", marked)
    found = compare(product, two(), name="product", device="cuda")
    assert list(found.timings) == [NUMPY, CPU, "cuda"] and list(found.transfer) == ["there", "back"]
    on_numpy, on_cpu, on_gpu, there, back = segments
    for segment in (on_gpu, there, back):
        looks = [place for place, event in enumerate(segment) if event == "clock"]
        assert (
            len(looks) == segment.count("wait for cuda") >= 2 * (1 + 1 + 7)
        )  # warm-up, a look, seven repeats
        assert all(segment[place - 1] == "wait for cuda" for place in looks)
    assert set(on_numpy) == set(on_cpu) == {"clock"}  # nothing to wait for


def test_the_way_to_the_device_and_back_is_measured_apart(quick, gpu):
    found = compare(product, two(), name="product", device="cuda")
    assert gpu[:2] == ["move to cuda"] * 2  # both inputs, before anything is timed
    on_gpu, there, back = (result for result, _ in quick[2:])
    assert on_gpu.shape == (6, 6) and [each.shape for each in there] == [(6, 5), (5, 6)]
    assert torch.equal(back, on_gpu)
    assert gpu.count("move to cpu") == 1 and found.transfer.keys() == {"there", "back"}
    assert "way there" in str(found) and "way back" in str(found)
    for _, wait in quick[2:]:
        before = gpu.count("wait for cuda")
        wait()
        assert gpu.count("wait for cuda") == before + 1


def test_unequal_results_are_refused_with_the_largest_difference(quick):
    def shifted(a, b):
        result = a @ b
        return result + torch.eye(6) * 0.25 if isinstance(result, torch.Tensor) else result

    with pytest.raises(UnequalResults, match=r"NumPy and torch, CPU differ by up to 0\.25,"):
        compare(shifted, two(), name="product", device="cpu")
    assert quick == []  # nothing was timed


def test_the_allowed_difference_is_a_share_of_the_largest_entry(quick):
    arrays = two()
    large = compare(
        lambda a, b: 1e6 * (a @ b),
        arrays,
        name="large",
        on_numpy=lambda a, b: 1e6 * (a @ b) + 1,
        device="cpu",
    )
    assert 0 < large.difference < 1e-4  # 1 among millions
    with pytest.raises(UnequalResults, match="NumPy and torch, CPU differ"):
        compare(
            lambda a, b: 1e-6 * (a @ b),
            arrays,
            name="small",
            on_numpy=lambda a, b: 1.01e-6 * (a @ b),
            device="cpu",
        )


def test_results_with_nan_are_not_equal():
    with pytest.raises(UnequalResults, match="nan"):
        compare(lambda a: a / 0 * 0 if isinstance(a, torch.Tensor) else a, two()[:1], name="x", device="cpu")


def test_np_dot_is_not_matmul_and_refused_with_both_shapes():
    """Case 35: of the lecture's two sides, one was another operation."""
    rng = np.random.default_rng(1)
    stacks = [rng.standard_normal(shape, dtype=np.float32) for shape in ((2, 3, 4), (2, 4, 5))]
    with pytest.raises(UnequalResults, match=r"\(2, 3, 2, 5\).*\(2, 3, 5\)"):
        compare(torch.matmul, stacks, on_numpy=np.dot, name="product", device="cpu")
    assert (
        compare(torch.matmul, stacks, on_numpy=np.matmul, name="p", device="cpu", repeats=5).difference < 1e-5
    )


def test_another_number_type_of_the_result_is_another_operation():
    with pytest.raises(UnequalResults, match="float32.*bfloat16|bfloat16.*float32|float16"):
        compare(lambda a: a.half() if isinstance(a, torch.Tensor) else a, two()[:1], name="x", device="cpu")


def test_tensors_in_the_place_of_arrays_are_refused():
    """Case 35: the lecture's "NumPy" arrays were tensors."""
    with pytest.raises(TypeError, match=r"input 1 is a torch\.Tensor"):
        compare(product, [two()[0], torch.ones(5, 6)], name="product", device="cpu")


def test_other_number_types_than_float32_are_refused():
    with pytest.raises(ValueError, match="input 0 is float64.*float32"):
        compare(product, [np.ones((6, 5)), two()[1]], name="product", device="cpu")


def test_an_operation_that_a_device_lacks_leaves_its_column_empty_with_the_reason(quick, monkeypatch):
    def refuses(tensor, device):
        if device == torch.device("mps"):
            raise NotImplementedError("The operator 'aten::x' is not implemented for MPS.\nA second line")
        return tensor

    monkeypatch.setattr(timing, "_moved", refuses)
    found = compare(product, two(), name="product", device="mps")
    assert list(found.timings) == [NUMPY, CPU] and found.transfer == {}
    assert found.empty == {"mps": "NotImplementedError: The operator 'aten::x' is not implemented for MPS."}


def test_an_operation_that_numpy_lacks_leaves_numpys_column_empty(quick):
    found = compare(lambda a: a.relu(), two()[:1], name="relu", device="cpu")
    assert list(found.timings) == [CPU] and "relu" in found.empty[NUMPY]


def test_an_operation_that_works_nowhere_is_an_error():
    with pytest.raises(ValueError, match="nothing works nowhere.*AttributeError"):
        compare(lambda a: a.nothing_of_the_kind(), two()[:1], name="nothing", device="cpu")


def test_the_inputs_stay_as_they_are(quick):
    arrays = two()
    arrays[0].flags.writeable = False  # such arrays make torch.from_numpy warn
    before = [array.copy() for array in arrays]
    compare(product, arrays, name="product", device="cpu")
    assert all(np.array_equal(one, other) for one, other in zip(arrays, before, strict=True))


def test_without_a_device_the_one_that_works_is_taken(quick, gpu, monkeypatch):
    monkeypatch.setattr(timing, "pick_device", lambda: torch.device("mps"))
    assert list(compare(product, two(), name="product").timings) == [NUMPY, CPU, "mps"]


# --- over sizes ---


def make(n):
    return [np.ones((n, n), dtype=np.float32)] * 2


def test_a_sweep_ends_at_the_first_size_that_takes_too_long(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timing, "clock", lambda: now[0])

    def slow(a, b):
        now[0] += len(a) / 100  # 0.08 s, 0.16 s, 0.32 s
        return a + b

    found = sweep(slow, make, [8, 16, 32, 64], name="sum", device="cpu")
    assert [each.size for each in found] == [8, 16] and found[1].timings[CPU].median == pytest.approx(0.16)
    assert "sum: ends before size 32, where one run takes 320 ms" in capsys.readouterr().out


def test_a_size_that_takes_too_long_is_run_once_and_not_measured(capsys, monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(timing, "clock", lambda: now[0])

    def slow(a, b):
        calls.append(len(a))
        now[0] += len(a) / 100
        return a + b

    assert sweep(slow, make, [64], name="sum", device="cpu") == [] and calls == [64]


def test_the_first_call_of_a_gpu_does_not_end_a_sweep(gpu, quick, monkeypatch):
    """It loads programs; how long a run takes is known after the warm-up."""
    now, calls = [0.0], []
    monkeypatch.setattr(timing, "clock", lambda: now[0])

    def slow_at_first(a, b):
        calls.append(type(a))
        now[0] += 5.0 if len(calls) == 3 else 0.01  # NumPy, torch, then the GPU
        return a + b

    assert len(sweep(slow_at_first, make, [8], name="sum", device="cuda")) == 1


def test_the_crossover_lies_between_two_sizes_on_logarithmic_axes():
    sizes = [10, 100, 1000]
    assert crossover(sizes, [1, 10, 100], [10, 10, 10.1]) == pytest.approx(100)
    assert crossover(sizes, [1, 10, 100], [5, 5, 5]) == pytest.approx(50)
    assert crossover([16, 64], [1, 4], [2, 2]) == pytest.approx(32)  # both change by the same factor


def test_a_single_lucky_size_is_no_crossover():
    sizes = [1, 2, 4, 8, 16]
    found = crossover(
        sizes, [9, 1, 1, 4, 8], [5, 2, 2, 2, 2]
    )  # ahead at 1, then behind, then ahead from 8 on
    assert found is not None and 4 < found < 8


def test_there_may_be_no_crossover_or_the_first_size():
    assert crossover([1, 2, 4], [1, 1, 1], [2, 2, 2]) is None
    assert crossover([1, 2, 4], [1, 1, 1], [1, 1, 1]) is None
    assert crossover([3, 6], [5, 5], [2, 2]) == 3.0
    assert crossover([], [], []) is None


# --- what the machine says of itself ---


@pytest.mark.parametrize(
    ("cuda", "mps", "version", "built", "driver", "words"),
    [
        (False, False, None, False, None, "built for the CPU only, and this machine shows no NVIDIA driver"),
        (
            False,
            False,
            None,
            False,
            "/bin/nvidia-smi",
            "although an NVIDIA driver is here: https://pytorch.org",
        ),
        (False, False, "12.8", False, None, "built for CUDA 12.8, but finds no GPU"),
        (False, False, None, True, None, "built for MPS, but macOS offers none"),
        (True, False, "12.8", False, None, "an accelerator is here, but cpu was chosen"),
        (False, True, None, True, None, "an accelerator is here, but cpu was chosen"),
    ],
)
def test_the_reason_for_an_empty_column_is_the_one_of_this_machine(
    monkeypatch, cuda, mps, version, built, driver, words
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: built)
    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    monkeypatch.setattr(timing.shutil, "which", lambda name: driver)
    assert words in no_accelerator("cpu")


def test_memory_is_counted_where_pytorch_counts_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 4096)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 8192)
    assert (bytes_on("cuda"), bytes_on("mps"), bytes_on("cpu")) == (4096, 8192, None)


def test_busy_cores_are_processor_time_by_time(monkeypatch):
    now = [10.0]

    def run():
        now[0] += 0.07

    monkeypatch.setattr(timing, "clock", lambda: now[0])
    monkeypatch.setattr(timing.time, "process_time", lambda: 3 * now[0])
    assert cores_busy(run, shortest=0.2) == pytest.approx(3.0)


# --- the table that remembers ---


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the learner's files are kept in a test; the clock of its runs is set by hand."""
    monkeypatch.setenv("COURSE_STATE", str(tmp_path))
    dates = iter(f"2031-05-{day:02d} 10:00:00" for day in range(1, 29))
    monkeypatch.setattr(
        timing_runs.time, "strftime", lambda form, *rest: next(dates) if ":" in form else "2031"
    )
    return tmp_path


def one(seconds=0.002, name="product", size=64, transfer=False):
    """A comparison whose NumPy column is empty."""
    times = Timing(seconds, seconds / 2, seconds * 2, 7)
    ways = {"there": Timing(0.5, 0.5, 0.5, 7), "back": Timing(0.7, 0.7, 0.7, 7)} if transfer else {}
    return Comparison(name, size, ((64, 64),), {CPU: times}, {NUMPY: "not there"}, ways)


def test_each_run_adds_to_the_file_with_date_machine_threads_and_versions(folder):
    keep_run([one(0.002)], "cpu", note="with the charger")
    keep_run([one(0.004), one(0.1, size=None)], "cpu")
    stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
    first, second = kept_runs()
    assert stored == [first, second] and first["id"] != second["id"]
    assert first["date"] == "2031-05-01 10:00:00" and first["note"] == "with the charger"
    assert first["machine"] and first["device"].startswith("cpu")
    assert first["threads"] == torch.get_num_threads()
    assert torch.__version__ in first["versions"] and np.__version__ in first["versions"]
    assert [row["median"] for row in second["rows"]] == [0.004, 0.1]


def test_the_date_is_one_that_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path))
    date = datetime.strptime(keep_run([one()], "cpu")["date"], "%Y-%m-%d %H:%M:%S")
    assert abs((datetime.now() - date).total_seconds()) < 3600


def test_an_empty_column_adds_no_row_and_its_reason_is_kept(folder):
    run = keep_run([one(transfer=True)], "cpu")
    assert [row["column"] for row in run["rows"]] == [CPU, "way there", "way back"]
    assert run["empty"] == {NUMPY: "not there"}


def test_nothing_to_keep_is_an_error_and_writes_nothing(folder):
    with pytest.raises(ValueError, match="no timings to keep"):
        keep_run([], "cpu")
    assert list(folder.iterdir()) == []


def test_the_newest_runs_stand_side_by_side(folder):
    for seconds in (0.001, 0.002, 0.003, 0.004):
        keep_run([one(seconds), one(seconds * 10, size=256)], "cpu", note=f"note of {seconds}")
    keep_run([one(7.0)], "cpu")
    table = side_by_side(kept_runs(), newest=3)
    head, *rows = [line.split() for line in table.splitlines()]
    assert head[-6:] == ["run", "3", "run", "4", "run", "5"]
    assert " ".join(rows[0]) == "product, 64 torch, CPU 3 ms 4 ms 7 s"
    assert " ".join(rows[1]) == "product, 256 torch, CPU 30 ms 40 ms –"  # not measured in the last run
    assert "note of 0.003" in table and "note of 0.001" not in table
    assert "2031-05-05" in table and f"threads: {torch.get_num_threads()}" in table
    assert "Empty in run 3, run 4, run 5: NumPy (not there)" in table


def test_sizes_are_in_the_order_of_numbers(folder):
    keep_run([one(size=1024), one(size=64), one(size=256), one(size=None)], "cpu")
    found = re.findall(r"product(?:, (\d+))?", side_by_side(kept_runs()))
    assert found == ["64", "256", "1024", ""]


def test_an_empty_table_says_so(folder):
    assert side_by_side(kept_runs()) == "No timings are kept yet."


def test_another_machines_file_is_merged_once(folder, tmp_path):
    keep_run([one(0.001)], "cpu", note="there")
    keep_run([one(0.002)], "cpu", note="there too")
    theirs = tmp_path / "theirs.json"
    (folder / FILE).rename(theirs)
    keep_run([one(0.003)], "cpu", note="here")
    before = theirs.read_bytes()
    assert merge_runs(theirs) == 2 and merge_runs(str(theirs)) == 0
    assert [run["note"] for run in kept_runs()] == ["there", "there too", "here"]  # by date
    assert theirs.read_bytes() == before


def test_a_file_that_holds_no_timings_is_not_merged_and_stays_where_it_is(folder, tmp_path):
    keep_run([one()], "cpu")
    for text in ("{", '{"runs": []}', '[{"date": 3}]', "[null]"):
        other = tmp_path / "other.json"
        other.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"other\.json"):
            merge_runs(other)
        assert other.read_text(encoding="utf-8") == text
    with pytest.raises(FileNotFoundError):
        merge_runs(tmp_path / "none.json")
    assert len(kept_runs()) == 1


def test_runs_can_be_forgotten_all_or_all_but_the_newest(folder):
    for note in "abcd":
        keep_run([one()], "cpu", note=note)
    assert forget_runs(keep=2) == 2 and [run["note"] for run in kept_runs()] == ["c", "d"]
    assert forget_runs(keep=5) == 0 and len(kept_runs()) == 2
    with pytest.raises(ValueError, match="keep=-1"):
        forget_runs(keep=-1)
    assert forget_runs() == 2 and kept_runs() == []


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(folder, capsys):
    (folder / FILE).write_text('[{"id": "a", ', encoding="utf-8")
    keep_run([one()], "cpu")
    assert len(kept_runs()) == 1
    (aside,) = folder.glob("timings.damaged-*.json")
    assert aside.read_text(encoding="utf-8") == '[{"id": "a", '
    assert "your timings" in capsys.readouterr().out


BROKEN = (
    {"rows": []},
    {"rows": [{"name": "x", "size": 1, "column": "y", "median": None, "low": 1, "high": 1}]},
    {"rows": [{"name": "x", "size": "1", "column": "y", "median": 1, "low": 1, "high": 1}]},
    {"threads": "two"},
    {"empty": {"cuda": 3}},
    {"date": None},
)


@pytest.mark.parametrize("change", BROKEN)
def test_a_broken_run_is_set_aside_with_the_file_and_the_whole_ones_stay(folder, capsys, change):
    good, other = keep_run([one(0.001)], "cpu", note="good"), keep_run([one(0.002)], "cpu")
    write_json(folder / FILE, [good, other | change])
    assert kept_runs() == [good]
    assert "1 of its 2 runs cannot be read" in capsys.readouterr().out
    assert len(list(folder.glob("timings.damaged-*.json"))) == 1
    assert side_by_side(kept_runs()) and kept_runs() == [good] and capsys.readouterr().out == ""


def test_a_machine_without_words_for_itself_still_has_a_name(monkeypatch):
    def gone(*args, **kwargs):
        raise FileNotFoundError

    monkeypatch.setattr(timing_runs.Path, "read_text", gone)
    monkeypatch.setattr(timing_runs, "platform", SimpleNamespace(processor=lambda: "", machine=lambda: ""))
    assert timing_runs.processor() == "a machine without a name"
    monkeypatch.setattr(
        timing_runs, "platform", SimpleNamespace(processor=lambda: "arm", machine=lambda: "x")
    )
    assert timing_runs.processor() == "arm"


def test_an_unknown_layout_of_numpys_configuration_is_no_error(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert timing_runs.numpy_library() == "unknown"
