"""Normalization by hand: numbers brought to mean 0 and size 1, then scaled and shifted by learnt numbers.

    norm = LayerNorm(64)
    y = norm(x)                                     # x, y: (B, T, 64)

Channels are the last axis, as everywhere in this course. Introduced by notebook 07 (section 35 of the lecture).
"""

import torch
from torch import nn


def check_channels(x: torch.Tensor, channels: int) -> None:
    """Raise ValueError unless the last axis of `x` has `channels` numbers."""
    if x.ndim == 0 or x.shape[-1] != channels:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, and this layer was made for {channels} channels in the last axis: "
            "move the channels there, or make the layer for as many as x has."
        )


class LayerNorm(nn.Module):
    """Each position by itself, over its channels (Ba, Kiros and Hinton 2016, arXiv 1607.06450)."""

    def __init__(self, channels: int, eps: float = 1e-5, device: torch.device | str | None = None):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, device=device))
        self.bias = nn.Parameter(torch.zeros(channels, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., C). Returns the same shape. Raises ValueError for another number of channels."""
        check_channels(x, len(self.weight))
        mean = x.mean(dim=-1, keepdim=True)  # (..., 1)
        variance = (x - mean).square().mean(dim=-1, keepdim=True)  # (..., 1)
        return (x - mean) / torch.sqrt(variance + self.eps) * self.weight + self.bias


class RMSNorm(nn.Module):
    """As LayerNorm without the mean and the shift (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, channels: int, eps: float = 1e-5, device: torch.device | str | None = None):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., C). Returns the same shape. Raises ValueError for another number of channels."""
        check_channels(x, len(self.weight))
        mean_square = x.square().mean(dim=-1, keepdim=True)  # (..., 1)
        return x / torch.sqrt(mean_square + self.eps) * self.weight


class BatchNorm1d(nn.Module):
    """Each channel by itself, over all rows of the batch (Ioffe and Szegedy 2015, arXiv 1502.03167).

    In train mode the statistics are those of the batch, and the running ones move by `momentum` towards them; in eval
    mode the running ones are used. Unlike nn.BatchNorm1d, which wants (B, C, T), the channels are the last axis.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels, device=device))
        self.bias = nn.Parameter(torch.zeros(channels, device=device))
        self.register_buffer("running_mean", torch.zeros(channels, device=device))
        self.register_buffer("running_var", torch.ones(channels, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, C) or (B, T, C). Returns the same shape.

        Raises ValueError for another number of channels, and in train mode for a single row, whose variance says nothing.
        """
        check_channels(x, len(self.weight))
        if self.training:
            rows = x.reshape(-1, len(self.weight))  # (B, T, C) → (N, C)
            n = len(rows)
            if n < 2:
                raise ValueError(
                    f"x has the shape {tuple(x.shape)}, {n} row for each channel: train mode needs at least 2. "
                    "Give a larger batch, or call .eval() first."
                )
            mean = rows.mean(dim=0)  # (C,)
            variance = (rows - mean).square().mean(dim=0)  # (C,), biased: this is what normalizes
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * n / (n - 1), self.momentum)  # unbiased: this is kept
        else:
            mean, variance = self.running_mean, self.running_var  # (C,) each
        return (x - mean) / torch.sqrt(variance + self.eps) * self.weight + self.bias
