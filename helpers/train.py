"""Train a GPT from the command line.

    python -m helpers.train                                        # the book or the tales, settings for two CPU cores
    python -m helpers.train --text my_text.txt --out data/mine.pt
    python -m helpers.train --data data/owt --out data/owt.pt      # token files of python -m helpers.openwebtext extract
    python -m helpers.train --preset shipped                       # the model that comes with the course
    python -m helpers.train --out data/mine.pt --resume            # go on with a run that was stopped
    torchrun --standalone --nproc-per-node 2 -m helpers.train   # two processes, each with half of every batch

(torchrun has options that begin with --log, so under it the log is to be called by its full name, --log-file.)
With --out NAME.pt the run keeps two files: NAME.pt, the weights with the lowest validation loss, to be used, and
NAME.last.pt, all that --resume needs. Introduced by notebook 13 (sections 66 and 67 of the lecture).
"""

import argparse
import contextlib
import io
import json
import sys

import torch

from helpers import checkpoints, distributed
from helpers.arguments import number, whole
from helpers.device import describe
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.modern import ModernConfig, ModernGPT
from helpers.precision import autocast, usable_dtype
from helpers.train_data import Corpus, about_tales, document_starts, load_corpus, load_ids, tales_loss
from helpers.train_options import PRESETS, make_parser
from helpers.training import TrainingResult, check_sizes, train, validation_loss
from helpers.training_files import Kept, clean_up, find_run, last_name, set_aside
from helpers.training_log import CsvLog, TensorBoardLog

__all__ = [
    "PRESETS",
    "document_starts",
    "last_name",
    "load_ids",
    "main",
    "make_parser",
    "number",
    "tales_loss",
    "whole",
]

# Options that make no other model: they may differ when a run is resumed.
FREE = ("out", "resume", "json", "device", "compile", "log", "tensorboard", "save_interval", "val_tokens")
FACTS = ("parameters", "training_characters", "training_tokens", "seconds", "characters_per_second", "tokens_per_second",
         "validation_loss", "validation_loss_per_character")  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 1 a clear message was printed, 130 stopped by Ctrl-C).

    Under torchrun the first process speaks for all: the others print nothing, and return 0 where it has told an error.
    """
    first = True
    try:
        distributed.start()
        first = distributed.is_first()
        with contextlib.nullcontext() if first else contextlib.redirect_stdout(io.StringIO()):
            return run(parse_options(argv))
    except distributed.Told:
        return 0
    except KeyboardInterrupt:  # before the training or after it; within, `train` ends by itself
        print("Stopped.", file=sys.stderr)
        return 130
    except SystemExit:  # argparse has said why
        if first:
            raise
        return 0
    except (ValueError, OSError, RuntimeError) as error:
        if not first and isinstance(
            error, ValueError
        ):  # about the settings, which are the same in all processes
            return 0
        print(f"error: {distributed.explain(error)}{way_out_of(error)}", file=sys.stderr)
        return 1
    finally:
        distributed.stop()


def way_out_of(error: Exception) -> str:
    """What helps where memory ran out; PyTorch says so with an error of its own on a GPU, and in words elsewhere."""
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    if not isinstance(error, torch.OutOfMemoryError) and not any(
        sign in str(error).lower() for sign in signs
    ):
        return ""
    return (
        "\nHalf of --batch-size with twice --accumulation is the same training in less memory; then try a smaller "
        "--block-size or model, or --dtype bfloat16."
    )


def parse_options(argv: list[str] | None) -> argparse.Namespace:
    """The options: those of the preset, and those beside it, which win. Ends the program as argparse does."""
    parser = make_parser(__doc__)
    with contextlib.nullcontext() if distributed.is_first() else contextlib.redirect_stderr(io.StringIO()):
        preset = parser.parse_known_args(argv)[0].preset
        parser.set_defaults(**PRESETS.get(preset, {}))
        args = parser.parse_args(argv)
        if args.data is not None and args.text is not None:
            parser.error(f"argument --data: not allowed with --preset {preset}, which names a text")
        if args.ngram_rows and args.model != "modern":
            parser.error("argument --ngram-rows: only the modern model has such tables; add --model modern")
    return args


def run(args: argparse.Namespace) -> int:
    """Train as the parsed options say."""
    with distributed.together():
        check_files(args)
        device = distributed.own_device(args.device)
        corpus = load_corpus(args, verify=distributed.is_first())
        check_sizes(corpus.train_ids, corpus.val_ids, args.block_size, args.batch_size)
        starts = document_starts(corpus.train_ids, corpus.tokenizer) if args.from_starts else None
        torch.manual_seed(args.seed)
        model = make_model(args, corpus.tokenizer.vocab_size).to(device)
        dtype = usable_dtype(args.dtype, device)
    recipe = recipe_of(args)
    first, processes = distributed.is_first(), distributed.world_size()
    where = {"device": device.type, "processes": processes, "threads": torch.get_num_threads(), "dtype": dtype,
             "compile": args.compile, "torch": str(torch.__version__)}  # fmt: skip
    logs, saved = [], []
    kept = distributed.from_first(lambda: kept_run(args, corpus, recipe, where, logs))
    if kept is not None:
        model.load_state_dict(kept.weights)
        if kept.facts is not None:
            return already_finished(args, kept)
    parameters = sum(p.numel() for p in model.parameters())
    together = f"{processes} processes on " if processes > 1 else ""
    print(f"{corpus.source}\n{parameters:,} parameters on {together}{describe(device)}"
          f"{', computing in bfloat16 with weights in float32' * (dtype == 'bfloat16')}", flush=True)  # fmt: skip

    def keep(result: TrainingResult) -> None:
        with room_for(args):
            checkpoints.save(last_name(args.out), model, corpus.tokenizer, training=result.state, recipe=recipe,
                             checksum=corpus.checksum, where=where)  # fmt: skip
        saved.append(result.state["step"])

    def write_down(result: TrainingResult) -> None:
        for log in logs:
            log.add(result.history[-1])

    result = train(
        model, corpus.train_ids, corpus.val_ids, steps=args.steps, batch_size=args.batch_size,
        learning_rate=args.learning_rate, final_fraction=args.final_fraction, accumulation=args.accumulation,
        optimizer=args.optimizer, momentum=args.momentum, eval_interval=args.eval_interval, seed=args.seed,
        compile=args.compile, dtype=dtype,
        short_first=args.short_first, starts=starts, from_starts=args.from_starts, resume=kept and kept.state,
        on_evaluation=write_down, on_save=keep if args.out else None, save_interval=args.save_interval,
    )  # fmt: skip
    distributed.stop()
    if not first:
        return 0
    if result.stopped:
        if args.out is not None:
            if not result.stopped_by_hand or result.state["step"] >= max(saved, default=0):
                keep(result)
            print(what_is_kept(args))
        return 130 if result.stopped_by_hand else 1
    return finish(args, corpus, model, result, recipe, dtype)


def make_model(args: argparse.Namespace, vocab_size: int) -> GPTLanguageModel | ModernGPT:
    """A new model with the sizes that the options name."""
    sizes = {name: getattr(args, name) for name in ("block_size", "n_layer", "n_head", "n_embd", "dropout")}
    if args.model == "modern":
        # With tables of pairs a look two positions back gives nothing more, and costs time.
        tables = {"ngram_rows": args.ngram_rows, "short_conv": not args.ngram_rows}
        return ModernGPT(ModernConfig(vocab_size, **sizes, **tables, tie_weights=True))
    return GPTLanguageModel(GPTConfig(vocab_size, **sizes, activation=args.activation))


def check_files(args: argparse.Namespace) -> None:
    """Raise ValueError for --out and --resume that do not go together."""
    if args.resume and args.out is None:
        raise ValueError("--resume needs --out: the name under which the run was kept")
    if args.out is not None and args.out.suffix not in (".pt", ".safetensors"):
        raise ValueError(f"--out {args.out}: the name must end in .pt or .safetensors")


def recipe_of(args: argparse.Namespace) -> dict:
    """The settings that make the model, as plain values."""
    settings = {name: value for name, value in vars(args).items() if name not in FREE}
    return settings | {"data": None if args.data is None else str(args.data)}


def kept_run(args: argparse.Namespace, corpus: Corpus, recipe: dict, where: dict, logs: list) -> Kept | None:
    """The run to go on with, if that is asked for and there is one. Opens what is asked for into `logs`."""
    kept, out = None, args.out
    if out is not None:
        clean_up(out, last_name(out), out.with_suffix(".json"))
        if args.resume:
            kept = find_run(out, corpus.tokenizer, recipe, corpus.checksum, where)
    if kept is not None and kept.facts is not None:
        return kept
    history = kept.state["history"] if kept else []
    if args.log is not None:
        clean_up(args.log)
        logs.append(CsvLog(args.log, history))
    if args.tensorboard is not None:
        logs.append(TensorBoardLog(args.tensorboard, first_step=history[-1]["step"] + 1 if history else 0))
    if out is not None and kept is None:
        set_aside(out)
    return kept


@contextlib.contextmanager
def room_for(args: argparse.Namespace):
    """What is written in it may fail, as on a full disk: then the error says how to go on."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{error} The training ends here. {what_is_kept(args)}") from error


def what_is_kept(args: argparse.Namespace) -> str:
    """A sentence on how to go on with a run that ended early."""
    path = last_name(args.out)
    if not path.is_file():
        return "Nothing was kept yet: the same command begins at the beginning."
    step = checkpoints.load(path).training["step"]
    return f"Kept in {path}: the same command with --resume goes on from step {step}."


def finish(
    args: argparse.Namespace,
    corpus: Corpus,
    model: GPTLanguageModel | ModernGPT,
    result: TrainingResult,
    recipe: dict,
    dtype: str,
) -> int:
    """Measure the best weights, keep them, and say what came out."""
    if result.best_step != args.steps:
        print(f"The lowest validation loss was at step {result.best_step}: those weights are used.")
    model.load_state_dict(result.best_state)
    ids, part = corpus.final_part(args.val_tokens)
    with autocast(next(model.parameters()).device, dtype):
        loss = validation_loss(model, ids)
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        f"training_{corpus.token}s": result.tokens,
        "seconds": round(result.seconds, 3),
        f"{corpus.token}s_per_second": round(result.tokens / max(result.seconds, 1e-9), 1),
        "validation_loss": round(loss, 5),
    }
    told = f"validation loss over {part}: {loss:.4f} nats per {corpus.token}"
    if corpus.characters_per_token is not None:
        facts["validation_loss_per_character"] = round(loss / corpus.characters_per_token, 5)
        told += f", which is {loss / corpus.characters_per_token:.4f} nats per character"
    print(told)
    if args.out is not None:
        more = about_tales(model, corpus.tokenizer) if args.text == "tales" else {}
        with room_for(args):
            checkpoints.save(args.out, model, corpus.tokenizer, recipe=recipe, text=corpus.source, **facts, **more,
                             history=result.history, best_step=result.best_step, torch=torch.__version__)  # fmt: skip
        print(f"model: {args.out}")
    if args.json:
        print(json.dumps(facts))
    return 0


def already_finished(args: argparse.Namespace, kept: Kept) -> int:
    """Say that there is nothing left to do."""
    print(f"This run is finished: it has had all its {args.steps} steps. Its validation loss is "
          f"{kept.facts['validation_loss']:.4f}.\nmodel: {args.out}")  # fmt: skip
    if args.json:
        print(json.dumps({name: kept.facts[name] for name in FACTS if name in kept.facts}))
    return 0


if __name__ == "__main__":
    distributed.leave(main())
