"""What a learner has done, kept in data/progress.json. Standard library only.

    python -m helpers progress            # the map of the course: what is done, and the minutes left
    python -m helpers progress --csv      # the same for a spreadsheet: one line per notebook and exercise

The notebooks write it: `lesson.record`, the checks of exercises and `lesson.finish`. The file is the learner's; it
can be deleted at any time.
"""

import argparse
import csv
import importlib
import sys
import time
from dataclasses import dataclass

from helpers.lesson import course
from helpers.state import read_json, state_path, write_json

FILE = "progress.json"
FORMAT = 1
OUTCOMES = ("not attempted", "not yet", "correct")


def read() -> dict:
    """Return {"format": 1, "notebooks": {"04": {...}}}; what does not fit is left out, a damaged file set aside."""
    kept = read_json(state_path(FILE), default={}, what="your progress")
    notebooks = kept.get("notebooks")
    return {"format": FORMAT, "notebooks": notebooks if isinstance(notebooks, dict) else {}}


def of_notebook(kept: dict, number: str) -> dict:
    """Return the part of one notebook, made if it is not there: records, exercises, and the last finished run."""
    part = kept["notebooks"].get(number)
    if not isinstance(part, dict):
        part = kept["notebooks"][number] = {}
    for name in ("records", "exercises"):
        if not isinstance(part.get(name), dict):
            part[name] = {}
    return part


def note_record(number: str, name: str, facts: dict) -> None:
    """Keep a measured value: facts hold value, unit, text, ok."""
    kept = read()
    of_notebook(kept, number)["records"][name] = facts
    _write(kept)


def note_exercise(number: str, name: str, outcome: str) -> None:
    """Keep how an attempt at an exercise ended. Solved once is solved, whatever is tried afterwards."""
    if outcome == "not attempted":
        return
    kept = read()
    exercises = of_notebook(kept, number)["exercises"]
    before = exercises.get(name) if isinstance(exercises.get(name), dict) else {}
    solved = "correct" in (outcome, before.get("outcome"))
    tries = before.get("tries", 0) + (before.get("outcome") != "correct")
    exercises[name] = {"outcome": "correct" if solved else outcome, "tries": tries}
    _write(kept)


def note_finished(number: str, seconds: float, text: str) -> None:
    """Keep that a notebook was run to its end. seconds: spent in its cells."""
    kept = read()
    facts = {"date": time.strftime("%Y-%m-%d"), "seconds": round(seconds, 1), "text": text}
    of_notebook(kept, number)["finished"] = facts
    _write(kept)


def _write(kept: dict) -> None:
    """Write the file; where that cannot be done, say so and go on: a lesson never fails for its progress."""
    try:
        write_json(state_path(FILE), kept)
    except OSError as error:
        print(f"your progress could not be kept in {FILE} ({error.strerror or error}): the notebook goes on.")


@dataclass(frozen=True)
class Row:
    """One notebook of the map."""

    notebook: course.Notebook
    finished: str  # a date, or ""
    solved: int
    exercises: tuple[str, ...]  # names
    outcomes: dict[str, dict]

    @property
    def done(self) -> bool:
        """Run to its end, and every exercise solved."""
        return bool(self.finished) and self.solved == len(self.exercises)


def rows() -> list[Row]:
    """The notebooks that are in the folder, with what is done of each."""
    kept = read()
    table = []
    for each in course.COURSE:
        if not each.path.is_file():
            continue
        part = of_notebook(kept, each.number)
        outcomes = {name: facts for name, facts in part["exercises"].items() if isinstance(facts, dict)}
        names = exercise_names(each.number) or tuple(outcomes)
        solved = sum(outcomes.get(name, {}).get("outcome") == "correct" for name in names)
        finished = part.get("finished") if isinstance(part.get("finished"), dict) else {}
        table.append(Row(each, str(finished.get("date", "")), solved, names, outcomes))
    return table


def exercise_names(number: str) -> tuple[str, ...]:
    """Names of a notebook's exercises; none where its bank cannot be read, as on a Python without torch."""
    try:
        return tuple(e.name for e in importlib.import_module(f"helpers.lesson.bank.nb{number}").EXERCISES)
    except ImportError:
        return ()


def the_map() -> str:
    """The course as lines of text: what is done, what is left, and the minutes for it."""
    table = rows()
    lines, left = [], 0
    for row in table:
        mark = "done" if row.done else "begun" if row.finished or row.outcomes else "-"
        exercises = f"{row.solved} of {len(row.exercises)} exercises" if row.exercises else ""
        lines.append(f"  {row.notebook.number}  {row.notebook.title:32} {mark:6} {exercises}")
        left += 0 if row.done else row.notebook.minutes
    done = sum(row.done for row in table)
    lines.append(f"\n{done} of {len(table)} notebooks done; about {left} minutes left.")
    return "\n".join(lines)


def write_csv(file) -> None:
    """Write one line per notebook (kind `notebook`) and per exercise (kind `exercise`)."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["notebook", "kind", "name", "outcome", "tries", "date"])
    for row in rows():
        number = row.notebook.number
        outcome = "finished" if row.finished else "not finished"
        writer.writerow([number, "notebook", row.notebook.name, outcome, "", row.finished])
        for name in row.exercises:
            facts = row.outcomes.get(name, {})
            writer.writerow(
                [number, "exercise", name, facts.get("outcome", OUTCOMES[0]), facts.get("tries", 0), ""]
            )


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers progress", description="What you have done of the course."
    )
    ap.add_argument("--csv", action="store_true", help="for a spreadsheet, for example of a class")
    args = ap.parse_args(argv)
    if args.csv:
        write_csv(sys.stdout)
    else:
        print(the_map())
    return 0


if __name__ == "__main__":
    sys.exit(main())
