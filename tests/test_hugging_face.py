"""The folder that export_hugging_face writes, opened by `transformers` itself: the logits are ours."""

import json
import logging
import socket

import pytest
import torch
from torch import nn

from helpers.bigram import BigramLanguageModel
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.gpt2 import LIKE_GPT2, load_gpt2
from helpers.hugging_face import export_hugging_face, hugging_face_config

SHAPES = [
    (11, 8, 1, 1, 8),
    (40, 16, 2, 2, 16),
    (23, 10, 3, 6, 24),
]  # vocabulary, context, layers, heads, width


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"a test asked for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def spread(config: GPTConfig) -> GPTLanguageModel:
    """A model whose every weight shows in the logits."""
    model, draw = GPTLanguageModel(config), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 + 0.3 * torch.randn(parameter.shape, generator=draw))
    return model.eval()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_transformers_opens_the_folder_and_gives_our_logits(shape, tmp_path, caplog):
    from transformers import AutoModelForCausalLM

    model = spread(GPTConfig(*shape, dropout=0.1, **LIKE_GPT2))
    folder = export_hugging_face(tmp_path / "new" / "folder", model)
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    with caplog.at_level(logging.WARNING):
        theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert not caplog.records  # no weight was missing, none was left over
    ids = torch.randint(shape[0], (3, shape[1]), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, model(ids)[0], rtol=1e-4, atol=1e-4)
    assert theirs.config.attn_pdrop == theirs.config.embd_pdrop == theirs.config.resid_pdrop == 0.1


def test_what_transformers_writes_comes_back_into_our_model(tmp_path):
    from transformers import AutoModelForCausalLM

    model = spread(GPTConfig(*SHAPES[1], **LIKE_GPT2))
    export_hugging_face(tmp_path / "ours", model)
    AutoModelForCausalLM.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    heads = json.loads((tmp_path / "theirs" / "config.json").read_text(encoding="utf-8"))["n_head"]
    again = load_gpt2(tmp_path / "theirs" / "model.safetensors", heads)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_the_config_is_plain_json_and_names_no_token_outside_the_vocabulary(tmp_path):
    config = GPTConfig(*SHAPES[0], **LIKE_GPT2)
    export_hugging_face(tmp_path, GPTLanguageModel(config))
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    assert json.loads(text) == hugging_face_config(config) and text.endswith("}\n")
    assert (
        json.loads(text)["bos_token_id"] is None
    )  # the default, 50256, is outside a vocabulary of characters


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (GPTLanguageModel(GPTConfig(*SHAPES[0])), ValueError),
        (BigramLanguageModel(11), TypeError),
        (nn.Linear(2, 3), TypeError),
    ],
    ids=["another form", "bigram", "no GPT"],
)
def test_a_model_that_is_not_built_as_gpt2_leaves_no_folder(model, error, tmp_path):
    with pytest.raises(error):
        export_hugging_face(tmp_path / "out", model)
    assert list(tmp_path.iterdir()) == []
