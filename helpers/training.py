"""Training: batches in, smaller loss out.

    result = train(model, train_ids, val_ids, steps=1000, batch_size=12)
    validation_loss(model, val_ids)                 # over the whole validation text

Introduced by notebooks 05 and 10 (sections 31, 34 and 55 of the lecture). Losses are in nats per token.
"""

import copy
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import nn

from helpers import distributed
from helpers.batches import TokenFile
from helpers.device import synchronize
from helpers.losses import (
    EVALUATION_SEED,
    block_size_of,
    device_of,
    document_loss,
    estimate_loss,
    validation_loss,
)
from helpers.precision import Autocast, autocast, usable_dtype
from helpers.progress_lines import Printer, progress_bar
from helpers.quick_dropout import quick_dropout
from helpers.steps import (
    accumulate_gradients,
    compile_or_note,
    draw_batch,
    learning_rate_at,
    make_optimizers,
    window_parts,
)
from helpers.stopping import StopAfterStep, not_finite
from helpers.training_state import restore, state_of

__all__ = [
    "EVALUATION_SEED", "TrainingResult", "accumulate_gradients", "block_size_of", "check_finished", "check_sizes",
    "compile_or_note", "device_of", "document_loss", "draw_batch", "estimate_loss", "learning_rate_at",
    "make_optimizers", "progress_bar", "train", "validation_loss", "window_parts",
]  # fmt: skip


@dataclass
class TrainingResult:
    """What a call of `train` did.

    history: one dict for each evaluation: step, train, validation (nats per token), seconds, learning_rate (of the
    last step), tokens (so far).
    seconds: training steps only, evaluations left out. tokens: how many targets the model was trained on.
    stopped: why it ended early, or None. state: hand it to `train(resume=...)` to go on exactly from here.
    best_state: the weights at the evaluation with the lowest validation loss.
    """

    history: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0
    stopped: str | None = None
    state: dict = field(default_factory=dict, repr=False)
    best_state: dict = field(default_factory=dict, repr=False)
    best_step: int = 0
    best_loss: float = math.inf

    @property
    def stopped_by_hand(self) -> bool:
        """Whether it ended early because someone interrupted it."""
        return self.stopped is not None and "by you" in self.stopped


def check_finished(result: TrainingResult) -> None:
    """Raise for a training that ended early: as a measurement half a run would be a wrong one.

    KeyboardInterrupt where it was stopped by hand, which `train` had caught; else RuntimeError.
    """
    if result.stopped_by_hand:
        raise KeyboardInterrupt
    if result.stopped:
        raise RuntimeError(f"a run was not finished: {result.stopped}")


def train(
    model: nn.Module,
    train_ids: torch.Tensor | TokenFile,
    val_ids: torch.Tensor | TokenFile,
    *,
    steps: int = 1000,
    batch_size: int = 12,
    block_size: int | None = None,
    learning_rate: float = 3e-3,
    warmup: int | None = None,
    final_fraction: float = 0.1,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.99),
    momentum: float = 0.95,
    clip: float = 1.0,
    accumulation: int = 1,
    optimizer: str = "adamw",
    short_first: float = 0.0,
    starts: torch.Tensor | None = None,
    from_starts: float = 0.75,
    eval_interval: int = 250,
    eval_batches: int = 50,
    seed: int = 1337,
    compile: bool = False,
    dtype: str = "float32",
    resume: dict | None = None,
    on_evaluation: Callable[[TrainingResult], object] | None = None,
    on_save: Callable[[TrainingResult], object] | None = None,
    save_interval: int | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Train `model` in place and return what happened.

    train_ids, val_ids: (N,) integers on any device, or token files. Each step draws `accumulation` batches of
    (batch_size, block_size), clips the gradient's norm at `clip` (0 = never) and follows a schedule: `warmup` steps
    up to learning_rate (None: a twentieth of the steps), then a cosine down to final_fraction of it.
    optimizer, momentum: "adamw", or "muon", which alone has this momentum; a long training bears a longer memory.
    short_first: share of the steps, from the first on, with shorter windows and more of them: a quarter of the length,
    then half of it. The same tokens in less time, and sooner learnt (Li et al. 2021, arXiv 2108.06084).
    starts: (M,) positions in train_ids where documents begin; the share from_starts of the full-length windows begins
    there, so that the model sees documents from their beginning, as when it writes one.
    dtype: "bfloat16" computes in it where that is safe; the weights stay float32.
    Every eval_interval steps, and at the end, the loss is estimated, shown and handed to `on_evaluation`.
    Every save_interval steps (None: eval_interval), before an evaluation, `on_save` is called: model and result.state
    are then what a resume needs. resume: the `state` of an earlier result, for the same model and settings: goes on bit
    for bit on the CPU.
    progress: show a bar and a line for each evaluation.
    Under torchrun each process takes its rows of every batch; the two functions are called in the first process only.

    Ctrl-C or the stop button ends after the step at hand and leaves a usable model. A loss that is not finite ends
    the training too, with the weights of the last evaluation; so does a second Ctrl-C. None raises; `result.stopped`
    says it. Raises ValueError for settings that cannot work.
    """
    save_interval = eval_interval if save_interval is None else save_interval
    _check_counts(
        steps=steps, batch_size=batch_size, accumulation=accumulation, eval_interval=eval_interval,
        eval_batches=eval_batches, save_interval=save_interval,
    )  # fmt: skip
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate={learning_rate}, but it is a positive number such as 0.003")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum}, but it is at least 0 and below 1, such as 0.95")
    size, device = block_size_of(model, block_size), device_of(model)
    check_sizes(train_ids, val_ids, size, batch_size)
    warmup = min(100, steps // 20) if warmup is None else warmup
    say = Printer(steps, progress and distributed.is_first())
    already = getattr(model, "trained_steps", 0)
    if already and resume is None:
        say.line(
            f"This model has had {already} steps already: training continues from there. "
            "Make a new model to start from nothing."
        )
    dtype = usable_dtype(dtype, device, say.line)
    step_model = model if dtype == "float32" else Autocast(model, dtype)
    eager = step_model
    step_model = compile_or_note(step_model, say.line) if compile else step_model
    # On a CPU the random numbers of dropout cost a third of a step; a compiled model draws its own.
    quick = quick_dropout if device.type == "cpu" and step_model is eager else nullcontext
    step_model = distributed.averaging(step_model, device)
    optimizers = make_optimizers(model, optimizer, learning_rate, weight_decay, betas, momentum)
    generator = torch.Generator().manual_seed(seed)
    result, first = TrainingResult(), 0
    torch.manual_seed(seed + distributed.rank())  # for dropout
    if resume is not None:
        first = restore(resume, result, optimizers, generator, device, steps)
    splits = {"train": train_ids, "validation": val_ids}
    good = copy.deepcopy(model.state_dict())
    good_state = state_of(first, result, optimizers, generator, device)
    was_training = model.training

    def rate(step: int, peak: float = learning_rate) -> float:
        return learning_rate_at(step, steps, peak, warmup, final_fraction * peak)

    def measure() -> dict[str, float]:
        with autocast(device, dtype):
            return estimate_loss(model, splits, batch_size=batch_size, block_size=size, batches=eval_batches)

    def tell(listener: Callable[[TrainingResult], object] | None) -> None:
        if listener is not None:
            distributed.from_first(lambda: (listener(result), None)[1])

    def save(step: int) -> None:
        result.state = state_of(step, result, optimizers, generator, device)
        tell(on_save)

    def evaluate(step: int) -> None:
        nonlocal good, good_state
        losses = distributed.from_first(measure)
        latest = optimizers[0].param_groups[0]["lr"] if step else rate(0)
        rest = {"seconds": result.seconds, "learning_rate": latest, "tokens": result.tokens}
        result.history.append({"step": step, **losses, **rest})
        weights = copy.deepcopy(model.state_dict())
        if losses["validation"] < result.best_loss:
            result.best_loss, result.best_step, result.best_state = losses["validation"], step, weights
        result.state = state_of(step, result, optimizers, generator, device)
        if math.isfinite(losses["validation"]):
            good, good_state = weights, result.state
        say.evaluation(result.history[-1])
        tell(on_evaluation)

    step = first
    try:
        with StopAfterStep() as stop:
            # A state that was kept at an evaluation was kept before it.
            if not result.history or (
                result.history[-1]["step"] < first and (first % eval_interval == 0 or first == steps)
            ):
                if resume is None and on_save is not None:
                    save(first)  # a full disk shows at once
                evaluate(first)
            model.train()
            clock = time.perf_counter()
            ending = distributed.any_of(stop.requested)
            while step < steps and not ending:
                for each in optimizers:
                    for group in each.param_groups:
                        group["lr"] = rate(step, group["peak"])
                    each.zero_grad(set_to_none=True)
                parts = window_parts(step, steps, short_first)
                shape = (size // parts, batch_size * parts) if size % parts == 0 else (size, batch_size)
                aligned = round(from_starts * batch_size) if starts is not None and parts == 1 else 0
                draws = (
                    map(
                        distributed.rows_of, draw_batch(train_ids, *shape, generator, device, starts, aligned)
                    )
                    for _ in range(accumulation)
                )
                loss = 0.0
                with quick(model):
                    if accumulation > 1:
                        with distributed.not_yet(step_model):
                            loss = accumulate_gradients(
                                step_model, islice(draws, accumulation - 1), accumulation
                            )
                    loss = loss + accumulate_gradients(step_model, draws, accumulation)
                step += 1
                # On a GPU reading the loss waits for it, so it is read at every tenth step only.
                look = device.type == "cpu" or step % 10 == 0 or step == steps
                if look and not math.isfinite(value := distributed.mean(loss).item()):
                    result.stopped = not_finite(step, value, learning_rate)
                    break
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                for each in optimizers:
                    each.step()
                model.trained_steps = getattr(model, "trained_steps", 0) + 1
                result.tokens += shape[0] * shape[1] * accumulation
                say.step(step)
                saves = on_save is not None and (step % save_interval == 0 or step == steps)
                evaluates = step % eval_interval == 0 or step == steps
                if saves or evaluates:
                    synchronize(device)
                    result.seconds += time.perf_counter() - clock
                    if saves:
                        save(step)
                    if evaluates:
                        evaluate(step)
                    clock = time.perf_counter()
                if look or distributed.world_size() == 1:
                    ending = distributed.any_of(stop.requested)
            if ending and step < steps:
                synchronize(device)
                result.seconds += time.perf_counter() - clock
                result.stopped = f"stopped by you after step {step} of {steps}"
                if result.history[-1]["step"] < step:
                    # The best weights shall be up to date, but a resume is the run that was not stopped.
                    good = copy.deepcopy(model.state_dict())
                    good_state = kept = state_of(step, result, optimizers, generator, device)
                    evaluate(step)
                    result.state = kept
    except KeyboardInterrupt:  # a second Ctrl-C, or one that came outside the main thread
        result.stopped = f"stopped by you in step {step + 1} of {steps}, and the model is that of step {good_state['step']} again"
        _go_back(model, result, good, good_state)
    finally:
        say.close()
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    if result.stopped and "not finite" in result.stopped:
        _go_back(model, result, good, good_state)
        say.line(result.stopped)
    elif result.stopped:
        say.line(
            f"Training {result.stopped}. The model can be used as it is. To go on: run the cell again, or "
            "train(..., resume=result.state) to go on exactly from here."
        )
    return result


def check_sizes(
    train_ids: torch.Tensor | TokenFile, val_ids: torch.Tensor | TokenFile, block_size: int, batch_size: int
) -> None:
    """Raise ValueError for a text that is shorter than a window, or a batch that the processes cannot share."""
    for name, ids in (("training", train_ids), ("validation", val_ids)):
        if len(ids) < block_size + 1:
            raise ValueError(
                f"the {name} text has {len(ids)} tokens, but block_size={block_size} needs at least {block_size + 1}: "
                "use a longer text or a smaller block_size"
            )
    processes = distributed.world_size()
    if batch_size % processes:
        raise ValueError(
            f"batch_size={batch_size} cannot be shared equally by {processes} processes: use a multiple of {processes}"
        )


def _check_counts(**counts: int) -> None:
    """Raise ValueError for a setting that is no whole number of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}, but it is a whole number of at least 1")


def _go_back(model: nn.Module, result: TrainingResult, weights: dict, state: dict) -> None:
    """Weights and state that belong together again."""
    model.load_state_dict(weights)
    result.state = state
