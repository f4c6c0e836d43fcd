"""Parsers for the values of command-line options, for argparse's `type=`: the error names the range."""

import argparse
import math
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
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


def number(
    least: float, most: float = math.inf, *, open_below: bool = False, open_above: bool = False
) -> Callable[[str], float]:
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


def add_sampling_options(ap: argparse.ArgumentParser) -> None:
    """The options of every command that writes: --temperature, --top-k, --top-p and --seed."""
    ap.add_argument(
        "--temperature", type=number(0), default=0.8, help="0 = always the likeliest (default 0.8)"
    )
    ap.add_argument("--top-k", type=whole(1), help="only the k likeliest tokens")
    ap.add_argument(
        "--top-p", type=number(0, 1, open_below=True), help="only the likeliest that make up this probability"
    )
    ap.add_argument("--seed", type=whole(0, 2**63 - 1), help="for a text that can be repeated")
