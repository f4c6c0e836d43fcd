"""The texts of the course: Baum's Oz books from Project Gutenberg, and load_text, which every lesson calls.

load_text() never touches the network. download_book() and download_series() do; the command over them is
download_wizard_of_oz.py.
"""

import errno
import hashlib
import os
import re
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from helpers.catalogue import (
    BOOKS,
    FOR_BROWSERS,
    WIZARD,
    WIZARD_LENGTHS,
    addresses,
    check,
    file_name,
    find_book,
    objection,
)
from helpers.download import DownloadError, fetch
from helpers.files import write_whole
from helpers.texts import BookError, clean, decode, normalise, read_bytes, read_text, refuse_web_page

__all__ = [
    "BOOKS",
    "BOOK_PATH",
    "DATA",
    "BookError",
    "Text",
    "clean",
    "download_book",
    "download_series",
    "find_book",
    "load_text",
    "normalise",
    "read_text",
]

DATA = Path(__file__).resolve().parent.parent / "data"
BOOK_PATH = DATA / "wizard_of_oz.txt"

PAUSE = 2  # seconds between two books of the series, out of courtesy


@dataclass(frozen=True)
class Text:
    """A text to learn from. str(text) is one line: source, characters, distinct characters."""

    text: str = field(repr=False)  # a whole book would flood a notebook
    name: str  # "oz", "tales", or a file's name without its ending
    source: str  # for people: "The Wonderful Wizard of Oz (data/wizard_of_oz.txt)"

    def __str__(self) -> str:
        return f"{self.source}: {facts(self.text)}"


def facts(text: str) -> str:
    """Return "207,817 characters, 74 distinct" for a text."""
    return f"{len(text):,} characters, {len(set(text)):,} distinct"


def shown(path: Path) -> str:
    """Return a path for people: from the course's folder on if it is inside, else whole."""
    path, home = Path(path).resolve(), DATA.parent.resolve()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)


def load_text(source: str | Path | None = None) -> Text:
    """Return the text of the lesson. Prints nothing and never touches the network.

    source: a path or "tales"; without it, the environment variable COURSE_TEXT (the same); without that, the
            book in data/; without that, the built-in tales. A relative path counts from the current folder,
            else from the course's. A file is used as it is, normalised.
    Text.name is "oz" only for the Wizard itself in data/, so that what was measured on the book is not
    expected of another text. Raises BookError if the file cannot be used.
    """
    variable = source is None and os.environ.get("COURSE_TEXT", "").strip().strip("\"'")
    chosen = source or variable
    if str(chosen) == "tales" or not (chosen or BOOK_PATH.exists()):
        from helpers.tales import write_tales

        return Text(write_tales(), "tales", "The built-in tales (helpers/tales.py)")
    path = Path(chosen).expanduser() if chosen else BOOK_PATH
    if not path.exists() and (DATA.parent / path).exists():
        path = DATA.parent / path
    try:
        text = read_text(path)
    except BookError as error:
        way_out = "For a fresh book: python download_wizard_of_oz.py --force"
        if chosen:
            way_out = "Name another file, or 'tales'."
        if variable:
            way_out = "Set the environment variable COURSE_TEXT to another file or to 'tales', or remove it."
        raise BookError(f"{'COURSE_TEXT: ' if variable else ''}{error}\n{way_out}") from error
    if path.resolve() == BOOK_PATH.resolve():
        if len(text) in WIZARD_LENGTHS and not objection(text, WIZARD):
            return Text(text, "oz", f"{WIZARD} ({shown(path)})")
        return Text(text, path.stem, f"The text in {shown(path)}")
    # A learner's own oz.txt or tales.txt must not pass for the course's.
    name = f"{path.stem}_file" if path.stem in ("oz", "tales") else path.stem
    return Text(text, name, f"{path.name} (COURSE_TEXT)" if variable else f"The text in {shown(path)}")


def download_book(
    book: str | int | None = None,
    out: str | Path | None = None,
    *,
    source: str | None = None,
    encoding: str | None = None,
    force: bool = False,
    waits: Sequence[float] | None = None,
    timeout: float | None = None,
    say: Callable[[str], object] = print,
) -> Path:
    """Put one Oz book, cleaned, into data/ (or out) and return its path; without force, a file there stays.

    book:     a name or number for find_book, default the Wizard.
    source:   a local file or an http(s) address to take it from, instead of Project Gutenberg. Without `book`
              it may be any text; a notice says if it is not the Wizard.
    encoding: of the source, if it is not UTF-8.
    waits, timeout: seconds, see helpers.download.fetch.
    Raises BookError; then nothing was written, and an old file is as it was.
    """
    title, number = find_book(BOOKS[WIZARD][0] if book is None else book)
    path = DATA / file_name(title, number) if out is None else Path(out)
    options = (f" --book {number}" if title != WIZARD else "") + (
        f' --out "{out}"' if out is not None else ""
    )
    if _is_there(path, force, say):
        if source is None and (doubt := objection(read_text(path), title)):
            say(f"Note: it does not look like {title} ({doubt}).")
        return path
    say(f"{title} (Project Gutenberg {number})" if source is None else f"From {source}")
    online = source is None or re.match(r"https?://", source, re.IGNORECASE)
    try:
        if online:
            text, address = fetch(
                addresses(number) if source is None else [source],
                lambda data, charset: _take(
                    data, source or title, charset, encoding, None if source else title
                ),
                waits=waits,
                timeout=timeout,
                label=title if source is None else "text",
            )
            say(f"  from        {address}")
        else:
            text = _take(read_bytes(source), source, None, encoding)
    except DownloadError as error:
        page = source or FOR_BROWSERS.replace("{number}", str(number))
        file = f"pg{number}.txt" if source is None else "text.txt"
        steps = f"save it as {file}, and run\n  python download_wizard_of_oz.py{options} --source {file}"
        raise BookError(_failed(source or title, error, page, steps)) from error
    if source is not None and (doubt := objection(text, title)):
        if book is not None:
            raise BookError(f"{source} is not {title}: {doubt}. Without --book any text is taken.")
        say(f"Note: this does not look like {title} ({doubt}). It is taken all the same.")
    _save(path, clean(text), say)
    if path.resolve() != BOOK_PATH.resolve():
        say("To use it in the lessons, set the environment variable COURSE_TEXT to this place.")
    return path


def download_series(
    out: str | Path | None = None,
    *,
    force: bool = False,
    waits: Sequence[float] | None = None,
    timeout: float | None = None,
    pause: float | None = None,
    say: Callable[[str], object] = print,
) -> Path:
    """Put all the Oz books, one of each title, in the order of publication, into one file and return its
    path.

    Each book is kept in a folder beside it (oz_series_books/486.txt), so that after a failure only the
    missing ones are asked for. pause: seconds between two downloads, default PAUSE. Otherwise as
    download_book.
    """
    path = DATA / "oz_series.txt" if out is None else Path(out)
    if _is_there(path, force, say):
        return path
    folder = path.with_name(f"{path.stem}_books")
    texts = []
    asked = False
    for title, (number, *_) in BOOKS.items():
        kept = folder / f"{number}.txt"
        if kept.exists() and not force:
            try:
                texts.append(clean(_take(read_bytes(kept), str(kept), None, None, title)))
            except BookError as error:
                raise BookError(f"{shown(kept)} cannot be used: {error}. Remove it and try again.") from error
            continue
        say(f"{len(texts) + 1:>2} of {len(BOOKS)}: {title} (Project Gutenberg {number})")
        if asked:
            time.sleep(PAUSE if pause is None else pause)
        asked = True
        try:
            text, _ = fetch(
                addresses(number),
                lambda data, charset, title=title: _take(data, title, charset, None, title),
                waits=waits,
                timeout=timeout,
                label=title,
            )
        except DownloadError as error:
            page = FOR_BROWSERS.replace("{number}", str(number))
            steps = (
                f"save it as {kept}, and run the same command again: what is there is not asked for twice."
            )
            raise BookError(_failed(title, error, page, steps)) from error
        texts.append(clean(text))
        _write(kept, texts[-1])
    _save(path, "\n\n\n\n".join(texts), say)
    return path


def _take(
    data: bytes, name: str, declared: str | None, encoding: str | None, title: str | None = None
) -> str:
    """Return the normalised text of data, or raise BookError: not a text, a web page, empty, not the book
    `title`."""
    text = decode(data, name, declared, encoding)
    refuse_web_page(text)
    if not clean(text):
        raise BookError(f"{name} is empty: {len(data):,} bytes without a text")
    if title is not None:
        check(text, title)
    return text


def _is_there(path: Path, force: bool, say: Callable[[str], object]) -> bool:
    if path.is_dir():
        raise BookError(f"{path} is a folder: name a file in it")
    if force or not path.exists():
        return False
    try:
        text = read_text(path)
    except BookError as error:
        raise BookError(f"{error}\n(It was there already. --force replaces it.)") from error
    say("Already there, left as it is (--force replaces it):")
    _tell(path, text, say)
    return True


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        reason = (
            f"the disk is full ({len(text) / 1e6:.1f} MB are needed)" if full else error.strerror or error
        )
        state = "The file that was there is as it was." if path.exists() else "Nothing was written."
        advice = "Make room" if full else "Check the folder"
        raise BookError(f"{path} could not be written: {reason}. {state} {advice}, or use --out.") from error


def _save(path: Path, text: str, say: Callable[[str], object]) -> None:
    if path.is_file() and path.read_bytes() == text.encode("utf-8"):
        say("The same text is there already: it was not touched.")
    else:
        _write(path, text)
    _tell(path, text, say)


def _tell(path: Path, text: str, say: Callable[[str], object]) -> None:
    say(f"  characters  {len(text):,}\n  distinct    {len(set(text)):,}")
    say(f"  SHA-256     {hashlib.sha256(path.read_bytes()).hexdigest()}\n  place       {path.resolve()}")


def _failed(what: str, error: DownloadError, page: str, steps: str) -> str:
    """Return the one message for a download that failed."""
    lines = [f"{what} could not be downloaded.", *(f"  {problem}" for problem in error.problems)]
    if "certificate" in str(error):
        lines += [
            "Certificates are always checked. Behind a company's proxy, SSL_CERT_FILE can name the file with",
            "its certificate; on macOS, run the 'Install Certificates.command' that came with Python.",
        ]
    if proxies := sorted(set(urllib.request.getproxies()) - {"no"}):
        lines.append(f"A proxy is set on this machine ({', '.join(proxies)}): it may be the reason.")
    lines.append(f"By hand: open {page} in a browser, {steps}")
    lines.append("The notebooks also run without the book, on the course's own tales.")
    return "\n".join(lines)
