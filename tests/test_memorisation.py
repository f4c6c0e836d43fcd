"""The memorisation meter against a count by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import memorisation
from helpers.memorisation import copied_share, copied_spans, longest_copied

LETTERS = st.text("ab\n\u00e9\U0001f600", max_size=40)


def by_hand(sample: str, text: str) -> tuple[int, int]:
    for length in range(len(sample), 0, -1):
        for start in range(len(sample) - length + 1):
            if sample[start : start + length] in text:
                return length, start
    return 0, 0


def share_by_hand(sample: str, text: str, least: int) -> float:
    covered = set()
    for start in range(len(sample) - least + 1):
        if sample[start : start + least] in text:
            covered |= set(range(start, start + least))
    return len(covered) / len(sample) if sample else 0.0


@given(LETTERS, LETTERS, st.integers(1, 8), st.sampled_from([3, 1 << 16]), st.sampled_from([1, 18]))
@settings(max_examples=300, deadline=None)
def test_both_figures_are_those_counted_by_hand(sample, text, least, block, bits):
    """Also with a text that is looked at in small parts, and when the quick first look lets nearly all through."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memorisation, "BLOCK", block)
        patch.setattr(memorisation, "BITS", bits)
        assert longest_copied(sample, text) == by_hand(sample, text)
        assert copied_share(sample, text, least) == pytest.approx(share_by_hand(sample, text, least))


@given(LETTERS, LETTERS)
@settings(max_examples=50, deadline=None)
def test_equal_numbers_of_different_spans_deceive_nobody(sample, text):
    """If every span had one and the same number, the characters would still decide."""
    real = memorisation._numbers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memorisation, "_numbers", lambda text, length: real(text, length) * 0)
        assert longest_copied(sample, text) == by_hand(sample, text)


def test_a_span_is_found_across_the_parts_in_which_the_text_is_read():
    letters = "".join(chr(97 + (i * i + i // 7) % 26) for i in range(memorisation.BLOCK + 200))
    span = letters[memorisation.BLOCK - 60 : memorisation.BLOCK + 60]
    length, start = longest_copied("#" * 9 + span + "#", letters)
    assert (length, start) == (120, 9)
    assert copied_share("#" * 60 + span, letters) == pytest.approx(120 / 180)


def test_what_is_copied_whole_and_what_is_not_copied_at_all():
    text = "Far hills, a river and one lamp. " * 3
    assert longest_copied(text, text) == (len(text), 0) and copied_share(text, text) == 1.0
    assert longest_copied("xyz", text) == (0, 0) and copied_share("xyz" * 20, text) == 0.0
    assert longest_copied("", text) == longest_copied(text, "") == (0, 0) and copied_share("", text) == 0.0
    assert copied_share("a river", text) == 0.0  # shorter than 30 characters
    assert copied_spans("lamp", text, 4).tolist() == [True] and len(copied_spans("lamp", text, 5)) == 0


def test_bad_inputs_are_named():
    with pytest.raises(TypeError, match="text is a bytes"):
        longest_copied("a", b"a")
    with pytest.raises(TypeError, match="sample is a list"):
        copied_share([1, 2], "a")
    for least in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="whole number of at least 1"):
            copied_share("abc", "abc", least)
