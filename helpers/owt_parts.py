"""What a job of an extraction makes: the ids of its documents, kept on the disk until all jobs are done.

    run_job(job, encoder, recipe, folder)       # here or in another process

Job number 12 leaves 0000012.train and 0000012.val, ids one after the other, and last 0000012.json, which says that the
two are whole. Introduced by notebook 11 (sections 57 to 61 of the lecture). Imports no torch.
"""

import codecs
import hashlib
import json
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from helpers.archives import Report, walk
from helpers.documents import is_plain, pieces_of, text_of
from helpers.encoders import CharEncoder, PairEncoder
from helpers.owt_jobs import Job
from helpers.streams import BytesStream, Stream, Unreadable
from helpers.token_files import END_OF_TEXT

FLUSH = 1 << 20  # bytes of ids that are collected before they are written
PARTS = ("train", "val")
EMPTY = f"empty but for the character {END_OF_TEXT!r}"
COUNTED = ("documents", "characters", "unknown", "bytes", "crc")


@dataclass
class Recipe:
    """What decides where a document goes. validation, fraction: shares; seed: of the fraction."""

    validation: float
    fraction: float
    seed: int

    def __post_init__(self):
        self._validation, self._fraction = _digits(self.validation), _digits(self.fraction)
        self._salt = self.seed.to_bytes(16, "big")

    def place(self, digest: bytes) -> str:
        """ "train", "val", or "" for a document that is left out, from the digest of its text."""
        if self.fraction < 1:
            drawn = hashlib.blake2b(digest, digest_size=16, salt=self._salt).digest()
            if drawn >= self._fraction:
                return ""
        return "val" if digest < self._validation else "train"


def _digits(share: float) -> bytes:
    """A share as the first bytes of a digest: a digest below it is as likely as the share says."""
    return min(int(share * 2**64), 2**64 - 1).to_bytes(8, "big")


def new_digest(data: bytes = b""):
    """The hash of a document's text, which decides where it goes."""
    return hashlib.blake2b(data, digest_size=16, person=b"document")


@dataclass
class Made:
    """What jobs made. documents, characters, unknown, bytes (of ids), crc: of each part, "train" and "val"."""

    documents: Counter = field(default_factory=Counter)
    characters: Counter = field(default_factory=Counter)
    unknown: Counter = field(default_factory=Counter)
    bytes: Counter = field(default_factory=Counter)
    crc: Counter = field(default_factory=Counter)  # checksums of the ids
    left_out: int = 0  # documents that the fraction left out
    ends_removed: int = 0  # END_OF_TEXT inside of documents
    report: Report = field(default_factory=Report)

    def merge(self, other: "Made") -> None:
        """Add what another job made."""
        for name in COUNTED[:-1]:  # checksums do not add up
            getattr(self, name).update(getattr(other, name))
        self.left_out += other.left_out
        self.ends_removed += other.ends_removed
        self.report.merge(other.report)

    def to_dict(self) -> dict:
        """The counts as plain data."""
        return {**vars(self), "report": self.report.to_dict()}

    @classmethod
    def from_dict(cls, data: dict) -> "Made":
        """The counts of `to_dict`."""
        counters = {name: Counter(data[name]) for name in COUNTED}
        return cls(**{**data, **counters, "report": Report.from_dict(data["report"])})


class PartFile:
    """The ids of a part, "train" or "val", while a job writes them. path: the name that they get when they are whole."""

    def __init__(self, path: Path, end: bytes):
        self.path, self.end, self.file = path, end, None
        self.documents = self.characters = self.unknown = self.bytes = self.crc = 0
        self._held, self._size = [], 0  # documents that are not written yet, and their bytes

    def add(self, ids: bytes, characters: int, unknown: int) -> None:
        """Add a document."""
        self._held.append(ids)
        self._size += len(ids)
        self.documents += 1
        self.characters += characters
        self.unknown += unknown
        if self._size > FLUSH:
            self._flush()

    def add_long(self, spool: BinaryIO, characters: int, unknown: int) -> None:
        """Add a document whose ids are in a file."""
        self._flush()
        spool.seek(0)
        while data := spool.read(FLUSH):
            self._write(data)
        self.add(b"", characters, unknown)

    def _flush(self) -> None:
        if self._held:
            self._held.append(b"")
            self._write(self.end.join(self._held))  # an end behind each
            self._held, self._size = [], 0

    def _write(self, data: bytes) -> None:
        if self.file is None:
            self.file = open(_in_work(self.path), "wb")  # noqa: SIM115  (closed by give_name and drop)
        self.file.write(data)
        self.bytes += len(data)
        self.crc = zlib.crc32(data, self.crc)

    def give_name(self) -> None:
        """The part is whole. It has a checksum, so it is no harm if the machine dies before it is on the disk."""
        self._flush()
        if self.file is not None:
            self.file.close()
            os.replace(self.file.name, self.path)
            self.file = None

    def drop(self) -> None:
        """Remove what has no name."""
        if self.file is not None:
            with suppress(OSError):  # of a full disk, say, which was told of already
                self.file.close()
            with suppress(OSError):
                Path(self.file.name).unlink()


def _in_work(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def run_job(job: Job, encoder: CharEncoder | PairEncoder, recipe: Recipe, folder: Path) -> None:
    """Read the documents of a job and keep their ids in `folder`. Raises OSError, and leaves nothing then."""
    made, name = Made(), f"{job.number:07d}"
    parts = {part: PartFile(folder / f"{name}.{part}", encoder.end) for part in PARTS}
    try:
        for entry in job.entries:
            stream = entry.data
            if not isinstance(stream, Stream):
                stream = BytesStream(entry.name, stream, entry.cut)
            for name_of_it, data, _ in walk(entry.name, stream, made.report):
                try:
                    if isinstance(data, Stream):
                        with tempfile.TemporaryFile(dir=folder) as spool:
                            _long(data, encoder, recipe, parts, made, spool)
                    else:
                        _short(data, encoder, recipe, parts, made)
                except Unreadable as error:
                    made.report.add(name_of_it, error)
        for part, file in parts.items():
            file.give_name()
            for count in COUNTED:
                getattr(made, count)[part] = getattr(file, count)
    finally:
        for file in parts.values():
            file.drop()
    page = folder / f"{name}.json"
    _in_work(page).write_text(json.dumps(made.to_dict()), encoding="utf-8")
    os.replace(_in_work(page), page)  # last: now the job is done


def _short(
    data: bytes, encoder: CharEncoder | PairEncoder, recipe: Recipe, parts: dict[str, PartFile], made: Made
) -> None:
    if is_plain(data):
        text, characters = None, len(data)
    else:
        text = text_of(data)
        if b"\r" in data or b"\x03" in data or data.startswith(codecs.BOM_UTF8):  # else its bytes are these
            text, ends = _without_ends(text)
            if not text:
                raise Unreadable("empty", EMPTY)
            made.ends_removed += ends
            data = text.encode("utf-8")
        characters = len(text)
    part, before = recipe.place(new_digest(data).digest()), encoder.unknown
    made.report.documents += 1
    if part:
        ids = encoder.encode_plain(data) if text is None else encoder.encode(text)
        parts[part].add(ids, characters, encoder.unknown - before)
    else:
        made.left_out += 1


def _long(
    stream: Stream,
    encoder: CharEncoder | PairEncoder,
    recipe: Recipe,
    parts: dict[str, PartFile],
    made: Made,
    spool: BinaryIO,
) -> None:
    """A document that is not held in memory: its ids wait in a file until the hash of all of it says where they go."""
    digest, characters, ends, before = new_digest(), 0, 0, encoder.unknown

    def cleaned() -> Iterator[str]:
        nonlocal characters, ends
        for piece in pieces_of(stream):
            piece, found = _without_ends(piece)
            digest.update(piece.encode("utf-8"))
            characters, ends = characters + len(piece), ends + found
            yield piece

    for piece in encoder.pieces(cleaned()):
        spool.write(encoder.encode(piece))
    if not characters:
        raise Unreadable("empty", EMPTY)
    part = recipe.place(digest.digest())
    made.report.documents += 1
    made.ends_removed += ends
    if part:
        parts[part].add_long(spool, characters, encoder.unknown - before)
    else:
        made.left_out += 1


def _without_ends(text: str) -> tuple[str, int]:
    """A text without END_OF_TEXT in it, and how many there were."""
    return text.replace(END_OF_TEXT, ""), text.count(END_OF_TEXT)
