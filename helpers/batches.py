"""From one long row of ids to training batches.

    train_ids, val_ids = split(ids)
    x, y = get_batch(train_ids, block_size=64, batch_size=12)

Introduced by notebook 04 (sections 11, 13 to 15 and 25 of the lecture).
"""

import torch


def split(ids: torch.Tensor, validation: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """The first part of `ids` for training, the last part for validation; they do not overlap.

    ids: (N,). validation: share of the validation part, between 0 and 1.
    The training part has int((1 - validation) * N) ids, as in the lecture.
    Raises ValueError when either part would hold fewer than 2 ids: one input needs one target.
    """
    if not 0 < validation < 1:
        raise ValueError(f"validation={validation}, but it is a share between 0 and 1, such as 0.1")
    n = int((1 - validation) * len(ids))
    if n < 2 or len(ids) - n < 2:
        raise ValueError(
            f"{len(ids)} ids split into {n} for training and {len(ids) - n} for validation: each part needs at "
            "least 2. Use a longer text or another share."
        )
    return ids[:n], ids[n:]


def get_batch(
    ids: torch.Tensor,
    block_size: int,
    batch_size: int,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    starts: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows of `ids` and the same windows one step later.

    ids: (N,) integers. Returns inputs x and targets y, both int64 of shape (batch_size, block_size):
    y[b, t] is the id that follows x[b, t]. Every start 0 .. N - block_size - 1 is equally likely.
    generator: a CPU generator, for batches that can be repeated. device: where x and y are put.
    starts: (M,) on the CPU, the only positions where windows may begin, such as the beginnings of documents.
    Raises ValueError when `ids` is shorter than block_size + 1, or no window fits behind any of `starts`.
    """
    if block_size < 1 or batch_size < 1:
        raise ValueError(f"block_size={block_size} and batch_size={batch_size}: both are at least 1")
    if len(ids) < block_size + 1:
        raise ValueError(
            f"text has {len(ids)} characters, but block_size={block_size} needs at least {block_size + 1} "
            "(one more for the last target). Use a longer text or a smaller block_size."
        )
    if starts is None:
        starts = torch.randint(
            len(ids) - block_size, (batch_size, 1), generator=generator
        )  # (B, 1), on the CPU
    else:
        starts = starts[starts < len(ids) - block_size]  # where a whole window fits
        if len(starts) == 0:
            raise ValueError(f"no window of block_size={block_size} fits behind any of the given starts")
        starts = starts[torch.randint(len(starts), (batch_size, 1), generator=generator)]  # (B, 1)
    places = (starts + torch.arange(block_size, device=starts.device)).to(ids.device)  # (B, T)
    x, y = ids[places].long(), ids[places + 1].long()  # (B, T) each
    return (x, y) if device is None else (x.to(device), y.to(device))
