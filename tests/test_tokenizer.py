"""CharTokenizer: text to ids and back, without a character lost."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.tokenizer import CharTokenizer


def test_ids_follow_the_sorted_characters():
    tokenizer = CharTokenizer.from_text("banana")
    assert tokenizer.characters == ["a", "b", "n"]
    assert tokenizer.encode("nab").tolist() == [2, 0, 1]
    assert tokenizer.encode("nab").dtype == np.int64


@given(st.text(min_size=1))
def test_any_unicode_text_round_trips(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text(min_size=1, max_size=50))
def test_the_table_gives_what_a_dictionary_gives(text):
    tokenizer = CharTokenizer.from_text(text)
    dictionary = {character: i for i, character in enumerate(sorted(set(text)))}
    assert tokenizer.encode(text).tolist() == [dictionary[character] for character in text]


def test_lone_surrogates_round_trip():
    text = "a\ud800b"
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_character_is_named_with_its_position():
    with pytest.raises(ValueError, match=r"'d' at position 2 .*vocabulary of 3"):
        CharTokenizer.from_text("abc").encode("abd")


def test_unknown_characters_beyond_the_table_are_found_too():
    assert CharTokenizer.from_text("abc").unknown("a😀b😀") == {"😀": 1}


def test_replacing_puts_a_stand_in_and_says_so_once():
    said = []
    tokenizer = CharTokenizer.from_text("abc ?")
    assert tokenizer.decode(tokenizer.encode("a1b1c2", unknown="replace", notice=said.append)) == "a?b?c?"
    assert len(said) == 1 and "'1'" in said[0] and "'2'" in said[0]


def test_replacing_falls_back_to_a_space_and_then_to_the_first_character():
    for vocabulary, expected in (("abc ", "a b"), ("abc", "aab")):
        tokenizer = CharTokenizer.from_text(vocabulary)
        assert (
            tokenizer.decode(tokenizer.encode("a1b", unknown="replace", notice=lambda text: None)) == expected
        )


def test_replacing_says_nothing_when_all_is_known():
    assert CharTokenizer.from_text("abc").encode("cab", unknown="replace", notice=pytest.fail).tolist() == [
        2,
        0,
        1,
    ]


@pytest.mark.parametrize("ids", [[3], [-1], [0, 1, 99]])
def test_ids_of_another_vocabulary_are_refused(ids):
    with pytest.raises(ValueError, match=rf"id {ids[-1]} at position {len(ids) - 1} is outside 0..2"):
        CharTokenizer.from_text("abc").decode(ids)


@pytest.mark.parametrize("ids", [[0, 2], (0, 2), np.array([0, 2], dtype=np.uint16), torch.tensor([0, 2])])
def test_decode_takes_lists_arrays_and_tensors(ids):
    assert CharTokenizer.from_text("abc").decode(ids) == "ac"


def test_decode_of_nothing_is_nothing():
    tokenizer = CharTokenizer.from_text("abc")
    assert tokenizer.decode([]) == "" and tokenizer.encode("").shape == (0,)


def test_decode_refuses_a_batch_and_floats():
    tokenizer = CharTokenizer.from_text("abc")
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        tokenizer.decode([[0, 1]])
    with pytest.raises(TypeError, match="float64"):
        tokenizer.decode([0.0, 1.0])


@pytest.mark.parametrize(
    ("vocabulary", "message"), [("", "empty"), (["ab"], "'ab'"), ("aba", "'a' stands twice"), ([1], "1")]
)
def test_a_bad_vocabulary_is_refused(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        CharTokenizer(vocabulary)


def test_wrong_kinds_of_input_are_named():
    tokenizer = CharTokenizer.from_text("abc")
    with pytest.raises(TypeError, match="list"):
        tokenizer.encode(["a"])
    with pytest.raises(ValueError, match="maybe"):
        tokenizer.encode("a", unknown="maybe")


def test_the_vocabulary_survives_a_file(tmp_path):
    tokenizer = CharTokenizer.from_text("a “curly” quote,\n é 😀")
    tokenizer.save(tmp_path / "vocabulary.json")
    again = CharTokenizer.load(tmp_path / "vocabulary.json")
    assert again.characters == tokenizer.characters
    assert json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))["type"] == "characters"


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"type": "bpe"}', '{"type": "characters"}'])
def test_a_file_without_a_vocabulary_is_refused(tmp_path, content):
    (tmp_path / "v.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"v\.json"):
        CharTokenizer.load(tmp_path / "v.json")


def test_the_tokenizer_imports_no_torch():
    code = "import sys, helpers.tokenizer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
