"""A grammar of word lists and sentence patterns: it writes, reads, and counts exactly.

    grammar = Grammar({"name": ["Ada", "Leo"], "pet": ["cat", "owl"]}, roles=["name"],
                      beats=[["{name} has {a pet}."], ["{He} is glad.", "{name} sings."]], heroines=["Ada"])
    grammar.tell(grammar.draw(random.Random(1)))     # "Ada has an owl. She is glad."

How a text is drawn: first one word for each role, then for each beat one pattern and one word for each
slot of the pattern that is no role. Every draw is uniform. Where each text can be drawn in one way only,
its probability is the product of the probabilities of its draws.
The built-in tales (helpers/tales.py) are such a grammar. Standard library only.
"""

import math
import re
from itertools import product
from typing import NamedTuple, Protocol

PRONOUNS = {"he": "she", "him": "her", "his": "her"}


class RandomSource(Protocol):
    """What a text is drawn with: random.Random, or anything with a method random() in [0, 1)."""

    def random(self) -> float: ...


class Slot(NamedTuple):
    """A gap in a pattern: spellings[i] stands there when word i of the list `source` is drawn."""

    source: str  # the word list
    label: str  # "pronoun" for he, him and his, else the source
    spellings: tuple[str, ...]
    words: dict[str, list[int]]  # spelling -> the words that are spelt so
    lengths: list[int]  # of the spellings, each once


class Draws(NamedTuple):
    """Everything that is drawn for one text, as positions in the lists."""

    roles: dict[str, int]  # role -> word
    patterns: tuple[int, ...] = ()  # one for each beat
    free: tuple[tuple[str, int], ...] = ()  # (word list, word) in the order of the text


class Reading(NamedTuple):
    """One way to read a text, or its beginning: what was drawn, and how far the reading has come."""

    draws: Draws
    end: int = 0
    disagreements: tuple[str, ...] = ()


class Grammar:
    """Word lists and patterns, made ready for writing, reading and counting.

    words: name -> list of words. roles: the lists that are drawn once per text. beats: for each sentence its
    patterns. short: slots that stand for several. heroines: the words of the list "name" that are "she".
    Raises ValueError for a list or beat that is empty or holds an entry twice, and for a role that a
    text could leave out, since such a text would have several derivations.
    """

    def __init__(
        self,
        words: dict[str, list[str]],
        roles: list[str],
        beats: list[list[str]],
        short: dict[str, str] | None = None,
        heroines: list[str] | None = None,
    ):
        for name, items in [*words.items(), *enumerate(beats)]:
            if not items or len(set(items)) < len(items):
                raise ValueError(f"the list {name!r} is empty or holds an entry twice: {sorted(items)}")
        self.words, self.roles = words, roles
        self._heroines, self._short = set(heroines or []), short or {}
        self._slots: dict[str, Slot] = {}
        self.beats = [[self._compile(p, n > 0) for p in patterns] for n, patterns in enumerate(beats)]
        for role in roles:
            if not any(all(role in _sources(pattern) for pattern in beat) for beat in self.beats):
                raise ValueError(
                    f"a text could leave out the role {role!r}: one beat has to name it in every pattern"
                )

    def _compile(self, pattern: str, joined: bool) -> list[str | Slot]:
        """A pattern as a list of fixed strings and slots; joined: after a space."""
        for name, meaning in self._short.items():
            pattern = pattern.replace("{" + name + "}", meaning)
        parts = re.split(r"\{([^}]*)\}", " " * joined + pattern)  # text, slot, text, slot, ..., text
        pieces = [self._slot(part) if i % 2 else part for i, part in enumerate(parts)]
        return [piece for piece in pieces if piece != ""]

    def _slot(self, written: str) -> Slot:
        """The slot written so between braces: 'key', 'a key', 'A key', 'Key', 'he', 'His', ..."""
        if written not in self._slots:
            form, _, name = written.rpartition(" ")
            form = form or ("capital" if name[0].isupper() else "")
            source = label = name.lower()
            if source in PRONOUNS:
                he, she = _spell(form, source), _spell(form, PRONOUNS[source])
                source, label = "name", "pronoun"
                spellings = tuple(she if hero in self._heroines else he for hero in self.words["name"])
            elif source in self.words:
                spellings = tuple(_spell(form, word) for word in self.words[source])
            else:
                raise ValueError(f"no word list for the slot {written!r}: there are {sorted(self.words)}")
            words: dict[str, list[int]] = {}
            for i, spelling in enumerate(spellings):
                words.setdefault(spelling, []).append(i)
            self._slots[written] = Slot(source, label, spellings, words, sorted({len(s) for s in words}))
        return self._slots[written]

    # Writing

    def draw(self, rng: RandomSource) -> Draws:
        """Draw a text. Only rng.random() is used, so that a seed gives the same text on every Python."""

        def one_of(count: int) -> int:
            return int(rng.random() * count)

        roles = {role: one_of(len(self.words[role])) for role in self.roles}
        patterns = tuple(one_of(len(beat)) for beat in self.beats)
        chosen = [beat[number] for beat, number in zip(self.beats, patterns, strict=True)]
        free = [source for pattern in chosen for source in _sources(pattern) if source not in roles]
        return Draws(roles, patterns, tuple((source, one_of(len(self.words[source]))) for source in free))

    def tell(self, draws: Draws) -> str:
        """The text that these draws make."""
        free = iter(draws.free)
        told = []
        for beat, number in zip(self.beats, draws.patterns, strict=True):
            for piece in beat[number]:
                if isinstance(piece, str):
                    told.append(piece)
                else:
                    word = draws.roles[piece.source] if piece.source in draws.roles else next(free)[1]
                    told.append(piece.spellings[word])
        return "".join(told)

    # Reading

    def readings(self, text: str, strict: bool = True, stops: list[int] | None = None) -> list[Reading]:
        """Every way to read the whole of `text`: its derivations.

        Keeps all readings of the text so far and adds one piece after the other. strict=False lets a repeated
        mention be any word of its list, and each reading then names what disagrees with its first mention.
        stops, if given, collects the positions at which readings broke off.
        """
        readings = [Reading(Draws({}))]
        for beat in self.beats:
            grown = []
            for before in readings:
                for number, pattern in enumerate(beat):
                    draws = before.draws._replace(patterns=(*before.draws.patterns, number))
                    paths = [before._replace(draws=draws)]
                    for piece in pattern:
                        paths = [
                            after for path in paths for after in self._read(piece, text, path, strict, stops)
                        ]
                    grown += paths
            readings = grown
        if stops is not None:
            stops += [reading.end for reading in readings]
        return [reading for reading in readings if reading.end == len(text)]

    def _read(
        self, piece: str | Slot, text: str, path: Reading, strict: bool, stops: list[int] | None
    ) -> list[Reading]:
        """`path` with `piece` read next, in every way that the text allows."""
        draws, start, disagreements = path
        if isinstance(piece, str):
            after = [path._replace(end=start + len(piece))] if text.startswith(piece, start) else []
            allowed = [piece]
        else:
            after = []
            first = draws.roles.get(piece.source)  # the word of the first mention, or None
            allowed = [piece.spellings[first]] if strict and first is not None else list(piece.words)
            for length in piece.lengths:
                spelling, end = text[start : start + length], start + length
                if spelling not in piece.words or spelling not in allowed:
                    continue
                if first is not None:
                    wrong = spelling != piece.spellings[first]
                    after.append(Reading(draws, end, disagreements + (piece.label,) * wrong))
                elif piece.source in self.roles:
                    for word in piece.words[spelling]:
                        roles = {**draws.roles, piece.source: word}
                        after.append(Reading(draws._replace(roles=roles), end, disagreements))
                else:
                    free = (*draws.free, (piece.source, piece.words[spelling][0]))
                    after.append(Reading(draws._replace(free=free), end, disagreements))
        if stops is not None and not after:
            stops.append(start + max(_common(option, text[start:]) for option in allowed))
        return after

    # Counting

    def log_probability(self, draws: Draws) -> float:
        """Natural logarithm of the probability of these draws."""
        drawn = [*draws.roles, *(source for source, _ in draws.free)]
        counts = [len(self.words[source]) for source in drawn] + [len(beat) for beat in self.beats]
        return -sum(math.log(count) for count in counts)

    def expected_nats(self) -> float:
        """The expectation of -log p of a text, exact: its entropy."""
        nats = sum(math.log(len(self.words[role])) for role in self.roles)
        for beat in self.beats:
            free = [s for pattern in beat for s in _sources(pattern) if s not in self.roles]
            nats += math.log(len(beat)) + sum(math.log(len(self.words[s])) for s in free) / len(beat)
        return nats

    def expected_length(self) -> float:
        """The expectation of a text's number of characters, exact."""
        return sum(sum(_mean_length(piece) for p in beat for piece in p) / len(beat) for beat in self.beats)

    def longest(self) -> Draws:
        """Draws that make a longest text.

        For given roles, take of each beat the longest pattern with its longest words. Of each role try only
        words that no other word of the list reaches in every spelling.
        """
        candidates = []
        for role in self.roles:
            forms = [slot.spellings for slot in self._slots.values() if slot.source == role]
            words = {tuple(len(form[i]) for form in forms): i for i in range(len(self.words[role]))}
            beaten = {s for s in words for t in words if t != s and all(map(int.__ge__, t, s))}
            candidates.append([word for sizes, word in words.items() if sizes not in beaten])
        tries = [self._longest_with(dict(zip(self.roles, c, strict=True))) for c in product(*candidates)]
        return max(tries, key=lambda draws: len(self.tell(draws)))

    def _longest_with(self, roles: dict[str, int]) -> Draws:
        def size(piece: str | Slot) -> int:
            if isinstance(piece, Slot):
                return (
                    len(piece.spellings[roles[piece.source]]) if piece.source in roles else piece.lengths[-1]
                )
            return len(piece)

        patterns = [
            max(range(len(beat)), key=lambda i, beat=beat: sum(map(size, beat[i]))) for beat in self.beats
        ]
        chosen = [piece for beat, i in zip(self.beats, patterns, strict=True) for piece in beat[i]]
        slots = [piece for piece in chosen if isinstance(piece, Slot) and piece.source not in roles]
        free = [(slot.source, slot.spellings.index(max(slot.spellings, key=len))) for slot in slots]
        return Draws(roles, tuple(patterns), tuple(free))

    def strings(self) -> list[str]:
        """Every string that stands in some text: the fixed parts of the patterns and all spellings."""
        fixed = [
            piece for beat in self.beats for pattern in beat for piece in pattern if isinstance(piece, str)
        ]
        return fixed + [spelling for slot in self._slots.values() for spelling in slot.spellings]


def _spell(form: str, word: str) -> str:
    """The word as a slot asks for it: with its article, with a capital, or as it is."""
    article = "an" if word[0].lower() in "aeiou" else "a"
    if form == "a":
        return f"{article} {word}"
    if form == "A":
        return f"{article.capitalize()} {word}"
    return word[0].upper() + word[1:] if form == "capital" else word


def _sources(pattern: list[str | Slot]) -> list[str]:
    return [piece.source for piece in pattern if isinstance(piece, Slot)]


def _mean_length(piece: str | Slot) -> float:
    return len(piece) if isinstance(piece, str) else sum(map(len, piece.spellings)) / len(piece.spellings)


def _common(option: str, text: str) -> int:
    """How many characters `option` and `text` have in common at the start."""
    count = 0
    while count < min(len(option), len(text)) and option[count] == text[count]:
        count += 1
    return count
