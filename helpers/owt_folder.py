"""The folder of an extraction: what is kept there between runs, who works in it, and what is finished.

    with Lock(out):                                # no second extraction into the same folder
        kept = Kept(out, settings)                 # OUT/.parts/: what was done with these settings
        kept.start()
        kept.job(12)                               # what job 12 made, or None

Introduced by notebook 11 (sections 57 to 61 of the lecture). Imports no torch.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np

from helpers.files import write_whole
from helpers.owt_parts import PARTS, Made
from helpers.token_files import about_path, read_about

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

FOLDER, REMOVED = ".parts", ".parts.removed"
BLOCK = 1 << 20  # bytes of ids read at a time


class Lock:
    """OUT/.lock, held by one process at a time; the system lets go of it when the process ends, however it ends."""

    def __init__(self, out: Path):
        self.path = out / ".lock"

    def __enter__(self) -> "Lock":
        self._file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115  (open as long as it is held)
        try:
            if fcntl:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                self._file.seek(0)
                msvcrt.locking(self._file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if fcntl and error.errno not in (errno.EAGAIN, errno.EACCES):
                return self  # a disk that knows no locks
            self._file.close()
            raise ValueError(
                f"another extraction works in {self.path.parent}: wait for its end, stop it, or name another --out"
            ) from error
        return self

    def __exit__(self, *_) -> None:
        if not fcntl:
            with suppress(OSError):
                self._file.seek(0)
                msvcrt.locking(self._file.fileno(), msvcrt.LK_UNLCK, 1)
        self._file.close()  # the file stays: one that is removed could be locked by two


class Kept:
    """OUT/.parts/FINGERPRINT/: the parts that were made with these settings, and the tokenizer."""

    def __init__(self, out: Path, settings: dict):
        self.root, self.settings, self.trusted = out / FOLDER, settings, False
        shutil.rmtree(out / REMOVED, ignore_errors=True)
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode("utf-8"), digest_size=8)
        self.folder = self.root / digest.hexdigest()

    def other_settings(self) -> dict | None:
        """The settings of parts that another extraction left here, or None; what has no parts yet is no loss."""
        for path in sorted(self.root.glob("*/settings.json")):
            if path.parent != self.folder and any(path.parent.glob("[0-9]*.json")):
                return json.loads(path.read_text(encoding="utf-8"))
        return None

    def start(self) -> None:
        """Make the folder ready; what an earlier run was writing when it ended goes."""
        self.trusted = not self.folder.exists()  # what this run writes itself is not read for its checksum
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "settings.json", json.dumps(self.settings) + "\n")
        out = self.root.parent
        for path in (*self.folder.glob(".*.part"), *out.glob(".train.*.part"), *out.glob(".val.*.part")):
            with suppress(OSError):
                path.unlink()

    def read(self, name: str) -> dict | None:
        """A page of facts that was kept, or None."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write(self, name: str, value: dict) -> None:
        """Keep a page of facts."""
        write_whole(self.folder / f"{name}.json", json.dumps(value) + "\n")

    def job(self, number: int) -> Made | None:
        """What job `number` made, or None where it is not done."""
        try:
            made = Made.from_dict(self.read(f"{number:07d}"))
            written = [part for part in PARTS if made.bytes[part]]
            whole = all(self._ids(number, part).stat().st_size == made.bytes[part] for part in written)
        except (ValueError, KeyError, TypeError, OSError):
            return None  # not there, or the machine died before it was on the disk
        return made if whole else None

    def done(self) -> int:
        """How many jobs are done."""
        return sum(1 for path in self.folder.glob("*.json") if path.stem.isdecimal())

    def _ids(self, number: int, part: str) -> Path:
        return self.folder / f"{number:07d}.{part}"

    def ids(self, numbers: list[int], part: str, dtype: np.dtype) -> Iterator[np.ndarray]:
        """The ids of a part, job after job. Raises ValueError, and forgets the job, where they are damaged."""
        for number in numbers:
            made, checksum = self.job(number), 0
            if made is not None and not made.bytes[part]:
                continue
            if made is not None:
                with open(self._ids(number, part), "rb") as file:
                    while data := file.read(BLOCK):
                        checksum = 0 if self.trusted else zlib.crc32(data, checksum)
                        yield np.frombuffer(data, dtype)
            if made is None or (checksum != made.crc[part] and not self.trusted):
                self.forget(number)

    def forget(self, number: int) -> NoReturn:
        """Have a job done again whose parts are damaged. Raises ValueError that says so."""
        for name in (f"{number:07d}", "whole"):
            (self.folder / f"{name}.json").unlink(missing_ok=True)
        raise ValueError(
            f"a part of the work that was kept in {self.folder} is damaged, and was removed: give the same command "
            "again, it is made anew"
        )

    def remove(self) -> None:
        """Remove all parts, those of other settings too. Even if this is interrupted there is no half of them left."""
        removed = self.root.with_name(REMOVED)
        try:
            os.replace(self.root, removed)
        except OSError:
            removed = self.root
        shutil.rmtree(removed, ignore_errors=True)


def finished(out: Path) -> dict | None:
    """The facts of the two token files that stand in a folder, by part, or None where one is not there or not whole."""
    try:
        return {part: read_about(out / f"{part}.bin", verify=False) for part in PARTS}
    except (ValueError, OSError):
        return None


def withdraw(out: Path) -> None:
    """Make the token files of a folder invalid, before others take their places: the two belong together."""
    for part in PARTS:
        about_path(out / f"{part}.bin").unlink(missing_ok=True)


def difference(kept: dict, asked: dict) -> str:
    """In words: how settings differ."""
    names = [name for name in asked if kept.get(name) != asked[name]]
    return ", ".join(
        "the sources"
        if name == "sources"
        else f"{name.replace('_', '-')}: {kept.get(name)!r} there, {asked[name]!r} asked"
        for name in names
    )
