"""GPT-2's layout: our GPT under the names and in the shapes of the files that GPT-2 is shared in, and back.

    save_gpt2("data/my_gpt2.safetensors", model)          # of a model that is built as GPT-2 is
    model = load_gpt2("data/my_gpt2.safetensors")
    model = load_gpt2("model.safetensors", n_head=12)     # the file of the smallest GPT-2

Introduced by notebook 12 (sections 63 to 65 of the lecture). The model is that of Radford et al. 2019, "Language
Models are Unsupervised Multitask Learners"; the names are those of the `transformers` library. GPT-2 keeps the
weights of linear layers as (in, out), nn.Linear as (out, in): they are transposed on the way. A file holds no
vocabulary, and the number of heads only where `save_gpt2` wrote it, because no shape tells it.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from helpers.checkpoints import write_atomically
from helpers.gpt import GPTConfig, GPTLanguageModel

LIKE_GPT2 = {"activation": "gelu_tanh", "bias": True, "tie_weights": True, "looped_heads": False}
LAYER_NORM_EPS = 1e-5
PREFIX = "transformer."
OUTER = {"wte": "token_embedding_table", "wpe": "position_embedding_table", "ln_f": "ln_f"}
IN_A_BLOCK = {
    "ln_1": "ln1",
    "attn.c_attn": "sa.qkv",
    "attn.c_proj": "sa.proj",
    "ln_2": "ln2",
    "mlp.c_fc": "ffwd.net.0",
    "mlp.c_proj": "ffwd.net.2",
}
MASK = r"h\.\d+\.attn\.(masked_)?bias"  # what older files keep of the causal mask: no weights


def to_gpt2(model: GPTLanguageModel) -> dict[str, torch.Tensor]:
    """Return copies of the model's weights, on the CPU, by GPT-2's names.

    All names begin with "transformer."; "transformer.h.0.attn.c_attn.weight" has the shape (n_embd, 3 * n_embd).
    There is no "lm_head.weight", for it is "transformer.wte.weight", (vocab_size, n_embd), once more. Raises
    ValueError for a model that is not built as GPT-2 is, and TypeError for another class.
    """
    if not isinstance(model, GPTLanguageModel):
        raise TypeError(
            f"{type(model).__name__} is not helpers.gpt.GPTLanguageModel: no other has GPT-2's parts"
        )
    wrong = {k: v for k in LIKE_GPT2 if (v := getattr(model.config, k)) != LIKE_GPT2[k]}
    if wrong:
        have, need = (", ".join(f"{k}={values[k]!r}" for k in wrong) for values in (wrong, LIKE_GPT2))
        raise ValueError(
            f"the model has {have}, but GPT-2 has {need}: under GPT-2's names its weights would compute something "
            f"else. Train one with GPTConfig(..., {need}), or keep this one with helpers.checkpoints.save"
        )
    eps = {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)}
    if eps != {LAYER_NORM_EPS}:
        raise ValueError(
            f"the LayerNorms have eps={sorted(eps)}, but GPT-2 has {LAYER_NORM_EPS}: train with that"
        )
    ours, state = model.state_dict(), {}
    _check_tied(ours["lm_head.weight"], ours["token_embedding_table.weight"])
    for name, (our_name, transposed) in _names(model.config.n_layer).items():
        tensor = ours[our_name].t() if transposed else ours[our_name]
        state[PREFIX + name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return state


def from_gpt2(state: Mapping[str, torch.Tensor], n_head: int) -> GPTLanguageModel:
    """Return a GPTLanguageModel (on the CPU, eval mode, no dropout) with the weights of a GPT-2.

    state: tensors by GPT-2's names, with or without "transformer." before them; causal masks that older files hold
    ("h.0.attn.bias") are passed over. n_head: the number of heads. vocab_size and n_embd are read off wte.weight
    (vocab_size, n_embd), block_size off wpe.weight (block_size, n_embd), n_layer off the names. Raises ValueError
    for a tensor that is missing, unknown or of another shape, for an lm_head.weight that is not wte.weight, and for
    an n_head that does not divide n_embd.
    """
    if twice := [name for name in state if PREFIX + name in state]:
        raise ValueError(f"{twice[0]} is there both with and without {PREFIX!r}: leave one of them out")
    state = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    head = state.pop("lm_head.weight", None)
    state = {name: tensor for name, tensor in state.items() if not re.fullmatch(MASK, name)}
    n_layer = max(1, len({name.split(".")[1] for name in state if re.match(r"h\.\d+\.", name)}))
    names = _names(n_layer)
    if missing := [name for name in names if name not in state]:
        raise ValueError(
            f"{_some(missing)} missing, of a GPT-2 with n_layer={n_layer}: is it whole, and a GPT-2?"
        )
    if unknown := [name for name in state if name not in names]:
        raise ValueError(
            f"{_some(unknown)} unknown to a GPT-2 with n_layer={n_layer}: is it another kind of model? "
            "What you know to be superfluous, delete from the dictionary"
        )
    if flat := [name for name in ("wte.weight", "wpe.weight") if state[name].dim() != 2]:
        raise ValueError(
            f"{flat[0]} has shape {tuple(state[flat[0]].shape)}, but it is a table (rows, n_embd)"
        )
    (vocab_size, n_embd), (block_size, _) = state["wte.weight"].shape, state["wpe.weight"].shape
    try:
        config = GPTConfig(vocab_size, block_size, n_layer, n_head, n_embd, **LIKE_GPT2)
    except ValueError as error:
        raise ValueError(f"{error}. n_head is that of the model's training: config.json has it") from error
    model = GPTLanguageModel(config)
    weights = model.state_dict()
    for name, (our_name, transposed) in names.items():
        tensor, expected = state[name], tuple(weights[our_name].shape)[:: -1 if transposed else 1]
        if tensor.shape != expected:
            way_out = ": transpose it, GPT-2 keeps (in, out)" if tensor.shape == expected[::-1] else ""
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, but {expected} goes with wte.weight "
                f"{(vocab_size, n_embd)}{way_out or ': do all tensors come from one model?'}"
            )
        weights[our_name] = tensor.t() if transposed else tensor
    weights["lm_head.weight"] = state["wte.weight"]
    if head is not None:
        _check_tied(head, state["wte.weight"])
    model.load_state_dict(weights)
    return model.eval()


def save_gpt2(path: str | Path, model: GPTLanguageModel) -> Path:
    """Write what `to_gpt2` returns to a .safetensors file, n_head among its metadata, and return the path.

    The file appears under its name only when it is whole. Raises what `to_gpt2` raises, and OSError.
    """
    path, state = Path(path), to_gpt2(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", "n_head": str(model.config.n_head)}
    write_atomically(path, lambda to: save_file(state, to, metadata=metadata))
    return path


def load_gpt2(path: str | Path, n_head: int | None = None) -> GPTLanguageModel:
    """Return the model of a .safetensors file in GPT-2's layout, as `from_gpt2` does.

    n_head: the number of heads, where the file's metadata does not say it, as in the files of the real GPT-2 (12,
    16, 20 and 25 heads). Raises FileNotFoundError when there is no such file; ValueError when it cannot be read or
    holds no GPT-2, and when metadata and argument both leave the number of heads out, or differ.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: `save_gpt2` makes one")
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get("n_head")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as a .safetensors file: {error}") from error
    heads = str(n_head) if said is None else said
    if not heads.isdecimal() or (n_head is not None and heads != str(n_head)):
        raise ValueError(
            f"{path}: the number of heads is n_head={said} in the file's metadata and n_head={n_head} in the "
            "argument. One of them must say it, and both the same: config.json beside a GPT-2 file has it"
        )
    try:
        return from_gpt2(state, int(heads))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _names(n_layer: int) -> dict[str, tuple[str, bool]]:
    """{GPT-2's name, without "transformer.": (our name, whether it is transposed)} of all weights."""
    modules = dict(OUTER)
    for i in range(n_layer):
        modules |= {f"h.{i}.{theirs}": f"blocks.{i}.{ours}" for theirs, ours in IN_A_BLOCK.items()}
    names = {}
    for theirs, ours in modules.items():
        names[f"{theirs}.weight"] = f"{ours}.weight", ".c_" in theirs
        if theirs not in ("wte", "wpe"):
            names[f"{theirs}.bias"] = f"{ours}.bias", False
    return names


def _check_tied(head: torch.Tensor, table: torch.Tensor) -> None:
    if head.shape != table.shape or not torch.equal(head.to(table.device, table.dtype), table):
        raise ValueError(
            f"lm_head.weight {tuple(head.shape)} is not the token embedding {tuple(table.shape)}, but GPT-2 has one "
            "table for both: tie them (GPTConfig(..., tie_weights=True)) and train so"
        )


def _some(names: list[str]) -> str:
    """The first names, how many more, and the verb: "a, b, c and 9 more are"."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more + (" is" if len(names) == 1 else " are")
