"""Let a trained model write, from the command line.

    python -m helpers.generate --prompt "Once" --max-new 300                       # your own GPT, else the shipped one
    python -m helpers.generate --checkpoint data/mine.pt --temperature 0.7 --seed 1
    python -m helpers.generate --stream --stop "\\n\\n" --cache stride             # to the end of the paragraph, as it comes

Introduced by notebook 14 (section 68 of the lecture).
"""

import argparse
import sys
from pathlib import Path

from helpers import checkpoints
from helpers.arguments import add_sampling_options, whole
from helpers.device import pick_device
from helpers.sampling import stream


def make_parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ap.add_argument(
        "--checkpoint", type=Path, help="a file of `save` (default: data/my_gpt.pt, else the shipped model)"
    )
    ap.add_argument("--prompt", default="", help="how the text begins (default: a new line)")
    ap.add_argument("--max-new", type=whole(1), default=300, help="characters to write (default 300)")
    add_sampling_options(ap)
    ap.add_argument(
        "--stop", action="append", default=[], metavar="TEXT",
        help=r"end before this text; \n is a line end; can be given several times",
    )  # fmt: skip
    ap.add_argument(
        "--cache", choices=("exact", "stride", "off"), default="exact",
        help="past the context, exact works on the whole window at each step and stride on half a window now and then: "
        "much faster, another text; off repeats all work at every step (default exact)",
    )  # fmt: skip
    ap.add_argument("--stream", action="store_true", help="show the text while it is written")
    ap.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the best that is there)")
    return ap


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 1 a clear message was printed)."""
    args = make_parser().parse_args(argv)
    try:
        device = pick_device(args.device)
        if args.checkpoint is None:
            kept, which = checkpoints.load_mine_or_shipped(device)
            print(f"({which})", file=sys.stderr)
        else:
            kept = checkpoints.load(args.checkpoint, device)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows a stand-in
        stops = [stop.replace(r"\n", "\n") for stop in args.stop]
        pieces = stream(
            kept.model, kept.tokenizer, args.prompt, args.max_new, stop=stops, temperature=args.temperature,
            top_k=args.top_k, top_p=args.top_p, seed=args.seed, cache=None if args.cache == "off" else args.cache,
        )  # fmt: skip
        if args.stream:
            print(args.prompt, end="", flush=True)
            for piece in pieces:
                print(piece, end="", flush=True)
            print()
        else:
            print(args.prompt + "".join(pieces))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
