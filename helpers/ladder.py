"""The speed ladder: from the classic GPT to a modern one, one change at a time, each measured.

    results = climb(train_ids, val_ids, vocab_size, seeds=(1, 2, 3))
    results[0]["losses"], results[-1]["losses"]      # nats per token, after the same number of training tokens

Each rung keeps the changes of those before it. Two questions are asked of each: what is the loss after the same number of
training tokens, and what is it after the same time? The time of a step is measured first, for all rungs in turn, so that
a machine that is busy for a while slows all of them. Introduced by notebook 16; `python -m helpers.bench --only ladder`
runs it.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import torch
from torch import nn

from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.modern import ModernConfig, ModernGPT
from helpers.training import check_finished, train, validation_loss

# The classic GPT in the words of ModernConfig: the same model, which tests/test_modern.py proves.
CLASSIC = {
    "bias": True,
    "rope": False,
    "rms_norm": False,
    "qk_norm": False,
    "short_conv": False,
    "mlp": "relu",
    "zero_init": False,
}
PLAIN = {"learning_rate": 1e-3, "final_fraction": 1.0, "warmup": 0, "optimizer": "adamw"}


TOO_SLOW = 3.0


@dataclass(frozen=True)
class Rung:
    """One change. model: settings of ModernConfig; training: arguments of `train`; looped: heads one after the other."""

    name: str
    model: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    looped: bool = False


RUNGS = (
    Rung("classic GPT, heads in a loop", CLASSIC, PLAIN, looped=True),
    Rung("batched heads, fused attention"),
    Rung("learning rate 3e-3, warm-up, cosine to 0", training={"learning_rate": 3e-3, "final_fraction": 0.0, "warmup": None}),
    Rung("RMSNorm, no biases, tied embedding", {"rms_norm": True, "bias": False, "tie_weights": True}),
    Rung("rotary positions (RoPE)", {"rope": True}),
    Rung("normalized queries and keys", {"qk_norm": True}),
    Rung("keys and values look two positions back", {"short_conv": True}),
    Rung("squared ReLU", {"mlp": "relu2"}),
    Rung("gated feed-forward (SwiGLU) instead", {"mlp": "swiglu"}),
    Rung("squared ReLU again, blocks begin at zero", {"mlp": "relu2", "zero_init": True}),
    Rung("Muon for the matrices", training={"optimizer": "muon", "learning_rate": 5e-3, "momentum": 0.9}),
    Rung("bfloat16", training={"dtype": "bfloat16"}),
)  # fmt: skip


def settings_of(rung: int) -> tuple[dict, dict]:
    """(settings of the model, arguments of `train`) of a rung, counted from 0: all changes up to it."""
    model, training = {}, {}
    for each in RUNGS[: rung + 1]:
        model, training = model | each.model, training | each.training
    return model, training


def make_model(rung: int, vocab_size: int, sizes: dict) -> nn.Module:
    """A new model of a rung. sizes: block_size, n_layer, n_head, n_embd."""
    model, _ = settings_of(rung)
    if RUNGS[rung].looped:
        return GPTLanguageModel(GPTConfig(vocab_size, **sizes, looped_heads=True))
    return ModernGPT(ModernConfig(vocab_size, **sizes, **model))


def run_rung(
    rung: int,
    train_ids: torch.Tensor,
    val_ids: torch.Tensor,
    vocab_size: int,
    *,
    seed: int,
    sizes: dict,
    batch_size: int,
    steps: int,
    device: torch.device | str = "cpu",
) -> dict:
    """Train a rung's model. Returns loss (nats per token, the whole validation text), seconds, steps, parameters.

    The clock covers the training steps alone, no evaluation.
    """
    _, training = settings_of(rung)
    torch.manual_seed(seed)
    model = make_model(rung, vocab_size, sizes).to(device)
    made = run_whole(model, train_ids, val_ids, steps=steps, batch_size=batch_size, seed=seed, **training)
    return {"seed": seed, "steps": steps} | {name: made[name] for name in ("seconds", "loss", "parameters")}


def run_whole(model: nn.Module, train_ids: torch.Tensor, val_ids: torch.Tensor, **training) -> dict:
    """Train a new model to the end and judge it. training: arguments of `train`, with `steps`.

    Returns seconds (training steps alone), loss (nats per token, the whole validation text), tokens, parameters. Raises
    KeyboardInterrupt where it was stopped by hand, RuntimeError where it ended early otherwise: half a run would be a wrong
    result.
    """
    result = train(
        model, train_ids, val_ids, **training, eval_interval=training["steps"], eval_batches=1, progress=False
    )
    check_finished(result)
    return {
        "seconds": round(result.seconds, 3),
        "loss": round(validation_loss(model, val_ids), 4),
        "tokens": result.tokens,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def measure_pace(
    train_ids: torch.Tensor,
    val_ids: torch.Tensor,
    vocab_size: int,
    rungs: Sequence[int],
    *,
    sizes: dict,
    batch_size: int,
    rounds: int = 7,
    steps: int = 30,
    device: torch.device | str = "cpu",
) -> dict[int, list[float]]:
    """Seconds of one training step on each rung: [median, lowest, highest] of `rounds` short runs, rung after rung.

    A run has `steps` steps, fewer where that would take longer than 3 seconds.
    """
    found: dict[int, list[float]] = {rung: [] for rung in rungs}
    lengths = dict.fromkeys(rungs, steps)
    for turn in range(rounds + 1):
        for rung in rungs:
            steps = lengths[rung]
            torch.manual_seed(turn)
            model = make_model(rung, vocab_size, sizes).to(device)
            result = train(
                model, train_ids, val_ids, steps=steps, batch_size=batch_size, eval_interval=steps, eval_batches=1,
                progress=False, **settings_of(rung)[1],
            )  # fmt: skip
            if turn:
                found[rung].append(result.seconds / steps)
            else:  # the first round warms up
                lengths[rung] = min(steps, max(2, round(3 * steps / result.seconds)))
    return {
        rung: [round(value, 5) for value in (statistics.median(paces), min(paces), max(paces))]
        for rung, paces in found.items()
    }


def climb(
    train_ids: torch.Tensor,
    val_ids: torch.Tensor,
    vocab_size: int,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    sizes: dict | None = None,
    batch_size: int = 12,
    steps: int = 600,
    rungs: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
    workers: int = 1,
    tell: Callable[[str], object] = print,
) -> list[dict]:
    """Measure rungs (None: all), each at equal tokens and at equal time.

    Equal tokens: `steps` steps for each. Equal time: that in which the first rung takes `steps` steps; how many fit
    into it on another rung is reckoned from the pace of both, so each schedule ends where the run does.
    workers: how many trainings at once. With more than one each has one thread, and its own `seconds` say nothing; the
    pace is measured before, one after the other and with all threads.
    Returns a dict for each rung: name, parameters, pace (seconds of a step: median, lowest, highest), tokens (runs at
    equal tokens), time (runs at equal time). A rung whose step takes over TOO_SLOW times as long as that of the rung before
    is not trained: both are empty.
    """
    sizes = sizes or {"block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128}
    rungs = range(len(RUNGS)) if rungs is None else rungs
    common = {"sizes": sizes, "batch_size": batch_size, "device": device}
    texts = (train_ids, val_ids, vocab_size)
    pace = measure_pace(*texts, rungs, **common)
    for rung in rungs:
        middle, low, high = (1000 * seconds for seconds in pace[rung])
        tell(f"{RUNGS[rung].name:42} {middle:.1f} ms a step ({low:.1f} to {high:.1f})")
    budget = steps * pace[rungs[0]][0]
    results, before = [], math.inf
    with _pool(workers) as run:
        for rung in rungs:
            name, slow = RUNGS[rung].name, pace[rung][0] > TOO_SLOW * before
            before = pace[rung][0]
            if slow:
                parameters = sum(p.numel() for p in make_model(rung, vocab_size, sizes).parameters())
                results.append(
                    {"name": name, "parameters": parameters, "pace": pace[rung], "tokens": [], "time": []}
                )
                tell(
                    f"{name:42} not trained: each step takes over {TOO_SLOW:g} times as long as one rung before"
                )
                continue
            fitting = max(1, round(budget / pace[rung][0]))
            wanted = [steps] if fitting == steps else [steps, fitting]
            done = run(
                [
                    partial(run_rung, rung, *texts, seed=seed, steps=length, **common)
                    for length in wanted
                    for seed in seeds
                ]
            )
            runs, timed = done[: len(seeds)], done[-len(seeds) :]
            parameters = runs[0]["parameters"]
            results.append(
                {"name": name, "parameters": parameters, "pace": pace[rung], "tokens": runs, "time": timed}
            )
            tell(f"{name:42} {_spread(runs)} after {steps * batch_size * sizes['block_size']:,} tokens; "
                 f"{_spread(timed)} after {fitting} steps, which take {budget:.0f} s")  # fmt: skip
    return results


@contextmanager
def _pool(workers: int) -> Iterator[Callable[[list[Callable[[], dict]]], list[dict]]]:
    """A function that makes all calls of a list and returns their results in order: here, or in so many processes."""
    if workers == 1:
        yield lambda calls: [call() for call in calls]
        return
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield lambda calls: [future.result() for future in [pool.submit(call) for call in calls]]


def _spread(runs: list[dict]) -> str:
    losses = sorted(run["loss"] for run in runs)
    return f"{statistics.median(losses):.3f} ({losses[0]:.3f} to {losses[-1]:.3f})"
