"""Every notebook runs from top to bottom, alone in a fresh copy of the course and with no network.

On the book, and on the built-in tales where there is no book; those named in TALES_TOO on both, so that the ranges of
their values are held on both. On other texts, with exercises solved and wrong: test_reruns.py. See walls.py for the walls.
"""

import json
import shutil
import subprocess
import sys

import pytest
from walls import ROOT, Wall, copy_of_the_course

from helpers.books import BOOK_PATH
from helpers.lesson.finding import course_notebooks

NOTEBOOKS = [ROOT / "notebooks" / name for name in course_notebooks(ROOT / "notebooks")]
TALES_TOO = ("05", "08")
RUNS = [
    (path, text)
    for path in NOTEBOOKS
    for text in ("oz", "tales")
    if text == "oz" or not BOOK_PATH.is_file() or path.name[:2] in TALES_TOO
]


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize(("path", "text"), RUNS, ids=[f"{path.stem}-{text}" for path, text in RUNS])
def test_the_notebook_runs_to_its_end(path, text, tmp_path):
    """Cases 7 and 56, and the promises of the design: no network, no warning, at most 2 GiB of memory."""
    if text == "oz" and not BOOK_PATH.is_file():
        pytest.skip("the Oz book is not in data/")
    course = copy_of_the_course(tmp_path / "course", path)
    if text == "oz":
        shutil.copy(BOOK_PATH, course / "data")
    before = {file for file in course.rglob("*") if "__pycache__" not in file.parts}
    wall = Wall(tmp_path)
    command = [sys.executable, "-m", "helpers", "run", path.stem[:2], "--json", "--margin", "10"]
    command += ["--text", "tales"] if text == "tales" else []
    done = subprocess.run(
        command, cwd=course, env=wall.environment(), capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "\nnote: " not in done.stdout, done.stdout[-2000:]  # a cell wrote to stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert row["notebook"] == path.stem and row["ok"] and row["peak_mib"] < 2048

    assert any("ipykernel_launcher" in started for started in wall.processes())  # the kernel was behind it
    assert wall.refused() == []
    assert (course / "notebooks" / path.name).read_bytes() == path.read_bytes()
    new = {file for file in course.rglob("*") if "__pycache__" not in file.parts} - before
    assert {file.relative_to(course).as_posix() for file in new} == set()
