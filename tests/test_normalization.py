"""The norms of helpers/normalization.py and the activations of notebook 07 are PyTorch's, to float32 precision."""

import ast
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.normalization import BatchNorm1d, LayerNorm, RMSNorm

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "07_normalization_and_activations.ipynb"
CELLS = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
SHAPES = [(6,), (9, 6), (2, 3, 6), (2, 4, 3, 6)]
close = torch.testing.assert_close  # float32: 1.3e-6 relative, 1e-5 absolute


def numbers(*shape: int, size: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    return size * torch.randn(shape) + shift


def with_own_parameters(ours: nn.Module, theirs: nn.Module) -> None:
    """Give both modules the same parameters, none of them 0 or 1."""
    pairs = list(zip(ours.named_parameters(), theirs.named_parameters(), strict=True))
    assert pairs
    for (name, one), (other_name, other) in pairs:
        assert name == other_name and one.shape == other.shape
        one.data = torch.linspace(-0.7, 1.9, one.numel())
        other.data = one.data.clone()


def gradients(module: nn.Module, x: torch.Tensor, turn=lambda x: x) -> tuple[torch.Tensor, ...]:
    """What the module gives, and the gradients of x and of its parameters for an uneven loss."""
    module.zero_grad()
    x = x.clone().requires_grad_()
    y = turn(module(turn(x)))
    (y * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum().backward()
    assert x.grad.abs().sum() > 0
    return y.detach(), x.grad, *(p.grad for p in module.parameters())


def equal(ours: nn.Module, theirs: nn.Module, x: torch.Tensor, turn=lambda x: x) -> None:
    for one, other in zip(gradients(ours, x), gradients(theirs, x, turn), strict=True):
        close(one, other, rtol=1e-4, atol=1e-5)


# --- LayerNorm ---


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
def test_layer_norm_and_its_gradients_are_pytorchs(shape, eps):
    ours, theirs = LayerNorm(6, eps), nn.LayerNorm(6, eps)
    with_own_parameters(ours, theirs)
    for size, shift in ((1.0, 0.0), (40.0, -3.0), (0.05, 0.1)):
        equal(ours, theirs, numbers(*shape, size=size, shift=shift))


def test_a_fresh_layer_norm_has_pytorchs_defaults():
    x = numbers(2, 3, 6)
    assert LayerNorm(6).eps == nn.LayerNorm(6).eps
    close(LayerNorm(6)(x), nn.LayerNorm(6)(x))
    assert LayerNorm(6).state_dict().keys() == nn.LayerNorm(6).state_dict().keys()


def test_its_variance_divides_by_the_count():
    """Of -1 and 1 the plain mean of the squares is 1; divided by the count minus 1 it would be 2."""
    close(LayerNorm(2, eps=0)(torch.tensor([4.0, 6.0])), torch.tensor([-1.0, 1.0]))


def test_eps_stands_inside_the_root():
    """Variance 9 and eps 7: the root of 16 is 4. Outside, 3 + 7 would be 10."""
    close(LayerNorm(2, eps=7.0)(torch.tensor([-3.0, 3.0])), torch.tensor([-0.75, 0.75]))
    close(RMSNorm(2, eps=7.0)(torch.tensor([-3.0, 3.0])), torch.tensor([-0.75, 0.75]))
    norm = BatchNorm1d(1, eps=7.0)
    close(norm(torch.tensor([[-3.0], [3.0]])), torch.tensor([[-0.75], [0.75]]))


def test_a_row_of_equal_numbers_becomes_the_bias_and_not_nan():
    norm = LayerNorm(3)
    norm.bias.data = torch.tensor([0.5, -1.0, 2.0])
    assert torch.equal(norm(torch.full((2, 3), 8.0)), norm.bias.expand(2, 3))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.floats(0.1, 1000), st.floats(-100, 100), st.integers(0, 10_000))
def test_rows_come_out_with_mean_0_and_variance_1_whatever_their_scale(channels, scale, shift, seed):
    x = torch.randn(5, channels, generator=torch.Generator().manual_seed(seed))
    x[:, 0], x[:, 1] = 2.0, -2.0  # no row without a spread
    y = LayerNorm(channels)(scale * x + shift)
    close(y.mean(dim=-1), torch.zeros(5), rtol=0, atol=1e-3)
    close(y.var(dim=-1, correction=0), torch.ones(5), rtol=0, atol=0.02)


# --- RMSNorm ---


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
def test_rms_norm_and_its_gradients_are_pytorchs(shape, eps):
    ours, theirs = RMSNorm(6, eps), nn.RMSNorm(6, eps=eps)
    with_own_parameters(ours, theirs)
    for size, shift in ((1.0, 0.0), (40.0, -3.0), (0.05, 0.1)):
        equal(ours, theirs, numbers(*shape, size=size, shift=shift))


def test_rms_norm_subtracts_no_mean():
    close(RMSNorm(2, eps=0)(torch.tensor([1.0, 7.0])), torch.tensor([0.2, 1.4]))  # the root of 25 is 5
    assert [name for name, _ in RMSNorm(2).named_parameters()] == ["weight"]


# --- BatchNorm ---


def across(x: torch.Tensor) -> torch.Tensor:
    """(B, T, C) → (B, C, T) and back; (B, C) as it is."""
    return x.transpose(1, 2) if x.ndim == 3 else x


@pytest.mark.parametrize("shape", [(9, 6), (4, 3, 6)])
@pytest.mark.parametrize(("eps", "momentum"), [(1e-5, 0.1), (1e-2, 0.3)])
def test_batch_norm_its_gradients_and_its_running_statistics_are_pytorchs(shape, eps, momentum):
    ours, theirs = BatchNorm1d(6, eps, momentum), nn.BatchNorm1d(6, eps, momentum)
    with_own_parameters(ours, theirs)
    for step in range(4):  # train mode, with other statistics each time
        equal(ours, theirs, numbers(*shape, size=1 + step, shift=step - 2), across)
        close(ours.running_mean, theirs.running_mean)
        close(ours.running_var, theirs.running_var)
    assert ours.running_var.std() > 0 and (ours.running_var != 1).all()
    ours.eval(), theirs.eval()
    kept = ours.running_mean.clone(), ours.running_var.clone()
    equal(ours, theirs, numbers(*shape, size=2, shift=1), across)
    assert torch.equal(ours.running_mean, kept[0]) and torch.equal(ours.running_var, kept[1])


def test_it_normalizes_with_the_biased_variance_and_keeps_the_unbiased_one():
    norm = BatchNorm1d(1, eps=0, momentum=1.0)
    close(norm(torch.tensor([[4.0], [6.0]])), torch.tensor([[-1.0], [1.0]]))
    assert norm.running_mean.item() == 5 and norm.running_var.item() == 2


def test_a_fresh_batch_norm_has_pytorchs_defaults_and_its_state_but_for_the_counter():
    ours, theirs = BatchNorm1d(6), nn.BatchNorm1d(6)
    assert (ours.eps, ours.momentum) == (theirs.eps, theirs.momentum)
    assert theirs.state_dict().keys() - ours.state_dict().keys() == {"num_batches_tracked"}
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name])


def test_running_statistics_are_no_parameters_and_hold_no_graph():
    norm = BatchNorm1d(6)
    norm(numbers(4, 6).requires_grad_())
    assert {name for name, _ in norm.named_parameters()} == {"weight", "bias"}
    assert not norm.running_mean.requires_grad and norm.running_var.grad_fn is None


def test_train_mode_learns_statistics_even_without_gradients():
    norm = BatchNorm1d(6)
    with torch.no_grad():
        norm(numbers(20, 6, shift=3.0))
    assert (norm.running_mean > 0.1).all()


def test_train_mode_refuses_a_single_row_and_eval_mode_takes_it():
    norm = BatchNorm1d(6)
    with pytest.raises(ValueError, match=r"\(1, 6\).*at least 2.*\.eval\(\)"):
        norm(numbers(1, 6))
    assert torch.equal(norm.running_mean, torch.zeros(6))
    assert norm.eval()(numbers(1, 6)).shape == (1, 6)
    assert norm.train()(numbers(1, 2, 6)).shape == (1, 2, 6)  # two positions of one sequence are two rows


# --- what each averages over ---


@pytest.mark.parametrize(
    ("norm", "moved"),
    [
        (LayerNorm(5), (0, 1, slice(None))),
        (RMSNorm(5), (0, 1, slice(None))),
        (BatchNorm1d(5), (slice(None), slice(None), 3)),
        (BatchNorm1d(5).eval(), (0, 1, 3)),
    ],
    ids=["LayerNorm", "RMSNorm", "BatchNorm in train mode", "BatchNorm in eval mode"],
)
def test_a_change_moves_only_what_is_averaged_with_it(norm, moved):
    x = numbers(3, 4, 5)
    other = x.clone()
    other[0, 1, 3] += 1.0
    expected = torch.zeros(3, 4, 5, dtype=torch.bool)
    expected[moved] = True
    assert torch.equal((norm(other) - norm(x)).abs() > 1e-6, expected)


# --- all three ---

ALL = [LayerNorm, RMSNorm, BatchNorm1d]
each = pytest.mark.parametrize("kind", ALL)


@each
@pytest.mark.parametrize("shape", [(4, 5), (2, 6, 5), (6, 1), ()])
def test_another_number_of_channels_is_refused_with_the_shape_and_the_number(kind, shape):
    with pytest.raises(ValueError, match=rf"{re.escape(str(shape))}.*made for 6 channels.*move the channels"):
        kind(6)(numbers(*shape))


@each
def test_parameters_and_buffers_are_made_on_the_device_that_is_named_and_move_with_the_module(kind):
    norm = kind(6, device="meta")
    assert {each.device.type for each in norm.state_dict().values()} == {"meta"}
    assert {each.dtype for each in kind(6).double().state_dict().values()} == {torch.float64}


@each
def test_the_input_is_not_changed(kind):
    x = numbers(4, 6)
    before = x.clone()
    kind(6)(x)
    assert torch.equal(x, before)


# --- the activations that the notebook writes ---


def of_the_notebook(*names: str) -> dict:
    """Functions of the notebook, as it defines them last."""
    found = {}
    for source in CELLS:
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name in names:
                found[node.name] = ast.unparse(node)
    assert found.keys() == set(names)
    space = {"torch": torch, "math": math, "F": F, "nn": nn}
    exec("\n\n".join(found[name] for name in names), space)
    return {name: space[name] for name in names}


THEIRS = {
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
OURS = of_the_notebook(*THEIRS, *(f"{name}_slope" for name in THEIRS))
GRID = torch.arange(-800, 801) / 100  # from -8 to 8, 0 included
activations = pytest.mark.parametrize("name", THEIRS)


@activations
def test_an_activation_by_hand_is_pytorchs(name):
    close(OURS[name](GRID), THEIRS[name](GRID), rtol=1e-5, atol=2e-6)


@activations
def test_its_slope_by_hand_is_that_of_pytorchs_autograd(name):
    x = GRID.clone().requires_grad_()
    THEIRS[name](x).sum().backward()
    close(OURS[f"{name}_slope"](GRID), x.grad, rtol=1e-5, atol=3e-6)


@activations
def test_its_own_autograd_agrees_away_from_the_corner(name):
    x = GRID[GRID != 0].requires_grad_()
    OURS[name](x).sum().backward()
    close(OURS[f"{name}_slope"](x.detach()), x.grad, rtol=1e-4, atol=2e-5)


def test_relu_has_the_slope_0_at_its_corner():
    assert OURS["relu_slope"](torch.zeros(1)).item() == 0


def test_the_two_forms_of_gelu_differ_by_less_than_a_thousandth_but_do_differ():
    distance = (OURS["gelu"](GRID) - OURS["gelu_tanh"](GRID)).abs().max().item()
    assert 1e-4 < distance < 1e-3


# --- errata that the notebook avoids ---


def calls(name: str) -> list[tuple[str, dict[str, str]]]:
    """(function of the notebook around it or "", keywords) of each call of a name."""
    found = []
    for source in CELLS:
        tree = ast.parse(source)
        inside = {
            id(n): f.name for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == name:
                words = {k.arg: ast.unparse(k.value) for k in node.keywords}
                found.append((inside.get(id(node), ""), words))
    return found


def test_every_softmax_names_its_axis_and_only_the_broken_one_takes_the_batch():
    found = calls("softmax")
    assert found and all("dim" in words for _, words in found)
    assert {where for where, words in found if words["dim"] != "-1"} == {"softmax_over_the_batch"}


def test_every_variance_says_which_kind_it_is():
    for kind in ("var", "std"):
        found = calls(kind)
        assert found and all("correction" in words for _, words in found)


def test_the_loss_that_is_compared_was_measured_in_eval_mode():
    """Dropout is set only in the cell that shows what forgetting does; it measures in eval mode, too."""
    with_dropout = [source for source in CELLS if "drop=0.2" in source]
    assert len(with_dropout) == 1
    order = [with_dropout[0].index(part) for part in ("forgotten = ", "model.eval()", "measured = ")]
    assert order == sorted(order)
