"""The optimizers of notebook 06 make the steps of torch.optim's, and refuse settings that cannot work."""

from pathlib import Path

import nbformat
import pytest
import test_notebook_definitions as same_code
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers.optimizers import SGD, Adam, AdamW, Momentum, Optimizer, RMSprop, check_settings

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "06_optimizers.ipynb"
BY_HAND = [SGD, Momentum, RMSprop, Adam, AdamW]
STEPS = 60

# ours, PyTorch's, settings of both
VARIANTS = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.05}),
    (Momentum, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    (Momentum, torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}),
    (Momentum, torch.optim.SGD, {"lr": 0.1, "momentum": 0.0}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.003, "alpha": 0.9, "eps": 1e-3}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.95, "weight_decay": 0.2}),
    (Adam, torch.optim.Adam, {"lr": 0.01}),
    (Adam, torch.optim.Adam, {"lr": 0.02, "betas": (0.5, 0.9), "eps": 1e-2}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.0, 0.95)}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.3}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01}),
    (AdamW, torch.optim.AdamW, {"lr": 0.02, "betas": (0.8, 0.99), "weight_decay": 0.5}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.0}),
]
variants = pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    VARIANTS,
    ids=[f"{ours.__name__}-{'-'.join(settings)}-{i}" for i, (ours, _, settings) in enumerate(VARIANTS)],
)


def twins(dtype: torch.dtype = torch.float32) -> list[nn.Sequential]:
    """Two equal small networks with a parameter in each that no loss reaches."""
    nets = []
    for _ in range(2):
        torch.manual_seed(7)
        net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4))
        net.idle = nn.Parameter(torch.ones(3))
        nets.append(net.to(dtype))
    return nets


def batches(count: int, dtype: torch.dtype = torch.float32):
    dice = torch.Generator().manual_seed(3)
    for _ in range(count):
        x = torch.randn(24, 5, generator=dice)
        yield x.to(dtype), x[:, :4].argmax(dim=1)


def apart(one: nn.Module, other: nn.Module) -> float:
    """The largest difference between the parameters of two models."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def step(net: nn.Module, optimizer, x, y) -> None:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()


# --- equal to torch.optim ---


@variants
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-12)], ids=["float32", "float64"]
)
def test_every_step_is_that_of_torch_optim(ours, theirs, settings, dtype, tolerance):
    (mine, other), (start, _) = twins(dtype), twins(dtype)
    a, b = ours(mine.parameters(), **settings), theirs(other.parameters(), **settings)
    for number, (x, y) in enumerate(batches(STEPS, dtype), start=1):
        step(mine, a, x, y)
        step(other, b, x, y)
        assert apart(mine, other) < tolerance, f"step {number}"
    assert apart(mine, start) > 0.1, "nothing was trained"


@variants
def test_a_learning_rate_that_changes_is_followed(ours, theirs, settings):
    mine, other = twins()
    a, b = ours(mine.parameters(), **settings), theirs(other.parameters(), **settings)
    for number, (x, y) in enumerate(batches(STEPS)):
        a.lr = b.param_groups[0]["lr"] = settings["lr"] * (1 - number / STEPS)
        step(mine, a, x, y)
        step(other, b, x, y)
        assert apart(mine, other) < 5e-6


@variants
def test_a_parameter_without_a_gradient_is_left_out_and_counts_its_own_steps(ours, theirs, settings):
    """The first layer gets no gradient in the first ten steps, and the idle one never."""
    mine, other = twins()
    first, idle = mine[0].weight.detach().clone(), mine.idle.detach().clone()
    a, b = ours(mine.parameters(), **settings), theirs(other.parameters(), **settings)
    for number, (x, y) in enumerate(batches(STEPS)):
        for net in (mine, other):
            net[0].requires_grad_(number >= 10)
        step(mine, a, x, y)
        step(other, b, x, y)
        if number < 10:
            assert torch.equal(mine[0].weight, first)
    assert apart(mine, other) < 5e-6 and not torch.equal(mine[0].weight, first)
    assert torch.equal(mine.idle, idle)


@pytest.mark.parametrize("optimizer_class", BY_HAND)
def test_zero_grad_forgets_and_step_keeps_the_tensors_of_the_model(optimizer_class):
    net = twins()[0]
    places = [p.data_ptr() for p in net.parameters()]
    optimizer = optimizer_class(net.parameters(), lr=0.01)
    x, y = next(batches(1))
    step(net, optimizer, x, y)
    assert [p.data_ptr() for p in net.parameters()] == places
    assert net[0].weight.grad is not None and all(p.requires_grad for p in net.parameters())
    optimizer.zero_grad()
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("optimizer_class", BY_HAND)
def test_a_step_leaves_the_gradients_as_they_are(optimizer_class):
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    w.grad = torch.tensor([0.5, 3.0])
    optimizer = optimizer_class([w], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.step()
    assert w.grad.tolist() == [0.5, 3.0] and w.tolist() != [1.0, -2.0]


# --- what the notebook says about them ---


@given(st.floats(-50, 50).filter(lambda g: abs(g) > 1e-3))
def test_the_first_step_of_adam_is_one_learning_rate_whatever_the_gradient(gradient):
    w = torch.zeros(1)
    w.grad = torch.tensor([gradient])
    Adam([w], lr=0.01).step()
    assert w.item() == pytest.approx(-0.01 if gradient > 0 else 0.01, rel=1e-3)


def test_adamw_takes_the_same_share_of_every_weight_and_the_penalty_in_adam_does_not():
    sizes = torch.tensor([10.0, 1.0, 0.1, 0.01])

    def taken(optimizer_class):
        ends = []
        for decay in (0.0, 0.1):
            w = torch.ones(4)
            optimizer = optimizer_class([w], lr=0.01, weight_decay=decay)
            for number in range(200):
                w.grad = sizes if number % 2 == 0 else -sizes
                optimizer.step()
            ends.append(w)
        return ends[0] - ends[1]

    assert taken(AdamW).max() - taken(AdamW).min() < 0.01
    assert (taken(Adam).diff() > 0.1).all()


def test_sgd_in_the_valley_diverges_just_beyond_two_over_the_curvature():
    def height_after(lr):
        w = torch.tensor([-4.0, 1.5], requires_grad=True)
        optimizer = SGD([w], lr)
        for _ in range(200):
            optimizer.zero_grad()
            (0.5 * (w[0] ** 2 + 25 * w[1] ** 2)).backward()
            optimizer.step()
        return 0.5 * (w[0] ** 2 + 25 * w[1] ** 2).item()

    assert height_after(0.99 * 2 / 25) < 1 < 1e3 < height_after(1.01 * 2 / 25)


def notebook_names(*words: str) -> dict:
    """The variables after the notebook's cells that hold these words."""
    cells = [c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    names = {"torch": torch, "F": F, "nn": nn}
    for each in words:
        (source,) = (cell for cell in cells if each in cell)
        exec(source, names)
    return names


def test_finite_differences_agree_with_autograd(capsys):
    names = notebook_names("def finite_differences")
    w = names["w"].detach().clone().requires_grad_()
    (exact,) = torch.autograd.grad(names["small_loss"](w), w)
    with torch.no_grad():
        found = {h: names["finite_differences"](names["small_loss"], w, h) for h in (1.0, 1e-2, 1e-6)}
    errors = {h: (each - exact).abs().max().item() for h, each in found.items()}
    assert exact.abs().max() > 0.1
    assert errors[1e-2] < 1e-4 < 1e-3 < min(errors[1.0], errors[1e-6])


@pytest.mark.parametrize("net_seed", range(5))
def test_finite_differences_agree_with_autograd_on_other_losses(capsys, net_seed):
    finite_differences = notebook_names("def finite_differences")["finite_differences"]
    torch.manual_seed(net_seed)
    x, y, w = torch.randn(6, 3).double(), torch.randint(4, (6,)), torch.randn(12).double().requires_grad_()

    def loss_of(weights):
        return F.cross_entropy(F.gelu(x @ weights.view(3, 4)), y)

    (exact,) = torch.autograd.grad(loss_of(w), w)
    # the nudges are float32: eye has no dtype of its own
    with torch.no_grad():
        found = finite_differences(loss_of, w, 2.0**-12)
    assert torch.allclose(found, exact, atol=1e-6) and exact.abs().max() > 0.01


# --- settings that cannot work ---

WAY_OUT = r"but it is (a|an) .*such as"


@pytest.mark.parametrize("optimizer_class", BY_HAND)
@pytest.mark.parametrize("lr", [-0.1, float("nan"), float("inf")])
def test_a_learning_rate_that_cannot_work_is_refused(optimizer_class, lr):
    with pytest.raises(ValueError, match=f"lr={lr}.*{WAY_OUT}"):
        optimizer_class([torch.zeros(2)], lr=lr)


@pytest.mark.parametrize("optimizer_class", BY_HAND)
def test_a_negative_weight_decay_is_refused(optimizer_class):
    with pytest.raises(ValueError, match=f"weight_decay=-0.5.*{WAY_OUT}"):
        optimizer_class([torch.zeros(2)], lr=0.1, weight_decay=-0.5)


@pytest.mark.parametrize(
    ("optimizer_class", "settings", "said"),
    [
        (Momentum, {"lr": 0.1, "momentum": 1.0}, "momentum=1.0"),
        (Momentum, {"lr": 0.1, "momentum": -0.1}, "momentum=-0.1"),
        (RMSprop, {"alpha": 1.5}, "alpha=1.5"),
        (RMSprop, {"eps": 0.0}, "eps=0.0"),
        (Adam, {"betas": (1.0, 0.999)}, "beta1=1.0"),
        (Adam, {"betas": (0.9, -0.1)}, "beta2=-0.1"),
        (Adam, {"betas": (float("nan"), 0.9)}, "beta1=nan"),
        (Adam, {"eps": -1e-8}, "eps=-1e-08"),
        (AdamW, {"betas": (0.9, 1.0)}, "beta2=1.0"),
        (AdamW, {"eps": 0}, "eps=0"),
    ],
)
def test_a_share_or_an_eps_that_cannot_work_is_refused(optimizer_class, settings, said):
    with pytest.raises(ValueError, match=f"{said},.*{WAY_OUT}"):
        optimizer_class([torch.zeros(2)], **settings)


@pytest.mark.parametrize("optimizer_class", BY_HAND)
def test_no_parameters_are_refused_and_a_generator_that_was_used_is_named(optimizer_class):
    with pytest.raises(ValueError, match=r"0 parameters.*model.parameters\(\)"):
        optimizer_class([], lr=0.1)
    params = nn.Linear(2, 2).parameters()
    assert len(list(params)) == 2
    with pytest.raises(ValueError, match="walked through only once"):
        optimizer_class(params, lr=0.1)


def test_settings_at_the_edge_are_taken():
    check_settings(lr=0, weight_decay=0.0, momentum=0, alpha=0.0, beta1=0.999999, beta2=0, eps=1e-30)
    w = torch.ones(2)
    w.grad = torch.ones(2)
    SGD([w], lr=0).step()
    assert w.tolist() == [1.0, 1.0]


# --- the notebook builds what helpers hold; that their code is equal is tested in test_notebook_definitions.py ---


def test_the_notebook_builds_all_five_and_what_they_share():
    cells = [c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    assert {each.__name__ for each in (Optimizer, *BY_HAND)} <= same_code.last_in_notebook(cells).keys()
