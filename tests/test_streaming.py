"""Text in pieces: whole characters, an end at a stop text, and a model that is as it was before."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import checkpoints, generate
from helpers.bpe import BPETokenizer
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.sampling import complete, stream
from helpers.sampling import generate as sample
from helpers.streaming import check_stops, pieces, until
from helpers.tokenizer import CharTokenizer

CHARACTERS = CharTokenizer("\n abcdefgh")
SMALL_PAIRS = BPETokenizer.train("h\u00e9 \u20ac \U0001f600 th\u00e9 \u20ac\u20ac", 262)


def gpt(vocab_size: int = CHARACTERS.vocab_size, **changes) -> GPTLanguageModel:
    torch.manual_seed(0)
    return GPTLanguageModel(GPTConfig(vocab_size, 8, 1, 2, 16, **changes))


def one_by_one(ids):
    return (torch.tensor([[i]]) for i in ids)


# --- whole characters ---


@given(st.text(max_size=30).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)))
@settings(max_examples=50, deadline=None)
def test_the_pieces_of_a_text_hold_no_half_character_and_are_the_text(text):
    for tokenizer in (SMALL_PAIRS, BPETokenizer()):  # the second: one token per byte
        got = list(pieces(tokenizer, one_by_one(tokenizer.encode(text))))
        assert "".join(got) == text and ("\ufffd" in text or not any("\ufffd" in piece for piece in got))
        assert all(got)


@given(st.binary(max_size=20).filter(lambda data: 0xED not in data))
@settings(max_examples=100, deadline=None)
def test_bytes_that_are_no_text_become_the_same_stand_ins_as_in_decode(data):
    assert "".join(pieces(BPETokenizer(), one_by_one(data))) == BPETokenizer().decode(list(data))


def test_a_character_of_several_tokens_comes_when_its_last_one_does():
    euro = "\u20ac".encode()
    assert len(euro) == 3
    assert list(pieces(BPETokenizer(), one_by_one(b"a" + euro + b"b"))) == ["a", "\u20ac", "b"]
    assert list(pieces(BPETokenizer(), one_by_one(b"a" + euro[:2]))) == ["a", "\ufffd"]


# --- stop texts ---


def cut_by_hand(text: str, stops: list[str]) -> str:
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(
    st.lists(st.text("ab", max_size=4), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_a_text_ends_before_its_first_stop_however_it_is_cut_into_pieces(parts, stops):
    want, shown = cut_by_hand("".join(parts), stops), ""
    for piece in until(stops, (part for part in parts)):
        shown += piece
        assert want.startswith(shown)  # at no moment is anything shown that is taken back
    assert shown == want


def test_nothing_waits_that_cannot_become_a_stop():
    assert list(until(["xyz"], (c for c in "abxyaxyz!"))) == ["a", "b", "xya"]
    assert list(until(["xyz"], (c for c in "abxy"))) == ["a", "b", "xy"]  # the end: it was none


def test_stop_texts_that_cannot_be_are_named():
    assert check_stops("ab") == ["ab", "\x03"] and check_stops(["a", "b"]) == ["a", "b", "\x03"]
    with pytest.raises(ValueError, match="empty"):
        check_stops(["a", ""])
    with pytest.raises(TypeError, match="stop=3"):
        check_stops([3])


# --- a model that streams ---


@pytest.mark.parametrize("tokenizer", [CHARACTERS, SMALL_PAIRS], ids=["characters", "byte pairs"])
@pytest.mark.parametrize("cache", ["exact", "stride", None])
def test_the_stream_is_what_complete_and_generate_write(tokenizer, cache):
    model, options = gpt(tokenizer.vocab_size), {"seed": 4, "cache": cache}
    got = list(stream(model, tokenizer, "head", 15, **options))
    ids = torch.from_numpy(tokenizer.encode("head")).unsqueeze(0)
    new = sample(model, ids, 15, **options)[0, ids.shape[1] :]
    assert len(got) > 5 and "".join(got) == tokenizer.decode(new).split("\x03")[0]
    assert complete(model, tokenizer, "head", 15, **options) == "head" + "".join(got)


def test_a_stop_text_of_several_tokens_ends_the_text_and_is_not_shown():
    model = gpt()
    whole = complete(model, CHARACTERS, "a", 40, seed=1)
    stop = whole[20:23]
    assert complete(model, CHARACTERS, "a", 40, seed=1, stop=stop) == "a" + whole[1:].split(stop)[0]
    assert complete(model, CHARACTERS, "a" + stop, 5, seed=1, stop=stop).startswith(
        "a" + stop
    )  # a prompt may hold it


def test_the_end_of_a_text_ends_a_sample_where_the_vocabulary_has_it():
    tokenizer, model = CharTokenizer("\x03ab"), gpt(3, bias=True)
    with torch.no_grad():
        model.lm_head.bias.copy_(torch.tensor([0.0, 1.0, 1.0]))
    ids = sample(model, torch.tensor([[1]]), 50, seed=2)[0, 1:].tolist()
    assert 0 in ids[3:] and 0 not in ids[:1]
    assert complete(model, tokenizer, "a", 50, seed=2) == "a" + tokenizer.decode(ids[: ids.index(0)])


@pytest.mark.parametrize("training", [True, False])
def test_a_stream_that_is_closed_early_leaves_model_and_gradients_as_they_were(training):
    model = gpt(dropout=0.5).train(training)
    text = stream(model, CHARACTERS, "abc", 30, seed=1)
    assert model.training is training  # nothing has begun
    assert next(text) and torch.is_grad_enabled() and not model.training
    text.close()
    assert model.training is training and torch.is_grad_enabled()
    assert "".join(stream(model, CHARACTERS, "abc", 30, seed=1, stop="b")) is not None
    assert model.training is training  # also where a stop ended it


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("aZ", {}, "'Z' at position 1"),
        ("a", {"stop": ""}, "empty"),
        ("a", {"temperature": -1}, "temperature"),
        ("a", {"top_k": 0}, "top_k"),
        ("a", {"top_p": 2}, "top_p"),
        ("a", {"cache": "x"}, "cache"),
    ],
)
def test_errors_come_before_the_first_piece(prompt, options, message):
    with pytest.raises(ValueError, match=message):
        stream(gpt(), CHARACTERS, prompt, 5, **options)
    with pytest.raises(ValueError, match="max_new_tokens=-1"):
        stream(gpt(), CHARACTERS, "a", -1)


# --- the command ---


def test_the_command_streams_stops_and_takes_each_cache(tmp_path, capsys):
    path = tmp_path / "m.pt"
    checkpoints.save(path, gpt(), CHARACTERS)
    common = ["--checkpoint", str(path), "--prompt", "ab", "--max-new", "6", "--seed", "1", "--device", "cpu"]

    def written(*options):
        assert generate.main([*common, *options]) == 0
        return capsys.readouterr().out

    plain = written()
    assert (
        written("--stream") == plain == written("--cache", "off") == written("--cache", "stride")
    )  # 8 tokens
    assert written("--stop", plain[4], "--stop", "zz").startswith("ab") and len(plain) == 9
    assert written("--stop", plain[4]) == "ab" + plain[2:].split(plain[4])[0] + "\n"
    assert written("--max-new", "60", "--stop", r"\n").count("\n") == 1  # its own, at the end
    with pytest.raises(SystemExit):
        generate.main([*common, "--cache", "fast"])
    assert generate.main([*common, "--stop", ""]) == 1
    error = capsys.readouterr().err
    assert "--cache" in error and "a stop text is empty" in error
