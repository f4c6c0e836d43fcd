"""Every text in an archive, whatever it is packed in, one after the other and in little memory.

    report = Report()
    for name, data, _ in walk("corpus.tar.xz", FileStream("corpus.tar.xz", file), report):
        ...                                  # data: the bytes of a short text, or a Stream of a long one
    report.lines()                           # what could not be read, by name and with counts

A .tar, a .tar.xz, an .xz of a tar, a tar of those, a tar of .xz files of plain text: they are told apart by content.
Nothing is written anywhere. Introduced by notebook 11 (sections 57 to 61 of the lecture). Standard library only, but
for parquet files.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from helpers.parquet_rows import rows
from helpers.streams import FIRST_BYTES, HEAD, BytesStream, Stream, Unreadable, is_tar_header, opened
from helpers.tar_reader import Tar

SHORT = 1 << 20  # bytes: a longer text is given as a stream
DEPTH = 8  # archives in one another
NAMED = 20  # files that a report names; it counts all of them
LONGEST_NAME = 200  # characters of a name that are shown
ODD_BYTES = frozenset(magic[0] for magic in FIRST_BYTES)


@dataclass
class Report:
    """What was read and what was not. counts: how many files could not be read, for each reason.

    named: (name, what is wrong with it) for the first NAMED of them.
    """

    documents: int = 0
    counts: Counter = field(default_factory=Counter)
    named: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, error: Unreadable) -> None:
        """Note a file that could not be read. What is one fault, such as the end of an archive, is noted once."""
        if error.reported:
            return
        error.reported = True
        self.counts[error.kind] += 1
        if len(self.named) < NAMED:
            self.named.append((_printable(error.name or name), str(error)))

    def merge(self, other: "Report") -> None:
        """Add what another report says."""
        self.documents += other.documents
        self.counts.update(other.counts)
        self.named += other.named[: NAMED - len(self.named)]

    def to_dict(self) -> dict:
        """The report as plain data."""
        return {"documents": self.documents, "counts": dict(sorted(self.counts.items())), "named": self.named}

    @classmethod
    def from_dict(cls, data: dict) -> "Report":
        """The report of `to_dict`."""
        return cls(data["documents"], Counter(data["counts"]), [(name, what) for name, what in data["named"]])

    def lines(self) -> list[str]:
        """The report in sentences; none where all was read."""
        if not self.counts:
            return []
        total = sum(self.counts.values())
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items()))
        lines = [f"Not read, or not to the end: {total:,} ({reasons})."]
        lines += [f"  {name} is {message}" for name, message in self.named]
        if total > len(self.named):
            lines.append(f"  and {total - len(self.named):,} more")
        return lines


def _printable(name: str) -> str:
    """A name as it can be printed: it may be as long as a page, or change the colours of a terminal."""
    short = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    return "".join(character if character.isprintable() else "?" for character in short)


def walk(
    name: str, stream: Stream, report: Report, size: int | None = None, unopened: int = 0, depth: int = 0
) -> Iterator[tuple[str, bytes | Stream, int | None]]:
    """(name, data, size) of the files in a stream, which is a file itself or an archive in any nesting.

    data: the bytes of a short text, or a Stream of anything else, to be read before the next file is asked for. size:
    of the stream, in bytes, where it is known. unopened: files of at most so many bytes are given as they are, archives
    too; with 0 all are opened, and what comes is texts. Whether their bytes are a text is for the caller to see.
    What cannot be read goes to the report, and the rest goes on.
    """
    if size is not None and size <= unopened:
        yield name, stream, size
        return
    try:
        kind, stream = opened(stream)
        if kind == "empty":
            raise Unreadable("empty", "empty")
        if kind == "parquet":
            for number, data in enumerate(rows(stream), 1):
                row = f"{name}/row {number}"
                if unopened and data:
                    yield row, BytesStream(row, data), len(data)
                elif data:
                    yield row, data if len(data) <= SHORT else BytesStream(row, data), len(data)
                else:
                    report.add(row, Unreadable("empty", "empty"))
            return
        if kind == "text":
            head = b"" if unopened else stream.peek(SHORT + 1)
            yield name, head if 0 < len(head) <= SHORT else stream, None
            while stream.read():  # a break behind what was read is reported too
                pass
            return
        if depth == DEPTH:
            raise Unreadable("too deep", f"the {DEPTH + 1}th archive in one another")
        tar, any_file = Tar(stream), False
        for inner, size, data in tar.short_files(0 if unopened else SHORT):
            any_file, inner = True, f"{name}/{inner}"
            if not size:
                report.add(inner, Unreadable("empty", "empty"))
            elif data is None:
                yield from walk(inner, tar.stream(inner), report, size, unopened, depth + 1)
            elif (data[0] in ODD_BYTES and data.startswith(FIRST_BYTES)) or (
                b"\0" in data and is_tar_header(data[:HEAD])
            ):
                yield from walk(inner, BytesStream(inner, data), report, depth=depth + 1)
            else:
                yield inner, data, size
        if not any_file:
            raise Unreadable("empty", "an archive with no file in it")
    except Unreadable as error:
        report.add(name, error)
