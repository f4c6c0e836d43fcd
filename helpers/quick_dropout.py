"""Dropout with cheap random numbers, for training on a CPU, where drawing them takes a third of a step.

    with quick_dropout(model):                  # as long as this lasts, the model's dropout is the quick one
        logits, loss = model(x, y)

PyTorch draws one random number for each value that may be dropped (Srivastava et al. 2014). Here a draw of 64 bits serves
four values: 16 bits say whether a value stays. So a share of 0.2 is kept to a hundred-thousandth, and all else is as usual:
what stays is divided by the share that stays. Attention with dropout is written out, as in notebook 08, since PyTorch's
fused form has the slow draw inside. `helpers.training.train` uses it by itself.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from helpers.gpt import MultiHeadAttention

FINEST = 2**-16  # what 16 bits can tell apart; a share nearer to 0 or to 1 is left to PyTorch


def kept(shape: torch.Size | tuple[int, ...], dropout: float) -> torch.Tensor:
    """Which values stay: a bool tensor of this shape on the CPU, each True with probability 1 - dropout."""
    count = math.prod(shape)
    bits = torch.empty((count + 3) // 4, dtype=torch.int64, device="cpu").random_(-(2**63), None)
    numbers = bits.view(torch.int16)[:count]  # each from -32,768 to 32,767, all equally likely
    return (numbers >= min(round(2**16 * dropout) - 2**15, 2**15 - 1)).view(shape)


class QuickDropout(nn.Dropout):
    """nn.Dropout with cheap random numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: any shape. Returns the same shape."""
        if not self.training or not FINEST <= self.p <= 1 - FINEST or x.device.type != "cpu":
            return super().forward(x)
        return x * kept(x.shape, self.p).to(x.dtype).div_(1 - self.p)


class QuickAttention(MultiHeadAttention):
    """MultiHeadAttention with the dropout of its weights drawn cheaply."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, n_embd)."""
        if not self.training or not FINEST <= self.attention_dropout <= 1 - FINEST or x.device.type != "cpu":
            return super().forward(x)
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)  # (B, T, 3, n_head, head_size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, n_head, T, head_size) each
        later = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)  # (T, T)
        with torch.autocast(
            "cpu", enabled=False
        ):  # scores and softmax in float32, as PyTorch's own form has them
            scores = (
                query.float() * key.shape[-1] ** -0.5 @ key.float().transpose(-2, -1)
            )  # (B, n_head, T, T)
            weights = F.softmax(scores.masked_fill_(later, float("-inf")), dim=-1).to(value.dtype)
            weights = weights * kept(scores.shape, self.attention_dropout)  # (B, n_head, T, T)
        x = weights @ (value / (1 - self.attention_dropout))  # (B, n_head, T, head_size)
        x = x.transpose(1, 2).reshape(B, T, C)  # (B, T, C)
        return self.dropout(self.proj(x))  # (B, T, C)


QUICK = {nn.Dropout: QuickDropout, MultiHeadAttention: QuickAttention}
PLAIN = {quick: plain for plain, quick in QUICK.items()}


@contextmanager
def quick_dropout(model: nn.Module) -> Iterator[None]:
    """Let the dropout of a model be the quick one. Parts of other classes than those of QUICK stay as they are."""
    changed = [
        part for part in model.modules() if type(part) in PLAIN or (type(part) in QUICK and part.training)
    ]
    try:
        for part in changed:
            part.__class__ = QUICK.get(type(part), type(part))
        yield
    finally:
        for part in changed:
            part.__class__ = PLAIN.get(type(part), type(part))
