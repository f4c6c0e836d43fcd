"""Time to a loss: how much sooner today's parts get where a well-known recipe of 2022 gets.

    found = race(train_ids, val_ids, vocab_size, seeds=(1, 2, 3))
    found["ratio"]                                   # the peer's seconds to its loss, over ours to the same loss

The peer is the small CPU setting that a well-known repository recommends, with our classic model. Two runs of ours stand
against it: SPRINT, which shall reach the peer's loss in a tenth of its time, and LONG, which has the peer's whole time. Clocks
cover training steps alone, on both sides. `python -m helpers.bench --only time_to_loss` runs it; notebook 16 shows it.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.ladder import run_whole
from helpers.modern import ModernConfig, ModernGPT

BLOCK_SIZE = 64
MARGIN = 0.95  # the share of the peer's time that LONG is planned to take
PASSES = 3  # and how often at most it goes through the text: more would be learnt by heart


@dataclass(frozen=True)
class Recipe:
    """A model and its training. make: from the number of different tokens to a config; training: arguments of `train`."""

    make: Callable[[int], GPTConfig]
    training: dict[str, Any]


PEER = Recipe(
    lambda V: GPTConfig(V, BLOCK_SIZE, 4, 4, 128, bias=False, activation="gelu", tie_weights=True),
    {"steps": 2000, "batch_size": 12, "learning_rate": 1e-3, "warmup": 100, "final_fraction": 0.1,
     "betas": (0.9, 0.99), "weight_decay": 0.1, "clip": 1.0},
)  # fmt: skip
# One block does it in both: the tables learn the pairs and triples of the text at once, and a step is quick.
SPRINT = Recipe(
    lambda V: ModernConfig(
        V, BLOCK_SIZE, 1, 4, 80, tie_weights=True, short_conv=False, ngram_rows=(1021, 2039)
    ),
    {"steps": 150, "batch_size": 32, "learning_rate": 7e-3, "optimizer": "muon", "momentum": 0.9, "short_first": 0.6},
)  # fmt: skip
LONG = Recipe(
    lambda V: ModernConfig(
        V, BLOCK_SIZE, 1, 4, 160, tie_weights=True, short_conv=False, rms_norm=False, ngram_rows=(1021, 1951)
    ),
    {"batch_size": 24, "learning_rate": 3e-3, "optimizer": "muon", "momentum": 0.9, "final_fraction": 0.0},
)  # fmt: skip


def make_model(recipe: Recipe, vocab_size: int) -> nn.Module:
    """A new model of a recipe, on the CPU."""
    config = recipe.make(vocab_size)
    return ModernGPT(config) if isinstance(config, ModernConfig) else GPTLanguageModel(config)


def run(
    recipe: Recipe,
    train_ids: torch.Tensor,
    val_ids: torch.Tensor,
    vocab_size: int,
    *,
    seed: int,
    steps: int | None = None,
    device: torch.device | str = "cpu",
) -> dict:
    """Train by a recipe. Returns seconds, loss (nats per token, the whole validation text), steps, tokens, parameters.

    steps: None means those of the recipe. seconds: training steps alone.
    """
    torch.manual_seed(seed)
    model = make_model(recipe, vocab_size).to(device)
    training = recipe.training | ({} if steps is None else {"steps": steps})
    if "steps" not in training:
        raise ValueError("this recipe has no number of steps of its own: give steps=...")
    return run_whole(model, train_ids, val_ids, **training, seed=seed) | {"steps": training["steps"]}


def race(
    train_ids: torch.Tensor,
    val_ids: torch.Tensor,
    vocab_size: int,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    steps: int | None = None,
    device: torch.device | str = "cpu",
    tell: Callable[[str], object] = print,
) -> dict:
    """Run the peer, SPRINT and LONG with each seed, one after the other.

    steps: None, or those of the peer and of SPRINT alike, for a quick try whose ratio says nothing.

    How many steps LONG gets is fixed before it begins: as many as fit into MARGIN of the time that the peer of the same
    seed took, by the pace of a short run (the quicker of two, since the first also warms up), on a short text fewer: PASSES
    times through it. Returns the medians:
    peer_seconds, peer_loss, seconds, loss, parameters (of SPRINT), reached (whether its loss is the peer's or lower), ratio,
    loss_in_peer_time, long_seconds, long_parameters; and runs: all of them. Raises ValueError for a text that is too short
    for a window.
    """
    texts = (train_ids, val_ids, vocab_size)
    runs: dict[str, list[dict]] = {"peer": [], "sprint": [], "long": []}
    trial = 20 if steps is None else 1
    for recipe in (PEER, SPRINT):  # to warm up
        run(recipe, *texts, seed=0, steps=trial, device=device)
    for seed in seeds:
        runs["peer"].append(run(PEER, *texts, seed=seed, steps=steps, device=device))
        runs["sprint"].append(run(SPRINT, *texts, seed=seed, steps=steps, device=device))
        pace = min(run(LONG, *texts, seed=0, steps=trial, device=device)["seconds"] / trial for _ in range(2))
        most = PASSES * len(train_ids) // (LONG.training["batch_size"] * BLOCK_SIZE)
        fitting = max(1, min(most, round(MARGIN * runs["peer"][-1]["seconds"] / pace)))
        runs["long"].append(run(LONG, *texts, seed=seed, steps=fitting, device=device))
        tell(f"seed {seed}   " + "   ".join(f"{name}: {made[-1]['loss']:.3f} nats in {made[-1]['seconds']:.1f} s"
                                          for name, made in runs.items()))  # fmt: skip
    peer, sprint, long = (
        {key: statistics.median(each[key] for each in made) for key in ("seconds", "loss")}
        for made in runs.values()
    )
    return {
        "peer_seconds": peer["seconds"],
        "peer_loss": peer["loss"],
        "seconds": sprint["seconds"],
        "loss": sprint["loss"],
        "parameters": runs["sprint"][0]["parameters"],
        "reached": sprint["loss"] <= peer["loss"],
        "ratio": round(peer["seconds"] / sprint["seconds"], 2),
        "loss_in_peer_time": long["loss"],
        "long_seconds": long["seconds"],
        "long_parameters": runs["long"][0]["parameters"],
        "runs": runs,
    }
