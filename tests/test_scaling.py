"""Scaling laws in miniature: the fit finds a law that is there, and the best size is the best."""

import pytest
import torch

from helpers import scaling, tales
from helpers.scaling import Law, best_size, fit, measure

LAW = Law(E=0.5, A=60.0, a=0.42, B=700.0, b=0.55)
SIZES, BUDGETS = (40_000, 100_000, 300_000, 800_000), (100_000, 300_000, 900_000, 2_000_000)


def points_of(law: Law, sizes=SIZES, budgets=BUDGETS, noise: float = 0.0) -> list[dict]:
    dice = torch.Generator().manual_seed(1)
    return [
        {"parameters": N, "tokens": D, "loss": law.loss(N, D) * (1 + noise * torch.randn(1, generator=dice).item())}
        for N in sizes
        for D in budgets
    ]  # fmt: skip


# --- fit ---


def test_a_law_that_is_there_is_found_again():
    found = fit(points_of(LAW))
    for N, D in ((60_000, 200_000), (800_000, 2_000_000), (3_000_000, 9_000_000)):
        assert found.loss(N, D) == pytest.approx(LAW.loss(N, D), rel=0.003)
    assert found.a == pytest.approx(LAW.a, abs=0.02) and found.b == pytest.approx(LAW.b, abs=0.02)


def test_with_noise_of_one_per_cent_new_points_between_the_measured_ones_are_hit_within_three():
    found = fit(points_of(LAW, noise=0.01))
    for N, D in ((60_000, 200_000), (500_000, 500_000), (150_000, 1_500_000)):
        assert found.loss(N, D) == pytest.approx(LAW.loss(N, D), rel=0.03)


def test_the_constant_is_not_let_below_the_floor():
    free = fit(points_of(LAW), floor=0.3)
    assert abs(free.E - 0.5) < 0.03
    pressed = fit(points_of(LAW), floor=0.8)
    assert pressed.E >= 0.8 and min(pressed.A, pressed.B) >= 0


def test_a_size_that_makes_no_difference_has_no_share_in_the_law():
    flat = fit([p | {"loss": 1 + 500 / p["tokens"] ** 0.5} for p in points_of(LAW)])
    assert flat.A / SIZES[0] ** flat.a < 0.01
    assert flat.loss(50_000, 250_000) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    "points",
    [points_of(LAW)[:4], points_of(LAW, sizes=SIZES[:1]) * 2, points_of(LAW, budgets=BUDGETS[:1]) * 2, []],
    ids=["four points", "one size", "one budget", "nothing"],
)
def test_too_few_points_are_refused_with_their_number(points):
    with pytest.raises(
        ValueError, match=f"{len(points)} points of .* at least 5 points, 2 sizes and 2 budgets"
    ):
        fit(points)


# --- the best size ---


@pytest.mark.parametrize("compute", [1e9, 1e12, 1e15])
def test_no_other_size_for_the_same_compute_has_a_lower_loss(compute):
    N, D = best_size(LAW, compute)
    spent = 6 * N * D
    assert spent == pytest.approx(compute)
    best = LAW.loss(N, D)
    for factor in (0.1, 0.8, 0.99, 1.01, 1.3, 10):
        assert LAW.loss(factor * N, D / factor) > best


def test_more_compute_wants_more_parameters_and_more_text():
    sizes = [best_size(LAW, compute) for compute in (1e10, 1e12, 1e14)]
    assert sizes[0][0] < sizes[1][0] < sizes[2][0] and sizes[0][1] < sizes[1][1] < sizes[2][1]


def test_without_a_best_size_none_is_given():
    for compute in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="compute="):
            best_size(LAW, compute)
    with pytest.raises(ValueError, match="no best size"):
        best_size(Law(0.5, 0.0, 0.4, 700.0, 0.5), 1e12)


# --- measuring ---


def test_each_size_is_trained_on_each_budget_of_new_tales():
    told = []
    points = measure(((1, 2, 8), (2, 2, 16)), (768, 2_304), tell=told.append)
    assert [(p["n_embd"], p["tokens"]) for p in points] == [(8, 768), (8, 2_304), (16, 768), (16, 2_304)]
    for p in points:
        assert 2.5 < p["loss"] < 4.5 and p["seconds"] > 0
        assert p["parameters"] == 12 * p["n_layer"] * p["n_embd"] ** 2 + p["n_embd"] * (
            len(tales.ALPHABET) + 6 * p["n_layer"] + 1
        )
    assert len(told) == 4 and points[1]["loss"] < points[0]["loss"]


def test_it_validates_on_tales_that_are_not_those_of_the_training():
    train_ids, val_ids = scaling.fresh_tales(50_000, seed=1)
    assert len(train_ids) >= 50_000 and len(val_ids) >= scaling.VALIDATION_CHARACTERS
    assert not torch.equal(train_ids[:400], val_ids[:400])
    assert torch.equal(train_ids, scaling.fresh_tales(50_000, seed=1)[0])


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="0 sizes"):
        measure((), (1_000,))
    with pytest.raises(ValueError, match="12 x 64 = 768"):
        measure(((1, 2, 8),), (700,))


def test_the_study_holds_points_law_and_floor(monkeypatch):
    monkeypatch.setattr(scaling, "SIZES", ((1, 2, 8), (1, 2, 16)))
    monkeypatch.setattr(scaling, "BUDGETS", (768, 1_536, 3_072))
    told = []
    kept = scaling.study("cpu", told.append)
    assert len(kept["points"]) == 6 and kept["floor"] == tales.entropy_per_character()
    assert Law(**kept["law"]) == fit(kept["points"], kept["floor"]) and "floor" in told[-1]
