"""Case 50: a training that was stopped, at whatever moment, goes on as if it had not been."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from walls import ROOT

from helpers import checkpoints, train
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.tales import write_tales
from helpers.tokenizer import CharTokenizer
from helpers.training import estimate_loss
from helpers.training import train as run_training
from helpers.training_files import STALE, clean_up
from helpers.training_log import read_log
from helpers.training_state import random_state, set_random_state

TINY = ["--n-embd", "16", "--n-head", "2", "--n-layer", "1", "--block-size", "8", "--batch-size", "4"]
TINY += ["--dropout", "0.1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Two threads that wait for each other are slower than one where the models are so small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**changes) -> GPTLanguageModel:
    torch.manual_seed(0)
    shape = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 16, "dropout": 0.1}
    return GPTLanguageModel(GPTConfig(**shape | changes))


def ids(n: int = 400) -> torch.Tensor:
    return torch.randint(11, (n,), generator=torch.Generator().manual_seed(1))


def steps(model, n, **options):
    settings = {"steps": n, "batch_size": 4, "eval_interval": 5, "eval_batches": 2, "progress": False}
    return run_training(model, ids(), ids(), **settings | options)


def weights(path: Path) -> dict:
    return checkpoints.load(path).model.state_dict()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def losses(history: list[dict]) -> list[tuple]:
    """Without the seconds, which no two runs have in common."""
    return [tuple(v for k, v in entry.items() if k != "seconds") for entry in history]


# --- killed at any moment ---


def killed_runs(tmp_path, kills: int, *options: str) -> list[dict]:
    """Kill runs of the training command and resume them; all must equal the one that was let alone."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork: each run is a child of one Python that has imported torch")
    seed = int(os.environ.get("COURSE_SEED") or random.randrange(10**6))
    print(f"COURSE_SEED={seed} repeats these moments")
    command = [sys.executable, str(ROOT / "tests" / "kill_runs.py"), str(tmp_path), str(seed), str(kills)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, encoding="utf-8", env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    alone = tmp_path / "alone"
    expected, log = checkpoints.load(alone / "m.pt"), losses(read_log(alone / "log.csv"))
    assert log[0][0] == 0 and log[-1][0] == 40 and len(log) == 11
    assert 0 < expected.info["best_step"] < 40  # so that the best weights of a run before its kill are needed
    for run in told["runs"]:
        folder = tmp_path / run["folder"]
        assert run["code"] == 0, (folder / "output.txt").read_text(encoding="utf-8")
        assert losses(read_log(folder / "log.csv")) == log, run
        kept = checkpoints.load(folder / "m.pt")
        assert same(kept.model.state_dict(), expected.model.state_dict()), run
        assert kept.info["best_step"] == expected.info["best_step"]
        assert kept.info["validation_loss"] == expected.info["validation_loss"]
        last, other = (checkpoints.load(place / "m.last.pt") for place in (folder, alone))
        assert same(last.model.state_dict(), other.model.state_dict()), run
        assert torch.equal(last.training["rng"], other.training["rng"])
        assert torch.equal(last.training["generator"], other.training["generator"])
    return told["runs"]


@pytest.mark.slow
def test_twenty_trainings_that_were_killed_end_as_the_one_that_was_not(tmp_path):
    runs = killed_runs(tmp_path, 20)
    assert len(runs) == 20
    in_writing = [run for run in runs if run["in_writing"]]
    hits = [run for run in in_writing if run["left"]]  # the half-written file is still there
    print(
        f"{len(hits)} of {len(in_writing)} kills that aimed at the writing hit it; kept: {[r['kept'] for r in runs]}"
    )
    assert len(in_writing) == 6 and len(hits) >= 3
    assert len({run["kept"] for run in runs}) >= 4  # drawn over the whole run


@pytest.mark.slow
def test_so_do_those_with_muon_short_windows_document_starts_accumulation_and_bfloat16(tmp_path):
    runs = killed_runs(
        tmp_path, 5, "--optimizer", "muon", "--short-first", "0.5", "--from-starts", "0.5", "--accumulation", "2",
        "--dtype", "bfloat16", "--save-interval", "3",
    )  # fmt: skip
    assert len(runs) == 5


# --- what a state holds, and when it is kept ---


def test_the_state_is_kept_before_the_evaluation_and_a_resume_makes_up_for_it():
    """A kill while the loss is estimated costs no step; and what a listener draws at random changes nothing."""
    whole, kept = small(), {}

    def listen(result):
        torch.rand(7)

    def keep(result):
        kept[result.state["step"]] = (result.state, {k: v.clone() for k, v in whole.state_dict().items()})

    expected = steps(whole, 20, on_save=keep, on_evaluation=listen)
    assert sorted(kept) == [0, 5, 10, 15, 20]
    for step, (state, weights_then) in kept.items():
        assert [entry["step"] for entry in state["history"]] == list(range(0, step, 5))
        again = small()
        again.load_state_dict(weights_then)
        torch.manual_seed(999)
        result = steps(again, 20, resume=state, on_evaluation=listen)
        assert losses(result.history) == losses(expected.history)
        assert same(again.state_dict(), whole.state_dict()) and same(result.best_state, expected.best_state)
        assert (result.best_step, result.tokens) == (expected.best_step, expected.tokens)


def test_estimating_the_loss_draws_no_number_that_dropout_would_have_drawn():
    model, before = small().train(), torch.get_rng_state()
    estimate_loss(model, {"validation": ids()}, batches=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_the_compiler_draws_at_random_does_not_change_a_resumed_run(monkeypatch):
    """It tries the model once, in training mode, so dropout draws numbers: before the state is put back, not after."""
    monkeypatch.setattr(torch, "compile", lambda model: model)
    whole, kept = small(dropout=0.3), {}

    def keep(result):
        kept[result.state["step"]] = (result.state, {k: v.clone() for k, v in whole.state_dict().items()})

    steps(whole, 10, on_save=keep, compile=True)
    plain, again = small(dropout=0.3), small(dropout=0.3)
    again.load_state_dict(kept[5][1])
    steps(again, 10, resume=kept[5][0], compile=True)
    steps(plain, 10)
    assert same(again.state_dict(), whole.state_dict()) and same(plain.state_dict(), whole.state_dict())


def test_the_random_numbers_of_apples_gpu_are_kept_too(monkeypatch):
    there = [torch.tensor([5, 5, 5], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: there[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", there.append)
    mps = torch.device("mps")
    state = random_state(mps)
    there.append(torch.zeros(3, dtype=torch.uint8))
    set_random_state(state, mps)
    assert there[-1].tolist() == [5, 5, 5]
    set_random_state(
        {"rng": torch.get_rng_state(), "device_rng": torch.zeros(16)}, mps
    )  # CUDA's: another length
    set_random_state(random_state(torch.device("cpu")), mps)
    assert there[-1].tolist() == [5, 5, 5]


# --- Ctrl-C ---


def press_at(monkeypatch, model, call: int, times: int = 1) -> None:
    """Ctrl-C in the forward pass number `call` of the training, so many times."""
    seen = []

    def press(module, _):
        seen.append(module.training)
        if module.training and sum(seen) == call:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    model.register_forward_pre_hook(press)


@pytest.mark.parametrize("call", [1, 3, 7, 10, 12])
def test_a_run_that_was_stopped_by_hand_and_resumed_has_the_history_of_one_that_was_not(monkeypatch, call):
    expected, model = steps(small(), 20), small()
    press_at(monkeypatch, model, call)
    stopped = steps(model, 20)
    assert f"after step {call} of 20" in stopped.stopped and stopped.state["step"] == call
    assert stopped.history[-1]["step"] == call  # the stop itself is evaluated, for the best weights
    again = small()
    again.load_state_dict(model.state_dict())
    result = steps(again, 20, resume=stopped.state)
    assert losses(result.history) == losses(expected.history) and result.best_step == expected.best_step


def test_a_second_ctrl_c_leaves_weights_and_state_that_belong_together(monkeypatch):
    expected, model = steps(small(), 20), small()
    press_at(monkeypatch, model, 8, times=2)  # in the middle of a step: its weights have no state
    stopped = steps(model, 20)
    assert "in step 8 of 20, and the model is that of step 5 again" in stopped.stopped
    again = small()
    again.load_state_dict(model.state_dict())
    assert losses(steps(again, 20, resume=stopped.state).history) == losses(expected.history)


def test_weights_that_are_no_numbers_are_not_taken_for_good_ones():
    """The step before an evaluation spoils them: the evaluation before that is the one to go back to."""
    model = small(dropout=0.0)

    def spoil(result):
        if result.state["step"] == 5:
            with torch.no_grad():
                model.ln_f.weight.fill_(float("nan"))

    result = steps(model, 20, on_save=spoil)
    assert "not finite" in result.stopped and result.state["step"] == 0
    assert all(torch.isfinite(p).all() for p in model.parameters())


# --- the command ---


def run_to_the_end(tmp_path, *options: str) -> tuple[Path, int]:
    out, text = tmp_path / "m.pt", tmp_path / "text.txt"
    text.write_text(write_tales(3000), encoding="utf-8", newline="\n")
    command = [*TINY, "--text", str(text), "--steps", "12", "--eval-interval", "4", "--out", str(out)]
    return out, train.main([*command, *options])


def test_resume_where_nothing_is_kept_yet_begins_at_the_beginning(tmp_path, capsys):
    """So a job can always be started with the same command."""
    out, code = run_to_the_end(tmp_path, "--resume")
    assert code == 0 and "this run begins at the beginning" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    other, _ = run_to_the_end(tmp_path / "other")
    assert same(weights(out), weights(other))


def test_a_finished_run_says_so_and_is_left_as_it_is(tmp_path, capsys):
    out, _ = run_to_the_end(tmp_path, "--json")
    first = capsys.readouterr().out.splitlines()[-1]
    before = out.read_bytes()
    out, code = run_to_the_end(tmp_path, "--resume", "--json")
    said = capsys.readouterr().out
    assert (
        code == 0 and "This run is finished: it has had all its 12 steps" in said and "step " not in said[:5]
    )
    assert out.read_bytes() == before and said.splitlines()[-1] == first


def test_a_run_that_was_killed_before_its_model_was_written_writes_it(tmp_path):
    out, _ = run_to_the_end(tmp_path)
    expected = weights(out)
    for stale in (None, small):  # no model, and one of another run
        out.unlink()
        if stale:
            checkpoints.save(out, small(vocab_size=3), CharTokenizer("abc"), history=[])
        _, code = run_to_the_end(tmp_path, "--resume")
        assert code == 0 and same(weights(out), expected)


def test_more_steps_on_a_resume_are_allowed_and_said_to_be_another_run(tmp_path, capsys):
    run_to_the_end(tmp_path)
    assert "begun with" not in capsys.readouterr().out
    _, code = run_to_the_end(tmp_path, "--resume", "--steps", "16")
    assert code == 0 and "begun with --steps 12 and goes on with --steps 16" in capsys.readouterr().out
    _, code = run_to_the_end(tmp_path, "--resume", "--steps", "8")
    assert code == 1 and "has had 16 steps already" in capsys.readouterr().err


def test_the_conditions_that_change_the_last_digits_are_named(tmp_path, capsys, monkeypatch):
    run_to_the_end(tmp_path, "--steps", "4")
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 5)
    run_to_the_end(tmp_path, "--resume")
    said = capsys.readouterr().out
    assert f"threads {threads} then, {threads + 5} now" in said and "not equal to the last digit" in said


@pytest.mark.parametrize("change", [["--seed", "2"], ["--dtype", "bfloat16"], ["--accumulation", "2"]])
def test_another_run_is_not_resumed(tmp_path, capsys, change):
    run_to_the_end(tmp_path)
    _, code = run_to_the_end(tmp_path, "--resume", "--steps", "16", *change)
    name = change[0][2:]
    assert code == 1 and f"{name}: kept " in capsys.readouterr().err


def test_another_text_with_the_same_letters_is_not_taken_for_the_text_of_a_run(tmp_path, capsys):
    path, moved, out = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "m.pt"
    path.write_text("abcabc" * 40, encoding="utf-8")
    options = [*TINY, "--out", str(out), "--text"]
    assert train.main([*options, str(path), "--steps", "2"]) == 0
    path.rename(moved)  # the same text in another place
    assert train.main([*options, str(moved), "--steps", "4", "--resume"]) == 0
    moved.write_text("abccba" * 40, encoding="utf-8")
    assert train.main([*options, str(moved), "--steps", "6", "--resume"]) == 1
    assert "was trained on another text" in capsys.readouterr().err


def stop_at(monkeypatch, step: int) -> None:
    """Ctrl-C at the first evaluation at or after this step."""

    def press(*arguments, **options):
        inner = options.pop("on_save")

        def save(result):
            inner(result)
            if result.state["step"] >= step:
                signal.raise_signal(signal.SIGINT)

        return run_training(*arguments, on_save=save, **options)

    monkeypatch.setattr(train, "train", press)


def test_a_command_typed_again_without_resume_loses_nothing(tmp_path, capsys, monkeypatch):
    stop_at(monkeypatch, 8)
    out, code = run_to_the_end(tmp_path)
    assert code == 130 and "goes on from step 8" in capsys.readouterr().out
    before = train.last_name(out).read_bytes()
    monkeypatch.setattr(train, "train", run_training)
    _, code = run_to_the_end(tmp_path)  # a beginner who forgot --resume
    said = capsys.readouterr().out
    old = tmp_path / "m.last.pt.old"
    assert code == 0 and "stopped at step 8 of 12" in said and old.name in said
    assert old.read_bytes() == before
    run_to_the_end(tmp_path)  # the run before this one was finished: nothing is set aside
    assert "stopped at" not in capsys.readouterr().out and old.read_bytes() == before
    stop_at(monkeypatch, 4)
    run_to_the_end(tmp_path, "--seed", "5", "--out", str(tmp_path / "m.pt"))
    out.unlink()
    monkeypatch.setattr(train, "train", run_training)
    run_to_the_end(tmp_path, "--seed", "5")
    assert old.read_bytes() == before  # of two, the one that got further
    old.rename(train.last_name(out))
    _, code = run_to_the_end(tmp_path, "--resume")
    (tmp_path / "other").mkdir()
    other, _ = run_to_the_end(tmp_path / "other")
    assert code == 0 and same(weights(out), weights(other))


def test_only_old_temporary_files_of_these_names_are_cleaned_away(tmp_path):
    out = tmp_path / "m.pt"
    ours = [".m.pt.abc_12z9", ".m.last.pt.qqqqqqqq", ".m.json.00000000", ".run.csv.4711.part"]
    others = [
        ".m.pt.backup",
        ".m.pt.ABCDEFGH",
        ".n.pt.abc_12z9",
        ".gitignore",
        "m.pt.abc_12z9",
        ".m.last.pt.tooolongg",
    ]
    for name in [*ours, *others]:
        (tmp_path / name).write_bytes(b"x")
    paths = [out, train.last_name(out), out.with_suffix(".json"), tmp_path / "run.csv"]
    clean_up(*paths)  # all of them are new: a run may be writing them at this moment
    assert {p.name for p in tmp_path.iterdir()} == {*ours, *others}
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - STALE - 5,) * 2)
    clean_up(*paths)
    assert {p.name for p in tmp_path.iterdir()} == set(others)
    clean_up(tmp_path / "no" / "m.pt")


def test_the_command_cleans_up_what_a_kill_left(tmp_path):
    left = tmp_path / ".m.last.pt.iq673dpw"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - STALE - 5,) * 2)
    run_to_the_end(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.last.pt", "m.pt", "text.txt"]


# --- a full disk ---


@pytest.mark.parametrize("writing", [1, 3, 5])
def test_a_disk_that_fills_up_leaves_the_old_state_whole_and_the_run_can_go_on(
    tmp_path, capsys, monkeypatch, writing
):
    """Writings 1 to 4 are the states at 0, 4, 8 and 12, the fifth is the model."""
    real, calls = torch.save, []

    def full(content, to):
        calls.append(1)
        if len(calls) != writing:
            return real(content, to)
        whole = io.BytesIO()
        real(content, whole)
        to.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    out, code = run_to_the_end(tmp_path, "--log", str(tmp_path / "log.csv"))
    error = capsys.readouterr().err
    assert code == 1 and error.startswith("error: could not write ") and "No space left on device" in error
    kept = {1: None, 3: 4, 5: 12}[writing]
    if kept is None:
        assert "Nothing was kept yet" in error and not train.last_name(out).exists()
    else:
        assert (
            f"goes on from step {kept}" in error
            and checkpoints.load(train.last_name(out)).training["step"] == kept
        )
    assert not out.exists() and not list(tmp_path.glob(".*"))
    monkeypatch.setattr(torch, "save", real)
    _, code = run_to_the_end(tmp_path, "--resume", "--log", str(tmp_path / "log.csv"))
    (tmp_path / "other").mkdir()
    other, _ = run_to_the_end(tmp_path / "other", "--log", str(tmp_path / "other" / "log.csv"))
    assert code == 0 and same(weights(out), weights(other))
    one, two = (losses(read_log(folder / "log.csv")) for folder in (tmp_path, tmp_path / "other"))
    assert one == two and len(one) == 4


LIMITED = """
import resource, sys
from helpers import train
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
sys.exit(train.main(sys.argv[1:]))
"""


def test_a_real_limit_on_the_size_of_files_gives_the_same_message(tmp_path):
    pytest.importorskip("resource", reason="file-size limits are a thing of Unix")
    out, _ = run_to_the_end(tmp_path, "--steps", "4")
    before = train.last_name(out).read_bytes()
    assert len(before) > 30_000
    options = [
        *TINY,
        "--text",
        str(tmp_path / "text.txt"),
        "--steps",
        "12",
        "--eval-interval",
        "4",
        "--resume",
    ]
    command = [sys.executable, "-c", LIMITED, *options, "--out", str(out)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        "could not write" in done.stderr and "File too large" in done.stderr and "from step 4" in done.stderr
    )
    assert train.last_name(out).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.last.pt", "m.pt", "text.txt"]
