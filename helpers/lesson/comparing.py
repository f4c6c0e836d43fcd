"""Compare what a learner's code gives with what is right, and say the difference in words.

    same(got, want)                         # raises NotYet for another type, shape, dtype, device or other values
    in_words(got)                           # "a tensor of shape (2, 3) and dtype int64"

The checks of exercises import these from helpers.lesson.exercises.
"""

import copy
import inspect
import math
import numbers
import re
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

Arrays = torch.Tensor | np.ndarray
Bools = bool | np.bool_


class NotYet(Exception):
    """Raised by a check for an answer that is not right.

    key: a short name of the misconception, the same as that of the Wrong that shows it. message: what the learner
    reads after "Not yet: "; plain text, with `code` between backticks.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key, self.message = key, message


def same(got: Any, want: Any, tolerance: float = 1e-5, what: str = "the result") -> None:
    """Raise NotYet unless two values are equal: numbers, text, tensors, arrays, or lists, tuples, dicts, sets of them.

    The key of the NotYet is "type", "device", "shape" (of a list: its length), "dtype" or "values". Floating-point
    numbers may differ by tolerance + tolerance * |want|. A tuple may stand for a list, a whole number for a float.
    what: the words for the value in the message.
    """
    if isinstance(want, Arrays):
        _same_arrays(got, want, tolerance, what)
    elif isinstance(want, Bools):
        _need(isinstance(got, Bools), "type", what, got, "True or False")
        _need(bool(got) == bool(want), "values", what, got, in_words(want))
    elif isinstance(want, numbers.Number):
        _same_numbers(got, want, tolerance, what)
    elif isinstance(want, str):
        _need(isinstance(got, str), "type", what, got, f"a text, {_short(want)}")
        _same_texts(got, want, what)
    elif isinstance(want, list | tuple):
        _need(isinstance(got, list | tuple), "type", what, got, in_words(want))
        _need(len(got) == len(want), "shape", what, got, in_words(want))
        for number, (one, other) in enumerate(zip(got, want, strict=True)):
            same(one, other, tolerance, f"item {number} of {what}")
    elif isinstance(want, dict):
        _need(isinstance(got, dict), "type", what, got, "a dict")
        missing, extra = [k for k in want if k not in got], [k for k in got if k not in want]
        if missing or extra:
            words = (
                f"lacks the key {_short(missing[0])}"
                if missing
                else f"has the key {_short(extra[0])} too many"
            )
            raise NotYet("values", f"{what} {words}.")
        for key in want:
            same(got[key], want[key], tolerance, f"the value of {_short(key)} in {what}")
    else:
        _need(isinstance(got, type(want)), "type", what, got, in_words(want))
        _need(bool(got == want), "values", what, got, in_words(want))


def in_words(value: Any) -> str:
    """A value in a few words: "a tensor of shape (2, 3) and dtype int64", "the number 0.5", "a list of 3 items, [...]"."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {_dtype(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {_dtype(value)}"
    if value is None or value is ... or isinstance(value, Bools):
        return "`...`" if value is ... else str(value)
    if isinstance(value, numbers.Number):
        return f"the number {_number(value)}"
    if isinstance(value, str):
        return f"the text {_short(value)}"
    if isinstance(value, list | tuple | set | frozenset | dict):
        items = "item" if len(value) == 1 else "items"
        return f"a {type(value).__name__} of {len(value)} {items}, {_short(value)}"
    if inspect.isclass(value):
        return f"the class `{value.__name__}`"
    if inspect.isgenerator(value):
        return "a generator (a function with `yield` gives one)"
    if inspect.isroutine(value):
        return f"the function `{name_of(value)}`"
    if inspect.ismodule(value):
        return f"the module `{value.__name__}`"
    return f"an object of type {type(value).__name__}"


def name_of(value: Any) -> str:
    """The name of a function or class; of another object, that of its type."""
    return getattr(value, "__name__", type(value).__name__)


def copied(value: Any) -> Any:
    """A deep copy of plain data (tensors, arrays, lists, tuples, dicts, sets); anything else as it is."""
    if isinstance(value, torch.Tensor):
        return copy.deepcopy(value) if value.is_leaf else value.clone()
    if isinstance(value, np.ndarray):
        return value if isinstance(value, np.memmap) else value.copy()
    if type(value) in (list, tuple, set):
        return type(value)(copied(each) for each in value)
    if type(value) is dict:
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, dict | list | set | bytearray):  # Counter and the like
        return copy.copy(value)
    return value


def unchanged(one: Any, other: Any) -> bool:
    """Whether a copy still equals what it was made from; True where that cannot be told."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Arrays):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        return bool(((one == other) | ((one != one) & (other != other))).all())  # NaN is not equal to itself
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(unchanged, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(unchanged(one[key], other[key]) for key in one)
    try:
        return bool(one == other)
    except Exception:
        return True


def _need(ok: bool, key: str, what: str, got: Any, want: str) -> None:
    if not ok:
        raise NotYet(key, f"{what} is {in_words(got)}; it should be {want}.")


def _same_numbers(got: Any, want: numbers.Number, tolerance: float, what: str) -> None:
    whole = isinstance(want, numbers.Integral)
    kind = "a whole number (int)" if whole else "a number"
    if isinstance(got, Arrays) and got.ndim == 0:
        kind += (
            f", which `.item()` takes out of {'a tensor' if isinstance(got, torch.Tensor) else 'an array'}"
        )
    right = isinstance(got, numbers.Integral if whole else numbers.Number) and not isinstance(got, Bools)
    _need(right, "type", what, got, kind)
    close = got == want if whole else np.isclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
    _need(bool(close), "values", what, got, in_words(want))


def _same_texts(got: str, want: str, what: str) -> None:
    if got == want:
        return
    pairs = enumerate(zip(got, want, strict=False))
    place = next((at for at, (one, other) in pairs if one != other), min(len(got), len(want)))
    message = f"{what} is {in_words(got)}; it should be {in_words(want)}."
    if place > 20:  # where the shortened texts may look the same
        one, other = _short(got[place : place + 20]), _short(want[place : place + 20])
        message += f" From position {place} on it is {one} in place of {other}."
    raise NotYet("values", message)


def _same_arrays(got: Any, want: Arrays, tolerance: float, what: str) -> None:
    tensor = isinstance(want, torch.Tensor)
    _need(isinstance(got, torch.Tensor if tensor else np.ndarray), "type", what, got, in_words(want))
    if tensor and got.device.type != want.device.type:
        raise NotYet("device", f"{what} is on {got.device}, but belongs on {want.device}, with its inputs.")
    if tuple(got.shape) != tuple(want.shape):
        raise NotYet("shape", f"{what} has the shape {tuple(got.shape)}; it should have {tuple(want.shape)}.")
    if got.dtype != want.dtype:
        raise NotYet("dtype", f"{what} has the dtype {_dtype(got)}; it should have {_dtype(want)}.")
    if tensor:
        got, want = got.detach().cpu().resolve_conj(), want.detach().cpu()
    if (want.is_floating_point() or want.is_complex()) if tensor else want.dtype.kind in "fc":
        close = torch.isclose if tensor else np.isclose
        right = close(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        right = got == want
    if right.all():
        return
    wrong = np.argwhere(~np.asarray(right))
    place = tuple(int(each) for each in wrong[0])
    where = f" at {list(place)}" if place else ""
    message = f"the type and the shape of {what} are right, the values are not: it has {_number(got[place].item())}{where}"
    message += f" and should have {_number(want[place].item())}."
    if math.prod(want.shape) > 1:
        message += f" {len(wrong)} of {math.prod(want.shape)} values differ."
    raise NotYet("values", message)


def _number(value: Any) -> str:
    """Whole numbers as they are, others with six digits and so that they can be told from whole ones."""
    if not isinstance(value, float | np.floating):
        return str(value)
    text = f"{value:.6g}"
    return text + ".0" if text.lstrip("-").isdigit() else text


def _dtype(value: Arrays) -> str:
    return str(value.dtype).removeprefix("torch.")


_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = 60
_shortener.maxlist = _shortener.maxtuple = _shortener.maxdict = _shortener.maxset = 8


def _short(value: Any) -> str:
    """The repr on one line, shortened, without addresses; safe for objects whose own repr fails."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(_shortener.repr(value).split()))


def one_number(got: Any, what: str) -> float:
    """A number, or a tensor that holds a single one, as a float. Raises NotYet ("type") for anything else."""
    value = got.item() if isinstance(got, torch.Tensor) and got.numel() == 1 else got
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NotYet("type", f"{what} is one number; your function gives {in_words(got)}.")
    return float(value)


def is_near(got: Any, other: torch.Tensor, tolerance: float = 1e-4) -> bool:
    """Whether an answer is this tensor: its shape, and its numbers up to `tolerance`, relative and absolute."""
    return (
        isinstance(got, torch.Tensor)
        and got.shape == other.shape
        and torch.allclose(got.detach().double(), other.detach().double(), rtol=tolerance, atol=tolerance)
    )


def refuse_named(got: Any, named: Mapping[str, tuple[torch.Tensor, str]]) -> None:
    """Raise NotYet for an answer that is what a misconception gives. named: {key: (what it gives, message)}."""
    for key, (wrong, message) in named.items():
        if is_near(got, wrong):
            raise NotYet(key, message)
