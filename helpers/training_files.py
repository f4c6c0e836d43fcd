"""The files of `python -m helpers.train`: the model, and the state with which a stopped run goes on.

NAME.pt holds the best weights and is written when the run is done. NAME.last.pt holds the newest weights and all that
`--resume` needs; it is written again and again, each time whole. Introduced by notebooks 12 and 13 (sections 63 and 67
of the lecture).
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers import checkpoints
from helpers.tokenizer import Tokenizer

STALE = 60  # seconds after which a temporary file that nobody writes to was left by a run that is no more
NAMES = ("text", "data", "tales_characters")  # where a corpus is: what it is tells its checksum


@dataclass
class Kept:
    """A run that can go on. state: for `train(resume=...)`; weights: of its model; facts: of a finished one, else None."""

    state: dict
    weights: dict
    facts: dict | None = None


def last_name(out: Path) -> Path:
    """The file beside `out` that holds what a resume needs."""
    return out.with_name(out.stem + ".last.pt")


def clean_up(*paths: Path) -> None:
    """Remove temporary files that a killed run left beside these paths; only ours, and none that is being written."""
    for path in paths:
        ours = re.compile(rf"\.{re.escape(path.name)}\.([a-z0-9_]{{8}}|\d+\.part)")
        for found in path.parent.glob(".*") if path.parent.is_dir() else ():
            if ours.fullmatch(found.name) and time.time() - found.stat().st_mtime > STALE:
                found.unlink(missing_ok=True)


def set_aside(out: Path, notice: Callable[[str], object] = print) -> None:
    """Before a run that begins anew: keep the state of an unfinished one as NAME.last.pt.old.

    Where there is such a file already, the one that got further is kept.
    """
    path = last_name(out)
    old = path.with_name(f"{path.name}.old")
    step, steps = _progress(path)
    if step == 0 or (step >= steps and out.is_file()):
        return
    if _progress(old)[0] < step:
        os.replace(path, old)
    notice(
        f"There is a run that was stopped at step {step} of {steps} ({path}). This one begins anew, as it was called "
        f"without --resume. The state of the old one is kept as {old.name}: to go on with it, give it the name {path.name} "
        "again and add --resume."
    )


def find_run(
    out: Path,
    tokenizer: Tokenizer,
    recipe: dict,
    checksum: str,
    where: dict,
    notice: Callable[[str], object] = print,
) -> Kept | None:
    """The run that was kept under `out`, or None and a notice where there is none yet.

    recipe: the settings, which must be those of the run (steps may differ). checksum: of the corpus. where: facts about
    the machine that may differ, which `notice` says. Raises ValueError for another run, or a damaged file.
    """
    path = last_name(out)
    if not path.is_file():
        notice(f"There is no {path} to go on from: this run begins at the beginning.")
        return None
    kept = checkpoints.load(path)
    if kept.training is None:
        raise ValueError(f"{path} holds no state to resume from")
    old = kept.info.get("recipe", {})
    left_out = ("steps", *(NAMES if "checksum" in kept.info else ()))
    other = sorted(
        name for name in recipe if name in old and name not in left_out and old[name] != recipe[name]
    )
    if other:
        differ = ", ".join(f"{name}: kept {old[name]!r}, asked {recipe[name]!r}" for name in other)
        raise ValueError(
            f"{path} belongs to a run with other settings ({differ}): give the same, or another --out"
        )
    if kept.tokenizer.to_dict() != tokenizer.to_dict():
        raise ValueError(f"{path} was trained on another text: its vocabulary differs")
    if kept.info.get("checksum", checksum) != checksum:
        raise ValueError(f"{path} was trained on another text: give the same, or another --out")
    step, steps = kept.training["step"], recipe["steps"]
    if step > steps:
        raise ValueError(f"this run has had {step} steps already; ask for more than --steps {steps} to go on")
    if old.get("steps", steps) != steps:
        notice(
            f"This run was begun with --steps {old['steps']} and goes on with --steps {steps}. The learning rate follows "
            "the number of steps, so it is not the run that it would have been with either from the start."
        )
    elsewhere = [
        f"{name} {was} then, {where[name]} now"
        for name, was in kept.info.get("where", {}).items()
        if where.get(name, was) != was
    ]
    if elsewhere:
        notice(
            f"Going on under other conditions ({'; '.join(elsewhere)}): the losses will be close to those of an "
            "uninterrupted run, and not equal to the last digit."
        )
    finished = step == steps and _belongs(out, kept.training["history"], steps)
    return Kept(kept.training, kept.model.state_dict(), checkpoints.load(out).info if finished else None)


def _progress(path: Path) -> tuple[int, int]:
    """(steps done, steps asked for) of a kept state; (0, 0) where there is none."""
    try:
        kept = checkpoints.load(path)
        return kept.training["step"], kept.info["recipe"]["steps"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0, 0


def _belongs(out: Path, history: list[dict], steps: int) -> bool:
    """Whether `out` is the model at the end of the run with this history (of which the last evaluation may be missing)."""
    try:
        told = checkpoints.load(out).info["history"]
    except (FileNotFoundError, ValueError, KeyError):
        return False
    return told[: len(history)] == history and told[-1]["step"] == steps
