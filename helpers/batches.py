"""From one long row of ids to training batches.

    train_ids, val_ids = split(ids)
    x, y = get_batch(train_ids, block_size=64, batch_size=12)

    train_ids = TokenFile("data/owt/train.bin")        # the same for a corpus that is longer than memory
    x, y = get_batch(train_ids, block_size=64, batch_size=12)

Introduced by notebook 04 (sections 11, 13 to 15 and 25 of the lecture); TokenFile and Windows by notebook 11
(sections 57 and 61).
"""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from helpers.bpe import tokenizer_from_dict
from helpers.token_files import read_about
from helpers.tokenizer import Tokenizer


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
    ids: "torch.Tensor | TokenFile",
    block_size: int,
    batch_size: int,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    starts: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows of `ids` and the same windows one step later.

    ids: (N,) integers, or a TokenFile. Returns inputs x and targets y, both int64 of shape (batch_size, block_size):
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


class TokenFile:
    """The ids of a token file, read where and when they are asked for: stands in `get_batch` for a tensor of ids.

    path: the .bin of `helpers.token_files.write_tokens`. verify: compare it with its checksum first.
    len(tokens) is the number of ids; tokens[places] gives int64 ids on the CPU, in the shape of `places`: a tensor of
    positions, a slice or a number. about: the facts of the .json. Raises FileNotFoundError and ValueError as
    `read_about` does.
    """

    device = torch.device("cpu")

    def __init__(self, path: str | Path, verify: bool = True):
        self.path = Path(path)
        self.about = read_about(self.path, verify)
        self.tokenizer: Tokenizer = tokenizer_from_dict(self.about["tokenizer"])

    def __len__(self) -> int:
        return self.about["tokens"]

    def __getitem__(self, places: torch.Tensor | slice | int) -> torch.Tensor:
        # Mapped anew each time: a map that stays open keeps every page that it ever touched (nanoGPT #428).
        ids = np.memmap(self.path, self.about["dtype"], "r")  # (N,), not in memory
        places = places.numpy() if isinstance(places, torch.Tensor) else places
        return torch.from_numpy(np.array(ids[places], dtype=np.int64))


class Windows(Dataset):
    """Every window of `ids` as an example (x, y), for PyTorch's DataLoader; number i begins at position i.

    ids: (N,) integers or a TokenFile. x and y are int64, (block_size,) each: y is x one step later.
    Raises ValueError when `ids` is shorter than block_size + 1.
    """

    def __init__(self, ids: torch.Tensor | TokenFile, block_size: int):
        if block_size < 1 or len(ids) < block_size + 1:
            raise ValueError(
                f"{len(ids)} ids and block_size={block_size}: a window needs block_size + 1 ids, and a block_size of 1"
            )
        self.ids, self.block_size = ids, block_size

    def __len__(self) -> int:
        return len(self.ids) - self.block_size

    def __getitem__(self, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        window = self.ids[start : start + self.block_size + 1].long()  # (T+1,)
        return window[:-1], window[1:]  # (T,) each
