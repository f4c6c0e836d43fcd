"""Train a GPT from the command line.

    python -m helpers.train                                        # the book or the tales, settings for two CPU cores
    python -m helpers.train --text my_text.txt --out data/mine.pt
    python -m helpers.train --preset shipped                       # the model that comes with the course
    python -m helpers.train --out data/mine.pt --resume            # go on with a run that was stopped

With --out NAME.pt the run keeps two files: NAME.pt, the weights with the lowest validation loss, to be used, and
NAME.last.pt, all that --resume needs. Introduced by notebook 13 (sections 66 and 67 of the lecture).
"""

import argparse
import json
import math
import string
import sys
from pathlib import Path

import torch

from helpers import checkpoints, tales
from helpers.batches import split
from helpers.books import load_text
from helpers.device import describe, pick_device
from helpers.gpt import ACTIVATIONS, GPTConfig, GPTLanguageModel
from helpers.tokenizer import CharTokenizer
from helpers.training import TrainingResult, document_loss, train, validation_loss

# Each preset names what differs from the defaults of the options below.
PRESETS = {
    # the settings of the original lecture: for a GPU
    "lecture": {"n_layer": 8, "n_head": 8, "n_embd": 384, "block_size": 128, "batch_size": 64, "steps": 3000,
                "learning_rate": 3e-4, "dropout": 0.2},
    # data/tales_gpt.safetensors
    "shipped": {"text": "tales", "tales_characters": 20_000_000, "n_layer": 4, "n_head": 4, "n_embd": 128,
                "block_size": 416, "batch_size": 11, "steps": 10_000, "learning_rate": 5e-3, "final_fraction": 0.0,
                "optimizer": "muon", "short_first": 0.05, "from_starts": 0.75, "eval_interval": 500, "out": checkpoints.SHIPPED},
}  # fmt: skip

FRESH_TALES_SEED = 2  # another seed than that of the tales to train on, 1

# Characters of the shipped model: all of ASCII that prints, and the typographic signs of the Oz books, so that it can
# be fine-tuned on the book and asked questions in any plain English.
SHIPPED_ALPHABET = (
    "\n" + "".join(sorted(string.ascii_letters + string.digits + string.punctuation + " ")) + "—‘’“”é•æ"
)


def whole(least: int, most: int | None = None):
    """A parser for whole numbers from `least` to `most`, with an error that names the range."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number "
                + (f"of at least {least}" if most is None else f"from {least} to {most}")
            )
        return value

    return parse


def number(least: float, most: float = math.inf, *, open_below: bool = False, open_above: bool = False):
    """A parser for numbers in a range; the open ends are left out."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        below = value > least if open_below else value >= least
        above = value < most if open_above or most == math.inf else value <= most
        if not (below and above):
            words = f"above {least:g}" if open_below else f"of at least {least:g}"
            limit = "" if most == math.inf else f" and {'below' if open_above else 'at most'} {most:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {words}{limit}")
        return value

    return parse


def make_parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ap.add_argument(
        "--text", help="a text file, or `tales` (default: COURSE_TEXT, else the Oz book, else the tales)"
    )
    ap.add_argument(
        "--tales-characters", type=whole(1000), default=1_000_000, help="how much of the tales to write"
    )
    ap.add_argument(
        "--preset", choices=sorted(PRESETS), help="settings under one name; options beside it win"
    )
    ap.add_argument("--n-layer", type=whole(1), default=4, help="blocks (default 4)")
    ap.add_argument("--n-head", type=whole(1), default=4, help="heads in each block (default 4)")
    ap.add_argument("--n-embd", type=whole(1), default=128, help="numbers per token (default 128)")
    ap.add_argument(
        "--block-size", type=whole(1), default=64, help="longest context in characters (default 64)"
    )
    ap.add_argument("--batch-size", type=whole(1), default=12, help="windows in a batch (default 12)")
    ap.add_argument("--accumulation", type=whole(1), default=1, help="batches to a step (default 1)")
    ap.add_argument("--steps", type=whole(1), default=1000, help="training steps (default 1000)")
    ap.add_argument("--short-first", type=number(0, 1), default=0.0,
                    help="share of the steps on shorter windows, a quarter, then half of the length (default 0)")  # fmt: skip
    ap.add_argument("--from-starts", type=number(0, 1), default=0.0,
                    help="share of the windows that begin where a document does: after an empty line (default 0)")  # fmt: skip
    ap.add_argument(
        "--learning-rate", type=number(0, open_below=True), default=3e-3, help="its peak (default 0.003)"
    )
    ap.add_argument("--final-fraction", type=number(0, 1), default=0.1,
                    help="the learning rate at the end, as a share of its peak (default 0.1)")  # fmt: skip
    ap.add_argument("--dropout", type=number(0, 1, open_above=True), default=0.0, help="default 0")
    ap.add_argument("--activation", choices=list(ACTIVATIONS), default="relu", help="default relu")
    ap.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw", help="default adamw")
    ap.add_argument(
        "--eval-interval", type=whole(1), default=250, help="steps between evaluations (default 250)"
    )
    ap.add_argument("--seed", type=whole(0, 2**63 - 1), default=1337, help="default 1337")
    ap.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the best that is there)")
    ap.add_argument(
        "--compile", action="store_true", help="use torch.compile; without it where that does not work"
    )
    ap.add_argument("--out", type=Path, help="where to keep the model: a name ending in .pt or .safetensors")
    ap.add_argument("--resume", action="store_true", help="go on with the run that --out kept")
    ap.add_argument("--json", action="store_true", help="end with one line of JSON")
    return ap


def last_name(out: Path) -> Path:
    """The file beside `out` that holds what a resume needs."""
    return out.with_name(out.stem + ".last.pt")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 1 a clear message was printed, 130 stopped by Ctrl-C)."""
    parser = make_parser()
    preset = parser.parse_known_args(argv)[0].preset
    parser.set_defaults(**PRESETS.get(preset, {}))
    args = parser.parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(args: argparse.Namespace) -> int:
    """Train as the parsed options say."""
    if args.resume and args.out is None:
        raise ValueError("--resume needs --out: the name under which the run was kept")
    if args.out is not None and args.out.suffix not in (".pt", ".safetensors"):
        raise ValueError(f"--out {args.out}: the name must end in .pt or .safetensors")
    device = pick_device(args.device)
    tokenizer, ids, source = load_ids(args)
    train_ids, val_ids = split(ids)
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size, block_size=args.block_size, n_layer=args.n_layer, n_head=args.n_head,
        n_embd=args.n_embd, dropout=args.dropout, activation=args.activation,
    )  # fmt: skip
    recipe = recipe_of(args)
    torch.manual_seed(args.seed)
    model = GPTLanguageModel(config).to(device)
    state = None
    if args.resume:
        state = resume_state(args, model, tokenizer, recipe)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{source}\n{parameters:,} parameters on {describe(device)}", flush=True)

    def keep(result: TrainingResult) -> None:
        checkpoints.save(last_name(args.out), model, tokenizer, training=result.state, recipe=recipe)

    result = train(
        model, train_ids, val_ids, steps=args.steps, batch_size=args.batch_size, learning_rate=args.learning_rate,
        final_fraction=args.final_fraction, accumulation=args.accumulation, optimizer=args.optimizer,
        eval_interval=args.eval_interval, seed=args.seed, compile=args.compile, short_first=args.short_first,
        resume=state, from_starts=args.from_starts,
        starts=document_starts(train_ids, tokenizer) if args.from_starts else None, on_evaluation=keep if args.out else None,
    )  # fmt: skip
    if result.stopped:
        if args.out is not None and result.state:
            keep(result)
            print(
                f"Kept in {last_name(args.out)}: the same command with --resume goes on from step {result.state['step']}."
            )
        return 130 if "by you" in result.stopped else 1
    if result.best_step != args.steps:
        print(f"The lowest validation loss was at step {result.best_step}: those weights are used.")
    model.load_state_dict(result.best_state)
    loss = validation_loss(model, val_ids)
    print(f"validation loss over the whole last tenth of the text: {loss:.4f} nats per character")
    facts = {
        "parameters": parameters,
        "training_characters": result.tokens,
        "seconds": round(result.seconds, 3),
        "characters_per_second": round(result.tokens / max(result.seconds, 1e-9), 1),
        "validation_loss": round(loss, 5),
    }
    if args.out is not None:
        more = about_tales(model, tokenizer) if args.text == "tales" else {}
        checkpoints.save(args.out, model, tokenizer, recipe=recipe, text=source, **facts, **more, history=result.history,
                         best_step=result.best_step, torch=torch.__version__)  # fmt: skip
        print(f"model: {args.out}")
    if args.json:
        print(json.dumps(facts))
    return 0


def recipe_of(args: argparse.Namespace) -> dict:
    """The settings that make the model, as plain values."""
    left_out = ("out", "resume", "json", "device", "compile")
    return {name: value for name, value in vars(args).items() if name not in left_out}


def load_ids(args: argparse.Namespace) -> tuple[CharTokenizer, torch.Tensor, str]:
    """Tokenizer, ids of the whole text and a line that says which text it is."""
    if args.text == "tales":
        text = tales.write_tales(args.tales_characters)
        source = f"the built-in tales, {len(text):,} characters"
    else:
        loaded = load_text(args.text)
        text, source = loaded.text, str(loaded)
    tokenizer = CharTokenizer(SHIPPED_ALPHABET) if args.preset == "shipped" else CharTokenizer.from_text(text)
    return tokenizer, torch.from_numpy(tokenizer.encode(text)), source


def document_starts(ids: torch.Tensor, tokenizer: CharTokenizer) -> torch.Tensor:
    """Positions of the empty lines of a text: a window that begins there has a new document after two newlines.

    ids: (N,). Returns (M,) int64. Raises ValueError for a text without an empty line.
    """
    newline = tokenizer.encode("\n" if "\n" in tokenizer.characters else "")
    ends = ids == int(newline[0]) if len(newline) else torch.zeros_like(ids, dtype=torch.bool)
    starts = (ends[:-1] & ends[1:]).nonzero().flatten()  # (M,)
    if len(starts) == 0:
        raise ValueError("--from-starts needs documents with an empty line between them, and there is none")
    return starts


def about_tales(model: GPTLanguageModel, tokenizer: CharTokenizer) -> dict:
    """The exact floor of the tales, and the loss on fresh tales where the context holds a whole one."""
    about = {"floor": tales.entropy_per_character()}
    if model.config.block_size > tales.LONGEST_TALE:
        fresh = tales.write_tales(150_000, seed=FRESH_TALES_SEED)
        about["loss_from_starts"] = tales_loss(model, tokenizer, fresh)
    return about


def tales_loss(model: GPTLanguageModel, tokenizer: CharTokenizer, text: str) -> float:
    """Loss in nats per character on tales (a text of write_tales), each read from its beginning as the floor demands.

    The model sees the separator before a tale, and predicts the tale and the separator after it.
    """
    told = text.removesuffix(tales.SEPARATOR).split(tales.SEPARATOR)
    ids = [torch.from_numpy(tokenizer.encode(tales.SEPARATOR + tale + tales.SEPARATOR)) for tale in told]
    return document_loss(model, ids, given=len(tales.SEPARATOR))


def resume_state(
    args: argparse.Namespace, model: GPTLanguageModel, tokenizer: CharTokenizer, recipe: dict
) -> dict:
    """The state of the run kept under --out, with its weights put into `model`; ValueError if it is another run."""
    path = last_name(args.out)
    kept = checkpoints.load(path)
    if kept.training is None:
        raise ValueError(f"{path} holds no state to resume from")
    old = kept.info.get("recipe", {})
    other = sorted(name for name in recipe if name != "steps" and old.get(name) != recipe[name])
    if other:
        differ = ", ".join(f"{name}: kept {old.get(name)!r}, asked {recipe[name]!r}" for name in other)
        raise ValueError(
            f"{path} belongs to a run with other settings ({differ}): give the same, or another --out"
        )
    if kept.tokenizer.characters != tokenizer.characters:
        raise ValueError(f"{path} was trained on another text: its vocabulary differs")
    model.load_state_dict(kept.model.state_dict())
    return kept.training


if __name__ == "__main__":
    sys.exit(main())
