"""How well a model answers questions about tales, and how much of the tales it has forgotten.

    exact_match(model, tokenizer, make_examples(200, seed=2)).share     # of unseen questions
    answer(model, tokenizer, example)                                   # what it writes, such as "a grey heron"
    forgetting(model, tokenizer)                                        # loss on fresh tales

Introduced by notebook 15.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from helpers.losses import block_size_of, device_of
from helpers.questions import END, IGNORED, Example, encode_rows, stack
from helpers.sampling import generate
from helpers.tales import write_tales
from helpers.tokenizer import Tokenizer
from helpers.train_data import FRESH_TALES_SEED, tales_loss


@dataclass(frozen=True)
class Score:
    """How well questions are answered. share: of answers that are right to the last character, from 0 to 1.

    kinds: the same for each kind of question. loss: in nats per character of the right answers.
    """

    share: float
    kinds: dict[str, float]
    loss: float


@torch.no_grad()
def exact_match(
    model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Example], batch_size: int = 16
) -> Score:
    """How many questions the model answers right to the last character, END included, when it always takes the likeliest.

    No answer is written for this: the model writes the right answer just when at each of its characters, after the
    right ones before, that character is the likeliest. So it is enough to read each example once.
    Eval mode, restored afterwards. Raises as encode_examples does.
    """
    device, was_training = device_of(model), model.training
    right: dict[str, list[bool]] = {}
    total, count = 0.0, 0
    model.eval()
    try:
        ordered = sorted(examples, key=lambda example: len(example.text))  # rows of about one length
        for first in range(0, len(ordered), batch_size):
            some = ordered[first : first + batch_size]
            # Each example a row of its own, also where two share a tale: the question is asked right after the tale.
            x, y = stack([row for e in some for row in encode_rows([e], tokenizer, block_size_of(model))])
            x, y = x.to(device), y.to(device)  # (B, T) each
            logits, loss = model(x, y)
            hits = (logits.argmax(dim=-1) == y) | (y == IGNORED)  # (B, T)
            for example, hit in zip(some, hits.all(dim=1).tolist(), strict=True):
                right.setdefault(example.kind, []).append(hit)
            predicted = int((y != IGNORED).sum())
            total, count = total + loss.item() * predicted, count + predicted
    finally:
        model.train(was_training)
    if not count:
        raise ValueError("there are 0 questions to ask: give at least one example")
    kinds = {kind: sum(hits) / len(hits) for kind, hits in sorted(right.items())}
    return Score(sum(map(sum, right.values())) / len(examples), kinds, total / count)


def answer(model: nn.Module, tokenizer: Tokenizer, example: Example, longest: int = 40) -> str:
    """What the model writes after the question: its likeliest characters up to END, or `longest` of them."""
    ids = torch.from_numpy(tokenizer.encode(example.prompt)).unsqueeze(0)  # (1, T)
    size = block_size_of(model)
    if ids.shape[1] > size:
        raise ValueError(
            f"the tale with its question has {ids.shape[1]} tokens, but the context has {size}: take a shorter tale"
        )
    new = generate(model, ids, min(longest, size + 1 - ids.shape[1]), temperature=0)[0, ids.shape[1] :]
    return tokenizer.decode(new).split(END)[0]


def forgetting(model: nn.Module, tokenizer: Tokenizer, characters: int = 20_000) -> float:
    """Loss on fresh tales in nats per character, each read from its beginning: it rises when tales are forgotten."""
    return tales_loss(model, tokenizer, write_tales(characters, seed=FRESH_TALES_SEED))
