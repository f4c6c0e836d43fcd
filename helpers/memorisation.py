"""How much of a sample is copied from the text that the model learnt from, letter for letter.

    length, start = longest_copied(sample, text)       # sample[start : start + length] stands in the text
    copied_share(sample, text, least=30)               # share of the sample in copied spans of at least 30 characters

A span of a few characters stands in almost any text. So hold the figures against those of a model that cannot remember,
such as a bigram's samples. Give both texts in the same form: the text as the model saw it.

Introduced by notebook 14. To look for thousands of spans at once, each span becomes one number of 64 bits (a rolling
hash, Karp and Rabin 1987); where two numbers are equal, the characters themselves are compared, so the result is exact.
"""

from collections import defaultdict
from functools import lru_cache

import numpy as np

BASE = 0x9E3779B97F4A7C15  # an odd number: multiplying by it can be undone in 64 bits
BLOCK = 1 << 16  # characters of the text looked at at a time: small enough for the processor's own memory
BITS = 18  # of a span's number, for a first quick look


def copied_spans(sample: str, text: str, length: int) -> np.ndarray:
    """Whether each span of `length` characters of the sample stands in the text.

    Returns a bool array with one value for each start: (len(sample) - length + 1,), empty for a shorter sample.
    """
    _check(sample, text)
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"length={length!r}, but it is a whole number of at least 1")
    ours = _numbers(sample, length)
    copied = np.zeros(len(ours), dtype=bool)
    if not len(ours):
        return copied
    starts_of = defaultdict(list)  # number -> where spans of this number start in the sample
    for start, number in enumerate(ours.tolist()):
        starts_of[number].append(start)
    shift = np.uint64(64 - BITS)
    possible = np.zeros(1 << BITS, dtype=bool)  # the first BITS bits of the sample's numbers
    possible[ours >> shift] = True
    for begin in range(0, len(text) - length + 1, BLOCK):
        theirs = _numbers(text[begin : begin + BLOCK + length - 1], length)
        places = np.flatnonzero(possible[theirs >> shift])  # few: the others are surely not in the sample
        for place, number in zip(places.tolist(), theirs[places].tolist(), strict=True):
            for start in starts_of.get(number, ()):
                if not copied[start]:
                    there = begin + place
                    copied[start] = text[there : there + length] == sample[start : start + length]
    return copied


def longest_copied(sample: str, text: str) -> tuple[int, int]:
    """(length, start) of the longest span of `sample` that stands in `text`; of several, the first. (0, 0) for none.

    A part of a copied span is copied, too. So the length is found by halving: is there a copied span this long?
    """
    _check(sample, text)
    length, start = 0, 0
    too_long = min(len(sample), len(text)) + 1
    while too_long - length > 1:
        # Most spans are short: look at twice the length known so far before the middle.
        tried = min((length + too_long) // 2, max(2 * length, 16))
        copied = copied_spans(sample, text, tried)
        if copied.any():
            length, start = tried, int(copied.argmax())
        else:
            too_long = tried
    return length, start


def copied_share(sample: str, text: str, least: int = 30) -> float:
    """Share of the sample's characters, from 0 to 1, in copied spans of at least `least` characters; 0 for no sample."""
    starts = copied_spans(sample, text, least)
    if not len(starts):
        return 0.0
    change = np.zeros(len(sample) + 1, dtype=np.int64)  # spans that begin here minus spans that ended before
    change[:-least] += starts
    change[least:] -= starts
    return float((change.cumsum()[:-1] > 0).mean())


def _check(sample: str, text: str) -> None:
    for name, value in (("sample", sample), ("text", text)):
        if not isinstance(value, str):
            raise TypeError(
                f"{name} is a {type(value).__name__}, but copies are looked for in a str: decode it"
            )


def _numbers(text: str, length: int) -> np.ndarray:
    """One number for each span of `length` characters, equal for equal spans: uint64, (len(text) - length + 1,)."""
    if len(text) < length:
        return np.zeros(0, dtype=np.uint64)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    count = 1 << len(codes).bit_length()  # few different ones, so that they are kept
    up, down = _powers(BASE, count), _powers(pow(BASE, -1, 1 << 64), count)
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)  # of the first i characters, each times BASE ** place
    np.cumsum((codes + np.uint64(1)) * up[: len(codes)], out=sums[1:])
    return (sums[length:] - sums[:-length]) * down[
        : len(codes) - length + 1
    ]  # as if each span began at place 0


@lru_cache(maxsize=8)
def _powers(base: int, count: int) -> np.ndarray:
    """base ** 0, base ** 1, ... in 64 bits, where numbers too large lose their first digits. (count,)"""
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return powers.cumprod(dtype=np.uint64)
