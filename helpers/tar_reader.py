"""The files in a tar, one after the other and in little memory.

    for name, size, data in Tar(stream).short_files(5000):
        ...

The tar is read here rather than by `tarfile`, which takes several times as long for each small file and ends without a
word where a header is damaged. Introduced by notebook 11 (sections 57 to 61 of the lecture). Standard library only.
"""

import zlib
from collections.abc import Iterator

from helpers.streams import BLOCK, HEAD, Stream, Unreadable, cut_off

LONGEST_NAME = 1 << 20  # bytes: a longer one is damage, or meant to do harm
NOTHING = bytes(HEAD)
ORDINARY = ord("0")  # the type of a file in a tar header
ADLER = 65521  # the prime of Adler-32


class Tar:
    """The files in a tar, in their order.

        for name, size in (tar := Tar(stream)):
            data = tar.whole()          # or tar.stream(), or neither
        for name, size, data in Tar(stream).short_files(5000):
            ...                         # data is None for a file of more than 5000 bytes
    Folders and links are passed over. Raises Unreadable where the tar is cut off or damaged.
    """

    def __init__(self, stream: Stream):
        self._stream = stream
        self._buffer, self._at = b"", 0  # bytes that were read from the stream; how many of them were used
        self._left = self._padding = 0  # bytes of this file that are still to come, and of zeros after them
        self._ended = False

    def __iter__(self) -> Iterator[tuple[str, int]]:
        while (found := self.next_file()) is not None:
            yield found

    def short_files(self, limit: int) -> Iterator[tuple[str, int, bytes | None]]:
        """(name, size, bytes) of every file; the bytes of files above `limit` are for the caller to read."""
        while True:
            # The quick way, in one loop: an ordinary file whose header and bytes stand in the buffer.
            buffer, at = self._buffer, self._at + self._left + self._padding
            while at + HEAD < len(buffer):
                block = buffer[at : at + HEAD]
                if block[156] != ORDINARY or block[345]:
                    break
                try:
                    size, check = int(block[124:135], 8), int(block[148:154], 8)
                except ValueError:
                    break
                start = at + HEAD
                at = start + size
                if not 0 < size <= limit or at > len(buffer) or (_sum(block) - check) % ADLER:
                    break
                name = block[:100].partition(b"\0")[0].decode("utf-8", "replace")
                if _is_a_note(name):
                    break
                self._at, self._left, self._padding, self._ended = at, 0, -size % HEAD, False
                yield name, size, buffer[start:at]
                at += -size % HEAD
            found = self.next_file()  # the way for everything
            if found is None:
                return
            name, size = found
            yield name, size, self.whole() if size <= limit else None

    def next_file(self) -> tuple[str, int] | None:
        """Name and size in bytes of the next file; None at the end."""
        noted = {}  # what the entries before a file say of it: "path", "size"
        while True:
            at = self._at + self._left + self._padding
            if at + HEAD > len(self._buffer):
                self._skip()
                if not self._fill(HEAD):
                    return self._end()
                at = self._at
            block = self._buffer[at : at + HEAD]
            self._at, self._left, self._padding = at + HEAD, 0, 0
            if block == NOTHING:
                self._ended = True
                continue
            size, kind = self._size_of(block), block[156:157]
            self._ended = False
            if kind in b"0\x007":  # an ordinary file
                name = noted.get("path") or _name(block)
                size = noted.get("size", size)
                self._left, self._padding = size, -size % HEAD
                if not _is_a_note(name):
                    return name, size
            elif kind in b"123456":  # links, folders and the like have no content
                size = 0
            elif kind in b"LxgK":
                self._left, self._padding = size, -size % HEAD
                if size > LONGEST_NAME:
                    raise self._damaged()
                note = self.whole()
                if kind == b"L":
                    noted["path"] = note.split(b"\0", 1)[0].decode("utf-8", "replace")
                elif kind == b"x":
                    noted |= _pax(note)
                continue
            elif kind == b"S":
                raise self._named(
                    Unreadable("not supported", "a tar with sparse files: unpack it and pack it anew")
                )
            self._left, self._padding = size, -size % HEAD  # what is not read is passed over
            noted = {}

    def _size_of(self, block: bytes) -> int:
        """The size of an entry, once its header has proved to be one: the sum of its bytes stands in it."""
        try:
            if (_sum(block) - int(block[148:156].strip(b"\0 "), 8)) % ADLER == 0:
                return _number(block[124:136])
        except ValueError:
            pass
        raise self._damaged()

    def whole(self) -> bytes:
        """The bytes of the present file."""
        size = self._left
        if not self._fill(size):
            raise self._named(cut_off())
        data = self._buffer[self._at : self._at + size]
        self._at += size
        self._left = 0
        return data

    def stream(self, name: str) -> Stream:
        """The bytes of the present file as a stream, to be read before the next file."""
        return _Member(name, self)

    def _read(self) -> bytes:
        """Some bytes of the present file; b"" at its end."""
        if not self._left:
            return b""
        if not self._fill(1):
            raise self._named(cut_off())
        data = self._buffer[self._at : self._at + min(self._left, BLOCK)]
        self._at += len(data)
        self._left -= len(data)
        return data

    def _fill(self, size: int) -> bool:
        """Whether the next `size` bytes are there; then they stand in the buffer."""
        have = len(self._buffer) - self._at
        if have >= size:
            return True
        pieces = [self._buffer[self._at :]]
        self._buffer, self._at = b"", 0
        while have < size and (data := self._stream.read(BLOCK)):
            pieces.append(data)
            have += len(data)
        self._buffer = b"".join(pieces)
        return have >= size

    def _skip(self) -> None:
        """Go on behind the present file."""
        left = self._left + self._padding
        while left > len(self._buffer) - self._at:
            left -= len(self._buffer) - self._at
            self._buffer, self._at = self._stream.read(BLOCK), 0
            if not self._buffer:
                if left > self._padding:
                    raise self._named(cut_off())
                left = 0
        self._at += left
        self._left = self._padding = 0

    def _end(self) -> None:
        """The stream has ended: as it should, or not."""
        if len(self._buffer) > self._at or not self._ended:
            raise self._named(cut_off("cut off: the end of its tar is missing"))

    def _damaged(self) -> Unreadable:
        where = "behind its end" if self._ended else "in it"
        return self._named(Unreadable("damaged", f"damaged: {where} stands something that is no tar"))

    def _named(self, error: Unreadable) -> Unreadable:
        error.name = self._stream.name
        return error


class _Member(Stream):
    def __init__(self, name: str, tar: Tar):
        super().__init__(name)
        self._more = tar._read


def _sum(block: bytes) -> int:
    """The sum of a header's bytes modulo ADLER; the eight of the checksum itself count as spaces.

    The low half of Adler-32 is 1 + the sum of the bytes, and quicker than sum(block).
    """
    return (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 8 * 32


def _is_a_note(name: str) -> bool:
    """Whether it is no file of ours: a folder as very old tars have it, or a note of macOS on the file of that name."""
    return name[-1:] == "/" or ("._" in name and name.rpartition("/")[2].startswith("._"))


def _number(digits: bytes) -> int:
    """A number of a tar header: octal digits, or big-endian after a first byte of 0x80."""
    if digits[0] & 0x80:
        return int.from_bytes(digits[1:], "big")
    size = int(digits.strip(b"\0 ") or b"0", 8)
    if size < 0:
        raise ValueError("a size below 0")
    return size


def _name(block: bytes) -> str:
    name = block[:100].split(b"\0", 1)[0]
    if block[345] and block.startswith(b"ustar\0", 257):
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", "replace")


def _pax(data: bytes) -> dict[str, str | int]:
    """What a pax header says of path and size, in lines of "length key=value"."""
    values = {}
    while data:
        digits = data.split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() and len(digits) < 10 else 0
        if not 0 < length <= len(data):
            break
        key, _, value = data[len(digits) + 1 : length - 1].partition(b"=")
        if key == b"path":
            values["path"] = value.decode("utf-8", "replace")
        elif key == b"size" and value.isdigit() and len(value) < 20:
            values["size"] = int(value)
        data = data[length:]
    return values
