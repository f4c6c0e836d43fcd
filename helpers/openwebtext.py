"""OpenWebText, or any archives and folders of texts, to token files.

    python -m helpers.openwebtext sample --out data/owt                   # a small archive in the real layout
    python -m helpers.openwebtext extract data/owt/openwebtext.tar.xz --out data/owt
    python -m helpers.openwebtext extract FOLDER MORE.tar --out OUT --tokens bpe --workers 4 --fraction 0.1
    python -m helpers.openwebtext join ONE TWO --out data/owt             # what two machines made with --shard 1/2, 2/2
    python -m helpers.openwebtext speed data/owt/openwebtext.tar.xz       # against decompression alone

extract reads archives in any nesting (tar, xz, gzip, bzip2, one in the other, told apart by content), folders and text
files, and writes OUT/train.bin and OUT/val.bin, each with a .json beside it. It needs little memory whatever their size.
An extraction that was stopped goes on when the same command is given again.
Exit code: 0 all was read, 3 done, but some files could not be read, 1 nothing was made, 130 stopped by Ctrl-C.
Introduced by notebook 11 (sections 57 to 61 of the lecture). Imports no torch.
"""

import argparse
import errno
import sys
from pathlib import Path
from typing import NoReturn

from helpers.archives import Report
from helpers.arguments import number, whole
from helpers.documents import documents
from helpers.owt_extract import VOCAB_SIZE, extract
from helpers.owt_join import join
from helpers.owt_parts import PARTS
from helpers.owt_progress import bytes_in_words
from helpers.owt_sample import write_sample
from helpers.owt_workers import WorkerError
from helpers.token_files import END_OF_TEXT

__all__ = ["documents", "extract", "join", "main", "write_sample"]


class Parser(argparse.ArgumentParser):
    """A parser that ends with exit code 1 for a wrong option."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: error: {message}\n")


def shard(text: str) -> tuple[int, int]:
    """A parser for I/N: part I, from 1 to N, of N parts."""
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not I/N with I from 1 to N, such as 1/4 for the first of four"
        )
    return int(first), int(last)


def make_parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = Parser(
        prog="python -m helpers.openwebtext",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = ap.add_subparsers(dest="command", required=True)
    sample = commands.add_parser(
        "sample", help="write a small archive in the layout of OpenWebText, from the tales"
    )
    sample.add_argument("--out", type=Path, required=True, help="the folder for openwebtext.tar.xz")
    sample.add_argument(
        "--megabytes", type=number(0, 1e6, open_below=True), default=5.0, help="MB of text (default 5)"
    )
    sample.add_argument("--seed", type=whole(0), default=1, help="default 1")

    make = commands.add_parser("extract", help="make token files from archives, folders and text files")
    make.add_argument(
        "sources", nargs="+", type=Path, metavar="SOURCE", help="an archive, a text file or a folder of them"
    )
    make.add_argument("--out", type=Path, required=True, help="the folder for train.bin and val.bin")
    make.add_argument(
        "--val", type=number(0, 1, open_below=True, open_above=True), default=0.005,
        help="share of the documents for validation (default 0.005)",
    )  # fmt: skip
    make.add_argument(
        "--fraction",
        type=number(0, 1, open_below=True),
        default=1.0,
        help="share of the documents to use (default 1)",
    )
    make.add_argument(
        "--seed", type=whole(0, 2**63 - 1), default=1, help="decides which ones --fraction keeps (default 1)"
    )
    make.add_argument(
        "--workers", type=whole(1, 256), default=1, help="processes that work at once (default 1)"
    )
    make.add_argument("--tokens", choices=sorted(VOCAB_SIZE), default="characters", help="default characters")
    make.add_argument(
        "--vocab-size",
        type=whole(4, 1 << 20),
        help="the largest vocabulary (default: 256 characters, 50257 byte pairs)",
    )
    make.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="take this tokenizer: a saved one or a train.json"
    )
    make.add_argument(
        "--sample-megabytes", type=number(0, 1e6, open_below=True),
        help="millions of characters, the first ones, that the tokenizer is made from (default: 2; for bpe 32, or fewer "
        "where more would need much memory)",
    )  # fmt: skip
    make.add_argument(
        "--shard", type=shard, default=(1, 1), metavar="I/N",
        help="make part I (from 1 to N) of the corpus: N machines, same sources and settings, make all of it: see join",
    )  # fmt: skip
    make.add_argument("--restart", action="store_true", help="give up what stands in --out, and begin anew")
    make.add_argument(
        "--part-megabytes", type=number(0, 1024, open_below=True), default=4.0, help=argparse.SUPPRESS
    )

    joined = commands.add_parser("join", help="join what several machines made with --shard")
    joined.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="the --out of each shard")
    joined.add_argument("--out", type=Path, required=True, help="the folder for train.bin and val.bin")

    speed = commands.add_parser("speed", help="time an extraction against decompression alone, on one core")
    speed.add_argument("source", type=Path, metavar="SOURCE")
    speed.add_argument(
        "--repeats", type=whole(1), default=3, help="the median of so many is shown (default 3)"
    )
    speed.add_argument(
        "--tokens", choices=sorted(VOCAB_SIZE), default="characters", help="default characters"
    )
    return ap


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0, 1, 3 or 130)."""
    args = make_parser().parse_args(argv)
    try:
        return {"sample": run_sample, "extract": run_extract, "join": run_join, "speed": run_speed}[
            args.command
        ](args)
    except (ValueError, WorkerError, OSError) as error:
        print(f"error: {in_words(error, args)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped by you. {how_to_go_on(args)}", file=sys.stderr)
        return 130


def how_to_go_on(args: argparse.Namespace) -> str:
    """What an extraction that ended early keeps."""
    if args.command != "extract":
        return "Nothing was kept."
    same = "the same command without --restart" if args.restart else "the same command"
    return f"What was done is kept in {args.out}: {same} goes on from there."


def in_words(error: Exception, args: argparse.Namespace) -> str:
    """What went wrong, and the way out."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return f"the disk is full. Make room first. {how_to_go_on(args)}"
    return f"{error}. {how_to_go_on(args)}" if isinstance(error, WorkerError) else str(error)


def run_sample(args: argparse.Namespace) -> int:
    """Write the sample archive."""
    path = write_sample(args.out, args.megabytes, args.seed)
    print(f"{path}: {bytes_in_words(path.stat().st_size)} for about {args.megabytes:g} MB of text")
    return 0


def run_extract(args: argparse.Namespace) -> int:
    """Make the token files and say what was made."""
    facts = extract(
        args.sources, args.out, validation=args.val, fraction=args.fraction, seed=args.seed, workers=args.workers,
        tokens=args.tokens, vocab_size=args.vocab_size, tokenizer=args.tokenizer, shard=args.shard,
        sample_megabytes=args.sample_megabytes, part_megabytes=args.part_megabytes, restart=args.restart,
    )  # fmt: skip
    if not facts["made"]:
        print(f"{args.out} holds this corpus already, made with these settings; --restart makes it anew.")
    for line in in_lines(facts, args.out):
        print(line)
    return 3 if facts["skipped"] else 0


def run_join(args: argparse.Namespace) -> int:
    """Join the shards and say what was made."""
    facts = join(args.folders, args.out)
    for part in PARTS:
        print(
            f"{args.out / f'{part}.bin'}: {facts[f'{part}_documents']:,} documents, {facts[f'{part}_tokens']:,} ids"
        )
    return 0


def in_lines(facts: dict, out: Path) -> list[str]:
    """The facts of an extraction, for people."""
    lines = [
        f"{out / f'{part}.bin'}: {facts[f'{part}_documents']:,} documents, {facts[f'{part}_tokens']:,} ids"
        for part in PARTS
    ]
    lines.append(f"vocabulary: {facts['vocab_size']:,}")
    if facts["left_out"]:
        lines.append(f"left out by --fraction: {facts['left_out']:,} of {facts['documents']:,} documents")
    if facts["unknown"]:
        share = facts["unknown"] / facts["characters"]
        lines.append(
            f"characters outside the vocabulary, replaced by a stand-in: {facts['unknown']:,} ({share:.2%})"
        )
    if facts["ends_removed"]:
        lines.append(f"characters {END_OF_TEXT!r} inside of documents, removed: {facts['ends_removed']:,}")
    return (
        lines
        + Report.from_dict({"documents": 0, "counts": facts["skipped"], "named": facts["named"]}).lines()
    )


def run_speed(args: argparse.Namespace) -> int:
    """Show how long the extraction takes, held against decompression alone."""
    from helpers.owt_speed import compare

    found = compare(args.source, args.repeats, args.tokens)
    megabytes = found["characters"] / 1e6
    for name in ("decompression", "extraction"):
        print(f"{name:<14} {found[name]:7.2f} s   {megabytes / found[name]:7.1f} million characters/s")
    print(
        f"ratio          {found['ratio']:7.2f}     (1 would be an extraction that costs no time beside decompression)"
    )
    if found["peak_memory"] is not None:
        print(f"peak memory    {found['peak_memory']:7.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
