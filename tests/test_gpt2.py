"""GPT-2's layout, against the GPT-2 of `transformers`: weights go both ways, and the logits stay.

The tiny file of notebook 12, tests/data/tiny_gpt2.safetensors with its ids and logits in tiny_gpt2.json, is written by

    python -m tests.test_gpt2

It is laid out as the file of the real GPT-2 is: names without "transformer.", the causal masks among the tensors, no
lm_head.weight, and no number of heads (that is in config.json there, in tiny_gpt2.json here).
"""

import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from helpers.bigram import BigramLanguageModel
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.gpt2 import LAYER_NORM_EPS, LIKE_GPT2, from_gpt2, load_gpt2, save_gpt2, to_gpt2

DATA = Path(__file__).resolve().parent / "data"
TINY = DATA / "tiny_gpt2.safetensors"
SHAPE = {"vocab_size": 40, "n_positions": 16, "n_layer": 2, "n_head": 2, "n_embd": 16}
SHAPES = [  # (vocabulary, block size, layers, heads, width, length of the text)
    (11, 8, 1, 1, 8, 5),
    (40, 16, 2, 2, 16, 16),
    (40, 16, 2, 2, 16, 1),
    (23, 10, 3, 4, 24, 7),
    (23, 10, 3, 6, 24, 10),
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"a test asked for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def spread(model: nn.Module, seed: int) -> nn.Module:
    """Random values for every weight, large enough that each one shows in the logits; eval mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            around = 1.0 if ".ln" in name and name.endswith("weight") else 0.0
            parameter.copy_(around + 0.3 * torch.randn(parameter.shape, generator=draw))
    return model.eval()


def gpt2(seed: int = 1, **shape) -> nn.Module:
    """A GPT-2 of `transformers` with random weights. Imported here, because that takes seconds."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return spread(GPT2LMHeadModel(GPT2Config(**SHAPE | shape, bos_token_id=None, eos_token_id=None)), seed)


def ours(seed: int = 1, **changes) -> GPTLanguageModel:
    shape = {"vocab_size": 40, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16}
    return spread(GPTLanguageModel(GPTConfig(**shape | LIKE_GPT2 | changes)), seed)


def text(vocab_size: int = 40, T: int = 16) -> torch.Tensor:
    return torch.randint(vocab_size, (3, T), generator=torch.Generator().manual_seed(2))  # (3, T)


@torch.no_grad()
def logits(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return model(ids)[0] if isinstance(model, GPTLanguageModel) else model(ids).logits


def assert_equal(a: torch.Tensor, b: torch.Tensor) -> None:
    assert a.shape == b.shape and a.std() > 0.2  # logits that say something
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def named(shape: tuple) -> tuple[dict, dict, torch.Tensor]:
    vocab_size, block_size, n_layer, n_head, n_embd, T = shape
    both = {"vocab_size": vocab_size, "n_layer": n_layer, "n_head": n_head, "n_embd": n_embd}
    return both | {"n_positions": block_size}, both | {"block_size": block_size}, text(vocab_size, T)


# --- the same logits, both ways ---


@pytest.mark.parametrize("shape", SHAPES)
def test_our_model_with_gpt2s_weights_gives_gpt2s_logits(shape):
    theirs_shape, ours_shape, ids = named(shape)
    theirs = gpt2(**theirs_shape)
    model = from_gpt2(theirs.state_dict(), theirs_shape["n_head"])
    assert_equal(logits(model, ids), logits(theirs, ids))
    assert model.config == GPTConfig(**ours_shape, **LIKE_GPT2) and not model.training
    assert model.lm_head.weight is model.token_embedding_table.weight


@pytest.mark.parametrize("shape", SHAPES)
def test_gpt2_with_our_weights_out_of_a_file_gives_our_logits(shape, tmp_path):
    theirs_shape, ours_shape, ids = named(shape)
    model, theirs = ours(**ours_shape), gpt2(seed=99, **theirs_shape)
    save_gpt2(tmp_path / "m.safetensors", model)
    lacking, unknown = theirs.load_state_dict(load_file(tmp_path / "m.safetensors"), strict=False)
    assert lacking == ["lm_head.weight"] and unknown == []  # tied: it is the token embedding
    assert_equal(logits(theirs, ids), logits(model, ids))


def test_every_tensor_of_gpt2_has_its_place_in_our_model():
    state, ids = gpt2().state_dict(), text()
    before = logits(from_gpt2(state, 2), ids)
    weights = [name for name in state if name != "lm_head.weight"]
    assert len(weights) == 2 + 2 * 12 + 2
    del state["lm_head.weight"]
    for name in weights:
        after = logits(from_gpt2(state | {name: state[name] + torch.randn(state[name].shape)}, 2), ids)
        assert (after - before).abs().max() > 0.01, name


def test_a_square_weight_that_is_not_transposed_would_be_noticed():
    theirs = gpt2()
    state, name = theirs.state_dict(), "transformer.h.1.attn.c_proj.weight"
    wrong = logits(from_gpt2(state | {name: state[name].t()}, 2), text())
    assert (wrong - logits(theirs, text())).abs().max() > 0.01


def test_another_number_of_heads_would_be_noticed():
    theirs = gpt2()
    wrong = logits(from_gpt2(theirs.state_dict(), 4), text())
    assert (wrong - logits(theirs, text())).abs().max() > 0.01


def test_the_layer_norms_and_the_gelu_are_those_of_gpt2():
    config, model = gpt2().config, ours()
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 5 and {norm.eps for norm in norms} == {config.layer_norm_epsilon} == {LAYER_NORM_EPS}
    from transformers.activations import ACT2FN

    x = torch.linspace(-4, 4, 101)
    torch.testing.assert_close(model.blocks[0].ffwd.net[1](x), ACT2FN[config.activation_function](x))


# --- names, files ---


def test_there_and_back_changes_nothing(tmp_path):
    model = ours()
    path = save_gpt2(tmp_path / "new" / "m.safetensors", model)
    for again in (from_gpt2(to_gpt2(model), 2), load_gpt2(path), load_gpt2(path, n_head=2)):
        assert again.config == model.config
        for (name, a), (other, b) in zip(again.named_parameters(), model.named_parameters(), strict=True):
            assert name == other and torch.equal(a, b), name
    assert [file.name for file in path.parent.iterdir()] == ["m.safetensors"]


def test_what_is_exported_has_gpt2s_names_and_shapes_and_is_a_copy():
    model = ours()
    state = to_gpt2(model)
    theirs = {name: tensor.shape for name, tensor in gpt2().state_dict().items() if name != "lm_head.weight"}
    assert {name: tensor.shape for name, tensor in state.items()} == theirs
    assert state["transformer.h.0.attn.c_attn.weight"].shape == (16, 48)
    before = logits(model, text())
    for tensor in state.values():
        tensor.zero_()
    assert torch.equal(logits(model, text()), before)


def test_names_without_the_prefix_and_with_masks_are_the_same_model():
    state, ids = gpt2().state_dict(), text()
    expected = logits(from_gpt2(state, 2), ids)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    for i in range(2):
        bare[f"h.{i}.attn.bias"] = torch.ones(16, 16).tril().view(1, 1, 16, 16)
        bare[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    masked = {f"transformer.{name}": tensor for name, tensor in bare.items() if name != "lm_head.weight"}
    for same in (bare, masked):
        assert torch.equal(logits(from_gpt2(same, 2), ids), expected)


def test_a_failed_export_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = save_gpt2(tmp_path / "m.safetensors", ours())
    before = path.read_bytes()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("helpers.gpt2.save_file", full)
    with pytest.raises(OSError, match=r"could not write .*No space left"):
        save_gpt2(path, ours(seed=2))
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]


# --- what does not fit is refused, with its values and a way out ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation": "relu"}, r"has activation='relu', but GPT-2 has activation='gelu_tanh'.*GPTConfig\("),
        ({"activation": "gelu"}, "has activation='gelu', but"),
        ({"bias": False}, "has bias=False, but GPT-2 has bias=True"),
        ({"tie_weights": False}, "has tie_weights=False, but GPT-2 has tie_weights=True"),
        ({"looped_heads": True}, "has looped_heads=True, but GPT-2 has looped_heads=False"),
        ({"bias": False, "activation": "relu"}, "has activation='relu', bias=False, but"),
    ],
)
def test_a_model_that_is_not_built_as_gpt2_is_not_exported(change, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        save_gpt2(tmp_path / "m.safetensors", ours(**change))
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_parts_were_exchanged_or_of_another_class_is_not_exported():
    model = ours()
    model.lm_head.weight = nn.Parameter(model.lm_head.weight + 1)
    with pytest.raises(ValueError, match=r"lm_head\.weight \(40, 16\) is not the token embedding.*tie them"):
        to_gpt2(model)
    model = ours()
    model.ln_f.eps = 1e-6
    with pytest.raises(ValueError, match=r"eps=\[1e-06, 1e-05\], but GPT-2 has 1e-05"):
        to_gpt2(model)
    with pytest.raises(TypeError, match="BigramLanguageModel is not"):
        to_gpt2(BigramLanguageModel(40))


def without(*names):
    return lambda state: [state.pop(name) for name in names]


def put(name, *size):
    return lambda state: state.update({name: torch.ones(size)})


def transpose(name):
    return lambda state: state.update({name: state[name].t()})


BLOCK_1 = [
    f"transformer.h.1.{part}" for part in ("ln_1.weight", "ln_1.bias", "mlp.c_fc.bias", "mlp.c_proj.bias")
]
BAD = [
    (without("transformer.wte.weight"), r"wte\.weight is missing, of a GPT-2 with n_layer=2: is it whole"),
    (without("transformer.ln_f.bias"), r"ln_f\.bias is missing"),
    (without(*BLOCK_1), r"h\.1\.ln_1\.weight, h\.1\.ln_1\.bias, h\.1\.mlp\.c_fc\.bias and 1 more are missing"),
    (dict.clear, r"wte\.weight, wpe\.weight, ln_f\.weight and 13 more are missing, of a GPT-2 with n_layer=1"),
    (put("transformer.wpe.weight", 16, 24), r"wpe\.weight has shape \(16, 24\), but \(16, 16\) goes with wte\.weight \(40, 16\)"),
    (put("transformer.wpe.weight", 16), r"wpe\.weight has shape \(16,\), but it is a table"),
    (put("transformer.h.0.mlp.c_fc.weight", 16, 65), r"h\.0\.mlp\.c_fc\.weight has shape \(16, 65\), but \(16, 64\) goes"),
    (transpose("transformer.h.1.attn.c_attn.weight"), r"\(48, 16\), but \(16, 48\) .*: transpose it, GPT-2 keeps \(in, out\)"),
    (put("transformer.h.0.ln_1.bias", 1), r"h\.0\.ln_1\.bias has shape \(1,\), but \(16,\)"),
    (put("lm_head.weight", 40, 16), r"lm_head\.weight \(40, 16\) is not the token embedding \(40, 16\).*tie_weights=True"),
    (put("lm_head.weight", 41, 16), r"lm_head\.weight \(41, 16\) is not the token embedding \(40, 16\)"),
    (put("transformer.h.0.attn.q_norm.weight", 8), r"h\.0\.attn\.q_norm\.weight is unknown .*n_layer=2.*delete"),
    (put("lm_head.bias", 40), r"lm_head\.bias is unknown"),
    (put("transformer.h.7.ln_1.bias", 16), r"h\.2\.ln_1\.weight, .* missing, of a GPT-2 with n_layer=3"),
    (put("wte.weight", 40, 16), r"wte\.weight is there both with and without 'transformer\.'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "said"), BAD, ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_a_state_that_is_no_whole_gpt2_is_refused(spoil, said, tmp_path):
    state = to_gpt2(ours())
    from_gpt2(state, 2)
    spoil(state)
    with pytest.raises(ValueError, match=said):
        from_gpt2(state, 2)
    path = tmp_path / "spoilt.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata={"n_head": "2"})
    with pytest.raises(ValueError, match=rf"spoilt\.safetensors: .*{said}"):  # the file is named too
        load_gpt2(path)


@pytest.mark.parametrize(
    ("n_head", "said"),
    [
        (3, "n_embd=16 is not divisible by n_head=3.*config.json"),
        (0, "n_head=0, but it is a whole number of at least 1.*config.json"),
        (2.0, "n_head=2.0, but it is a whole number"),
        (None, "n_head=None, but it is a whole number"),
    ],
)
def test_a_number_of_heads_that_cannot_be_is_refused(n_head, said):
    with pytest.raises(ValueError, match=said):
        from_gpt2(to_gpt2(ours()), n_head)


@pytest.mark.parametrize(
    ("metadata", "n_head", "works"),
    [
        (None, None, False),
        ({"format": "pt"}, None, False),
        ({"format": "pt"}, 2, True),
        ({"n_head": "2"}, None, True),
        ({"n_head": "2"}, 2, True),
        ({"n_head": "2"}, 4, False),
        ({"n_head": "two"}, None, False),
        ({"n_head": ""}, 2, False),
        ({}, True, False),
    ],
)
def test_the_number_of_heads_comes_from_the_file_or_from_the_argument(metadata, n_head, works, tmp_path):
    path, model = tmp_path / "m.safetensors", ours()
    save_file(to_gpt2(model), path, metadata=metadata)
    if works:
        assert torch.equal(logits(load_gpt2(path, n_head), text()), logits(model, text()))
        return
    said = (metadata or {}).get("n_head")
    with pytest.raises(
        ValueError, match=f"n_head={said} in the file's metadata and n_head={n_head} in the argument"
    ):
        load_gpt2(path, n_head)


def test_a_file_that_is_not_there_or_damaged_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*m\.safetensors"):
        load_gpt2(tmp_path / "m.safetensors", 2)
    whole = save_gpt2(tmp_path / "m.safetensors", ours()).read_bytes()
    for content in (b"", b"no tensors", whole[:-8]):
        (tmp_path / "m.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"m\.safetensors cannot be read"):
            load_gpt2(tmp_path / "m.safetensors")


# --- the tiny file of notebook 12 ---


def write_tiny(folder: Path) -> Path:
    """Write tiny_gpt2.safetensors and tiny_gpt2.json to a folder; returns the path of the first."""
    theirs, path = gpt2(seed=1337), folder / TINY.name
    state = {
        k.removeprefix("transformer."): v.contiguous() for k, v in theirs.transformer.state_dict().items()
    }
    mask = torch.ones(SHAPE["n_positions"], SHAPE["n_positions"]).tril()
    state |= {f"h.{i}.attn.bias": mask[None, None].clone() for i in range(SHAPE["n_layer"])}
    save_file(state, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes files for the owner alone
    ids = text()[:2]  # (2, 16)
    rows = [[[round(value, 6) for value in row] for row in rows] for rows in logits(theirs, ids).tolist()]
    about = {"config": SHAPE, "ids": ids.tolist(), "logits": rows}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in about.items())
    with open(path.with_suffix(".json"), "w", encoding="utf-8", newline="\n") as file:
        file.write("{\n" + lines.replace("], [[", "],\n[[") + "\n}\n")
    return path


def expected(path: Path) -> tuple[dict, torch.Tensor, torch.Tensor]:
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return about["config"], torch.tensor(about["ids"]), torch.tensor(about["logits"])


def test_the_committed_tiny_file_gives_its_logits_in_our_model():
    config, ids, right = expected(TINY)
    assert ids.shape == (2, 16) and right.shape == (2, 16, 40)
    assert_equal(logits(load_gpt2(TINY, config["n_head"]), ids), right)
    with pytest.raises(ValueError, match="n_head=None in the file's metadata and n_head=None"):
        load_gpt2(TINY)


def test_the_committed_tiny_file_gives_its_logits_in_transformers():
    config, ids, right = expected(TINY)
    theirs, state = gpt2(seed=99, **config), load_file(TINY)
    masks = [f"h.{i}.attn.bias" for i in range(config["n_layer"])]
    lacking, unknown = theirs.transformer.load_state_dict(state, strict=False)
    assert lacking == [] and sorted(unknown) == masks
    assert_equal(logits(theirs, ids), right)


def test_the_tiny_file_is_small_and_laid_out_as_the_real_one():
    with safe_open(TINY, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        names = set(file.keys())
    assert not any(name.startswith(("transformer.", "lm_head")) for name in names)
    assert {"wte.weight", "h.0.attn.bias", "h.1.mlp.c_proj.weight", "ln_f.bias"} <= names
    assert TINY.stat().st_size < 50_000 and TINY.with_suffix(".json").stat().st_size < 50_000


def test_the_tiny_file_can_be_written_anew(tmp_path):
    config, ids, right = expected(path := write_tiny(tmp_path))
    assert_equal(logits(load_gpt2(path, config["n_head"]), ids), right)
    new, committed = load_file(path), load_file(TINY)
    assert {k: v.shape for k, v in new.items()} == {k: v.shape for k, v in committed.items()}
    assert (config, ids.tolist()) == (expected(TINY)[0], expected(TINY)[1].tolist())


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    print(f"wrote {write_tiny(DATA)}")
