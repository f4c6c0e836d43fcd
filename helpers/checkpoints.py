"""Keep a model in a file and bring it back, vocabulary included.

    save("data/my_gpt.pt", model, tokenizer, validation_loss=1.61)
    checkpoint = load("data/my_gpt.pt")              # .model, .tokenizer, .config, .info

Introduced by notebook 12 (sections 63 to 65 of the lecture). A file ending in .safetensors holds the weights alone,
with a .json of the same name beside it for the rest; any other name is a file of torch.save. Neither runs code on
loading: the first cannot, the second is read with weights_only=True.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from helpers.bigram import BigramLanguageModel
from helpers.bpe import tokenizer_from_dict
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.modern import ModernConfig, ModernGPT
from helpers.tokenizer import Tokenizer

DATA = Path(__file__).resolve().parent.parent / "data"
# The learner's own model, saved by notebook 10. `python -m helpers run` and the tests work on another file.
MY_GPT = Path(os.environ.get("COURSE_MY_GPT") or DATA / "my_gpt.pt")
SHIPPED = DATA / "tales_gpt.safetensors"  # the model that comes with the course
FORMAT = 1
KINDS = {"gpt": (GPTConfig, GPTLanguageModel), "modern": (ModernConfig, ModernGPT)}  # of models with a config


@dataclass
class Checkpoint:
    """A model with what belongs to it. info: whatever `save` was told; training: the state for a resume, or None."""

    model: nn.Module
    tokenizer: Tokenizer
    config: GPTConfig | ModernConfig | dict
    info: dict = field(default_factory=dict)
    training: dict | None = None


def save(
    path: str | Path, model: nn.Module, tokenizer: Tokenizer, *, training: dict | None = None, **info
) -> Path:
    """Write model, vocabulary and `info` to `path`; returns the path.

    The file appears under its name only when it is whole: a failure on the way leaves an older file as it was.
    training: the `state` of a TrainingResult (torch.save files only). info: numbers, strings, lists and dicts.
    Raises TypeError for another kind of model, and ValueError for one whose weights its settings do not make (with LoRA
    beside them, or a layer replaced), for another vocabulary, and for a training state in a .safetensors file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = _about(model, tokenizer) | {
        "info": json.loads(json.dumps(info))
    }  # plain values only, checked here
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if path.suffix == ".safetensors":
        if training is not None:
            raise ValueError(
                "a .safetensors file holds no training state: save that under a name ending in .pt"
            )
        if getattr(getattr(model, "config", None), "tie_weights", False):
            del weights["lm_head.weight"]  # the same tensor as the token embedding
        write_atomically(path, lambda to: save_file(weights, to, metadata={"format": "pt"}))
        text = json.dumps(about, indent=1) + "\n"
        write_atomically(
            path.with_suffix(".json"), lambda to: to.write_text(text, encoding="utf-8", newline="\n")
        )
    else:
        content = about | {"weights": weights, "training": training}
        write_atomically(path, lambda to: _save_torch(content, to))
    return path


def load(path: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read what `save` wrote; the model is put on `device` in eval mode.

    Raises FileNotFoundError when there is no such file and ValueError when it is not a checkpoint of this course.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}: notebook 10 or `python -m helpers.train --out` makes one"
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(
                f"its format is {content['format']!r}, this version of the course reads {FORMAT}"
            )
        tokenizer = tokenizer_from_dict(content["tokenizer"])
        if content["kind"] in KINDS:
            make_config, make_model = KINDS[content["kind"]]
            config = make_config(**content["config"])
            model, size = make_model(config), config.vocab_size
        elif content["kind"] == "bigram":
            config = content["config"]
            model, size = BigramLanguageModel(config["vocab_size"]), config["vocab_size"]
        else:
            raise ValueError(f"it holds a model of kind {content['kind']!r}")
        if size != tokenizer.vocab_size:
            raise ValueError(f"the model has {size} tokens, the vocabulary {tokenizer.vocab_size}")
        model.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not a whole checkpoint of this course: {what}") from error
    return Checkpoint(
        model.to(device).eval(), tokenizer, config, content.get("info", {}), content.get("training")
    )


def load_mine_or_shipped(device: torch.device | str = "cpu") -> tuple[Checkpoint, str]:
    """The learner's GPT of notebook 10 if it is there, else the shipped one; and a sentence that says which."""
    if MY_GPT.is_file():
        return load(MY_GPT, device), "your own GPT from notebook 10 (data/my_gpt.pt)"
    return load(SHIPPED, device), "the GPT that comes with the course (data/tales_gpt.safetensors)"


def _about(model: nn.Module, tokenizer: Tokenizer) -> dict:
    """All but the weights, as plain data."""
    kind = next((name for name, (_, made) in KINDS.items() if isinstance(model, made)), None)
    if kind is not None:
        config = asdict(model.config)
    elif isinstance(model, BigramLanguageModel):
        kind, config = "bigram", {"vocab_size": model.token_embedding_table.num_embeddings}
    else:
        raise TypeError(
            f"{type(model).__name__} is not a model of helpers: only GPTLanguageModel, ModernGPT and BigramLanguageModel "
            "can be built again from a file. For a model of your own: torch.save(model.state_dict(), path)"
        )
    if config["vocab_size"] != tokenizer.vocab_size:
        raise ValueError(
            f"the model has {config['vocab_size']} tokens, but the tokenizer {tokenizer.vocab_size}: "
            "they do not belong together"
        )
    _check_parts(model, kind, config["vocab_size"])
    return {"format": FORMAT, "kind": kind, "config": config, "tokenizer": tokenizer.to_dict()}


def _check_parts(model: nn.Module, kind: str, tokens: int) -> None:
    """Raise ValueError for weights that `load` would not find in a model made from the same settings."""
    with torch.device("meta"):  # names and shapes alone
        plain = KINDS[kind][1](model.config) if kind in KINDS else BigramLanguageModel(tokens)
    want, got = ({n: tuple(t.shape) for n, t in each.state_dict().items()} for each in (plain, model))
    odd = sorted(name for name in want.keys() | got.keys() if want.get(name) != got.get(name))
    if odd:
        raise ValueError(
            f"{odd[0]} has the shape {got.get(odd[0], 'none')} here, and {want.get(odd[0], 'none')} in a {kind} model with "
            "these settings: the file could not be read again. With LoRA beside the weights: merge_lora(model) first"
        )


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a temporary file in the same folder, then give it the name `path` in one step.

    Raises OSError that names the path where it cannot be written; an older file of that name is then as it was.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes files for the owner alone
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, (OSError, SafetensorError, RuntimeError)):
            raise OSError(
                f"could not write {path} ({_reason(error)}). An older file of that name is as it was."
            ) from error
        raise


def _save_torch(content: dict, path: Path) -> None:
    # A file of Python's own: of a full disk PyTorch's says only that a position is unexpected.
    with open(path, "wb") as file:
        torch.save(content, file)


def _reason(error: BaseException) -> BaseException:
    """What the system said, where an error came from that."""
    first = error
    while first is not None and not isinstance(first, OSError):
        first = first.__context__
    return first or error


def _read_torch(path: Path) -> dict:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # damaged files fail in many ways: EOFError, RuntimeError, UnpicklingError, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a checkpoint: {reason[:200]}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a checkpoint of this course")
    return content


def _read_safetensors(path: Path) -> dict:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise ValueError(
            f"{path} needs {beside.name} beside it (config and vocabulary), and that is not there"
        )
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        weights = load_file(path)
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"{path} or {beside.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{beside} is not the description of a checkpoint")
    if content.get("config", {}).get("tie_weights") and "token_embedding_table.weight" in weights:
        weights["lm_head.weight"] = weights["token_embedding_table.weight"]
    return content | {"weights": weights}
