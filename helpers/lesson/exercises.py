"""Exercises: what `ex.windows.check(windows)`, `ex.windows.hint()` and `ex.windows.solution()` show.

An exercise of the bank is an Exercise. Its check is a function of the learner's answer; it returns None when the answer
is right, and raises NotYet(key, message) when it is not; the message names the misconception. In a check, write

    got = call(answer, ids, block_size)     # on copies of the arguments; raises NotYet for errors and a forgotten return
    same(got, want)                         # raises NotYet for another type, shape, dtype, device or other values

Keys that these give: "none" (a forgotten return), "raised" (the learner's code raised an error), "type", "shape", "dtype",
"device", "values", and at the very end "inplace" (all is right, but an argument of `call` was changed).
The whole of it is in three files: this one shows, judging.py runs the learner's code, comparing.py compares.
"""

import html
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from helpers.lesson.comparing import NotYet, in_words, is_near, one_number, refuse_named, same
from helpers.lesson.judging import (
    CORRECT,
    DIFFICULTIES,
    NOT_ATTEMPTED,
    NOT_YET,
    Exercise,
    Verdict,
    Wrong,
    answer_from,
    call,
    call_in_place,
    filled,
    first_words,
    judge,
)

__all__ = [
    "CORRECT", "DIFFICULTIES", "NOT_ATTEMPTED", "NOT_YET", "Bank", "Bound", "Exercise", "NotYet", "Verdict", "Wrong",
    "answer_from", "call", "call_in_place", "filled", "in_words", "is_near", "judge", "on_outcome",
    "one_number", "refuse_named", "same",
]  # fmt: skip

# Called as on_outcome("04", "windows", "correct") after each check; lessons.py sets it.
on_outcome: Callable[[str, str, str], None] | None = None


class Bound:
    """An exercise in its notebook: `ex.windows`. None of its methods raises anything but KeyboardInterrupt."""

    def __init__(self, notebook: str, exercise: Exercise) -> None:
        self.notebook, self.exercise, self.name = notebook, exercise, exercise.name
        self._hints_shown = 0

    def check(self, *answer: Any) -> None:
        """Say whether the answer is right: `ex.windows.check(windows)`."""
        name = self.name
        if len(answer) == 1:
            verdict = judge(self.exercise, answer[0])
        else:
            given = f"{len(answer)} things" if answer else "nothing"
            message = f"check was given {given}. Hand over your `{name}`: `ex.{name}.check({name})`."
            verdict = Verdict(NOT_YET, "type", message)
        if verdict.outcome == CORRECT:
            parts = [("Correct", f"`{name}` does what was asked. `ex.{name}.solution()` shows our way.")]
        elif verdict.outcome == NOT_ATTEMPTED:
            what = f"write your code in place of the `...` of `{name}`, run that cell, then this one."
            parts = [("Not attempted yet", what)]
        else:
            parts = [("Not yet", verdict.message)]
        show_box(verdict.outcome, parts)
        if on_outcome is not None:
            try:
                on_outcome(self.notebook, name, verdict.outcome)
            except Exception as error:
                print(f"(This could not be noted in your progress: {first_words(error)})")

    def hint(self) -> None:
        """Show the next hint, below those before it: a cell that runs again loses what it had shown."""
        hints = self.exercise.hints
        out_of_hints = self._hints_shown == len(hints)
        self._hints_shown = min(self._hints_shown + 1, len(hints))
        shown = enumerate(hints[: self._hints_shown], start=1)
        parts = [(f"Hint {number} of {len(hints)}", text) for number, text in shown]
        if out_of_hints:
            parts.append(("There are no more hints", f"`ex.{self.name}.solution()` shows the code."))
        show_box("help", parts)

    def solution(self) -> None:
        """Show one right answer."""
        show_box("help", [("One solution", "")], code=self.exercise.solution)

    def __repr__(self) -> str:
        each = self.exercise
        return f"{each.name}: {each.title} ({each.difficulty}, {each.minutes} minutes)"


class Bank:
    """The exercises of a notebook by name: `ex.windows`. It has a length, and walking through it gives each one."""

    def __init__(self, notebook: str, exercises: Sequence[Exercise]) -> None:
        self._notebook = notebook
        self._bound = {each.name: Bound(notebook, each) for each in exercises}
        if len(self._bound) != len(exercises):
            raise ValueError(f"notebook {notebook}: two of its exercises have the same name")

    def __getattr__(self, name: str) -> Bound:
        found = self.__dict__.get("_bound", {})  # empty while a copy is being made
        if name in found:
            return found[name]
        if name.startswith("_"):  # Python and IPython look for many such names
            raise AttributeError(name)
        there = ", ".join(found) or "none yet"
        raise AttributeError(f"notebook {self._notebook} has no exercise {name!r}. It has: {there}.")

    def __iter__(self) -> Iterator[Bound]:
        return iter(self._bound.values())

    def __len__(self) -> int:
        return len(self._bound)

    def __dir__(self) -> list[str]:
        return list(self._bound)  # what the Tab key offers

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or f"notebook {self._notebook} has no exercises"


# --- the coloured box ---

# Background and stripe. The ink is dark on each of them, so the box looks the same in a light and in a dark theme.
COLOURS = {
    CORRECT: ("#e2f3eb", "#009e73"),
    NOT_YET: ("#fdeee3", "#d55e00"),
    NOT_ATTEMPTED: ("#eceef1", "#6b7280"),
    "help": ("#e4eff8", "#0072b2"),
}
INK = "#1b1f24"
CODE = f"color: {INK}; background: transparent; padding: 0; font-family: monospace; font-size: 0.95em;"


def show_box(look: str, parts: Sequence[tuple[str, str]], code: str = "") -> None:
    """Display a coloured box in a notebook, plain text elsewhere.

    look: a key of COLOURS. parts: (title, text); `code` between backticks in the text is set as code. code: whole lines,
    shown below.
    """
    plain = "\n".join(f"{title}: {text}".strip() for title, text in parts)
    plain = f"{plain}\n{code.rstrip()}" if code else plain
    plain = plain.encode("utf-8", "replace").decode("utf-8")  # no half characters of a learner's broken text
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(plain.encode(encoding, "replace").decode(encoding))
        return
    from IPython.display import display

    page = box_html(look, parts, code).encode("utf-8", "replace").decode("utf-8")
    display({"text/html": page, "text/plain": plain}, raw=True)


def box_html(look: str, parts: Sequence[tuple[str, str]], code: str = "") -> str:
    """The box of `show_box` as HTML. All that comes from outside is escaped, and `$` is not read as a formula."""
    background, stripe = COLOURS[look]
    rows = [f"<div><b>{html.escape(title)}:</b> {_with_code(text)}</div>" for title, text in parts]
    if code:
        lines = html.escape(code.rstrip())
        rows.append(f'<pre style="{CODE} margin: 0.5em 0 0; white-space: pre-wrap;">{lines}</pre>')
    style = (
        f"color: {INK}; background: {background}; border-left: 5px solid {stripe}; border-radius: 3px; "
        "padding: 0.6em 0.9em; margin: 0.2em 0; max-width: 56em; line-height: 1.5; white-space: pre-line;"
    )
    return f'<div class="mathjax_ignore tex2jax_ignore" style="{style}">{"".join(rows)}</div>'


def _with_code(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        f'<code style="{CODE}">{html.escape(part)}</code>' if at % 2 else html.escape(part)
        for at, part in enumerate(parts)
    )
