"""Token files: the ids of a corpus that may be longer than memory, and a page of facts beside them.

    write_tokens("data/owt/train.bin", chunks, tokenizer, documents=8_013_769)
    read_about("data/owt/train.bin")["tokens"]        # how many ids; the file was checked against its checksum
    ids = np.memmap("data/owt/train.bin", "<u2", "r")

A token file is two files. NAME.bin holds the ids one after the other, two bytes each (little-endian uint16, or uint32
for a vocabulary of more than 65,536), and nothing else. NAME.json says what they are: tokenizer, type, counts and the
SHA-256 checksum of NAME.bin. Each document ends with the character END_OF_TEXT. `helpers.batches.TokenFile` draws
batches from them; `python -m helpers.openwebtext extract` makes them. Introduced by notebook 11 (sections 57 and 61
of the lecture). Imports no torch.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from helpers.files import write_whole
from helpers.tokenizer import Tokenizer

# ASCII has a character for it since 1963. It stands in no ordinary text, and it is one id in both tokenizers.
END_OF_TEXT = "\x03"
FORMAT = 1
BLOCK = 1 << 20  # bytes read at a time


def id_type(vocab_size: int) -> np.dtype:
    """The smallest type of a token file that holds the ids 0 .. vocab_size - 1: uint16 or uint32, little-endian."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def about_path(path: str | Path) -> Path:
    """Where the facts of a token file stand: data/train.json for data/train.bin."""
    return Path(path).with_suffix(".json")


def checksum(path: str | Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits; it is read block by block."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_tokens(path: str | Path, chunks: Iterable[np.ndarray], tokenizer: Tokenizer, **facts) -> dict:
    """Write a token file from arrays of ids, one after the other, and return its facts.

    path: a name ending in .bin; the .json comes beside it. chunks: arrays of integers, (N,) each, so that not all ids
    are in memory at once. facts: plain values that go into the .json, such as documents=120.
    Both files appear under their names only when they are whole; an older pair is as it was after a failure.
    Raises ValueError for another name, for ids outside the vocabulary and for no ids at all, and OSError.
    """
    path = Path(path)
    if path.suffix != ".bin":
        raise ValueError(f"{path}: the name of a token file ends in .bin")
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype, tokens, digest = id_type(tokenizer.vocab_size), 0, hashlib.sha256()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            for chunk in chunks:
                _check_ids(chunk, tokenizer.vocab_size, tokens)
                data = np.ascontiguousarray(chunk, dtype)
                digest.update(data)
                file.write(data)
                tokens += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        if not tokens:
            raise ValueError(f"there are no ids to write to {path}")
        about = {
            "format": FORMAT,
            "tokens": tokens,
            "dtype": dtype.name,
            "vocab_size": tokenizer.vocab_size,
            **facts,
            "sha256": digest.hexdigest(),
            "tokenizer": tokenizer.to_dict(),
        }
        page = json.dumps(about) + "\n"  # before anything is replaced: facts that are not plain fail here
        about_path(path).unlink(missing_ok=True)  # no old page beside new ids, whenever this is interrupted
        os.replace(part, path)
        write_whole(about_path(path), page)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return about


def read_about(path: str | Path, verify: bool = True) -> dict:
    """The facts of a token file: tokens, dtype, vocab_size, sha256, tokenizer, and what `write_tokens` was told.

    verify: compare the ids with their checksum, which reads the whole file once (about a second for each GB); without
    it the length alone is compared. Raises FileNotFoundError and ValueError, which name the file, what is wrong with
    it and the way out.
    """
    path = Path(path)
    again = "Make it anew: python -m helpers.openwebtext extract"
    if not path.is_file():
        where = (
            f"{path} is a folder: name a file in it, such as" if path.is_dir() else "there is no token file"
        )
        raise FileNotFoundError(f"{where} {path / 'train.bin' if path.is_dir() else path}. {again}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty (0 bytes). {again}")
    page = about_path(path)
    if not page.is_file():
        raise ValueError(
            f"{path} has no {page.name} beside it, which says what its ids mean: it is no token file of this course, or "
            f"its writing was cut short. {again}"
        )
    try:
        about = json.loads(page.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}, this version of the course reads {FORMAT}")
        dtype, tokens, size = np.dtype(about["dtype"]), about["tokens"], path.stat().st_size
        expected, kept = tokens * dtype.itemsize, about["sha256"]
        if dtype.name not in ("uint16", "uint32") or type(tokens) is not int or not about["tokenizer"]:
            raise ValueError(f"it speaks of {tokens!r} ids of type {about['dtype']!r}")
    except (ValueError, KeyError, TypeError, OSError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{page} does not describe a token file: {what}. {again}") from error
    if size != expected:
        raise ValueError(
            f"{path} has {size:,} bytes, but {tokens:,} ids of type {dtype.name} are {expected:,}: it was cut short or "
            f"belongs to another {page.name}. {again}"
        )
    if verify and checksum(path) != kept:
        raise ValueError(f"{path} is damaged: its bytes do not have the checksum in {page.name}. {again}")
    return about


def _check_ids(chunk: np.ndarray, vocab_size: int, before: int) -> None:
    if chunk.ndim != 1 or chunk.dtype.kind not in "iu":
        raise ValueError(
            f"a chunk of ids is a row of integers, but got the shape {chunk.shape} of type {chunk.dtype}"
        )
    if len(chunk) and not (int(chunk.min()) >= 0 and int(chunk.max()) < vocab_size):
        outside = int(np.flatnonzero((chunk < 0) | (chunk >= vocab_size))[0])
        raise ValueError(
            f"id {chunk[outside]} at position {before + outside:,} is outside 0..{vocab_size - 1}: "
            "was it made with another vocabulary?"
        )
