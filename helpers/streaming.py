"""From tokens to text while they are still coming: whole characters only, and an end at a stop text.

    pieces(tokenizer, new_tokens)              # what each token adds, as text
    until(["\\n\\n"], pieces)                    # the same up to the first blank line, and nothing of that line

Introduced by notebook 14 (section 68 of the lecture).
"""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import torch

from helpers.bpe import BPETokenizer
from helpers.token_files import END_OF_TEXT
from helpers.tokenizer import Tokenizer


def check_stops(stop: str | Sequence[str]) -> list[str]:
    """The stop texts as a list, END_OF_TEXT among them. Raises TypeError and ValueError for what cannot be one."""
    stops = [stop] if isinstance(stop, str) else list(stop)
    for each in stops:
        if not isinstance(each, str):
            raise TypeError(f"stop={each!r}, but a stop text is a str, such as '\\n\\n'")
        if not each:
            raise ValueError("a stop text is empty: that would end every text before it begins")
    return [*stops, END_OF_TEXT]


def text_of(tokenizer: Tokenizer) -> Callable[[list[int], bool], str]:
    """A function (ids, last) -> the text that these tokens add to those before.

    A token of byte pairs may hold a part of a character: its bytes wait for the others. What never becomes a character
    is shown as U+FFFD (�), at the latest when `last` is true.
    """
    if not isinstance(tokenizer, BPETokenizer):
        return lambda ids, last: tokenizer.decode(ids)
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    return lambda ids, last: utf8.decode(b"".join([tokenizer.tokens[i] for i in ids]), last)


def pieces(tokenizer: Tokenizer, new_tokens: Iterator[torch.Tensor]) -> Iterator[str]:
    """The text of tokens, (1, 1) each, one piece per token; a token that completes no character gives no piece."""
    decode = text_of(tokenizer)
    with closing(new_tokens):
        for new in new_tokens:
            piece = decode([int(new)], False)
            if piece:
                yield piece
    rest = decode([], True)
    if rest:
        yield rest


def until(stops: Iterable[str], texts: Iterator[str]) -> Iterator[str]:
    """The pieces of a text up to where the first of `stops` begins; `texts` is closed there.

    The first is the one that is complete first, wherever the pieces are cut; of two that end together, the longer one.
    """
    stops, held = list(stops), ""  # held: the end of the text that could become a stop
    with closing(texts):
        for piece in texts:
            ready = ""
            for character in piece:
                held += character
                found = max((len(stop) for stop in stops if held.endswith(stop)), default=0)
                if found:
                    ready += held[:-found]
                    if ready:
                        yield ready
                    return
                waits = max(_beginning(stop, held) for stop in stops)
                ready += held[: len(held) - waits]
                held = held[len(held) - waits :]
            if ready:
                yield ready
    if held:
        yield held


def _beginning(stop: str, text: str) -> int:
    """How many of the last characters of `text` are the first ones of `stop`."""
    return next((n for n in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:n])), 0)
