"""From bytes to a clean text: decoding, line ends, byte-order marks, and the wrapping of Project Gutenberg.

Every way into the course goes through normalise(), so the same book gives the same characters everywhere.
"""

import re
from pathlib import Path

FIRST_PART = 5_000  # characters in which a file says what it is


class BookError(ValueError):
    """A text cannot be had or used. The message says what is wrong and what to do."""


# A marker ends with stars, perhaps on a second line, or else where its line ends.
_REST = r"(?:[^*\n]*(?:\n[^*\n]+)?\*\*\*[^\S\n]*$|[^*\n]*$)"
_MARKER = rf"OF TH(?:E|IS) PROJECT GUTENBERG E(?:BOOK|TEXT)\b{_REST}"
_START = re.compile(
    rf"^\ufeff*(?:\*\*\* ?START {_MARKER}|\*END[ *]*THE SMALL PRINT!.*$)", re.IGNORECASE | re.MULTILINE
)
_END = re.compile(rf"^\*\*\* ?END {_MARKER}", re.IGNORECASE | re.MULTILINE)
_MADE = r"(?:Produced|E-?text prepared|Th(?:e|is) e-?(?:book|text) was (?:produced|prepared)|Transcribed)"
_MAKERS = rf"{_MADE} (?:by|from)\b"
_CREDITS = re.compile(rf"\A(?:\s*{_MAKERS}.*\n(?:.*\S.*\n)*)+", re.IGNORECASE)
_LAST_WORDS = re.compile(
    r"^End of (?:the |this )?Project Gutenberg\b.*(?:\n.*\S.*)?\s*\Z", re.IGNORECASE | re.MULTILINE
)
_WEB_PAGE = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype html|html|head|body)\b", re.I | re.S
)


def normalise(text: str) -> str:
    """Return text without byte-order marks at its start and with \\n for every line end (\\r\\n and \\r)."""
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def clean(text: str) -> str:
    """Return the book inside a Project Gutenberg file, normalised.

    What goes: everything outside the START and END markers; the paragraph of credits right after START; the
    line "End of Project Gutenberg's ..." right before END; blank space at the end; blank lines at the start
    (the first line keeps its indentation). A text without markers loses its outer blank lines and nothing
    else. A file of several books keeps them all.
    """
    books = _START.split(normalise(text))
    marked = len(books) > 1
    bodies = []
    for book in books[1:] if marked else books:
        body, *after = _END.split(book, maxsplit=1)
        if marked:
            body = _CREDITS.sub("", body)
        if marked or after:
            body = _LAST_WORDS.sub("", body)
        bodies.append(re.sub(r"\A[\s\ufeff]*\n", "", body).lstrip("\ufeff").rstrip())
    return "\n\n\n".join(body for body in bodies if body)


def breaks_off(text: str) -> bool:
    """Whether a normalised text has a START marker, but neither an END marker nor the words that close a
    book."""
    return bool(_START.search(text)) and not (_END.search(text) or _LAST_WORDS.search(text))


def refuse_web_page(text: str) -> None:
    """Raise BookError if text is HTML: the page that refuses a download arrives as if all were well."""
    if _WEB_PAGE.match(text):
        title = re.search(r"<title[^>]*>(.*?)</title>", text[:FIRST_PART], re.IGNORECASE | re.DOTALL)
        named = f" ({' '.join(title[1].split())[:80]!r})" if title else ""
        raise BookError(f"a web page{named} came instead of plain text")


def decode(data: bytes, name: str, declared: str | None = None, encoding: str | None = None) -> str:
    """Return the normalised text of data, which is UTF-8, or in the given encoding.

    declared: the character set that a server names; the file may name one too. It is believed only if the
              bytes are not UTF-8 and it is Latin-1 or Windows-1252, because servers call UTF-8 files Latin-1
              too.
    Raises BookError that names the file, the first bad byte and the way out.
    """
    if encoding:
        try:
            return normalise(data.decode(encoding))
        except (LookupError, UnicodeError) as error:
            raise BookError(f"{name} cannot be read as {encoding}: {error}") from error
    if data.startswith(b"%PDF"):
        raise BookError(f"{name} is a PDF, not plain text: copy its words into a text file (UTF-8).")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BookError(f"{name} is UTF-16, not UTF-8. {_convert(name, 'utf-16')}")
    if b"\0" in data:
        pairs = max(1, len(data[:2000]) // 2)
        high, low = data[:2000:2].count(0) / pairs, data[1:2000:2].count(0) / pairs
        if max(high, low) > 0.5 > min(high, low):  # half of the bytes of plain English in UTF-16 are zero
            raise BookError(
                f"{name} looks like UTF-16. {_convert(name, 'utf-16-le' if low > high else 'utf-16-be')}"
            )
        raise BookError(
            f"{name} is not a text: there is a NUL byte at offset {data.index(0):,}. Name a text file."
        )
    try:
        return normalise(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        header = re.search(rb"Character set encoding: *(.*)", data[:FIRST_PART], re.IGNORECASE)
        named = f"{declared} {header[1].decode('ascii', 'replace') if header else ''}"
        if re.search(r"8859-1\b|latin.?1\b|1252", named, re.IGNORECASE):
            return decode(
                data, name, encoding="cp1252"
            )  # Latin-1 and, in its gaps, the curly quotes of Windows
        line = data.count(b"\n", 0, error.start) + 1
        raise BookError(
            f"{name} is not UTF-8: byte 0x{data[error.start]:02X} at offset {error.start:,} (line {line:,}). "
            f"It may be Windows-1252 (cp1252). {_convert(name, 'cp1252')}"
        ) from error


def _convert(name: str, encoding: str) -> str:
    command = f'python download_wizard_of_oz.py --source "{name}" --encoding {encoding} --out NEW.txt'
    return f"Save it as UTF-8 in your editor, or convert it: {command}"


def read_bytes(path: str | Path) -> bytes:
    """Return what is in a file. Raises BookError if there is no such file, or it is a folder or empty."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        if not path.exists():
            raise BookError(f"there is no file {path}") from error
        if path.is_dir():
            raise BookError(f"{path} is a folder, not a text file: name a file in it") from error
        raise BookError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data.strip():
        raise BookError(f"{path} is empty ({len(data):,} bytes): name a file with text in it")
    return data


def read_text(path: str | Path) -> str:
    """Return the normalised text of a UTF-8 file. Raises BookError if it is missing, empty, binary or not
    UTF-8."""
    text = decode(read_bytes(path), str(path))
    if not text.strip():
        raise BookError(f"{path} is empty but for blank space: name a file with text in it")
    return text
