"""Let a model write: one token after the other.

    ids = generate(model, start, max_new_tokens=200, temperature=0.8, seed=1)    # start: (B, T)
    print(complete(model, tokenizer, "Once", 200, seed=1, stop="\\n\\n"))              # to the end of the paragraph
    for piece in stream(model, tokenizer, "Once", 200):                               # the same, as it is written
        print(piece, end="", flush=True)

Introduced by notebooks 05 and 14 (sections 29, 68 and 69 of the lecture).
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from helpers.cache import KeyValueCache, Step, can_cache, can_step, forward_cached
from helpers.losses import device_of
from helpers.streaming import check_stops, pieces, until
from helpers.tokenizer import CharTokenizer, Tokenizer


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raises ValueError for settings that `next_token_probabilities` cannot follow; says which and what they can be."""
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ValueError(
            f"temperature={temperature}, but it is 0 (always the likeliest) or a positive number"
        )
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise ValueError(f"top_k={top_k!r}, but it is a whole number of at least 1, or None for all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p}, but it is above 0 and at most 1, or None for all tokens")


def next_token_probabilities(
    logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> torch.Tensor:
    """Probabilities of the next token from its logits, both (B, V).

    temperature: below 1 the likelier tokens get more, above 1 the unlikely ones do, 0 = all weight on the largest logit.
    top_k: only the k most likely tokens; a k above V means all of them.
    top_p: only the smallest set of most likely tokens with at least this probability (Holtzman et al. 2019).
    """
    check_sampling(temperature, top_k, top_p)
    logits = logits.float()
    V = logits.shape[-1]
    if temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), V).float()  # (B, V)
    logits = logits - logits.max(dim=-1, keepdim=True).values  # at most 0: a tiny temperature cannot overflow
    probabilities = F.softmax(logits / max(temperature, 1e-6), dim=-1)  # (B, V)
    if (top_k is None or top_k >= V) and (top_p is None or top_p == 1):
        return probabilities
    if top_k is not None and top_k < V:
        least = probabilities.topk(top_k, dim=-1).values[:, -1:]  # (B, 1)
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    if top_p is not None and top_p < 1:
        ordered, places = probabilities.sort(dim=-1, descending=True)  # (B, V)
        before = ordered.cumsum(dim=-1) - ordered  # probability of all likelier tokens
        ordered = ordered.masked_fill(before >= top_p * probabilities.sum(dim=-1, keepdim=True), 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, places, ordered)
    return probabilities / probabilities.sum(dim=-1, keepdim=True)


def check_ids(ids: torch.Tensor, max_new_tokens: int) -> None:
    """Raises ValueError where generation cannot start from these."""
    if ids.ndim != 2 or ids.shape[1] == 0:
        raise ValueError(
            f"ids have the shape {tuple(ids.shape)}, but generation starts from (B, T) with T >= 1"
        )
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens={max_new_tokens!r}, but it is a whole number of at least 0")


class Reader:
    """Reads a growing text with a model and gives the logits of its next token. `cache` and `stride`: as of `generate`.

    It reads the tokens from `start` on, at most block_size of them. When there are more, `start` moves.
    """

    def __init__(self, model: nn.Module, cache: str | None = "exact", stride: int | None = None):
        if cache not in ("exact", "stride", None):
            raise ValueError(f'cache={cache!r}, but it is "exact", "stride" or None')
        if stride is not None and cache != "stride":
            raise ValueError(f'stride={stride!r} is for cache="stride", but cache={cache!r}')
        self.model, self.start = model, 0
        self.block_size = getattr(getattr(model, "config", None), "block_size", math.inf)
        self.stride = 1 if cache != "stride" else stride
        if self.stride is None:
            self.stride = 1 if self.block_size == math.inf else max(1, self.block_size // 2)
        if isinstance(self.stride, bool) or not isinstance(self.stride, int) or self.stride < 1:
            raise ValueError(f"stride={stride!r}, but it is a whole number of at least 1")
        if self.stride > self.block_size:
            raise ValueError(
                f"stride={stride}, but the window has only block_size={self.block_size} tokens to drop"
            )
        # Coarser numbers than float32 round so much that the likeliest token could be another one with the cache.
        fine = cache == "stride" or next(model.parameters()).dtype.itemsize >= 4
        usable = cache is not None and fine and can_cache(model)
        self.cache = KeyValueCache(self.block_size) if usable else None
        self.step = Step(model) if usable and can_step(model) else None

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """ids: (B, T), those of the last call and what was added. Returns the logits of the next token, (B, V)."""
        T = ids.shape[1]
        if T - self.start > self.block_size:
            # A first window is full; then `stride` tokens go at a time, the oldest.
            self.start = max(T - self.block_size, self.start + self.stride)
            if self.cache is not None:
                self.cache.reset()
        if self.cache is None or (self.stride == 1 and self.start > 0):  # a window that moves at every step
            return self.model(ids[:, self.start :])[0][:, -1]  # (B, V)
        new = ids[:, self.start + self.cache.length :]  # (B, T_new)
        if self.step is not None and new.shape[1] == 1 and self.cache.length > 0:
            return self.step(new, self.cache)  # (B, V)
        return forward_cached(self.model, new, self.cache)[:, -1]  # (B, V)


@torch.no_grad()
def tokens(
    model: nn.Module,
    ids: torch.Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    cache: str | None = "exact",
    stride: int | None = None,
) -> Iterator[torch.Tensor]:
    """The new tokens of `generate`, each (B, 1) as soon as it is drawn. Closing the iterator restores the model's mode."""
    check_ids(ids, max_new_tokens)
    read = Reader(model, cache, stride)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    device, was_training = device_of(model), model.training
    home, ids = ids.device, ids.to(device)
    model.eval()
    try:
        for _ in range(max_new_tokens):
            logits = read(ids)  # (B, V)
            probabilities = next_token_probabilities(logits, temperature, top_k, top_p)  # (B, V)
            # Drawn on the CPU, so that one seed means the same draws on every device.
            new = torch.multinomial(probabilities.cpu(), num_samples=1, generator=generator)  # (B, 1)
            ids = torch.cat([ids, new.to(device)], dim=1)  # (B, T+1)
            yield new.to(home)
    finally:
        model.train(was_training)


def generate(
    model: nn.Module,
    ids: torch.Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    cache: str | None = "exact",
    stride: int | None = None,
) -> torch.Tensor:
    """Append `max_new_tokens` sampled tokens to `ids`.

    ids: (B, T) int64, T >= 1. Returns (B, T + max_new_tokens) on the device of `ids`.
    The model sees the last block_size tokens. It runs in eval mode without gradients, and its mode is restored.
    seed: for a sample that can be repeated; None continues PyTorch's global random state.

    cache: what is kept from step to step. Up to block_size tokens all three give the same tokens (in float32); "exact" and
    "stride" then work on one new token a step, None on the whole text. Past block_size, where the window moves:
        "exact"   by one token at every step. Each step reads block_size tokens: slow, and the same text as with None.
        "stride"  by `stride` tokens when it is full (half of block_size, if not given). One step in `stride` reads the
                  rest of the window, the others one token: fast, but the model sees between block_size - stride + 1
                  and block_size tokens, so the text may be another.
    A model that no cache fits (helpers.cache.can_cache) gives the same tokens, and reads its whole window at each step.
    """
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    new = tokens(model, ids, max_new_tokens, **options, cache=cache, stride=stride)  # (B, 1) each
    return torch.cat([ids, *new], dim=1)  # (B, T + max_new_tokens)


def stream(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: str,
    max_new: int,
    *,
    stop: str | Sequence[str] = (),
    unknown: str = "strict",
    **options,
) -> Iterator[str]:
    """The text that follows `prompt`, in pieces as the model writes them; the prompt itself is not among them.

    A piece is what one token adds: whole characters only. max_new: tokens at most. Options as for `generate`; the prompt
    is handled as by `complete`. Errors come at once, before the first piece is asked for.
    stop: the text ends before the first of these texts that the model writes, and no part of one is shown: what could be
    the beginning of one is held back until it is clear. END_OF_TEXT is always among them.
    Closing the iterator early restores the model's mode.
    """
    stops = check_stops(stop)
    start, options_of_encode = prompt or "\n", {}
    if isinstance(tokenizer, CharTokenizer):
        options_of_encode = {"unknown": unknown}
        start = prompt or ("\n" if "\n" in tokenizer.characters else tokenizer.characters[0])
    ids = torch.from_numpy(tokenizer.encode(start, **options_of_encode)).unsqueeze(0)  # (1, T)
    check_ids(ids, max_new)
    Reader(model, options.get("cache", "exact"), options.get("stride"))  # raises for what cannot work
    check_sampling(options.get("temperature", 1.0), options.get("top_k"), options.get("top_p"))
    return until(stops, pieces(tokenizer, tokens(model, ids, max_new, **options)))


def complete(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: str,
    max_new: int,
    *,
    stop: str | Sequence[str] = (),
    unknown: str = "strict",
    **options,
) -> str:
    """`prompt` and its continuation as text; options as for `generate`, stop as for `stream`.

    An empty prompt starts from a newline, as at the beginning of a line (else from the first character of the
    vocabulary); that character is not part of the result. unknown: as of CharTokenizer.encode; byte pairs know all.
    """
    return prompt + "".join(stream(model, tokenizer, prompt, max_new, stop=stop, unknown=unknown, **options))
