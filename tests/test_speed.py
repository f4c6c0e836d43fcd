"""What the benchmark measures is real work, the same on both sides. No time is judged."""

import subprocess
from types import SimpleNamespace

import pytest
import torch

from helpers import owt_speed, speed
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lecture_forms import with_looped_heads
from helpers.precision import usable_dtype

TINY = {"block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}


def test_forms_take_turns_and_the_first_round_is_not_counted():
    calls = []
    found = speed.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4 and found.keys() == {"a", "b"} and min(found.values()) >= 0


def test_the_operations_are_those_of_the_matrix_products():
    config = GPTConfig(11, 8, 3, 2, 16)
    weights = sum(
        p.numel()
        for name, p in GPTLanguageModel(config).named_parameters()
        if p.ndim == 2 and "table" not in name
    )
    attention = (
        3 * (2 * 8 * 8 * 16) // 2 // 8
    )  # of all layers: scores and sums, half of them masked, for each token
    assert speed.operations_per_token(config) == 6 * (weights + attention)


def test_looped_and_batched_training_steps_have_the_same_losses():
    """Baseline and fast form see the same batches and end at the same loss."""
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(11, **TINY))
    forms = [speed.training_step(each, 11, 4, "cpu") for each in (with_looped_heads(model), model)]
    losses = [[form().item() for _ in range(12)] for form in forms]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0][-1] != losses[0][0]


@pytest.mark.skipif(
    usable_dtype("bfloat16", "cpu", lambda note: None) != "bfloat16", reason="no bfloat16 here"
)
def test_losses_in_bfloat16_stay_with_those_in_float32():
    """Weights and batches are the same. A model with an emptied block is further off, so the bound can tell."""
    curves = {}
    for kind in ("float32", "bfloat16", "a block less"):
        torch.manual_seed(0)
        model = GPTLanguageModel(GPTConfig(11, **TINY | {"n_embd": 32, "n_layer": 2}))
        with torch.no_grad():
            for p in model.parameters():  # weights far from zero, so that rounding shows
                p.add_(torch.randn_like(p) * 0.2)
            if kind == "a block less":
                model.blocks[1].ffwd.net[2].weight.zero_()
        step = speed.training_step(model, 11, 16, "cpu", "bfloat16" if kind == "bfloat16" else "float32")
        curves[kind] = [step().item() for _ in range(40)]
    off = {
        kind: max(abs(a - b) for a, b in zip(curves["float32"], curves[kind], strict=True)) for kind in curves
    }
    assert 0 < off["bfloat16"] < 0.05 < off["a block less"], off


def test_throughput_names_its_best_form_and_ratio():
    said = []
    found = speed.throughput(11, sizes=TINY | {"dropout": 0.2}, batch_size=2, rounds=2, tell=said.append)
    assert (
        found["best"] == max(found["forms"].values()) and found["looped"] == found["forms"]["heads in a loop"]
    )
    assert found["best_form"] in found["forms"] and found["ratio"] == pytest.approx(
        found["best"] / found["looped"], abs=0.01
    )
    assert 0 <= found["share_of_peak"] < 1 and found["peak"]["float32"] > 0
    assert len(said) == len(found["forms"]) >= 2


def test_generation_writes_the_asked_length_in_each_form(monkeypatch):
    lengths = []

    def counted(real):
        def form(model, ids, n, **options):
            out = real(model, ids, n, **options)
            lengths.append(out.shape[1])
            return out

        return form

    monkeypatch.setattr(speed, "generate", counted(speed.generate))
    monkeypatch.setattr(speed, "generate_by_cropping", counted(speed.generate_by_cropping))
    found = speed.generation(11, writers={"tiny": TINY}, rounds=1, tell=lambda line: None)["tiny"]
    assert set(lengths) == {1 + speed.CONTEXTS * 8}
    assert found["ratio"] == pytest.approx(found["cached"] / found["looped"], rel=0.02)
    assert found["cached"] == max(v for name, v in found["forms"].items() if name.startswith("cached"))


def test_batches_and_encoding_give_ratios():
    said = []
    found = speed.batches(torch.arange(1000), rounds=1, tell=said.append)
    assert found["ratio"] == min(found["shapes"].values()) > 0
    found = speed.encoding("some words of a text\n" * 20, rounds=1, tell=said.append)
    assert found["ratio"] > 0 and found["bpe"] > 0 and len(said) == 3
    with pytest.raises(ValueError, match="has 50 tokens, but block_size=128"):
        speed.batches(torch.arange(50), rounds=1)


def test_extraction_is_owt_speeds_comparison():
    found = speed.extraction(megabytes=0.2, repeats=1, tell=lambda line: None)
    assert found["ratio"] > 0 and found["bytes"] > 100_000


@pytest.mark.skipif(owt_speed.peak_memory() is None, reason="the system does not tell")
def test_memory_is_measured_in_a_process_of_its_own_and_grows_with_the_model():
    small, large = {**TINY, "batch_size": 2}, {**TINY, "n_layer": 4, "n_embd": 256, "batch_size": 2}
    found = speed.memory(11, {"small": small, "large": large}, steps=1, tell=lambda line: None)
    assert found["large"]["mib"] > found["small"]["mib"] + 30  # 3.2 million parameters, 16 bytes each
    assert found["small"]["seconds"] > 0


def test_growth_changes_one_setting_at_a_time():
    found = speed.growth(11, values={"batch_size": (1, 2)}, steps=1, tell=lambda line: None)
    assert list(found) == ["batch_size"] and list(found["batch_size"]) == [1, 2]
    assert speed.corpus_growth(megabytes=(1,), rounds=1, tell=lambda line: None)[1]["encode"] > 0


def test_the_presets_are_those_of_the_training_command():
    found = speed.presets()
    assert found["lecture"] == {
        "block_size": 128, "n_layer": 8, "n_head": 8, "n_embd": 384, "batch_size": 64, "dropout": 0.2
    }  # fmt: skip
    assert {"default", "lecture", "shipped"} == found.keys() and found["shipped"]["block_size"] == 416


def test_one_and_two_processes_reach_the_same_loss():
    found = speed.processes(steps=3, tell=lambda line: None)
    if len(found) < 2:
        pytest.skip("torchrun does not work here")
    assert found[1]["loss"] == pytest.approx(found[2]["loss"], abs=1e-3)


def test_where_torchrun_does_not_work_it_says_so(monkeypatch):
    said = []
    failed = SimpleNamespace(stdout="", stderr="a traceback\nRuntimeError: no address\n")
    monkeypatch.setattr(speed.subprocess, "run", lambda *args, **options: failed)
    assert speed.processes(counts=(2,), steps=1, tell=said.append) == {}

    def hang(*args, **options):
        raise subprocess.TimeoutExpired(args[0], options["timeout"])

    monkeypatch.setattr(speed.subprocess, "run", hang)
    assert speed.processes(counts=(2,), steps=1, tell=said.append) == {}
    assert "torchrun does not work here (RuntimeError: no address)" in said[0]
    assert "did not end within 600 s" in said[1]
