"""Judge a learner's answer to an exercise: not attempted, not yet (and why), or correct. Nothing of it shows anything.

    verdict = judge(exercise, windows)
    print(verdict.outcome, verdict.key, verdict.message)

Whatever goes wrong in the learner's code or on the way ends in a verdict; Ctrl-C (KeyboardInterrupt) goes through.
"""

import ast
import dis
import inspect
import linecache
import random
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from types import CodeType, TracebackType
from typing import Any

import numpy as np
import torch

from helpers.lesson.comparing import NotYet, copied, in_words, name_of, unchanged

NOT_ATTEMPTED, NOT_YET, CORRECT = "not attempted", "not yet", "correct"
DIFFICULTIES = ("easy", "medium", "hard")
DOTS = "    ...\n"  # what the learner replaces in a stub
SEED = 1337  # of the random numbers inside a check


class NotAttempted(Exception):
    """The learner's code still gives `...`."""


def filled(stub: str, body: str) -> str:
    """A stub with `body`, indented lines of code, in place of its dots. Raises ValueError for a stub without them."""
    if stub.count(DOTS) != 1:
        raise ValueError(
            f"a stub has one line of dots to fill in, but this one has {stub.count(DOTS)}:\n{stub}"
        )
    return stub.replace(DOTS, body)


@dataclass(frozen=True)
class Wrong:
    """An answer that learners really give: the key of the NotYet it must get, and the whole source of the cell."""

    key: str
    code: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. stub, solution and each Wrong's code are the whole source of the stub cell.

    Raises ValueError for a stub that does not define `name`, and for an unknown difficulty.
    """

    name: str  # of the function, class or value that the learner writes
    title: str
    difficulty: str  # one of DIFFICULTIES
    minutes: int
    statement: str  # Markdown: what to write, and why
    stub: str
    solution: str
    hints: Sequence[str]  # plain text with `code`, each more telling than the one before
    check: Callable[[Any], None]  # raises NotYet
    wrong: Sequence[Wrong]

    def __post_init__(self) -> None:
        if self.difficulty not in DIFFICULTIES:
            raise ValueError(
                f"exercise {self.name}: {self.difficulty!r} is none of {', '.join(DIFFICULTIES)}"
            )
        if self.kind == "":
            raise ValueError(f"exercise {self.name}: its stub does not define {self.name}")

    @cached_property
    def kind(self) -> str:
        """What the stub defines under the exercise's name: "function", "class" or "value"; "" where it does not."""
        for node in ast.parse(self.stub).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == self.name:
                return "function" if isinstance(node, ast.FunctionDef) else "class"
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == self.name for target in targets):
                return "value"
        return ""


@dataclass(frozen=True)
class Verdict:
    """What a check found: one of the three outcomes; for "not yet" the key and the message."""

    outcome: str
    key: str = ""
    message: str = ""


_changed: list[str] = []  # while a check runs: arguments that the learner's function has changed


def judge(exercise: Exercise, answer: Any, seed: int = SEED) -> Verdict:
    """Return the verdict on an answer. Raises nothing but KeyboardInterrupt.

    The check sees the same random numbers each time; those of the notebook go on as if there had been no check.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(
        seed
    )  # torch.manual_seed would reach the generators of other devices too
    _changed.clear()
    try:
        _must_be_the_right_kind(exercise, answer)
        if answer is ... or untouched(exercise, answer):
            return Verdict(NOT_ATTEMPTED)
        if exercise.check(answer) is not None:
            raise TypeError(f"the check of {exercise.name} returned something")
        if _changed:
            names = " and ".join(f"`{name}`" for name in dict.fromkeys(_changed))
            message = f"the result is right, but your code changes {names} in place: whoever calls it finds their own "
            raise NotYet("inplace", message + "data changed afterwards. Can you work on a new object?")
        return Verdict(CORRECT)
    except NotAttempted:
        return Verdict(NOT_ATTEMPTED)
    except NotYet as error:
        return Verdict(NOT_YET, error.key, error.message)
    except (Exception, SystemExit) as error:
        if learners_step(error):
            return Verdict(NOT_YET, "raised", raised(error))
        message = f"the check could not use what your code gives ({first_words(error, 120)}). Is it of the type and shape that"
        return Verdict(NOT_YET, "type", message + " the exercise asks for?")
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def call(answer: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run the learner's function on copies of the arguments, and return its result.

    Copied are tensors, arrays, lists, tuples, dicts and sets. Raises NotYet: "raised" with the error and its line,
    "none" for a forgotten return. An answer that changes its arguments is refused with "inplace" once all else is right.
    """
    given, named = [copied(each) for each in args], {name: copied(each) for name, each in kwargs.items()}
    result = call_in_place(answer, *given, **named)
    if result is None:
        raise NotYet("none", _no_result(answer))
    with suppress(Exception):
        names = list(inspect.signature(answer).parameters)
        names += [f"argument {number + 1}" for number in range(len(names), len(args))]
        _changed.extend(n for n, old, new in zip(names, args, given, strict=False) if not unchanged(old, new))
        _changed.extend(name for name in kwargs if not unchanged(kwargs[name], named[name]))
    return result


def call_in_place(answer: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run the learner's function on the arguments themselves: for one that is meant to change them. It may return None.

    Raises NotYet ("raised") with the error and its line.
    """
    try:
        signature = inspect.signature(answer)
    except Exception:  # some built-in functions have none
        signature = None
    if signature is not None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            message = f"`{name_of(answer)}` takes the arguments `{signature}`, and the check calls it otherwise ({error})."
            raise NotYet("raised", f"{message} Is its first line still that of the exercise?") from None
    try:
        result = answer(*args, **kwargs)
    except (NotYet, NotAttempted):
        raise
    except (Exception, SystemExit) as error:
        raise NotYet("raised", raised(error)) from None
    if result is ...:
        raise NotAttempted
    return result


def answer_from(source: str, name: str, names: Mapping[str, Any] | None = None) -> Any:
    """Run a cell's source, with `names` as the notebook's variables, and return what is called `name` afterwards.

    For tests. Raises whatever the source raises.
    """
    filename = f"<cell {next(_cells)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    space = {**(names or {}), "__name__": "__main__"}
    exec(compile(source, filename, "exec", dont_inherit=True), space)
    return space[name]


_cells = count(1)


# --- attempted or not ---


def _must_be_the_right_kind(exercise: Exercise, answer: Any) -> None:
    """Raise NotYet where something else was handed over than the stub's function or class."""
    name, kind = exercise.name, exercise.kind
    if kind == "value":
        if answer is None:
            raise NotYet("none", f"`{name}` is None. What changes an object in place often gives None back.")
        return
    if answer is ... or (inspect.isclass(answer) if kind == "class" else callable(answer)):
        return
    made = kind == "class" and type(answer).__name__ == name
    raise NotYet(
        "type",
        f"check was given {'an object made from it' if made else in_words(answer)}, not the {kind} `{name}`. Hand over the "
        f"{kind} itself, without calling it: `ex.{name}.check({name})`.",
    )


def untouched(exercise: Exercise, answer: Any) -> bool:
    """Whether a function or class does what the stub does and no more, whatever its docstring says.

    Bytecode is compared, so it needs no source.
    """
    stub = _code_in(compile(exercise.stub, "<stub>", "exec", dont_inherit=True), exercise.name)
    if stub is None or not callable(answer):
        return False
    if inspect.isclass(answer):
        pairs = [
            (own, getattr(inspect.unwrap(vars(answer).get(own.co_name)), "__code__", None))
            for own in stub.co_consts
            if isinstance(own, CodeType) and not own.co_name.startswith("__annotate")
        ]
        return bool(pairs) and all(code is not None and _steps(code) == _steps(own) for own, code in pairs)
    code = getattr(inspect.unwrap(answer), "__code__", None)
    return code is not None and _steps(code) == _steps(stub)


def _code_in(code: CodeType, name: str) -> CodeType | None:
    """The code of the function or class of this name that a piece of code defines."""
    return next(
        (each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name), None
    )


def _steps(code: CodeType) -> list[tuple[str, Any]]:
    """What a function does, as a list that can be compared: bytecode without docstring and line numbers."""
    return [
        (each.opname, _steps(each.argval) if isinstance(each.argval, CodeType) else each.argval)
        for each in dis.get_instructions(code)
        if each.opname not in ("NOP", "RESUME", "CACHE")
    ]


def _no_result(answer: Callable) -> str:
    """What to say about a function that returned None."""
    function = answer if inspect.isroutine(answer) else getattr(answer, "forward", type(answer).__call__)
    code = getattr(inspect.unwrap(function), "__code__", None)
    text = f"`{name_of(function)}` returns None."
    if code is None:
        return text
    if _steps(code) == _steps((lambda: None).__code__):
        return f"{text} Its body is still empty."
    if any(_returns(code)):
        return f"{text} Does every way through it end in a `return`, and has what it returns a value?"
    if "print" in code.co_names:
        return f"{text} It has no `return`: `print` only shows a value, `return` hands it to whoever calls."
    return f"{text} Is the `return` missing?"


def _returns(code: CodeType) -> list[bool]:
    """For each end of a function: whether something else than None is returned there."""
    steps = [each for each in dis.get_instructions(code) if each.opname not in ("NOP", "CACHE")]
    ends = []
    for before, step in zip(steps, steps[1:], strict=False):
        if step.opname == "RETURN_CONST":  # Python 3.12 and 3.13
            ends.append(step.argval is not None)
        elif step.opname == "RETURN_VALUE":
            ends.append(not (before.opname == "LOAD_CONST" and before.argval is None))
    return ends


# --- errors of the learner's code ---


def raised(error: BaseException) -> str:
    """Say what the learner's code raised: "your code raised ValueError: ... in line 3: `the line`"."""
    text, step = f"your code raised {first_words(error)}", learners_step(error)
    if step is not None:
        code, number = step.tb_frame.f_code, step.tb_lineno
        line = linecache.getline(code.co_filename, number, step.tb_frame.f_globals).strip()
        text += f" in line {number}" + (f": `{line}`" if line else "")
    text = text if text.endswith(("?", "!")) else f"{text}."
    if isinstance(error, RecursionError):
        text += " Does it call itself without an end?"
    if isinstance(error, SystemExit):
        text += " To end a function, use `return`."
    return text


def first_words(error: BaseException, width: int = 300) -> str:
    """The type of an error and what it says, cut to `width` characters."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a learner's own error may fail to say anything
        text = ""
    return (
        f"{type(error).__name__}: {textwrap.shorten(text, width, placeholder=' ...')}"
        if text
        else type(error).__name__
    )


def learners_step(error: BaseException) -> TracebackType | None:
    """The innermost step of the traceback that stands in a cell of the notebook (or in a script that was started)."""
    found, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__name__", "__main__") == "__main__":
            found = step
        step = step.tb_next
    return found
