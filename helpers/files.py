"""Texts that are on the disk whole, or not at all. Standard library only."""

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write text as UTF-8 under its final name only when whole: a failure leaves the old file as it was.

    Folders that are missing are made. Raises OSError.
    """
    path = Path(os.path.realpath(path))  # a symbolic link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
