"""python -m helpers run [NN ...]: run notebooks from top to bottom, on copies, and say how it went.

python -m helpers run                       all of them, in order
python -m helpers run 05 bigram --text tales
python -m helpers run --quick               does every cell run here? Long trainings take a twentieth of their steps
python -m helpers run --save-outputs        for those who write the course: put the outputs into the files
"""

import argparse
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode
from tqdm.std import tqdm

from helpers import books
from helpers.lesson.execution import Result, course_text, quick_wanted, run_notebook
from helpers.lesson.finding import NOTEBOOKS, NotFound, course_notebooks, find
from helpers.lesson.saving import NOTEBOOK_LIMIT, SavingError, code_cells, plain, prepare, to_bytes, write

__all__ = ["BUDGETS", "Result", "main", "run_notebook"]

# Seconds that a notebook may take on a 2-core CPU.
BUDGETS = {
    "00": 15, "01": 25, "02": 20, "03": 45, "04": 15, "05": 40, "06": 45, "07": 30, "08": 30, "09": 30, "10": 120,
    "11": 60, "12": 30, "13": 60, "14": 45, "15": 105, "16": 150,
}  # fmt: skip
MARGIN = 2.0  # so many times its budget may a notebook take on a slower or a busy machine
MEMORY_LIMIT = 2048  # MiB that a notebook may take on a CPU, with the processes it starts
TRACEBACK_LINES = 25


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Return 0 if all went well, 1 if a notebook failed, 2 for wrong arguments, 130 after Ctrl-C."""
    options = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook may say what this terminal cannot show
            stream.reconfigure(errors="replace")
    try:
        names = chosen(options.notebooks, options.names)
        if options.quick and options.save_outputs:
            raise ValueError("--save-outputs stores whole runs: leave --quick and COURSE_QUICK out")
        options.text = text_to_use(options.text, options.save_outputs)
        device_check(options.device)
    except (NotFound, ValueError, RuntimeError) as error:  # BookError is a ValueError
        print(error, file=sys.stderr)
        return 2
    results: list[Result] = []
    before = end_on_sigterm()
    try:
        # One place for the GPT of notebook 10 and for what notebooks record, so that later notebooks of the same run find
        # them, and the learner's stay as they are.
        with tempfile.TemporaryDirectory(prefix="course-run-", ignore_cleanup_errors=True) as folder:
            options.my_gpt, options.state = Path(folder) / "my_gpt.pt", Path(folder) / "state"
            for name in names:
                results.append(run_one(options.notebooks / name, options, len(results) + 1, len(names)))
        code = 0 if all(result.ok for result in results) else 1
    except KeyboardInterrupt:
        print("\nStopped; what had been started has ended.", file=sys.stderr)
        code = 130
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    report(results, options)
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    p = argparse.ArgumentParser(
        prog="python -m helpers run",
        description="Run notebooks from top to bottom, on copies: what you have edited stays as it is.",
    )
    p.add_argument(
        "names", nargs="*", metavar="NN", help="a number (5 or 05) or a part of a name; without one, all"
    )
    p.add_argument(
        "--text", metavar="FILE|tales", help="the text to learn from (default: the book, else the tales)"
    )
    p.add_argument(
        "--device", choices=("cpu", "cuda", "mps"), help="where to compute (default: the best there is)"
    )
    p.add_argument(
        "--save-outputs",
        action="store_true",
        help="store the outputs in the notebooks (only with the Oz book)",
    )
    p.add_argument(
        "--quick",
        action="store_true",
        default=quick_wanted(),
        help="a twentieth of the steps in long trainings, and no value is judged (also: COURSE_QUICK=1)",
    )
    p.add_argument(
        "--margin",
        type=above_zero,
        default=MARGIN,
        metavar="FACTOR",
        help="fail where a notebook takes longer than its budget times this, on a CPU (default: %(default)g)",
    )
    p.add_argument("--json", action="store_true", help="end with one line of JSON")
    p.add_argument(
        "--timeout",
        type=above_zero,
        default=600.0,
        metavar="SECONDS",
        help="for one cell (default: %(default)g)",
    )
    p.add_argument("--notebooks", type=Path, default=NOTEBOOKS, help=argparse.SUPPRESS)
    return p


def above_zero(text: str) -> float:
    """Return a number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def chosen(folder: Path, wanted: Sequence[str]) -> list[str]:
    """Return the file names to run, in the order of the course, each once. Raises NotFound."""
    names = course_notebooks(folder)
    if not names:
        raise NotFound(f"there are no notebooks in {folder}")
    return sorted({find(word, names) for word in wanted}) or names


def text_to_use(text: str | None, saving: bool) -> str | None:
    """Return what COURSE_TEXT is to be in the notebooks, None for the course's own choice.

    Raises BookError if there is no such text, ValueError if outputs are to be saved with another than the Oz book.
    """
    text = text or os.environ.get("COURSE_TEXT", "").strip().strip("\"'") or None
    value = course_text(text)
    if saving:
        loaded = books.load_text(text)
        if loaded.name != "oz":
            raise ValueError(
                f"--save-outputs stores a run on the Oz book, but the text is: {loaded}.\n"
                "Fetch the book with  python download_wizard_of_oz.py  and leave --text and COURSE_TEXT out."
            )
    return value


def device_check(device: str | None) -> None:
    """Raise RuntimeError if this machine lacks the device that was asked for."""
    if device not in (None, "cpu"):
        from helpers.device import pick_device  # imports torch, which takes a while

        pick_device(device)


def end_on_sigterm():
    """Let SIGTERM end us as Ctrl-C does, so that no kernel stays; return the old handler, None if that fails."""

    def stop(*_) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        return None


def run_one(path: Path, options: argparse.Namespace, number: int, total: int) -> Result:
    """Run one notebook with a progress bar, save its outputs if that is asked for, and return how it went."""
    before = path.read_bytes()
    with Progress(path.stem, f"[{number}/{total}]") as progress:
        result = run_notebook(
            path, text=options.text, device=options.device, timeout=options.timeout, my_gpt=options.my_gpt,
            state=options.state, on_cell=progress.on_cell, quick=options.quick,
        )  # fmt: skip
    if result.ok and (wrong := beyond_limits(result, options)):
        result.ok, result.error = False, f"ran, but {'; '.join(wrong)}"
    if result.ok and options.save_outputs:
        try:
            write(path, prepare(result.executed), over=before)
        except (SavingError, OSError) as error:
            result.ok, result.error = False, f"ran, but its outputs were not saved:\n{error}"
    progress.say(f"{path.stem}: {verdict(result, options)}, {result.seconds:.1f} s")
    return result


class Progress:
    """A tqdm bar over the cells of one notebook; plain lines where there is no terminal."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name, self.prefix = name, prefix
        self.bar = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            layout = "{desc} |{bar}| {n_fmt}/{total_fmt} cells, {elapsed}{postfix}"
            self.bar = tqdm(
                desc=f"{self.prefix} {self.name}", bar_format=layout, leave=False, dynamic_ncols=True
            )
        else:
            self.say(f"{self.prefix} {self.name} ...")
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def on_cell(self, cell: NotebookNode, number: int, total: int) -> None:
        """Show that code cell `number` of `total` starts."""
        if self.bar is not None:
            self.bar.total, self.bar.n = total, number - 1
            self.bar.set_postfix_str(cell.source.strip().splitlines()[0][:40], refresh=False)
            self.bar.refresh()


def beyond_limits(result: Result, options: argparse.Namespace) -> list[str]:
    """Return what a run took too much of: time and memory on a CPU, and room for its outputs in the file."""
    found, budget = [], BUDGETS.get(result.notebook[:2], math.inf)
    if result.seconds > options.margin * budget and on_cpu(options.device):
        found.append(
            f"it took {result.seconds:.0f} s, more than {options.margin:g} times its budget of {budget} s: is the "
            "machine busy or slow? --margin allows more"
        )
    if result.peak_mib > MEMORY_LIMIT and on_cpu(options.device):
        found.append(f"it held {result.peak_mib:.0f} MiB at once, allowed are {MEMORY_LIMIT}")
    size = len(to_bytes(result.executed)) if result.executed else 0
    if size > options.margin * NOTEBOOK_LIMIT:
        found.append(
            f"with its outputs it has {size:,} bytes, more than {options.margin:g} times {NOTEBOOK_LIMIT:,}: print and draw less"
        )
    return found


def verdict(result: Result, options: argparse.Namespace) -> str:
    """Return what stands in the table: ok, saved, failed or not saved, and whether the budget was kept."""
    if not result.ok:
        return "not saved" if "outputs were not saved" in result.error else "failed"
    late = result.seconds > BUDGETS.get(result.notebook[:2], math.inf) and on_cpu(options.device)
    return ("saved" if options.save_outputs else "ok") + (", over budget" if late else "")


def on_cpu(device: str | None) -> bool:
    """Return whether the notebooks computed on the CPU, for which the budgets are."""
    from helpers.device import pick_device  # imports torch, which takes a while: only for who is late

    try:
        return pick_device(device).type == "cpu"
    except (ValueError, RuntimeError):
        return True


def report(results: list[Result], options: argparse.Namespace) -> None:
    """Print the table, then what is to be said about single notebooks, then the line of JSON."""
    rows = [("notebook", "seconds", "budget", "peak MiB", "result")]
    for r in results:
        budget = BUDGETS.get(r.notebook[:2])
        rows.append(
            (r.notebook, f"{r.seconds:.1f}", str(budget or "-"), f"{r.peak_mib:.0f}", verdict(r, options))
        )
    if len(results) > 1:
        total, peak = sum(r.seconds for r in results), max(r.peak_mib for r in results)
        good = sum(r.ok for r in results)
        rows.append(("together", f"{total:.1f}", "", f"{peak:.0f}", f"{good} of {len(results)} ok"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for name, *numbers, result in rows:
        middle = "  ".join(text.rjust(width) for text, width in zip(numbers, widths[1:4], strict=True))
        print(f"{name:<{widths[0]}}  {middle}  {result}")
    for r in results:
        for note in r.notes:
            print(f"\nnote: {r.notebook}, {note}")
        if not r.ok:
            print(f"\nFAILED: {r.notebook}, {r.error}")
            print(traceback_of(r), end="")
    if options.json:
        keys = ("notebook", "seconds", "peak_mib", "ok")
        print(json.dumps([{key: getattr(r, key) for key in keys} for r in results]))
    sys.stdout.flush()


def traceback_of(result: Result) -> str:
    """Return the end of the traceback that a failed notebook shows, indented, or an empty string."""
    outputs = [o for _, cell in code_cells(result.executed) for o in cell.outputs] if result.executed else []
    lines = [
        line
        for o in outputs
        if o.output_type == "error"
        for line in plain("\n".join(o.traceback)).splitlines()
    ]
    return "".join(f"    {line}\n" for line in lines[-TRACEBACK_LINES:])


if __name__ == "__main__":
    sys.exit(main())
