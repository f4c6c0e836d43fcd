"""Each notebook as learners treat it: training cells interrupted and run again, then Run All once more in the same kernel.

With each exercise solved, then with a wrong answer in it; on a text of the learner's own (not the same for all notebooks),
in a folder that is not the course's, behind a wall that no connection leaves, and with a twentieth of the training, for
which no value is judged (see helpers.lesson.execution.shorten).
"""

import random
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from test_bank import NOTEBOOKS, cell_id, check_cell, exercises_in
from walls import Wall

from helpers.lesson.execution import run_notebook
from helpers.tales import write_tales

TRAINS = re.compile(r"\b(train|learn|finetune|run)\w*\(|\.backward\(\)|\.step\(\)|losses_of\(")
AFTER = 0.4  # seconds until the interrupt: within the training, or before it begins
INTERRUPTED = """
import os as _os, signal as _signal, threading as _threading, _thread
_fired = []
def _stop():
    _fired.append(True)
    _thread.interrupt_main() if _os.name == "nt" else _os.kill(_os.getpid(), _signal.SIGINT)
_timer = _threading.Timer({after}, _stop)
_timer.start()
try:
    _done = get_ipython().run_cell({source!r})  # shows a traceback, and goes on
    _timer.cancel()
except KeyboardInterrupt:
    _done = None
if _done is not None and not isinstance(_done.error_in_exec, (type(None), KeyboardInterrupt)):
    raise RuntimeError("interrupted, the cell raised something else") from _done.error_in_exec
if _fired:
    print("(interrupted)")
"""


def characters(n: int, of: str) -> str:
    dice = random.Random(1)
    return "".join(dice.choice(of) + "。\n" * (dice.random() < 0.1) for _ in range(n))


TEXTS = {
    "English": write_tales(8_000, seed=5).replace("the ", "ze "),
    "a thousand different characters": characters(6_000, "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))),
    "many scripts, Windows line ends": "Zoë 🦁 sagte: „Hallo“ — कमल नाच रही है। 猫が座った。\tПривет!\r\n"
    * 80,
    "very short": "The cat sat. A dog ran.\n" * 3,
    "two characters": "ab" * 4_000,
}


def text_for(path: Path) -> str:
    """The kind of text that a notebook gets here: the first trains as a learner's own would; the others in turn."""
    return list(TEXTS)[int(path.name[:2]) % len(TEXTS)]


def trains(cell) -> bool:
    return (
        cell.cell_type == "code"
        and bool(TRAINS.search(cell.source))
        and "exercise" not in cell.metadata.get("tags", [])
    )


def as_learners_do(notebook, solved: dict[str, str], wrong: dict[str, str]) -> None:
    """Make of a copy: each training cell interrupted and run again, then all cells once more.

    The first time with the solutions, the second with wrong answers.
    """
    second = [
        new_code_cell(wrong.get(cell.get("id"), cell.source))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    first = []
    for cell in notebook.cells:
        cell.source = solved.get(cell.get("id"), cell.source)
        if trains(cell) and not cell.source.startswith(("import ", "from ")):
            first.append(new_code_cell(INTERRUPTED.format(after=AFTER, source=cell.source).strip()))
        first.append(cell)
    notebook.cells = first + second


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_bears_interrupts_a_second_run_any_answers_and_another_text(path, tmp_path, monkeypatch):
    wall = Wall(tmp_path)
    monkeypatch.setenv("PYTHONPATH", wall.environment()["PYTHONPATH"])
    own = tmp_path / "my own text.txt"
    own.write_text(TEXTS[text_for(path)], encoding="utf-8", newline="")
    exercises = exercises_in(path)
    solved = {cell_id(each): each.solution for each in exercises}
    wrong = {cell_id(each): each.wrong[0].code for each in exercises}
    elsewhere = shutil.copy(
        path, tmp_path
    )  # with no helpers/ beside it: the course is found where it is installed
    result = run_notebook(
        elsewhere,
        text=own,
        device="cpu",
        quick=True,
        replace=lambda notebook: as_learners_do(notebook, solved, wrong),
    )
    assert result.ok, f"{text_for(path)}: {result.error}"
    interrupted = [c for c in result.executed.cells if "(interrupted)" in str(c.get("outputs"))]
    ours = [note for note in result.notes if "import os as _os" not in note]
    assert ours == [] and result.peak_mib < 2048
    assert interrupted or path.name[:2] in ("00", "01", "02", "03", "14")  # these do not train
    assert any("ipykernel_launcher" in started for started in wall.processes())  # the kernel was behind it
    assert wall.refused() == []
    checks = {check_cell(each): each.name for each in exercises}
    said = [
        (checks[cell.source], "".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs))
        for cell in result.executed.cells
        if cell.source in checks
    ]
    half = len(checks)
    assert len(said) == 2 * half and half == len(exercises)
    assert [pair for pair in said[:half] if not pair[1].startswith("Correct")] == []
    assert [pair for pair in said[half:] if not pair[1].startswith("Not yet")] == []


def test_every_kind_of_text_is_met_by_some_notebook_that_trains():
    assert {text_for(path) for path in NOTEBOOKS if int(path.name[:2]) >= 5} == TEXTS.keys()


def test_the_cells_that_train_are_found():
    found = {path.name[:2]: sum(map(trains, nbformat.read(path, as_version=4).cells)) for path in NOTEBOOKS}
    assert all(found[number] >= 2 for number in ("05", "06", "07", "08", "09", "10", "12", "13", "15", "16"))
