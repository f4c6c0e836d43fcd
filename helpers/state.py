"""The learner's own small files: progress, timings. Standard library only.

    path = state_path("progress.json")              # in data/, or in the folder that COURSE_STATE names
    done = read_json(path, default={}, what="your progress")
    write_json(path, done)

A file appears under its name only when it is whole. One that cannot be read is set aside, never thrown away.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from helpers.files import write_whole

DATA = Path(__file__).resolve().parent.parent / "data"


def state_path(name: str) -> Path:
    """Return the place of one of the learner's files. `python -m helpers run` and the tests use another folder."""
    return Path(os.environ.get("COURSE_STATE") or DATA) / name


def read_json(path: Path, default: Any, what: str) -> Any:
    """Return what the file holds, or `default` where there is no file.

    what: the words for the file in a notice, such as "your progress". The value must be of the same type as
    `default`. A damaged file is set aside under a dated name, with one printed notice, and `default` comes back.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except OSError as error:
        print(f"{what}: {path.name} cannot be read ({error.strerror}): going on without it.")
        return default
    except (ValueError, RecursionError) as error:
        set_aside(path, what, str(error))
        return default
    if not isinstance(value, type(default)):
        set_aside(path, what, f"it holds a {type(value).__name__}, not a {type(default).__name__}")
        return default
    return value


def set_aside(path: Path, what: str, reason: str) -> None:
    """Move a damaged file to a dated name beside it, and say so."""
    aside = path.with_name(f"{path.stem}.damaged-{time.strftime('%Y-%m-%d-%H%M%S')}{path.suffix}")
    try:
        os.replace(path, aside)
        print(f"{what}: {path.name} is damaged ({reason}). It is kept as {aside.name}; a new one is begun.")
    except OSError as error:
        print(f"{what}: {path.name} is damaged ({reason}) and cannot be moved ({error.strerror}).")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON; an older file stays as it was if anything goes wrong. Raises OSError, ValueError."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text)
