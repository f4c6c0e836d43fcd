"""Measure what the course is made for, on this machine, as ratios within one run.

    python -m helpers.bench                                   # every part
    python -m helpers.bench --only ladder --out ladder.json   # from the classic GPT to a modern one, change by change
    python -m helpers.bench --only scaling                    # models of several sizes on tales of several lengths

Nothing else should run meanwhile. No test depends on a time measured here.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path

import torch

from helpers import ladder, scaling
from helpers.arguments import whole
from helpers.batches import split
from helpers.books import load_text
from helpers.device import describe, pick_device
from helpers.files import write_whole
from helpers.tokenizer import CharTokenizer

SEEDS = (1, 2, 3)


def make_parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ap.add_argument("--text", help="a text file, or `tales` (default: the text of the course)")
    ap.add_argument("--only", choices=sorted(PARTS), help="this part alone")
    ap.add_argument("--seeds", type=whole(1), default=len(SEEDS), help="runs of each training (default 3)")
    ap.add_argument("--steps", type=whole(1), default=600, help="training steps on each rung (default 600)")
    ap.add_argument(
        "--workers",
        type=whole(1),
        default=1,
        help="trainings of the ladder at once, each on one thread (default 1, on all threads); their times are measured "
        "before and apart",
    )
    ap.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the best that is there)")
    ap.add_argument(
        "--out", type=Path, help="keep the results in this JSON file, with machine, date and command"
    )
    ap.add_argument("--json", action="store_true", help="end with one line of JSON")
    return ap


def measure_ladder(args: argparse.Namespace) -> list[dict]:
    """The rungs of helpers/ladder.py on the text: loss at equal tokens and at equal time."""
    loaded = load_text(args.text)
    tokenizer = CharTokenizer.from_text(loaded.text)
    train_ids, val_ids = split(torch.from_numpy(tokenizer.encode(loaded.text)))
    print(f"{loaded}\nLosses in nats per character on the validation text: median (lowest to highest) of "
          f"{args.seeds} runs", flush=True)  # fmt: skip
    return ladder.climb(
        train_ids, val_ids, tokenizer.vocab_size, seeds=range(1, args.seeds + 1), steps=args.steps,
        device=pick_device(args.device), workers=args.workers, tell=lambda line: print(line, flush=True),
    )  # fmt: skip


def measure_scaling(args: argparse.Namespace) -> dict:
    """The sizes and budgets of helpers/scaling.py, always on tales, and the law that fits them."""
    return scaling.study(pick_device(args.device), tell=lambda line: print(line, flush=True))


PARTS = {"ladder": measure_ladder, "scaling": measure_scaling}


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 1 a clear message was printed, 130 stopped by Ctrl-C)."""
    args = make_parser().parse_args(argv)
    try:
        if args.out is not None and args.out.is_dir():
            raise ValueError(
                f"--out {args.out} is a folder: name a file in it, such as {args.out / 'bench.json'}"
            )
        results = {name: part(args) for name, part in PARTS.items() if args.only in (None, name)}
        if args.out is not None:
            about = {
                "command": "python -m helpers.bench " + " ".join(sys.argv[1:] if argv is None else argv),
                "date": datetime.date.today().isoformat(),
                "machine": describe(pick_device(args.device)),
                "torch": str(torch.__version__),
            }
            write_whole(args.out, json.dumps(about | results, indent=1) + "\n")
            print(f"kept in {args.out}")
        if args.json:
            print(json.dumps(results))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
