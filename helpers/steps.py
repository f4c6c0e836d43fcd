"""What a step of training is made of: its batch, its learning rate, its gradient, its optimizers.

    rates = [learning_rate_at(step, 1000, peak=3e-3, warmup=50) for step in range(1000)]
    optimizers = make_optimizers(model, "adamw", 3e-3, weight_decay=0.1, betas=(0.9, 0.99))

`helpers.training.train` puts them together. Introduced by notebooks 06 and 10 (sections 28, 32 and 55 of the lecture).
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from helpers.batches import TokenFile, get_batch
from helpers.losses import device_of
from helpers.optimizers import Muon


def learning_rate_at(step: int, steps: int, peak: float, warmup: int = 0, final: float = 0.0) -> float:
    """Learning rate of step 0, 1, ... steps-1: a linear warm-up to `peak`, then half a cosine down to `final`.

    The first step already has the rate peak / (warmup + 1), never 0.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * min(1.0, progress)))


def draw_batch(
    ids: torch.Tensor | TokenFile, block_size: int, batch_size: int, generator: torch.Generator, device: torch.device,
    starts: torch.Tensor | None, aligned: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """A batch as of `get_batch`, of which the first `aligned` windows begin at one of `starts`."""
    if not aligned:
        return get_batch(ids, block_size, batch_size, generator, device)
    parts = [get_batch(ids, block_size, aligned, generator, device, starts)]
    if aligned < batch_size:
        parts.append(get_batch(ids, block_size, batch_size - aligned, generator, device))
    x, y = (torch.cat(part) for part in zip(*parts, strict=True))
    return x, y  # (B, T) each


def window_parts(step: int, steps: int, short_first: float) -> int:
    """Into how many parts the windows of this step are cut: 4, then 2 over the share `short_first` of the steps, then 1."""
    if step >= short_first * steps:
        return 1
    return 4 if step < short_first * steps / 2 else 2


def make_optimizers(
    model: nn.Module,
    name: str,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    momentum: float = 0.95,
) -> list[torch.optim.Optimizer]:
    """The optimizers of all parameters, each group with its `peak` rate.

    "adamw": AdamW, weight decay on matrices only. "muon": Muon (Jordan et al. 2024) with this momentum, at ten times the
    rate, for the matrices inside the blocks, AdamW for the rest.
    """
    if name not in ("adamw", "muon"):
        raise ValueError(f'optimizer={name!r}, but it is "adamw" or "muon"')
    muon, matrices, rest = [], [], []
    for where, p in model.named_parameters():
        (
            muon
            if name == "muon" and p.ndim == 2 and "blocks." in where
            else matrices
            if p.ndim >= 2
            else rest
        ).append(p)
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    fused = {"fused": True} if device_of(model).type in ("cuda", "cpu") else {}
    groups = [group for group in groups if group["params"]]
    optimizers = [torch.optim.AdamW(groups, lr=learning_rate, betas=betas, **fused)] if groups else []
    if muon:
        optimizers.append(Muon(muon, 10 * learning_rate, momentum, weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def accumulate_gradients(model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], count: int):
    """Add the gradients of `count` equal batches, each divided by `count`: the gradient of one large batch.

    Returns the mean loss, a tensor without gradient.
    """
    total = 0.0
    for x, y in batches:
        loss = model(x, y)[1] / count
        loss.backward()
        total = total + loss.detach()
    return total


def compile_or_note(model: nn.Module, notice: Callable[[str], object] = print) -> Callable:
    """`torch.compile(model)` where that works on this machine; else the model itself, and a note that says why."""
    try:
        compiled = torch.compile(model)
        ids = torch.zeros(2, 2, dtype=torch.long, device=device_of(model))
        compiled(ids, ids)
        torch._dynamo.reset()  # the trial shape is not kept
        return compiled
    except Exception as error:  # torch.compile fails in many ways: no compiler, an old system, Windows
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        notice(
            f"torch.compile does not work here ({reason[:120]}): going on without it, with the same results."
        )
        return model
