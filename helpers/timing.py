"""Honest timing: the same operation on NumPy, on PyTorch's CPU and on the accelerator.

    found = compare(lambda a, b: a @ b, [a, b], name="matrix product", device=device)     # two NumPy arrays, float32
    print(found)                            # medians, spreads, transfer apart, and that the results are equal

All times are in seconds. helpers.timing_runs keeps them. Introduced by notebook 03 (section 18 of the lecture).
torch.utils.benchmark does much of this too; unlike ours, its Timer sets PyTorch to one thread unless it is told otherwise.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from helpers.device import pick_device, synchronize
from helpers.mends import PYTORCH_PAGE

NUMPY, CPU, ACCELERATOR = "NumPy", "torch, CPU", "accelerator"
NOT_THERE = (NotImplementedError, RuntimeError, TypeError, AttributeError, MemoryError)  # what a device lacks

clock = time.perf_counter


class UnequalResults(ValueError):
    """Two columns computed different things, so their times cannot be compared."""


class TooLong(Exception):
    """One run took longer than `too_long`: its `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"one run took {in_units(seconds)}")
        self.seconds = seconds


# --- one time ---


@dataclass(frozen=True)
class Timing:
    """Seconds that one call takes: the median of `repeats` measurements, the fastest and the slowest of them."""

    median: float
    low: float
    high: float
    repeats: int

    def __str__(self) -> str:
        return f"{in_units(self.median):>9}   ({in_units(self.low)} to {in_units(self.high)})"


def clocked(run: Callable[[], Any], loops: int, wait: Callable[[], Any]) -> float:
    """Seconds of one call of `run`, from `loops` calls between two looks at the clock."""
    wait()  # what was begun before is not ours
    start = clock()
    for _ in range(loops):
        run()
    wait()  # what we began is done
    return (clock() - start) / loops


def measure(
    run: Callable[[], Any],
    wait: Callable[[], Any],
    repeats: int = 7,
    shortest: float = 0.002,
    too_long: float = math.inf,
    rest: float = 0.1,
) -> Timing:
    """How long one call of `run` takes.

    wait: returns when all that `run` has begun is done; on the CPU it does nothing.
    repeats: measurements, 5 or more. shortest: seconds of each of them at least, far more than the clock can tell
    apart; a quick `run` is called many times for one measurement. The first call warms up and is not counted.
    rest: seconds of sleep before it begins. NumPy's threads spin for a while after their last call, and PyTorch's want the
    same cores: without a rest PyTorch looks slower than it is (notebook 03 shows by how much).
    Raises TooLong for a run of more than `too_long` seconds, and ValueError for fewer than 5 repeats.
    """
    if repeats < 5:
        raise ValueError(f"repeats={repeats}, but a median and a spread need at least 5 measurements")
    time.sleep(rest)  # until the threads of whoever computed before are asleep
    clocked(run, 1, wait)  # warm-up
    loops = 1
    once = min(clocked(run, loops, wait) for _ in range(2))  # of two looks: one may be interrupted
    while once * loops < shortest and loops < 2**20:  # too short to be measured well: twice as many calls
        loops *= 2
        once = min(clocked(run, loops, wait) for _ in range(2))
    if once > too_long:
        raise TooLong(once)
    times = [clocked(run, loops, wait) for _ in range(repeats)]
    return Timing(median(times), min(times), max(times), repeats)


def in_units(seconds: float) -> str:
    """Seconds as a short text: 12.3 µs, 4.56 ms, 7.89 s."""
    unit, size = "µs", 1e-6
    for larger in (("ms", 1e-3), ("s", 1.0)):
        if seconds >= 0.9995 * larger[1]:  # 999.6 µs would be printed as 1e+03 µs
            unit, size = larger
    return f"{seconds / size:.3g} {unit}"


# --- the same operation in three places ---


@dataclass(frozen=True)
class Comparison:
    """One operation on the same numbers: {column: Timing}, and why a column is empty."""

    name: str
    size: int | None
    shapes: tuple[tuple[int, ...], ...]  # of the inputs
    timings: dict[str, Timing]
    empty: dict[str, str]  # {column: reason}
    transfer: dict[str, Timing] = field(default_factory=dict)  # "there": the inputs, "back": the result
    difference: float = 0.0  # largest difference between two columns, as a share of the largest entry
    tolerance: float = 1e-4

    def __str__(self) -> str:
        shapes = " and ".join(" × ".join(map(str, shape)) or "one number" for shape in self.shapes)
        lines = [f"{self.name}, {shapes}, float32"]
        lines += [f"  {column:12} {timing}" for column, timing in self.timings.items()]
        lines += [f"  {'way ' + way:12} {timing}" for way, timing in self.transfer.items()]
        lines += [f"  {column:12} {'empty':>9}   {reason}" for column, reason in self.empty.items()]
        equal = f"results agree: largest difference {self.difference:.1g} of the largest entry"
        return "\n".join([*lines, f"  {equal} (allowed: {self.tolerance:g})"])


def compare(
    operation: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    *,
    name: str,
    size: int | None = None,
    device: torch.device | str | None = None,
    on_numpy: Callable[..., Any] | None = None,
    repeats: int = 7,
    tolerance: float = 1e-4,
    too_long: float = math.inf,
) -> Comparison:
    """Time one operation on NumPy, on PyTorch's CPU and on `device`, after checking that the results are equal.

    operation: is given arrays, or tensors of the same numbers, and leaves them as they are. on_numpy: the same for NumPy,
    where it is called otherwise.
    arrays: NumPy arrays of dtype float32. device: without it, that of pick_device(); a CPU leaves its column empty.
    tolerance: allowed difference, as a share of the result's largest entry.
    The inputs are on the device before the clock starts; their way there, and that of the result back, are timed apart.
    Raises TypeError and ValueError for other arrays, UnequalResults, and TooLong (see measure).
    """
    device = pick_device() if device is None else torch.device(device)
    tensors = [_checked(array, number) for number, array in enumerate(arrays)]
    runs = {NUMPY: partial(on_numpy or operation, *arrays), CPU: partial(operation, *tensors)}
    empty, results, transfer, column = {}, {}, {}, device.type
    if device.type == "cpu":
        empty[ACCELERATOR] = no_accelerator(device)
    else:
        try:
            runs[column] = partial(operation, *[_moved(tensor, device) for tensor in tensors])
        except NOT_THERE as error:
            empty[column] = _first_line(error)
    for column, run in runs.items():
        start = clock()
        try:
            results[column] = run()
        except NOT_THERE as error:
            empty[column] = _first_line(error)
        seconds = clock() - start
        if column != device.type and seconds > too_long:  # the first call of a GPU loads its programs
            raise TooLong(seconds)
    if not results:
        raise ValueError(f"{name} works nowhere. {NUMPY}: {empty[NUMPY]}; {CPU}: {empty[CPU]}")
    difference = _largest_difference(results, tolerance)
    wait, timings = partial(synchronize, device), {}
    for column in results:
        done = wait if column == device.type else _nothing_to_wait_for
        timings[column] = measure(runs[column], done, repeats, too_long=too_long)
    if device.type in results:
        transfer["there"] = measure(lambda: [_moved(each, device) for each in tensors], wait, repeats)
        transfer["back"] = measure(lambda: _moved(results[device.type], "cpu"), wait, repeats)
    shapes = tuple(array.shape for array in arrays)
    return Comparison(name, size, shapes, timings, empty, transfer, difference, tolerance)


def sweep(
    operation: Callable[..., Any],
    make: Callable[[int], Sequence[np.ndarray]],
    sizes: Iterable[int],
    *,
    name: str,
    too_long: float = 0.3,
    repeats: int = 5,
    **options: Any,
) -> list[Comparison]:
    """Compare at each size in turn; a size whose single run takes more than `too_long` seconds ends it.

    make: gives the arrays of a size. options: as for `compare`.
    """
    found = []
    for size in sizes:
        try:
            found.append(
                compare(
                    operation, make(size), name=name, size=size, repeats=repeats, too_long=too_long, **options
                )
            )
        except TooLong as error:
            print(f"{name}: ends before size {size}, where one run takes {in_units(error.seconds)}")
            break
    return found


def crossover(sizes: Sequence[float], first: Sequence[float], second: Sequence[float]) -> float | None:
    """The size from which `second` is quicker than `first` and stays so, or None where there is no such size.

    sizes rise; first, second: seconds at these sizes. Between two sizes, times are taken for straight lines on a plot
    with two logarithmic axes. Where `second` is quicker everywhere, this is the first size.
    """
    ahead = [math.log(b / a) for a, b in zip(first, second, strict=True)]  # below 0: second is quicker
    since = len(ahead)
    while since and ahead[since - 1] < 0:
        since -= 1
    if since == len(ahead):
        return None
    if since == 0:
        return float(sizes[0])
    share = ahead[since - 1] / (ahead[since - 1] - ahead[since])
    return float(sizes[since - 1] * (sizes[since] / sizes[since - 1]) ** share)


def _checked(array: np.ndarray, number: int) -> torch.Tensor:
    """A tensor of the same numbers. Raises TypeError, ValueError."""
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"input {number} is a {type(array).__module__}.{type(array).__name__}, and NumPy's column would time that in "
            "place of an array. Give NumPy arrays (tensor.numpy()); the tensors are made here."
        )
    if array.dtype != np.float32:
        raise ValueError(
            f"input {number} is {array.dtype}, but all columns compute in float32: array.astype(np.float32)"
        )
    return torch.from_numpy(array.copy(order="C"))


def _moved(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    return tensor.to(device)


def _nothing_to_wait_for() -> None:
    """NumPy, and PyTorch on the CPU, return when the work is done."""


def _largest_difference(results: dict[str, Any], tolerance: float) -> float:
    """The largest difference from the first column, as a share of its largest entry. Raises UnequalResults."""
    (first, wanted), *others = ((column, _as_array(result)) for column, result in results.items())
    largest = 0.0
    for column, got in others:
        if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            raise UnequalResults(
                f"{first} gives {wanted.dtype} of shape {wanted.shape}, {column} {got.dtype} of shape {got.shape}: "
                "that is not the same operation"
            )
        scale = float(np.abs(wanted).max(initial=0)) or 1.0
        apart = float(np.abs(got - wanted).max(initial=0))
        if not apart / scale <= tolerance:  # NaN too
            raise UnequalResults(
                f"{first} and {column} differ by up to {apart:.3g}, and the largest entry is {scale:.3g}: more than the "
                f"allowed share of {tolerance:g}. Do both compute the same?"
            )
        largest = max(largest, apart / scale)
    return largest


def _as_array(result: Any) -> np.ndarray:
    return result.detach().cpu().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"


# --- the machine ---


def no_accelerator(device: torch.device | str = "cpu") -> str:
    """In a sentence without its full stop: why there is no accelerator's column."""
    build = f"this PyTorch ({torch.__version__}) is built for"
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return f"an accelerator is here, but {device} was chosen: by COURSE_DEVICE, or because MPS failed its check"
    if torch.version.cuda or getattr(torch.version, "hip", None):
        kind = f"CUDA {torch.version.cuda}" if torch.version.cuda else "AMD's ROCm"
        return (
            f"{build} {kind}, but finds no GPU that it can use, or no driver for it: python -m helpers doctor"
        )
    if torch.backends.mps.is_built():
        return f"{build} MPS, but macOS offers none here"
    if shutil.which("nvidia-smi"):
        return f"{build} the CPU only, although an NVIDIA driver is here: {PYTORCH_PAGE} has a build for it"
    return f"{build} the CPU only, and this machine shows no NVIDIA driver"


def cores_busy(run: Callable[[], Any], shortest: float = 0.2) -> float:
    """How many CPU cores worked, on average, while `run` was called again and again for `shortest` seconds or more."""
    run()
    start, worked = clock(), time.process_time()
    while clock() - start < shortest:
        run()
    return (time.process_time() - worked) / (clock() - start)


def bytes_on(device: torch.device | str) -> int | None:
    """Bytes that PyTorch's tensors take on a GPU now; None on the CPU, where nobody counts them."""
    device = torch.device(device)
    if device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    return None
