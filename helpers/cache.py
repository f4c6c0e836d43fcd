"""A key/value cache: what a GPT has worked out for earlier tokens is kept, so that a new token costs one column.

    cache = KeyValueCache(model.config.block_size)
    logits = forward_cached(model, prompt, cache)    # (B, T, V): fills the cache
    logits = forward_cached(model, new, cache)       # (B, 1, V): only the new token is worked on

A causal model never changes what it worked out for a token when later ones come. So keys and values stay right as long
as no position changes: up to block_size tokens. Past that the window moves, each token gets another position, and the
cache is worth nothing any more: `reset` it and fill it anew.

Introduced by notebook 14 (section 69 of the lecture).
"""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.gpt import Block, FeedForward, GPTLanguageModel, MultiHeadAttention


class KeyValueCache:
    """Keys and values of the `length` tokens read so far, for each block of one model.

    block_size: tokens there is room for. The memory is taken once, when the first tokens come.
    """

    def __init__(self, block_size: int):
        self.block_size = block_size
        self.length = 0  # tokens read so far; the next one has this position
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # block -> (keys, values)

    def extend(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the keys and values of new tokens for one block; returns those of all tokens, old and new.

        key, value: (B, n_head, T_new, head_size). Returns two tensors (B, n_head, length + T_new, head_size).
        `length` itself grows when all blocks are done.
        """
        B, n_head, T, head_size = key.shape
        if layer not in self.kept:
            room = (B, n_head, self.block_size, head_size)
            self.kept[layer] = key.new_empty(room), value.new_empty(room)
        keys, values = self.kept[layer]  # (B, n_head, block_size, head_size) each
        end = self.length + T
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def check(self, B: int, T: int) -> None:
        """Raises ValueError where T new tokens of B texts do not fit."""
        if self.length + T > self.block_size:
            raise ValueError(
                f"the cache holds {self.length} tokens and {T} more would pass block_size={self.block_size}: "
                "cache.reset(), then read the last tokens anew"
            )
        if self.kept and len(self.kept[0][0]) != B:
            raise ValueError(
                f"the cache was filled with {len(self.kept[0][0])} texts at a time, but got {B}: take a new cache"
            )

    def reset(self) -> None:
        """Forget all tokens; the memory is used again."""
        self.length = 0


def attend_cached(sa: MultiHeadAttention, x: torch.Tensor, cache: KeyValueCache, layer: int) -> torch.Tensor:
    """What `sa(x)` gives for new tokens that also look at all tokens in the cache. x: (B, T_new, C), and so the result."""
    B, T, C = x.shape
    qkv = sa.qkv(x).view(B, T, 3, sa.n_head, C // sa.n_head)  # (B, T_new, 3, n_head, head_size)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, n_head, T_new, head_size) each
    keys, values = cache.extend(layer, key, value)  # (B, n_head, length + T_new, head_size) each
    # New token i stands at position length + i and sees itself and all before it. is_causal=True would let it see
    # positions 0 to i only: PyTorch lays its triangle from the top left corner. It is right for an empty cache alone.
    mask = None
    if T > 1 and cache.length > 0:
        mask = torch.ones(T, keys.shape[2], dtype=torch.bool, device=x.device).tril(cache.length)
    first = T > 1 and cache.length == 0
    x = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=first)
    return sa.proj(x.transpose(1, 2).reshape(B, T, C))  # (B, T_new, C)


def forward_cached(model: GPTLanguageModel, ids: torch.Tensor, cache: KeyValueCache) -> torch.Tensor:
    """Logits for new tokens, as `model` gives them for the whole text, to rounding.

    ids: (B, T_new) int64, the tokens that follow those in the cache; they are added to it. Returns (B, T_new, V).
    Raises ValueError where the cache would pass block_size, for another B than before, and for a model that drops
    values at random: the cache is for model.eval().
    """
    if model.training and model.config.dropout > 0:
        raise ValueError("the model is in training mode and drops values at random: call model.eval() first")
    B, T = ids.shape
    cache.check(B, T)
    positions = torch.arange(cache.length, cache.length + T, device=ids.device)  # (T_new,)
    x = model.token_embedding_table(ids) + model.position_embedding_table(positions)  # (B, T_new, C)
    for layer, block in enumerate(model.blocks):
        x = x + attend_cached(block.sa, block.ln1(x), cache, layer)  # (B, T_new, C)
        x = x + block.ffwd(block.ln2(x))  # (B, T_new, C)
    cache.length += T
    return model.lm_head(model.ln_f(x))  # (B, T_new, V)


def can_cache(model: nn.Module) -> bool:
    """Whether `forward_cached` does for this model what calling it does.

    That is so for a GPTLanguageModel with its own forward and batched heads. It is not for other classes (a bigram),
    for looped heads, and where hooks wait for calls of the parts that the cache goes around.
    """
    if type(model).forward is not GPTLanguageModel.forward:
        return False
    blocks = list(model.blocks)
    if not all(type(block) is Block and type(block.sa) is MultiHeadAttention for block in blocks):
        return False
    # What is no dropout must not be passed by, and another table may look at earlier tokens.
    drops = [model.dropout, *(block.sa.dropout for block in blocks)]
    tables = [model.token_embedding_table, model.position_embedding_table]
    if not all(type(drop) is nn.Dropout for drop in drops) or not all(
        type(t) is nn.Embedding for t in tables
    ):
        return False
    passed_by = [model, model.blocks, *drops, *blocks, *(block.sa for block in blocks)]
    return not any(_is_watched(part) for part in passed_by)


def _is_watched(part: nn.Module) -> bool:
    """Whether a hook waits for calls of this part, or its forward was replaced."""
    return bool(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))


class Step:
    """`forward_cached` for one new token of each text, in about half the time for a small model.

    There a call of a module costs as much as its arithmetic. So the weights are taken out of the modules once, and all that
    is left is the arithmetic itself, without any record for a gradient. For a model for which `can_step` is true.
    """

    def __init__(self, model: GPTLanguageModel):
        def numbers(part: nn.Module) -> tuple:
            return (part.weight, part.bias, *([part.eps] if isinstance(part, nn.LayerNorm) else []))

        self.n_head, self.n_embd = model.config.n_head, model.config.n_embd
        self.embed, self.positions = model.token_embedding_table, model.position_embedding_table.weight
        self.blocks = [
            (*map(numbers, (block.ln1, block.sa.qkv, block.sa.proj, block.ln2, block.ffwd.net[0], block.ffwd.net[2])),
             block.ffwd.net[1].forward)
            for block in model.blocks
        ]  # fmt: skip
        self.ln_f, self.lm_head = numbers(model.ln_f), numbers(model.lm_head)

    def __call__(self, ids: torch.Tensor, cache: KeyValueCache) -> torch.Tensor:
        """ids: (B, 1) int64, the token that follows those in the cache, which has at least one. Returns logits (B, V)."""
        with torch.inference_mode():
            logits = self._logits(ids, cache)  # (B, V)
        return logits.clone()  # an ordinary tensor again

    def _logits(self, ids: torch.Tensor, cache: KeyValueCache) -> torch.Tensor:
        B, at, shape = len(ids), cache.length, (self.n_embd,)
        cache.check(B, 1)
        x = self.embed(ids[:, 0]) + self.positions[at]  # (B, C)
        for (ln1, qkv, proj, ln2, up, down, bend), (keys, values) in zip(
            self.blocks, cache.kept.values(), strict=True
        ):
            new = F.linear(torch.layer_norm(x, shape, *ln1), *qkv)  # (B, 3C)
            query, key, value = new.view(B, 3, self.n_head, -1).unbind(1)  # (B, n_head, head_size) each
            keys.select(2, at).copy_(key)
            values.select(2, at).copy_(value)
            mixed = F.scaled_dot_product_attention(
                query.unsqueeze(2), keys.narrow(2, 0, at + 1), values.narrow(2, 0, at + 1)
            )  # (B, n_head, 1, head_size)
            x = x + F.linear(mixed.reshape(B, self.n_embd), *proj)  # (B, C)
            wide = F.linear(torch.layer_norm(x, shape, *ln2), *up)  # (B, 4C)
            x = x + F.linear(bend(wide), *down)  # (B, C)
        cache.length += 1
        return F.linear(torch.layer_norm(x, shape, *self.ln_f), *self.lm_head)  # (B, V)


def can_step(model: nn.Module) -> bool:
    """Whether `Step` does for this model what `forward_cached` does: every part is PyTorch's own, in its place, and unwatched."""
    if not can_cache(model):
        return False
    parts = [(model.ln_f, nn.LayerNorm), (model.lm_head, nn.Linear)]  # each with the class that it must have
    for block in model.blocks:
        net = getattr(block.ffwd, "net", ())
        if type(block.ffwd) is not FeedForward or len(net) != 4:
            return False
        parts += [(block.ln1, nn.LayerNorm), (block.sa.qkv, nn.Linear), (block.sa.proj, nn.Linear)]
        parts += [(block.ln2, nn.LayerNorm), (block.ffwd, FeedForward), (net, nn.Sequential)]
        bend = type(net[1]) if type(net[1]) in (nn.ReLU, nn.GELU) else None
        parts += zip(net, (nn.Linear, bend, nn.Linear, nn.Dropout), strict=True)
    return all(type(part) is kind and not _is_watched(part) for part, kind in parts)
