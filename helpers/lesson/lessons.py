"""A lesson: the frame of a notebook.

    lesson = start(4, device)                                   # two lines: text and device, budget and exercises
    lesson.record("counted bigram", loss, NATS, expect={"oz": (2.34, 2.39), "tales": (1.4, 1.5)})
    lesson.finish()                                             # time, exercises, losses so far, the next notebook

Nothing of it computes for the model; all of it can be deleted from a notebook, and the rest still runs.
"""

import html
import importlib
import math
import platform
import random
import sys
import time

import numpy as np
import torch

from helpers.books import Text, load_text
from helpers.device import describe
from helpers.lesson import bank, course, exercises, figures, progress

NATS = "nats per character"
SEED = 1337
TRAINS_FROM = 4  # the first notebook that uses an optimizer
# The rungs of the loss ladder, in the order in which the course climbs them: name of the record -> words.
LADDER = (
    "uniform", "unigram", "counted bigram", "neural bigram", "one head", "multi-head", "one block", "GPT", "modern GPT",
    "floor",
)  # fmt: skip

_current: "Lesson | None" = None


class Lesson:
    """One notebook at work: see `start`."""

    def __init__(self, number: int | str, device: torch.device | str) -> None:
        self.about = course.notebook(number)
        self.device = torch.device(device)
        self.text: Text = load_text()
        self.exercises = bank.exercises_of(self.about.number)
        self.seconds = 0.0  # spent in cells, up to the last one that has ended
        self._cell_started: float | None = time.perf_counter()

    # --- values ---

    def record(
        self, name: str, value: float, unit: str, expect: dict[str, tuple[float, float]] | None = None
    ) -> None:
        """Show a measured value and keep it.

        expect: for each known text ("oz", "tales") the range in which the value lies with the settings for a CPU. On
        another text or device, and without a range, the value is shown and not judged.
        Raises ValueError for a value that is no number and for a range that is none.
        """
        number = float(value)
        for where, (low, high) in (expect or {}).items():
            if not low < high:
                raise ValueError(f"record {name!r}: the range for {where} is ({low}, {high})")
        low, high = (expect or {}).get(self.text.name, (-math.inf, math.inf))
        judged = self.device.type == "cpu" and math.isfinite(low)
        ok = (low <= number <= high) if judged else None
        shown = f"{number:.4g}" if abs(number) < 1000 else f"{number:,.0f}"
        line = f"{name}: {shown} {unit}"
        if ok is False:
            line += f"   (usually {low:g} to {high:g} on this text: what is different?)"
        print(line)
        facts = {
            "value": number if math.isfinite(number) else str(number),
            "unit": unit,
            "text": self.text.name,
            "ok": ok,
        }
        if judged:
            facts |= {"low": low, "high": high}
        progress.note_record(self.about.number, name, facts)

    # --- the end ---

    def finish(self) -> None:
        """Show what the notebook took and gave, and where to go on."""
        seconds = self.seconds
        if self._cell_started is not None:
            seconds += time.perf_counter() - self._cell_started
        progress.note_finished(self.about.number, seconds, self.text.name)
        kept = progress.read()
        facts = [("time in cells", f"{seconds:.1f} s, of about {self.about.budget} s on two CPU cores")]
        memory = peak_mib()
        if memory:
            facts.append(("memory at most", f"{memory:,.0f} MiB"))
        if len(self.exercises):
            done = progress.of_notebook(kept, self.about.number)["exercises"]
            solved = sum(done.get(each.name, {}).get("outcome") == "correct" for each in self.exercises)
            facts.append(("exercises solved", f"{solved} of {len(self.exercises)}"))
        ladder = loss_ladder(kept, self.text.name) if self.about.number >= "05" else []
        following = course.following(self.about.number)
        text, page = [f"{name}: {value}" for name, value in facts], [_table(facts)]
        if ladder:
            rungs = [(name, f"{value:.3f}") for name, value in ladder]
            title = f"The loss so far, in {NATS} ({self.text.name}, text not seen in training)"
            text += [title] + [f"  {name:20} {value}" for name, value in rungs]
            page += [f"<p><b>{html.escape(title)}</b></p>", _table(rungs)]
        if self.about.learnt:
            text += ["What you know now:"] + [f"- {each}" for each in self.about.learnt]
            items = "".join(f"<li>{html.escape(each)}</li>" for each in self.about.learnt)
            page.append(f"<p><b>What you know now</b></p><ul>{items}</ul>")
        if following:
            name = f"{following.number} · {following.title}"
            skipped = course.still_to_come(self.about.number, following.number)
            shows = following.shows + (f" ({skipped} still to come)" if skipped else "")
            text.append(f"Next: {name}: {shows}")
            link = f'<a href="{following.path.name}">{html.escape(name)}</a>'
            page.append(f"<p>Next: {link}: {html.escape(shows)}</p>")
        show_html("\n".join(page), "\n".join(text))

    # --- time ---

    def _begin_cell(self, *_) -> None:
        self._cell_started = time.perf_counter()

    def _end_cell(self, *_) -> None:
        if self._cell_started is not None:
            self.seconds += time.perf_counter() - self._cell_started
        self._cell_started = None

    def _attach(self) -> None:
        shell = _shell()
        if shell is not None:
            shell.events.register("pre_run_cell", self._begin_cell)
            shell.events.register("post_run_cell", self._end_cell)

    def _detach(self) -> None:
        shell = _shell()
        if shell is not None:
            for event, call in (("pre_run_cell", self._begin_cell), ("post_run_cell", self._end_cell)):
                if call in shell.events.callbacks[event]:
                    shell.events.unregister(event, call)


def start(number: int | str, device: torch.device | str) -> Lesson:
    """Begin a lesson: say which text, device and budget there are, seed everything, set the look of figures.

    number: of the notebook, 0 to 16. Raises ValueError for another, and BookError for a text that cannot be read.
    """
    global _current
    lesson = Lesson(number, device)
    if _current is not None:
        _current._detach()
    _current = lesson
    lesson._attach()
    if int(lesson.about.number) >= TRAINS_FROM:
        # What the first optimizer would import. An interrupt in the middle of it leaves PyTorch without a part, and every
        # training after that fails until the kernel is restarted; here nobody interrupts.
        importlib.import_module("torch._dynamo")
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    figures.use_style()
    exercises.on_outcome = progress.note_exercise
    about, count = lesson.about, len(lesson.exercises)
    print(f"{lesson.text} · {describe(lesson.device)}")
    plural = "exercise" if count == 1 else "exercises"
    print(f"{about.number} · {about.title}: about {about.budget} s on two CPU cores, {count} {plural}")
    facts = [
        ("Python", f"{platform.python_version()} on {platform.system()}"),
        ("PyTorch", torch.__version__),
        ("NumPy", np.__version__),
        ("seed", f"{SEED}: the same random numbers each time the notebook runs from the top"),
        (
            "another text",
            "set the variable COURSE_TEXT to its file (or to: tales) before you start JupyterLab",
        ),
        ("another device", "set COURSE_DEVICE to cpu, cuda or mps"),
        ("what you have done", "is kept in data/progress.json: python -m helpers progress"),
    ]
    fold = f"<details><summary>More about this machine and this lesson</summary>{_table(facts)}</details>"
    show_html(fold, "")
    return lesson


def loss_ladder(kept: dict, text: str) -> list[tuple[str, float]]:
    """The recorded losses on a text, (name, nats per character), in the order of LADDER."""
    found = {}
    for part in kept["notebooks"].values():
        records = part.get("records", {}) if isinstance(part, dict) else {}
        for name, facts in records.items():
            if name in LADDER and facts.get("text") == text and isinstance(facts.get("value"), float):
                found[name] = facts["value"]
    return [(name, found[name]) for name in LADDER if name in found]


def peak_mib() -> float:
    """The most memory that this process has held, in MiB; 0 where the system does not say."""
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    except ImportError:  # Windows
        try:
            import psutil

            return psutil.Process().memory_info().peak_wset / 2**20
        except (ImportError, AttributeError):
            return 0.0


def show_html(page: str, text: str) -> None:
    """Display HTML in a notebook, plain text elsewhere (nothing where the text is empty)."""
    if _shell() is None:
        if text:
            print(text)
        return
    from IPython.display import display

    display({"text/html": page, "text/plain": text}, raw=True)


def _shell():
    """The running IPython, or None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def _table(facts: list[tuple[str, str]]) -> str:
    cell = '<td style="text-align: left; {}">{}</td>'
    rows = "".join(
        f"<tr>{cell.format('padding-right: 1.5em', html.escape(name))}{cell.format('', html.escape(value))}</tr>"
        for name, value in facts
    )
    return f"<table>{rows}</table>"
