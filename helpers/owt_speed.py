"""How fast an extraction is, held against decompression alone: both in this process, on one core.

    compare("data/owt/openwebtext.tar.xz")      # {"decompression": 0.8, "extraction": 1.1, "ratio": 0.73, ...}

Introduced by notebook 11 (sections 57 to 61 of the lecture). Imports no torch.
"""

import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from helpers.archives import Report
from helpers.documents import files_of, opened_files
from helpers.owt_extract import extract
from helpers.streams import DECODERS, HEAD, BytesStream, Stream, kind_of, opened
from helpers.tar_reader import Tar


def decompress(stream: Stream) -> int:
    """Take off every layer of compression and look at nothing; returns the number of bytes in the innermost layers.

    Only the tar between two layers is taken apart, since its files cannot be decompressed before.
    """
    kind, stream = opened(stream)
    total = 0
    if kind == "tar" and _holds_archives(stream):
        tar = Tar(stream)
        while (found := tar.next_file()) is not None:
            total += decompress(BytesStream(found[0], tar.whole()))
    else:
        while data := stream.read():
            total += len(data)
    return total


def _holds_archives(stream: Stream) -> bool:
    """Whether the first file of a tar is an archive, which is seen without reading it."""
    tar = Tar(BytesStream(stream.name, stream.peek(1 << 16)))
    first = tar.next_file()
    return first is not None and kind_of(tar.stream(first[0]).peek(HEAD)) in (*DECODERS, "tar")


def peak_memory() -> float | None:
    """The largest resident set of this process so far, in MiB; None where the system does not say."""
    with suppress(OSError):  # Linux; its ru_maxrss would count what the process that started this one held
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def compare(source: str | Path, repeats: int = 3, tokens: str = "characters") -> dict:
    """Seconds for decompression alone and for the whole extraction of the same source: medians, and their ratio."""
    files, times = files_of(source), {"decompression": [], "extraction": []}
    for _ in range(repeats):
        start = time.perf_counter()
        size = sum(decompress(stream) for _, _, stream in opened_files(files, Report()))
        times["decompression"].append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            facts = extract(source, folder, validation=0.2, tokens=tokens, progress=False)
            times["extraction"].append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    return {
        **seconds,
        "ratio": seconds["decompression"] / seconds["extraction"],
        "bytes": size,
        "characters": facts["characters"],
        "peak_memory": peak_memory(),
    }
