"""Measure what the course is made for, on this machine, as ratios within one run.

    python -m helpers.bench                                   # all parts but the two long ones, some 15 minutes on two cores
    python -m helpers.bench --only time_to_loss --json        # today's parts against a well-known recipe
    python -m helpers.bench --only ladder --out ladder.json   # from the classic GPT to a modern one, change by change
    python -m helpers.bench --only scaling                    # models of several sizes on tales of several lengths

Nothing else should run meanwhile. No test depends on a time measured here.
"""

import argparse
import datetime
import json
import os
import shlex
import sys
from pathlib import Path

import torch

from helpers import ladder, race, scaling, speed
from helpers.arguments import whole
from helpers.batches import split
from helpers.books import load_text
from helpers.device import describe, pick_device
from helpers.files import write_whole
from helpers.tokenizer import CharTokenizer


def make_parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ap.add_argument("--text", help="a text file, or `tales` (default: the text of the course)")
    ap.add_argument(
        "--only", choices=sorted(PARTS), type=lambda name: name.removesuffix("_ratio"), help="this part alone"
    )
    ap.add_argument("--seeds", type=whole(1), default=3, help="runs of each training (default 3)")
    ap.add_argument(
        "--steps", type=whole(1),
        help="training steps on each rung of the ladder (default 600), or of each run of time_to_loss, for a quick try "
        "(default: those of each recipe)",
    )  # fmt: skip
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


def tell(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


def texts_of(args: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(ids to train on, ids to validate on, number of different characters) of the text; says which text it is."""
    loaded = load_text(args.text)
    tokenizer = CharTokenizer.from_text(loaded.text)
    tell(str(loaded))
    return *split(torch.from_numpy(tokenizer.encode(loaded.text))), tokenizer.vocab_size


def measure_ladder(args: argparse.Namespace) -> list[dict]:
    """The rungs of helpers/ladder.py on the text: loss at equal tokens and at equal time."""
    train_ids, val_ids, vocab_size = texts_of(args)
    tell(
        f"Losses in nats per character on the validation text: median (lowest to highest) of {args.seeds} runs"
    )
    return ladder.climb(
        train_ids, val_ids, vocab_size, seeds=range(1, args.seeds + 1), steps=args.steps or 600,
        device=pick_device(args.device), workers=args.workers, tell=tell,
    )  # fmt: skip


def measure_scaling(args: argparse.Namespace) -> dict:
    """The sizes and budgets of helpers/scaling.py, always on tales, and the law that fits them."""
    return scaling.study(pick_device(args.device), tell=tell)


def measure_race(args: argparse.Namespace) -> dict:
    """Time to the loss of a well-known recipe, and the loss in its whole time."""
    found = race.race(
        *texts_of(args), seeds=range(1, args.seeds + 1), steps=args.steps, device=pick_device(args.device), tell=tell
    )  # fmt: skip
    tell(
        f"peer {found['peer_loss']:.3f} nats in {found['peer_seconds']:.1f} s; ours {found['loss']:.3f} in "
        f"{found['seconds']:.1f} s: {found['ratio']:.1f} times as fast; in the peer's time {found['loss_in_peer_time']:.3f}"
    )
    return found


def measure_throughput(args: argparse.Namespace) -> dict:
    """Training at the lecture's settings."""
    return speed.throughput(len(set(load_text(args.text).text)), device=pick_device(args.device), tell=tell)


def measure_generation(args: argparse.Namespace) -> dict:
    """Writing, with a cache and without."""
    return speed.generation(len(set(load_text(args.text).text)), device=pick_device(args.device), tell=tell)


def measure_batches(args: argparse.Namespace) -> dict:
    """Drawing batches."""
    return speed.batches(texts_of(args)[0], tell=tell)


def measure_encoding(args: argparse.Namespace) -> dict:
    """Turning a text into ids."""
    return speed.encoding(load_text(args.text).text, tell=tell)


def measure_extraction(args: argparse.Namespace) -> dict:
    """Taking an archive apart."""
    return speed.extraction(tell=tell)


def measure_growth(args: argparse.Namespace) -> dict:
    """How time and memory grow: by preset, with one setting at a time, with the corpus, with processes."""
    vocab_size = len(set(load_text(args.text).text))
    device = pick_device(args.device)
    return {
        "presets": speed.memory(vocab_size, speed.presets(), device=device, tell=tell),
        "settings": speed.growth(vocab_size, device=device, tell=tell),
        "corpus": speed.corpus_growth(tell=tell),
        "processes": speed.processes(tell=tell),
    }


PARTS = {
    "time_to_loss": measure_race,
    "throughput": measure_throughput,
    "generation": measure_generation,
    "get_batch": measure_batches,
    "encode": measure_encoding,
    "extract": measure_extraction,
    "growth": measure_growth,
    "ladder": measure_ladder,
    "scaling": measure_scaling,
}
WHEN_ASKED = ("ladder", "scaling")  # an hour each, so not by default
RATIOS = ("get_batch", "encode", "extract")  # the JSON has their ratios by themselves too


def table_of(results: dict) -> list[str]:
    """The ratios that were measured, a line each."""
    lines = []
    if "time_to_loss" in results:
        found = results["time_to_loss"]
        missed = "" if found.get("reached", True) else "   (but its loss was NOT reached)"
        lines.append(f"time to the peer's loss       {found['ratio']:6.1f} times as fast{missed}")
    if "throughput" in results:
        lines.append(f"training, lecture's settings  {results['throughput']['ratio']:6.1f} times as fast")
    for name, found in results.get("generation", {}).items():
        lines.append(f"writing, {name} model          {found['ratio']:6.1f} times as fast")
    words = {"get_batch": "drawing a batch", "encode": "encoding characters"}
    lines += [
        f"{words[name]:29} {results[name]['ratio']:6.1f} times as fast" for name in words if name in results
    ]
    if "extract" in results:
        lines.append(
            f"extraction                    {results['extract']['ratio']:6.2f} of the pace of decompression alone"
        )
    return lines


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 1 a clear message was printed, 130 stopped by Ctrl-C)."""
    args = make_parser().parse_args(argv)
    try:
        if args.out is not None and args.out.is_dir():
            raise ValueError(
                f"--out {args.out} is a folder: name a file in it, such as {args.out / 'bench.json'}"
            )
        if args.out is not None and not os.access(args.out.parent, os.W_OK):
            raise ValueError(f"--out {args.out}: there is no folder {args.out.parent} that can be written to")
        about = {
            "command": "python -m helpers.bench " + shlex.join(sys.argv[1:] if argv is None else argv),
            "date": datetime.date.today().isoformat(),
            "machine": describe(pick_device(args.device)),
            "torch": str(torch.__version__),
        }
        results: dict = {}
        for name, part in PARTS.items():
            if args.only == name or (args.only is None and name not in WHEN_ASKED):
                tell(f"--- {name}")
                results[name] = part(args)
                if name in RATIOS:
                    results[f"{name}_ratio"] = results[name]["ratio"]
                if args.out is not None:  # after each part, so that a stop loses one part only
                    write_whole(args.out, json.dumps(about | results, indent=1) + "\n")
        for line in table_of(results):
            tell(line)
        if args.out is not None:
            tell(f"kept in {args.out}")
        if args.json:
            print(json.dumps(results))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. With --out, the parts before this one are kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
