"""How well a model predicts: its mean loss on a text, in nats per token.

    estimate_loss(model, {"train": train_ids, "validation": val_ids})     # quick: a few random batches of each
    validation_loss(model, val_ids)                                       # exact: each token of the text once
    document_loss(model, documents)                                       # each document from its beginning

Introduced by notebooks 05 and 10 (sections 31, 34 and 55 of the lecture).
"""

import torch
from torch import nn

from helpers.batches import TokenFile, get_batch

# The same batches at every evaluation, so that the curve shows the model, not the draw.
EVALUATION_SEED = 20_000


def block_size_of(model: nn.Module, block_size: int | None = None) -> int:
    """`block_size` if it is given, else the model's own; ValueError where there is neither."""
    size = block_size or getattr(getattr(model, "config", None), "block_size", None)
    if size is None:
        raise ValueError(f"{type(model).__name__} has no block_size of its own: give block_size=...")
    return size


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights."""
    return next(model.parameters()).device


@torch.no_grad()
def estimate_loss(
    model: nn.Module,
    splits: dict[str, torch.Tensor],
    *,
    batch_size: int = 12,
    block_size: int | None = None,
    batches: int = 50,
) -> dict[str, float]:
    """Mean loss over a few random batches of each split, in nats per token.

    splits: name -> ids (N,). The batches are the same at each call. Runs in eval mode and restores the mode.
    """
    size, device, was_training = block_size_of(model, block_size), device_of(model), model.training
    model.eval()
    try:
        means = {}
        for name, ids in splits.items():
            generator = torch.Generator().manual_seed(EVALUATION_SEED)
            draws = (get_batch(ids, size, batch_size, generator, device) for _ in range(batches))
            means[name] = torch.stack([model(x, y)[1] for x, y in draws]).mean().item()
        return means
    finally:
        model.train(was_training)


@torch.no_grad()
def validation_loss(
    model: nn.Module, ids: torch.Tensor | TokenFile, *, block_size: int | None = None, batch_size: int = 32
) -> float:
    """Loss over a whole text in nats per token: windows of block_size without overlap, each starting fresh.

    ids: (N,), N >= 2; a TokenFile is read piece by piece. Each of the N - 1 targets is predicted exactly once.
    Eval mode, restored afterwards.
    """
    if len(ids) < 2:
        raise ValueError(f"the text has {len(ids)} tokens, but one input and one target need at least 2")
    size, device, was_training = block_size_of(model, block_size), device_of(model), model.training
    whole, total = (len(ids) - 1) // size, 0.0
    places = [(first, min(first + batch_size, whole)) for first in range(0, whole, batch_size)]
    pieces = [(first * size, last * size, size) for first, last in places]
    if whole * size < len(ids) - 1:  # the last, shorter window
        pieces.append((whole * size, len(ids) - 1, len(ids) - 1 - whole * size))
    model.eval()
    try:
        for start, end, width in pieces:
            piece = ids[start : end + 1].long().to(device)
            x, y = piece[:-1].view(-1, width), piece[1:].view(-1, width)  # (B, T) each
            total += model(x, y)[1].cpu().double() * y.numel()
        return total.item() / (len(ids) - 1)
    finally:
        model.train(was_training)


@torch.no_grad()
def document_loss(
    model: nn.Module, documents: list[torch.Tensor], *, given: int = 1, batch_size: int = 16
) -> float:
    """Loss over documents in nats per token, each read from its beginning: comparable with an exact floor.

    documents: ids (T_i,) each. The first `given` ids of each are only read, all others are predicted once, from
    everything before them. (`validation_loss` cuts a text anywhere, so its windows begin in the middle of something.)
    Eval mode, restored afterwards. The model raises ValueError for a document longer than its context.
    """
    device, was_training = device_of(model), model.training
    total, count = 0.0, 0
    model.eval()
    try:
        for first in range(0, len(documents), batch_size):
            some = [ids.long() for ids in documents[first : first + batch_size]]
            rows = nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=-100)  # (B, T+1)
            x, y = rows[:, :-1].clamp(min=0), rows[:, 1:].clone()  # (B, T) each
            y[:, : given - 1] = -100  # cross_entropy leaves these out
            predicted = int((y >= 0).sum())
            total += model(x.to(device), y.to(device))[1].item() * predicted
            count += predicted
        return total / count
    finally:
        model.train(was_training)
