"""The exercises of notebook 12: a checkpoint of plain data, an atomic write, GPT-2's layers, the memory of a training."""

import copy
import errno
import io
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lesson.exercises import (
    Exercise,
    NotYet,
    Wrong,
    call,
    call_in_place,
    filled,
    in_words,
    is_near,
    one_number,
    same,
)
from helpers.tokenizer import CharTokenizer

# --- checkpoint_of ---

CHECKPOINT_STUB = '''def checkpoint_of(model, tokenizer, losses):
    """All that belongs to a model, as plain data that torch.load reads with weights_only=True.

    model: has .config, a GPTConfig    tokenizer: has .characters, a list    losses: a NumPy array
    returns: a dict with "weights" (copies, by name), "config" (a dict), "characters" (a list), "loss" (their mean)
    """
    ...
'''
COPIES = "{name: tensor.clone() for name, tensor in model.state_dict().items()}"


def _checkpoint(
    weights: str = COPIES,
    config: str = "asdict(model.config)",
    characters: str = "list(tokenizer.characters)",
    loss: str = "float(np.mean(losses))",
) -> str:
    body = f'    return {{\n        "weights": {weights},\n        "config": {config},\n'
    body += f'        "characters": {characters},\n        "loss": {loss},\n    }}\n'
    return filled(CHECKPOINT_STUB, body)


class _Little(nn.Module):
    """A model with two weights and a buffer, which belongs to the state although it is not trained."""

    def __init__(self) -> None:
        super().__init__()
        dice = torch.Generator().manual_seed(12)
        self.config = GPTConfig(vocab_size=5, block_size=3, n_layer=1, n_head=2, n_embd=4)
        self.table = nn.Parameter(torch.randn(5, 4, generator=dice))
        self.bias = nn.Parameter(torch.randn(5, generator=dice))
        self.register_buffer("mean", torch.randn(4, generator=dice))


def _loads(value) -> bool:
    """Whether torch.load reads this with weights_only=True."""
    file = io.BytesIO()
    torch.save({"value": value}, file)
    file.seek(0)
    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return False
    return True


def check_checkpoint_of(answer) -> None:
    model, tokenizer, losses = _Little(), CharTokenizer("aeiou"), np.array([1.5, 1.25, 1.0, 0.25])
    want = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    got = call(answer, model, tokenizer, losses)
    if not isinstance(got, dict):
        raise NotYet("type", f"a dictionary is asked for; your function gives {in_words(got)}.")
    for key in ("weights", "config", "characters", "loss"):
        if key not in got:
            raise NotYet("missing key", f'the key "{key}" is missing: yours are {", ".join(map(repr, got))}.')
    weights = got["weights"]
    if isinstance(weights, nn.Module):
        raise NotYet(
            "whole model",
            "under `weights` you keep the model itself: an object of a class, which would be stored by the name of its class "
            "and found nowhere else. What gives its weights by name?",
        )
    if got["config"] is model.config:
        raise NotYet(
            "config object",
            "`config` is still an object of the class GPTConfig, and `weights_only` refuses that class. Which function makes "
            "a dictionary of it?",
        )
    if isinstance(got["characters"], CharTokenizer):
        raise NotYet(
            "tokenizer object",
            "you keep the tokenizer itself, an object. Its list of characters is plain data, and the tokenizer can be made "
            "from it again.",
        )
    if isinstance(got["characters"], str | dict | set):
        raise NotYet(
            "characters",
            f"the characters are {in_words(got['characters'])}. A list keeps the order, which is what says which id is whose.",
        )
    if not isinstance(weights, dict):
        raise NotYet(
            "no names",
            f"the weights are {in_words(weights)}. Without their names nobody knows which one goes where.",
        )
    if isinstance(got["loss"], np.generic | np.ndarray) and np.size(got["loss"]) == 1:
        raise NotYet(
            "numpy scalar",
            "the loss is right, but it is a number of NumPy's, an object that `weights_only` refuses. Which function makes a "
            "plain number of it?",
        )
    if isinstance(got["loss"], np.ndarray | list | tuple):
        raise NotYet("all losses", "you keep all the losses. Asked for is their mean, one plain number.")
    missing = sorted(want.keys() - weights.keys())
    if missing == ["mean"]:
        raise NotYet(
            "no buffers",
            "`mean` is missing. It is a buffer: not trained, but part of the model's state all the same. Parameters are not "
            "all; which method gives everything by name?",
        )
    same(sorted(weights), sorted(want), what="the names of the weights")
    for name, tensor in want.items():
        same(weights[name].detach(), tensor, what=f"the weight {name!r}")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1.0)  # what later training steps do
    if any(not torch.equal(weights[name].detach(), tensor) for name, tensor in want.items()):
        raise NotYet(
            "by reference",
            "one more training step, and the weights in your dictionary have changed with the model: they are its own tensors. "
            "(`state_dict()`, `detach()` and, on a processor, `cpu()` copy nothing.) Which method makes a copy?",
        )
    same(got["config"], asdict(model.config), what="the config")
    same(got["characters"], list("aeiou"), what="the characters")
    same(one_number(got["loss"], "the loss"), 1.0, what="the loss")
    for key, value in got.items():
        if not _loads(value):
            raise NotYet("refused", f'`weights_only` refuses what stands under "{key}": is it plain data?')


CHECKPOINT_OF = Exercise(
    name="checkpoint_of",
    title="Plain data",
    difficulty="easy",
    minutes=6,
    statement=(
        "(An answer follows: solve it first.) Write `checkpoint_of(model, tokenizer, losses)`: a dictionary with all that "
        'belongs to the model, under `"weights"`, `"config"`, `"characters"` and `"loss"`, the mean of the losses '
        "(`losses` is a NumPy array). It must load with `weights_only=True`. And the training goes on after it, so the weights "
        "are to be *copies*: `tensor.clone()` makes one. (The tensors of a `state_dict()` carry no gradient, so there is nothing "
        "to leave out.)"
    ),
    stub=CHECKPOINT_STUB,
    solution=_checkpoint(),
    hints=(
        "`model.state_dict()` gives all weights by name. Walk through its `.items()` and clone each tensor.",
        "`asdict` makes a dictionary of a config, `list` a list of characters, `float` a plain number of NumPy's.",
    ),
    check=check_checkpoint_of,
    wrong=(
        Wrong("by reference", _checkpoint("model.state_dict()")),
        Wrong("whole model", _checkpoint("model")),
        Wrong("config object", _checkpoint(config="model.config")),
        Wrong("numpy scalar", _checkpoint(loss="np.mean(losses)")),
        Wrong("tokenizer object", _checkpoint(characters="tokenizer")),
        Wrong("characters", _checkpoint(characters="set(tokenizer.characters)")),
        Wrong("no names", _checkpoint("[p.detach().clone() for p in model.parameters()]")),
        Wrong("no buffers", _checkpoint("{name: p.detach().clone() for name, p in model.named_parameters()}")),
        Wrong("all losses", _checkpoint(loss="losses.tolist()")),
    ),
)  # fmt: skip

# --- atomic_write ---

ATOMIC_STUB = '''def atomic_write(path, write):
    """Let write(file) fill a temporary file beside `path`; only when it is whole, it gets the name `path`.

    path: a Path    write: a function of a file that is open for bytes. If it raises an error, the temporary file is
    removed, an older file of the name `path` stays as it was, and the error goes on to the caller.
    """
    ...
'''
BESIDE = 'path.with_name(path.name + ".tmp")'


def _atomic(
    temporary: str = BESIDE,
    after: str = "        os.replace(temporary, path)\n",
    failed: str = "        temporary.unlink(missing_ok=True)\n        raise\n",
) -> str:
    body = f"    temporary = {temporary}\n    try:\n"
    body += '        with open(temporary, "wb") as file:\n            write(file)\n'
    return filled(ATOMIC_STUB, f"{body}{after}    except BaseException:\n{failed}")


BACKUP = (
    '        path.with_name("backup").write_bytes(path.read_bytes())\n        os.replace(temporary, path)\n'
)


@contextmanager
def _watched(path: Path, files: list, seen: dict) -> Iterator[None]:
    """While it is open, notes in `seen` what os.replace finds, and whether another way of renaming is used."""
    names = {name: getattr(os, name) for name in ("replace", "rename", "link")}

    def replacing(source, target, **more):
        seen["replaced"] = True
        seen["open"] = any(not file.closed for file in files)
        seen["gone"] = not path.exists()
        return names["replace"](source, target, **more)

    def renaming(source, target, **more):
        seen["renamed"] = True
        return names["rename"](source, target, **more)

    os.replace, os.rename = replacing, renaming
    try:
        yield
    finally:
        os.replace, os.rename = names["replace"], names["rename"]


def check_atomic_write(answer) -> None:
    with tempfile.TemporaryDirectory(prefix="exercise-", ignore_cleanup_errors=True) as name:
        _check_atomic_write(answer, Path(name))


def _check_atomic_write(answer, folder: Path) -> None:
    path, files, seen = folder / "model.pt", [], {}
    old, new = b"old " * 50, b"the new content " * 40

    def good(file) -> None:
        files.append(file)
        seen["place"] = Path(getattr(file, "name", "")).parent
        seen["in place"] = Path(getattr(file, "name", "")).name == path.name
        file.write(new)

    def full(file) -> None:
        files.append(file)
        seen["written to"] = Path(getattr(file, "name", "?"))
        file.write(new[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    path.write_bytes(old)
    with _watched(path, files, seen):
        call_in_place(answer, path, good)
    if not files:
        raise NotYet(
            "not called",
            "`write` was never called: it is the function that fills the file, `write(file)`.",
        )
    if seen["in place"] and seen["place"] == folder:
        raise NotYet(
            "in place",
            "you open the file under its own name. That empties it before the first new byte is written, so a failure on the "
            "way leaves neither the old content nor the new.",
        )
    if seen["place"] != folder:
        raise NotYet(
            "another folder",
            f"your temporary file is not beside `{path.name}` but in another folder. That may be another disk, and a name "
            "cannot change hands across disks in one step. `path.with_name(...)` stays in the folder.",
        )
    if path.read_bytes() == old:
        raise NotYet("no name", "the new content was written, and then never got the name `path`.")
    if seen.get("open"):
        raise NotYet(
            "still open",
            "the name changes hands while the file is still open: its last bytes may not have been written by then, and Windows "
            "refuses. Close it first: does `os.replace` stand inside the `with`?",
        )
    if seen.get("gone"):
        raise NotYet(
            "deleted first",
            "you delete the old file before the new one takes its name. If the power fails between the two, there is none. "
            "`os.replace` replaces a file that is there.",
        )
    if seen.get("renamed") or not seen.get("replaced"):
        raise NotYet(
            "rename",
            "the new file gets its name in another way than by `os.replace`. `os.rename` fails on Windows where a file of that "
            "name is there, and a copy is no single step.",
        )
    same(path.read_bytes() == new, True, what="whether the file holds what was written")
    if left := sorted(each.name for each in folder.iterdir() if each != path):
        raise NotYet("left over", f"a file is left over after a save that worked: `{left[0]}`.")

    path.write_bytes(old)
    try:
        answer(path, full)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise NotYet(
                "raised", f"where the disk is full your code raised another error: {error}."
            ) from None
    except Exception as error:
        raise NotYet(
            "other error",
            f"the caller gets {type(error).__name__} in the place of the error that `write` raised.",
        ) from None
    else:
        raise NotYet(
            "swallowed",
            "the disk was full, and your function returned as if all were well. The caller believes that the model is saved. "
            "After cleaning up, `raise` lets the error go on.",
        )
    if path.read_bytes() != old:
        raise NotYet(
            "half a file",
            "after a write that failed, half a file has taken the name. Only a file that is whole may get it.",
        )
    if left := sorted(each.name for each in folder.iterdir() if each != path):
        raise NotYet(
            "left behind",
            f"after a write that failed, the temporary file `{left[0]}` is left behind, and takes room on a disk that is full.",
        )


ATOMIC_WRITE = Exercise(
    name="atomic_write",
    title="Whole or not at all",
    difficulty="medium",
    minutes=8,
    statement=(
        "(An answer follows: solve it first.) A save that fails half-way must not cost the old file. Write "
        "`atomic_write(path, write)`: open a temporary file in the same folder, let `write(file)` fill it, close it, and give it "
        "the name `path` with `os.replace(temporary, path)`, which is one step. If `write` raises an error, remove the "
        "temporary file (`temporary.unlink(missing_ok=True)`), leave the old file alone, and let the error go on: "
        "`raise` alone, in an `except`, hands on the same error."
    ),
    stub=ATOMIC_STUB,
    solution=_atomic(),
    hints=(
        '`path.with_name(path.name + ".tmp")` is a name beside it. `with open(..., "wb") as file:` closes it at its end.',
        "`try:` around the writing and the replacing. In `except BaseException:` clean up, and then let the error go on: a word "
        "of its own on the last line.",
    ),
    check=check_atomic_write,
    wrong=(
        Wrong(
            "in place",
            filled(ATOMIC_STUB, '    with open(path, "wb") as file:\n        write(file)\n'),
        ),
        Wrong("another folder", _atomic('Path(tempfile.mkdtemp()) / "model.tmp"')),
        Wrong(
            "still open",
            filled(
                ATOMIC_STUB,
                f'    temporary = {BESIDE}\n    with open(temporary, "wb") as file:\n        write(file)\n'
                "        os.replace(temporary, path)\n",
            ),
        ),
        Wrong("deleted first", _atomic(after="        path.unlink()\n        os.replace(temporary, path)\n")),
        Wrong("rename", _atomic(after="        os.rename(temporary, path)\n")),
        Wrong("swallowed", _atomic(failed="        temporary.unlink(missing_ok=True)\n")),
        Wrong("left behind", _atomic(failed="        raise\n")),
        Wrong(
            "half a file",
            filled(
                ATOMIC_STUB,
                f'    temporary = {BESIDE}\n    try:\n        with open(temporary, "wb") as file:\n            write(file)\n'
                "    finally:\n        os.replace(temporary, path)\n",
            ),
        ),
        Wrong("no name", _atomic(after="")),
        Wrong("left over", _atomic(after=BACKUP)),
    ),
)  # fmt: skip

# --- from_conv1d ---

CONV1D_STUB = '''def from_conv1d(state):
    """Attention of a GPT-2 block, by our names and in our shapes.

    state: "c_attn.weight" (C, 3C), "c_attn.bias" (3C,), "c_proj.weight" (C, C), "c_proj.bias" (C,)
    returns: a dict of "qkv.weight" (3C, C), "qkv.bias" (3C,), "proj.weight" (C, C), "proj.bias" (C,)
    """
    ...
'''


def _conv1d(
    qkv: str = 'state["c_attn.weight"].t()',
    proj: str = 'state["c_proj.weight"].t()',
    bias: str = 'state["c_attn.bias"]',
    before: str = "",
) -> str:
    body = f'{before}    return {{\n        "qkv.weight": {qkv},\n        "qkv.bias": {bias},\n'
    body += f'        "proj.weight": {proj},\n        "proj.bias": state["c_proj.bias"],\n    }}\n'
    return filled(CONV1D_STUB, body)


def check_from_conv1d(answer) -> None:
    dice, C = torch.Generator().manual_seed(13), 6
    shapes = {
        "c_attn.weight": (C, 3 * C),
        "c_attn.bias": (3 * C,),
        "c_proj.weight": (C, C),
        "c_proj.bias": (C,),
    }
    state = {name: torch.randn(shape, generator=dice) for name, shape in shapes.items()}
    got = call(answer, state)
    if not isinstance(got, dict):
        raise NotYet("type", f"a dictionary is asked for; your function gives {in_words(got)}.")
    attn, proj = state["c_attn.weight"], state["c_proj.weight"]
    if set(got) == set(state):
        raise NotYet(
            "old names", "your dictionary has GPT-2's names. Asked for are ours: `qkv.weight` and so on."
        )
    names = ["proj.bias", "proj.weight", "qkv.bias", "qkv.weight"]
    if sorted(got) == ["proj.weight", "qkv.weight"]:
        raise NotYet(
            "no biases", "the biases are missing. They have one axis only, but they belong to the layer."
        )
    if sorted(got) != names:
        raise NotYet(
            "names", f"asked for are the names {', '.join(names)}; yours are {', '.join(map(str, got))}."
        )
    q, k, v = attn.t().chunk(3)  # (C, C) each
    of_qkv = {
        "untransposed": (
            attn,
            "`qkv.weight` is still (C, 3C), as GPT-2 keeps it: in first. nn.Linear wants out first.",
        ),
        "reshaped": (
            attn.reshape(3 * C, C),
            "`qkv.weight` has the right shape, and the wrong numbers in the wrong places: `view` and `reshape` cut the row of "
            "numbers into other pieces. Rows and columns have to change places.",
        ),
        "order": (
            torch.cat([k, q, v]),
            "keys, queries, values: in GPT-2 and in our `qkv` the queries come first.",
        ),
        "part by part": (
            torch.cat([part.t() for part in (q, k, v)]),
            "you cut `c_attn` into three and put the pieces on top of each other, each as it was. Inside each piece rows and "
            "columns have to change places as well.",
        ),
    }
    for key, (tensor, message) in of_qkv.items():
        if is_near(got["qkv.weight"], tensor):
            raise NotYet(key, message)
    if is_near(got["proj.weight"], proj):
        raise NotYet(
            "square",
            "`proj.weight` is as GPT-2 keeps it. It is square, so its shape does not complain, but in and out are exchanged "
            "in it as in the other one.",
        )
    if is_near(got["qkv.bias"], state["c_attn.bias"].flip(0)):
        raise NotYet("flipped", "your bias is turned round. A bias has one axis: it stays as it is.")
    for name, want in {
        "qkv.weight": attn.t(),
        "qkv.bias": state["c_attn.bias"],
        "proj.weight": proj.t(),
        "proj.bias": state["c_proj.bias"],
    }.items():
        same(got[name], want, what=f"`{name}`")


FROM_CONV1D = Exercise(
    name="from_conv1d",
    title="Four tensors of GPT-2",
    difficulty="easy",
    minutes=5,
    statement=(
        "(An answer follows: solve it first.) Write `from_conv1d(state)`, which takes the four tensors of GPT-2's attention in "
        "one block and gives them by our names and in our shapes. Queries, keys and values stand in the same order in both. "
        "(`Conv1D` is the name of GPT-2's layer. `tensor.t()` exchanges the two axes of a table.)"
    ),
    stub=CONV1D_STUB,
    solution=_conv1d(),
    hints=(
        "GPT-2 keeps (in, out), nn.Linear (out, in). Which of the four tensors have two axes?",
        "A square table has the same shape before and after. Does that mean that nothing has to be done?",
    ),
    check=check_from_conv1d,
    wrong=(
        Wrong("square", _conv1d(proj='state["c_proj.weight"]')),
        Wrong("reshaped", _conv1d('state["c_attn.weight"].reshape(-1, len(state["c_attn.weight"]))')),
        Wrong("untransposed", _conv1d('state["c_attn.weight"]')),
        Wrong("part by part", _conv1d('torch.cat(state["c_attn.weight"].chunk(3, dim=1))')),
        Wrong("order", _conv1d("torch.cat([k, q, v])", before='    q, k, v = state["c_attn.weight"].t().chunk(3)\n')),
        Wrong("flipped", _conv1d(bias='state["c_attn.bias"].flip(0)')),
        Wrong("old names", filled(CONV1D_STUB, "    return {n: t.t() if t.ndim == 2 else t for n, t in state.items()}\n")),
        Wrong(
            "no biases",
            filled(
                CONV1D_STUB,
                '    qkv, proj = state["c_attn.weight"], state["c_proj.weight"]\n'
                '    return {"qkv.weight": qkv.t(), "proj.weight": proj.t()}\n',
            ),
        ),
    ),
)  # fmt: skip

# --- training_bytes ---

BYTES_STUB = '''def training_bytes(model):
    """Bytes for a training with AdamW, activations left out: weights, gradients and AdamW's two running means.

    A parameter with requires_grad=False is not trained: it has a weight, and nothing else.
    returns: a whole number
    """
    ...
'''


def _bytes(weight: str = "p.numel() * 4", trained: str = "4", values: str = "model.parameters()") -> str:
    return filled(
        BYTES_STUB,
        f"    total = 0\n    for p in {values}:\n"
        f"        total += {weight} * ({trained} if p.requires_grad else 1)\n    return total\n",
    )


def _frozen_part() -> nn.Module:
    model = nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    model[0].weight.requires_grad_(False)
    return model


def check_training_bytes(answer) -> None:
    plain = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4, bias=False))
    tied = GPTLanguageModel(
        GPTConfig(vocab_size=11, block_size=4, n_layer=1, n_head=2, n_embd=6, tie_weights=True)
    )
    frozen = _frozen_part()
    found, tables = [], []
    for model in (plain, tied, frozen):
        got = one_number(call(answer, copy.deepcopy(model)), "the number of bytes")
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        fixed = sum(p.numel() for p in model.parameters() if not p.requires_grad)
        twice = sum(tensor.numel() for tensor in model.state_dict().values()) - trained - fixed
        found.append(got)
        tables.append(
            {
                "right": 16 * trained + 4 * fixed,
                "weights only": 4 * (trained + fixed),
                "gradients only": 8 * trained + 4 * fixed,
                "one mean": 12 * trained + 4 * fixed,
                "no gradients": 12 * trained + 4 * fixed,
                "numbers": 4 * trained + fixed,
                "frozen as trained": 16 * (trained + fixed),
                "frozen left out": 16 * trained,
                "counted twice": 16 * (trained + twice) + 4 * fixed,
                "twice and frozen": 16 * (trained + fixed + twice),
                "mebibytes": (16 * trained + 4 * fixed) / 2**20,
                "bits": 8 * (16 * trained + 4 * fixed),
                "shapes": 16 * sum(sum(p.shape) for p in model.parameters()),
            }
        )
    messages = {
        "weights only": "these are the weights alone, enough for using a model. Training keeps three more numbers for each.",
        "gradients only": "weights and gradients are in it. What does AdamW remember of each parameter?",
        "one mean": "12 bytes for each trained parameter: one thing too few. A weight, a gradient, and *two* running means.",
        "numbers": "you count numbers. Each float32 has 4 bytes.",
        "frozen as trained": "a parameter with `requires_grad=False` costs you as much as a trained one. It gets no gradient, so "
        "there is nothing for AdamW to remember.",
        "frozen left out": "parameters that are not trained are left out altogether. They have no gradient, but their weights "
        "must be there.",
        "counted twice": "in a model with tied weights you count one tensor twice: it has two names in `state_dict()`, and lies in "
        "memory once. `model.parameters()` gives each tensor once.",
        "twice and frozen": "you walk through `state_dict()`. It names a tied tensor twice, and forgets which parameters are "
        "trained. `model.parameters()` gives each once.",
        "mebibytes": "you divide by 1,048,576: these are mebibytes. Asked for are bytes.",
        "bits": "these are bits. A byte is 8 of them, and a float32 has 4 bytes.",
        "shapes": "you add up the sides of the shapes. A table of 6 rows of 5 has 30 numbers, not 11.",
    }
    for key, message in messages.items():
        if all(
            abs(got - table[key]) < 1e-6 * table["right"] for got, table in zip(found, tables, strict=True)
        ):
            raise NotYet(key, message)
    kinds = ("a plain model", "a model with tied weights", "a model with a part that is not trained")
    for kind, got, table in zip(kinds, found, tables, strict=True):
        if got != table["right"]:
            raise NotYet(
                "other",
                f"for {kind} you give {got:,.0f} bytes; right is {table['right']:,}. What is counted too often, or left out?",
            )


TRAINING_BYTES = Exercise(
    name="training_bytes",
    title="What a training takes",
    difficulty="medium",
    minutes=6,
    statement=(
        "(An answer follows: solve it first.) Write `training_bytes(model)`: the bytes that a training with AdamW needs for all "
        "parameters, which are float32, 4 bytes each. There is the weight itself, and for each *trained* parameter a gradient "
        "and AdamW's two running means. A parameter is trained if `p.requires_grad` is True; the others have only their weight. "
        "(`p.numel()` is how many numbers a tensor has.)"
    ),
    stub=BYTES_STUB,
    solution=_bytes(),
    hints=(
        "Walk through `model.parameters()`. How many float32 numbers lie in memory for one number of a trained parameter?",
        "Four for a trained one: weight, gradient, two means. One for a frozen one.",
    ),
    check=check_training_bytes,
    wrong=(
        Wrong("one mean", _bytes(trained="3")),
        Wrong("gradients only", _bytes(trained="2")),
        Wrong("weights only", _bytes(trained="1")),
        Wrong("numbers", _bytes("p.numel()")),
        Wrong("frozen as trained", filled(BYTES_STUB, "    return sum(16 * p.numel() for p in model.parameters())\n")),
        Wrong(
            "frozen left out",
            filled(BYTES_STUB, "    return sum(16 * p.numel() for p in model.parameters() if p.requires_grad)\n"),
        ),
        Wrong(
            "counted twice",
            filled(
                BYTES_STUB,
                "    trained = dict(model.named_parameters(remove_duplicate=False))\n"
                "    return sum(p.numel() * (16 if p.requires_grad else 4) for p in trained.values())\n",
            ),
        ),
        Wrong("twice and frozen", filled(BYTES_STUB, "    return sum(16 * t.numel() for t in model.state_dict().values())\n")),
        Wrong("mebibytes", _bytes(trained="4 / 2**20").replace("else 1)", "else 1 / 2**20)")),
        Wrong("bits", _bytes("p.numel() * 32")),
        Wrong("shapes", filled(BYTES_STUB, "    return sum(16 * sum(p.shape) for p in model.parameters())\n")),
    ),
)  # fmt: skip

EXERCISES = [CHECKPOINT_OF, ATOMIC_WRITE, FROM_CONV1D, TRAINING_BYTES]
