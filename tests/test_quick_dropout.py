"""Dropout with cheap random numbers drops as often as PyTorch's, and what is computed without it is the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from helpers import training
from helpers.cache import can_cache
from helpers.gpt import GPTConfig, GPTLanguageModel, MultiHeadAttention
from helpers.quick_dropout import QuickAttention, QuickDropout, kept, quick_dropout
from helpers.training import train

SIZES = {"vocab_size": 11, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 16}
IDS = torch.randint(11, (2000,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dropout", [0.0001, 0.1, 0.2, 0.5, 0.9, 0.9999])
def test_each_value_stays_with_the_asked_probability_independently_of_its_neighbours(dropout):
    stays = kept((2000, 1000), dropout).float()
    spread = (dropout * (1 - dropout) / stays.numel()) ** 0.5
    assert abs(stays.mean().item() - (1 - dropout)) < 5 * spread + 2**-16
    for lag in (1, 2, 3, 4):  # one draw serves four neighbours
        together = (stays[:, lag:] * stays[:, :-lag]).mean().item()
        assert abs(together - (1 - dropout) ** 2) < 5 * spread * 2 + 2**-15


def test_a_share_so_near_one_that_16_bits_cannot_hold_it_drops_nearly_all():
    assert kept((100_000,), 1 - 1e-9).float().mean() < 0.001
    assert kept((7,), 0.0).all() and kept((0, 3), 0.5).shape == (0, 3) and kept((), 0.5).shape == ()


@pytest.mark.parametrize("p", [0.0, 1e-9, 1 - 1e-9, 1.0])
def test_a_share_finer_than_16_bits_is_left_to_pytorch(p):
    torch.manual_seed(1)
    expected = nn.Dropout(p)(torch.ones(1000))
    torch.manual_seed(1)
    assert torch.equal(QuickDropout(p)(torch.ones(1000)), expected)


def test_in_bfloat16_attention_is_as_near_to_float32_as_pytorchs_own_way_with_dropout(monkeypatch):
    """That is "math": its other ways take no dropout on a CPU. Weights so large that rounding shows."""
    monkeypatch.setattr(
        "helpers.quick_dropout.kept", lambda shape, dropout: torch.ones(shape, dtype=torch.bool)
    )
    layer, x = attention(0.0), torch.randn(3, 9, 16)
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(20)
    exact, off = layer(x), {}
    for kind in (MultiHeadAttention, QuickAttention):
        layer.__class__, layer.attention_dropout = kind, 0.0 if kind is MultiHeadAttention else 2**-16
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            off[kind] = ((layer(x).float() - exact).norm() / exact.norm()).item()
    assert 0 < off[QuickAttention] < 1.3 * off[MultiHeadAttention] + 0.002, off


def test_a_model_that_a_stop_left_changed_is_mended_the_next_time():
    model = GPTLanguageModel(GPTConfig(**SIZES, dropout=0.2))
    kinds = [type(part) for part in model.modules()]
    model.blocks[0].sa.__class__, model.dropout.__class__ = QuickAttention, QuickDropout
    with quick_dropout(model):
        pass
    assert [type(part) for part in model.modules()] == kinds


def test_the_same_seed_drops_the_same():
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append(kept((50, 3), 0.5))
    assert torch.equal(*masks) and not torch.equal(masks[0], kept((50, 3), 0.5))


def test_what_stays_is_scaled_and_so_is_its_gradient():
    layer, x = QuickDropout(0.25), torch.ones(400, 50, requires_grad=True)
    y = layer(x)
    assert y.unique().tolist() == pytest.approx([0, 4 / 3]) and y.mean().item() == pytest.approx(1, abs=0.02)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert torch.equal(layer.eval()(x), x)


def attention(dropout: float) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(GPTConfig(**SIZES, dropout=dropout))


def test_attention_written_out_is_the_fused_one_where_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(
        "helpers.quick_dropout.kept", lambda shape, dropout: torch.ones(shape, dtype=torch.bool)
    )
    layer, x = attention(0.0), torch.randn(3, 9, 16)
    expected = layer(x)
    layer.attention_dropout = 2**-16  # so that the long way is taken; what stays is scaled by it
    layer.__class__ = QuickAttention
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-4)


def test_attention_drops_weights_and_keeps_their_mean():
    layer, x = attention(0.3), torch.randn(1, 12, 16)
    layer.dropout.p = 0.0  # that of the result
    expected = layer.eval()(x)
    layer.train().__class__ = QuickAttention
    with torch.no_grad():
        several = torch.stack([layer(x) for _ in range(4000)])
    torch.testing.assert_close(several.mean(0), expected, atol=0.01, rtol=0.05)
    assert several.std(0).min() > 0
    changed = x.clone()
    changed[:, 6:] += 1
    torch.manual_seed(1)
    before = layer(x)
    torch.manual_seed(1)
    assert torch.equal(before[:, :6], layer(changed)[:, :6])  # no look ahead


def test_the_model_is_itself_again_afterwards_also_after_an_error():
    model = GPTLanguageModel(GPTConfig(**SIZES, dropout=0.2))
    kinds = [type(part) for part in model.modules()]
    with pytest.raises(ZeroDivisionError), quick_dropout(model):
        assert type(model.blocks[0].sa) is QuickAttention and type(model.dropout) is QuickDropout
        raise ZeroDivisionError
    assert [type(part) for part in model.modules()] == kinds and can_cache(model)
    with quick_dropout(model.eval()):
        assert [type(part) for part in model.modules()] == kinds  # nothing is dropped then


def test_parts_of_other_classes_stay_as_they_are():
    class Mine(nn.Dropout):
        pass

    model = nn.Sequential(Mine(0.5), nn.Dropout(0.5))
    with quick_dropout(model):
        assert [type(part) for part in model] == [Mine, QuickDropout]


def test_training_uses_it_on_the_cpu_and_a_compiled_model_does_not(monkeypatch):
    used = []

    class Watched(GPTLanguageModel):
        def forward(self, ids, targets=None):
            if self.training:
                used.append(type(self.dropout))
            return super().forward(ids, targets)

    options = {"steps": 2, "batch_size": 2, "eval_interval": 2, "eval_batches": 1, "progress": False}
    train(Watched(GPTConfig(**SIZES, dropout=0.2)), IDS, IDS, **options)
    assert used == [QuickDropout] * 2
    used.clear()
    monkeypatch.setattr(training, "compile_or_note", lambda model, notice: lambda x, y: model(x, y))
    train(Watched(GPTConfig(**SIZES, dropout=0.2)), IDS, IDS, **options, compile=True)
    assert used == [nn.Dropout] * 2


def test_a_training_learns_as_much_with_it_as_with_pytorchs():
    """The same batches and weights, other random numbers: both curves end within the spread of seeds."""
    ends = {}
    text = torch.arange(3000) % 11  # a text that is easy to learn
    for quick in (True, False):
        losses = []
        for seed in (1, 2, 3):
            torch.manual_seed(seed)
            model = GPTLanguageModel(GPTConfig(**SIZES, dropout=0.2))
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
            for _ in range(60):
                start = torch.randint(2900, (8, 1))
                window = text[start + torch.arange(13)]
                if quick:
                    with quick_dropout(model):
                        loss = model(window[:, :-1], window[:, 1:])[1]
                else:
                    loss = model(window[:, :-1], window[:, 1:])[1]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(F.cross_entropy(model.eval()(text[None, :12])[0][0], text[1:13]).item())
        ends[quick] = sum(losses) / 3
    assert ends[True] < 1.5 and abs(ends[True] - ends[False]) < 0.25
