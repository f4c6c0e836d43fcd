"""What an extraction has to do, cut into jobs: the files of the sources, in order, some megabytes at a time.

    for job in jobs(files, report, limit=4 << 20, wanted=lambda number: True):
        ...                                 # job.number, job.entries

An archive inside of an archive is not opened here, unless it is large: whoever runs the job does that. Where a job begins
and ends depends on the sources and on `limit` alone, so an interrupted extraction can go on with the jobs that are not
done. Introduced by notebook 11 (sections 57 to 61 of the lecture). Standard library only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.archives import Report, walk
from helpers.documents import opened_files
from helpers.streams import Stream, Unreadable


@dataclass
class Entry:
    """A file of the sources: its bytes, or the stream of a long text. cut: the bytes end early, as was reported."""

    name: str
    data: bytes | Stream
    cut: bool = False


@dataclass
class Job:
    """Files to be made into ids together. number: its place in the order of the corpus, from 0."""

    number: int
    entries: list[Entry]

    @property
    def is_stream(self) -> bool:
        """Whether it must be read where the archive is open."""
        return any(isinstance(entry.data, Stream) for entry in self.entries)


def jobs(
    files: list[tuple[Path, str]],
    report: Report,
    limit: int,
    wanted: Callable[[int], bool],
    count: Callable[[int], object] | None = None,
) -> Iterator[Job]:
    """The jobs of the sources, one after the other. The entries of a job that is not wanted are empty: it is skipped.

    files: of `files_of`. limit: bytes (packed, as they stand in the sources) that a job has at most, a single long text
    apart. wanted: asked with the number of a job before anything of it is read. count: told how many bytes of the
    sources were read.
    """
    number, held, entries, is_wanted = 0, 0, [], wanted(0)
    for name, size, whole in opened_files(files, report, count):
        for inner, stream, packed in walk(name, whole, report, size, limit):
            if held and (packed is None or held + packed > limit):
                yield Job(number, entries)
                number, held, entries, is_wanted = number + 1, 0, [], wanted(number + 1)
            if packed is None:
                yield Job(number, [Entry(inner, stream)] if is_wanted else [])
                number, is_wanted = number + 1, wanted(number + 1)
            else:
                held += packed
                if is_wanted:
                    entries.append(_read(inner, stream, report))
    if held:
        yield Job(number, entries)


def _read(name: str, stream: Stream, report: Report) -> Entry:
    """The whole of a file in memory, or what there is of it."""
    pieces, cut = [], False
    try:
        while data := stream.read():
            pieces.append(data)
    except Unreadable as error:
        report.add(name, error)
        cut = True
    return Entry(name, b"".join(pieces), cut)
