"""Optimizers written out.

    optimizer = Muon(matrices, lr=0.02)

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") as a small class: the same steps
as torch.optim.Muon, but in the precision of the weights. PyTorch's own computes in bfloat16, which on a CPU without
bfloat16 instructions makes a step many times slower than the model itself.
"""

from collections import defaultdict

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Bring all singular values of each matrix near 1 (between about 0.7 and 1.2), by Newton-Schulz iteration.

    matrices: (N, rows, columns), all at once. Returns the same shape.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # (N, m, n) with m <= n, so that x @ x.mT is the small product
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # (N, m, m)
        x = a * x + (b * gram + c * gram @ gram) @ x  # (N, m, n)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for matrices only.

    lr: step size; a matrix with more rows than columns steps sqrt(rows / columns) times as far.
    Raises ValueError for a parameter that is not a matrix.
    """

    def __init__(self, params, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.1):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.ndim != 2:
                raise ValueError(
                    f"Muon is for matrices, but got a parameter of shape {tuple(p.shape)}: use AdamW for it"
                )

    @torch.no_grad()
    def step(self) -> None:
        """One update of all matrices that have a gradient; equal shapes go through Newton-Schulz together."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape].append(p)
            for (rows, columns), matrices in by_shape.items():
                updates = torch.stack(
                    [self._momentum(p, group["momentum"]) for p in matrices]
                )  # (N, rows, columns)
                lr = group["lr"] * max(1.0, rows / columns) ** 0.5
                for p, update in zip(matrices, orthogonalize(updates), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-lr)

    def _momentum(self, p: torch.Tensor, momentum: float) -> torch.Tensor:
        """The gradient mixed with its running mean, looking one step ahead (Nesterov)."""
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        state["momentum_buffer"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum_buffer"], momentum)
