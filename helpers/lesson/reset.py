"""python -m helpers reset NN: put a fresh copy of a notebook in place and set yours aside. Standard library only.

The fresh copy comes from git. Who has the course as a zip file, without git, gets it from data/originals/, which
the first `python -m helpers lab` makes. Yours stays beside it under a name with the date, whatever is in it.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from helpers.lesson.finding import COURSE_NAME, ROOT, NotFound, course_notebooks, find

NOTEBOOKS, ORIGINALS = "notebooks", "data/originals"


class ResetError(Exception):
    """A notebook cannot be reset; the message says why and what to do. Nothing has been changed."""


@dataclass(frozen=True)
class Fresh:
    """A notebook as the course has it."""

    content: bytes
    source: str  # for people: "git's HEAD (commit 1a2b3c4 of 2026-11-25 by Ada: Notebook 05)"
    hint: str = ""  # what to do if that is not what they want


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command in a course's folder. Return 0 if all is done, 1 if something could not be, 2 for a wrong name."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers reset", description="Put a fresh notebook in place and set yours aside."
    )
    parser.add_argument("names", nargs="+", metavar="NN", help="a number (5 or 05) or a part of a name")
    parser.add_argument(
        "--commit", default="HEAD", help="the version in git to take it from (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    try:
        known = names(root, options.commit)
        for name in [find(word, known) for word in options.names]:
            print(reset(root, name, options.commit))
    except NotFound as error:
        print(error, file=sys.stderr)
        return 2
    except ResetError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}\nYour notebook is as it was. Mend that (disk full? no right to write?), then call again.",
              file=sys.stderr)  # fmt: skip
        return 1
    return 0


def reset(root: Path, name: str, commit: str = "HEAD", now: datetime | None = None) -> str:
    """Replace a notebook (file name in notebooks/) by a fresh copy and return what was done, for people.

    The learner's version is set aside first; it is never overwritten and needs not be a valid notebook.
    Raises ResetError if no fresh copy can be had, OSError if it cannot be written; then the notebook is as it was.
    """
    path = root / NOTEBOOKS / name
    fresh = fresh_copy(root, name, commit)
    mine = path.read_bytes() if path.exists() else None
    if mine is not None and _same(mine, fresh.content):
        return f"{name} is the same as in {fresh.source}: nothing to do.{fresh.hint}"
    part = path.with_name(f".{name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = None
    try:
        part.write_bytes(fresh.content)
        if mine is not None:
            aside = set_aside(path, mine, now or datetime.now())
            if path.read_bytes() != mine:
                aside.unlink()
                raise ResetError(f"{name} was saved by another program just now. Call again.")
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    done = f"{name} is fresh again, from {fresh.source}."
    if aside is None:
        return f"{done}\nThere was none before.{fresh.hint}"
    return (
        f"{done}\nYours is now {aside.name}, beside it.\n"
        "If it is open in JupyterLab, close its tab without saving, then open it again."
        f"{fresh.hint}"
    )


def set_aside(path: Path, content: bytes, now: datetime) -> Path:
    """Write the learner's notebook under a name that no file has yet, and return that path."""
    stem = f"{path.stem}.mine-{now:%Y-%m-%d-%H%M}"
    for count in range(1, 1000):
        aside = path.with_name(f"{stem}{'' if count == 1 else f'-{count}'}.ipynb")
        try:
            file = aside.open("xb")  # fails if it exists
        except FileExistsError:
            continue
        try:
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with suppress(OSError):
                shutil.copystat(path, aside)  # the date of the learner's last change
        except BaseException:
            aside.unlink(missing_ok=True)  # half of a copy helps nobody; the notebook itself is untouched
            raise
        return aside
    raise ResetError(f"there are a thousand files {stem}-... already: move some of them away")


def names(root: Path, commit: str = "HEAD") -> set[str]:
    """Return the file names of all notebooks that are in place or that a fresh copy can be had of."""
    listed = git(root, "ls-tree", "--name-only", commit, f"{NOTEBOOKS}/")
    in_git = listed.stdout.decode("utf-8", "replace").splitlines() if listed.returncode == 0 else []
    here = course_notebooks(root / NOTEBOOKS) + course_notebooks(root / ORIGINALS)
    return {*here, *(name for name in (Path(line).name for line in in_git) if COURSE_NAME.fullmatch(name))}


def fresh_copy(root: Path, name: str, commit: str = "HEAD") -> Fresh:
    """Return a notebook from git, else from data/originals/. Raises ResetError that says what to do without."""
    shown = git(root, "show", f"{commit}:./{NOTEBOOKS}/{name}")
    if shown.returncode == 0:
        source = f"git's {commit}{_last_change(root, name, commit)}"
        return Fresh(shown.stdout, source, _if_own(root, name, commit))
    if commit != "HEAD":
        raise ResetError(f"git has no {NOTEBOOKS}/{name} in {commit}: {_words(shown)}")
    original = root / ORIGINALS / name
    if original.is_file():
        return Fresh(original.read_bytes(), f"{ORIGINALS}/ (as it was at the first set-up)")
    raise ResetError(
        f"There is no fresh {name}: git says {_words(shown)!r}, and {ORIGINALS}/ does not have it.\n"
        f"Your notebook is as it was. To have a fresh one, download the course again and take {NOTEBOOKS}/{name} "
        "from there;\ngive yours another name before you copy it in."
    )


def keep_originals(root: Path = ROOT) -> int:
    """Copy the course's notebooks to data/originals/ where git does not keep them; return how many were copied.

    To be called at the first set-up, before a learner edits. Does nothing if the folder is there already, or if
    this is a clone and git is installed. Raises OSError if they cannot be written; then no folder is left.
    """
    target = root / ORIGINALS
    names = course_notebooks(root / NOTEBOOKS)
    if target.exists() or not names or ((root / ".git").exists() and shutil.which("git")):
        return 0
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for name in names:
            shutil.copyfile(root / NOTEBOOKS / name, part / name)
        part.rename(target)  # all of them or none
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(names)


def git(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run git in the course's folder; without git, or outside of a repository, the return code is not 0."""
    program = shutil.which("git")
    if program is None:
        return subprocess.CompletedProcess(arguments, 127, b"", b"git is not installed")
    return subprocess.run([program, *arguments], cwd=root, capture_output=True, stdin=subprocess.DEVNULL)


def _words(done: subprocess.CompletedProcess) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else f"exit code {done.returncode}"


def _last_change(root: Path, name: str, commit: str) -> str:
    """Which commit the version comes from: HEAD may hold a commit of the learner's own."""
    words = "--format=%h of %ad by %an: %s"
    done = git(root, "log", "-1", words, "--date=short", commit, "--", f"./{NOTEBOOKS}/{name}")
    found = done.stdout.decode("utf-8", "replace").strip()
    return f" (commit {found})" if done.returncode == 0 and found else ""


def _if_own(root: Path, name: str, commit: str) -> str:
    """How to have an earlier version, if the one in git is the learner's own commit."""
    author = git(root, "log", "-1", "--format=%ae", commit, "--", f"./{NOTEBOOKS}/{name}").stdout.strip()
    if not author or author != git(root, "config", "user.email").stdout.strip():
        return ""
    return (
        "\nThat commit is yours. For a version before it, find its number and name it:\n"
        f"  git log --oneline -- {NOTEBOOKS}/{name}\n  python -m helpers reset {name[:2]} --commit NUMBER"
    )


def _same(one: bytes, other: bytes) -> bool:
    return one.replace(b"\r\n", b"\n") == other.replace(b"\r\n", b"\n")


if __name__ == "__main__":
    sys.exit(main())
