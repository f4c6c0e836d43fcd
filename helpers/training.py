"""Training: batches in, smaller loss out.

    result = train(model, train_ids, val_ids, steps=1000, batch_size=12)
    validation_loss(model, val_ids)                 # over the whole validation text

Introduced by notebooks 05 and 10 (sections 31, 34 and 55 of the lecture). Losses are in nats per token.
"""

import copy
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import nn

from helpers.batches import get_batch
from helpers.device import synchronize
from helpers.optimizers import Muon

EVALUATION_SEED = (
    20_000  # the same batches at every evaluation, so that the curve shows the model, not the draw
)


@dataclass
class TrainingResult:
    """What a call of `train` did.

    history: one dict for each evaluation: step, train, validation (nats per token), seconds.
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


def block_size_of(model: nn.Module, block_size: int | None = None) -> int:
    """`block_size` if it is given, else the model's own; ValueError where there is neither."""
    size = block_size or getattr(getattr(model, "config", None), "block_size", None)
    if size is None:
        raise ValueError(f"{type(model).__name__} has no block_size of its own: give block_size=...")
    return size


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights."""
    return next(model.parameters()).device


@torch.no_grad()
def estimate_loss(
    model: nn.Module,
    splits: dict[str, torch.Tensor],
    *,
    batch_size: int = 12,
    block_size: int | None = None,
    batches: int = 50,
) -> dict[str, float]:
    """Mean loss over a few random batches of each split, in nats per token.

    splits: name -> ids (N,). The batches are the same at each call. Runs in eval mode and restores the mode.
    """
    size, device, was_training = block_size_of(model, block_size), device_of(model), model.training
    model.eval()
    try:
        means = {}
        for name, ids in splits.items():
            generator = torch.Generator().manual_seed(EVALUATION_SEED)
            draws = (get_batch(ids, size, batch_size, generator, device) for _ in range(batches))
            means[name] = torch.stack([model(x, y)[1] for x, y in draws]).mean().item()
        return means
    finally:
        model.train(was_training)


@torch.no_grad()
def validation_loss(
    model: nn.Module, ids: torch.Tensor, *, block_size: int | None = None, batch_size: int = 32
) -> float:
    """Loss over a whole text in nats per token: windows of block_size without overlap, each starting fresh.

    ids: (N,), N >= 2. Each of the N - 1 targets is predicted exactly once. Eval mode, restored afterwards.
    """
    if len(ids) < 2:
        raise ValueError(f"the text has {len(ids)} tokens, but one input and one target need at least 2")
    size, device, was_training = block_size_of(model, block_size), device_of(model), model.training
    whole = (len(ids) - 1) // size
    windows = (
        ids[: whole * size].view(whole, size),
        ids[1 : whole * size + 1].view(whole, size),
    )  # (N, T) each
    chunks = [(x, y) for x, y in zip(*(w.split(batch_size) for w in windows), strict=True) if len(x)]
    if whole * size < len(ids) - 1:  # the last, shorter window
        chunks.append((ids[whole * size : -1].view(1, -1), ids[whole * size + 1 :].view(1, -1)))
    model.eval()
    try:
        total = sum(
            model(x.long().to(device), y.long().to(device))[1].cpu().double() * y.numel() for x, y in chunks
        )
        return total.item() / (len(ids) - 1)
    finally:
        model.train(was_training)


@torch.no_grad()
def document_loss(
    model: nn.Module, documents: list[torch.Tensor], *, given: int = 1, batch_size: int = 16
) -> float:
    """Loss over documents in nats per token, each read from its beginning: comparable with an exact floor.

    documents: ids (T_i,) each. The first `given` ids of each are only read, all others are predicted once, from
    everything before them. (`validation_loss` cuts a text anywhere, so its windows begin in the middle of something.)
    Eval mode, restored afterwards. The model raises ValueError for a document longer than its context.
    """
    device, was_training = device_of(model), model.training
    total, count = 0.0, 0
    model.eval()
    try:
        for first in range(0, len(documents), batch_size):
            some = [ids.long() for ids in documents[first : first + batch_size]]
            rows = nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=-100)  # (B, T+1)
            x, y = rows[:, :-1].clamp(min=0), rows[:, 1:].clone()  # (B, T) each
            y[:, : given - 1] = -100  # cross_entropy leaves these out
            predicted = int((y >= 0).sum())
            total += model(x.to(device), y.to(device))[1].item() * predicted
            count += predicted
        return total / count
    finally:
        model.train(was_training)


def learning_rate_at(step: int, steps: int, peak: float, warmup: int = 0, final: float = 0.0) -> float:
    """Learning rate of step 0, 1, ... steps-1: a linear warm-up to `peak`, then half a cosine down to `final`.

    The first step already has the rate peak / (warmup + 1), never 0.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * min(1.0, progress)))


def draw_batch(
    ids: torch.Tensor, block_size: int, batch_size: int, generator: torch.Generator, device: torch.device,
    starts: torch.Tensor | None, aligned: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """A batch as of `get_batch`, of which the first `aligned` windows begin at one of `starts`."""
    if not aligned:
        return get_batch(ids, block_size, batch_size, generator, device)
    parts = [get_batch(ids, block_size, aligned, generator, device, starts)]
    if aligned < batch_size:
        parts.append(get_batch(ids, block_size, batch_size - aligned, generator, device))
    x, y = (torch.cat(part) for part in zip(*parts, strict=True))
    return x, y  # (B, T) each


def window_parts(step: int, steps: int, short_first: float) -> int:
    """Into how many parts the windows of this step are cut: 4, then 2 over the share `short_first` of the steps, then 1."""
    if step >= short_first * steps:
        return 1
    return 4 if step < short_first * steps / 2 else 2


def make_optimizers(
    model: nn.Module, name: str, learning_rate: float, weight_decay: float, betas: tuple[float, float]
) -> list[torch.optim.Optimizer]:
    """The optimizers of all parameters, each group with its `peak` rate.

    "adamw": AdamW, weight decay on matrices only. "muon": Muon (Jordan et al. 2024) at ten times the rate for the
    matrices inside the blocks, AdamW for the rest.
    """
    if name not in ("adamw", "muon"):
        raise ValueError(f'optimizer={name!r}, but it is "adamw" or "muon"')
    muon, matrices, rest = [], [], []
    for where, p in model.named_parameters():
        (
            muon
            if name == "muon" and p.ndim == 2 and "blocks." in where
            else matrices
            if p.ndim >= 2
            else rest
        ).append(p)
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    fused = {"fused": True} if device_of(model).type in ("cuda", "cpu") else {}
    groups = [group for group in groups if group["params"]]
    optimizers = [torch.optim.AdamW(groups, lr=learning_rate, betas=betas, **fused)] if groups else []
    if muon:
        optimizers.append(Muon(muon, lr=10 * learning_rate, weight_decay=weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def accumulate_gradients(model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], count: int):
    """Add the gradients of `count` equal batches, each divided by `count`: the gradient of one large batch.

    Returns the mean loss, a tensor without gradient.
    """
    total = 0.0
    for x, y in batches:
        loss = model(x, y)[1] / count
        loss.backward()
        total = total + loss.detach()
    return total


def compile_or_note(model: nn.Module, notice: Callable[[str], object] = print) -> Callable:
    """`torch.compile(model)` where that works on this machine; else the model itself, and a note that says why."""
    try:
        compiled = torch.compile(model)
        ids = torch.zeros(2, 2, dtype=torch.long, device=device_of(model))
        compiled(ids, ids)
        torch._dynamo.reset()  # the trial shape is not kept
        return compiled
    except Exception as error:  # torch.compile fails in many ways: no compiler, an old system, Windows
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        notice(
            f"torch.compile does not work here ({reason[:120]}): going on without it, with the same results."
        )
        return model


def train(
    model: nn.Module,
    train_ids: torch.Tensor,
    val_ids: torch.Tensor,
    *,
    steps: int = 1000,
    batch_size: int = 12,
    block_size: int | None = None,
    learning_rate: float = 3e-3,
    warmup: int | None = None,
    final_fraction: float = 0.1,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.99),
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
    resume: dict | None = None,
    on_evaluation: Callable[[TrainingResult], object] | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Train `model` in place and return what happened.

    train_ids, val_ids: (N,) integers on any device. Each step draws `accumulation` batches of
    (batch_size, block_size), clips the gradient's norm at `clip` (0 = never) and follows a schedule: `warmup` steps
    up to learning_rate (None: a twentieth of the steps), then a cosine down to final_fraction of it.
    short_first: share of the steps, from the first on, with shorter windows and more of them: a quarter of the length,
    then half of it. The same tokens in less time, and sooner learnt (Li et al. 2021, arXiv 2108.06084).
    starts: (M,) positions in train_ids where documents begin; the share from_starts of the full-length windows begins
    there, so that the model sees documents from their beginning, as when it writes one.
    Every eval_interval steps, and at the end, the loss is estimated, shown and handed to `on_evaluation`.
    resume: the `state` of an earlier result, for the same model and settings: goes on bit for bit on the CPU.
    progress: show a bar and a line for each evaluation.

    Ctrl-C or the stop button ends after the step at hand and leaves a usable model. A loss that is not finite ends
    the training too, with the weights of the last evaluation. Neither raises; `result.stopped` says it.
    Raises ValueError for settings that cannot work.
    """
    for name, value in {
        "steps": steps,
        "batch_size": batch_size,
        "accumulation": accumulation,
        "eval_interval": eval_interval,
        "eval_batches": eval_batches,
    }.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}, but it is a whole number of at least 1")
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate={learning_rate}, but it is a positive number such as 0.003")
    size, device = block_size_of(model, block_size), device_of(model)
    for name, ids in (("training", train_ids), ("validation", val_ids)):
        if len(ids) < size + 1:
            raise ValueError(
                f"the {name} text has {len(ids)} tokens, but block_size={size} needs at least {size + 1}: "
                "use a longer text or a smaller block_size"
            )
    warmup = min(100, steps // 20) if warmup is None else warmup
    say = _Printer(steps, progress)
    already = getattr(model, "trained_steps", 0)
    if already and resume is None:
        say.line(
            f"This model has had {already} steps already: training continues from there. "
            "Make a new model to start from nothing."
        )
    optimizers = make_optimizers(model, optimizer, learning_rate, weight_decay, betas)
    generator = torch.Generator().manual_seed(seed)
    result, first = TrainingResult(), 0
    if resume is None:
        torch.manual_seed(seed)  # for dropout
    else:
        first = _restore(resume, result, optimizers, generator, steps)
    step_model = compile_or_note(model, say.line) if compile else model
    splits = {"train": train_ids, "validation": val_ids}
    good = copy.deepcopy(model.state_dict())
    good_state = _state(first, result, optimizers, generator)
    was_training = model.training

    def evaluate(step: int) -> None:
        nonlocal good, good_state
        losses = estimate_loss(model, splits, batch_size=batch_size, block_size=size, batches=eval_batches)
        result.history.append({"step": step, **losses, "seconds": result.seconds})
        good = copy.deepcopy(model.state_dict())
        if losses["validation"] < result.best_loss:
            result.best_loss, result.best_step, result.best_state = losses["validation"], step, good
        good_state = result.state = _state(step, result, optimizers, generator)
        say.evaluation(result.history[-1])
        if on_evaluation is not None:
            on_evaluation(result)

    step = first
    try:
        with _StopAfterStep() as stop:
            if not result.history:
                evaluate(first)
            model.train()
            clock = time.perf_counter()
            while step < steps and not stop.requested:
                for each in optimizers:
                    for group in each.param_groups:
                        group["lr"] = learning_rate_at(
                            step, steps, group["peak"], warmup, final_fraction * group["peak"]
                        )
                    each.zero_grad(set_to_none=True)
                parts = window_parts(step, steps, short_first)
                shape = (size // parts, batch_size * parts) if size % parts == 0 else (size, batch_size)
                aligned = round(from_starts * batch_size) if starts is not None and parts == 1 else 0
                draws = (
                    draw_batch(train_ids, *shape, generator, device, starts, aligned)
                    for _ in range(accumulation)
                )
                loss = accumulate_gradients(step_model, draws, accumulation)
                step += 1
                # On a GPU reading the loss waits for it, so it is read at every tenth step only.
                look = device.type == "cpu" or step % 10 == 0 or step == steps
                if look and not math.isfinite(loss.item()):
                    result.stopped = _not_finite(step, loss.item(), learning_rate)
                    break
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                for each in optimizers:
                    each.step()
                model.trained_steps = getattr(model, "trained_steps", 0) + 1
                result.tokens += shape[0] * shape[1] * accumulation
                say.step(step)
                if step % eval_interval == 0 or step == steps:
                    synchronize(device)
                    result.seconds += time.perf_counter() - clock
                    evaluate(step)
                    clock = time.perf_counter()
            if stop.requested and step < steps:
                synchronize(device)
                result.seconds += time.perf_counter() - clock
                result.stopped = f"stopped by you after step {step} of {steps}"
                if result.history[-1]["step"] < step:  # so that the best weights and the state are up to date
                    evaluate(step)
    except KeyboardInterrupt:  # a second Ctrl-C, or one that came outside the main thread
        result.stopped = f"stopped by you in step {step + 1} of {steps}"
    finally:
        say.close()
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    if result.stopped and "not finite" in result.stopped:
        model.load_state_dict(good)
        result.state = good_state
        say.line(result.stopped)
    elif result.stopped:
        say.line(
            f"Training {result.stopped}. The model can be used as it is. To go on: run the cell again, or "
            "train(..., resume=result.state) to go on exactly from here."
        )
    return result


def _state(step: int, result: TrainingResult, optimizers: list, generator: torch.Generator) -> dict:
    """All that a resume needs besides the weights, as tensors and plain values (safe for weights_only=True)."""
    state = {
        "step": step, "seconds": result.seconds, "tokens": result.tokens, "history": list(result.history),
        "best_loss": result.best_loss, "best_step": result.best_step, "best_state": result.best_state,
        "optimizers": copy.deepcopy([optimizer.state_dict() for optimizer in optimizers]),
        "generator": generator.get_state(), "rng": torch.get_rng_state(),
    }  # fmt: skip
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state_all()
    return state


def _restore(
    state: dict, result: TrainingResult, optimizers: list, generator: torch.Generator, steps: int
) -> int:
    """Put back what `_state` kept; returns the number of steps done."""
    if state["step"] >= steps:
        raise ValueError(
            f"this run has had {state['step']} steps already; ask for more than steps={steps} to go on"
        )
    if len(state["optimizers"]) != len(optimizers):
        raise ValueError("the state to resume from was made with another optimizer: use the same settings")
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(copy.deepcopy(kept))
    generator.set_state(state["generator"].cpu())
    torch.set_rng_state(state["rng"].cpu())
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda_rng"]])
    for name in ("seconds", "tokens", "best_loss", "best_step", "best_state"):
        setattr(result, name, state[name])
    result.history = list(state["history"])
    result.state = state
    return state["step"]


def _not_finite(step: int, loss: float, learning_rate: float) -> str:
    return (
        f"The loss is not finite ({loss}) at step {step}: training stopped, and the model has the weights of the last "
        f"evaluation again. What usually helps: a smaller learning_rate (it was {learning_rate:g}; try "
        f"{min(learning_rate / 10, 3e-3):g}), a longer warmup, clip=1.0, and a look for zeros under a logarithm or a division."
    )


class _StopAfterStep:
    """While it is open, the first Ctrl-C (or stop button) asks for a stop after the step at hand."""

    def __enter__(self):
        self.requested, self.before = False, None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *error):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


class _Printer:
    """The progress bar and the lines of a training run."""

    def __init__(self, steps: int, show: bool):
        self.steps, self.show, self.bar, self.started = steps, show, None, None

    def line(self, text: str) -> None:
        if self.show or self.bar is None:
            print(text, flush=True)

    def step(self, step: int) -> None:
        if self.show and self.bar is None:
            self.bar = progress_bar(self.steps, initial=step - 1, unit="step")
            self.started = (step - 1, time.perf_counter())
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def evaluation(self, entry: dict) -> None:
        if not self.show:
            return
        left = ""
        if self.started and entry["step"] > self.started[0]:
            pace = (time.perf_counter() - self.started[1]) / (entry["step"] - self.started[0])
            left = (
                f"  {pace * (self.steps - entry['step']):5.0f} s left" if entry["step"] < self.steps else ""
            )
        print(f"step {entry['step']:5d}   train {entry['train']:.3f}   validation {entry['validation']:.3f}"
              f"   {entry['seconds']:5.1f} s{left}", flush=True)  # fmt: skip

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def progress_bar(total: int, **options):
    """A tqdm bar: a widget in a notebook that has ipywidgets, text in a terminal, nothing elsewhere."""
    from tqdm.std import tqdm

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        try:
            import ipywidgets  # noqa: F401  (without it tqdm's notebook bar warns)
            from tqdm.notebook import tqdm
        except ImportError:
            options["disable"] = True
    elif not sys.stderr.isatty():
        options["disable"] = True
    return tqdm(total=total, leave=False, **options)
