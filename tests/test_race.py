"""Time to a loss: the recipes are what the issue of the race says, and both clocks cover the same thing. No time is judged."""

import pytest
import torch

from helpers import ladder, race, scaling, train
from helpers.gpt import GPTLanguageModel
from helpers.modern import ModernGPT
from helpers.training import TrainingResult

IDS = torch.randint(9, (3000,), generator=torch.Generator().manual_seed(1))


def test_the_peer_is_the_well_known_recipe_with_our_classic_model():
    model = race.make_model(race.PEER, 65)
    assert type(model) is GPTLanguageModel and race.PEER.training == {
        "steps": 2000, "batch_size": 12, "learning_rate": 1e-3, "warmup": 100, "final_fraction": 0.1,
        "betas": (0.9, 0.99), "weight_decay": 0.1, "clip": 1.0,
    }  # fmt: skip
    config = model.config
    assert (config.n_layer, config.n_head, config.n_embd, config.block_size) == (4, 4, 128, 64)
    assert (config.dropout, config.bias, config.tie_weights, config.activation) == (0.0, False, True, "gelu")
    assert sum(p.numel() for p in model.parameters()) == 804_096  # 795,904 without the table of positions


@pytest.mark.parametrize("recipe", [race.SPRINT, race.LONG])
def test_ours_have_at_most_800_000_parameters_and_the_same_context(recipe):
    model = race.make_model(recipe, 65)
    assert type(model) is ModernGPT and model.config.block_size == race.BLOCK_SIZE == 64
    assert sum(p.numel() for p in model.parameters()) <= 800_000


def test_the_preset_of_the_training_command_is_the_sprint():
    args = train.parse_options(["--preset", "sprint"])
    assert train.make_model(args, 65).config == race.make_model(race.SPRINT, 65).config
    assert {name: getattr(args, name) for name in race.SPRINT.training} == race.SPRINT.training
    assert args.final_fraction == 0.1  # as by default in `train`


def test_a_short_race_gives_the_medians_of_its_runs():
    said = []
    found = race.race(IDS[:2500], IDS[2500:], 9, seeds=(1, 2, 3), steps=2, tell=said.append)
    assert len(said) == 3 and all(line.startswith("seed ") for line in said)
    runs = found["runs"]
    assert {len(made) for made in runs.values()} == {3}
    for key, name, quantity in (
        ("peer_seconds", "peer", "seconds"), ("peer_loss", "peer", "loss"), ("seconds", "sprint", "seconds"),
        ("loss", "sprint", "loss"), ("loss_in_peer_time", "long", "loss"), ("long_seconds", "long", "seconds"),
    ):  # fmt: skip
        assert found[key] == sorted(made[quantity] for made in runs[name])[1]
    assert found["ratio"] == round(found["peer_seconds"] / found["seconds"], 2)
    assert found["reached"] == (found["loss"] <= found["peer_loss"])
    assert runs["peer"][0]["steps"] == runs["sprint"][0]["steps"] == 2
    assert runs["peer"][0]["loss"] != runs["peer"][1]["loss"]  # another seed is another run


def test_a_recipe_without_a_length_asks_for_one():
    with pytest.raises(ValueError, match="no number of steps of its own: give steps="):
        race.run(race.LONG, IDS, IDS, 9, seed=1)


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="the validation text has 20 tokens"):
        race.race(IDS, IDS[:20], 9, seeds=(1,), steps=1)


@pytest.mark.parametrize("which", ["race", "ladder", "scaling"])
def test_a_run_that_was_stopped_is_no_result(which, monkeypatch):
    """`train` swallows the first Ctrl-C and returns; half a run must not be counted as a whole one.

    All three train by ladder.run_whole.
    """
    stopped = TrainingResult(seconds=1.0, stopped="stopped by you after step 1 of 2")
    monkeypatch.setattr(ladder, "train", lambda *args, **options: stopped)
    sizes = {"block_size": 16, "n_layer": 1, "n_head": 2, "n_embd": 16}
    runs = {
        "race": lambda: race.run(race.SPRINT, IDS, IDS, 9, seed=1, steps=2),
        "ladder": lambda: ladder.run_rung(0, IDS, IDS, 9, seed=1, sizes=sizes, batch_size=2, steps=2),
        "scaling": lambda: scaling.measure([(1, 2, 16)], [2000], tell=lambda line: None),
    }
    with pytest.raises(KeyboardInterrupt):
        runs[which]()
