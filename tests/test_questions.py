"""Questions about tales: every answer follows from its tale, and only answers count in the loss."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.questions import (
    ANSWERS,
    CHAT,
    IGNORED,
    KINDS,
    ROOM,
    WORDINGS,
    Example,
    encode_examples,
    encode_rows,
    join,
    make_examples,
    rows_of,
)
from helpers.tales import ALPHABET, LONGEST_TALE, SEPARATOR, parse, write_tales
from helpers.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer(sorted(set(ALPHABET) | set("?:QAWO")))


def answer_by_parse(example: Example) -> str:
    """The answer as the tale tells it, found by reading the tale back."""
    told = parse(example.tale)
    return {
        "hero": told.hero,
        "thing": f"the {told.thing}",
        "place lost": told.place_lost,
        "helper": f"{'an' if told.helper[0] in 'aeiou' else 'a'} {told.helper}",
        "place found": told.place_found,
        "day": told.day,
    }[example.kind]


def test_every_answer_follows_from_its_tale_and_stands_in_it():
    examples = make_examples(300, seed=5)
    assert {example.kind for example in examples} == set(KINDS)
    for example in examples:
        assert example.answer == answer_by_parse(example)
        assert example.answer.removeprefix("the ").lower() in example.tale.lower()


def test_questions_name_the_hero_the_thing_and_the_pronoun_of_their_tale():
    seen = set()
    for example in make_examples(400, seed=6):
        told = parse(example.tale)
        words = set(example.question.rstrip("?").split())
        if told.hero in words:
            seen.add("hero")
        if set(told.thing.split()) <= words:
            seen.add("thing")
        other = {"she", "her"} if told.pronoun == "he" else {"he", "him"}
        assert not words & other
        assert example.question.endswith("?") and "{" not in example.question
    assert seen == {"hero", "thing"}


def test_every_kind_has_several_wordings_and_all_of_them_come():
    assert set(WORDINGS) == set(ANSWERS) and all(len(set(w)) >= 3 for w in WORDINGS.values())
    starts = {w.split("{")[0] for wordings in WORDINGS.values() for w in wordings}
    asked = [example.question for example in make_examples(500, seed=7)]
    assert all(any(question.startswith(start) for question in asked) for start in starts)


def test_no_question_gives_its_own_answer_away():
    for example in make_examples(400, seed=8):
        assert example.answer.removeprefix("the ") not in example.question


def test_a_seed_gives_the_same_examples_and_another_seed_other_tales():
    first, again, other = (make_examples(200, seed) for seed in (1, 1, 2))
    assert first == again
    assert not {e.tale for e in first} & {e.tale for e in other}


def test_the_first_example_of_a_seed_is_the_same_on_every_machine():
    (example,) = make_examples(1, seed=1)
    assert example.tale.startswith("Down a road one muggy evening came Jasper, a stout teacher.")
    assert (example.kind, example.question, example.answer) == (
        "helper",
        "Who helped Jasper?",
        "a brisk bison",
    )


def test_no_tale_is_asked_about_that_the_shipped_model_may_have_read():
    """20 million characters of seed 1 were its text; here are the first tenth of them, and the seeds used elsewhere."""
    asked = {e.tale for seed in (1, 2) for e in make_examples(500, seed)}
    assert len(asked) == 1000
    for seed, characters in ((1, 2_000_000), (2, 200_000), (3, 200_000)):
        told = set(write_tales(characters, seed).split(SEPARATOR))
        assert len(told) > 500 and not asked & told


def test_the_examples_of_one_tale_follow_one_another_and_fit_together():
    examples = make_examples(90, seed=3, per_tale=3)
    for i in range(0, 90, 3):
        some = examples[i : i + 3]
        assert len({e.tale for e in some}) == 1 and len({e.kind for e in some}) == 3
        assert len(join(some)) <= ROOM
    assert len({e.tale for e in examples}) == 30


def test_any_tale_fits_into_the_context_with_one_question():
    longest = {
        kind: max(len(e.text) - len(e.tale) for e in make_examples(200, seed=9, kinds=[kind]))
        for kind in KINDS
    }
    assert LONGEST_TALE - len(SEPARATOR) + max(longest.values()) <= ROOM


def test_a_row_is_the_text_and_only_answers_with_their_end_are_targets():
    for per_tale in (1, 2, 3):
        examples = make_examples(per_tale * 4, seed=4, per_tale=per_tale)
        x, y = encode_examples(examples, TOKENIZER, ROOM)
        assert x.shape == y.shape and x.dtype == y.dtype == torch.int64 and len(x) == 4
        for row in range(4):
            some = examples[row * per_tale : (row + 1) * per_tale]
            text = join(some)
            assert TOKENIZER.decode(x[row, : len(text) - 1]) == text[:-1]
            assert TOKENIZER.decode(y[row][y[row] != IGNORED]) == "".join(
                e.answer + CHAT["end"] for e in some
            )
            places = (y[row] != IGNORED).nonzero().flatten().tolist()
            assert [text[place + 1] for place in places] == list("".join(e.answer + "\n" for e in some))
            assert (y[row, len(text) - 1 :] == IGNORED).all()  # the filling


def test_one_row_of_one_example_is_masked_exactly_on_its_prompt():
    (example,) = make_examples(1, seed=11)
    x, y = encode_examples([example], TOKENIZER, ROOM)
    prompt = len(example.prompt)
    assert (y[0, : prompt - 1] == IGNORED).all() and (y[0, prompt - 1 :] != IGNORED).all()
    assert x.shape[1] == len(example.text) - 1


def test_without_the_mask_every_next_character_is_a_target_but_the_filling():
    examples = make_examples(6, seed=12)
    x, y = encode_examples(examples, TOKENIZER, ROOM, mask_prompt=False)
    lengths = [len(e.text) - 1 for e in examples]
    assert len(set(lengths)) > 1 and x.shape == (6, max(lengths))
    for row, example in enumerate(examples):
        assert TOKENIZER.decode(y[row, : lengths[row]]) == example.text[1:]
        assert (y[row, lengths[row] :] == IGNORED).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(0, 50))
def test_rows_hold_every_example_once_and_in_order(per_tale, seed):
    examples = make_examples(7, seed, per_tale)
    rows = rows_of(examples, TOKENIZER, ROOM)
    assert [e for row in rows for e in row] == examples
    assert all(len(join(row)) - 1 <= ROOM for row in rows)


def test_examples_that_do_not_fit_together_get_rows_of_their_own():
    examples = make_examples(2, seed=13, per_tale=2)
    alone = max(len(e.text) for e in examples) - 1
    assert len(encode_rows(examples, TOKENIZER, ROOM)) == 1
    assert len(encode_rows(examples, TOKENIZER, alone)) == 2


def test_bad_inputs_are_named():
    (example,) = make_examples(1, seed=1)
    length = len(example.text) - 1
    with pytest.raises(ValueError, match=f"has {length} tokens.*the context has {length - 1}"):
        encode_examples([example], TOKENIZER, length - 1)
    assert encode_examples([example], TOKENIZER, length)[0].shape == (1, length)
    foreign = Example(example.tale, "Who lost the clé?", example.answer, example.kind)
    with pytest.raises(ValueError, match="'é'"):
        encode_examples([foreign], TOKENIZER, ROOM)
    with pytest.raises(ValueError, match="0 examples"):
        encode_examples([], TOKENIZER, ROOM)
    with pytest.raises(ValueError, match="several or none"):
        join(make_examples(2, seed=1))
    for wrong, message in (
        ({"count": 0}, "count=0"),
        ({"count": 1.5}, "count=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"per_tale": 0}, "per_tale=0"),
        ({"per_tale": 7}, "there are 6 kinds"),
        ({"kinds": ("colour",)}, "colour"),
        ({"kinds": ()}, "kinds="),
        ({"room": 200}, "room=200"),
    ):
        with pytest.raises(ValueError, match=message):
            make_examples(**({"count": 1, "seed": 1} | wrong))
