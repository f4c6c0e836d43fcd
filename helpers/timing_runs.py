"""Timings that stay: data/timings.json holds one run after another, of this machine and of others.

    keep_run(comparisons, device, note="all threads")    # comparisons: of helpers.timing
    print(side_by_side(kept_runs()))                     # the newest runs, column by column
    merge_runs("timings_of_the_other_machine.json")      # the other machine's file, copied here
    forget_runs(keep=2)                                  # all but the newest two

All times are in seconds.
"""

import json
import math
import platform
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.device import describe
from helpers.state import read_json, set_aside, state_path, write_json
from helpers.timing import Comparison, in_units

FILE, WHAT = "timings.json", "your timings"
FACTS = ("id", "date", "machine", "device", "versions", "note")  # of a run, all of them text
NUMBERS = ("median", "low", "high")  # of a row, in seconds


def keep_run(comparisons: Sequence[Comparison], device: torch.device | str, note: str = "") -> dict:
    """Add the timings of `comparisons` to data/timings.json as one run, and return that run.

    device: on which the accelerator's column was measured. note: words of your own, such as the machine's name.
    A column that is empty adds no row. Raises ValueError where there is nothing to keep.
    """
    rows = [
        {"name": c.name, "size": c.size, "column": column, "median": t.median, "low": t.low, "high": t.high}
        | {"repeats": t.repeats}
        for c in comparisons
        for column, t in [*c.timings.items(), *((f"way {way}", t) for way, t in c.transfer.items())]
    ]
    if not rows:
        raise ValueError("there are no timings to keep: measure something with helpers.timing.compare first")
    run = {
        "id": uuid.uuid4().hex[:12],
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": processor(),
        "device": describe(device),
        "threads": torch.get_num_threads(),
        "versions": f"torch {torch.__version__}, NumPy {np.__version__} with {numpy_library()}",
        "note": note,
        "empty": {column: reason for c in comparisons for column, reason in c.empty.items()},
        "rows": rows,
    }
    write_json(state_path(FILE), [*kept_runs(), run])
    return run


def kept_runs() -> list[dict]:
    """All kept runs, the oldest first. A damaged file is set aside, and what is whole in it is kept."""
    path = state_path(FILE)
    runs = read_json(path, default=[], what=WHAT)
    whole = [run for run in runs if is_run(run)]
    if len(whole) < len(runs):
        set_aside(path, WHAT, f"{len(runs) - len(whole)} of its {len(runs)} runs cannot be read")
        write_json(path, whole)
    return sorted(whole, key=lambda run: run["date"])


def merge_runs(path: str | Path) -> int:
    """Add the runs of another machine's timings.json to yours, and return how many were new.

    The other file is only read. Raises ValueError for a file that holds no runs, OSError for one that is not there.
    """
    path = Path(path)
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path.name} is no file of timings ({error}): copy data/timings.json again"
        ) from None
    if not isinstance(theirs, list) or not all(map(is_run, theirs)):
        raise ValueError(
            f"{path.name} holds something else than timings: it is the other machine's data/timings.json that is wanted"
        )
    ours = kept_runs()
    known = {run["id"] for run in ours}
    new = [run for run in theirs if run["id"] not in known]
    if new:
        write_json(state_path(FILE), [*ours, *new])
    return len(new)


def forget_runs(keep: int = 0) -> int:
    """Remove all runs but the newest `keep`, and return how many were removed. Raises ValueError for keep below 0."""
    if keep < 0:
        raise ValueError(f"keep={keep}, but it is a number of runs: 0 or more")
    runs = kept_runs()
    stay = runs[max(0, len(runs) - keep) :]
    if len(stay) < len(runs):
        write_json(state_path(FILE), stay)
    return len(runs) - len(stay)


def side_by_side(runs: Sequence[dict], newest: int = 3) -> str:
    """The newest runs next to each other: a line for each operation, size and column, a column for each run.

    A dash means: not measured in that run. Below the table, what each run was measured on.
    """
    first = max(0, len(runs) - max(1, newest))
    shown = {f"run {number + 1}": runs[number] for number in range(first, len(runs))}
    if not shown:
        return "No timings are kept yet."
    table: dict[tuple, dict[str, str]] = {}  # {(name, size, column): {run: time}}
    for label, run in shown.items():
        for row in run["rows"]:
            size = math.inf if row["size"] is None else row["size"]
            table.setdefault((row["name"], size, row["column"]), {})[label] = in_units(row["median"])
    order = sorted(table, key=lambda key: key[:2])  # columns stay in the order in which they were measured
    whats = [name if size == math.inf else f"{name}, {size}" for name, size, _ in order]
    wide, high = max(map(len, whats)) + 2, max(len(column) for *_, column in order) + 1
    lines = [f"{'median of one call':{wide + high}}" + "".join(f"{label:>12}" for label in shown)]
    for number, (what, key) in enumerate(zip(whats, order, strict=True)):
        what = "" if number and what == whats[number - 1] else what
        times = "".join(f"{table[key].get(label, '–'):>12}" for label in shown)
        lines.append(f"{what:{wide}}{key[2]:{high}}{times}")
    lines.append("")
    empty: dict[str, list[str]] = {}  # {reason: runs}
    for label, run in shown.items():
        note = f' "{run["note"]}"' if run["note"] else ""
        place = "" if run["device"].startswith("cpu") else f", {run['device']}"
        lines.append(f"{label}: {run['date']}{note}, {run['machine']}{place}, threads: {run['threads']}")
        lines.append(f"       {run['versions']}")
        for column, reason in run["empty"].items():
            empty.setdefault(f"{column} ({reason})", []).append(label)
    lines += [f"Empty in {', '.join(labels)}: {reason}" for reason, labels in empty.items()]
    return "\n".join(lines)


def is_run(value: Any) -> bool:
    """Whether a value of a file has the form of a run."""
    if not (isinstance(value, dict) and all(isinstance(value.get(fact), str) for fact in FACTS)):
        return False
    rows, empty = value.get("rows"), value.get("empty")
    return (
        isinstance(value.get("threads"), int)
        and isinstance(empty, dict)
        and all(isinstance(reason, str) for reason in empty.values())
        and isinstance(rows, list)
        and bool(rows)
        and all(map(_is_row, rows))
    )


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("name"), str)
        and isinstance(row.get("column"), str)
        and (row.get("size") is None or isinstance(row["size"], int))
        and all(isinstance(row.get(each), int | float) and row[each] >= 0 for each in NUMBERS)
    )


def processor() -> str:
    """The processor's name as far as the system tells it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine() or "a machine without a name"


def numpy_library() -> str:
    """The library that multiplies matrices for NumPy, such as scipy-openblas, or "unknown"."""
    with suppress(Exception):  # the layout of this table is nobody's promise
        return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
    return "unknown"
