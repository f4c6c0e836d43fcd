"""python -m helpers run, on toy notebooks: what it runs, measures, reports, and leaves behind (nothing)."""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import books, checkpoints
from helpers.lesson import execution, runner
from helpers.lesson.execution import Result, run_notebook
from helpers.lesson.finding import ROOT, NotFound, course_notebooks, find
from helpers.lesson.saving import source_hash

pytestmark = pytest.mark.notebook

NOTE_PID = "import os, pathlib; pathlib.Path(f'{os.getpid()}.pid').touch()"
SLEEPER = (
    "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
)
NOTE_CHILD = f"{NOTE_PID}; {SLEEPER}; pathlib.Path(f'{{p.pid}}.pid').touch()"


def toy(folder: Path, name: str, *sources: str, **metadata) -> Path:
    """Write a notebook of code cells with the ids c1, c2, ... and one cell of prose before them."""
    cells = [new_markdown_cell("# A toy", id="title")]
    cells += [new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources, 1)]
    notebook = new_notebook(cells=cells, metadata=metadata)
    path = folder / f"{name}.ipynb"
    path.write_text(nbformat.writes(notebook), encoding="utf-8", newline="\n")
    return path


def printed(notebook) -> str:
    """All that the cells of an executed notebook printed to stdout."""
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


def alive(folder: Path) -> list[int]:
    """Which of the processes that noted themselves in a folder are still running."""
    pids = [int(p.stem) for p in folder.glob("*.pid")]
    assert pids, "no process noted itself"
    states = {p.pid: p.info["status"] for p in psutil.process_iter(["status"])}
    return [pid for pid in pids if states.get(pid, psutil.STATUS_ZOMBIE) != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """One call of the command over good and bad notebooks; what came of it."""
    folder = tmp_path_factory.mktemp("notebooks")
    toy(folder, "00_good", f"{NOTE_CHILD}\nprint('first')", "", "6 * 7")
    toy(folder, "01_wrong", NOTE_CHILD, "one = 1\none / 0", "print('never')")
    toy(folder, "02_slow", NOTE_CHILD, "\nwhile True: pass", "print('never')")
    toy(folder, "03_dead", f"{NOTE_CHILD}\nos._exit(3)", "print('never')")
    toy(folder, "04_large", NOTE_PID, "import time; x = b'x' * (300 << 20); time.sleep(0.2)")
    child = "import time; x = b'x' * (300 << 20); time.sleep(0.6)"
    toy(
        folder,
        "05_child",
        NOTE_PID,
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])",
    )
    toy(folder, "06_warns", NOTE_PID, "import warnings; warnings.warn('mind the gap')")
    (folder / "07_broken.ipynb").write_text("{ no notebook", encoding="utf-8")
    toy(folder, "08_last", NOTE_PID)
    toy(folder, "08_last.mine-2026-11-25-1412", "raise SystemError('a set-aside notebook was run')")
    before = {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = runner.main(["--notebooks", str(folder), "--timeout", "10", "--json"])
    lines = out.getvalue().splitlines()
    table = {line.split()[0]: line for line in lines[2:11]}
    rows = {row["notebook"]: row for row in json.loads(lines[-1])}
    return SimpleNamespace(
        folder=folder,
        code=code,
        out=out.getvalue(),
        err=err.getvalue(),
        table=table,
        rows=rows,
        before=before,
    )


# --- what is reported ---


def test_all_notebooks_run_in_order_whatever_happens_to_one(everything):
    names = [path.stem for path in sorted(everything.folder.glob("*.ipynb")) if ".mine-" not in path.name]
    assert list(everything.rows) == list(everything.table) == names and len(names) == 9
    good = {"00_good", "04_large", "05_child", "06_warns", "08_last"}
    assert {name for name, row in everything.rows.items() if row["ok"]} == good
    assert everything.code == 1
    assert "[9/9] 08_last ..." in everything.err and "08_last: ok" in everything.err


def test_the_last_line_is_json_with_four_keys(everything):
    for row in everything.rows.values():
        assert list(row) == ["notebook", "seconds", "peak_mib", "ok"]
        assert isinstance(row["ok"], bool)
        if row["notebook"] != "07_broken":
            assert 0.1 < row["seconds"] < 60 and 20 < row["peak_mib"] < 2000


def test_the_table_shows_budget_and_result(everything):
    assert everything.table["00_good"].split()[2] == "15"
    assert everything.table["00_good"].endswith("  ok")
    assert everything.table["01_wrong"].endswith("  failed")
    assert "5 of 9 ok" in everything.out


def test_an_error_is_reported_with_notebook_cell_first_line_name_and_message(everything):
    assert "FAILED: 01_wrong, cell 2 (`one = 1`): ZeroDivisionError: division by zero" in everything.out
    assert "----> 2 one / 0" in everything.out  # the traceback, without colours
    assert "\x1b" not in everything.out


def test_a_cell_that_takes_too_long_is_reported(everything):
    expected = (
        "FAILED: 02_slow, cell 2 (`while True: pass`): it did not finish within 10 s (CellTimeoutError)"
    )
    assert expected in everything.out


def test_a_dead_kernel_is_reported_with_its_exit_code(everything):
    line = next(line for line in everything.out.splitlines() if line.startswith("FAILED: 03_dead"))
    assert "cell 1 (`import os" in line and "the kernel died (DeadKernelError, exit code 3)" in line


def test_a_file_that_is_no_notebook_is_reported(everything):
    assert "FAILED: 07_broken, 07_broken.ipynb cannot be read as a notebook: NotJSONError" in everything.out


def test_a_warning_is_noted_and_the_notebook_stays_ok(everything):
    notes = [line for line in everything.out.splitlines() if line.startswith("note:")]
    assert len(notes) == 1
    assert "06_warns, cell 2 (`import warnings" in notes[0] and "UserWarning: mind the gap" in notes[0]


def test_memory_of_the_kernel_and_of_its_children_shows_in_the_peak(everything):
    small = everything.rows["08_last"]["peak_mib"]
    assert everything.rows["04_large"]["peak_mib"] - small >= 250
    assert everything.rows["05_child"]["peak_mib"] - small >= 250


# --- what is left behind ---


def test_no_process_is_left_after_success_error_time_out_or_death(everything):
    assert len(list(everything.folder.glob("*.pid"))) == 12  # 8 kernels and 4 children
    assert alive(everything.folder) == []


def test_the_notebooks_themselves_are_untouched(everything):
    assert {path.name: path.read_bytes() for path in everything.folder.glob("*.ipynb")} == everything.before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between processes")
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupted_run_ends_its_kernel_and_says_so(tmp_path, sent, code):
    toy(tmp_path, "00_quick", "1")
    toy(tmp_path, "01_long", NOTE_CHILD, "import time; pathlib.Path('now').touch(); time.sleep(60)")
    script = "import sys; from helpers.lesson.runner import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "--notebooks", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        for _ in range(2400):  # a busy machine takes its time
            if (tmp_path / "now").exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        process.send_signal(sent)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == code
    assert alive(tmp_path) == []
    assert "Traceback" not in err
    if sent == signal.SIGINT:
        assert "Stopped" in err
        assert "00_quick" in out and "01_long" not in out  # the table of what had finished


# --- the kernel ---


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """What a kernel sees that was started in a hostile environment, and the folders of that environment."""
    home, jupyter, folder = (tmp_path_factory.mktemp(name) for name in ("home", "jupyter", "notebooks"))
    spec = {"argv": ["no-such-python", "{connection_file}"], "display_name": "Foreign", "language": "python"}
    (jupyter / "kernels" / "python3").mkdir(parents=True)
    (jupyter / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    cell = (
        "import json, os, sys\nshell = get_ipython()\nprint(json.dumps({'executable': sys.executable, "
        "'cwd': os.getcwd(), 'environment': dict(os.environ), 'history': shell.history_manager.enabled, "
        "'path': sys.path}))"
    )
    path = toy(
        folder, "00_toy", cell, kernelspec={"name": "cuda", "display_name": "cuda", "language": "python"}
    )
    text = folder / "mine.txt"
    text.write_text("A text of my own.\n" * 20, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(home))
        for name in (
            "IPYTHONDIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTER_DATA_DIR",
            "XDG_DATA_HOME",
            "PYTHONHASHSEED",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("JUPYTER_PATH", str(jupyter))
        patch.setenv("MPLBACKEND", "agg")
        patch.chdir(folder)
        result = run_notebook(path, text="mine.txt", device="cpu")
    assert result.ok, result.error
    return SimpleNamespace(
        home=home, folder=folder, text=text, result=result, **json.loads(printed(result.executed))
    )


def test_the_kernel_is_this_python_whatever_the_kernelspecs_say(kernel):
    assert Path(kernel.executable) == Path(sys.executable)


def test_the_kernel_works_in_the_notebooks_folder(kernel):
    assert Path(kernel.cwd).resolve() == kernel.folder.resolve()


def test_text_and_device_reach_the_kernel(kernel):
    assert kernel.environment["COURSE_TEXT"] == str(kernel.text.resolve())
    assert kernel.environment["COURSE_DEVICE"] == "cpu"


def test_figures_appear_in_the_notebook_although_mplbackend_is_set(kernel):
    assert "inline" in kernel.environment["MPLBACKEND"]
    assert "PYTHONHASHSEED" not in kernel.environment


def test_a_run_writes_nothing_into_the_learners_home(kernel):
    assert kernel.history is False
    assert list(kernel.home.rglob("*")) == []


def test_without_text_and_device_the_environment_decides(tmp_path, monkeypatch):
    path = toy(
        tmp_path, "00_toy", "import os; print(os.environ['COURSE_TEXT'], os.environ.get('COURSE_DEVICE'))"
    )
    monkeypatch.setenv("COURSE_TEXT", "tales")
    monkeypatch.delenv("COURSE_DEVICE", raising=False)
    assert printed(run_notebook(path).executed) == "tales None\n"


# --- run_notebook ---


def test_cells_are_announced_and_timed_and_empty_ones_do_not_count(tmp_path):
    path = toy(tmp_path, "00_toy", "import time; time.sleep(0.15)", "  ", "print('x')")
    seen = []
    result = run_notebook(path, on_cell=lambda cell, number, total: seen.append((cell.id, number, total)))
    assert result.ok and result.error is None and result.notebook == "00_toy"
    assert seen == [("c1", 1, 2), ("c3", 2, 2)]
    assert list(result.seconds_by_cell) == ["c1", "c3"]
    assert 0.15 <= result.seconds_by_cell["c1"] <= result.seconds
    assert [c.execution_count for c in result.executed.cells if c.cell_type == "code"] == [1, None, 2]


def test_sources_can_be_replaced_for_a_run_by_id_or_by_a_function(tmp_path):
    path = toy(tmp_path, "00_toy", "x = 'stub'", "print(x)")
    before = path.read_bytes()
    assert printed(run_notebook(path, replace={"c1": "x = 'solution'"}).executed) == "solution\n"

    def change(notebook):
        notebook.cells[1].source = "x = 'changed'"

    async def in_a_loop():  # as in a notebook, or where a browser test has its own event loop
        return run_notebook(path, replace=change)

    assert printed(asyncio.run(in_a_loop()).executed) == "changed\n"
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="no cell has the id c9; there are: title, c1, c2"):
        run_notebook(path, replace={"c9": ""})


def test_a_failed_run_keeps_what_was_shown_and_forgets_stored_outputs(tmp_path):
    path = toy(tmp_path, "00_toy", "print('shown')", "raise KeyError('lamp')", "print('never')")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[3].update(outputs=[nbformat.v4.new_output("stream", text="old")], execution_count=7)
    notebook.cells[2].metadata["tags"] = [
        "raises-exception"
    ]  # announced or not: Run All must not meet an error
    path.write_text(nbformat.writes(notebook), encoding="utf-8", newline="\n")
    result = run_notebook(path)
    assert not result.ok
    assert result.error == "cell 2 (`raise KeyError('lamp')`): KeyError: 'lamp'"
    assert printed(result.executed) == "shown\n"
    assert result.executed.cells[2].outputs[0].output_type == "error"
    assert result.executed.cells[3].outputs == []


def test_a_flood_of_output_is_cut_off_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "FLOOD", 1_000_000)
    path = toy(tmp_path, "00_toy", "for _ in range(3000): print('x' * 999)", "print('never')")
    result = run_notebook(path)
    assert not result.ok
    assert result.error.startswith("cell 1 (`for _ in range(3000)") and "more than 1 MB" in result.error
    assert len(printed(result.executed)) <= 1_000_000


def test_a_python_that_cannot_start_a_kernel_is_reported(tmp_path, monkeypatch):
    argv = [sys.executable, "-c", "raise SystemExit('no ipykernel here')", "{connection_file}"]
    spec = execution.KernelSpec(argv=argv, display_name="", language="python")
    monkeypatch.setattr(execution.ThisPython, "get_kernel_spec", lambda self, name: spec)
    result = run_notebook(toy(tmp_path, "00_toy", "1"))
    assert not result.ok
    assert "before the first cell" in result.error and "no ipykernel here" in result.error


# --- saving outputs ---


@pytest.fixture
def with_book(monkeypatch):
    """The Oz book is there, and all that a notebook would read."""
    book = books.Text("Not the book itself.", "oz", "The Wonderful Wizard of Oz")
    monkeypatch.delenv("COURSE_TEXT", raising=False)
    monkeypatch.setattr(books, "load_text", lambda source=None: book)


def save(folder: Path, *arguments: str) -> int:
    return runner.main(["--notebooks", str(folder), "--save-outputs", *arguments])


def test_saved_outputs_are_those_of_the_run_and_a_second_run_gives_the_same_bytes(
    tmp_path, with_book, capsys
):
    path = toy(tmp_path, "00_toy", "print('outputs', 6 * 7)", "print(shown := 'x')\nshown")
    assert save(tmp_path) == 0
    first = path.read_bytes()
    assert capsys.readouterr().out.splitlines()[2].endswith("  saved")
    notebook = nbformat.reads(first.decode("utf-8"), as_version=4)
    nbformat.validate(notebook)
    assert printed(notebook) == "outputs 42\nx\n"
    assert [c.execution_count for c in notebook.cells[1:]] == [1, 2]
    assert [c.id for c in notebook.cells] == ["title", "c1", "c2"]
    assert notebook.metadata.course.source_hash == source_hash(notebook)
    assert first.endswith(b"}\n") and b"\r" not in first
    assert save(tmp_path) == 0
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no part is left


def test_nothing_is_saved_of_a_notebook_that_failed_or_warned(tmp_path, with_book, capsys):
    paths = [
        toy(tmp_path, "00_wrong", "print('x')", "1 / 0"),
        toy(tmp_path, "01_warns", "1", "import warnings; warnings.warn('mind the gap')"),
    ]
    before = [path.read_bytes() for path in paths]
    assert save(tmp_path, "--json") == 1
    assert [path.read_bytes() for path in paths] == before
    out = capsys.readouterr().out
    assert "01_warns, ran, but its outputs were not saved:\ncell 2 (`import warnings" in out
    assert [row["ok"] for row in json.loads(out.splitlines()[-1])] == [False, False]


def test_a_notebook_that_is_edited_while_it_runs_keeps_the_edit(tmp_path, with_book, capsys):
    edit = "from pathlib import Path\np = Path('00_toy.ipynb')\np.write_text(p.read_text().replace('A toy', 'Mine'))"
    path = toy(tmp_path, "00_toy", edit)
    assert save(tmp_path) == 1
    after = nbformat.read(path, as_version=4)
    assert after.cells[0].source == "# Mine" and after.cells[1].outputs == []
    assert "00_toy.ipynb was changed while it ran" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_outputs_of_another_text_are_not_saved(tmp_path, monkeypatch, capsys, how):
    monkeypatch.setenv("COURSE_TEXT", "tales" if how == "variable" else "")
    path = toy(tmp_path, "00_toy", NOTE_PID)
    before = path.read_bytes()
    assert save(tmp_path, *(["--text", "tales"] if how == "argument" else [])) == 2
    assert (
        "--save-outputs stores a run on the Oz book, but the text is: The built-in tales"
        in capsys.readouterr().err
    )
    assert path.read_bytes() == before and list(tmp_path.glob("*.pid")) == []


# --- arguments ---


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """Three notebooks, and calls noted instead of run; each takes 10 s (see `seconds`) and 50 MiB."""
    calls, seconds = [], [10.0]

    def run(path, **options):
        calls.append((path.name, options))
        return Result(path.stem, seconds=seconds[0], peak_mib=50.0, ok=True)

    monkeypatch.setattr(runner, "run_notebook", run)
    monkeypatch.delenv("COURSE_TEXT", raising=False)
    monkeypatch.delenv("COURSE_DEVICE", raising=False)
    for name in ("01_text_and_tokenizers", "05_bigram", "10_gpt"):
        toy(tmp_path, name, "1")
    return SimpleNamespace(
        calls=calls, seconds=seconds, main=lambda *a: runner.main(["--notebooks", str(tmp_path), *a])
    )


def test_named_notebooks_run_once_each_in_the_order_of_the_course(stub):
    assert stub.main("gpt", "5", "05", "1") == 0
    assert [name for name, _ in stub.calls] == [
        "01_text_and_tokenizers.ipynb",
        "05_bigram.ipynb",
        "10_gpt.ipynb",
    ]


def test_an_unknown_name_lists_those_that_there_are(stub, capsys):
    assert stub.main("07") == 2
    err = capsys.readouterr().err
    assert "there is no notebook '07'" in err and "05_bigram" in err and "10_gpt" in err
    assert stub.calls == []


def test_no_notebooks_at_all_is_an_error(tmp_path, capsys):
    assert runner.main(["--notebooks", str(tmp_path)]) == 2
    assert "there are no notebooks in" in capsys.readouterr().err


def test_a_text_that_is_not_there_is_an_error_before_anything_starts(stub, tmp_path, capsys):
    assert stub.main("--text", str(tmp_path / "gone.txt")) == 2
    assert "there is no file" in capsys.readouterr().err
    assert stub.calls == []


def test_text_device_and_time_out_are_handed_on(stub):
    assert stub.main("5", "--text", "tales", "--device", "cpu", "--timeout", "7.5") == 0
    options = stub.calls[0][1]
    assert (options["text"], options["device"], options["timeout"]) == ("tales", "cpu", 7.5)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--timeout", "0"],
        ["--timeout", "abc"],
        ["--timeout", "nan"],
        ["--device", "tpu"],
        ["--margin", "-1"],
        ["--margin", "twice"],
    ],
)
def test_wrong_values_are_refused(stub, wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        stub.main(*wrong)
    assert stopped.value.code == 2 and wrong[1] in capsys.readouterr().err
    assert stub.calls == []


def test_a_device_that_is_not_here_is_an_error_before_anything_starts(stub, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert stub.main("--device", "cuda") == 2
    assert "cuda" in capsys.readouterr().err and stub.calls == []


def test_over_budget_is_marked_on_the_cpu_only_and_stays_ok(stub, capsys):
    stub.seconds[0] = 100.0
    assert stub.main("--device", "cpu", "--json", "--margin", "5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith("ok, over budget") and lines[3].endswith("ok, over budget")  # 25 s and 40 s
    assert lines[4].endswith("  ok")  # 120 s
    assert lines[5].split()[:3] == ["together", "300.0", "50"]
    assert all(row["ok"] for row in json.loads(lines[-1]))


def test_a_notebook_that_takes_more_than_its_budget_and_the_margin_fails(stub, capsys):
    stub.seconds[0] = 100.0
    assert stub.main("--device", "cpu", "--json") == 1
    out = capsys.readouterr().out
    assert [row["ok"] for row in json.loads(out.splitlines()[-1])] == [False, False, True]  # 25, 40 and 120 s
    assert "it took 100 s, more than 2 times its budget of 40 s" in out and "--margin allows more" in out


def test_too_much_memory_and_too_large_outputs_fail(stub, capsys, monkeypatch, tmp_path):
    page = new_notebook(
        cells=[new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="x" * 2_100_000)])]
    )
    for facts, said in (
        ({"peak_mib": 2100.0}, "it held 2100 MiB at once, allowed are 2048"),
        ({"executed": page}, "bytes, more than 2 times 1,000,000: print and draw less"),
    ):
        result = Result("10_gpt", seconds=1.0, ok=True, **facts)
        monkeypatch.setattr(runner, "run_notebook", lambda path, result=result, **_: result)
        assert stub.main("10", "--device", "cpu") == 1
        assert said in capsys.readouterr().out


def test_quick_is_handed_on_and_does_not_go_with_saving(stub, capsys, monkeypatch):
    assert stub.main("10", "--quick") == 0 and stub.calls[-1][1]["quick"] is True
    assert stub.main("10") == 0 and stub.calls[-1][1]["quick"] is False
    monkeypatch.setenv("COURSE_QUICK", "1")
    assert stub.main("10") == 0 and stub.calls[-1][1]["quick"] is True
    assert stub.main("10", "--save-outputs") == 2
    assert "leave --quick and COURSE_QUICK out" in capsys.readouterr().err


def test_a_quick_run_trains_a_twentieth_of_the_steps(tmp_path):
    path = toy(
        tmp_path,
        "05_toy",
        'STEPS, BATCH = 60, 12\nsettings = {"batch_size": 12, "steps": 1200}\nprint(STEPS, settings["steps"])',
        "def train(steps=1_000): return steps\nprint(train(), train(steps=100), train(steps=120))",
        "for step in range(500): pass\nprint(step)  # a loop by hand stays",
    )
    assert printed(run_notebook(path, quick=True).executed) == "3 60\n50 100 6\n499\n"
    assert printed(run_notebook(path, quick=False).executed) == "60 1200\n1000 100 120\n499\n"


def test_numbers_that_are_no_steps_stay_in_a_quick_run():
    sources = [
        "rate(step, STEPS, peak=2e-2)",
        "def run(lr, steps, seed=1337): ...",
        "steps=_x",
        "my.steps = 900",
    ]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    execution.shorten(notebook)
    assert [cell.source for cell in notebook.cells] == sources


def test_no_budget_is_marked_on_a_gpu(stub, capsys, monkeypatch):
    monkeypatch.setattr("helpers.device.pick_device", lambda wanted=None: SimpleNamespace(type="cuda"))
    stub.seconds[0] = 100.0
    assert stub.main("--device", "cuda") == 0
    assert "over budget" not in capsys.readouterr().out


def test_every_notebook_of_the_design_has_a_budget_and_together_they_keep_the_promise():
    assert list(runner.BUDGETS) == [f"{n:02}" for n in range(17)]
    assert sum(runner.BUDGETS.values()) <= 15 * 60


# --- finding a notebook ---


@pytest.mark.parametrize(
    "word", ["5", "05", "bigram", "Bigram", "05_bigram", "05_bigram.ipynb", "notebooks/05_bigram.ipynb"]
)
def test_a_notebook_is_found_by_number_or_part_of_its_name(word):
    assert find(word, ["00_welcome.ipynb", "05_bigram.ipynb", "15_finetuning.ipynb"]) == "05_bigram.ipynb"


def test_a_whole_name_goes_before_a_part_of_another():
    assert find("gpt", ["10_gpt.ipynb", "12_gpt_saved.ipynb"]) == "10_gpt.ipynb"


@pytest.mark.parametrize(
    ("word", "words"), [("te", "fits 2 notebooks"), ("zebra", "there is no"), ("", "there is no")]
)
def test_no_or_several_notebooks_of_a_name_are_listed(word, words):
    with pytest.raises(NotFound, match=words) as caught:
        find(word, ["01_text.ipynb", "02_tensors.ipynb"])
    assert "  01_text\n  02_tensors" in str(caught.value)


def test_only_notebooks_of_the_course_count(tmp_path):
    for name in ("10_gpt", "05_bigram", "05_bigram.mine-2026-11-25-1412", "05_bigram-Copy1", "scratch"):
        toy(tmp_path, name, "1")
    (tmp_path / "README.md").touch()
    assert course_notebooks(tmp_path) == ["05_bigram.ipynb", "10_gpt.ipynb"]
    assert course_notebooks(tmp_path / "nowhere") == []


def test_the_learners_gpt_stays_as_it_is_and_notebooks_of_one_run_share_theirs(tmp_path):
    here = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    save = f"{here}from helpers import checkpoints; checkpoints.MY_GPT.write_text('trained here')"
    find_it = (
        f"{here}from helpers import checkpoints; print(checkpoints.MY_GPT, checkpoints.MY_GPT.read_text())"
    )
    toy(tmp_path, "01_save", save)
    toy(tmp_path, "02_load", find_it)
    own = checkpoints.DATA / "my_gpt.pt"
    before = own.stat().st_mtime_ns if own.exists() else None
    assert runner.main(["--notebooks", str(tmp_path)]) == 0
    alone = run_notebook(tmp_path / "02_load.ipynb")
    assert not alone.ok and "FileNotFoundError" in alone.error  # a run by itself begins with nothing
    assert (own.stat().st_mtime_ns if own.exists() else None) == before


def test_notebooks_of_one_run_see_what_those_before_them_recorded(tmp_path):
    here = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom helpers import state\n"
    toy(tmp_path, "01_note", f"{here}state.write_json(state.state_path('noted.json'), 2.362)")
    toy(tmp_path, "02_read", f"{here}print(state.state_path('noted.json').read_text())")
    assert runner.main(["--notebooks", str(tmp_path)]) == 0
    alone = run_notebook(tmp_path / "02_read.ipynb")
    assert not alone.ok and "FileNotFoundError" in alone.error
    assert not (checkpoints.DATA / "noted.json").exists()
