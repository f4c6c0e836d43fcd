"""The frame of a lesson: what it shows, what it keeps, and that nothing of it can stop a learner."""

import csv
import importlib
import io
import json
import os
import random
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from walls import ROOT, copy_of_the_course

from helpers import state
from helpers.lesson import course, lessons, progress
from helpers.lesson.execution import run_notebook
from helpers.lesson.lessons import NATS, loss_ladder, start

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The learner's files in a folder of the test, and the tales as text."""
    monkeypatch.setenv("COURSE_STATE", str(tmp_path))
    monkeypatch.setenv("COURSE_TEXT", "tales")
    return tmp_path


def kept(place) -> dict:
    return json.loads((place / "progress.json").read_text(encoding="utf-8"))["notebooks"]


# --- the learner's files ---


def test_a_file_that_is_written_is_read_again(place):
    path = state.state_path("some.json")
    assert path.parent == place
    state.write_json(path, {"a": [1, "ö"]})
    assert state.read_json(path, {}, "some") == {"a": [1, "ö"]}
    assert [each.name for each in place.iterdir()] == ["some.json"]


@pytest.mark.parametrize("damage", ["", '{"a": 1', "[1]", "\x00\x00", "[" * 100_000])
def test_a_damaged_file_is_set_aside_with_a_notice_and_the_lesson_goes_on(place, capsys, damage):
    path = place / "progress.json"
    path.write_text(damage, encoding="utf-8")
    assert state.read_json(path, {}, "your progress") == {}
    assert "your progress: progress.json is damaged" in capsys.readouterr().out
    (aside,) = place.glob("progress.damaged-*.json")
    assert aside.read_text(encoding="utf-8") == damage and not path.exists()


def test_a_file_in_another_encoding_is_set_aside_too(place, capsys):
    path = place / "progress.json"
    path.write_bytes(b'{"a": "\xff\xfe"}')
    assert state.read_json(path, {}, "your progress") == {} and "damaged" in capsys.readouterr().out


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(place, monkeypatch):
    path = place / "some.json"
    state.write_json(path, [1])
    with pytest.raises((TypeError, ValueError)):
        state.write_json(path, [float("nan")])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        state.write_json(path, [2])
    assert json.loads(path.read_text(encoding="utf-8")) == [1]
    assert [each.name for each in place.iterdir()] == ["some.json"]


def test_progress_that_cannot_be_written_is_said_and_does_not_stop_the_lesson(monkeypatch, capsys):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(progress, "write_json", denied)
    progress.note_finished("04", 1.0, "oz")
    assert "Permission denied" in capsys.readouterr().out


@pytest.mark.parametrize(
    "strange",
    [{"notebooks": 3}, {"notebooks": {"04": None}}, {"notebooks": {"04": {"exercises": {"windows": 1}}}}, {}],
)
def test_progress_of_a_strange_shape_is_no_crash(place, strange):
    state.write_json(place / "progress.json", strange)
    progress.note_exercise("04", "windows", "not yet")
    progress.note_record("04", "loss", {"value": 1.0})
    assert kept(place)["04"]["exercises"]["windows"]["outcome"] == "not yet"
    assert "notebooks done" in progress.the_map()


# --- start ---


def test_a_lesson_starts_with_two_lines_and_the_same_random_numbers(capsys):
    draws = []
    for _ in range(2):
        lesson = start(4, CPU)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert str(lesson.text) in first and "cpu" in first
    assert second.startswith("04 · Batches: about 15 s on two CPU cores")
    assert draws[0] == draws[1]


@pytest.mark.parametrize("number", [17, -1, "99", True, None])
def test_a_number_that_no_notebook_has_is_refused(number):
    with pytest.raises(ValueError, match="the course has no notebook"):
        start(number, CPU)


# --- record ---


@pytest.mark.parametrize(
    ("value", "text", "device", "ok"),
    [
        (1.5, "tales", "cpu", True),
        (2.5, "tales", "cpu", False),
        (float("nan"), "tales", "cpu", False),
        (2.5, "my_story", "cpu", None),
        (2.5, "tales", "meta", None),
    ],
)
def test_a_value_is_judged_on_a_known_text_with_the_settings_for_a_cpu_and_nowhere_else(
    place, capsys, value, text, device, ok
):
    lesson = lessons.Lesson(4, device)
    object.__setattr__(lesson.text, "name", text)
    lesson.record("loss", value, NATS, expect={"tales": (1.4, 1.6)})
    shown = capsys.readouterr().out
    assert ("usually 1.4 to 1.6" in shown) == (ok is False) and f"loss: {value:.4g}" in shown
    assert kept(place)["04"]["records"]["loss"]["ok"] is ok


def test_a_range_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        lessons.Lesson(4, CPU).record("loss", 1.0, NATS, expect={"tales": (2, 1)})


@pytest.mark.notebook
def test_the_runner_fails_when_a_recorded_value_leaves_its_range(tmp_path):
    source = (
        "import sys, os; sys.path.insert(0, os.environ['COURSE_ROOT'])\n"
        "from helpers.lesson.lessons import start\n"
        "lesson = start(4, 'cpu')\n"
        "lesson.record('loss', VALUE, 'nats', expect={'tales': (1.4, 1.6)})\n"
        "lesson.finish()"
    )
    results = []
    for value in ("1.5", "1.7"):
        notebook = new_notebook(cells=[new_code_cell(source.replace("VALUE", value))])
        nbformat.write(notebook, tmp_path / "04_batches.ipynb")
        os.environ["COURSE_ROOT"] = str(course.NOTEBOOKS.parent)
        results.append(run_notebook(tmp_path / "04_batches.ipynb", text="tales"))
    assert results[0].ok, results[0].error
    assert not results[1].ok and "loss = 1.7 nats, expected 1.4 to 1.6" in results[1].error
    assert not (tmp_path / "progress.json").exists()  # a run of the runner is not the learner's progress


# --- finish ---


def test_the_end_shows_time_exercises_and_the_next_notebook(place, capsys):
    lesson = start(0, CPU)
    lesson.finish()
    shown = capsys.readouterr().out
    assert "s, of about 15 s on two CPU cores" in shown and "MiB" in shown
    assert "What you know now:" in shown and "Next: 01 · Text and tokenizers" in shown
    assert "The loss so far" not in shown
    assert kept(place)["00"]["finished"]["text"] == "tales"


@pytest.mark.parametrize(
    ("following", "words"),
    [("06", ""), ("07", " (06 is still to come)"), ("10", " (06 to 09 are still to come)")],
)
def test_the_end_says_which_notebooks_are_skipped_because_they_are_not_there(
    monkeypatch, capsys, following, words
):
    there = course.notebook(following)
    monkeypatch.setattr(course, "following", lambda number: there)
    start(5, CPU).finish()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Next: {following} · {there.title}: {there.shows}{words}"


def test_from_notebook_05_on_the_end_shows_the_losses_so_far_on_this_text(capsys):
    for name, value in (("counted bigram", 1.52), ("GPT", 0.5), ("not a rung", 9.0), ("uniform", 4.0)):
        start(5, CPU).record(name, value, NATS)
    progress.note_record("05", "neural bigram", {"value": 7.7, "unit": NATS, "text": "oz", "ok": None})
    capsys.readouterr()
    start(5, CPU).finish()
    shown = capsys.readouterr().out
    assert shown.index("uniform") < shown.index("counted bigram") < shown.index("GPT")
    assert "1.520" in shown and "7.7" not in shown and "not a rung" not in shown


def test_the_ladder_takes_only_numbers_of_this_text():
    records = {
        "GPT": {"value": 1.6, "text": "oz"},
        "uniform": {"value": "nan", "text": "oz"},
        "one head": {"value": 2.0, "text": "tales"},
    }
    assert loss_ladder({"notebooks": {"10": {"records": records}, "11": None}}, "oz") == [("GPT", 1.6)]


# --- progress ---


def test_an_exercise_that_was_solved_stays_solved(place):
    for outcome in ("not attempted", "not yet", "not yet", "correct", "not yet"):
        progress.note_exercise("04", "windows", outcome)
    assert kept(place)["04"]["exercises"] == {"windows": {"outcome": "correct", "tries": 3}}


def test_the_map_counts_the_minutes_that_are_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "exercise_names", lambda number: ("windows",) if number == "00" else ())
    assert progress.main([]) == 0
    before = capsys.readouterr().out
    progress.note_finished("00", 9.0, "tales")
    assert "begun" in progress.the_map()  # its exercise is still open
    progress.note_exercise("00", "windows", "correct")
    after = progress.the_map()
    there = [each for each in course.COURSE if each.path.is_file()]
    everything = sum(each.minutes for each in there)
    assert f"0 of {len(there)} notebooks done; about {everything} minutes left" in before
    left = everything - course.notebook(0).minutes
    assert f"1 of {len(there)} notebooks done; about {left} minutes left" in after


def test_the_table_for_teachers_has_a_line_for_every_notebook_and_exercise(monkeypatch, capsys):
    monkeypatch.setattr(progress, "exercise_names", lambda number: ("windows",) if number == "00" else ())
    progress.note_exercise("00", "windows", "not yet")
    assert progress.main(["--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    there = [each.number for each in course.COURSE if each.path.is_file()]
    assert [row["notebook"] for row in table if row["kind"] == "notebook"] == there
    (exercise,) = (row for row in table if row["kind"] == "exercise")
    assert (exercise["name"], exercise["outcome"], exercise["tries"]) == ("windows", "not yet", "1")


def test_the_progress_command_works_on_any_locale(place):
    progress.note_finished("00", 9.0, "tales")
    environment = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}
    strict = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning:helpers"]
    command = [sys.executable, *strict, "-m", "helpers.lesson.progress"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0 and "Welcome and set-up" in done.stdout, done.stderr


def test_what_the_first_optimizer_would_import_is_there_before_anyone_can_interrupt_it():
    """Half imported, it would make every later training of that kernel fail."""
    program = "import sys; from helpers.lesson.lessons import start; start({}, 'cpu'); print('torch._dynamo' in sys.modules)"
    for number, there in ((3, "False"), (4, "True")):
        command = [sys.executable, "-c", program.format(number)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
        assert done.stdout.splitlines()[-1] == there, done.stderr


# --- the course's facts ---


def test_every_section_of_the_lecture_has_one_notebook():
    assert list(course.SECTIONS) == list(range(1, 73))
    assert sorted(n for each in course.COURSE for n in each.sections) == list(range(1, 73))
    assert [each.number for each in course.COURSE] == [f"{n:02d}" for n in range(17)]


def test_the_tables_of_the_notebooks_readme_are_those_of_the_course():
    readme = (course.NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    assert course.with_tables(readme) == readme, "make it anew: python -m helpers.lesson.course"


def test_the_picture_of_the_readme_is_drawn_by_a_command(tmp_path):
    """In a copy of the course, with the losses that notebook 16 stored there."""
    copy = copy_of_the_course(tmp_path / "course", course.notebook("16").path)
    page = copy / "notebooks" / "16_beyond.ipynb"
    page.write_text(page.read_text(encoding="utf-8").replace("  GPT      ", "  GPU      "), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "helpers.lesson.picture"]
    subprocess.run(command, cwd=copy, env=environment, check=True)
    drawn = (copy / "notebooks" / "ladder.png").read_bytes()
    assert b"uniform 4.3" in drawn and b"; GPU 1." in drawn and len(drawn) > 30_000


def test_the_tables_of_the_notebooks_readme_are_made_by_a_command(tmp_path):
    """In a copy of the course without notebook 01, its line goes, and the rest of the page stays."""
    copy = copy_of_the_course(tmp_path / "course", *(e.path for e in course.COURSE if e.path.is_file()))
    readme = copy / "notebooks" / "README.md"
    before = (course.NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    readme.write_text(before, encoding="utf-8", newline="\n")
    (copy / "notebooks" / "01_text_and_tokenizers.ipynb").unlink()
    subprocess.run([sys.executable, "-m", "helpers.lesson.course"], cwd=copy, check=True)
    after = readme.read_text(encoding="utf-8")
    assert "01_text_and_tokenizers" in before and "01_text_and_tokenizers" not in after
    assert "00_welcome_and_setup" in after and after.endswith(before[-20:])


def test_notebooks_carry_the_title_and_the_sections_that_the_course_says():
    for each in course.COURSE:
        if not each.path.is_file():
            continue
        notebook = nbformat.read(each.path, as_version=4)
        assert notebook.cells[0].source.startswith(f"# {each.number} · {each.title}\n"), each.stem
        found = [c.metadata["course_section"] for c in notebook.cells if "course_section" in c.metadata]
        assert sorted(found) == sorted(each.sections), each.stem


def test_the_terms_of_the_notebooks_readme_name_helpers_and_notebooks_that_are_there():
    readme = (course.NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| .* \| ([\d, ]+) \| (.*) \|$", readme, re.MULTILINE)
    rows += re.findall(r"^\| .* \| .* \| ([\d, ]+) \| ()\|$", readme, re.MULTILINE)
    assert len(rows) >= 25
    for notebooks, helper in rows:
        assert all(course.notebook(number.strip()) for number in notebooks.split(","))
        if helper.strip("` "):
            module, name = helper.strip("` ").split(".")
            assert hasattr(importlib.import_module(f"helpers.{module}"), name), helper
