"""Text to the bytes of a token file, fast: one table look-up for characters, a remembered word for byte pairs.

    encoder = encoder_for(tokenizer)
    encoder.encode("Over the hills")        # bytes: the ids that tokenizer.encode gives, in encoder.dtype
    encoder.end                             # the id of END_OF_TEXT, in the same form
    encoder.unknown                         # characters so far that the vocabulary lacks: a stand-in is in their place

    tokenizer = learn(texts, "characters", 256, is_whole)     # from the first texts of a corpus

Introduced by notebook 11 (sections 57 and 61 of the lecture). Imports no torch.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from helpers.bpe import PIECE, BPETokenizer
from helpers.token_files import END_OF_TEXT, id_type
from helpers.tokenizer import CharTokenizer, Tokenizer

STAND_IN = "\ufffd"  # Unicode's own sign for a character that could not be had
BATCH = 1 << 18  # characters that are counted at a time
REMEMBERED = 150_000  # words whose ids are kept
LONGEST_PIECE = 1 << 20  # characters without any blank space in a long document before it is cut all the same


class CharEncoder:
    """The ids of characters, by a table. Unknown ones get the id of U+FFFD, else of "?", a space or the first one."""

    def __init__(self, tokenizer: CharTokenizer):
        characters = tokenizer.characters
        if END_OF_TEXT not in characters:
            raise ValueError(
                f"the vocabulary has no {END_OF_TEXT!r}, which ends each document: make one without --tokenizer, or "
                "add that character to it"
            )
        self.stand_in = next((c for c in (STAND_IN, "?", " ") if c in characters), characters[0])
        self.dtype = np.dtype("u1") if len(characters) <= 256 else id_type(len(characters))
        replaced = characters.index(self.stand_in)
        self._table = np.full(0x110000, replaced, self.dtype)  # code point -> id
        self._table[[ord(c) for c in characters]] = np.arange(len(characters))
        self._bytes = self._table[:256].tobytes() if self.dtype.itemsize == 1 else None
        self._replaced = replaced
        self.end = self._table[ord(END_OF_TEXT) : ord(END_OF_TEXT) + 1].tobytes()
        self.unknown = 0

    def encode(self, text: str) -> bytes:
        """The ids of a text as bytes, and `unknown` grows by the number of characters that were replaced."""
        if text.isascii():
            return self.encode_plain(text.encode("ascii"))
        codes, width = text.encode("utf-16-le", "surrogatepass"), "<u2"
        if len(codes) != 2 * len(text):  # a character beyond U+FFFF; else 16 bits for each are quicker
            codes, width = text.encode("utf-32-le", "surrogatepass"), "<u4"
        ids = self._table.take(np.frombuffer(codes, width), mode="clip")
        return self._noted(ids.tobytes(), text.count, self.stand_in)

    def encode_plain(self, data: bytes) -> bytes:
        """The ids of a text in ASCII that is given as bytes."""
        ids = data.translate(self._bytes) if self._bytes else self._table[np.frombuffer(data, "u1")].tobytes()
        return self._noted(ids, data.count, self.stand_in.encode("utf-8"))

    def _noted(self, ids: bytes, count: Callable, stand_in: str | bytes) -> bytes:
        """The same ids, once the characters that were replaced are counted; count(stand_in): those that were not."""
        if not self._bytes:
            found = np.count_nonzero(np.frombuffer(ids, self.dtype) == self._replaced)
            self.unknown += int(found) - count(stand_in)
        elif self._replaced in ids:
            self.unknown += ids.count(self._replaced) - count(stand_in)
        return ids

    def pieces(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces of one long text so cut that they may be encoded one by one: as they come."""
        return iter(pieces)


class PairEncoder:
    """The ids of byte pairs, word by word: a word that was met before is looked up, new ones go to the Rust library."""

    unknown = 0  # every text can be written

    def __init__(self, tokenizer: BPETokenizer):
        from tokenizers import Tokenizer as Library
        from tokenizers import models

        def characters(token: bytes) -> str:
            return token.decode(
                "latin-1"
            )  # one character for each byte, as in BPETokenizer.train_with_library

        self.dtype = id_type(tokenizer.vocab_size)
        self.end = np.array(ord(END_OF_TEXT), self.dtype).tobytes()
        vocabulary = {characters(token): i for i, token in enumerate(tokenizer.tokens)}
        merges = [(characters(left), characters(right)) for left, right in tokenizer.merges]
        self._library = Library(models.BPE(vocabulary, merges, cache_capacity=0))
        self._ids: dict[str, bytes] = {}

    def encode_plain(self, data: bytes) -> bytes:
        """The ids of a text in ASCII that is given as bytes."""
        return self.encode(data.decode("ascii"))

    def encode(self, text: str) -> bytes:
        """The ids of a text as bytes: those of BPETokenizer.encode."""
        words = PIECE.findall(text)
        new = [word for word in set(words) if word not in self._ids]
        if new:
            if len(self._ids) + len(new) > REMEMBERED:
                self._ids.clear()
                new = list(set(words))
            spelt = [word.encode("utf-8", "surrogatepass").decode("latin-1") for word in new]
            for word, found in zip(new, self._library.encode_batch_fast(spelt), strict=True):
                self._ids[word] = np.array(found.ids, self.dtype).tobytes()
        return b"".join(map(self._ids.__getitem__, words))

    def pieces(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces of one long text so cut that they may be encoded one by one: where words end."""
        return cut_at_blanks(pieces)


def cut_at_blanks(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of one long text, cut anew between a word and the blank space behind it: no word of BPETokenizer
    reaches over that. After LONGEST_PIECE characters without such a place the text is cut all the same.
    """
    held = ""
    for piece in pieces:
        held += piece
        at = max(held.rfind(" "), held.rfind("\n"), 0)
        while at and held[at - 1].isspace():
            at -= 1
        if not at and len(held) > LONGEST_PIECE:
            at = len(held)
        if at:
            yield held[:at]
            held = held[at:]
    if held:
        yield held


def encoder_for(tokenizer: Tokenizer) -> CharEncoder | PairEncoder:
    """The encoder of a tokenizer. Raises ValueError for a vocabulary without END_OF_TEXT."""
    return PairEncoder(tokenizer) if isinstance(tokenizer, BPETokenizer) else CharEncoder(tokenizer)


def learn(texts: Iterable[str], tokens: str, vocab_size: int, is_whole: Callable[[], bool]) -> Tokenizer:
    """A tokenizer from the first texts of a corpus.

    tokens: "characters": the most frequent characters, END_OF_TEXT, the line end and, where some character may be
    missing, U+FFFD: vocab_size at most. "bpe": byte pairs; few texts give fewer than vocab_size.
    is_whole: asked when the texts have ended: whether they were the whole corpus. Raises ValueError for a vocab_size
    that is too small.
    """
    if tokens == "bpe":
        return BPETokenizer.train_with_library(texts, vocab_size)
    counts = _counted(texts)
    always = {END_OF_TEXT, "\n"}
    if not is_whole() or len(counts.keys() | always) > vocab_size:
        always.add(STAND_IN)
    if vocab_size <= len(always):
        raise ValueError(
            f"a vocabulary of {vocab_size} characters is too small: {len(always)} are taken by the end of a text, the end "
            "of a line and the stand-in for all else"
        )
    frequent = sorted(counts.keys() - always, key=lambda character: (-counts[character], character))
    return CharTokenizer(sorted([*always, *frequent[: vocab_size - len(always)]]))


def _counted(texts: Iterable[str]) -> dict[str, int]:
    """How often each character occurs."""
    counts = np.zeros(0x110000, np.int64)
    for text in _batches(texts):
        width = "u1" if text.isascii() else "<u4"
        codes = np.frombuffer(text.encode("ascii" if width == "u1" else "utf-32-le", "surrogatepass"), width)
        found = np.bincount(codes)
        counts[: len(found)] += found
    return {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}


def _batches(texts: Iterable[str]) -> Iterator[str]:
    """Some texts joined, again and again."""
    held, size = [], 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size > BATCH:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)
