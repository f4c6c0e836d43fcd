"""The speed ladder: each rung is one change more, measured at equal tokens and at equal time."""

from functools import partial

import pytest
import torch

from helpers import ladder
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.modern import ModernGPT

SIZES = {"block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16}
IDS = torch.randint(9, (400,), generator=torch.Generator().manual_seed(1))


def test_each_rung_is_one_change_more():
    before = None
    for rung in range(len(ladder.RUNGS)):
        model, training = ladder.settings_of(rung)
        if before is not None:
            changed = [name for name in model if model[name] != before[0].get(name)]
            retrained = [name for name in training if training[name] != before[1].get(name)]
            looped = ladder.RUNGS[rung - 1].looped != ladder.RUNGS[rung].looped
            assert changed or retrained or looped
        before = model, training
    model, training = ladder.settings_of(len(ladder.RUNGS) - 1)
    assert model == {
        "bias": False, "tie_weights": True, "rope": True, "rms_norm": True, "qk_norm": True, "short_conv": True,
        "mlp": "relu2", "zero_init": True
    }  # fmt: skip
    assert training["optimizer"] == "muon"


def test_the_heads_of_the_first_rung_compute_what_those_of_the_second_do():
    """No straw man: the same weights give the same loss, one head after the other or all at once."""
    looped, batched = (ladder.make_model(rung, 9, SIZES) for rung in (0, 1))
    assert isinstance(looped, GPTLanguageModel) and isinstance(batched, ModernGPT)
    weights = looped.state_dict()
    for i, block in enumerate(looped.blocks):
        for kind in ("weight", "bias"):
            rows = [
                getattr(head, part).get_parameter(kind)
                for part in ("query", "key", "value")
                for head in block.sa.heads
            ]
            weights[f"blocks.{i}.sa.qkv.{kind}"] = torch.cat(rows)
    names = {
        "norm1": "ln1",
        "norm2": "ln2",
        "norm_f": "ln_f",
        "ffwd.up": "ffwd.net.0",
        "ffwd.proj": "ffwd.net.2",
    }

    def theirs(name: str) -> str:
        for new, old in names.items():
            name = name.replace(new, old)
        return name

    batched.load_state_dict({name: weights[theirs(name)] for name in batched.state_dict()})
    x, y = IDS[:48].view(3, 16), IDS[1:49].view(3, 16)
    for got, want in zip(batched(x, y), looped(x, y), strict=True):
        assert torch.allclose(got, want, atol=1e-5)


def test_every_rung_trains_and_is_measured(monkeypatch):
    told = []
    monkeypatch.setattr(ladder, "TOO_SLOW", 1e9)
    monkeypatch.setattr(ladder, "measure_pace", partial(ladder.measure_pace, rounds=2, steps=2))
    results = ladder.climb(
        IDS, IDS[:100], 9, seeds=(1, 2), sizes=SIZES, batch_size=2, steps=3, tell=told.append
    )
    assert [result["name"] for result in results] == [rung.name for rung in ladder.RUNGS]
    for result in results:
        assert [run["seed"] for run in result["tokens"]] == [run["seed"] for run in result["time"]] == [1, 2]
        for run in result["tokens"] + result["time"]:
            assert 1.5 < run["loss"] < 3 and run["seconds"] > 0 and run["parameters"] == result["parameters"]
        assert all(run["steps"] == 3 for run in result["tokens"])
        middle, low, high = result["pace"]
        assert 0 < low <= middle <= high
    assert len(told) == 2 * len(results)


def test_equal_time_is_that_of_the_first_rung(monkeypatch):
    """A rung whose step takes half as long takes twice as many; the time of a run itself does not matter."""
    pace = {0: [0.2, 0.1, 0.3], 1: [0.1, 0.1, 0.1], 2: [0.3, 0.2, 0.3]}
    asked = []

    def run(rung, *_, seed, steps, **__):
        asked.append((rung, steps))
        return {"seed": seed, "steps": steps, "seconds": 99.0, "loss": 2.0, "parameters": 5}

    monkeypatch.setattr(ladder, "run_rung", run)
    monkeypatch.setattr(ladder, "measure_pace", lambda *_, **__: pace)
    ladder.climb(IDS, IDS, 9, seeds=(1,), steps=30, rungs=(0, 1, 2), tell=lambda line: None)
    assert asked == [(0, 30), (1, 30), (1, 60), (2, 30), (2, 20)]


def test_a_rung_that_is_far_slower_is_not_trained_and_says_so(monkeypatch):
    """bfloat16 on a processor that has no instructions for it, for instance."""
    asked, told = [], []

    def run(rung, *_, seed, steps, **__):
        asked.append(rung)
        return {"seed": seed, "steps": steps, "seconds": 1.0, "loss": 2.0, "parameters": 5}

    monkeypatch.setattr(ladder, "run_rung", run)
    monkeypatch.setattr(ladder, "measure_pace", lambda *_, **__: {0: [0.1] * 3, 1: [0.29] * 3, 2: [0.9] * 3})
    results = ladder.climb(IDS, IDS, 9, seeds=(1,), steps=30, rungs=(0, 1, 2), tell=told.append)
    assert asked == [0, 1, 1]
    assert results[2]["tokens"] == results[2]["time"] == [] and results[2]["parameters"] > 5
    assert "not trained" in told[-1] and "over 3 times" in told[-1]


def test_the_pace_is_measured_in_turns_after_a_round_to_warm_up(monkeypatch):
    """Each rung once, then each again: a minute in which the machine is busy does not fall on one rung alone."""
    order = []

    def make(rung, *_):
        order.append(rung)
        return torch.nn.Linear(1, 1)

    class Result:
        seconds = 0.0

    def step(*_, steps, **__):
        Result.seconds = steps * (100.0 if len(order) <= 2 else 0.01 * len(order))
        return Result

    monkeypatch.setattr(ladder, "make_model", make)
    monkeypatch.setattr(ladder, "train", step)
    pace = ladder.measure_pace(IDS, IDS, 9, (4, 7), sizes=SIZES, batch_size=2, rounds=3)
    assert order == [4, 7] * 4
    assert pace == {4: [0.05, 0.03, 0.07], 7: [0.06, 0.04, 0.08]}


def test_trainings_in_processes_of_their_own_give_the_same_losses():
    def climb(workers):
        results = ladder.climb(
            IDS, IDS[:100], 9, seeds=(1, 2, 3), sizes=SIZES, batch_size=2, steps=2, rungs=(0, 10), workers=workers,
            tell=lambda line: None,
        )  # fmt: skip
        return [[(run["seed"], run["loss"]) for run in result["tokens"]] for result in results]

    for here, there in zip(climb(1), climb(2), strict=True):
        assert [seed for seed, _ in here] == [seed for seed, _ in there] == [1, 2, 3]
        assert [loss for _, loss in here] == pytest.approx([loss for _, loss in there], abs=2e-3)


def test_the_same_seed_gives_the_same_loss():
    runs = [
        ladder.run_rung(10, IDS, IDS[:80], 9, seed=3, sizes=SIZES, batch_size=2, steps=3)["loss"]
        for _ in (1, 2)
    ]
    assert runs[0] == runs[1]
    assert GPTConfig(9, **SIZES).looped_heads is False
