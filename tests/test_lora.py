"""LoRA by hand: it begins as the model it was, trains few numbers, and can be merged away."""

import copy

import pytest
import torch
from torch import nn

from helpers.checkpoints import SHIPPED, load
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lora import TARGETS, LoRALinear, add_lora, count_trained, has_lora, lora_parameters, merge_lora

CONFIG = GPTConfig(vocab_size=11, block_size=9, n_layer=2, n_head=2, n_embd=12)
IDS = torch.arange(14).view(2, 7) % 11  # (B, T)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return GPTLanguageModel(CONFIG)


def train_a_little(model, rate=0.05):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(3):
        optimizer.zero_grad()
        model(IDS, IDS.roll(1, 1))[1].backward()
        optimizer.step()


def test_a_layer_computes_the_formula_of_the_paper():
    torch.manual_seed(1)
    base = nn.Linear(7, 5)
    layer = LoRALinear(base, rank=3, alpha=12)
    nn.init.normal_(layer.B)
    x = torch.randn(2, 4, 7)  # (B, T, in)
    expected = x @ (base.weight + 12 / 3 * layer.B @ layer.A).T + base.bias
    assert layer.A.shape == (3, 7) and layer.B.shape == (5, 3)
    torch.testing.assert_close(layer(x), expected)


def test_a_correction_begins_at_zero_but_can_learn(model):
    before = model(IDS)[0]
    add_lora(model, rank=2)
    assert torch.equal(model(IDS)[0], before)
    assert all(
        (layer.B == 0).all() and (layer.A != 0).any()
        for layer in model.modules()
        if isinstance(layer, LoRALinear)
    )
    model(IDS, IDS)[1].backward()
    assert all(layer.B.grad.abs().max() > 0 for layer in model.modules() if isinstance(layer, LoRALinear))


def test_rank_0_is_the_base_model_exactly(model):
    before = model(IDS)[0]
    add_lora(model, rank=0)
    assert has_lora(model) and count_trained(model) == 0
    assert torch.equal(model(IDS)[0], before)
    merge_lora(model)
    assert torch.equal(model(IDS)[0], before)


def test_training_moves_the_corrections_and_nothing_else(model):
    add_lora(model, rank=2)
    before = copy.deepcopy(model.state_dict())
    train_a_little(model)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and all(name.endswith((".A", ".B")) for name in moved)
    assert len(moved) == len(lora_parameters(model)) == 2 * len(TARGETS) * CONFIG.n_layer


def test_a_merged_model_is_plain_and_gives_the_same_logits(model):
    plain = copy.deepcopy(model)
    add_lora(model, rank=3, alpha=6)
    train_a_little(model)
    with_lora = model(IDS)[0]
    assert (with_lora - plain(IDS)[0]).abs().max() > 1e-3  # something was learnt
    assert merge_lora(model) is model and not has_lora(model)
    assert (model(IDS)[0] - with_lora).abs().max() < 1e-5
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert count_trained(model) == sum(p.numel() for p in model.parameters())


def test_the_numbers_trained_are_counted(model):
    add_lora(model, rank=2, targets=("qkv",))
    assert (
        count_trained(model)
        == CONFIG.n_layer * 2 * (12 + 36)
        == sum(p.numel() for p in lora_parameters(model))
    )


def test_rank_8_trains_less_than_a_tenth_of_the_shipped_model():
    model = load(SHIPPED).model
    parameters = sum(p.numel() for p in model.parameters())
    add_lora(model, rank=8)
    assert 0 < count_trained(model) <= 0.1 * parameters


def test_the_layers_that_are_named_get_a_correction_and_no_other(model):
    add_lora(model, rank=1, targets=("sa.proj", "lm_head"))
    names = {name for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    assert names == {"blocks.0.sa.proj", "blocks.1.sa.proj", "lm_head"}


def test_what_cannot_work_is_named_and_leaves_the_model_as_it_was(model):
    for options, message in (
        ({"rank": -1}, "rank=-1"),
        ({"rank": 2.0}, "rank=2.0"),
        ({"rank": True}, "rank=True"),
        ({"rank": 13}, "at most the rank 12"),
        ({"rank": 2, "alpha": 0}, "alpha=0"),
        ({"rank": 2, "targets": ("qkv", "gate")}, "gate.*lm_head"),
        ({"rank": 2, "targets": ()}, "there are"),
    ):
        with pytest.raises(ValueError, match=message):
            add_lora(model, **options)
        assert not has_lora(model) and all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_lora(model)
    add_lora(model, rank=1)
    with pytest.raises(ValueError, match="already"):
        add_lora(model, rank=1)
    with pytest.raises(TypeError, match="Embedding"):
        LoRALinear(nn.Embedding(3, 4), rank=1)
