"""Questions about tales, with answers that can be checked: what notebook 15 fine-tunes the shipped model on.

    examples = make_examples(1000, seed=1)           # the same seed gives the same examples everywhere
    print(examples[0].text)                          # the tale, the question, the answer
    x, y = encode_examples(examples[:12], tokenizer, block_size=416)     # (B, T) each

A tale of helpers/tales.py can be read back exactly (`parse`), so for each question there is one right answer:

    "Who lost the silver key?"      Tilda               "Who told her where it lay?"    a grey heron
    "What did Tilda lose?"          the silver key      "Where did she find it?"        under the mossy bridge
    "Where did Tilda lose it?"      in the sleepy wood  "On which day?"                 windy Tuesday

Introduced by notebook 15.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from helpers.tales import GRAMMAR, SEPARATOR
from helpers.tales_grammar import Draws
from helpers.tales_words import SHE
from helpers.tokenizer import Tokenizer

QUESTION, ANSWER, END = "Q: ", "A: ", "\n"  # how a question, its answer, and the end of the answer are marked
CHAT = {
    "question": QUESTION,
    "answer": ANSWER,
    "end": END,
}  # kept in a fine-tuned model's file, for helpers.chat
IGNORED = -100  # a target that F.cross_entropy leaves out
ROOM = 416  # characters: the context of the shipped model

# kind of question -> its wordings. {her}: her or him.
WORDINGS = {
    "hero": (
        "Who lost the {look} {object}?",
        "Whose was the {look} {object}?",
        "Who found the {look} {object}?",
    ),
    "thing": ("What did {name} lose?", "What was lost?", "What did {she} find?"),
    "place lost": (
        "Where did {name} lose it?",
        "Where was it lost?",
        "Where did {she} lose the {look} {object}?",
    ),
    "helper": ("Who told {her} where it lay?", "Who helped {name}?", "Who knew where it was?"),
    "place found": ("Where did {she} find it?", "Where was the {look} {object} found?", "Where did it lie?"),
    "day": ("On which day?", "Which day was it?", "When did {name} set out?"),
}
ANSWERS = {
    "hero": "{name}",
    "thing": "the {look} {object}",
    "place lost": "in the {mood} {land}",
    "helper": "{a} {manner} {animal}",
    "place found": "{side} the {mark} {place}",
    "day": "{weather} {day}",
}
KINDS = tuple(WORDINGS)


@dataclass(frozen=True)
class Example:
    """One question about one tale. kind: one of KINDS."""

    tale: str
    question: str
    answer: str
    kind: str

    @property
    def prompt(self) -> str:
        """All that stands before the answer, beginning with the separator that stands before every tale."""
        return f"{SEPARATOR}{self.tale}\n{QUESTION}{self.question}\n{ANSWER}"

    @property
    def text(self) -> str:
        """Prompt, answer, and the end of the answer."""
        return self.prompt + self.answer + END


def make_examples(
    count: int, seed: int, per_tale: int = 1, kinds: Sequence[str] = KINDS, room: int = ROOM
) -> list[Example]:
    """`count` examples; each tale is asked `per_tale` different kinds of question, in random order.

    The examples of one tale follow one another, and all of them together have at most `room` characters, so that
    `encode_examples` can put them into one row; longer tales are passed over. Deterministic: a seed gives the same
    examples on every machine. Its tales are other ones than those of `write_tales` with any seed, and than those of
    another seed here, as far as chance allows: two drawn tales are equal with a probability of about e^-80.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("per_tale", per_tale, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value!r}, but it is a whole number of at least {least}")
    if not kinds or set(kinds) - set(KINDS):
        raise ValueError(f"kinds={kinds!r}, but they are some of {', '.join(map(repr, KINDS))}")
    if per_tale > len(kinds):
        raise ValueError(
            f"per_tale={per_tale}, but there are {len(kinds)} kinds to ask for: give at most that"
        )
    rng = random.Random(f"questions {seed}")  # a text as seed, for write_tales takes the whole numbers
    examples: list[Example] = []
    passed_over = 0
    while len(examples) < count:
        some = _ask(GRAMMAR.draw(rng), _shuffled(kinds, rng)[:per_tale], rng)
        if len(join(some)) <= room:
            examples += some
        else:
            passed_over += 1
        if passed_over > 1000 + 1000 * len(examples):
            raise ValueError(
                f"room={room} characters are too few for a tale with {per_tale} questions: {passed_over} tales in a "
                f"row did not fit. A tale has about 280 characters, a question with its answer about 50"
            )
    return examples[:count]


def join(examples: Sequence[Example]) -> str:
    """One text of examples that share a tale: the tale once, then each question with its answer."""
    if len({example.tale for example in examples}) != 1:
        raise ValueError(
            "join puts the questions about one tale together, but these are about several or none"
        )
    return "".join(text for text, _ in _pieces(examples))


def encode_examples(
    examples: Sequence[Example], tokenizer: Tokenizer, block_size: int, mask_prompt: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs x and targets y, (B, T) int64 each, on the CPU. T is the length of the longest row.

    Examples of one tale that follow one another share a row as long as they fit. A row is filled up at its end, which
    needs no attention mask: no position sees what comes after it. Targets there are IGNORED, and with mask_prompt also
    those of everything but the answers and the END after each, so that the loss asks for the answers alone.
    Raises ValueError for no examples, for one that is longer than the context, and for unknown characters.
    """
    return stack(encode_rows(examples, tokenizer, block_size, mask_prompt))


def encode_rows(
    examples: Sequence[Example], tokenizer: Tokenizer, block_size: int, mask_prompt: bool = True
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of encode_examples before they are filled up: ids (T+1,) and targets (T,) each."""
    return [_encode_row(row, tokenizer, mask_prompt) for row in rows_of(examples, tokenizer, block_size)]


def stack(rows: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as one batch x, y, (B, T) each: shorter ones are filled up at their end, with targets IGNORED."""
    if not rows:
        raise ValueError("there are 0 examples to encode: give at least one")
    ids = torch.nn.utils.rnn.pad_sequence([ids for ids, _ in rows], batch_first=True)  # (B, T+1)
    targets = [targets for _, targets in rows]
    y = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=IGNORED)  # (B, T)
    return ids[:, :-1].contiguous(), y


def rows_of(examples: Iterable[Example], tokenizer: Tokenizer, block_size: int) -> list[list[Example]]:
    """The examples in groups, each of one tale and short enough for one row. Raises ValueError for one that is not."""
    rows: list[list[Example]] = []
    for example in examples:
        together = [*rows[-1], example] if rows and rows[-1][0].tale == example.tale else None
        if together and len(tokenizer.encode(join(together))) - 1 <= block_size:
            rows[-1] = together
            continue
        length = len(tokenizer.encode(example.text)) - 1  # the last token is only predicted
        if length > block_size:
            raise ValueError(
                f"the example {example.question!r} has {length} tokens with its tale, but the context has "
                f"{block_size}: take shorter tales, make_examples(..., room={block_size}), or a model with a longer context"
            )
        rows.append([example])
    return rows


def _encode_row(
    row: list[Example], tokenizer: Tokenizer, mask_prompt: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (T+1,) and targets (T,) of the examples of one tale."""
    ids, asked = [], []
    for text, is_answer in _pieces(row):
        piece = torch.from_numpy(tokenizer.encode(text)).long()
        ids.append(piece)
        asked.append(torch.full_like(piece, is_answer, dtype=torch.bool))
    whole = torch.cat(ids)  # (T+1,)
    targets = whole[1:].clone()  # (T,)
    if mask_prompt:
        targets[~torch.cat(asked)[1:]] = IGNORED
    return whole, targets


def _pieces(row: Sequence[Example]) -> list[tuple[str, bool]]:
    """The text of the examples of one tale in pieces, each with whether it is an answer (with its END)."""
    pieces = [(f"{SEPARATOR}{row[0].tale}\n", False)]
    for example in row:
        pieces += [(f"{QUESTION}{example.question}\n{ANSWER}", False), (example.answer + END, True)]
    return pieces


def _ask(draws: Draws, kinds: Sequence[str], rng: random.Random) -> list[Example]:
    """One example of each kind about the tale that these draws make.

    The words come from the draws, since `parse`, which finds them in the tale, takes some milliseconds.
    """
    # The first two free draws are the weather and the day: every first sentence has just these.
    drawn = (*draws.roles.items(), *draws.free[:2])
    said = {source: GRAMMAR.words[source][number] for source, number in drawn}
    heroine = said["name"] in SHE
    said |= {"she": "she" if heroine else "he", "her": "her" if heroine else "him"}
    said["a"] = "an" if said["manner"][0] in "aeiou" else "a"
    tale, examples = GRAMMAR.tell(draws), []
    for kind in kinds:
        wording = WORDINGS[kind][int(rng.random() * len(WORDINGS[kind]))]
        examples.append(Example(tale, wording.format(**said), ANSWERS[kind].format(**said), kind))
    return examples


def _shuffled(kinds: Sequence[str], rng: random.Random) -> list[str]:
    """The kinds in random order. Only rng.random() is used, as in the grammar: the same on every Python."""
    left = list(kinds)
    return [left.pop(int(rng.random() * len(left))) for _ in range(len(kinds))]
