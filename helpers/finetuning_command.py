"""What `python -m helpers.finetuning` does: its options, one fine-tuning, or a study of several.

A study keeps the curves that notebook 15 draws beside its own short runs. Introduced by notebook 15.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from helpers import checkpoints
from helpers.answers import exact_match, forgetting
from helpers.arguments import number, whole
from helpers.device import describe, pick_device
from helpers.files import write_whole
from helpers.finetuning import FinetuningResult, finetune, save_chat
from helpers.lora import add_lora, merge_lora
from helpers.questions import Example, make_examples

TRAINING_SEED, HELD_OUT_SEED = 1, 2  # of the tales that are asked about: no tale is in both
FULL = {"optimizer": "muon", "learning_rate": 1e-3}  # where the options name none
LORA = {"optimizer": "adamw", "learning_rate": 1e-2}

# The runs of a study: name -> what differs from the options.
STUDY = {
    "full": {},
    "full, no tales mixed in": {"mix": 0.0},
    "full, prompt not masked": {"no_mask": True},
    "LoRA rank 1": {"lora": 1},
    "LoRA rank 4": {"lora": 4},
    "LoRA rank 8": {"lora": 8},
}


def make_parser(description: str | None = None) -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers.finetuning",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = ap.add_argument
    add(
        "--checkpoint",
        type=Path,
        default=checkpoints.SHIPPED,
        help="the model to begin with (default: the shipped one)",
    )
    add("--out", type=Path, help="where to keep the model: a name ending in .pt or .safetensors")
    add(
        "--study",
        type=Path,
        help="run all of " + "; ".join(STUDY) + ", and keep the curves in this JSON file",
    )
    add("--steps", type=whole(1), default=300, help="training steps (default 300)")
    add("--batch-size", type=whole(1), default=12, help="rows in a batch (default 12)")
    add("--examples", type=whole(1), default=12_000, help="questions to learn from (default 12000)")
    add("--per-tale", type=whole(1, 3), default=3, help="questions about each of their tales (default 3)")
    add(
        "--held-out",
        type=whole(1),
        default=300,
        help="questions about unseen tales to measure on (default 300)",
    )
    add("--learning-rate", type=number(0, open_below=True), help="its peak (default 0.001; with LoRA 0.01)")
    add("--optimizer", choices=["adamw", "muon"], help="default muon; with LoRA adamw")
    add("--lora", type=whole(1), metavar="RANK", help="train corrections of this rank instead of all weights")
    add(
        "--alpha",
        type=number(0, open_below=True),
        default=16.0,
        help="LoRA: corrections count alpha / rank times (default 16)",
    )
    add(
        "--mix",
        type=number(0, 1, open_above=True),
        default=0.1,
        help="share of the loss that is on tales (default 0.1)",
    )
    add(
        "--no-mask",
        action="store_true",
        help="learn to predict the tale and the question too, not the answers alone",
    )
    add("--eval-interval", type=whole(1), default=50, help="steps between evaluations (default 50)")
    add("--seed", type=whole(0, 2**63 - 1), default=1337, help="default 1337")
    add("--device", help="cpu, cuda, cuda:1 or mps (default: the best that is there)")
    add("--json", action="store_true", help="end with one line of JSON")
    return ap


def run(args: argparse.Namespace) -> int:
    """Fine-tune as the parsed options say; returns the exit code."""
    if args.out is not None and args.out.suffix not in (".pt", ".safetensors"):
        raise ValueError(f"--out {args.out}: the name must end in .pt or .safetensors")
    if args.study is not None and args.out is not None:
        raise ValueError("--study keeps curves and no model: use it without --out")
    device = pick_device(args.device)
    room = checkpoints.load(args.checkpoint).config.block_size
    learn = make_examples(args.examples, TRAINING_SEED, args.per_tale, room=room)
    held_out = make_examples(args.held_out, HELD_OUT_SEED, room=room)
    if args.study is not None:
        return study(args, device, learn, held_out)
    result, checkpoint = one_run(args, device, learn, held_out)
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    score = exact_match(model, tokenizer, held_out)
    facts = {
        "exact_match": round(score.share, 4),
        "exact_match_before": result.history[0]["exact_match"],
        "kinds": {kind: round(share, 4) for kind, share in score.kinds.items()},
        "loss_on_tales": round(forgetting(model, tokenizer), 5),
        "loss_on_tales_before": round(result.history[0]["tales"], 5),
        "trained": result.trained,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(result.seconds, 3),
        "steps": result.history[-1]["step"],
    }
    print(
        f"exact match on {len(held_out)} questions about unseen tales: {score.share:.1%} "
        f"(before: {facts['exact_match_before']:.1%}); loss on tales: {facts['loss_on_tales']:.3f} "
        f"(before: {facts['loss_on_tales_before']:.3f})"
    )
    if args.out is not None:
        recipe = {
            name: value for name, value in settings(args).items() if name not in ("out", "json", "study")
        }
        save_chat(args.out, model, tokenizer, recipe=recipe, history=result.history, **facts)
        print(f"model: {args.out}")
    if args.json:
        print(json.dumps(facts))
    if result.stopped:
        return 130 if "by you" in result.stopped else 1
    return 0


def one_run(
    args: argparse.Namespace, device: torch.device, learn: list[Example], held_out: list[Example]
) -> tuple[FinetuningResult, checkpoints.Checkpoint]:
    """One fine-tuning from the checkpoint; LoRA is merged afterwards."""
    checkpoint = checkpoints.load(args.checkpoint, device)
    torch.manual_seed(args.seed)  # for LoRA's random matrices
    if args.lora is not None:
        add_lora(checkpoint.model, args.lora, args.alpha)
    usual = FULL if args.lora is None else LORA
    result = finetune(
        checkpoint.model, checkpoint.tokenizer, learn, steps=args.steps, batch_size=args.batch_size,
        learning_rate=args.learning_rate or usual["learning_rate"], optimizer=args.optimizer or usual["optimizer"],
        mix=args.mix, mask_prompt=not args.no_mask, seed=args.seed, held_out=held_out, eval_interval=args.eval_interval,
    )  # fmt: skip
    if args.lora is not None:
        merge_lora(checkpoint.model)
    return result, checkpoint


def study(
    args: argparse.Namespace, device: torch.device, learn: list[Example], held_out: list[Example]
) -> int:
    """All runs of STUDY; the file is written anew after each, so that a study that is stopped keeps what it has."""
    runs: list[dict] = []
    args.study.parent.mkdir(parents=True, exist_ok=True)
    for name, changes in STUDY.items():
        print(f"{name}:", flush=True)
        changed = argparse.Namespace(**{**vars(args), **changes})
        result, checkpoint = one_run(changed, device, learn, held_out)
        parameters = sum(p.numel() for p in checkpoint.model.parameters())
        lora, mix, mask = changed.lora, changed.mix, not changed.no_mask
        kinds = exact_match(checkpoint.model, checkpoint.tokenizer, held_out).kinds
        about = {"name": name, "lora": lora, "mix": mix, "mask_prompt": mask, "trained": result.trained}
        runs.append(
            about
            | {"parameters": parameters, "kinds": kinds, "history": result.history, "stopped": result.stopped}
        )
        content = {
            "command": command(args),
            "date": time.strftime("%Y-%m-%d"),
            "machine": describe(device),
            "torch": str(torch.__version__),
            "settings": settings(args),
            "runs": runs,
        }
        write_whole(args.study, json.dumps(content, indent=1) + "\n")
        if result.stopped and "by you" in result.stopped:
            return 130
    print(f"curves: {args.study}")
    return 0


def settings(args: argparse.Namespace) -> dict:
    """The options as plain values; of files only the names."""
    return {name: value.name if isinstance(value, Path) else value for name, value in vars(args).items()}


def command(args: argparse.Namespace) -> str:
    """The command that makes this run: only what differs from the defaults."""
    parser, words = make_parser(), ["python -m helpers.finetuning"]
    for name, value in vars(args).items():
        if value != parser.get_default(name):
            value = value.name if isinstance(value, Path) else value
            option = "--" + name.replace("_", "-")
            words.append(option if value is True else f"{option} {value}")
    return " ".join(words)
