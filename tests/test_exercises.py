"""The engine of the exercises, shown on toy exercises: three outcomes, no tracebacks, and what is wrong named."""

import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.lesson import bank, exercises
from helpers.lesson.execution import run_notebook
from helpers.lesson.exercises import (
    COLOURS,
    CORRECT,
    INK,
    NOT_ATTEMPTED,
    NOT_YET,
    Bank,
    Exercise,
    NotYet,
    Wrong,
    answer_from,
    box_html,
    call,
    call_in_place,
    filled,
    in_words,
    judge,
    same,
)

ROOT = Path(__file__).resolve().parent.parent

STUB = '''def doubled(numbers):
    """Twice each number.

    numbers: (N,)    returns: (N,)
    """
    ...
'''
SOLUTION = STUB.replace("...", "return 2 * numbers")


def check_doubled(answer):
    numbers = torch.tensor([1.0, 3.0, -2.0])
    got = call(answer, numbers)
    if isinstance(got, torch.Tensor) and torch.equal(got, numbers**2):
        raise NotYet("squared", "your numbers are squared. Is 3 + 3 the same as 3 * 3?")
    same(got, 2 * numbers)


def exercise(**changes) -> Exercise:
    facts = {
        "name": "doubled",
        "title": "Twice",
        "difficulty": "easy",
        "minutes": 2,
        "statement": "Write `doubled`.",
        "stub": STUB,
        "solution": SOLUTION,
        "hints": ("What is 3 + 3?", "A product with `2` does it."),
        "check": check_doubled,
        "wrong": (Wrong("squared", STUB.replace("...", "return numbers**2")),),
    }
    return Exercise(**(facts | changes))


def attempt(body: str, **changes):
    """The verdict on `doubled` with this body."""
    each = exercise(**changes)
    return judge(each, answer_from(each.stub.replace("...", body.replace("\n", "\n    ")), each.name))


def test_a_stub_is_filled_in_at_its_dots_and_one_without_them_is_refused():
    assert filled("def f():\n    ...\n", "    return 1\n") == "def f():\n    return 1\n"
    for stub in ("def f():\n    pass\n", "def f():\n    ...\n    ...\n"):
        with pytest.raises(ValueError, match="one line of dots"):
            filled(stub, "    return 1\n")


@pytest.fixture
def ex() -> Bank:
    return Bank("04", [exercise()])


@pytest.fixture
def outcomes(monkeypatch) -> list[tuple[str, str, str]]:
    kept: list[tuple[str, str, str]] = []
    monkeypatch.setattr(exercises, "on_outcome", lambda *facts: kept.append(facts))
    return kept


# --- three outcomes ---


def test_the_three_outcomes_are_told_apart():
    assert attempt("...").outcome == NOT_ATTEMPTED
    assert attempt("return numbers**2").outcome == NOT_YET
    assert attempt("return 2 * numbers").outcome == CORRECT


def test_the_misconception_is_named():
    verdict = attempt("return numbers**2")
    assert (verdict.key, verdict.message) == (
        "squared",
        "your numbers are squared. Is 3 + 3 the same as 3 * 3?",
    )


@pytest.mark.parametrize(
    "body", ["pass", "return", "return None", "...\n...", "'still nothing'", "return ..."]
)
def test_a_body_that_does_nothing_is_not_attempted(body):
    assert attempt(body).outcome == NOT_ATTEMPTED


def test_whether_it_was_attempted_needs_no_source_and_no_docstring():
    space = {}
    exec("def doubled(numbers): ...", space)
    assert judge(exercise(), space["doubled"]).outcome == NOT_ATTEMPTED
    exec("def doubled(numbers): 2 * numbers", space)
    assert judge(exercise(), space["doubled"]).key == "none"


@pytest.mark.parametrize("body", ["twice = 2 * numbers", "numbers + numbers", "numbers = numbers"])
def test_a_changed_body_without_return_is_a_forgotten_return(body):
    verdict = attempt(body)
    assert (verdict.outcome, verdict.key) == (NOT_YET, "none")
    assert "`doubled` returns None. Is the `return` missing?" in verdict.message


def test_a_printed_result_is_told_from_a_returned_one(capsys):
    verdict = attempt("print(2 * numbers)")
    assert verdict.key == "none" and "`print` only shows a value" in verdict.message
    assert capsys.readouterr().out == "tensor([ 2.,  6., -4.])\n"  # what the learner prints is left alone


@pytest.mark.parametrize("body", ["if len(numbers) > 99:\n    return numbers", "return [].append(numbers)"])
def test_a_return_that_gives_none_is_named(body):
    verdict = attempt(body)
    assert verdict.key == "none" and "every way through it" in verdict.message


def test_a_stub_with_code_in_it_is_not_attempted_until_that_changes():
    stub = "def total(numbers):\n    result = 0\n    for number in numbers:\n        ...\n    return result\n"

    def check(answer):
        same(call(answer, [1, 2, 4]), 7)

    each = exercise(name="total", stub=stub, check=check)
    assert judge(each, answer_from(stub, "total")).outcome == NOT_ATTEMPTED
    done = stub.replace("...", "result += number")
    assert judge(each, answer_from(done, "total")).outcome == CORRECT
    assert judge(each, answer_from(stub.replace("= 0", "= 1"), "total")).key == "values"


def test_a_decorated_function_is_seen_through():
    stub = "import torch\n@torch.no_grad()\n" + STUB
    assert judge(exercise(stub=stub), answer_from(stub, "doubled")).outcome == NOT_ATTEMPTED
    solution = stub.replace("...", "return 2 * numbers")
    assert judge(exercise(stub=stub), answer_from(solution, "doubled")).outcome == CORRECT


def test_a_function_from_elsewhere_may_be_the_answer():
    assert judge(exercise(), torch.Tensor.double).key == "dtype"
    assert judge(exercise(), lambda numbers: numbers + numbers).outcome == CORRECT


VALUE = {"name": "size", "stub": "size = ...\n", "check": lambda answer: same(answer, 12)}


def test_a_value_may_be_asked_for():
    each = exercise(**VALUE)
    assert judge(each, ...).outcome == NOT_ATTEMPTED
    assert judge(each, 12).outcome == CORRECT
    assert judge(each, 13).key == "values"
    assert judge(each, 12.0).key == "type"
    assert judge(each, None).key == "none"
    assert judge(each, len).key == "type"


CLASS = """class Scale(nn.Module):
    def __init__(self, size):
        super().__init__()
        ...

    def forward(self, x):
        ...
"""
SCALE = CLASS.replace("        ...\n\n", "        self.size = size\n\n").replace(
    "        ...\n", "        return self.size * x\n"
)


def scale(source: str):
    def check(answer):
        module = call(answer, 3)
        same(call(module, torch.ones(2)), torch.full((2,), 3.0))

    each = exercise(name="Scale", stub=CLASS, check=check)
    return judge(each, answer_from(source, "Scale", {"nn": torch.nn}))


def test_a_class_may_be_asked_for():
    assert scale(CLASS).outcome == NOT_ATTEMPTED
    assert scale(SCALE).outcome == CORRECT
    assert (
        scale(SCALE.replace("return ", "y = ")).message == "`forward` returns None. Is the `return` missing?"
    )
    half = CLASS.replace("        ...\n\n", "        self.size = size\n\n")
    assert scale(half).message == "`forward` returns None. Its body is still empty."
    forgotten = scale(SCALE.replace("self.size = size", "size = size"))
    assert forgotten.key == "raised" and "in line 7: `return self.size * x`" in forgotten.message


# --- what was handed over ---


def test_a_called_function_is_named():
    verdict = judge(exercise(), torch.ones(3))
    assert (verdict.outcome, verdict.key) == (NOT_YET, "type")
    assert (
        "a tensor of shape (3,)" in verdict.message
        and "without calling it: `ex.doubled.check(doubled)`" in verdict.message
    )
    assert "check was given None" in judge(exercise(), None).message


def test_an_object_of_the_class_is_told_from_the_class():
    made = answer_from(SCALE, "Scale", {"nn": torch.nn})(3)
    verdict = judge(exercise(name="Scale", stub=CLASS), made)
    assert verdict.key == "type" and "an object made from it" in verdict.message


@pytest.mark.parametrize("handed_over, said", [((), "given nothing"), ((1, 2), "given 2 things")])
def test_a_check_of_nothing_says_how_it_is_written(ex, capsys, outcomes, handed_over, said):
    ex.doubled.check(*handed_over)
    out = capsys.readouterr().out
    assert said in out and "ex.doubled.check(doubled)" in out
    assert outcomes == [("04", "doubled", NOT_YET)]


def test_a_changed_first_line_is_named():
    each = answer_from("def doubled(numbers, factor):\n    return factor * numbers\n", "doubled")
    verdict = judge(exercise(), each)
    assert verdict.key == "raised" and "takes the arguments `(numbers, factor)`" in verdict.message
    assert "factor" in verdict.message and "first line" in verdict.message


# --- errors in the learner's code ---


def test_an_error_is_shown_with_its_line():
    verdict = attempt("half = numbers / 2\nraise ValueError(f'not {len(numbers)}')")
    assert verdict.key == "raised"
    assert verdict.message == (
        "your code raised ValueError: not 3 in line 7: `raise ValueError(f'not {len(numbers)}')`."
    )


def test_an_error_inside_a_library_is_shown_with_the_learners_line():
    verdict = attempt("return numbers @ torch.ones(5)\n", stub="import torch\n" + STUB)
    assert re.match(
        r"your code raised RuntimeError: .*3.*5.* in line 7: `return numbers @ torch.ones\(5\)`",
        verdict.message,
    )


def test_an_error_in_a_function_that_the_learners_code_calls_is_shown_where_it_happens():
    source = "def half(x):\n    return x / nought\n\n\n" + STUB.replace("...", "return half(numbers)")
    verdict = judge(exercise(), answer_from(source, "doubled"))
    assert verdict.message.endswith("in line 2: `return x / nought`.") and "'nought'" in verdict.message


def test_an_error_is_shown_without_the_line_where_the_source_is_not_known():
    space = {}
    exec("def doubled(numbers):\n    return 1 / 0\n", space)
    assert (
        judge(exercise(), space["doubled"]).message
        == "your code raised ZeroDivisionError: division by zero in line 2."
    )


@pytest.mark.parametrize(
    "body, said",
    [
        ("return doubled(numbers)", "RecursionError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import sys\nsys.exit()", "SystemExit"),
        ("raise Exception", "raised Exception in line 6"),
        ("class Odd(Exception):\n    def __str__(self):\n        return 1 / 0\nraise Odd", "raised Odd in line 9"),
        ("raise ValueError('x' * 100_000)", "ValueError"),
        ("1 / 0\n...", "ZeroDivisionError"),
        ("raise MemoryError", "MemoryError"),
        ("raise StopIteration", "StopIteration"),
        ("async def inner(): ...\nraise RuntimeError('a\\nb')", "RuntimeError: a b"),
    ],
)  # fmt: skip
def test_whatever_the_learners_code_raises_is_named(body, said):
    verdict = attempt(body)
    assert (verdict.outcome, verdict.key) == (NOT_YET, "raised")
    assert said in verdict.message and len(verdict.message) < 600


def test_ctrl_c_goes_through_and_leaves_the_random_numbers_alone():
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(KeyboardInterrupt):
        attempt("import random\nrandom.random()\nraise KeyboardInterrupt")
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]


@pytest.mark.parametrize(
    "body",
    [
        "return 'six'",
        "return doubled",
        "return int",
        "return (number for number in numbers)",
        "yield 2 * numbers",
        "class Trap:\n    def __getattribute__(self, name):\n        raise ValueError(name)\nreturn Trap()",
        "class Liar:\n    __class__ = property(lambda self: 1 / 0)\nreturn Liar()",
        "class Odd:\n    def __repr__(self):\n        return 3\nreturn [Odd()]",
        "deep = []\nfor _ in range(100_000):\n    deep = [deep]\nreturn deep",
        "loop = []\nloop.append(loop)\nreturn loop",
        "return numbers.to_sparse()",
        "return numbers.to('meta')",
    ],
)
def test_whatever_the_learners_code_returns_gets_a_verdict(body):
    verdict = attempt(body, stub="import torch\n" + STUB)
    assert verdict.outcome == NOT_YET and len(verdict.message) < 600


def test_a_check_that_meets_something_unforeseen_does_not_fail():
    """The check below reads .shape of whatever comes."""

    def careless(answer):
        if call(answer, 3).shape == (9,):
            raise NotYet("never", "never")

    verdict = attempt("return 'abc'", check=careless)
    assert (verdict.outcome, verdict.key) == (NOT_YET, "type") and "no attribute 'shape'" in verdict.message


def test_a_check_that_calls_the_function_by_itself_still_names_the_learners_line():
    verdict = attempt("return 1 / 0", check=lambda answer: same(answer(3), 6))
    assert (
        verdict.message == "your code raised ZeroDivisionError: division by zero in line 6: `return 1 / 0`."
    )


def test_a_check_that_returns_something_finds_nothing_correct():
    """A check says what is wrong by raising; one that returns its words would otherwise pass everything."""
    assert attempt("return 2 * numbers", check=lambda answer: "not right").outcome == NOT_YET


# --- arguments that are changed in place ---


@pytest.mark.parametrize(
    "body",
    ["numbers *= 2\nreturn numbers", "return numbers.mul_(2)", "numbers += numbers\nreturn numbers * 1"],
)
def test_a_right_result_that_changes_its_input_is_refused(body):
    verdict = attempt(body)
    assert (verdict.outcome, verdict.key) == (NOT_YET, "inplace")
    assert "changes `numbers` in place" in verdict.message


def test_a_wrong_result_is_named_before_a_changed_input():
    assert attempt("numbers *= 2\nreturn numbers**0").key == "values"


def test_a_call_works_on_copies():
    values = {
        "list": [1, [2]],
        "dict": {"a": [1]},
        "array": np.ones(2),
        "tensor": torch.ones(2),
        "count": Counter("aab"),
    }

    def spoil(list, dict, array, tensor, count):
        list[1].append(3)
        dict["a"].clear()
        array[:] = 0
        tensor.zero_()
        count["a"] = 9
        return len(list)

    assert call(spoil, *values.values()) == 2
    assert values["list"] == [1, [2]] and values["dict"] == {"a": [1]} and values["count"] == Counter("aab")
    assert values["array"].sum() == 2 and values["tensor"].sum() == 2


@pytest.mark.parametrize(
    "argument",
    [
        [1, 2],
        {"a": 1},
        {1, 2},
        np.ones(2),
        torch.ones(2),
        Counter("ab"),
        ([1], 2),
        torch.tensor([float("nan"), 1]),
    ],
)
def test_only_a_change_counts_as_one(argument):
    """... and a value that is not equal to itself is none."""
    stub = "def kept(value):\n    ...\n"
    each = exercise(name="kept", stub=stub, check=lambda answer: same(call(answer, argument), 1))
    assert judge(each, answer_from("def kept(value):\n    return 1\n", "kept")).outcome == CORRECT


def test_a_function_that_is_meant_to_change_its_arguments_can_be_called_so():
    weights = torch.ones(2, requires_grad=True)

    def step(weights):
        with torch.no_grad():
            weights -= 0.5

    assert call_in_place(step, weights) is None
    assert weights.tolist() == [0.5, 0.5]


def test_a_copied_parameter_still_wants_a_gradient():
    weights = torch.nn.Parameter(torch.ones(2))
    assert call(lambda w: (type(w), w.requires_grad, w.is_leaf), weights) == (torch.nn.Parameter, True, True)


# --- comparing ---


def key_of(got, want, **options) -> str | None:
    try:
        same(got, want, **options)
    except NotYet as error:
        assert len(error.message) < 500
        return error.key
    return None


@pytest.mark.parametrize(
    "got, want",
    [
        (3, 3), (np.int64(3), 3), (0.1 + 0.2, 0.3), (2, 2.0), (np.float32(0.1), 0.1), (True, True), (np.bool_(True), True),
        ("ab", "ab"), ([1, 2], [1, 2]), ((1, 2), [1, 2]), (torch.Size([2, 3]), (2, 3)), ({"a": 0.3}, {"a": 0.1 + 0.2}),
        ({1, 2}, {2, 1}), (float("nan"), float("nan")), (b"x", b"x"), (torch.float32, torch.float32),
        (torch.tensor([1.0, float("-inf")]), torch.tensor([1.0, float("-inf")])), (torch.tensor(2), torch.tensor(2)),
        (torch.ones(2, requires_grad=True), torch.ones(2)), (torch.ones(0), torch.ones(0)), (np.arange(3), np.arange(3)),
        (np.array(["a"]), np.array(["a"])), (torch.tensor([True]), torch.tensor([True])),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
    ],
)  # fmt: skip
def test_equal_values_are_the_same(got, want):
    assert key_of(got, want) is None


@pytest.mark.parametrize(
    "got, want, key",
    [
        (4, 3, "values"), (3.0, 3, "type"), (True, 1, "type"), (1, True, "type"), ("3", 3, "type"), (None, 3, "type"),
        (torch.tensor(3), 3, "type"), (np.array(3.0), 3.0, "type"), (0.31, 0.3, "values"), ("ab", "abc", "values"),
        ([1], [1, 2], "shape"), ([1, 3], [1, 2], "values"), ("ab", ["a", "b"], "type"), (torch.ones(2), [1, 1], "type"),
        ({"a": 1}, {"a": 2}, "values"), ({}, {"a": 2}, "values"), ({"a": 1, "b": 1}, {"a": 1}, "values"), ([], {}, "type"),
        ({1}, {2}, "values"), ([1.0], torch.ones(1), "type"), (np.ones(1), torch.ones(1), "type"),
        (torch.ones(1), np.ones(1), "type"), (torch.ones(2, 1), torch.ones(2), "shape"), (torch.ones(2), torch.ones(2, 2), "shape"),
        (torch.ones(2).double(), torch.ones(2), "dtype"), (torch.ones(2).int(), torch.ones(2).long(), "dtype"),
        (torch.ones(2), torch.tensor([1.0, 1.1]), "values"), (torch.tensor([1, 2]), torch.tensor([1, 3]), "values"),
        (torch.ones(2, device="meta"), torch.ones(2), "device"), (np.ones(2), np.zeros(2), "values"),
        (torch.tensor([float("nan")]), torch.ones(1), "values"), (np.array(["a"]), np.array(["b"]), "values"),
    ],
)  # fmt: skip
def test_values_that_differ_are_named_by_what_differs(got, want, key):
    assert key_of(got, want) == key


def test_the_message_gives_both_values_and_the_place():
    with pytest.raises(NotYet) as caught:
        same(
            torch.tensor([[1.0, 2.0], [3.0, 4.5]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), what="the scores"
        )
    assert caught.value.message == (
        "the type and the shape of the scores are right, the values are not: it has 4.5 at [1, 1] and should have 4.0. "
        "1 of 4 values differ."
    )
    with pytest.raises(NotYet, match=r"^item 1 of the result is the number 3; it should be the number 2\.$"):
        same((1, 3), (1, 2))
    with pytest.raises(NotYet, match=r"has the shape \(2, 3\); it should have \(3, 2\)"):
        same(torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(NotYet, match=r"the number 3\.0; it should be a whole number"):
        same(3.0, 3)
    with pytest.raises(NotYet, match=r"From position 200 on it is 'b' in place of 'c'"):
        same("a" * 200 + "b", "a" * 200 + "c")


def test_the_tolerance_is_as_wide_as_it_says():
    assert key_of(torch.tensor([1.0001]), torch.ones(1)) == "values"
    assert key_of(torch.tensor([1.0001]), torch.ones(1), tolerance=1e-3) is None
    assert key_of(1.0001, 1.0) == "values" and key_of(1.0001, 1.0, tolerance=1e-3) is None


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each) | st.tuples(each, each),
    max_leaves=8,
)


@given(plain_data)
def test_every_value_is_the_same_as_itself(value):
    assert key_of(value, value) is None


@given(plain_data, plain_data)
def test_two_values_are_the_same_or_are_told_apart_in_a_short_message(one, other):
    key = key_of(one, other)
    assert key in (None, "type", "shape", "values") and len(in_words(one)) < 500
    if isinstance(one, str) and isinstance(other, str):
        assert (key is None) == (one == other)


# --- chance ---


def test_a_check_leaves_the_notebooks_random_numbers_as_they_were():
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    verdict = attempt(
        "import random\ntorch.rand(3), random.random()\nreturn 2 * numbers", stub="import torch\n" + STUB
    )
    assert verdict.outcome == CORRECT
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_a_check_sees_the_same_random_numbers_each_time():
    def check(answer):
        same(call(answer, torch.rand(2)), -1.0)

    messages = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        messages.append(attempt("return numbers.sum().item()", check=check).message)
    assert messages[0] == messages[1] and "the number" in messages[0]


# --- what is shown ---


def test_a_check_is_shown_and_noted(ex, capsys, outcomes):
    for body in ("...", "return numbers**2", "return 2 * numbers"):
        assert ex.doubled.check(answer_from(STUB.replace("...", body), "doubled")) is None
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("Not attempted yet: ") and "`...` of `doubled`" in first
    assert second == "Not yet: your numbers are squared. Is 3 + 3 the same as 3 * 3?"
    assert third.startswith("Correct: ") and "ex.doubled.solution()" in third
    assert outcomes == [("04", "doubled", each) for each in (NOT_ATTEMPTED, NOT_YET, CORRECT)]


def test_a_progress_that_cannot_be_kept_is_no_error(ex, capsys, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(exercises, "on_outcome", full)
    ex.doubled.check(answer_from(SOLUTION, "doubled"))
    assert "Correct" in (out := capsys.readouterr().out) and "disk full" in out


def test_without_a_recorder_a_check_is_only_shown(ex, capsys, monkeypatch):
    monkeypatch.setattr(exercises, "on_outcome", None)
    ex.doubled.check(answer_from(SOLUTION, "doubled"))
    assert capsys.readouterr().out.startswith("Correct")


def test_hints_come_one_by_one_and_end(ex, capsys):
    shown = []
    for _ in range(4):
        ex.doubled.hint()
        shown.append(capsys.readouterr().out)
    assert shown[0] == "Hint 1 of 2: What is 3 + 3?\n"
    assert shown[1] == shown[0] + "Hint 2 of 2: A product with `2` does it.\n"
    assert (
        shown[2]
        == shown[3]
        == shown[1] + "There are no more hints: `ex.doubled.solution()` shows the code.\n"
    )


def test_the_solution_is_shown_as_code(ex, capsys):
    ex.doubled.solution()
    assert capsys.readouterr().out == "One solution:\n" + SOLUTION


def test_the_box_escapes_what_comes_from_outside_and_sets_code():
    page = box_html(
        NOT_YET, [("Not yet", "line `if a < b & c:` and <script>alert(1)</script>")], code="x = '<b>'\n"
    )
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert re.search(r"<code[^>]*>if a &lt; b &amp; c:</code>", page)
    assert re.search(r"<pre[^>]*>x = &#x27;&lt;b&gt;&#x27;</pre>", page)
    assert "mathjax_ignore" in page  # a $ in the learner's code begins no formula


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    parts = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_the_box_brings_its_own_colours_and_can_be_read():
    """So it does not depend on a light or a dark theme. 7 is the contrast that WCAG asks for at its strictest level."""
    assert {CORRECT, NOT_YET, NOT_ATTEMPTED} < COLOURS.keys()
    for look, (background, stripe) in COLOURS.items():
        page = box_html(look, [("Title", "`code`")], code="x")
        assert f"color: {INK}; background: {background}" in page and stripe in page
        assert page.count(f"color: {INK}") == 3  # the box, the code in a line, the lines of code
        assert (luminance(background) + 0.05) / (luminance(INK) + 0.05) > 7


def test_broken_text_can_be_shown(ex, capsys):
    exercises.show_box(NOT_YET, [("Not yet", "half a character: \ud83d")])
    assert "half a character" in capsys.readouterr().out


# --- the bank ---


def test_a_bank_gives_its_exercises_by_name(ex):
    assert (
        ex.doubled.name == "doubled" and [each.name for each in ex] == ["doubled"] == dir(ex) and len(ex) == 1
    )
    assert repr(ex) == "doubled: Twice (easy, 2 minutes)"


def test_an_unknown_exercise_is_answered_with_those_there_are(ex):
    with pytest.raises(AttributeError, match="notebook 04 has no exercise 'doubles'. It has: doubled"):
        _ = ex.doubles
    with pytest.raises(AttributeError, match="none yet"):
        _ = Bank("77", []).windows
    assert not hasattr(ex, "_repr_html_")


def test_two_exercises_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="the same name"):
        Bank("04", [exercise(), exercise()])


def test_a_notebook_without_exercises_has_an_empty_bank():
    assert len(bank.exercises_of("77")) == len(bank.exercises_of(77)) == 0


def test_a_module_of_the_bank_is_found_by_its_number(monkeypatch):
    module = type(sys)("helpers.lesson.bank.nb07")
    module.EXERCISES = [exercise()]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert (
        [each.name for each in bank.exercises_of("07")]
        == ["doubled"]
        == [each.name for each in bank.exercises_of(7)]
    )


def test_a_bank_module_that_misses_an_import_is_an_error_and_no_empty_bank(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'nothing'", name="nothing")

    monkeypatch.setattr(bank.importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        bank.exercises_of("04")


def test_an_exercise_is_refused_whose_stub_lacks_its_name():
    with pytest.raises(ValueError, match="does not define tripled"):
        exercise(name="tripled")
    with pytest.raises(ValueError, match="'trivial' is none of easy, medium, hard"):
        exercise(difficulty="trivial")


# --- python -O, and a real notebook ---


@pytest.mark.slow
@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_the_engine_works_without_assertions(option):
    """python -O leaves out `assert`, and -OO docstrings too."""
    program = (
        "from test_exercises import *\n"
        "for body in ('...', 'numbers * 2', 'return numbers**2', 'return 2 * numbers', '1 / 0', 'return numbers.mul_(2)'):\n"
        "    verdict = attempt(body)\n"
        "    print(verdict.outcome, verdict.key)\n"
    )
    command = [sys.executable, option, "-c", f"import sys; sys.path[:0] = ['.', 'tests']\n{program}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.stdout.splitlines() == [
        "not attempted ", "not yet none", "not yet squared", "correct ", "not yet raised", "not yet inplace",
    ], done.stderr  # fmt: skip


TOY = """
from helpers.lesson import exercises
from helpers.lesson.exercises import *


def check(answer):
    same(call(answer, 3), 6)


STUB = "def doubled(number):\\n    ...\\n"
ex = Bank("04", [Exercise("doubled", "Twice", "easy", 2, "", STUB, "def doubled(number):\\n    return 2 * number",
                          ("a hint with `code`",), check, ())])
exercises.on_outcome = lambda *facts: print(*facts)
"""


@pytest.mark.notebook
def test_in_a_notebook_the_outcomes_are_boxes_with_a_text_beside_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = [
        TOY,
        "def doubled(number):\n    ...", "ex.doubled.check(doubled)",
        "def doubled(number):\n    half = number / 2\n    return half.upper()", "ex.doubled.check(doubled)",
        "# a comment\n\ndef doubled(number):\n    exit = 3\n    raise SystemExit", "ex.doubled.check(doubled)",
        "def doubled(number):\n    print('thinking')\n    return number + number", "ex.doubled.check(doubled)",
        "ex.doubled.check(doubled(3))", "ex.doubled.hint()", "ex.doubled.solution()", "ex",
    ]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "99_toy.ipynb"
    nbformat.write(notebook, path)
    result = run_notebook(path, text="tales", device="cpu")
    assert result.ok and not result.notes, result.error
    outputs = [cell.outputs for cell in result.executed.cells]

    def shown(at: int) -> str:
        (box,) = (each for each in outputs[at] if each.output_type in ("display_data", "execute_result"))
        assert ("text/html" in box.data) == (box.output_type == "display_data")
        return box.data["text/plain"]

    assert shown(2).startswith("Not attempted yet: ")
    assert shown(4) == (
        "Not yet: your code raised AttributeError: 'float' object has no attribute 'upper' in line 3: `return half.upper()`."
    )
    assert "raised SystemExit in line 5: `raise SystemExit`" in shown(6)
    assert shown(8).startswith("Correct: ")
    assert [each.text for each in outputs[8] if each.output_type == "stream"] == [
        "thinking\n",
        "04 doubled correct\n",
    ]
    assert shown(9).startswith("Not yet: check was given the number 6, not the function `doubled`.")
    assert shown(10) == "Hint 1 of 1: a hint with `code`"
    assert shown(11) == "One solution:\ndef doubled(number):\n    return 2 * number"
    assert shown(12) == "doubled: Twice (easy, 2 minutes)"


# --- what the banks share ---


def test_one_number_takes_a_number_in_any_dress_and_nothing_else():
    from helpers.lesson.exercises import one_number

    assert one_number(3, "n") == one_number(torch.tensor([3.0]), "n") == 3.0
    for wrong in (True, None, "3", [3], torch.zeros(2)):
        with pytest.raises(NotYet, match="n is one number") as caught:
            one_number(wrong, "n")
        assert caught.value.key == "type"


def test_a_named_mistake_is_refused_by_its_shape_and_its_numbers():
    from helpers.lesson.exercises import is_near, refuse_named

    want = torch.tensor([1.0, 2.0])
    assert is_near(want + 1e-6, want) and is_near(want.double(), want)
    assert not is_near(want + 0.1, want) and not is_near(want[None], want) and not is_near([1.0, 2.0], want)
    refuse_named(want, {"other": (want + 1, "no")})
    with pytest.raises(NotYet, match="halved") as caught:
        refuse_named(want / 2, {"other": (want + 1, "no"), "half": (want / 2, "halved")})
    assert caught.value.key == "half"
