"""Fetch a file over HTTP politely.

What arrives stays in memory until it is complete: a failed download leaves nothing on the disk. A later try
asks only for the missing bytes, and only a server that can promise the file is still the same one.
Certificates are always verified; the machine's proxies (HTTPS_PROXY and the like) are used.
"""

import http.client
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

AGENT = "oz-gpt-course/1.0 (a course on language models; fetches one book and keeps it)"
WAITS = (1, 2, 4)  # seconds before the second, third and fourth try
TIMEOUT = 10  # seconds without an answer, or without a further byte
LARGEST = 100_000_000  # bytes: more than this is no text for the course


class DownloadError(ValueError):
    """No address gave what was wanted. `problems` has one sentence for each address."""

    def __init__(self, problems: Sequence[str]):
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass
class _Part:
    """What one address has sent so far, and what is needed to ask it for the rest."""

    data: bytearray = field(default_factory=bytearray)
    total: int | None = None  # bytes of the whole file, if the server said so
    validator: str = ""  # the ETag or the date that names this version of the file
    charset: str | None = None

    def request(self, address: str) -> urllib.request.Request:
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        if self.data and self.total and self.validator:
            headers |= {"Range": f"bytes={len(self.data)}-", "If-Range": self.validator}
        return urllib.request.Request(address, headers=headers)

    def begin(self, response: http.client.HTTPResponse) -> None:
        """Go on after the bytes we have if the answer continues them, else start again from nothing."""
        etag = response.headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        if response.status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            expected = (len(self.data), self.total)
            if (
                not found
                or (int(found[1]), int(found[2])) != expected
                or validator not in ("", self.validator)
            ):
                self.data.clear()
                raise ConnectionError("the file changed on the server between two tries")
            return
        length = response.headers.get("Content-Length", "")
        self.data.clear()
        self.total = int(length) if length.isdecimal() else None
        self.validator = validator
        self.charset = response.headers.get_content_charset()


class StayOnHttps(urllib.request.HTTPRedirectHandler):
    """A redirect from https to plain http is followed over https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.full_url.startswith("https:") and newurl.startswith("http:"):
            newurl = "https:" + newurl.removeprefix("http:")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def build_opener(context: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    """Return an opener that verifies certificates, uses the machine's proxies and does not leave https."""
    context = context or ssl.create_default_context()
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), StayOnHttps)


@contextmanager
def _bar(label: str, total: int | None, done: int):
    """Yield a function that counts bytes: a tqdm bar, or a plain line, or silence where nobody looks."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda count: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm:
        with tqdm(total=total, initial=done, desc=label, unit="B", unit_scale=True, file=sys.stderr) as bar:
            yield bar.update
        return

    def advance(count: int) -> None:
        nonlocal done
        done += count
        of = f" of {total / 1000:,.0f}" if total else ""
        print(f"\r{label}: {done / 1000:,.0f}{of} kB", end="", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        print(file=sys.stderr)


def _receive(opener, address: str, part: _Part, timeout: float, label: str) -> None:
    """Fill part from one address; raise OSError, HTTPException or ValueError when that does not work out."""
    with opener.open(part.request(address), timeout=timeout) as response:
        part.begin(response)
        with _bar(label, part.total, len(part.data)) as advance:
            while chunk := response.read1(1 << 16):  # read1 keeps what came before a time-out, read loses it
                part.data += chunk
                advance(len(chunk))
                if len(part.data) > LARGEST:
                    raise ValueError(f"it sends more than {LARGEST:,} bytes, which is no book")
    if part.total is not None and len(part.data) < part.total:
        raise ConnectionError(f"the connection ended after {len(part.data):,} of {part.total:,} bytes")


def _diagnose(error: Exception, timeout: float) -> tuple[str, bool]:
    """Return one sentence for a try that failed, and whether the same address is worth another try."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        again = error.code >= 500 or error.code in (408, 416)
        return f"the server answered {error.code} {error.reason}".strip(), again
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate could not be verified ({reason.verify_message or reason})", False
    if isinstance(reason, TimeoutError):  # not even a connection: more tries would only cost more time
        return f"no answer within {timeout:g} s", reason is error
    if isinstance(error, (ValueError, http.client.InvalidURL)):
        return str(error), False
    what = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return f"no connection ({what})" if reason is not error else what, True


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or address
    except ValueError:
        return address


def fetch(
    addresses: Sequence[str],
    accept: Callable[[bytes, str | None], object],
    *,
    waits: Sequence[float] | None = None,
    timeout: float | None = None,
    label: str = "download",
):
    """Return (accept(data, charset), address) for the first address that sends a whole, acceptable file.

    addresses: asked in this order; then, after each of waits, those again that may recover: a server error,
               a lost connection. A 404, a bad certificate or a refused file ends the tries at that address.
    accept:    gets the bytes and the character set that the server names; raises ValueError to refuse them.
    waits:     seconds before the second, third ... try, default WAITS.
    timeout:   seconds without a byte, default TIMEOUT.
    Raises DownloadError with one sentence for each address.
    """
    waits, timeout = WAITS if waits is None else waits, TIMEOUT if timeout is None else timeout
    opener = build_opener()
    parts = {address: _Part() for address in addresses}
    problems = {}
    for wait in (0, *waits):
        time.sleep(wait)
        for address, part in list(parts.items()):
            try:
                _receive(opener, address, part, timeout, label)
                return accept(bytes(part.data), part.charset), address
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem, again = _diagnose(error, timeout)
                problems[address] = f"{_host(address)}: {problem}"
                if getattr(error, "code", None) == 416:  # what we have does not fit: from the beginning
                    part.data.clear()
                if not again:
                    del parts[address]
        if not parts:
            break
    raise DownloadError([problems[address] for address in dict.fromkeys(addresses)])
