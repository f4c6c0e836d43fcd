"""A small archive in the layout of OpenWebText, from the built-in tales: for lessons and tests without a download.

    write_sample("data/owt", megabytes=5)      # data/owt/openwebtext.tar.xz

The real corpus is a tar.xz that holds thousands of files urlsf_subsetNN-NNN_data.xz; each is an xz-compressed tar of
.txt files, one to a document. So is this one. Introduced by notebook 11 (sections 57 to 61 of the lecture). Standard
library only.
"""

import hashlib
import io
import lzma
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from helpers import tales

NAME = "openwebtext.tar.xz"
MEAN_DOCUMENT = 5_000  # bytes, as in the real corpus
SUBSET = 2_000_000  # bytes of text in one inner archive, as in the real corpus
PRESET = 0  # of LZMA: a higher one takes several times as long


def write_sample(folder: str | Path, megabytes: float = 5.0, seed: int = 1) -> Path:
    """Write FOLDER/openwebtext.tar.xz with about `megabytes` MB (1,000,000 bytes) of text, and return its path.

    Documents are several tales with blank lines between them, 5 kB on average. The same seed gives the same bytes with
    the same versions of Python and liblzma. A file of this name is replaced once the new one is whole.
    """
    if not megabytes > 0:
        raise ValueError(f"megabytes={megabytes}, but a sample needs more than 0 megabytes of text")
    path = Path(folder) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{NAME}.{os.getpid()}.part")
    size = max(1, round(megabytes * 1_000_000))
    subset = min(SUBSET, max(1, size // 4))  # a small sample has several of them too
    try:
        # What is compressed already does not shrink again: level 0 is as good as any.
        with lzma.open(part, "wb", preset=0) as file, _tar(file) as outer:
            for number, inner in enumerate(_subsets(size, subset, seed), 1):
                name = f"openwebtext/urlsf_subset{number // 1000:02d}-{number % 1000:03d}_data.xz"
                _add(outer, name, inner)
                outer.members.clear()  # tarfile would keep them all
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _subsets(size: int, subset: int, seed: int) -> Iterator[bytes]:
    """The inner archives: compressed tars of documents."""
    documents = _documents(size, seed)
    first, number = next(documents), 0
    while first:
        packed, held = io.BytesIO(), 0
        with lzma.open(packed, "wb", preset=PRESET) as file, _tar(file) as tar:
            while first and held < subset:
                data = first.encode("utf-8")
                number += 1
                _add(tar, f"{number:07d}-{hashlib.md5(data, usedforsecurity=False).hexdigest()}.txt", data)
                held += len(data)
                first = next(documents, "")
        yield packed.getvalue()


def _documents(size: int, seed: int) -> Iterator[str]:
    """Documents of `size` characters in all, the last one included whole."""
    rng, written = random.Random(seed), 0
    while written < size:
        wanted, tales_of_it, length = rng.expovariate(1 / (MEAN_DOCUMENT - 400)) + 250, [], 0
        while length < wanted:
            tales_of_it.append(tales.write_tale(rng))
            length += len(tales_of_it[-1]) + len(tales.SEPARATOR)
        text = tales.SEPARATOR.join(tales_of_it) + "\n"
        written += len(text)
        yield text


def _tar(file: BinaryIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # its time is 0
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
