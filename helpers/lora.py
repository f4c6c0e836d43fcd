"""LoRA by hand: train a small correction beside weights that stay as they are (Hu et al. 2021, arXiv 2106.09685).

    add_lora(model, rank=8, alpha=16)       # in place: only the corrections are trained from now on
    ...                                     # train as ever
    merge_lora(model)                       # in place: the corrections are added to the weights; plain layers again

A linear layer with the weight W, of shape (out, in), computes x W^T. With LoRA it computes x (W + alpha / rank * B A)^T,
where A is (rank, in) and B is (out, rank): for a small rank these have far fewer numbers than W.
B begins at zero, so that the model begins as the one it was. Introduced by notebook 15.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

# The linear layers of a block of GPTLanguageModel: attention's two, then the feed-forward's two.
TARGETS = ("qkv", "proj", "net.0", "net.2")


class LoRALinear(nn.Module):
    """A linear layer that is frozen, and a correction of the given rank that is trained.

    base: the layer. rank: 0 means no correction at all: exactly the layer. alpha: the correction counts
    alpha / rank times. Raises ValueError for values that make no correction, TypeError for another kind of layer.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float = 16.0):
        super().__init__()
        if not isinstance(base, nn.Linear):
            raise TypeError(f"LoRALinear goes around an nn.Linear, but this is a {type(base).__name__}")
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 0:
            raise ValueError(f"rank={rank!r}, but it is a whole number of at least 0")
        if rank > min(base.in_features, base.out_features):
            raise ValueError(
                f"rank={rank}, but a layer from {base.in_features} to {base.out_features} numbers has at most the rank "
                f"{min(base.in_features, base.out_features)}: a larger one would only cost more"
            )
        if not (alpha > 0 and math.isfinite(alpha)):
            raise ValueError(f"alpha={alpha}, but it is a positive number such as 16")
        self.base, self.rank, self.alpha = base, rank, alpha
        for parameter in base.parameters():
            parameter.requires_grad_(False)
        place, dtype = base.weight.device, base.weight.dtype
        A = torch.randn(rank, base.in_features, device=place, dtype=dtype)  # (rank, in)
        self.A = nn.Parameter(A / base.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank, device=place, dtype=dtype))  # (out, rank)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., in). Returns (..., out)."""
        if self.rank == 0:
            return self.base(x)
        correction = F.linear(F.linear(x, self.A), self.B)  # (..., in) -> (..., rank) -> (..., out)
        return self.base(x) + self.alpha / self.rank * correction

    def merged(self) -> nn.Linear:
        """A plain layer that computes the same: its weight is W + alpha / rank * B A."""
        with torch.no_grad():
            if self.rank:
                self.base.weight += self.alpha / self.rank * self.B @ self.A
        return self.base


def add_lora(model: nn.Module, rank: int, alpha: float = 16.0, targets: Sequence[str] = TARGETS) -> nn.Module:
    """Freeze the model and put a LoRALinear around each linear layer whose name ends with a target. In place.

    targets: ends of names as named_modules() has them, such as "qkv" for blocks.0.sa.qkv. Returns the model.
    Raises ValueError where no layer has such a name, and for a model that has LoRA already.
    """
    if has_lora(model):
        raise ValueError("this model has LoRA already: merge_lora(model) first, or load it anew")
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(f".{name}".endswith(f".{target}") for target in targets)
    ]
    missing = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in found)]
    if missing or not found:
        linear = sorted({n.split(".", 2)[-1] for n, m in model.named_modules() if isinstance(m, nn.Linear)})
        raise ValueError(f"no linear layer is called {missing or targets}: there are {', '.join(linear)}")
    # All corrections are made before the first is put in place: an error leaves the model as it was.
    was_trained = {name: p.requires_grad for name, p in model.named_parameters()}
    try:
        wrapped = {name: LoRALinear(model.get_submodule(name), rank, alpha) for name in found}
    except ValueError:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(was_trained[name])
        raise
    model.requires_grad_(False)
    for name, layer in wrapped.items():
        _put(model, name, layer)
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Add every correction to its weight and put the plain layers back. In place; all weights are trained again.

    The logits stay the same up to rounding. Returns the model. Raises ValueError for a model without LoRA.
    """
    if not has_lora(model):
        raise ValueError("there is no LoRA in this model: nothing to merge")
    for name, module in list(model.named_modules()):
        if isinstance(module, LoRALinear):
            _put(model, name, module.merged())
    return model.requires_grad_(True)


def has_lora(model: nn.Module) -> bool:
    """Whether some layer of the model is a LoRALinear."""
    return any(isinstance(module, LoRALinear) for module in model.modules())


def lora_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The matrices A and B of all layers with LoRA."""
    return [p for layer in model.modules() if isinstance(layer, LoRALinear) for p in (layer.A, layer.B)]


def count_trained(model: nn.Module) -> int:
    """How many numbers of the model are trained: those of the parameters that take a gradient."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Make `layer` the submodule called `name`, such as blocks.0.ffwd.net.2."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)
