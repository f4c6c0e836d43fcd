"""Optimizers written out.

    optimizer = AdamW(model.parameters(), lr=0.001)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

SGD, Momentum, RMSprop, Adam and AdamW are introduced by notebook 06 (sections 27, 32 and 33 of the lecture). They make the
same steps as those of torch.optim, parameter by parameter, so that they can be read; torch.optim's are quicker.

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") as a small class: the same steps
as torch.optim.Muon, but in the precision of the weights. PyTorch's own computes in bfloat16, which on a CPU without
bfloat16 instructions makes a step many times slower than the model itself.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
SHARES = ("momentum", "alpha", "beta1", "beta2")  # settings that say how much of an old mean is kept


def check_settings(**settings: float) -> None:
    """Raise ValueError for a setting that cannot work: a share outside [0, 1), an eps of 0, any other below 0."""
    for name, value in settings.items():
        if name in SHARES:
            good, what = 0 <= value < 1, "a share from 0 up to, but not including, 1, such as 0.9"
        elif name == "eps":
            good, what = value > 0, "a small number above 0, such as 1e-8: it keeps 0 / 0 away"
        else:
            good, what = value >= 0, "a number of at least 0, such as 0.01"
        if not (good and math.isfinite(value)):
            raise ValueError(f"{name}={value}, but it is {what}")


class Optimizer:
    """What the optimizers by hand share. A subclass says in `update` how one parameter moves.

    params: tensors that are trained, such as model.parameters(). lr: the learning rate, which may be changed between steps.
    weight_decay: added to each gradient, times the parameter itself (an L2 penalty).
    Raises ValueError for settings that cannot work, and where there are no parameters.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float, weight_decay: float = 0.0):
        check_settings(lr=lr, weight_decay=weight_decay)
        self.params, self.lr, self.weight_decay = list(params), lr, weight_decay
        if not self.params:
            raise ValueError(
                "there are 0 parameters to train: give model.parameters() anew, for it can be walked through only once"
            )
        self.state = [{} for _ in self.params]  # what an optimizer remembers of each parameter

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for p, state in zip(self.params, self.state, strict=True):
            if p.grad is not None:
                self.update(p, p.grad + self.weight_decay * p, state)


class SGD(Optimizer):
    """Straight down: learning rate times gradient. The same steps as torch.optim.SGD without momentum."""

    def update(self, p: torch.Tensor, gradient: torch.Tensor, state: dict) -> None:
        """Move one parameter in place."""
        p -= self.lr * gradient


class Momentum(Optimizer):
    """A velocity collects the gradients and fades by `momentum` at each step. As torch.optim.SGD(momentum=...)."""

    def __init__(self, params, lr: float, momentum: float = 0.9, weight_decay: float = 0.0):
        super().__init__(params, lr, weight_decay)
        check_settings(momentum=momentum)
        self.momentum = momentum

    def update(self, p: torch.Tensor, gradient: torch.Tensor, state: dict) -> None:
        """Move one parameter in place."""
        state["velocity"] = self.momentum * state.get("velocity", 0) + gradient
        p -= self.lr * state["velocity"]


class RMSprop(Optimizer):
    """Each number's gradient divided by its usual size, the root of a running mean of squares. As torch.optim.RMSprop."""

    def __init__(
        self, params, lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0
    ):
        super().__init__(params, lr, weight_decay)
        check_settings(alpha=alpha, eps=eps)
        self.alpha, self.eps = alpha, eps

    def update(self, p: torch.Tensor, gradient: torch.Tensor, state: dict) -> None:
        """Move one parameter in place."""
        state["square"] = self.alpha * state.get("square", 0) + (1 - self.alpha) * gradient**2
        p -= self.lr * gradient / (state["square"].sqrt() + self.eps)


class Adam(Optimizer):
    """Running means of the gradient and of its square, both corrected for their start at 0 (Kingma and Ba 2014).

    As torch.optim.Adam; its weight decay goes through the gradient.
    """

    def __init__(
        self, params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):  # fmt: skip
        super().__init__(params, lr, weight_decay)
        self.beta1, self.beta2 = betas
        check_settings(beta1=self.beta1, beta2=self.beta2, eps=eps)
        self.eps = eps

    def update(self, p: torch.Tensor, gradient: torch.Tensor, state: dict) -> None:
        """Move one parameter in place."""
        state["t"] = state.get("t", 0) + 1
        state["mean"] = self.beta1 * state.get("mean", 0) + (1 - self.beta1) * gradient
        state["square"] = self.beta2 * state.get("square", 0) + (1 - self.beta2) * gradient**2
        mean = state["mean"] / (1 - self.beta1 ** state["t"])
        square = state["square"] / (1 - self.beta2 ** state["t"])
        p -= self.lr * mean / (square.sqrt() + self.eps)


class AdamW(Adam):
    """Adam whose weight decay goes past the gradient: each step first shrinks the parameter (Loshchilov and Hutter 2017)."""

    def __init__(
        self, params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):  # fmt: skip
        super().__init__(params, lr, betas, eps)  # none in the gradient
        check_settings(weight_decay=weight_decay)
        self.shrink = weight_decay

    def update(self, p: torch.Tensor, gradient: torch.Tensor, state: dict) -> None:
        """Move one parameter in place."""
        p *= 1 - self.lr * self.shrink
        super().update(p, gradient, state)


def orthogonalize(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Bring all singular values of each matrix near 1 (most between 0.7 and 1.2), by Newton-Schulz iteration.

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
