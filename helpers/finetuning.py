"""Fine-tuning: a model that continues tales learns to answer questions about them.

    checkpoint = load(SHIPPED)
    result = finetune(checkpoint.model, checkpoint.tokenizer, make_examples(3600, seed=1, per_tale=3))

    python -m helpers.finetuning --out data/my_chat.pt          # the same at length, from the command line
    python -m helpers.finetuning --lora 8 --out data/my_chat.pt
    python -m helpers.finetuning --study data/my_study.json     # several ways, one after the other, with their curves

The loss asks for the answers alone; a share `mix` of it stays with tales, so that the model does not forget them. For
LoRA, call `add_lora` of helpers/lora.py before.
Introduced by notebook 15.
"""

import copy
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from helpers import checkpoints
from helpers.answers import exact_match, forgetting
from helpers.device import synchronize
from helpers.lora import count_trained
from helpers.losses import block_size_of, device_of
from helpers.progress_lines import progress_bar
from helpers.questions import CHAT, IGNORED, Example, encode_rows, stack
from helpers.steps import learning_rate_at, make_optimizers
from helpers.stopping import StopAfterStep, not_finite
from helpers.tales import SEPARATOR, write_tales
from helpers.tokenizer import Tokenizer

MIXED_TALES_SEED = 3  # another than those of the tales that losses are measured on


@dataclass
class FinetuningResult:
    """What a call of `finetune` did.

    history: one dict for each evaluation: step, train (mean loss of the steps since the last one; None at first),
    validation (loss on the held-out answers), exact_match (share), tales (loss on fresh tales), all losses in nats per
    character; seconds, learning_rate.
    seconds: training steps only. trained: how many numbers were trained. stopped: why it ended early, or None.
    """

    history: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    trained: int = 0
    stopped: str | None = None


def finetune(
    model: nn.Module,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    *,
    steps: int = 100,
    batch_size: int = 12,
    learning_rate: float = 1e-3,
    optimizer: str = "muon",
    mix: float = 0.1,
    mask_prompt: bool = True,
    warmup: int | None = None,
    final_fraction: float = 0.0,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    seed: int = 1337,
    held_out: Sequence[Example] = (),
    eval_interval: int | None = None,
    on_evaluation: Callable[[FinetuningResult], object] | None = None,
    progress: bool = True,
) -> FinetuningResult:
    """Train all parameters of `model` that take a gradient, in place, and return what happened.

    Each step draws batch_size rows of `examples` (questions about one tale share a row) and follows the learning rate of
    `learning_rate_at`; warmup None: a twentieth of the steps. mask_prompt: only the answers count in the loss.
    optimizer: as of `make_optimizers`; "adamw" with a larger learning rate is the one for LoRA, 0.01 for instance.
    mix: share of the loss that is the loss on tales; the same share of batch_size, but at least one tale, is drawn too.
    Every eval_interval steps (None: once, at the end), and before the first, `held_out` is asked and tales are read.

    Ctrl-C or the stop button ends after the step at hand; a loss that is not finite, or a second Ctrl-C, brings the
    weights of the last evaluation back. None raises: `result.stopped` says it. Raises ValueError for settings that
    cannot work.
    """
    eval_interval = steps if eval_interval is None else eval_interval
    _check(steps=steps, batch_size=batch_size, eval_interval=eval_interval)
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate={learning_rate}, but it is a positive number such as 0.001")
    if not 0 <= mix < 1:
        raise ValueError(
            f"mix={mix}, but it is a share from 0 (no tales) up to, not including, 1 (no questions)"
        )
    if count_trained(model) == 0:
        raise ValueError(
            "0 numbers of this model would be trained: LoRA of rank 0 changes nothing; use a rank of at least 1"
        )
    size, device, was_training = block_size_of(model), device_of(model), model.training
    warmup = steps // 20 if warmup is None else warmup
    generator = torch.Generator().manual_seed(seed)
    if not examples:
        raise ValueError("there are 0 examples to learn from: make_examples(1000, seed=1) makes some")
    asked = _batches(encode_rows(examples, tokenizer, size, mask_prompt), batch_size, generator)
    told = _batches(_tale_rows(tokenizer, size), max(1, round(mix * batch_size)), generator) if mix else None
    optimizers = make_optimizers(model, optimizer, learning_rate, weight_decay, (0.9, 0.95))
    torch.manual_seed(seed)  # for dropout
    result, good, losses = FinetuningResult(trained=count_trained(model)), {}, []

    def evaluate(step: int) -> None:
        nonlocal good
        good = copy.deepcopy(model.state_dict())
        score = exact_match(model, tokenizer, held_out) if held_out else None
        row = {
            "step": step,
            "train": sum(losses) / len(losses) if losses else None,
            "validation": score and score.loss,
            "exact_match": score and score.share,
            "tales": forgetting(model, tokenizer),
            "seconds": result.seconds,
            "learning_rate": optimizers[0].param_groups[0]["lr"],
        }
        losses.clear()
        result.history.append(row)
        if progress:
            shown = "" if score is None else f"   exact match {score.share:6.1%}"
            print(
                f"step {step:5d}{shown}   loss on tales {row['tales']:.3f}   {row['seconds']:5.1f} s",
                flush=True,
            )
        if on_evaluation is not None:
            on_evaluation(result)

    step, bar = 0, None
    try:
        with StopAfterStep() as stop:
            evaluate(0)
            bar = progress_bar(steps, unit="step", disable=not progress)
            model.train()
            clock = time.perf_counter()
            while step < steps and not stop.requested:
                for each in optimizers:
                    for group in each.param_groups:
                        group["lr"] = learning_rate_at(
                            step, steps, group["peak"], warmup, final_fraction * group["peak"]
                        )
                    each.zero_grad(set_to_none=True)
                x, y = next(asked)  # (B, T) each
                loss = (1 - mix) * model(x.to(device), y.to(device))[1]
                if told is not None:
                    x, y = next(told)
                    loss = loss + mix * model(x.to(device), y.to(device))[1]
                loss.backward()
                step += 1
                if not math.isfinite(loss.item()):
                    result.stopped = not_finite(step, loss.item(), learning_rate)
                    break
                losses.append(loss.item())
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                for each in optimizers:
                    each.step()
                bar.update(1)
                if step % eval_interval == 0 or step == steps or stop.requested:
                    synchronize(device)
                    result.seconds += time.perf_counter() - clock
                    evaluate(step)
                    model.train()
                    clock = time.perf_counter()
            if step < steps and result.stopped is None:
                result.stopped = f"stopped by you after step {step} of {steps}"
    except KeyboardInterrupt:  # a second Ctrl-C, or one that came outside the main thread
        result.stopped = (
            f"stopped by you in step {step + 1} of {steps}; the weights are those of the last evaluation"
        )
        model.load_state_dict(good or model.state_dict())
    finally:
        if bar is not None:
            bar.close()
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    if result.stopped and "not finite" in result.stopped:
        model.load_state_dict(good)
    if result.stopped:
        print(f"Fine-tuning: {result.stopped}", flush=True)
    return result


def save_chat(path: str | Path, model: nn.Module, tokenizer: Tokenizer, **info) -> Path:
    """Keep a fine-tuned model so that helpers.chat knows how it is asked. Raises ValueError while LoRA is not merged."""
    return checkpoints.save(path, model, tokenizer, chat=CHAT, **info)


def _batches(rows: list, batch_size: int, generator: torch.Generator):
    """Batches without end: all rows in random order, then all again in another. x, y: (B, T) each."""
    order: list[int] = []
    while True:
        while len(order) < batch_size:
            order += torch.randperm(len(rows), generator=generator).tolist()
        some, order = order[:batch_size], order[batch_size:]
        yield stack([rows[i] for i in some])


def _tale_rows(tokenizer: Tokenizer, size: int) -> list:
    """Tales as rows of ids (T+1,) and targets (T,): the separator is given, the tale and the next one are predicted."""
    rows = []
    for tale in write_tales(100_000, seed=MIXED_TALES_SEED).removesuffix(SEPARATOR).split(SEPARATOR):
        ids = torch.from_numpy(tokenizer.encode(SEPARATOR + tale + SEPARATOR)).long()[: size + 1]  # (T+1,)
        targets = ids[1:].clone()  # (T,)
        targets[: len(SEPARATOR) - 1] = IGNORED
        rows.append((ids, targets))
    return rows


def _check(**counts: int) -> None:
    """Raise ValueError for a setting that is no whole number of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}, but it is a whole number of at least 1")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 1 a clear message was printed, 130 stopped by Ctrl-C)."""
    from helpers.finetuning_command import make_parser, run

    args = make_parser(__doc__).parse_args(argv)
    try:
        return run(args)
    except KeyboardInterrupt:  # outside of a training, which ends by itself
        print("Stopped.", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
