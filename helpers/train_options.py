"""The options of `python -m helpers.train`, and its presets.

    args = make_parser().parse_args(["--steps", "500"])

Introduced by notebook 13 (section 66 of the lecture).
"""

import argparse
from pathlib import Path

from helpers import checkpoints
from helpers.arguments import number, whole
from helpers.gpt import ACTIVATIONS
from helpers.precision import DTYPES

VAL_TOKENS = 200_000  # of a token file, for the final loss

# Each preset names what differs from the defaults of the options below.
PRESETS = {
    # the settings of the original lecture: for a GPU
    "lecture": {"n_layer": 8, "n_head": 8, "n_embd": 384, "block_size": 128, "batch_size": 64, "steps": 3000,
                "learning_rate": 3e-4, "dropout": 0.2},
    # today's parts: the most that this course gets out of 460,800 characters
    "modern": {"model": "modern", "optimizer": "muon", "steps": 600, "learning_rate": 5e-3, "final_fraction": 0.0,
               "momentum": 0.9, "eval_interval": 150},
    # one block, and tables of pairs and triples: good in a few seconds (the sprint of helpers/race.py)
    "sprint": {"model": "modern", "optimizer": "muon", "n_layer": 1, "n_embd": 80, "ngram_rows": [1021, 2039],
               "batch_size": 32, "steps": 150, "learning_rate": 7e-3, "momentum": 0.9, "short_first": 0.6, "eval_interval": 50},
    # data/tales_gpt.safetensors
    "shipped": {"text": "tales", "tales_characters": 20_000_000, "n_layer": 4, "n_head": 4, "n_embd": 128,
                "block_size": 416, "batch_size": 11, "steps": 10_000, "learning_rate": 5e-3, "final_fraction": 0.0,
                "optimizer": "muon", "short_first": 0.05, "from_starts": 0.75, "eval_interval": 500, "out": checkpoints.SHIPPED},
}  # fmt: skip


def make_parser(description: str = "Train a GPT.") -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers.train",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = ap.add_mutually_exclusive_group()
    source.add_argument(
        "--text", help="a text file, or `tales` (default: COURSE_TEXT, else the Oz book, else the tales)"
    )
    source.add_argument(
        "--data",
        type=Path,
        help="a folder with the token files train.bin and val.bin, in the place of a text",
    )
    ap.add_argument(
        "--tales-characters", type=whole(1000), default=1_000_000, help="how much of the tales to write"
    )
    ap.add_argument(
        "--preset", choices=sorted(PRESETS), help="settings under one name; options beside it win"
    )
    ap.add_argument(
        "--model", choices=["classic", "modern"], default="classic",
        help="classic: the GPT of notebook 10 (default); modern: with today's parts (notebook 16)",
    )  # fmt: skip
    ap.add_argument(
        "--ngram-rows", type=whole(1), nargs="*", default=[],
        help="rows of the modern model's tables of pairs, triples, ... of tokens, such as 1021 2039 (default: no tables)",
    )  # fmt: skip
    ap.add_argument("--n-layer", type=whole(1), default=4, help="blocks (default 4)")
    ap.add_argument("--n-head", type=whole(1), default=4, help="heads in each block (default 4)")
    ap.add_argument("--n-embd", type=whole(1), default=128, help="numbers per token (default 128)")
    ap.add_argument("--block-size", type=whole(1), default=64, help="longest context in tokens (default 64)")
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
    ap.add_argument(
        "--activation", choices=list(ACTIVATIONS), default="relu", help="of the classic model (default relu)"
    )
    ap.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw", help="default adamw")
    ap.add_argument(
        "--momentum", type=number(0, 1, open_above=True), default=0.95, help="of muon (default 0.95)"
    )
    ap.add_argument(
        "--eval-interval", type=whole(1), default=250, help="steps between evaluations (default 250)"
    )
    ap.add_argument(
        "--val-tokens",
        type=whole(2),
        help="how much of the validation text the final loss is measured on "
        f"(default: all of a text, the first {VAL_TOKENS:,} tokens of a token file)",
    )
    ap.add_argument("--seed", type=whole(0, 2**63 - 1), default=1337, help="default 1337")
    ap.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the best that is there)")
    ap.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="bfloat16 computes in it where that is safe, with weights in float32 (default float32)",
    )
    ap.add_argument(
        "--compile", action="store_true", help="use torch.compile; without it where that does not work"
    )
    ap.add_argument("--out", type=Path, help="where to keep the model: a name ending in .pt or .safetensors")
    ap.add_argument(
        "--save-interval", type=whole(1), help="steps between savings of the state (default: --eval-interval)"
    )
    ap.add_argument(
        "--resume", action="store_true", help="go on with the run that --out kept, if there is one yet"
    )
    # torchrun has options that begin with --log, so under it only the long name is understood.
    ap.add_argument(
        "--log-file", "--log", dest="log", type=Path, help="a CSV file that gets a row for each evaluation"
    )
    ap.add_argument("--tensorboard", type=Path, help="a folder for TensorBoard, where that is installed")
    ap.add_argument("--json", action="store_true", help="end with one line of JSON")
    return ap
