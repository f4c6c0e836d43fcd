"""The type of numbers that a model computes in: float32, or bfloat16 where that is safe.

    dtype = usable_dtype("bfloat16", device)          # "float32", and a note, on a device that cannot do it
    with autocast(device, dtype):
        logits, loss = model(x, y)

A bfloat16 number has the range of a float32 and two decimal digits. Under PyTorch's autocast the matrix products are
computed in it, and what needs more digits (sums, softmax, the loss) in float32. The weights stay float32 (Micikevicius
et al. 2017, arXiv 1710.03740). Introduced by notebook 13 (section 67 of the lecture).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

DTYPES = ("float32", "bfloat16")


def autocast(device: torch.device | str, dtype: str) -> AbstractContextManager:
    """What a forward pass stands under: torch.autocast for "bfloat16", nothing for "float32"."""
    if dtype == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def usable_dtype(wanted: str, device: torch.device | str, notice: Callable[[str], object] = print) -> str:
    """`wanted`, or "float32" and a notice where `device` cannot compute in bfloat16.

    Raises ValueError for a name that is not one of DTYPES.
    """
    if wanted not in DTYPES:
        raise ValueError(f"dtype={wanted!r}, but it is one of {', '.join(DTYPES)}")
    if wanted == "float32" or bfloat16_works(torch.device(device)):
        return wanted
    notice(f"bfloat16 does not work on this device ({device}): going on in float32.")
    return "float32"


def bfloat16_works(device: torch.device) -> bool:
    """Whether a small matrix product under autocast is right to 2 %, and the GPU has bfloat16 in its hardware."""
    if device.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(device):
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                return False
    try:
        a = torch.linspace(-1, 1, 64, device=device).view(8, 8)
        with autocast(device, "bfloat16"):
            product = a @ a  # (8, 8)
        exact = a.cpu() @ a.cpu()
        error = (product.float().cpu() - exact).abs().max() / exact.abs().max()
        return product.dtype == torch.bfloat16 and error.item() < 0.02
    except (RuntimeError, TypeError, ValueError):
        return False


class Autocast(nn.Module):
    """A model whose forward pass stands under autocast. Its parameters are the model's own."""

    def __init__(self, model: nn.Module, dtype: str):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x: torch.Tensor, y: torch.Tensor):
        """x, y: (B, T). Returns what the model returns: logits and loss."""
        with autocast(x.device, self.dtype):
            return self.model(x, y)
