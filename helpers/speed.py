"""How fast this machine trains, writes and reads, with our forms against the lecture's, as ratios within one run.

    throughput(vocab_size)["ratio"]       # training at the lecture's settings: our fastest form over its heads in a loop
    generation(vocab_size)["small"]       # characters per second: the lecture's loop, ours without and with a cache
    growth(vocab_size)                    # how time and memory grow with the size of the model, the context, the batch

Forms take turns, so that a machine that is busy for a while slows all of them. In float32 and without dropout they compute
the same (tests/test_lecture_forms.py, tests/test_speed.py). bfloat16 rounds, dropout draws other numbers, and past the
context a cache with a stride lets the model see fewer tokens (see `generate`). `python -m helpers.bench` runs all this.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn

from helpers import owt_speed, tales
from helpers.batches import get_batch
from helpers.bpe import BPETokenizer
from helpers.device import synchronize
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lecture_forms import (
    encode_by_dictionary,
    generate_by_cropping,
    get_batch_by_list,
    with_looped_heads,
)
from helpers.owt_sample import write_sample
from helpers.precision import autocast, usable_dtype
from helpers.quick_dropout import quick_dropout
from helpers.sampling import generate
from helpers.steps import make_optimizers
from helpers.tokenizer import CharTokenizer
from helpers.train_options import PRESETS
from helpers.training import check_sizes

LECTURE = {"block_size": 128, "n_layer": 8, "n_head": 8, "n_embd": 384, "dropout": 0.2}
LECTURE_BATCH = 64
WRITERS = {
    "small": {"block_size": 128, "n_layer": 4, "n_head": 4, "n_embd": 128},
    "large": {"block_size": 256, "n_layer": 6, "n_head": 6, "n_embd": 384},
}
PATIENCE = 600  # seconds for a training under torchrun
CONTEXTS = 4  # a written text is so many times as long as the context
SMALL = {"block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128, "batch_size": 12}
GROWTH = {
    "n_embd": (64, 128, 256, 512),
    "n_layer": (2, 4, 8, 16),
    "block_size": (32, 64, 128, 256, 512),
    "batch_size": (3, 12, 48),
}


def in_turns(
    forms: dict[str, Callable[[], object]], rounds: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Median seconds of one call of each form, in `rounds` rounds of one call each, after one that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds + 1):
        for name, form in forms.items():
            synchronize(torch.device(device))
            start = time.perf_counter()
            form()
            synchronize(torch.device(device))
            if turn:
                found[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in found.items()}


def matmul_peak(
    dtype: torch.dtype, device: torch.device | str = "cpu", sizes: Sequence[int] = (512, 1024, 2048)
) -> float:
    """The most operations per second that a product of two square matrices reaches; sizes: numbers of rows to try."""
    best = 0.0
    for n in sizes:
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        seconds = in_turns({"product": lambda a=a, b=b: [a @ b for _ in range(5)]}, 5, device)["product"]
        best = max(best, 5 * 2 * n**3 / seconds)
    return best


def operations_per_token(config: GPTConfig) -> int:
    """Operations of a training step for each token: products of matrices alone, forward once and backward twice.

    Attention counts half of its square, that which the mask leaves.
    """
    C = config.n_embd
    weights = config.n_layer * 12 * C * C + C * config.vocab_size
    attention = config.n_layer * C * config.block_size  # scores and weighted sums: 2 * (T / 2) * C
    return 6 * (weights + attention)


def training_step(
    model: nn.Module,
    vocab_size: int,
    batch_size: int,
    device: torch.device | str,
    dtype: str = "float32",
    quick: bool = False,
) -> Callable[[], torch.Tensor]:
    """A function that makes one whole step of training on a random batch and returns its loss.

    quick: with the cheap dropout that `helpers.training.train` uses on a CPU, else with PyTorch's.
    """
    optimizers = make_optimizers(model, "adamw", 3e-4, 0.1, (0.9, 0.99))
    dice = torch.Generator().manual_seed(1)
    ids = torch.randint(vocab_size, (100_000,), generator=dice)  # (N,): the work does not depend on the text
    block_size = model.config.block_size

    def step() -> torch.Tensor:
        x, y = get_batch(ids, block_size, batch_size, dice, device)  # (B, T) each
        with autocast(device, dtype), quick_dropout(model) if quick else contextlib.nullcontext():
            loss = model(x, y)[1]
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    return step


def throughput(
    vocab_size: int,
    *,
    sizes: dict | None = None,
    batch_size: int = LECTURE_BATCH,
    rounds: int = 5,
    device: torch.device | str = "cpu",
    tell: Callable[[str], object] = print,
) -> dict:
    """Characters per second of training at the lecture's settings: its heads in a loop, against our forms.

    Returns looped and best (characters per second), best_form, ratio, share_of_peak (of best, of the peak of its type of
    numbers), and forms: all of them.
    """
    config = GPTConfig(vocab_size, **(sizes or LECTURE))
    dtypes = ["float32"]
    if usable_dtype("bfloat16", device, tell) == "bfloat16":
        dtypes.append("bfloat16")

    def form(dtype: str = "float32", looped: bool = False, quick: bool = False) -> Callable[[], torch.Tensor]:
        torch.manual_seed(1)
        model = GPTLanguageModel(config).to(device)
        model = with_looped_heads(model) if looped else model
        return training_step(model, vocab_size, batch_size, device, dtype, quick)

    forms, types = {"heads in a loop": form(looped=True)}, {"heads in a loop": "float32"}
    for dtype in dtypes:
        for quick in (False, True) if config.dropout and torch.device(device).type == "cpu" else (False,):
            name = f"batched heads, {dtype}" + (", quick dropout" if quick else "")
            forms[name], types[name] = form(dtype, quick=quick), dtype
    tokens = batch_size * config.block_size
    pace = {name: tokens / seconds for name, seconds in in_turns(forms, rounds, device).items()}
    peak = {dtype: matmul_peak(getattr(torch, dtype), device) for dtype in dtypes}
    for name, characters in pace.items():
        share = characters * operations_per_token(config) / peak[types[name]]
        tell(f"{name:38} {characters:9,.0f} characters/s   {share:5.1%} of the peak of {types[name]}")
    best = max(pace, key=pace.get)
    return {
        "looped": round(pace["heads in a loop"], 1),
        "best": round(pace[best], 1),
        "best_form": best,
        "ratio": round(pace[best] / pace["heads in a loop"], 2),
        "share_of_peak": round(pace[best] * operations_per_token(config) / peak[types[best]], 3),
        "peak": {dtype: round(value / 1e9, 1) for dtype, value in peak.items()},
        "forms": {name: round(characters, 1) for name, characters in pace.items()},
    }


def generation(
    vocab_size: int,
    *,
    writers: dict[str, dict] | None = None,
    rounds: int = 2,
    device: torch.device | str = "cpu",
    tell: Callable[[str], object] = print,
) -> dict:
    """Characters per second of writing CONTEXTS contexts: the lecture's loop, ours without and with a cache (stride).

    Returns for each size looped, uncached, cached (of the faster type of numbers, named in `dtype`) and ratio.
    """
    found = {}
    for name, sizes in (writers or WRITERS).items():
        torch.manual_seed(1)
        model = GPTLanguageModel(GPTConfig(vocab_size, **sizes)).to(device).eval()
        looped = with_looped_heads(model)
        start = torch.zeros(1, 1, dtype=torch.long, device=device)  # (1, 1)
        length = CONTEXTS * sizes["block_size"]
        forms = {
            "looped": lambda m=looped, s=start, n=length: generate_by_cropping(m, s, n),
            "uncached": lambda m=model, s=start, n=length: generate(m, s, n, cache=None),
            "exact": lambda m=model, s=start, n=length: generate(m, s, n, cache="exact"),
            "cached float32": lambda m=model, s=start, n=length: generate(m, s, n, cache="stride"),
        }
        if usable_dtype("bfloat16", device, lambda note: None) == "bfloat16":
            half = GPTLanguageModel(model.config).to(device).eval()
            half.load_state_dict(model.state_dict())
            half.bfloat16()
            forms["cached bfloat16"] = lambda m=half, s=start, n=length: generate(m, s, n, cache="stride")
        pace = {form: length / seconds for form, seconds in in_turns(forms, rounds, device).items()}
        cached = {form: characters for form, characters in pace.items() if form.startswith("cached")}
        best = max(cached, key=cached.get)
        found[name] = {
            "looped": round(pace["looped"], 1),
            "uncached": round(pace["uncached"], 1),
            "cached": round(cached[best], 1),
            "ratio": round(cached[best] / pace["looped"], 2),
            "dtype": best.split()[1],
            "forms": {form: round(characters, 1) for form, characters in pace.items()},
        }
        tell(f"{name:6} " + "   ".join(f"{form} {characters:,.0f}" for form, characters in pace.items())
             + f" characters/s   ratio {found[name]['ratio']:.1f}")  # fmt: skip
    return found


def batches(ids: torch.Tensor, *, rounds: int = 7, tell: Callable[[str], object] = print) -> dict:
    """How much faster our get_batch is than the lecture's list, for two shapes of batch. Returns ratio, the smaller one."""
    check_sizes(ids, ids, 128, 64)
    ratios = {}
    for block_size, batch_size in ((64, 12), (128, 64)):
        pace = in_turns(
            {
                "list": lambda T=block_size, B=batch_size: [get_batch_by_list(ids, T, B) for _ in range(50)],
                "ours": lambda T=block_size, B=batch_size: [get_batch(ids, T, B) for _ in range(50)],
            },
            rounds,
        )
        ratios[f"{batch_size} x {block_size}"] = round(pace["list"] / pace["ours"], 1)
        tell(f"get_batch {batch_size} x {block_size}: list {pace['list'] / 50 * 1e6:,.0f} us, "
             f"ours {pace['ours'] / 50 * 1e6:,.0f} us, ratio {pace['list'] / pace['ours']:.1f}")  # fmt: skip
    return {"ratio": min(ratios.values()), "shapes": ratios}


def encoding(text: str, *, rounds: int = 5, tell: Callable[[str], object] = print) -> dict:
    """How much faster our character tokenizer makes a tensor than a dictionary in a loop, and how fast byte pairs are.

    Returns ratio, and characters per second: dictionary (to a tensor, as in the lecture), list (its loop alone), ours
    (to a tensor), bpe.
    """
    text = text * max(1, 1_000_000 // len(text))
    tokenizer = CharTokenizer.from_text(text)
    pairs = BPETokenizer.train(text[:100_000], 512)
    seconds = in_turns(
        {
            "dictionary": lambda: torch.tensor(
                encode_by_dictionary(text, tokenizer.characters), device="cpu"
            ),
            "list": lambda: encode_by_dictionary(text, tokenizer.characters),
            "ours": lambda: torch.from_numpy(tokenizer.encode(text)),
            "bpe": lambda: pairs.encode(text),
        },
        rounds,
    )
    pace = {name: len(text) / value for name, value in seconds.items()}
    tell("encode: " + ", ".join(f"{name} {value / 1e6:,.1f} million characters/s" for name, value in pace.items())
         + f", ratio {pace['ours'] / pace['dictionary']:.1f}")  # fmt: skip
    return {"ratio": round(pace["ours"] / pace["dictionary"], 1)} | {
        name: round(value) for name, value in pace.items()
    }


def extraction(*, megabytes: float = 20, repeats: int = 3, tell: Callable[[str], object] = print) -> dict:
    """Taking an archive in the layout of OpenWebText apart, against its decompression alone. Returns owt_speed's facts."""
    with tempfile.TemporaryDirectory() as folder:
        found = owt_speed.compare(write_sample(folder, megabytes=megabytes), repeats=repeats)
    tell(f"extract {found['bytes'] / 1e6:.0f} MB: decompression {found['decompression']:.2f} s, "
         f"whole {found['extraction']:.2f} s, ratio {found['ratio']:.2f}")  # fmt: skip
    return found | {"ratio": round(found["ratio"], 2)}


def cost(settings: dict, vocab_size: int, steps: int, device: str, threads: int) -> dict:
    """Seconds of a training step and the memory that training takes, in MiB, in a process of its own.

    settings: of GPTConfig, and batch_size. On a CPU with the cheap dropout of `helpers.training.train`. The memory is that
    above what PyTorch itself needs to start; None where the system does not tell.
    """
    torch.set_num_threads(threads)
    settings = dict(settings)
    batch_size = settings.pop("batch_size")
    warm = training_step(
        GPTLanguageModel(GPTConfig(vocab_size, 8, 1, 1, 8)).to(device), vocab_size, 1, device
    )
    warm()  # what PyTorch itself needs is there now
    before, kind = owt_speed.peak_memory(), torch.device(device).type
    model = GPTLanguageModel(GPTConfig(vocab_size, **settings)).to(device)
    step = training_step(model, vocab_size, batch_size, device, quick=kind == "cpu")
    seconds = in_turns({"step": step}, steps, device)["step"]
    if kind == "cuda" and torch.cuda.is_available():
        mib = torch.cuda.max_memory_allocated(device) / 2**20
    elif kind == "mps":
        mib = torch.mps.driver_allocated_memory() / 2**20
    else:
        mib = None if before is None else owt_speed.peak_memory() - before
    return {"seconds": round(seconds, 5), "mib": mib and round(mib, 1)}


def in_mib(memory: float | None) -> str:
    """For a table: a column of 8 and the unit."""
    return " unknown MiB" if memory is None else f"{memory:8,.0f} MiB"


def presets() -> dict[str, dict]:
    """The settings of `python -m helpers.train`, by default and by preset, for `memory`: those of the classic GPT, with AdamW."""
    names = ("block_size", "n_layer", "n_head", "n_embd", "batch_size", "dropout")
    found = {"default": dict(SMALL)}
    for name, preset in PRESETS.items():
        found[name] = SMALL | {key: preset[key] for key in names if key in preset}
    return {name: each for name, each in found.items() if PRESETS.get(name, {}).get("model") != "modern"}


def in_own_process(*arguments) -> dict:
    """What `cost` returns, measured in a new process, whose memory holds nothing else."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(cost, *arguments).result()


def memory(
    vocab_size: int, named: dict[str, dict], *, steps: int = 2, device: torch.device | str = "cpu",
    tell: Callable[[str], object] = print,
) -> dict:  # fmt: skip
    """Memory and pace of training by preset, in float32. named: {name: settings of GPTConfig, and batch_size}.

    Returns for each name seconds (of a step), mib, characters (per second) and share_of_peak.
    """
    found, peak = {}, matmul_peak(torch.float32, device)
    for name, settings in named.items():
        made = in_own_process(settings, vocab_size, steps, str(device), torch.get_num_threads())
        config = GPTConfig(
            vocab_size, **{key: value for key, value in settings.items() if key != "batch_size"}
        )
        characters = settings["batch_size"] * config.block_size / made["seconds"]
        share = characters * operations_per_token(config) / peak
        found[name] = made | {"characters": round(characters), "share_of_peak": round(share, 3)}
        tell(f"{name:10} {in_mib(made['mib'])}   {1000 * made['seconds']:9,.1f} ms a step   {characters:8,.0f} characters/s"
             f"   {share:.0%} of the peak of float32")  # fmt: skip
    return found


def growth(
    vocab_size: int, *, values: dict[str, Sequence[int]] | None = None, steps: int = 5,
    device: torch.device | str = "cpu", tell: Callable[[str], object] = print,
) -> dict:  # fmt: skip
    """Time and memory of a step when one setting of SMALL changes and the others stay. Returns {setting: {value: cost}}."""
    found: dict[str, dict] = {}
    for name, choices in (values or GROWTH).items():
        found[name] = {}
        for value in choices:
            made = in_own_process(
                SMALL | {name: value}, vocab_size, steps, str(device), torch.get_num_threads()
            )
            found[name][value] = made
            tell(f"{name:10} {value:5}   {1000 * made['seconds']:9,.1f} ms a step   {in_mib(made['mib'])}")
    return found


def corpus_growth(
    *, megabytes: Sequence[int] = (1, 4, 16), rounds: int = 5, tell: Callable[[str], object] = print
) -> dict:
    """How encoding a text and drawing a batch from it grow with its length. Returns {megabytes: seconds of both}."""
    piece, found = tales.write_tales(1_000_000), {}
    tokenizer = CharTokenizer.from_text(piece)
    for size in megabytes:
        text = piece * size
        ids = torch.from_numpy(tokenizer.encode(text))
        seconds = in_turns(
            {"encode": lambda t=text: tokenizer.encode(t), "get_batch": lambda i=ids: get_batch(i, 64, 12)},
            rounds,
        )
        found[size] = {name: round(value, 6) for name, value in seconds.items()}
        tell(f"corpus {size:3} MB   encode {1000 * seconds['encode']:8.1f} ms   "
             f"get_batch {1e6 * seconds['get_batch']:6.0f} us")  # fmt: skip
    return found


def processes(
    *, counts: Sequence[int] = (1, 2), steps: int = 60, tell: Callable[[str], object] = print
) -> dict:
    """Seconds of a training by 1, 2, ... processes under torchrun, one thread each, and the same loss from all.

    Returns {processes: {"seconds", "loss"}}; empty where torchrun does not work here.
    """
    found = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1",
                "--nproc-per-node", str(count), "-m", "helpers.train", "--text", "tales", "--tales-characters", "20000",
                "--steps", str(steps), "--eval-interval", str(steps), "--device", "cpu", "--json",
            ]  # fmt: skip
            try:
                done = subprocess.run(
                    command,
                    cwd=folder,
                    env=os.environ
                    | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
                    capture_output=True,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    timeout=PATIENCE,
                )
                printed, reason = done.stdout, done.stderr.strip()
            except subprocess.TimeoutExpired:  # torchrun hangs where the host does not know its own name
                printed, reason = "", f"it did not end within {PATIENCE} s"
        with contextlib.suppress(IndexError, ValueError):
            said = json.loads(printed.splitlines()[-1])
            found[count] = {"seconds": said["seconds"], "loss": said["validation_loss"]}
            tell(
                f"{count} process(es) of one thread   {said['seconds']:.1f} s   loss {said['validation_loss']:.4f}"
            )
        if count not in found:
            last = (reason or "no reason given").splitlines()[-1]
            tell(f"{count} process(es): torchrun does not work here ({last[:120]})")
    return found
