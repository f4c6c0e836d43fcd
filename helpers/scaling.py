"""Scaling laws in miniature: how the loss falls with the size of a model and with the text that it reads.

    points = measure(SIZES, BUDGETS)                    # loss of each size after each number of training characters
    law = fit(points, floor=entropy_per_character())    # loss = E + A / N^a + B / D^b
    law.loss(300_000, 1_000_000)                        # what it expects of 300,000 parameters and 1,000,000 characters
    best_size(law, compute=6e12)                        # the size for which this many operations give the lowest loss

Kaplan et al. 2020, arXiv 2001.08361; the form of the curve: Hoffmann et al. 2022, arXiv 2203.15556. Introduced by
notebook 16; `python -m helpers.bench --only scaling` runs `study`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from helpers import tales
from helpers.ladder import run_whole
from helpers.modern import ModernConfig, ModernGPT
from helpers.tokenizer import CharTokenizer

# (n_layer, n_head, n_embd): about 40,000 to 800,000 parameters
SIZES = ((2, 2, 40), (2, 2, 64), (3, 4, 80), (4, 4, 128))
BUDGETS = (115_200, 230_400, 460_800, 921_600)  # training characters
BLOCK_SIZE, BATCH_SIZE = 64, 12
AMPLE = 8  # the text is so many times as long as the budget: hardly a window comes twice
VALIDATION_CHARACTERS = 100_000
PER_PARAMETER = 6  # operations for each parameter and each training token: 2 forward, 4 backward


@dataclass(frozen=True)
class Law:
    """loss = E + A / N^a + B / D^b, with N parameters and D training tokens. E: what neither of the two can lower."""

    E: float
    A: float
    a: float
    B: float
    b: float

    def loss(self, parameters: float, tokens: float) -> float:
        """The expected loss in nats per token."""
        return self.E + self.A / parameters**self.a + self.B / tokens**self.b


def fresh_tales(characters: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids to train on, ids to validate on) of two texts of tales; `characters`: how long the first is at least."""
    tokenizer = CharTokenizer(tales.ALPHABET)
    texts = (
        tales.write_tales(characters, seed=2 * seed),
        tales.write_tales(VALIDATION_CHARACTERS, seed=2 * seed + 1),
    )
    train_ids, val_ids = (torch.from_numpy(tokenizer.encode(text)) for text in texts)  # (N,) each
    return train_ids, val_ids


def measure(
    sizes: Sequence[tuple[int, int, int]] = SIZES,
    budgets: Sequence[int] = BUDGETS,
    *,
    seed: int = 1,
    device: torch.device | str = "cpu",
    tell: Callable[[str], object] = print,
) -> list[dict]:
    """Train each size on each budget, by the modern recipe; each run's learning rate comes down to 0 at its own end.

    sizes: (n_layer, n_head, n_embd). budgets: training characters, of new tales. Returns a dict for each run: n_layer,
    n_head, n_embd, parameters, tokens, loss (nats per character of other tales), seconds (of the training steps).
    Raises ValueError where there is no size or no budget, and for a budget below one batch.
    """
    batch = BATCH_SIZE * BLOCK_SIZE
    if not sizes or not budgets:
        raise ValueError(f"{len(sizes)} sizes and {len(budgets)} budgets, but it takes at least one of each")
    if min(budgets) < batch:
        raise ValueError(
            f"a budget of {min(budgets)} characters, but one batch has {BATCH_SIZE} x {BLOCK_SIZE} = {batch}"
        )
    train_ids, val_ids = fresh_tales(AMPLE * max(budgets), seed)
    points = []
    for n_layer, n_head, n_embd in sizes:
        for budget in budgets:
            torch.manual_seed(seed)
            config = ModernConfig(len(tales.ALPHABET), BLOCK_SIZE, n_layer, n_head, n_embd, tie_weights=True)
            model = ModernGPT(config).to(device)
            found = run_whole(
                model, train_ids, val_ids, steps=round(budget / batch), batch_size=BATCH_SIZE, optimizer="muon",
                momentum=0.9, learning_rate=5e-3, final_fraction=0.0, seed=seed,
            )  # fmt: skip
            point = {"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd} | found
            points.append(point)
            tell(
                f"{point['parameters']:9,} parameters {point['tokens']:11,} characters   {point['loss']:.3f} nats"
                f"   {point['seconds']:.1f} s"
            )
    return points


def fit(points: Sequence[dict], floor: float = 0.0) -> Law:
    """The law that fits best: least squares of the relative errors.

    For given exponents a and b the law is linear in E, A and B, so these three are solved for; the exponents are found
    on a grid that is made finer around the best. floor: E is not let below it. points: dicts with parameters, tokens
    and loss. Raises ValueError for fewer than 2 sizes, 2 budgets or 5 points.
    """
    N, D, loss = (np.array([p[key] for p in points], float) for key in ("parameters", "tokens", "loss"))
    if len(points) < 5 or len(set(N)) < 2 or len(set(D)) < 2:
        raise ValueError(
            f"{len(points)} points of {len(set(N))} sizes and {len(set(D))} budgets, but five numbers are to be found: "
            "it takes at least 5 points, 2 sizes and 2 budgets"
        )
    centre, width, best = (1.0, 1.0), 0.95, None
    for _ in range(5):
        for a in np.linspace(max(0.02, centre[0] - width), centre[0] + width, 21):
            for b in np.linspace(max(0.02, centre[1] - width), centre[1] + width, 21):
                error, law = _with_exponents(N, D, loss, float(a), float(b), floor)
                if best is None or error < best[0]:
                    best = error, law
        centre, width = (best[1].a, best[1].b), width / 5
    return best[1]


def _with_exponents(
    N: np.ndarray, D: np.ndarray, loss: np.ndarray, a: float, b: float, floor: float
) -> tuple[float, Law]:
    """(sum of squared relative errors, law) of the best E >= floor, A >= 0 and B >= 0 for these exponents."""
    columns = np.stack([np.ones_like(N), (N / N.min()) ** -a, (D / D.min()) ** -b], 1)  # (points, 3)
    rows, left = columns / loss[:, None], 1 - floor / loss
    best = None
    for free in ((0, 1, 2), (1, 2), (0, 1), (0, 2), (1,), (2,)):  # what is not free is 0
        found = np.zeros(3)
        found[list(free)] = np.linalg.lstsq(rows[:, list(free)], left, rcond=None)[0]
        error = float(((rows @ found - left) ** 2).sum())
        if found.min() >= 0 and (best is None or error < best[0]):
            best = error, found
            if len(free) == 3:  # nothing had to be held at 0, so nothing better is to be found
                break
    error, (E, A, B) = best or (math.inf, np.zeros(3))
    return error, Law(float(floor + E), float(A * N.min() ** a), a, float(B * D.min() ** b), b)


def best_size(law: Law, compute: float) -> tuple[float, float]:
    """(parameters N, training tokens D) with the lowest loss of all with 6 N D = compute.

    Where A / N^a falls as fast as B / D^b, going either way costs more than it gives. compute: operations.
    Raises ValueError for compute that is not positive, and for a law in which one of the two terms is missing.
    """
    if not (compute > 0 and math.isfinite(compute)):
        raise ValueError(f"compute={compute}, but it is a positive number of operations such as 1e12")
    if min(law.A, law.B) <= 0:
        raise ValueError(f"with A={law.A} and B={law.B} more of one of the two costs nothing: no best size")
    product = compute / PER_PARAMETER  # N D
    N = (law.a * law.A / (law.b * law.B) * product**law.b) ** (1 / (law.a + law.b))
    return N, product / N


def study(device: torch.device | str, tell: Callable[[str], object] = print) -> dict:
    """All SIZES on all BUDGETS, and the law: {"floor", "law": {E, A, a, B, b}, "points": [...]}. Some minutes."""
    floor = tales.entropy_per_character()
    points = measure(SIZES, BUDGETS, device=device, tell=tell)
    law = fit(points, floor)
    tell(
        f"loss = {law.E:.3f} + {law.A:.3g} / N^{law.a:.3f} + {law.B:.3g} / D^{law.b:.3f}   (floor {floor:.3f})"
    )
    return {"floor": floor, "law": asdict(law), "points": points}
