"""The tokenizer of an extraction: made from the first texts of the sources, or read from a file.

Introduced by notebook 11 (sections 57 to 61 of the lecture). Imports no torch.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from helpers.archives import Report, walk
from helpers.bpe import PIECE, tokenizer_from_dict
from helpers.documents import opened_files, pieces_of, text_of
from helpers.encoders import cut_at_blanks, encoder_for, learn
from helpers.owt_folder import Kept
from helpers.owt_progress import Progress
from helpers.streams import Stream, Unreadable
from helpers.token_files import END_OF_TEXT
from helpers.tokenizer import Tokenizer

SAMPLE = {"characters": 2.0, "bpe": 32.0}  # millions of characters that a tokenizer is made from
WORD_BYTES = (
    1_400_000  # in the words that differ: training on byte pairs takes some 130 bytes of memory for each
)


def read_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer of a file of Tokenizer.save, or of the .json beside a token file. Raises ValueError."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(data, dict) and "tokenizer" in data:
            data = data["tokenizer"]
        tokenizer = tokenizer_from_dict(data)
    except OSError as error:
        raise ValueError(f"the tokenizer {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} holds no tokenizer ({error}): name a file of Tokenizer.save, or a train.json"
        ) from error
    encoder_for(tokenizer)
    return tokenizer


class FirstTexts:
    """The first texts of the sources, up to a number of characters in all, or of bytes in words that differ.

    is_whole: whether that was all. share: (characters, bytes) of what was read completely, and seconds: what it took,
    both for an estimate.
    """

    def __init__(self, files: list[tuple[Path, str]], characters: int, word_bytes: int | None = None):
        self.files, self.limit, self.word_bytes = files, characters, word_bytes
        self.characters = self.bytes = 0
        self.share, self.seconds, self.is_whole = (0, 0), 0.0, False

    def _count(self, size: int) -> None:
        if self.characters > self.share[0]:  # all that came so far was from the bytes before these
            self.share = (self.characters, self.bytes)
        self.bytes += size

    def __iter__(self) -> Iterator[str]:
        started, words, size = time.perf_counter(), set(), 0
        for text in self._texts():
            text = text.replace(END_OF_TEXT, "")[: self.limit - self.characters]
            self.characters += len(text)
            self.seconds = time.perf_counter() - started
            yield text
            if self.word_bytes:
                new = set(PIECE.findall(text)) - words
                words |= new
                size += sum(len(word.encode("utf-8")) for word in new)
            if self.characters >= self.limit or (self.word_bytes and size >= self.word_bytes):
                break
        else:
            self.is_whole = True
        if self.is_whole or not self.share[1]:
            self.share = (self.characters, self.bytes)

    def _texts(self) -> Iterator[str]:
        unheard = Report()
        for name, _, stream in opened_files(self.files, unheard, self._count, block=1 << 14):
            for _, data, _ in walk(name, stream, unheard):
                try:
                    if isinstance(data, Stream):
                        yield from cut_at_blanks(pieces_of(data))
                    else:
                        yield text_of(data)
                except Unreadable:  # it is reported when it is read for good
                    pass


def corpus_tokenizer(
    kept: Kept, files: list[tuple[Path, str]], given: Tokenizer | None, shown: Progress
) -> Tokenizer:
    """The tokenizer of the corpus: kept from an earlier run, given, or made from the first texts."""
    if (page := kept.read("tokenizer")) is not None:
        return tokenizer_from_dict(page)
    settings = kept.settings
    if given is None:
        asked, is_bpe = settings["sample_megabytes"], settings["tokens"] == "bpe"
        characters = round((asked or SAMPLE[settings["tokens"]]) * 1_000_000)
        first = FirstTexts(files, characters, WORD_BYTES if is_bpe and not asked else None)
        given = learn(first, settings["tokens"], settings["vocab_size"], lambda: first.is_whole)
        shown.estimate(first, quick=not is_bpe)
        if is_bpe and given.vocab_size < settings["vocab_size"]:
            shown.say(
                f"The first {first.characters:,} characters give {given.vocab_size:,} tokens, not {settings['vocab_size']:,}: "
                "no other pair occurs twice. A larger --sample-megabytes may give more."
            )
    kept.write("tokenizer", given.to_dict())
    return given
