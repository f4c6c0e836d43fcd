"""The lecture's own ways of doing things, kept as baselines: `python -m helpers.bench` measures ours against them.

Each gives the same result as the form that the course ends with, from the same weights, text and random numbers
(tests/test_lecture_forms.py), so that a ratio compares two ways to do one thing. Sections 8, 13, 29, 44 to 46 of the lecture.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from helpers.gpt import GPTLanguageModel


def encode_by_dictionary(text: str, characters: str) -> list[int]:
    """Ids of a text, one look into a dictionary for each character. As CharTokenizer.encode."""
    ids = {character: i for i, character in enumerate(characters)}
    return [ids[character] for character in text]


def get_batch_by_list(
    ids: torch.Tensor, block_size: int, batch_size: int, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows cut out one by one and stacked: x and y, (B, T) each. As helpers.batches.get_batch."""
    starts = torch.randint(len(ids) - block_size, (batch_size,), generator=generator)  # (B,)
    x = torch.stack([ids[i : i + block_size] for i in starts])  # (B, T)
    y = torch.stack([ids[i + 1 : i + block_size + 1] for i in starts])  # (B, T)
    return x, y


@torch.no_grad()
def generate_by_cropping(
    model: nn.Module, ids: torch.Tensor, max_new_tokens: int, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Read the whole window again for each new token. ids: (B, T). Returns (B, T + max_new_tokens).

    As helpers.sampling.generate(model, ids, max_new_tokens, cache=None), for a model in eval mode.
    """
    for _ in range(max_new_tokens):
        logits, _ = model(ids[:, -model.config.block_size :])  # (B, T, V)
        probabilities = F.softmax(logits[:, -1], dim=-1)  # (B, V)
        new = torch.multinomial(probabilities, num_samples=1, generator=generator)  # (B, 1)
        ids = torch.cat([ids, new], dim=1)  # (B, T + 1)
    return ids


def with_looped_heads(model: GPTLanguageModel) -> GPTLanguageModel:
    """The same model with its heads one after the other, and copies of its weights. model: with batched heads."""
    looped = GPTLanguageModel(replace(model.config, looped_heads=True))
    weights = {}
    for name, value in model.state_dict().items():
        if ".sa.qkv." not in name:
            weights[name] = value
            continue
        block, kind = name.split(".sa.qkv.")
        shares = value.chunk(3 * model.config.n_head)  # queries of all heads, then keys, then values
        places = [
            f"{block}.sa.heads.{head}.{part}.{kind}"
            for part in ("query", "key", "value")
            for head in range(model.config.n_head)
        ]
        weights |= dict(zip(places, shares, strict=True))
    looped.load_state_dict(weights)
    return looped.to(next(model.parameters())).train(model.training)
