"""Documents: the clean texts of a corpus, one after the other, from archives and folders in any nesting.

    for name, text in documents(["openwebtext.tar.xz"]):
        ...

A document is a text of UTF-8, normalised as every text of the course is (helpers.texts.normalise), without END_OF_TEXT
in it. What is no such text goes to the report. Introduced by notebook 11 (sections 57 to 61 of the lecture). Imports
no torch.
"""

import codecs
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from helpers.archives import Report, walk
from helpers.streams import BLOCK, FileStream, Stream, Unreadable
from helpers.texts import FIRST_PART, BookError, normalise, refuse_web_page
from helpers.token_files import END_OF_TEXT

MAYBE_PAGE = frozenset(b"< \n\t\x0b\x0c")  # first characters with which a web page may begin
RESULTS = ("train.bin", "train.json", "val.bin", "val.json")


def documents(
    sources: str | Path | Iterable[str | Path], report: Report | None = None
) -> Iterator[tuple[str, str]]:
    """(name, text) of every document in archives, folders and text files.

    Sources come in the order given, the files of a folder sorted by name, the files of an archive in its order. A
    document is held in memory as a whole, an archive never is. What cannot be read goes to the report and is passed
    over. Raises ValueError for a source that is not there.
    """
    report = Report() if report is None else report
    for name, _, stream in opened_files(files_of(sources), report):
        for inner, data, _ in walk(name, stream, report):
            try:
                text = "".join(pieces_of(data)) if isinstance(data, Stream) else text_of(data)
            except Unreadable as error:
                report.add(inner, error)
                continue
            text = text.replace(END_OF_TEXT, "")
            if text:
                report.documents += 1
                yield inner, text


def files_of(
    sources: str | Path | Iterable[str | Path], leave_out: Path | None = None
) -> list[tuple[Path, str]]:
    """(path, name for messages) of each file that the sources are or hold; hidden files and folders are left out.

    leave_out: a folder for results: a source that holds it is read without it, and if it is a source itself, the token
    files in it are left out. Raises ValueError for a source that is not there and for none at all.
    """
    sources = [sources] if isinstance(sources, str | Path) else list(sources)
    if not sources:
        raise ValueError("no source was named: name an archive, a text file or a folder of them")
    found = []
    for source in map(Path, sources):
        if source.is_dir():
            for folder, folders, files in os.walk(source):
                folders[:] = sorted(
                    name for name in folders if name[0] != "." and not _same(Path(folder, name), leave_out)
                )
                results = RESULTS if _same(Path(folder), leave_out) else ()
                paths = (
                    Path(folder, name) for name in sorted(files) if name[0] != "." and name not in results
                )
                inside = [path for path in paths if path.is_file()]
                found += [(path, f"{source.name}/{path.relative_to(source).as_posix()}") for path in inside]
        elif source.is_file():
            found.append((source, source.name))
        else:
            raise ValueError(f"there is no file or folder {source}: name an archive, a text file or a folder")
    if not found:
        raise ValueError(
            f"there is no file in {', '.join(map(str, sources))}: name a folder of archives or texts"
        )
    return found


def opened_files(
    files: Iterable[tuple[Path, str]],
    report: Report,
    count: Callable[[int], object] | None = None,
    block: int = BLOCK,
) -> Iterator[tuple[str, int, Stream]]:
    """(name, size in bytes, stream) of each file of `files_of`; those that are empty or cannot be opened are reported.

    count: told how many bytes were read, each time; block: at most so many.
    """
    for path, name in files:
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if not size:
                    raise Unreadable("empty", "empty (0 bytes)")
                yield name, size, FileStream(name, file, count, block)
        except OSError as error:
            report.add(name, Unreadable("not readable", f"not readable: {error.strerror or error}"))
        except Unreadable as error:
            report.add(name, error)


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and path.samefile(other)


def text_of(data: bytes) -> str:
    """The normalised text of bytes. Raises Unreadable where they are no text."""
    if b"\0" in data:
        raise Unreadable("not a text", f"not a text: there is a NUL byte at offset {data.index(0):,}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(data[error.start], error.start) from error
    if text.startswith("\ufeff") or "\r" in text:
        text = normalise(text)
    if not text or text.isspace():
        raise Unreadable("empty", "empty but for blank space")
    if ord(text[0]) in MAYBE_PAGE:
        _refuse_web_page(text)
    return text


def is_plain(data: bytes) -> bool:
    """Whether bytes are a document as they are, in ASCII: many are, and this is quick. False may mean anything."""
    return (
        data.isascii()
        and data[0] not in MAYBE_PAGE
        and b"\r" not in data
        and b"\0" not in data
        and b"\x03" not in data
        and not data.isspace()
    )


def pieces_of(stream: Stream) -> Iterator[str]:
    """The normalised text of a long document, in pieces that join to what `text_of` gives for the whole.

    Raises Unreadable where the stream is no text, or broken, perhaps after some pieces.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, first, blank, held = 0, True, True, ""
    while True:
        data = stream.read()
        if b"\0" in data:
            raise Unreadable(
                "not a text", f"not a text: there is a NUL byte at offset {offset + data.index(0):,}"
            )
        waiting = len(decoder.getstate()[0])  # bytes of a character that the last block cut
        try:
            text = held + decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            at = error.start
            raise _not_utf8(error.object[at], offset - waiting + at) from error
        offset += len(data)
        held = ""
        if data and first and len(text) < FIRST_PART:
            held = text  # the beginning is looked at as a whole
            continue
        if data and text.endswith("\r"):  # perhaps the first half of a line end
            text, held = text[:-1], "\r"
        if first:
            text = normalise(text)
            _refuse_web_page(text)
        else:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if first and not text and data:
            continue  # nothing but byte-order marks so far
        first = False
        blank = blank and (not text or text.isspace())
        if text:
            yield text
        if not data:
            break
    if blank:
        raise Unreadable("empty", "empty but for blank space")


def _not_utf8(byte: int, offset: int) -> Unreadable:
    return Unreadable("not UTF-8", f"not UTF-8: byte 0x{byte:02X} at offset {offset:,}; save it as UTF-8")


def _refuse_web_page(text: str) -> None:
    try:
        refuse_web_page(text)
    except BookError as error:
        raise Unreadable("web page", f"not a text: {error}") from error
