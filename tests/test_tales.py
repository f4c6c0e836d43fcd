"""Facts about the built-in tales: their grammar, their exact probabilities and their variety."""

import hashlib
import itertools
import math
import random
import re
from collections import Counter

import pytest

from helpers import tales, tales_words
from helpers.tales import GRAMMAR, SEPARATOR
from helpers.tales_grammar import Draws, Grammar, Slot

# Change this value only together with the grammar; the shipped model was trained on these very tales.
SHA256_OF_10_000_CHARACTERS = "5d188b72b0a38b970d3111980310eedb6dd55c2eb7127badae1d157db2d6c2a6"


def drawn_tales(count, seed):
    rng = random.Random(seed)
    draws = [GRAMMAR.draw(rng) for _ in range(count)]
    return [(GRAMMAR.tell(draw), draw) for draw in draws]


@pytest.fixture(scope="module")
def sample():
    """1,000 tales with what was drawn for each."""
    return drawn_tales(1000, seed=2024)


@pytest.fixture(scope="module")
def example():
    """A tale in which every part is said in a known pattern: name first, thing and place in plain view."""
    words = {
        "name": "Tilda", "temper": "merry", "trade": "weaver", "look": "silver", "object": "key",
        "mood": "sleepy", "land": "wood", "side": "under", "mark": "mossy", "place": "bridge",
        "manner": "grey", "animal": "heron",
    }  # fmt: skip
    roles = {role: GRAMMAR.words[role].index(word) for role, word in words.items()}
    wanted = [
        (tales_words.SETS_OUT, "{name}, {a kind}, set out one {weather} {day}.", ["windy", "Tuesday"]),
        (tales_words.LOSES, "{He} {stumbled} in the {region} and lost {his} {thing}.", ["tripped"]),
        (tales_words.IS_TOLD, '"Look {spot}," said {a helper} {kindly}.', ["softly"]),
        (tales_words.FINDS, "{Spot} the {thing} {gleamed} in the {grass}.", ["shone", "clover"]),
        (tales_words.ENDS, "{name} gave the {animal} {a honey} {cake}.", ["almond", "bun"]),
    ]
    free = []
    for _, pattern, chosen in wanted:
        named = [slot.split()[-1] for slot in re.findall(r"\{([^}]*)\}", pattern)]
        sources = [name for name in named if name in GRAMMAR.words and name not in GRAMMAR.roles]
        free += [(source, GRAMMAR.words[source].index(w)) for source, w in zip(sources, chosen, strict=True)]
    return GRAMMAR.tell(Draws(roles, tuple(beat.index(p) for beat, p, _ in wanted), tuple(free)))


EXAMPLE = (
    "Tilda, a merry weaver, set out one windy Tuesday. "
    "She tripped in the sleepy wood and lost her silver key. "
    '"Look under the mossy bridge," said a grey heron softly. '
    "Under the mossy bridge the silver key shone in the clover. "
    "Tilda gave the heron an almond bun."
)


# Reading


def test_the_example_is_told_as_we_read_it(example):
    assert example == EXAMPLE


def test_every_tale_has_exactly_one_derivation(sample):
    assert {tales.derivations(tale) for tale, _ in sample} == {1}


def test_parsing_gives_back_what_was_drawn(sample):
    for tale, draws in sample:
        assert tales.parse(tale).draws == draws


def entries(grammar, beat, pattern, piece):
    """Where the text can go on before this piece: (beat, pattern, piece, spelling, 0), or "end"."""
    if beat == len(grammar.beats):
        return ["end"]
    if piece == len(grammar.beats[beat][pattern]):
        if beat + 1 == len(grammar.beats):
            return ["end"]
        return [
            e for number in range(len(grammar.beats[beat + 1])) for e in entries(grammar, beat + 1, number, 0)
        ]
    what = grammar.beats[beat][pattern][piece]
    spellings = list(what.words) if isinstance(what, Slot) else [what]
    return [(beat, pattern, piece, spelling, 0) for spelling in spellings]


def two_ways(grammar):
    """A pair of states that two different derivations of one text reach, or None: the squared automaton.

    Mentions of roles count as free, so that no ambiguity of the lenient reading is missed either.
    """

    def step(state):
        beat, pattern, piece, spelling, at = state
        if at + 1 < len(spelling):
            return [(beat, pattern, piece, spelling, at + 1)]
        return entries(grammar, beat, pattern, piece + 1)

    def pairs(left, right):
        for a, b in itertools.product(left, right):
            if a == "end" or b == "end":
                if a == b:
                    yield a, b
            elif a[3][a[4]] == b[3][b[4]]:
                yield a, b

    gaps = [[e for number in range(len(grammar.beats[0])) for e in entries(grammar, 0, number, 0)]]
    for beat, patterns in enumerate(grammar.beats):
        for number, pattern in enumerate(patterns):
            gaps += [entries(grammar, beat, number, piece) for piece in range(1, len(pattern) + 1)]
    waiting = [pair for gap in gaps for pair in pairs(gap, gap) if pair[0] != "end" and pair[0] < pair[1]]
    seen = set(waiting)
    while waiting:
        for pair in pairs(*map(step, waiting.pop())):
            if pair[0] == pair[1]:
                return pair
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)
    return None


def test_no_text_at_all_has_two_derivations():
    assert two_ways(GRAMMAR) is None


@pytest.mark.parametrize(
    "beats", [[["{x} b.", "a {x}."]], [["{x}.", "c{x}."]], [["{x}{x}."]], [["{x}"], ["{x}."]]], ids=str
)
def test_the_search_for_two_derivations_finds_them(beats):
    words = {"x": ["a", "b", "aa", "ca"] if len(beats) == 1 else ["a", "a b", "b a"]}
    assert two_ways(Grammar(words, [], beats)) is not None


def test_parse_answers_who_lost_what_where_and_who_helped(example):
    tale = tales.parse(example + SEPARATOR)
    assert (tale.hero, tale.pronoun, tale.kind, tale.day) == ("Tilda", "she", "merry weaver", "windy Tuesday")
    assert (tale.thing, tale.place_lost) == ("silver key", "in the sleepy wood")
    assert (tale.helper, tale.place_found) == ("grey heron", "under the mossy bridge")


def test_every_first_sentence_has_just_a_weather_and_a_day_to_draw():
    for pattern in GRAMMAR.beats[0]:
        sources = [piece.source for piece in pattern if isinstance(piece, Slot)]
        assert [s for s in sources if s not in GRAMMAR.roles] == ["weather", "day"]


def test_what_a_tale_says_of_its_hero_thing_and_place_is_said_again(sample):
    for tale, _ in sample:
        read = tales.parse(tale)
        assert tale.count(read.hero) >= 2
        assert tale.count(read.thing) >= 2
        assert tale.lower().count(read.place_found) == 2
        assert tale.count(read.helper.split()[-1]) >= 2


# One-word corruptions: each changes one word of the example. (what, old, new, which occurrence)

CORRUPTIONS = [
    ("another hero at the end", "Tilda", "Greta", -1),
    ("another hero at the start", "Tilda", "Hugo", 0),
    ("the other pronoun", "She", "He", 0),
    ("the other possessive", "her", "his", 0),
    ("another look of the thing", "silver", "golden", -1),
    ("another thing", "key", "bell", -1),
    ("another thing at first", "key", "ring", 0),
    ("another side of the place", "Under", "Behind", 0),
    ("another mark of the place", "mossy", "sixth", -1),
    ("another place", "bridge", "willow", -1),
    ("another place at first", "bridge", "wagon", 0),
    ("another helper", "heron", "otter", -1),
    ("a misspelt word", "weaver", "waever", 0),
    ("a dropped word", "sleepy ", "", 0),
    ("a dropped verb", " lost", "", 0),
    ("a doubled word", "silver", "silver silver", 0),
    ("the wrong article", "an almond", "a almond", 0),
    ("a word of another list", "Tuesday", "heron", 0),
    ("an unknown word", "windy", "electric", 0),
    ("a small letter", "Under", "under", 0),
    ("a capital", "said", "Said", 0),
    ("two words swapped", "mossy bridge", "bridge mossy", 0),
    ("a missing comma", "weaver,", "weaver", 0),
    ("two spaces", "one windy", "one  windy", 0),
]


def corrupt(text, old, new, which):
    places = [match.start() for match in re.finditer(re.escape(old), text)]
    at = places[which]
    return text[:at] + new + text[at + len(old) :]


@pytest.mark.parametrize("what, old, new, which", CORRUPTIONS, ids=[c[0] for c in CORRUPTIONS])
def test_a_one_word_corruption_is_refused(example, what, old, new, which):
    corrupted = corrupt(example, old, new, which)
    assert corrupted != example
    assert tales.derivations(corrupted) == 0
    for read in (tales.parse, tales.log_probability):
        with pytest.raises(ValueError, match="stops fitting at character"):
            read(corrupted)


def test_another_name_at_the_last_mention_is_refused_in_every_tale(sample):
    for tale, _ in sample[:200]:
        hero = tales.parse(tale).hero
        other = "Greta" if hero != "Greta" else "Hugo"
        changed = corrupt(tale, hero, other, -1)
        assert changed != tale
        assert tales.derivations(changed) == 0
        assert tales.disagreements(changed) == ["hero"]


def test_the_error_shows_the_character_at_which_a_tale_stops_fitting(example):
    at = example.index("Tuesday")
    with pytest.raises(ValueError) as error:
        tales.parse(example.replace("Tuesday", "Xuesday"))
    assert f"at character {at} of {len(example)}" in str(error.value)
    assert "set out one windy '" in str(error.value) and "'Xuesday. She" in str(error.value)


def test_the_error_for_a_repeated_word_that_changed_points_into_that_word(example):
    at = example.rindex("key")
    with pytest.raises(ValueError, match=f"at character {at} of"):
        tales.parse(corrupt(example, "key", "bell", -1))


@pytest.mark.parametrize(
    "wrong",
    ["", SEPARATOR, "\n", EXAMPLE + "\n", EXAMPLE + "\n\n\n", EXAMPLE + " ", "\n\n" + EXAMPLE, EXAMPLE[:-1]],
)
def test_an_empty_text_a_half_tale_and_a_wrong_separator_are_refused(wrong):
    with pytest.raises(ValueError, match="stops fitting"):
        tales.parse(wrong)
    assert tales.derivations(wrong) == 0
    assert tales.agrees(wrong) is None


@pytest.mark.parametrize("between", [SEPARATOR, " ", ""])
def test_two_tales_at_once_are_refused(between):
    with pytest.raises(ValueError, match=f"at character {len(EXAMPLE)} of"):
        tales.log_probability(EXAMPLE + between + EXAMPLE)


@pytest.mark.parametrize("wrong", [None, 3, b"One windy day", ["a tale"]])
@pytest.mark.parametrize("read", [tales.parse, tales.derivations, tales.log_probability, tales.agrees])
def test_what_is_not_a_string_is_a_type_error(read, wrong):
    with pytest.raises(TypeError, match="a tale is a string"):
        read(wrong)


# Agreement


def test_every_tale_agrees_with_itself(sample):
    for tale, _ in sample[:300]:
        assert tales.agrees(tale) is True
        assert tales.disagreements(tale + SEPARATOR) == []


@pytest.mark.parametrize(
    "old, new, which, parts",
    [
        ("Tilda", "Greta", -1, ["hero"]),
        ("She", "He", 0, ["pronoun"]),
        ("her", "his", 0, ["pronoun"]),
        ("Tilda", "Hugo", 0, ["hero", "pronoun"]),
        ("silver", "golden", -1, ["thing"]),
        ("key", "bell", 0, ["thing"]),
        ("mossy bridge", "sixth willow", -1, ["place found"]),
        ("Under", "Behind", 0, ["place found"]),
        ("heron", "otter", -1, ["helper"]),
    ],
)
def test_a_swapped_mention_is_a_disagreement_with_a_name(example, old, new, which, parts):
    swapped = corrupt(example, old, new, which)
    assert tales.agrees(swapped) is False
    assert tales.disagreements(swapped) == parts


def test_the_lost_place_and_the_trade_disagree_too_where_they_are_repeated(sample):
    seen = Counter()
    for tale, _ in sample:
        read = tales.parse(tale)
        land, trade = read.place_lost.split()[-1], read.kind.split()[-1]
        for part, word, other in (("place lost", land, "maze"), ("kind", trade, "poet")):
            if len(re.findall(rf"\b{word}\b", tale)) == 2 and word != other:
                changed = corrupt(tale, word, other, -1)
                if (
                    tales.agrees(changed) is not None
                ):  # the word may also stand in a free place, as in "to cook"
                    seen[part] += tales.disagreements(changed) == [part]
    assert seen["place lost"] > 10 and seen["kind"] > 10


@pytest.mark.parametrize(
    "nonsense", ["", "key", "It was a dark and stormy night.", EXAMPLE.replace("lost", "sold")]
)
def test_nonsense_neither_agrees_nor_disagrees(nonsense):
    assert tales.agrees(nonsense) is None
    assert tales.disagreements(nonsense) is None


# Probability


def test_the_probability_of_the_example_is_the_product_of_its_draws(example):
    role_sizes = [101, 52, 61, 48, 57, 61, 42, 5, 49, 56, 54, 90]
    assert role_sizes == [len(tales_words.WORDS[role]) for role in tales_words.ROLES]
    patterns = [len(beat) for beat in tales_words.BEATS.values()]
    drawn = ["weather", "day", "stumbled", "kindly", "gleamed", "grass", "honey", "cake"]
    counts = role_sizes + patterns + [len(tales_words.WORDS[source]) for source in drawn]
    assert tales.log_probability(example) == pytest.approx(-math.log(math.prod(counts)), rel=1e-12)
    assert tales.log_probability(example + SEPARATOR) == tales.log_probability(example)


def test_the_average_of_minus_log_p_agrees_with_the_exact_entropy():
    nats = characters = 0.0
    for tale, draws in drawn_tales(10_000, seed=5):
        nats -= GRAMMAR.log_probability(draws)
        characters += len(tale + SEPARATOR)
    assert nats / characters == pytest.approx(tales.entropy_per_character(), rel=0.01)
    assert nats / 10_000 == pytest.approx(GRAMMAR.expected_nats(), rel=0.005)
    assert characters / 10_000 == pytest.approx(GRAMMAR.expected_length() + len(SEPARATOR), rel=0.005)


def test_log_probability_of_the_text_is_that_of_its_draws(sample):
    for tale, draws in sample[:200]:
        assert tales.log_probability(tale) == pytest.approx(GRAMMAR.log_probability(draws), rel=1e-12)


def test_the_floor_lies_where_the_design_wants_it():
    assert 0.25 < tales.entropy_per_character() < 0.7


TINY = Grammar(
    {
        "name": ["Ada", "Leo", "Una"],
        "thing": ["key", "egg"],
        "bird": ["owl", "heron"],
        "how": ["well", "at once"],
    },
    roles=["name", "thing", "bird"],
    beats=[
        ["{name} lost {a thing}.", "One day {name} lost {his} {thing}."],
        ["{A bird} found it {how}.", "{He} asked {a bird}.", "{A bird} saw the {thing} {how}, {how}."],
    ],
    heroines=["Ada", "Una"],
)


def all_draws(grammar):
    for words in itertools.product(*(range(len(grammar.words[role])) for role in grammar.roles)):
        roles = dict(zip(grammar.roles, words, strict=True))
        for patterns in itertools.product(*(range(len(beat)) for beat in grammar.beats)):
            chosen = [p for beat, n in zip(grammar.beats, patterns, strict=True) for p in beat[n]]
            free = [p.source for p in chosen if isinstance(p, Slot) and p.source not in roles]
            for words in itertools.product(*(range(len(grammar.words[source])) for source in free)):
                yield Draws(roles, patterns, tuple(zip(free, words, strict=True)))


def test_on_a_grammar_small_enough_to_write_out_every_exact_figure_is_right():
    texts = {TINY.tell(draws): math.exp(TINY.log_probability(draws)) for draws in all_draws(TINY)}
    assert len(texts) == 12 * 2 * (2 + 1 + 4)
    assert sum(texts.values()) == pytest.approx(1)
    assert -sum(p * math.log(p) for p in texts.values()) == pytest.approx(TINY.expected_nats())
    assert sum(p * len(text) for text, p in texts.items()) == pytest.approx(TINY.expected_length())
    assert max(map(len, texts)) == len(TINY.tell(TINY.longest()))
    assert all(len(TINY.readings(text)) == 1 for text in texts)


def test_the_tiny_grammar_draws_each_text_as_often_as_its_probability_says():
    texts = {TINY.tell(draws): math.exp(TINY.log_probability(draws)) for draws in all_draws(TINY)}
    rng = random.Random(8)
    counts = Counter(TINY.tell(TINY.draw(rng)) for _ in range(40_000))
    assert set(counts) == set(texts)
    chi_square = sum((counts[text] - 40_000 * p) ** 2 / (40_000 * p) for text, p in texts.items())
    assert chi_square < 230  # 167 degrees of freedom: mean 167, standard deviation 18


@pytest.mark.parametrize(
    "words, roles, beats, complaint",
    [
        ({"x": ["a", "a"]}, [], [["{x}."]], "holds an entry twice"),
        ({"x": []}, [], [["{x}."]], "empty"),
        ({"x": ["a"]}, [], [[]], "empty"),
        ({"x": ["a"]}, [], [["{y}."]], "no word list for the slot 'y'"),
        ({"x": ["a", "b"]}, ["x"], [["{x}.", "Nobody."]], "could leave out the role 'x'"),
    ],
)
def test_a_faulty_grammar_is_refused(words, roles, beats, complaint):
    with pytest.raises(ValueError, match=complaint):
        Grammar(words, roles, beats)


# Writing


def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    assert tales.write_tales(20_000, seed=3) == tales.write_tales(20_000, seed=3)
    assert tales.write_tales(20_000, seed=3) != tales.write_tales(20_000, seed=4)
    assert tales.write_tale(random.Random(9)) == tales.write_tale(random.Random(9))


def test_the_text_never_drifts_unnoticed():
    text = tales.write_tales(10_000, seed=1)
    assert hashlib.sha256(text.encode("utf-8")).hexdigest() == SHA256_OF_10_000_CHARACTERS


def test_only_random_is_asked_of_the_source_of_chance():
    class OnlyRandom:
        def random(self):
            return 0.999999

    assert tales.derivations(tales.write_tale(OnlyRandom())) == 1


@pytest.mark.parametrize("characters", [1, 300, 5000])
def test_the_text_holds_whole_tales_and_stops_with_the_one_that_reaches_the_length(characters):
    text = tales.write_tales(characters, seed=6)
    assert text.endswith(SEPARATOR)
    told = text.removesuffix(SEPARATOR).split(SEPARATOR)
    assert all(tales.derivations(tale) == 1 for tale in told)
    assert characters <= len(text) < characters + len(told[-1] + SEPARATOR)


def test_a_longer_text_begins_with_the_shorter_one():
    assert tales.write_tales(9000, seed=2).startswith(tales.write_tales(4000, seed=2))


@pytest.mark.parametrize("characters", [0, -1])
def test_no_characters_are_a_value_error_that_says_how_many_were_asked_for(characters):
    with pytest.raises(ValueError, match=f"characters must be at least 1, but it is {characters}"):
        tales.write_tales(characters)


@pytest.mark.parametrize("wrong", [1.5, "1000", None, True])
def test_characters_and_seed_are_whole_numbers(wrong):
    with pytest.raises(TypeError, match="characters must be a whole number"):
        tales.write_tales(wrong)
    with pytest.raises(TypeError, match="seed must be a whole number"):
        tales.write_tales(100, seed=wrong)


# Length, characters, variety


def test_no_tale_is_longer_than_the_longest_tale_which_the_grammar_can_tell(sample):
    longest = GRAMMAR.tell(GRAMMAR.longest())
    assert len(longest + SEPARATOR) == tales.LONGEST_TALE <= 350
    assert tales.parse(longest).draws == GRAMMAR.longest()
    assert max(len(tale + SEPARATOR) for tale, _ in sample) <= tales.LONGEST_TALE


def test_the_mean_length_lets_a_tale_and_a_question_stand_in_one_context():
    assert 240 <= GRAMMAR.expected_length() + len(SEPARATOR) <= 290


@pytest.fixture(scope="module", params=[1, 2, 3])
def million(request):
    return tales.write_tales(1_000_000, seed=request.param)


def test_the_alphabet_is_exactly_the_characters_of_a_long_text(million):
    assert "".join(sorted(set(million))) == tales.ALPHABET
    assert tales.ALPHABET.isascii()
    assert set(tales.ALPHABET) - set('\n !",.:?') == {c for c in tales.ALPHABET if c.isalpha()}


def test_a_tale_is_one_paragraph(million):
    assert "\n" not in million.replace(SEPARATOR, "")


def test_no_long_sentence_occurs_often(million):
    for end_of_sentence in (r'(?<=[.!?])"?\s+', r"[.!?]+"):
        sentences = Counter(s.strip() for s in re.split(end_of_sentence, million) if len(s.strip()) > 40)
        assert len(sentences) > 10_000
        assert max(sentences.values()) <= 30


def test_there_are_many_words_and_patterns(million):
    words = set(re.findall("[a-z]+", million.lower()))
    assert len(words) >= 500
    assert words <= set(tales.VOCABULARY)
    patterns = [pattern for beat in tales_words.BEATS.values() for pattern in beat]
    assert len(patterns) == len(set(patterns)) == tales.PATTERNS >= 60


def test_every_pattern_is_used(sample):
    used = {(beat, number) for _, draws in sample for beat, number in enumerate(draws.patterns)}
    assert len(used) == tales.PATTERNS


def test_articles_are_right(million):
    articles = re.findall(r"\b([Aa]n?) (\w)", million)
    assert len(articles) > 5000
    assert all((article.lower() == "an") == (letter.lower() in "aeiou") for article, letter in articles)
    # Words whose sound and first letter part ways would be wrong by that rule.
    assert not [word for word in tales.VOCABULARY if re.match("honest|hour|heir|uni|use|usu|eu", word)]
