"""Every case that stops learners is held by tests that exist: see cases.py."""

import subprocess
import sys
from pathlib import Path

import pytest
from cases import CASES, HELD

HERE = Path(__file__).resolve().parent
NAMED = {place for places in CASES.values() for place in places}


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The tests that pytest finds in the files that are named, as file.py::name; those without a parameter left out."""
    files = sorted({place.split("::")[0] for place in NAMED})
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "--override-ini=addopts=",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, *(HERE / file for file in files)],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    lines = [line for line in done.stdout.splitlines() if "::" in line and "[NOTSET]" not in line]
    return {line.split("[")[0].split("/")[-1] for line in lines}


def test_every_case_that_the_course_must_hold_has_a_test():
    assert sorted(number for number in HELD if not CASES.get(number)) == []
    assert len(HELD) == 64 and set(CASES) <= HELD


@pytest.mark.parametrize("number", sorted(CASES))
def test_the_tests_of_the_case_exist(number, collected):
    assert CASES[number] and sorted(set(CASES[number]) - collected) == []


def test_a_test_that_does_not_exist_would_be_noticed(collected):
    assert len(collected) > len(NAMED) and "test_cases.py::test_of_nothing" not in collected
