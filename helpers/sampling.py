"""Let a model write: one token after the other.

    ids = generate(model, start, max_new_tokens=200, temperature=0.8, seed=1)    # start: (B, T)
    print(complete(model, tokenizer, "Once", 200, seed=1))

Introduced by notebooks 05 and 14 (sections 29, 68 and 69 of the lecture).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from helpers.tokenizer import CharTokenizer, Tokenizer
from helpers.training import device_of


def next_token_probabilities(
    logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> torch.Tensor:
    """Probabilities of the next token from its logits, both (B, V).

    temperature: below 1 bolder, above 1 wilder, 0 = all weight on the largest logit.
    top_k: only the k most likely tokens; a k above V means all of them.
    top_p: only the smallest set of most likely tokens with at least this probability (Holtzman et al. 2019).
    """
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ValueError(
            f"temperature={temperature}, but it is 0 (always the likeliest) or a positive number"
        )
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise ValueError(f"top_k={top_k!r}, but it is a whole number of at least 1, or None for all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p}, but it is above 0 and at most 1, or None for all tokens")
    logits = logits.float()
    V = logits.shape[-1]
    if temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), V).float()  # (B, V)
    logits = logits - logits.max(dim=-1, keepdim=True).values  # at most 0: a tiny temperature cannot overflow
    probabilities = F.softmax(logits / max(temperature, 1e-6), dim=-1)  # (B, V)
    if top_k is not None and top_k < V:
        least = probabilities.topk(top_k, dim=-1).values[:, -1:]  # (B, 1)
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    if top_p is not None and top_p < 1:
        ordered, places = probabilities.sort(dim=-1, descending=True)  # (B, V)
        before = ordered.cumsum(dim=-1) - ordered  # probability of all likelier tokens
        ordered = ordered.masked_fill(before >= top_p * probabilities.sum(dim=-1, keepdim=True), 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, places, ordered)
    return probabilities / probabilities.sum(dim=-1, keepdim=True)


@torch.no_grad()
def generate(
    model: nn.Module,
    ids: torch.Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> torch.Tensor:
    """Append `max_new_tokens` sampled tokens to `ids`.

    ids: (B, T) int64, T >= 1. Returns (B, T + max_new_tokens) on the device of `ids`.
    The model sees the last block_size tokens. It runs in eval mode without gradients, and its mode is restored.
    seed: for a sample that can be repeated; None continues PyTorch's global random state.
    """
    if ids.ndim != 2 or ids.shape[1] == 0:
        raise ValueError(
            f"ids have the shape {tuple(ids.shape)}, but generation starts from (B, T) with T >= 1"
        )
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens={max_new_tokens!r}, but it is a whole number of at least 0")
    block_size = getattr(getattr(model, "config", None), "block_size", ids.shape[1] + max_new_tokens)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    device, was_training = device_of(model), model.training
    home, ids = ids.device, ids.to(device)
    model.eval()
    try:
        for _ in range(max_new_tokens):
            logits, _ = model(ids[:, -block_size:])  # (B, T, V)
            probabilities = next_token_probabilities(logits[:, -1, :], temperature, top_k, top_p)  # (B, V)
            # Drawn on the CPU, so that one seed means the same draws on every device.
            new = torch.multinomial(probabilities.cpu(), num_samples=1, generator=generator)  # (B, 1)
            ids = torch.cat([ids, new.to(device)], dim=1)  # (B, T+1)
        return ids.to(home)
    finally:
        model.train(was_training)


def complete(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: str,
    max_new: int,
    *,
    unknown: str = "strict",
    **options,
) -> str:
    """`prompt` and its continuation as text; options as for `generate`.

    An empty prompt starts from a newline, as at the beginning of a line (else from the first character of the
    vocabulary); that character is not part of the result. unknown: as of CharTokenizer.encode; byte pairs know all.
    """
    start, options_of_encode = prompt or "\n", {}
    if isinstance(tokenizer, CharTokenizer):
        options_of_encode = {"unknown": unknown}
        start = prompt or ("\n" if "\n" in tokenizer.characters else tokenizer.characters[0])
    ids = torch.from_numpy(tokenizer.encode(start, **options_of_encode)).unsqueeze(0)  # (1, T)
    new = generate(model, ids, max_new, **options)[0, ids.shape[1] :]  # (max_new,)
    return prompt + tokenizer.decode(new)
