"""Byte-pair encoding: tokens that a text itself suggests, and no text that cannot be written with them.

    bpe = BPETokenizer.train(text, vocab_size=1024)
    ids = bpe.encode("Over the hills")                  # NumPy array of int64
    bpe.decode(ids)                                     # "Over the hills"
    bpe = BPETokenizer.train_with_library(texts, 8192)  # the same merges, quicker: for a large corpus

Introduced by notebook 01 (section 8 of the lecture). The method is that of Sennrich, Haddow and Birch 2016
(arXiv 1508.07909). The form is that of GPT-2 (Radford et al. 2019): it starts from the 256 bytes, so that nothing is
unknown, and merges within pieces of about a word. Imports no torch, as helpers/tokenizer.py.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from helpers.tokenizer import CharTokenizer, Tokenizer

N_BYTES = 256  # tokens to start with, one for each byte
CACHE = 100_000  # pieces whose ids are remembered

# Letters, digits or signs, each with the one space before them; or blank space. Between them they match every character.
PIECE = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")


def pieces_of(text: str) -> list[str]:
    """Cut a text into words, numbers, runs of signs and blank space; joined together, they are the text again.

    pieces_of("Ivy sang, 2 days.") is ["Ivy", " sang", ",", " 2", " days", "."]
    """
    return PIECE.findall(text)


def bytes_of(piece: str) -> list[bytes]:
    """The UTF-8 bytes of a piece as tokens of one byte each: "né" gives [b"n", b"\\xc3", b"\\xa9"]."""
    return [bytes([value]) for value in piece.encode("utf-8", "surrogatepass")]


def merge(tokens: list, pair: tuple) -> list:
    """`tokens` with each occurrence of `pair` made one token, from left to right."""
    left, right = pair
    merged, i = [], 0
    while i < len(tokens):
        if tokens[i] == left and tokens[i + 1 : i + 2] == [right]:
            merged.append(left + right)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


class BPETokenizer(Tokenizer):
    """Ids 0 to 255 are the bytes; each merge adds the next id, for two earlier tokens in one.

    merges: pairs of tokens (bytes) in the order in which they were learnt. tokens: the vocabulary; tokens[i] has id i.
    The first merges of a tokenizer make a smaller one: BPETokenizer(bpe.merges[:100]).
    Raises ValueError for a merge of tokens that are not there yet, or whose result is there already.
    """

    HOLDS = "byte-pair merges"

    def __init__(self, merges: Iterable[tuple[bytes, bytes]] = ()):
        self.merges = [(left, right) for left, right in merges]
        self.tokens = [bytes([value]) for value in range(N_BYTES)]
        self._id_of = {token: i for i, token in enumerate(self.tokens)}
        for number, (left, right) in enumerate(self.merges):
            if left not in self._id_of or right not in self._id_of:
                raise ValueError(
                    f"merge {number}, {left!r} + {right!r}: no earlier merge gives one of the two"
                )
            if left + right in self._id_of:
                raise ValueError(f"merge {number}, {left!r} + {right!r}: this token is there already")
            self._id_of[left + right] = len(self.tokens)
            self.tokens.append(left + right)
        self._rank = {pair: number for number, pair in enumerate(self.merges)}
        self._ids_of_piece: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """How many different ids there are."""
        return len(self.tokens)

    @classmethod
    def train(cls, text: str, vocab_size: int) -> "BPETokenizer":
        """Learn merges from a text until there are `vocab_size` tokens.

        In each step the most frequent pair of neighbours within a piece becomes one token; of equally frequent pairs
        the one with the smaller left id, then the smaller right id. It ends early where no pair occurs twice, so a
        short text gives a smaller vocabulary than asked for, and an empty one the 256 bytes.
        Raises ValueError for vocab_size < 256.
        """
        _check_text(text)
        _check_size(vocab_size)
        times = Counter(pieces_of(text))  # equal pieces are merged alike, so each is worked on once
        tokens_of = {piece: bytes_of(piece) for piece in times}
        counts, where = Counter(), defaultdict(set)  # pair -> how often, pair -> in which pieces
        for piece, tokens in tokens_of.items():
            for pair in pairwise(tokens):
                counts[pair] += times[piece]
                where[pair].add(piece)

        ids, merges = {bytes([value]): value for value in range(N_BYTES)}, []
        while len(ids) < vocab_size:
            most = max(counts.values(), default=0)
            if most < 2:
                break
            candidates = (pair for pair, count in counts.items() if count == most)
            best = min(candidates, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
            merges.append(best)
            ids[best[0] + best[1]] = len(ids)
            for piece in where.pop(best):  # only these change
                for pair in pairwise(tokens_of[piece]):
                    counts[pair] -= times[piece]
                    if not counts[pair]:
                        del counts[pair]
                tokens_of[piece] = merge(tokens_of[piece], best)
                for pair in pairwise(tokens_of[piece]):
                    counts[pair] += times[piece]
                    where[pair].add(piece)
        return cls(merges)

    @classmethod
    def train_with_library(cls, texts: str | Iterable[str], vocab_size: int) -> "BPETokenizer":
        """What `train` gives, found by the `tokenizers` library, which is written in Rust.

        texts: one text, or any number of them, one after the other, so that a corpus need not fit into memory; no piece
        reaches from one text into the next. The library works on characters and is given one for each byte (byte 195 is
        character 195), already cut into our pieces. It breaks ties as `train` does.
        """
        from tokenizers import Tokenizer, models, trainers

        _check_size(vocab_size)
        texts = [texts] if isinstance(texts, str) else texts
        library = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            initial_alphabet=[chr(value) for value in range(N_BYTES)],
            show_progress=False,
        )
        library.train_from_iterator(
            (_as_characters(piece) for text in texts for piece in _checked_pieces(text)), trainer
        )
        learnt = json.loads(library.to_str())["model"]["merges"]
        return cls((left.encode("latin-1"), right.encode("latin-1")) for left, right in learnt)

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text: int64, shape (number of tokens,). Every text has them."""
        _check_text(text)
        ids = (i for found in PIECE.finditer(text) for i in self._ids(found.group()))
        return np.fromiter(ids, dtype=np.int64)

    def _ids(self, piece: str) -> list[int]:
        """The ids of a piece: of the pairs that are there, the one learnt first is merged first."""
        known = self._ids_of_piece.get(piece)
        if known is not None:
            return known
        tokens, never = bytes_of(piece), len(self.merges)
        while len(tokens) > 1:
            first = min([self._rank.get(pair, never) for pair in pairwise(tokens)])
            if first == never:
                break
            tokens = merge(tokens, self.merges[first])
        if len(self._ids_of_piece) >= CACHE:
            self._ids_of_piece.clear()
        ids = self._ids_of_piece[piece] = [self._id_of[token] for token in tokens]
        return ids

    def decode(self, ids) -> str:
        """The text of `ids` (a list, a NumPy array or a tensor of integers, one dimension).

        Bytes that are no UTF-8, such as those of half a character, become the sign U+FFFD (�).
        Raises ValueError for an id outside 0 .. vocab_size - 1: it belongs to another vocabulary.
        """
        data = b"".join([self.tokens[i] for i in self._checked(ids).tolist()])
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")

    def to_dict(self) -> dict:
        """The merges as plain data: [left id, right id] for each, in the order learnt."""
        pairs = [[self._id_of[left], self._id_of[right]] for left, right in self.merges]
        return {"type": "byte pairs", "merges": pairs}

    @classmethod
    def from_dict(cls, data: dict) -> "BPETokenizer":
        """The tokenizer of `to_dict`. Raises ValueError for anything else."""
        if (
            not isinstance(data, dict)
            or data.get("type") != "byte pairs"
            or not isinstance(data.get("merges"), list)
        ):
            raise ValueError(
                'no byte-pair merges: expected {"type": "byte pairs", "merges": [[116, 104], ...]}'
            )
        return cls(_from_ids(data["merges"]))


def tokenizer_from_dict(data: dict) -> Tokenizer:
    """The tokenizer, of characters or of byte pairs, of its `to_dict`. Raises ValueError for anything else."""
    kind = BPETokenizer if isinstance(data, dict) and data.get("type") == "byte pairs" else CharTokenizer
    return kind.from_dict(data)


def _from_ids(pairs: Sequence) -> list[tuple[bytes, bytes]]:
    """Merges as pairs of tokens, from pairs of ids."""
    tokens, merges = [bytes([value]) for value in range(N_BYTES)], []
    for number, pair in enumerate(pairs):
        ok = (
            isinstance(pair, list)
            and len(pair) == 2
            and all(type(i) is int and 0 <= i < len(tokens) for i in pair)
        )
        if not ok:
            raise ValueError(f"merge {number} is {pair!r}, but it is two ids from 0 to {len(tokens) - 1}")
        merges.append((tokens[pair[0]], tokens[pair[1]]))
        tokens.append(merges[-1][0] + merges[-1][1])
    return merges


def _checked_pieces(text: str) -> list[str]:
    _check_text(text)
    return pieces_of(text)


def _as_characters(piece: str) -> str:
    """One character for each byte of a piece, with the number of the byte as its code point."""
    return piece.encode("utf-8", "surrogatepass").decode("latin-1")


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a tokenizer takes a str, but got {type(text).__name__}")


def _check_size(vocab_size: int) -> None:
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int):
        raise TypeError(f"vocab_size={vocab_size!r}, but it is a whole number")
    if vocab_size < N_BYTES:
        raise ValueError(
            f"vocab_size={vocab_size}, but the {N_BYTES} bytes are part of every vocabulary: choose {N_BYTES} or more"
        )
