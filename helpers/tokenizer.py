"""Text to integers and back.

    tokenizer = CharTokenizer.from_text(text)
    ids = tokenizer.encode("Over the hills")        # NumPy array of int64
    tokenizer.decode(ids)                           # "Over the hills"

Introduced by notebook 01 (sections 7 and 8 of the lecture). Imports no torch, so that the tools
that prepare a corpus start quickly.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np

from helpers.files import write_whole


class Tokenizer:
    """What the tokenizers share: files, and a look at ids before they are decoded. Each has its own encode and decode."""

    HOLDS = "vocabulary"  # what a file of `save` holds, for messages
    vocab_size: int

    def to_dict(self) -> dict:
        """The vocabulary as plain data, as it is kept in files and checkpoints."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: dict) -> Self:
        """The tokenizer of `to_dict`. Raises ValueError for anything else."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON, whole or not at all."""
        write_whole(Path(path), json.dumps(self.to_dict()) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the vocabulary that `save` wrote. Raises ValueError that names the file where it holds none."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path} holds no {cls.HOLDS} ({error})") from error

    def _checked(self, ids) -> np.ndarray:
        """`ids` as an array of integers, (T,). Raises TypeError, ValueError for what cannot be ids of this vocabulary."""
        ids = np.asarray(ids.detach().cpu() if hasattr(ids, "detach") else ids)
        if ids.size == 0:
            return np.zeros(0, dtype=np.int64)
        if ids.dtype.kind not in "iu":
            raise TypeError(f"decode takes integers, but got values of type {ids.dtype}")
        if ids.ndim != 1:
            raise ValueError(
                f"decode takes one sequence of ids, but got the shape {tuple(ids.shape)}: decode row by row"
            )
        outside = np.flatnonzero((ids < 0) | (ids >= self.vocab_size))
        if len(outside):
            raise ValueError(
                f"id {ids[outside[0]]} at position {outside[0]} is outside 0..{self.vocab_size - 1}: "
                "were these ids made with another vocabulary?"
            )
        return ids


class CharTokenizer(Tokenizer):
    """One integer per character, in the sorted order of the characters.

    characters: the vocabulary; character i has id i. Raises ValueError for an empty vocabulary
    or for a character that stands in it twice.
    """

    HOLDS = "vocabulary of characters"

    def __init__(self, characters: Iterable[str]):
        self.characters = list(characters)
        if not self.characters:
            raise ValueError("a tokenizer needs at least one character, but the text is empty")
        wrong = [c for c in self.characters if not isinstance(c, str) or len(c) != 1]
        if wrong:
            raise ValueError(f"each entry of the vocabulary is one character, but {wrong[0]!r} is not")
        if len(set(self.characters)) < len(self.characters):
            twice = next(c for c in self.characters if self.characters.count(c) > 1)
            raise ValueError(f"the character {twice!r} stands twice in the vocabulary")
        codes = np.array([ord(c) for c in self.characters])
        # Table: code point -> id, -1 = unknown. Its last entry stands for all code points beyond.
        self._id_of_code = np.full(codes.max() + 2, -1, dtype=np.int64)
        self._id_of_code[codes] = np.arange(len(codes))
        self._code_of_id = codes.astype("<u4")  # table: id -> code point

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """The tokenizer whose vocabulary is the sorted set of the characters of `text`."""
        return cls(sorted(set(text)))

    @property
    def vocab_size(self) -> int:
        """How many different ids there are."""
        return len(self.characters)

    def unknown(self, text: str) -> dict[str, int]:
        """Characters of `text` that the vocabulary lacks, each with its first position."""
        ids = self._look_up(text)
        first = {}
        for position in np.flatnonzero(ids < 0).tolist():
            first.setdefault(text[position], position)
        return first

    def encode(
        self, text: str, unknown: str = "strict", notice: Callable[[str], object] = print
    ) -> np.ndarray:
        """Ids of the characters of `text`: int64, shape (len(text),).

        unknown="strict": a character outside the vocabulary raises ValueError with the character and its position.
        unknown="replace": it becomes "?" (a space, or the first character, where the vocabulary has no "?"),
        and `notice` is called once with a sentence that says so.
        """
        if unknown not in ("strict", "replace"):
            raise ValueError(f'unknown={unknown!r}, but it is "strict" or "replace"')
        ids = self._look_up(text)
        if (ids >= 0).all():
            return ids
        missing = self.unknown(text)
        if unknown == "strict":
            character, position = next(iter(missing.items()))
            raise ValueError(
                f"the character {character!r} at position {position} is not in the vocabulary of "
                f'{self.vocab_size} characters; unknown="replace" puts a stand-in there'
            )
        stand_in = next((c for c in "? " if c in self.characters), self.characters[0])
        notice(f"{', '.join(map(repr, missing))} not in the vocabulary: replaced by {stand_in!r}")
        return np.where(ids >= 0, ids, self.characters.index(stand_in))

    def _look_up(self, text: str) -> np.ndarray:
        """Ids with -1 for unknown characters: one table look-up for the whole text, no Python loop."""
        if not isinstance(text, str):
            raise TypeError(f"encode takes a str, but got {type(text).__name__}")
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")  # (T,)
        return self._id_of_code.take(codes, mode="clip")

    def decode(self, ids) -> str:
        """The text of `ids` (a list, a NumPy array or a tensor of integers, one dimension).

        Raises ValueError for an id outside 0 .. vocab_size - 1: it belongs to another vocabulary.
        """
        ids = self._checked(ids)
        return self._code_of_id[ids].tobytes().decode("utf-32-le", "surrogatepass")

    def to_dict(self) -> dict:
        """The vocabulary as plain data, as it is kept in checkpoints."""
        return {"type": "characters", "characters": self.characters}

    @classmethod
    def from_dict(cls, data: dict) -> "CharTokenizer":
        """The tokenizer of `to_dict`."""
        if not isinstance(data, dict) or data.get("type") != "characters" or "characters" not in data:
            raise ValueError(
                'not a character vocabulary: expected {"type": "characters", "characters": [...]}'
            )
        return cls(data["characters"])
