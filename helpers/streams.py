"""Streams of bytes, compressed or not: read piece by piece, in little memory, and told apart by content.

    with open("corpus.tar.xz", "rb") as file:
        kind, stream = opened(FileStream("corpus.tar.xz", file))   # "tar", and the bytes of the tar
        stream.read(1 << 18)                                       # the next bytes, b"" at the end

`opened` takes off every layer of compression (xz, gzip, bzip2), whatever the file's name says. Introduced by
notebook 11 (sections 57 to 61 of the lecture), for helpers/archives.py. Standard library only.
"""

import bz2
import lzma
import os
import zlib
from collections.abc import Callable
from typing import BinaryIO

BLOCK = 1 << 18  # bytes read, or decompressed, at a time
HEAD = 512  # bytes that tell what a file is
LAYERS = 3  # of compression, one in the other: each has a decoder in memory
DECODER_MEMORY = 72 << 20  # bytes for one decoder: `xz -9`, the largest preset, needs 65 MiB

MAGIC = {b"\xfd7zXZ\0": "xz", b"\x1f\x8b\x08": "gzip", b"PAR1": "parquet"} | {
    b"BZh%d1AY&SY" % level: "bzip2" for level in range(1, 10)
}
NOT_READ = {
    b"PK\x03\x04": "a zip archive, which is not read here: unpack it and name the folder",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive, which is not read here: unpack it and name the folder",
    b"7z\xbc\xaf": "a 7z archive, which is not read here: unpack it and name the folder",
    b"Rar!\x1a": "a rar archive, which is not read here: unpack it and name the folder",
    b"%PDF-": "a PDF, not plain text: copy its words into a text file (UTF-8)",
    b"\xff\xfe": "UTF-16, not UTF-8: save it as UTF-8",
    b"\xfe\xff": "UTF-16, not UTF-8: save it as UTF-8",
}
FIRST_BYTES = tuple(MAGIC) + tuple(NOT_READ)


class Unreadable(ValueError):
    """A file cannot be read, or not to its end. The message goes on from "NAME is ".

    kind: one word or two to count by, such as "damaged". name: the file, once it is known. reported: it was counted.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind, self.name, self.reported = kind, "", False


def cut_off(message: str = "cut off: it ends early") -> Unreadable:
    """The error for a file whose end is missing."""
    return Unreadable("cut off", message)


class Stream:
    """Bytes that are read once, from the front. A kind of stream says where `_more` bytes come from.

    name: of the file, for errors.
    """

    def __init__(self, name: str):
        self.name = name
        self._ahead = b""  # bytes that were looked at and not yet read
        self._error: Unreadable | None = None

    def _more(self) -> bytes:
        """Some bytes, at most BLOCK of them; b"" at the end."""
        raise NotImplementedError

    def _next(self) -> bytes:
        """`_more`, but what was broken once stays so, with one and the same error."""
        if self._error:
            raise self._error
        try:
            return self._more()
        except Unreadable as error:
            error.name, self._error = error.name or self.name, error
            raise

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or all that are left, without reading them."""
        while len(self._ahead) < size:
            more = self._next()
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int = BLOCK) -> bytes:
        """At least one and at most `size` bytes; b"" at the end. Raises Unreadable."""
        data, self._ahead = self._ahead or self._next(), b""
        if len(data) > size:
            self._ahead, data = data[size:], data[:size]
        return data


class FileStream(Stream):
    """The bytes of an open file. count: told how many bytes were read each time, for a progress bar."""

    def __init__(
        self, name: str, file: BinaryIO, count: Callable[[int], object] | None = None, block: int = BLOCK
    ):
        super().__init__(name)
        self.file, self.count, self.block = file, count, block

    def _more(self) -> bytes:
        try:
            data = self.file.read(self.block)
        except OSError as error:
            raise Unreadable("not readable", f"not readable: {error.strerror or error}") from error
        if self.count:
            self.count(len(data))
        return data

    def count_share(self, share: float) -> None:
        """Count a share of the file that was read in another way."""
        if self.count:
            self.count(round(share * os.fstat(self.file.fileno()).st_size))


class BytesStream(Stream):
    """Bytes that are in memory. cut: there was more of them and it is lost, which is known and was reported."""

    def __init__(self, name: str, data: bytes, cut: bool = False):
        super().__init__(name)
        self.data, self.cut, self.at = data, cut, 0

    def _more(self) -> bytes:
        piece = self.data[self.at : self.at + BLOCK]
        self.at += len(piece)
        if not piece and self.cut:
            error = cut_off()
            error.reported = True
            raise error
        return piece


class _Gzip:
    """zlib's decoder, with the names of those of lzma and bz2."""

    def __init__(self):
        self._decoder = zlib.decompressobj(31)  # 31: with a gzip header and checksum
        self._rest, self._full = b"", False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        data = self._decoder.decompress(self._rest + data, max_length)
        self._rest = self._decoder.unconsumed_tail
        self._full = len(data) == max_length
        return data

    @property
    def needs_input(self) -> bool:
        return not self._rest and not self._full

    eof = property(lambda self: self._decoder.eof)
    unused_data = property(lambda self: self._decoder.unused_data)


DECODERS = {
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, DECODER_MEMORY),
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
}


class Decompressed(Stream):
    """What a compressed stream holds. Several in a row, with zero bytes between them, are one, as the tools have it."""

    def __init__(self, source: Stream, kind: str):
        super().__init__(source.name)
        self.source, self.kind = source, kind
        self.decoder = DECODERS[kind]()

    def _more(self) -> bytes:
        while not self.decoder.eof or self._next_one():
            data = self.source.read(BLOCK) if self.decoder.needs_input else b""
            if not data and self.decoder.needs_input:
                raise cut_off(f"cut off: its {self.kind} data ends early")
            try:
                data = self.decoder.decompress(data, max_length=BLOCK)
            except (lzma.LZMAError, zlib.error, OSError, EOFError) as error:
                if "limit" in str(error):
                    raise Unreadable(
                        "too large", f"packed in a way that needs over {DECODER_MEMORY >> 20} MiB"
                    ) from error
                raise Unreadable(
                    "damaged", f"damaged: its {self.kind} data cannot be read ({error})"
                ) from error
            if data:
                return data
        return b""

    def _next_one(self) -> bool:
        """Whether another compressed stream follows the one that is done; then it is opened."""
        data = self.decoder.unused_data.lstrip(b"\0")
        while not data:
            data = self.source.read(BLOCK)
            if not data:
                return False
            data = data.lstrip(b"\0")
        self.source = _Joined(data, self.source)
        if kind_of(self.source.peek(HEAD)) != self.kind:
            raise Unreadable("damaged", f"damaged: what follows its {self.kind} data is something else")
        self.decoder = DECODERS[self.kind]()
        return True


class _Joined(Stream):
    """Bytes in memory, then the rest of a stream."""

    def __init__(self, data: bytes, rest: Stream):
        super().__init__(rest.name)
        while (
            isinstance(rest, _Joined) and not rest._ahead
        ):  # no chain of them for an archive of many streams
            rest = rest.rest
        self._ahead, self.rest = data, rest

    def _more(self) -> bytes:
        return self.rest.read(BLOCK)


def kind_of(head: bytes) -> str:
    """What a file is, from its first HEAD bytes: "xz", "gzip", "bzip2", "tar", "parquet", "empty" or "text".

    "text" is all else. Raises Unreadable for kinds that are known and not read.
    """
    if not head:
        return "empty"
    if head.startswith(FIRST_BYTES):
        for magic, message in NOT_READ.items():
            if head.startswith(magic):
                raise Unreadable("not supported", message)
        return next(kind for magic, kind in MAGIC.items() if head.startswith(magic))
    return "tar" if is_tar_header(head[:HEAD]) else "text"


def is_tar_header(block: bytes) -> bool:
    """Whether 512 bytes are the header of a file in a tar: the sum of its bytes stands in it, in octal digits."""
    if len(block) != HEAD:
        return False
    try:
        expected = int(block[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    return sum(block[:148]) + 8 * ord(" ") + sum(block[156:]) == expected


def opened(stream: Stream) -> tuple[str, Stream]:
    """The kind of a stream once its layers of compression are off, and the stream without them."""
    for _ in range(LAYERS + 1):
        kind = kind_of(stream.peek(HEAD))
        if kind not in DECODERS:
            return kind, stream
        stream = Decompressed(stream, kind)
    raise Unreadable("too deep", f"compressed more than {LAYERS} times over")
