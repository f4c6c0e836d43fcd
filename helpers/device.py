"""Which device to compute on: CUDA, Apple's MPS or the CPU.

    device = pick_device()          # cuda > mps > cpu; the variable COURSE_DEVICE overrides
    print(describe(device))

Introduced by notebook 03 (sections 16 and 42 of the lecture).
"""

import os
import platform
import warnings

import torch
import torch.nn.functional as F
from torch import nn

KNOWN = ("cuda", "mps", "cpu")


def pick_device(wanted: str | None = None) -> torch.device:
    """The best device that works here: CUDA, else MPS, else the CPU.

    wanted ("cpu", "mps", "cuda", "cuda:1"), else the environment variable COURSE_DEVICE, overrides the choice.
    MPS is compared with the CPU on one small training step first, because some versions of it
    computed wrong values without an error; where it disagrees, a warning says so and the CPU is used.

    Raises ValueError for a name that is no device and RuntimeError for a device that this machine lacks.
    """
    wanted = (wanted or os.environ.get("COURSE_DEVICE", "")).strip().lower()
    if wanted:
        return _named_device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        difference = difference_from_cpu(torch.device("mps"))
        if difference < 1e-2:
            return torch.device("mps")
        warnings.warn(
            f"MPS computes something else than the CPU here (they differ by {difference:.3g} after one step). "
            "The course goes on with the CPU. A newer macOS or PyTorch usually mends this; "
            "COURSE_DEVICE=mps uses MPS all the same.",
            stacklevel=2,
        )
    return torch.device("cpu")


def _named_device(wanted: str) -> torch.device:
    """The device called `wanted`, after checking that this machine has it."""
    kind, _, index = wanted.partition(":")
    if kind not in KNOWN or (index and not index.isdigit()):
        raise ValueError(
            f"{wanted!r} is not a device (COURSE_DEVICE or --device): use one of cpu, cuda, cuda:0, mps"
        )
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise RuntimeError(
                f"the device {wanted} is asked for, but PyTorch {torch.__version__} sees {count} CUDA devices. "
                "Unset COURSE_DEVICE to use what is there; `python -m helpers doctor` says what is missing."
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError(
            "the device mps is asked for, but MPS is not available here: it needs a Mac with Apple silicon. "
            "Unset COURSE_DEVICE to use what is there."
        )
    return torch.device(wanted)


def difference_from_cpu(device: torch.device) -> float:
    """Largest difference between `device` and the CPU after one training step of a tiny attention model.

    The step covers what a GPT uses: embedding, matrix product, causal attention, LayerNorm,
    cross-entropy, backward, optimizer. Returns infinity where `device` gives NaN or fails.
    """
    try:
        mine, reference = (_one_step(place) for place in (device, torch.device("cpu")))
    except RuntimeError:
        return float("inf")
    difference = (mine - reference).abs().max().item()
    return difference if difference == difference else float("inf")  # NaN is not equal to itself


def _one_step(device: torch.device) -> torch.Tensor:
    """Logits of a tiny model on `device` before and after one step, brought to the CPU: (2, B, T, V)."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(11, (2, 9), generator=generator)  # (B, T+1)
    tables = [torch.randn(shape, generator=generator) * 0.3 for shape in ((11, 8), (24, 8), (11, 8))]
    embedding, qkv, head = (nn.Parameter(table.to(device)) for table in tables)
    optimizer = torch.optim.AdamW([embedding, qkv, head], lr=0.01)
    x, y = ids[:, :-1].to(device), ids[:, 1:].to(device)  # (B, T)
    seen = []
    for _ in range(2):
        hidden = F.layer_norm(embedding[x], (8,))  # (B, T, C)
        query, key, value = (hidden @ qkv.T).chunk(3, dim=-1)  # (B, T, C) each
        hidden = hidden + F.scaled_dot_product_attention(query, key, value, is_causal=True)
        logits = hidden @ head.T  # (B, T, V)
        seen.append(logits.detach().cpu())
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        optimizer.step()
    return torch.stack(seen)


def synchronize(device: torch.device | str) -> None:
    """Wait until all work queued on `device` is done. On the CPU there is nothing to wait for."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


def describe(device: torch.device | str) -> str:
    """One line for people: the device, its name, its memory or threads."""
    device = torch.device(device)
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return f"{device} ({facts.name}, {facts.total_memory / 2**30:.0f} GiB)"
    if device.type == "mps":
        return f"mps (Apple GPU, macOS {platform.mac_ver()[0]})"
    threads = torch.get_num_threads()
    return f"cpu ({platform.machine()}, {threads} thread{'s' * (threads != 1)})"
