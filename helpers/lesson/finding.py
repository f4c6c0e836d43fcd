"""Which notebooks there are and which one a learner means. Standard library only."""

import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ROOT / "notebooks"

# 05_bigram.ipynb, but not 05_bigram.mine-2026-11-25-1412.ipynb (set aside by `reset`), nor a copy that
# JupyterLab made (05_bigram-Copy1.ipynb).
COURSE_NAME = re.compile(r"\d\d_[a-z0-9_]+\.ipynb")


class NotFound(ValueError):
    """No notebook, or too many, of this name. The message lists those that there are."""


def course_notebooks(folder: Path = NOTEBOOKS) -> list[str]:
    """Return the file names of the course's notebooks in a folder, in the order of the course."""
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if COURSE_NAME.fullmatch(p.name) and p.is_file())


def find(wanted: str, names: Iterable[str]) -> str:
    """Return the one file name that the learner means by a number or a part of the name.

    "5", "05", "bigram", "05_bigram" and "05_bigram.ipynb" all mean 05_bigram.ipynb.
    Raises NotFound if none of the names fits, or more than one.
    """
    names = sorted(names)
    word = Path(wanted.strip().replace("\\", "/")).name.lower().removesuffix(".ipynb")
    if word.isdecimal():
        fits = [name for name in names if int(name[:2]) == int(word)]
    else:
        word = re.sub(r"[\s-]+", "_", word)
        whole = [name for name in names if word in (name[:-6], name[3:-6])]
        fits = whole or [name for name in names if word and word in name[:-6]]
    if len(fits) == 1:
        return fits[0]
    problem = f"{wanted!r} fits {len(fits)} notebooks" if fits else f"there is no notebook {wanted!r}"
    listed = "\n".join(f"  {name[:-6]}" for name in fits or names) or "  (none)"
    raise NotFound(f"{problem}. Name one by its number or a part of its name:\n{listed}")
