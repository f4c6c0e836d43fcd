"""Every exercise of the bank: its stub, its solution, and the wrong answers that it must name; and its place in a notebook.

    python -m pytest tests/test_bank.py -k nb04        # one module while it is being written

An answer finds as variables: the imports of PRELUDE, what the bank's module imports (modules, and helpers outside
lesson/), and NAMES, a dict, where that module has one (what the notebook has defined by then). That a notebook imports
all this too shows where it runs with all solutions, below.
"""

import ast
import importlib
import random
import re
import types
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from helpers.lesson import bank
from helpers.lesson.exercises import (
    CORRECT,
    DIFFICULTIES,
    NOT_ATTEMPTED,
    NOT_YET,
    Exercise,
    NotYet,
    answer_from,
    judge,
)
from helpers.lesson.finding import course_notebooks

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(path.stem for path in Path(bank.__file__).parent.glob("nb[0-9][0-9].py"))
NOTEBOOKS = [ROOT / "notebooks" / name for name in course_notebooks(ROOT / "notebooks")]
WITH_EXERCISES = [path for path in NOTEBOOKS if f"nb{path.name[:2]}" in MODULES]
CHEAP = {"none", "type", "shape", "dtype", "device", "raised"}  # found without an idea of what went wrong
PRELUDE = """
import math, random
from collections import Counter
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
"""


def module_of(name: str):
    return importlib.import_module(f"helpers.lesson.bank.{name}")


ALL = [
    pytest.param(name, each, id=f"{name}-{each.name}")
    for name in MODULES
    for each in module_of(name).EXERCISES
]
WRONG = [
    pytest.param(name, each, wrong, id=f"{name}-{each.name}-{wrong.key}")
    for name in MODULES
    for each in module_of(name).EXERCISES
    for wrong in each.wrong
]
exercises = pytest.mark.parametrize("module, exercise", ALL)


def answer(module: str, exercise: Exercise, source: str):
    """What a learner's cell with this source defines under the exercise's name."""
    names: dict = {}
    exec(PRELUDE, names)
    for name, value in vars(module_of(module)).items():
        home = getattr(value, "__module__", None) or ""
        imported = isinstance(value, types.ModuleType) or (
            callable(value) and not home.startswith("helpers.lesson")
        )
        names |= {name: value} if imported and not name.startswith("_") else {}
    return answer_from(source, exercise.name, {**names, **getattr(module_of(module), "NAMES", {})})


def judged(module: str, exercise: Exercise, source: str, **options):
    return judge(exercise, answer(module, exercise, source), **options)


# --- the answers ---


@exercises
def test_the_stub_is_not_attempted(module, exercise):
    assert judged(module, exercise, exercise.stub).outcome == NOT_ATTEMPTED


@exercises
def test_the_solution_is_correct(module, exercise):
    verdict = judged(module, exercise, exercise.solution)
    assert verdict.outcome == CORRECT, verdict


@pytest.mark.parametrize("module, exercise, wrong", WRONG)
def test_the_wrong_answer_is_refused_with_its_own_message(module, exercise, wrong):
    verdict = judged(module, exercise, wrong.code)
    assert (verdict.outcome, verdict.key) == (NOT_YET, wrong.key), verdict
    assert len(verdict.message.split()) >= 5


@exercises
def test_the_messages_of_an_exercise_differ(module, exercise):
    messages = [judged(module, exercise, wrong.code).message for wrong in exercise.wrong]
    assert len(set(messages)) == len(messages) > 0


@exercises
def test_a_verdict_is_the_same_each_time(module, exercise):
    for source in (exercise.solution, *(wrong.code for wrong in exercise.wrong)):
        first, *others = (judged(module, exercise, source) for _ in range(3))
        assert others == [first, first]


@exercises
def test_no_verdict_depends_on_the_seed(module, exercise):
    """Not on that of the engine, and not on the notebook's where the check runs without the engine."""
    for seed in (0, 7, 20_001):
        assert judged(module, exercise, exercise.solution, seed=seed).outcome == CORRECT
        for wrong in exercise.wrong:
            assert judged(module, exercise, wrong.code, seed=seed).key == wrong.key, seed
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        assert exercise.check(answer(module, exercise, exercise.solution)) is None


@exercises
def test_a_check_says_what_is_wrong_by_raising_not_yet(module, exercise):
    """Not by `assert`, which python -O leaves out."""
    with pytest.raises(NotYet):
        exercise.check(answer(module, exercise, exercise.wrong[0].code))


@pytest.mark.parametrize("module", MODULES)
def test_no_module_of_the_bank_asserts(module):
    tree = ast.parse(Path(module_of(module).__file__).read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []


# --- what belongs to an exercise ---


@exercises
def test_an_exercise_has_wrong_ideas_and_not_only_wrong_types(module, exercise):
    keys = [wrong.key for wrong in exercise.wrong]
    assert len(keys) >= 3 and len(set(keys)) == len(keys)
    assert sum(key in CHEAP for key in keys) <= 1, keys
    assert (
        "values" not in keys
    )  # same()'s own key: it says that the values differ, and names no misconception


@exercises
def test_the_hints_lead_and_do_not_tell(module, exercise):
    code = [line.strip() for line in exercise.solution.splitlines() if re.search("[a-z]", line)]
    assert len(exercise.hints) >= 2 and len(set(exercise.hints)) == len(exercise.hints)
    assert all(len(hint.split()) >= 3 and code[-1] not in hint for hint in exercise.hints), code[-1]


@exercises
def test_the_exercise_says_what_it_is(module, exercise):
    assert exercise.difficulty in DIFFICULTIES and 1 <= exercise.minutes <= 30
    assert exercise.title and re.search(rf"\b{exercise.name}\b", exercise.statement)
    assert exercise.kind == "value" or ast.get_docstring(definition(exercise)), "the stub has no docstring"


def definition(exercise: Exercise) -> ast.AST:
    (found,) = (n for n in ast.parse(exercise.stub).body if getattr(n, "name", None) == exercise.name)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_notebook_has_enough_exercises_and_their_names_differ(module):
    names = [each.name for each in module_of(module).EXERCISES]
    assert len(set(names)) == len(names)
    assert len(names) == 1 if module == "nb00" else 3 <= len(names) <= 5


# --- in the notebook ---


def exercises_in(path: Path) -> list[Exercise]:
    return module_of(f"nb{path.name[:2]}").EXERCISES


def cell_id(exercise: Exercise) -> str:
    return f"exercise-{exercise.name.replace('_', '-')}"


def check_cell(exercise: Exercise) -> str:
    name = exercise.name
    return f"ex.{name}.check({name})\n# ex.{name}.hint()\n# ex.{name}.solution()"


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_the_notebook_holds_each_exercise_as_the_bank_has_it(path):
    cells = nbformat.read(path, as_version=4).cells
    ids = [cell.get("id") for cell in cells]
    for each in exercises_in(path):
        assert cell_id(each) in ids, f"{path.name} has no cell {cell_id(each)}"
        at = ids.index(cell_id(each))
        text, stub, check = cells[at - 1], cells[at], cells[at + 1]
        heading = f"### Exercise: {each.title} · {each.difficulty} · {each.minutes} minutes"
        assert (text.cell_type, text.source) == ("markdown", f"{heading}\n\n{each.statement}".rstrip())
        assert (stub.cell_type, stub.source) == ("code", each.stub.rstrip("\n"))
        assert "exercise" in stub.metadata.get("tags", [])
        assert (check.cell_type, check.source) == ("code", check_cell(each))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_of_a_notebook_is_in_the_bank(path):
    known = {cell_id(each) for each in exercises_in(path)} if path in WITH_EXERCISES else set()
    tagged = [c for c in nbformat.read(path, as_version=4).cells if "exercise" in c.metadata.get("tags", [])]
    assert {cell.id for cell in tagged} == known


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_no_other_cell_uses_the_name_of_an_exercise(path):
    """So that nothing depends on whether it was solved."""
    names = {each.name for each in exercises_in(path)}
    own = {cell_id(each) for each in exercises_in(path)}, {check_cell(each) for each in exercises_in(path)}
    seen = 0
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code" or cell.get("id") in own[0] or cell.source in own[1]:
            continue
        seen += 1
        lines = ["" if line.startswith(("%", "!")) else line for line in cell.source.splitlines()]
        nodes = list(ast.walk(ast.parse("\n".join(lines))))
        used = {n.id for n in nodes if isinstance(n, ast.Name)} | {
            n.asname or n.name for n in nodes if isinstance(n, ast.alias)
        }
        used |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        assert not used & names, f"{sorted(used & names)} in {cell.source[:60]!r}"
    assert seen >= 3


def test_the_bank_is_not_empty():
    """The tests above are made from the modules that are there."""
    assert MODULES and ALL and WRONG
