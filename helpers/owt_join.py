"""The token files that several machines made with --shard, joined to those of the whole corpus.

    join(["part1", "part2"], "data/owt")["train_tokens"]

The documents are those of one run without --shard, machine after machine in place of in the corpus's order. Introduced
by notebook 11 (sections 57 to 61 of the lecture). Imports no torch.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from helpers.bpe import tokenizer_from_dict
from helpers.owt_folder import Lock, finished, withdraw
from helpers.owt_parts import PARTS
from helpers.token_files import read_about, write_tokens

BLOCK = 1 << 20  # ids read at a time
COUNTED = ("documents", "characters", "unknown")


def join(folders: Iterable[str | Path], out: str | Path) -> dict[str, int]:
    """Make OUT/train.bin and OUT/val.bin from folders that hold all shards of one corpus; returns their counts.

    Raises ValueError, and writes nothing, for folders without whole token files, shards of different corpora, a shard
    that is missing or there twice, and an OUT that holds a corpus already; OSError where the disk refuses.
    """
    folders, out = [Path(folder) for folder in folders], Path(out)
    abouts = {part: [read_about(folder / f"{part}.bin") for folder in folders] for part in PARTS}
    shards = _checked(folders, abouts["train"])
    out.mkdir(parents=True, exist_ok=True)
    facts = {}
    with Lock(out):
        if finished(out):
            raise ValueError(f"{out} holds a corpus already: name another --out")
        withdraw(out)
        for part in PARTS:
            made = write_tokens(
                out / f"{part}.bin",
                _ids([folder / f"{part}.bin" for folder in folders], abouts[part]),
                tokenizer_from_dict(abouts[part][0]["tokenizer"]),
                split=part,
                **{name: sum(about[name] for about in abouts[part]) for name in COUNTED},
                settings=abouts[part][0]["settings"] | {"shard": f"{shards} joined"},
            )
            facts |= {f"{part}_{name}": made[name] for name in (*COUNTED, "tokens")}
    return facts


def _checked(folders: list[Path], abouts: list[dict]) -> int:
    """How many shards the corpus has. Raises ValueError unless the folders hold each of them once."""
    if not folders:
        raise ValueError("no folder was named: name those that were made with --shard 1/N to N/N")
    there = {}
    for folder, about in zip(folders, abouts, strict=True):
        settings = about.get("settings", {})
        number, _, count = str(settings.get("shard")).partition("/")
        if not (number.isdecimal() and count.isdecimal() and int(count) > 1):
            raise ValueError(f"{folder} was not made with --shard: there is nothing to join it with")
        if int(number) in there:
            raise ValueError(
                f"{there[int(number)]} and {folder} are both shard {number}/{count}: name each once"
            )
        first = abouts[0].get("settings", {})
        differ = [name for name in first if name != "shard" and settings.get(name) != first[name]]
        if (
            differ
            or about["tokenizer"] != abouts[0]["tokenizer"]
            or first["shard"].partition("/")[2] != count
        ):
            raise ValueError(
                f"{folders[0]} and {folder} are not shards of one corpus ({', '.join(differ) or 'tokenizer or number'} "
                "differ): make them with the same sources and settings"
            )
        there[int(number)] = folder
    if missing := [str(number) for number in range(1, int(count) + 1) if number not in there]:
        raise ValueError(
            f"of {count} shards the number {' and '.join(missing)} is missing: name its folder too"
        )
    return int(count)


def _ids(paths: list[Path], abouts: list[dict]) -> Iterator[np.ndarray]:
    """The ids of token files, one file after the other, some at a time."""
    for path, about in zip(paths, abouts, strict=True):
        for start in range(0, about["tokens"], BLOCK):
            yield np.memmap(path, about["dtype"], "r")[start : start + BLOCK]
