"""Short tales from a grammar whose exact probabilities are known: a corpus that needs no download.

    text = write_tales(1_000_000, seed=1)     # about 1 MB of tales, each followed by SEPARATOR
    tale = write_tale(random.Random(7))       # one tale
    parse(tale).thing                         # "silver key"
    log_probability(tale)                     # about -80 nats
    entropy_per_character()                   # nats: the floor, no model's expected loss is below it

In each tale a hero sets out, loses a thing, is told where it lies, finds it there and goes home. What is
said once is said again: the hero's name and pronoun, the thing, the place, the helper. A bigram cannot keep
that up over a hundred characters; attention can.

The words and patterns stand in tales_words.py; tales_grammar.py explains how they are drawn. A tale can be
drawn in one way only, so its probability is exact. Introduced by notebook 01. Standard library only.
"""

import random
import re
from dataclasses import dataclass

from helpers import tales_words
from helpers.tales_grammar import Draws, Grammar, RandomSource, Reading

SEPARATOR = "\n\n"  # the end of a tale: certain once the tale is told, but it counts as two characters

GRAMMAR = Grammar(
    tales_words.WORDS, tales_words.ROLES, list(tales_words.BEATS.values()), tales_words.SHORT, tales_words.SHE
)
LONGEST_TALE = len(GRAMMAR.tell(GRAMMAR.longest()) + SEPARATOR)  # characters, separator included
ALPHABET = "".join(sorted(set("".join(GRAMMAR.strings()) + SEPARATOR)))  # characters, separator included
PATTERNS = sum(len(beat) for beat in GRAMMAR.beats)  # sentence patterns
VOCABULARY = sorted({word for string in GRAMMAR.strings() for word in re.findall("[a-z]+", string.lower())})

PARTS = {  # what a tale repeats: part -> the roles, or "pronoun", that say it
    "hero": ["name"],
    "pronoun": ["pronoun"],
    "kind": ["temper", "trade"],
    "thing": ["look", "object"],
    "place lost": ["mood", "land"],
    "helper": ["manner", "animal"],
    "place found": ["side", "mark", "place"],
}


@dataclass(frozen=True)
class Tale:
    """What a tale tells. `draws` says how it was drawn."""

    hero: str  # Tilda
    pronoun: str  # she
    kind: str  # merry weaver
    day: str  # windy Tuesday
    thing: str  # silver key
    place_lost: str  # in the sleepy wood
    helper: str  # grey heron
    place_found: str  # under the mossy bridge
    draws: Draws


def write_tale(rng: RandomSource) -> str:
    """One tale: one paragraph, without the separator."""
    return GRAMMAR.tell(GRAMMAR.draw(rng))


def write_tales(characters: int = 1_000_000, seed: int = 1) -> str:
    """Whole tales, each followed by SEPARATOR, until the text has at least `characters` characters.

    So the text is shorter than characters + LONGEST_TALE. The same seed gives the same text everywhere.
    """
    for name, value in (("characters", characters), ("seed", seed)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be a whole number, but it is {value!r}")
    if characters <= 0:
        raise ValueError(f"characters must be at least 1, but it is {characters}")
    rng = random.Random(seed)
    tales, length = [], 0
    while length < characters:
        tales.append(write_tale(rng) + SEPARATOR)
        length += len(tales[-1])
    return "".join(tales)


def derivations(tale: str) -> int:
    """In how many ways the grammar makes this text: 1 for a tale, 0 for anything else."""
    return len(GRAMMAR.readings(_without_separator(tale)))


def parse(tale: str) -> Tale:
    """What the tale tells; a separator may follow it.

    Raises ValueError, with the character at which the text stops fitting, for anything but one whole tale
    whose mentions all agree.
    """
    draws = _reading(tale).draws
    # The first two free slots are the weather and the day: every first sentence has just these.
    said = {source: GRAMMAR.words[source][word] for source, word in (*draws.roles.items(), *draws.free[:2])}
    return Tale(
        hero=said["name"],
        pronoun="she" if said["name"] in tales_words.SHE else "he",
        kind="{temper} {trade}".format(**said),
        day="{weather} {day}".format(**said),
        thing="{look} {object}".format(**said),
        place_lost="in the {mood} {land}".format(**said),
        helper="{manner} {animal}".format(**said),
        place_found="{side} the {mark} {place}".format(**said),
        draws=draws,
    )


def log_probability(tale: str) -> float:
    """Natural logarithm of the tale's probability, with or without its separator. Raises as parse does."""
    return GRAMMAR.log_probability(_reading(tale).draws)


def entropy_per_character() -> float:
    """The exact entropy of an endless text of tales, in nats per character: the floor of any model's loss.

    The -log p of a tale is a sum over its draws and its length is a sum over its pieces, so by linearity of
    expectation both means are exact sums over roles, beats, patterns and slots. The tales of a long text are
    independent, so its -log p per character tends to the one mean divided by the other. The separator adds
    two characters to the length and nothing to -log p, since it is certain.
    """
    return GRAMMAR.expected_nats() / (GRAMMAR.expected_length() + len(SEPARATOR))


def agrees(tale: str) -> bool | None:
    """True if all mentions agree (parse reads the tale), False if some do not, None if it is no tale."""
    wrong = disagreements(tale)
    return None if wrong is None else not wrong


def disagreements(tale: str) -> list[str] | None:
    """The PARTS whose mentions disagree, such as ["thing"]; [] if all agree, None if it is no tale.

    Reads the tale as if each repeated mention were free to be any word of its list, and compares it with the
    first mention. A pronoun is compared with the first mention of the hero's name.
    """
    readings = GRAMMAR.readings(_without_separator(tale), strict=False)
    if not readings:
        return None
    wrong = set(min((reading.disagreements for reading in readings), key=len))
    return [part for part, roles in PARTS.items() if wrong.intersection(roles)]


def _without_separator(tale: str) -> str:
    if not isinstance(tale, str):
        raise TypeError(f"a tale is a string, but this is {tale!r}")
    return tale.removesuffix(SEPARATOR)


def _reading(tale: str) -> Reading:
    """The tale's only reading, or a ValueError that shows where the text stops fitting."""
    text = _without_separator(tale)
    readings = GRAMMAR.readings(text)
    if not readings:
        stops: list[int] = []
        GRAMMAR.readings(text, stops=stops)
        at = max(stops)
        raise ValueError(
            f"not a tale of the grammar: it stops fitting at character {at} of {len(text)}, "
            f"after {text[max(0, at - 20) : at]!r}, where {text[at : at + 20]!r} stands"
        )
    return readings[0]
