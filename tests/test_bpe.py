"""BPETokenizer: the merges of the `tokenizers` library, and no text that it cannot write."""

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import bpe as module
from helpers.bpe import BPETokenizer, bytes_of, merge, pieces_of
from helpers.tales import write_tales

ROOT = Path(__file__).resolve().parent.parent
TALES = write_tales(60_000)
LEARNT = BPETokenizer.train(TALES, 400)
SMALL = st.text(alphabet="ab \n", max_size=80)  # few signs: many repetitions, runs and equal counts
WORDS = st.lists(
    st.sampled_from(["aa", "aaa", "aab", "ab", "né", "1", "12", "_", "...", "über"]), max_size=40
).map(" ".join)
ANY = st.text(st.characters(), max_size=60)  # every code point, lone surrogates too
# Our own sentences. Between them: accents, two other alphabets, no spaces, characters of 2, 3 and 4 bytes.
SENTENCES = [
    "Ivy lost her lamp. She sat down and sang, and the lamp was found.",
    "Der Löwe schläft, und die Löwin schläft auch.",
    "Το λιοντάρι κοιμάται. Το λιοντάρι ξυπνά.",
    "Лев спит, лев проснулся, лев снова спит.",
    "狮子在睡觉。狮子在唱歌。",
    "शेर सो रहा है। शेर गा रहा है।",
    "🦁🦁 and 🦁, e\u0301 and é, x²+y², don't_stop!!\t\t\n\n  end",
]


def slow_merges(*texts: str, vocab_size: int) -> list[tuple[bytes, bytes]]:
    """The merges by the definition: count all pairs of all pieces anew in each step."""
    pieces = [bytes_of(piece) for text in texts for piece in pieces_of(text)]
    ids, merges = {bytes([value]): value for value in range(256)}, []
    while len(ids) < vocab_size:
        counts = Counter(pair for piece in pieces for pair in pairwise(piece))
        ranked = sorted(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))
        if not ranked or counts[ranked[0]] < 2:
            break
        merges.append(ranked[0])
        ids[b"".join(ranked[0])] = len(ids)
        pieces = [merge(piece, ranked[0]) for piece in pieces]
    return merges


def merged_in_order(piece: str, merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    """The tokens of a piece by the definition: each merge in turn, everywhere."""
    tokens = bytes_of(piece)
    for pair in merges:
        tokens = merge(tokens, pair)
    return tokens


# --- the parts ---


@given(st.one_of(ANY, SMALL, WORDS))
def test_the_pieces_of_a_text_are_the_text(text):
    assert "".join(pieces_of(text)) == text


def test_a_piece_is_a_word_a_number_or_signs_with_one_space_before_it():
    assert pieces_of("Ivy sang, 2 days.") == ["Ivy", " sang", ",", " 2", " days", "."]
    assert pieces_of("a  b\n\nc\n d_e ") == ["a", " ", " b", "\n", "\n", "c", "\n", " d", "_", "e", " "]
    assert pieces_of("end\n\n") == ["end", "\n\n"]


def test_merging_goes_from_left_to_right_and_uses_no_token_twice():
    assert merge(list("banana"), ("a", "n")) == ["b", "an", "an", "a"]
    assert merge(list("aaaaa"), ("a", "a")) == ["aa", "aa", "a"]
    assert merge([b"a"], (b"a", b"a")) == [b"a"] and merge([], ("a", "b")) == []


def test_merging_leaves_the_tokens_that_it_was_given():
    tokens = list("banana")
    merge(tokens, ("a", "n"))
    assert tokens == list("banana")


def test_the_notebook_cuts_its_pieces_with_the_same_expression():
    """The functions are held together by test_notebook_definitions.py, which does not compare values."""
    notebook = nbformat.read(ROOT / "notebooks" / "01_text_and_tokenizers.ipynb", as_version=4)
    lines = [
        line for cell in notebook.cells for line in cell.source.splitlines() if line.startswith("PIECE =")
    ]
    assert lines == [f"PIECE = re.compile(r{chr(34)}{module.PIECE.pattern}{chr(34)})"]


# --- training ---


def test_the_merges_of_a_small_text_can_be_followed_by_hand():
    bpe = BPETokenizer.train("low low low lower", 260)
    # l+o and o+w occur 4 times each; l is the smaller byte. " low" occurs three times, as often as " l" + "ow" would.
    assert bpe.merges == [(b"l", b"o"), (b"lo", b"w"), (b" ", b"low")]
    assert bpe.tokens[256:] == [b"lo", b"low", b" low"] and bpe.vocab_size == 259


def test_of_equally_frequent_pairs_the_one_with_smaller_ids_is_merged_first():
    assert BPETokenizer.train("zybazyba", 257).merges == [(b"b", b"a")]
    assert BPETokenizer.train("acabacab", 257).merges == [(b"a", b"b")]


@settings(deadline=None)
@given(st.one_of(SMALL, WORDS, ANY), st.integers(256, 300))
@example("aaaaaaaa aaa aaaaa", 300)
def test_the_quick_training_gives_the_merges_of_the_definition(text, vocab_size):
    assert BPETokenizer.train(text, vocab_size).merges == slow_merges(text, vocab_size=vocab_size)


@settings(deadline=None)
@given(st.one_of(SMALL, WORDS, ANY), st.integers(256, 300))
@example("", 256)
@example("a", 300)
@example("aaaaaaaa aaa aaaaa", 300)
@example("\ud800\ud800\ud800", 270)
@example("\x00\x00 \x00\x00", 270)
def test_training_gives_the_merges_of_the_tokenizers_library(text, vocab_size):
    ours, theirs = BPETokenizer.train(text, vocab_size), BPETokenizer.train_with_library(text, vocab_size)
    assert ours.merges == theirs.merges


@pytest.mark.parametrize("text", [*SENTENCES, "\n".join(SENTENCES * 3), TALES])
def test_whole_texts_of_many_alphabets_give_the_merges_of_the_library(text):
    ours, theirs = BPETokenizer.train(text, 600), BPETokenizer.train_with_library(text, 600)
    assert len(ours.merges) > 5 and ours.merges == theirs.merges


@settings(deadline=None)
@given(st.lists(st.one_of(SMALL, WORDS, ANY), max_size=5))
def test_no_piece_reaches_from_one_text_of_a_corpus_into_the_next(texts):
    assert BPETokenizer.train_with_library(iter(texts), 290).merges == slow_merges(*texts, vocab_size=290)


def test_the_book_gives_the_merges_of_the_library(oz):
    ours = BPETokenizer.train(oz, 800)
    assert ours.vocab_size == 800
    assert ours.merges == BPETokenizer.train_with_library(oz, 800).merges


@given(st.one_of(SMALL, WORDS), st.integers(0, 20))
def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one(text, size):
    large, small = BPETokenizer.train(text, 300), BPETokenizer.train(text, 256 + size)
    assert small.merges == large.merges[:size]
    assert BPETokenizer(large.merges[:size]).encode(text).tolist() == small.encode(text).tolist()


def test_training_ends_where_no_pair_occurs_twice():
    bpe = BPETokenizer.train("abcdef", 1000)
    assert bpe.vocab_size == 256 and bpe.merges == []
    assert BPETokenizer.train("abab", 1000).tokens[256:] == [b"ab"]


@pytest.mark.parametrize("text", ["", "a", "é", "🦁", "\n", " ", "\ud800"])
def test_an_empty_text_and_one_of_one_character_give_the_bytes(text):
    """Case 15."""
    for bpe in (BPETokenizer.train(text, 512), BPETokenizer.train_with_library(text, 512)):
        assert bpe.vocab_size == 256 and bpe.merges == []
        assert bpe.encode(text).tolist() == list(text.encode("utf-8", "surrogatepass"))
        assert bpe.decode(bpe.encode(text)) == text
    assert LEARNT.decode(LEARNT.encode(text)) == text


# --- encoding and decoding ---


@settings(max_examples=300)
@given(ANY)
@example("\ud83d\ude00 \ud800a\udfff")
def test_any_unicode_text_round_trips(text):
    """Case 14: with merges of another text, which never saw these characters."""
    ids = LEARNT.encode(text)
    assert ids.dtype == np.int64 and ids.shape == (len(ids),)
    assert LEARNT.decode(ids) == text


@settings(deadline=None)
@given(ANY)
def test_a_text_round_trips_with_its_own_merges(text):
    own = BPETokenizer.train(text, 300)
    assert own.decode(own.encode(text)) == text


@given(st.one_of(SMALL, WORDS, st.text(alphabet="the lion sang", max_size=60)))
def test_encoding_gives_the_tokens_of_the_definition(text):
    for bpe in (LEARNT, BPETokenizer(slow_merges(text + " aab aab", vocab_size=270))):
        wanted = [token for piece in pieces_of(text) for token in merged_in_order(piece, bpe.merges)]
        assert [bpe.tokens[i] for i in bpe.encode(text)] == wanted


def test_encoding_equals_that_of_the_library():
    from tokenizers import Tokenizer, models

    def characters(token):
        return token.decode("latin-1")

    vocabulary = {characters(token): i for i, token in enumerate(LEARNT.tokens)}
    library = Tokenizer(models.BPE(vocabulary, [tuple(map(characters, pair)) for pair in LEARNT.merges]))
    for text in (*SENTENCES, TALES[:5000]):
        pieces = (piece.encode("utf-8").decode("latin-1") for piece in pieces_of(text))
        theirs = [i for piece in pieces for i in library.encode(piece).ids]
        assert LEARNT.encode(text).tolist() == theirs


def test_the_ids_of_single_bytes_are_the_bytes():
    assert BPETokenizer().encode("né").tolist() == [110, 195, 169]


def test_encoding_makes_a_text_of_its_kind_shorter_and_uses_the_merges():
    ids = LEARNT.encode(TALES)
    assert len(ids) < 0.6 * len(TALES) and ids.max() == LEARNT.vocab_size - 1


def test_what_is_remembered_of_pieces_is_bounded_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "CACHE", 10)
    bpe = BPETokenizer(LEARNT.merges)
    text = TALES[:3000]
    assert bpe.encode(text).tolist() == LEARNT.encode(text).tolist()
    assert 0 < len(bpe._ids_of_piece) <= 10


def test_half_a_character_is_shown_as_a_replacement_and_raises_nothing():
    bpe = BPETokenizer()
    assert bpe.decode(bpe.encode("né")[:-1]) == "n�"


@pytest.mark.parametrize("ids", [[400], [-1], [0, 1, 999]])
def test_ids_of_another_vocabulary_are_refused(ids):
    with pytest.raises(ValueError, match=rf"id {ids[-1]} at position {len(ids) - 1} is outside 0..399"):
        LEARNT.decode(ids)


@pytest.mark.parametrize(
    "ids", [[97, 98], (97, 98), np.array([97, 98], dtype=np.uint16), torch.tensor([97, 98])]
)
def test_decode_takes_lists_arrays_and_tensors(ids):
    assert LEARNT.decode(ids) == "ab"


def test_nothing_is_encoded_and_decoded_as_nothing():
    assert LEARNT.decode([]) == "" and LEARNT.encode("").shape == (0,)


def test_decode_refuses_a_batch_and_floats():
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        LEARNT.decode([[97, 98]])
    with pytest.raises(TypeError, match="float64"):
        LEARNT.decode([97.0])


# --- what is refused, and what is kept ---


@pytest.mark.parametrize("train", [BPETokenizer.train, BPETokenizer.train_with_library])
def test_wrong_arguments_of_training_are_named(train):
    for size in (255, 0, -1):
        with pytest.raises(ValueError, match=rf"vocab_size={size}, but .*256 or more"):
            train("a text", size)
    for size in (512.0, "512", True, None):
        with pytest.raises(TypeError, match="vocab_size=.*whole number"):
            train("a text", size)


def test_bytes_and_lists_in_place_of_a_text_are_named():
    for call in (LEARNT.encode, lambda text: BPETokenizer.train(text, 300)):
        with pytest.raises(TypeError, match="str, but got bytes"):
            call(b"a text")
    with pytest.raises(TypeError, match="str, but got int"):
        BPETokenizer.train_with_library([1, 2], 300)


def test_merges_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="merge 1, b'th' .*no earlier merge"):
        BPETokenizer([(b"a", b"n"), (b"th", b"e")])
    with pytest.raises(ValueError, match="merge 1, b'a' .*there already"):
        BPETokenizer([(b"a", b"n"), (b"a", b"n")])


def test_the_merges_survive_a_file(tmp_path):
    bpe = BPETokenizer.train("\n".join(SENTENCES * 2), 350)
    bpe.save(tmp_path / "merges.json")
    again = BPETokenizer.load(tmp_path / "merges.json")
    assert (again.merges, again.tokens) == (bpe.merges, bpe.tokens)
    assert BPETokenizer.from_dict(bpe.to_dict()).merges == bpe.merges
    kept = json.loads((tmp_path / "merges.json").read_text(encoding="utf-8"))
    assert kept["type"] == "byte pairs" and len(kept["merges"]) == len(bpe.merges) > 20


@pytest.mark.parametrize(
    "content",
    ["", "no json", "[]", '{"type": "characters", "characters": ["a"]}', '{"type": "byte pairs"}',
     '{"type": "byte pairs", "merges": [[97]]}', '{"type": "byte pairs", "merges": [[97, 256]]}',
     '{"type": "byte pairs", "merges": [[97, -1]]}', '{"type": "byte pairs", "merges": ["ab"]}',
     '{"type": "byte pairs", "merges": [[97, 98], [97, 98]]}'],
)  # fmt: skip
def test_a_file_without_merges_is_refused_by_name(tmp_path, content):
    (tmp_path / "m.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"m\.json holds no byte-pair merges"):
        BPETokenizer.load(tmp_path / "m.json")


def test_the_tokenizer_imports_neither_torch_nor_the_library_until_it_is_asked_to():
    code = "import sys, helpers.bpe; sys.exit('torch' in sys.modules or 'tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
