"""The exercises of notebook 10: positions, counting parameters, a test for leaks, clipping, when to stop."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lesson.exercises import (
    Exercise,
    NotYet,
    Wrong,
    call,
    filled,
    in_words,
    is_near,
    one_number,
    same,
)

# --- embed_ids ---

EMBED_STUB = '''def embed_ids(ids, token_table, position_table):
    """What the first block of a GPT reads: for each id the row of its character plus the row of its position.

    ids: (B, T)    token_table: (V, C)    position_table: (block_size, C), T <= block_size    returns: (B, T, C)
    """
    ...
'''


def _embed(expression: str) -> str:
    return filled(EMBED_STUB, f"    B, T = ids.shape\n    return {expression}\n")


def check_embed_ids(answer) -> None:
    dice = torch.Generator().manual_seed(10)
    ids = torch.tensor([[4, 0, 6, 2, 6], [1, 5, 3, 0, 4], [2, 2, 6, 5, 1]])  # (B, T) = (3, 5)
    token_table = torch.randn(11, 4, generator=dice)  # (V, C)
    position_table = torch.randn(7, 4, generator=dice)  # (block_size, C)
    tokens, T = token_table[ids], ids.shape[1]  # (B, T, C)
    got = call(answer, ids, token_table, position_table)
    named = {
        "no position": (tokens, "these are the rows of the characters. Where they stand enters nowhere yet."),
        "only position": (
            position_table[:T].expand(3, T, 4),
            "these are the rows of the positions. Which characters stand there enters nowhere.",
        ),
        "position by id": (
            tokens + position_table[ids],
            "you look the position up by the id of the character. The same character then gets the same row wherever it "
            "stands. Which numbers say where a character stands?",
        ),
        "number of the sequence": (
            tokens + position_table[:3].unsqueeze(1),
            "you count through the batch: each sequence gets one row. The position counts along T, from 0 in every sequence.",
        ),
        "one row for all": (
            tokens + position_table[0],
            "every position gets row 0. Position 0 has row 0, position 1 has row 1, and so on.",
        ),
        "from one": (
            tokens + position_table[1 : T + 1],
            "your positions begin at 1. The first character of a window has position 0, as in `torch.arange(T)`.",
        ),
        "last rows": (
            tokens + position_table[-T:],
            "you take the last T rows of the table. A window begins at position 0, however long the table is.",
        ),
        "backwards": (
            tokens + position_table[:T].flip(0),
            "your positions run backwards. The first character has position 0.",
        ),
        "tables swapped": (
            token_table[torch.arange(T)] + position_table[ids],
            "the tables are swapped: ids belong to `token_table`, positions to `position_table`.",
        ),
        "product": (
            tokens * position_table[:T],
            "you multiply the two rows. In a GPT they are added.",
        ),
        "halved": (
            (tokens + position_table[:T]) / 2,
            "you take the mean of the two rows. In a GPT they are added as they are.",
        ),
    }
    for key, (tensor, message) in named.items():
        if is_near(got, tensor):
            raise NotYet(key, message)
    if isinstance(got, torch.Tensor) and got.shape == (3, 5, 8):
        raise NotYet(
            "side by side",
            "you lay the two rows side by side, so there are 2 · C numbers. Here they are added, and C stays C.",
        )
    same(got, tokens + position_table[:T], what="the sum of the two rows")
    short = call(answer, ids[:, :2], token_table, position_table)
    same(short, tokens[:, :2] + position_table[:2], what="the sum for windows of 2 characters")


EMBED_IDS = Exercise(
    name="embed_ids",
    title="Who stands where",
    difficulty="easy",
    minutes=4,
    statement=(
        "(The section *forward pass* holds an answer: solve it first.) The cells above did it for one word; now for a whole "
        "batch. Write `embed_ids(ids, token_table, position_table)`. Both tables are plain tensors here, with a row for each "
        "character and a row for each position. "
        "(`table[indices]` picks rows, in the shape of the indices: for `(B, T)` you get `(B, T, C)`.)"
    ),
    stub=EMBED_STUB,
    solution=_embed("token_table[ids] + position_table[torch.arange(T)]"),
    hints=(
        "`token_table[ids]` has the shape (B, T, C). Which positions are there in a window of T characters?",
        "The rows of the positions 0 to T - 1 have the shape (T, C). Broadcasting adds them to every sequence of the batch.",
    ),
    check=check_embed_ids,
    wrong=(
        Wrong("position by id", _embed("token_table[ids] + position_table[ids]")),
        Wrong("no position", _embed("token_table[ids]")),
        Wrong("only position", _embed("position_table[:T].repeat(B, 1, 1)")),
        Wrong(
            "number of the sequence",
            _embed("token_table[ids] + position_table[torch.arange(B)].unsqueeze(1)"),
        ),
        Wrong("one row for all", _embed("token_table[ids] + position_table[0]")),
        Wrong("from one", _embed("token_table[ids] + position_table[1:T + 1]")),
        Wrong("last rows", _embed("token_table[ids] + position_table[-T:]")),
        Wrong("backwards", _embed("token_table[ids] + position_table[:T].flip(0)")),
        Wrong("tables swapped", _embed("token_table[torch.arange(T)] + position_table[ids]")),
        Wrong("product", _embed("token_table[ids] * position_table[:T]")),
        Wrong("halved", _embed("(token_table[ids] + position_table[:T]) / 2")),
        Wrong(
            "side by side",
            _embed("torch.cat([token_table[ids], position_table[:T].repeat(B, 1, 1)], dim=-1)"),
        ),
    ),
)

# --- count_parameters ---

COUNT_STUB = '''def count_parameters(config):
    """How many parameters a GPT of this config has, by formula: no model is built.

    config: vocab_size, block_size, n_layer, n_head, n_embd; every linear layer and LayerNorm has a bias
    returns: a whole number
    """
    ...
'''
ATTENTION = "4 * C * C + 4 * C"
FEED_FORWARD = "8 * C * C + 5 * C"
NORMS = "4 * C"
ENDS = "V * C + T * C + 2 * C + C * V + V"


def _count(block: str = f"{ATTENTION} + {FEED_FORWARD} + {NORMS}", rest: str = ENDS, times: str = "L") -> str:
    return filled(
        COUNT_STUB,
        "    V, T, L, C = config.vocab_size, config.block_size, config.n_layer, config.n_embd\n"
        f"    block = {block}\n    return {times} * block + {rest}\n",
    )


CONFIGS = (
    GPTConfig(vocab_size=13, block_size=7, n_layer=3, n_head=2, n_embd=10),
    GPTConfig(vocab_size=29, block_size=12, n_layer=1, n_head=3, n_embd=6),
    GPTConfig(vocab_size=5, block_size=9, n_layer=2, n_head=4, n_embd=16),
)


def _misconceptions(c: GPTConfig) -> dict[str, tuple[int, str]]:
    """{key: (the count that it gives, message)}."""
    V, T, L, H, C = c.vocab_size, c.block_size, c.n_layer, c.n_head, c.n_embd
    right = V * C + T * C + L * (12 * C * C + 13 * C) + 2 * C + C * V + V
    return {
        "rule of thumb": (
            12 * L * C * C,
            "that is the rule of thumb, 12 · n_layer · n_embd². What it leaves out is asked for: biases, norms, the two "
            "tables, the last layer.",
        ),
        "no biases": (
            right - L * (9 * C + 2 * C) - C - V,
            "the weights are right; the biases are missing. A linear layer has one for each number that it gives out, a "
            "LayerNorm one for each channel.",
        ),
        "no norms": (
            right - L * 4 * C - 2 * C,
            "the norms are missing: each LayerNorm has C weights and C biases, and there are two in a block and one at the end.",
        ),
        "no last norm": (
            right - 2 * C,
            "you are short by 2 · C: the norms inside the blocks are there. Which one is missing?",
        ),
        "one norm": (
            right - L * 2 * C,
            "you count one LayerNorm in a block. There are two, one before each part.",
        ),
        "no positions": (
            right - T * C,
            "the position table is missing: block_size rows of C numbers.",
        ),
        "no last layer": (
            right - C * V - V,
            "the last layer is missing: from C numbers to V logits, with biases.",
        ),
        "no last bias": (right - V, "the last layer has a bias for each of its V logits."),
        "one block": (
            right - (L - 1) * (12 * C * C + 13 * C),
            "you count one block; there are n_layer of them.",
        ),
        "once per head": (
            right + L * (H - 1) * (3 * C * C + 3 * C),
            "you count query, key and value of full width for each head. The heads share out the C numbers: each has "
            "C / n_head of them, so together they are C wide, however many there are.",
        ),
        "no mixing": (
            right - L * (C * C + C),
            "after the heads stands one more linear layer, which mixes them: C to C.",
        ),
        "feed-forward once": (
            right - L * (4 * C * C + C),
            "feed-forward has two linear layers: C to 4 · C, and back from 4 · C to C.",
        ),
        "square layers": (
            right - L * (6 * C * C + 3 * C),
            "you count both layers of feed-forward as C to C. It widens to 4 · C, then comes back.",
        ),
    }


def check_count_parameters(answer) -> None:
    found: list[float] = []
    wanted = [sum(p.numel() for p in GPTLanguageModel(each).parameters()) for each in CONFIGS]
    for each in CONFIGS:
        got = one_number(call(answer, each), "the number of parameters")
        if not got.is_integer():
            raise NotYet("fraction", f"parameters are counted, but your function gives {got:g}.")
        found.append(got)
    tables = [_misconceptions(each) for each in CONFIGS]
    for key in tables[0]:
        # A config with one block cannot tell one from many, so all of them have to agree.
        if found == [table[key][0] for table in tables] and found != wanted:
            raise NotYet(key, tables[0][key][1])
    for each, got, want in zip(CONFIGS, found, wanted, strict=True):
        same(int(got), want, what=f"the number of parameters of {each}")


COUNT_PARAMETERS = Exercise(
    name="count_parameters",
    title="Count before you build",
    difficulty="medium",
    minutes=9,
    statement=(
        "The rule of thumb is a little short. Write `count_parameters(config)`, exact and for any config (with biases, as in "
        "`print(block)` above), without building a model. A linear layer from *a* to *b* numbers has *a · b* weights and *b* "
        "biases; a LayerNorm over *C* channels has *C* weights and *C* biases; an embedding table has rows times columns. "
        "The check compares with PyTorch's own count."
    ),
    stub=COUNT_STUB,
    solution=_count(),
    hints=(
        "Go through the picture from top to bottom. In a block: four linear maps from C to C (query, key, value, mixing), "
        "one from C to 4 · C, one back, two LayerNorms.",
        "A block has 12 · C² weights in its linear layers, 4 · C + 5 · C biases, and 4 · C numbers in its norms. Around the "
        "blocks: two tables, one LayerNorm, one linear layer from C to V.",
    ),
    check=check_count_parameters,
    wrong=(
        Wrong("no biases", _count("12 * C * C + 2 * C", "V * C + T * C + C + C * V")),
        Wrong("rule of thumb", _count("12 * C * C", "0")),
        Wrong("no norms", _count(f"{ATTENTION} + {FEED_FORWARD}", "V * C + T * C + C * V + V")),
        Wrong("no last norm", _count(rest="V * C + T * C + C * V + V")),
        Wrong("one norm", _count(f"{ATTENTION} + {FEED_FORWARD} + 2 * C")),
        Wrong("no positions", _count(rest="V * C + 2 * C + C * V + V")),
        Wrong("no last layer", _count(rest="V * C + T * C + 2 * C")),
        Wrong("no last bias", _count(rest="V * C + T * C + 2 * C + C * V")),
        Wrong("one block", _count(times="1")),
        Wrong(
            "once per head",
            _count(f"config.n_head * (3 * C * C + 3 * C) + C * C + C + {FEED_FORWARD} + {NORMS}"),
        ),
        Wrong("no mixing", _count(f"3 * C * C + 3 * C + {FEED_FORWARD} + {NORMS}")),
        Wrong("feed-forward once", _count(f"{ATTENTION} + 4 * C * C + 4 * C + {NORMS}")),
        Wrong("square layers", _count(f"{ATTENTION} + 2 * C * C + 2 * C + {NORMS}")),
    ),
)

# --- earlier_change ---

EARLIER_STUB = '''def earlier_change(model, ids, place, other):
    """The largest change of a logit at the positions before `place`, when the character there becomes `other`.

    model: model(ids) gives (logits, None), logits (B, T, V)    ids: (B, T)    place: from 1 to T-1    other: an id
    returns: one number, never negative
    """
    ...
'''
CLONED = "    changed = ids.clone()\n    changed[:, place] = other\n"
DIFFERENCE = "(model(ids)[0] - model(changed)[0])"


def _earlier(result: str, change: str = CLONED) -> str:
    return filled(EARLIER_STUB, f"{change}    return {result}\n")


class _Peek(nn.Module):
    """Stands for a model: at each position a sum of what it may see, `shares[k]` of the character k places on."""

    def __init__(self, shares: Mapping[int, float], V: int = 9) -> None:
        super().__init__()
        self.shares = shares
        self.table = torch.randn(V, 4, generator=torch.Generator().manual_seed(3))  # (V, 4)

    def forward(self, ids, targets=None):
        rows = self.table[ids]  # (B, T, 4)
        T, logits = ids.shape[1], torch.zeros_like(rows)
        for k, share in self.shares.items():
            moved = F.pad(rows, (0, 0, max(-k, 0), max(k, 0)))[:, max(k, 0) : max(k, 0) + T]  # (B, T, 4)
            logits = logits + share * moved
        return logits, None


def check_earlier_change(answer) -> None:
    ids = torch.tensor([[3, 7, 1, 5, 2, 8], [6, 2, 4, 0, 1, 3]])  # (B, T)
    place, other = 4, 7
    changed = ids.clone()
    changed[:, place] = other
    models = (_Peek({0: 1.0, -1: 1.5, 1: 0.3, 2: 0.5}), _Peek({0: 0.5, 2: 1.2}), _Peek({0: 1.0, -1: 0.7}))
    found = []
    for model in models:
        got = call(answer, model, ids, place, other)
        if isinstance(got, torch.Tensor) and got.numel() > 1:
            raise NotYet(
                "a tensor",
                f"the largest of them is asked for, one number; your function gives {in_words(got)}.",
            )
        found.append(one_number(got, "the largest change"))
    named = {
        "everywhere": (
            lambda d: d.abs().max(),
            "you compare all positions. At `place` and after it the logits may change: an honest model would be accused too.",
        ),
        "place included": (
            lambda d: d[:, : place + 1].abs().max(),
            "the position `place` itself is among those that you compare. Its own character changed, so its logits may change.",
        ),
        "later ones": (
            lambda d: d[:, place:].abs().max(),
            "you look from `place` on. There the logits should change; those *before* it must not.",
        ),
        "just before": (
            lambda d: d[:, place - 1].abs().max(),
            "you look at the position just before `place`, and not at those further back.",
        ),
        "mean": (
            lambda d: d[:, :place].abs().mean(),
            "that is the mean of the changes. A leak at one position would be thinned out by all the others: take the largest.",
        ),
        "signed": (
            lambda d: d[:, :place].max(),
            "you take the largest signed difference. Where a logit grew, the difference is negative: take its size.",
        ),
        "first sequence": (
            lambda d: d[0, :place].abs().max(),
            "you look at the first sequence only. ids has B of them.",
        ),
        "not seen": (
            lambda d: 0 * d.max(),
            "you give 0 for models that look ahead. Do the two calls get different ids? (`changed = ids` is another name for "
            "the same tensor: a change of one is a change of both. `ids.clone()` makes a copy.)",
        ),
    }
    differences = [model(ids)[0] - model(changed)[0] for model in models]  # (B, T, V) each
    for key, (measure, message) in named.items():
        if all(abs(one - measure(d).item()) < 1e-6 for one, d in zip(found, differences, strict=True)):
            raise NotYet(key, message)
    what = ("looks one and two places ahead", "looks two places ahead", "does not look ahead")
    for one, d, words in zip(found, differences, what, strict=True):
        same(one, d[:, :place].abs().max().item(), what=f"the largest earlier change of a model that {words}")


EARLIER_CHANGE = Exercise(
    name="earlier_change",
    title="Catch a model that looks ahead",
    difficulty="hard",
    minutes=7,
    statement=(
        "(An answer follows: solve it first.) A prediction must not depend on a later character. Write "
        "`earlier_change(model, ids, place, other)`: put the id `other` at position `place` of "
        "every sequence, and give the largest change, as an absolute value, of any logit at the positions *before* `place`. "
        "(`logits, _ = model(ids)` calls the model without targets.)"
    ),
    stub=EARLIER_STUB,
    solution=_earlier(f"{DIFFERENCE}[:, :place].abs().max().item()"),
    hints=(
        "Make a copy of the ids with `.clone()`, set one column of it, and call the model twice.",
        "The logits are (B, T, V). The positions before `place` are `[:, :place]`. Subtract, take `.abs()`, then the largest.",
    ),
    check=check_earlier_change,
    wrong=(
        Wrong("everywhere", _earlier(f"{DIFFERENCE}.abs().max().item()")),
        Wrong("place included", _earlier(f"{DIFFERENCE}[:, :place + 1].abs().max().item()")),
        Wrong("later ones", _earlier(f"{DIFFERENCE}[:, place:].abs().max().item()")),
        Wrong("just before", _earlier(f"{DIFFERENCE}[:, place - 1].abs().max().item()")),
        Wrong("mean", _earlier(f"{DIFFERENCE}[:, :place].abs().mean().item()")),
        Wrong("signed", _earlier(f"{DIFFERENCE}[:, :place].max().item()")),
        Wrong("first sequence", _earlier(f"{DIFFERENCE}[0, :place].abs().max().item()")),
        Wrong(
            "not seen",
            _earlier(
                f"{DIFFERENCE}[:, :place].abs().max().item()",
                "    changed = ids\n    changed[:, place] = other\n",
            ),
        ),
        Wrong("a tensor", _earlier(f"{DIFFERENCE}[:, :place].abs().amax(dim=(0, 2))")),
    ),
)

# --- clip_gradients ---

CLIP_STUB = '''def clip_gradients(gradients, limit):
    """The gradients, shortened by one common factor where their length together is above `limit`.

    gradients: a list of tensors of any shapes    limit: a positive number    returns: a list of tensors like them
    """
    ...
'''
LENGTH = "    length = torch.sqrt(sum((g**2).sum() for g in gradients))\n"


def _clip(body: str) -> str:
    return filled(CLIP_STUB, body)


def check_clip_gradients(answer) -> None:
    dice = torch.Generator().manual_seed(12)
    shapes, sizes = ((2, 3), (4,), (3, 2)), (2.0, 0.2, 1.2)
    gradients = [size * torch.randn(shape, generator=dice) for shape, size in zip(shapes, sizes, strict=True)]
    limit = 1.5
    length = torch.stack([g.square().sum() for g in gradients]).sum().sqrt().item()

    def times(*factors: float) -> list[torch.Tensor]:
        factors = factors * 3 if len(factors) == 1 else factors
        return [f * g for f, g in zip(factors, gradients, strict=True)]

    lengths = [g.norm().item() for g in gradients]
    flat = torch.cat([g.flatten() for g in gradients])  # (N,)
    named = {
        "each by itself": (
            times(*(min(1.0, limit / each) for each in lengths)),
            "you shorten each tensor by itself. That turns the step in another direction; one length for all of them together "
            "and one factor leave the direction as it is.",
        ),
        "each number": (
            [g.clamp(-limit, limit) for g in gradients],
            "you cut off each number at the limit. That bends the direction; one factor for all of them does not.",
        ),
        "length 1": (
            times(1 / length),
            "your gradients have the length 1 together, whatever the limit is.",
        ),
        "sum of lengths": (
            times(limit / sum(lengths)),
            "you add the lengths of the tensors. The length of all together is the root of the sum of all squares.",
        ),
        "no root": (
            times(limit / length**2),
            "you divide by the sum of the squares. The length is its root.",
        ),
        "mean square": (
            times(limit / flat.square().mean().sqrt().item()),
            "you divide by the root of the *mean* of the squares. The length takes their sum.",
        ),
        "largest": (
            times(limit / flat.abs().max().item()),
            "you measure with the largest number. The length is the root of the sum of all squares.",
        ),
        "absolute sum": (
            times(limit / flat.abs().sum().item()),
            "you add absolute values. The length is the root of the sum of all squares.",
        ),
        "upside down": (
            times(length / limit),
            "your factor is upside down: the gradients get longer. It must bring `length` down to `limit`.",
        ),
        "not shortened": (
            gradients,
            "your gradients are longer than the limit, and come back as they are.",
        ),
    }
    got = call(answer, gradients, limit)
    if not isinstance(got, (list, tuple)) or len(got) != 3:
        raise NotYet("type", f"a list of 3 tensors is asked for; your function gives {in_words(got)}.")
    for key, (tensors, message) in named.items():
        if all(is_near(one, other) for one, other in zip(got, tensors, strict=True)):
            raise NotYet(key, message)
    for number, (one, other) in enumerate(zip(got, times(limit / length), strict=True)):
        same(one, other, tolerance=1e-4, what=f"gradient {number}")
    short = [0.05 * g for g in gradients]
    calm = call(answer, short, limit)
    if all(is_near(one, other) for one, other in zip(calm, times(limit / length), strict=True)):
        raise NotYet(
            "always",
            "a gradient that is shorter than the limit is made longer. It should come back as it is.",
        )
    for number, (one, other) in enumerate(zip(calm, short, strict=True)):
        same(one, other, tolerance=1e-4, what=f"gradient {number} of gradients within the limit")


CLIP_GRADIENTS = Exercise(
    name="clip_gradients",
    title="Clip the gradients",
    difficulty="medium",
    minutes=7,
    statement=(
        "All gradients of a model together are one long list of numbers, and its **length** is the root of the sum of all "
        "their squares. Write `clip_gradients(gradients, limit)`: where that length is above `limit`, every gradient is "
        "multiplied by one common factor, so that the length becomes `limit`; otherwise they stay as they are. Return new "
        "tensors. (`torch.nn.utils.clip_grad_norm_` does it in place, and `train` calls that.)"
    ),
    stub=CLIP_STUB,
    solution=_clip(
        f"{LENGTH}    factor = min(1.0, limit / length)\n    return [factor * g for g in gradients]\n"
    ),
    hints=(
        "First one number: add up `(g ** 2).sum()` over all gradients, and take the root.",
        "The factor is limit / length where that is below 1, and 1 otherwise: `min(1.0, ...)`.",
    ),
    check=check_clip_gradients,
    wrong=(
        Wrong("each by itself", _clip("    return [min(1.0, limit / g.norm()) * g for g in gradients]\n")),
        Wrong("each number", _clip("    return [g.clamp(-limit, limit) for g in gradients]\n")),
        Wrong("always", _clip(f"{LENGTH}    return [limit / length * g for g in gradients]\n")),
        Wrong("length 1", _clip(f"{LENGTH}    return [g / length for g in gradients]\n")),
        Wrong(
            "sum of lengths",
            _clip(
                "    length = sum(g.norm() for g in gradients)\n"
                "    return [min(1.0, limit / length) * g for g in gradients]\n"
            ),
        ),
        Wrong(
            "no root",
            _clip(
                "    length = sum((g**2).sum() for g in gradients)\n"
                "    return [min(1.0, limit / length) * g for g in gradients]\n"
            ),
        ),
        Wrong(
            "largest",
            _clip(
                "    length = max(g.abs().max() for g in gradients)\n"
                "    return [limit / length * g for g in gradients]\n"
            ),
        ),
        Wrong(
            "absolute sum",
            _clip(
                "    length = sum(g.abs().sum() for g in gradients)\n"
                "    return [min(1.0, limit / length) * g for g in gradients]\n"
            ),
        ),
        Wrong(
            "upside down", _clip(f"{LENGTH}    return [max(1.0, length / limit) * g for g in gradients]\n")
        ),
        Wrong(
            "not shortened",
            _clip(
                f"{LENGTH}    factor = max(1.0, limit / length)\n    return [factor * g for g in gradients]\n"
            ),
        ),
    ),
)

# --- best_step ---

BEST_STUB = '''def best_step(history):
    """The step whose weights are worth keeping.

    history: a list of dicts with "step", "train" and "validation" (losses), in the order of the steps
    returns: a step; where two are equally good, the earlier one
    """
    ...
'''


def _best(expression: str) -> str:
    return filled(BEST_STUB, f"    return {expression}\n")


HISTORY = [
    {"step": 0, "train": 4.31, "validation": 4.30},
    {"step": 40, "train": 2.52, "validation": 2.61},
    {"step": 80, "train": 2.24, "validation": 2.40},
    {"step": 120, "train": 2.05, "validation": 2.43},  # up once, and down again
    {"step": 160, "train": 1.83, "validation": 2.31},
    {"step": 200, "train": 1.52, "validation": 2.31},
    {"step": 240, "train": 1.10, "validation": 2.66},
    {"step": 280, "train": 1.13, "validation": 2.70},
]


def check_best_step(answer) -> None:
    got = call(answer, HISTORY)
    if isinstance(got, dict):
        raise NotYet("whole entry", 'that is the whole entry. Its "step" is asked for.')
    value = one_number(got, "a step")
    named = {
        "training loss": (
            240,
            "there the *training* loss is lowest. What is learnt by heart does not help with new text: which loss tells?",
        ),
        "last": (280, "there the training ended. Was every step up to then an improvement?"),
        "the loss": (2.31, "that is the lowest validation loss. At which step was it reached?"),
        "its place": (4, "that is its place in the list. The step stands in the entry."),
        "first rise": (
            80,
            "you stop at the first rise. A measured loss goes up and down a little: it may fall again, as it does here.",
        ),
        "later of two": (200, "two steps are equally good. The earlier one is asked for."),
        "smallest gap": (
            0,
            "there the two losses are closest, because nothing has been learnt yet. A small gap is no aim in itself.",
        ),
    }
    for key, (number, message) in named.items():
        if abs(value - number) < 1e-9:
            raise NotYet(key, message)
    same(int(value), 160, what="the step")
    fallen = [{**entry, "validation": entry["train"] + 0.1} for entry in HISTORY]
    same(
        int(one_number(call(answer, fallen), "a step")),
        240,
        what="the step where the validation loss only fell",
    )


BEST_STEP = Exercise(
    name="best_step",
    title="When to stop",
    difficulty="easy",
    minutes=3,
    statement=(
        "Write `best_step(history)`. The history is that of `train`: a list with a dict for each evaluation, such as "
        '`{"step": 150, "train": 2.38, "validation": 2.40}`. Give the step whose weights you would keep. There '
        "are two losses to go by: which of them tells?"
    ),
    stub=BEST_STUB,
    solution=_best('min(history, key=lambda entry: entry["validation"])["step"]'),
    hints=(
        "Weights are worth what they can do with text that they were not trained on.",
        '`min(history, key=lambda entry: entry["validation"])` finds the entry; of equals, `min` takes the first.',
    ),
    check=check_best_step,
    wrong=(
        Wrong("training loss", _best('min(history, key=lambda entry: entry["train"])["step"]')),
        Wrong("last", _best('history[-1]["step"]')),
        Wrong("the loss", _best('min(entry["validation"] for entry in history)')),
        Wrong("whole entry", _best('min(history, key=lambda entry: entry["validation"])')),
        Wrong(
            "its place",
            filled(
                BEST_STUB,
                '    losses = [entry["validation"] for entry in history]\n    return losses.index(min(losses))\n',
            ),
        ),
        Wrong(
            "first rise",
            filled(
                BEST_STUB,
                "    for before, after in zip(history, history[1:]):\n"
                '        if after["validation"] > before["validation"]:\n'
                '            return before["step"]\n'
                '    return history[-1]["step"]\n',
            ),
        ),
        Wrong("later of two", _best('min(reversed(history), key=lambda entry: entry["validation"])["step"]')),
        Wrong(
            "smallest gap",
            _best('min(history, key=lambda entry: abs(entry["validation"] - entry["train"]))["step"]'),
        ),
    ),
)

EXERCISES = [EMBED_IDS, COUNT_PARAMETERS, EARLIER_CHANGE, CLIP_GRADIENTS, BEST_STEP]
