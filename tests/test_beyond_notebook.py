"""What notebook 16 says about today's parts, the ladder and scaling: its own cells are run here on a short text."""

import argparse
import importlib
import math
import os
import re
import sys

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
import torch.nn.functional as F
from notebook_cells import FOLDER, Explored, NotebookCells
from test_notebook_definitions import bare, definitions, last_in_notebook

import helpers
from helpers import ladder, modern, optimizers, race, scaling, tales
from helpers.batches import split
from helpers.lesson import measured
from helpers.lesson.bank.nb16 import BEST_CHOICE, NEWTON_SCHULZ_STEP, NORMED_SCORES, TURNING_MATRIX
from helpers.lesson.exercises import answer_from
from helpers.tokenizer import CharTokenizer

NOTEBOOK = NotebookCells("16_beyond")
cell, run = NOTEBOOK.cell, NOTEBOOK.run
PROSE = [
    c.source
    for c in nbformat.read(FOLDER / "16_beyond.ipynb", as_version=4).cells
    if c.cell_type == "markdown"
]
LAST = max(
    n for n in range(len(ladder.RUNGS)) if ladder.settings_of(n)[1].get("dtype", "float32") == "float32"
)
SIZES = {"block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128}


@pytest.fixture(scope="module")
def base() -> dict:
    """The notebook's variables on a short text, on the CPU, with all that its cells define up to Muon."""
    names: dict = {"__name__": "__main__", "torch": torch, "os": os, "sys": sys, "helpers": helpers}
    exec(cell("device = pick_device()").split("device = pick_device()")[0], names)
    text = tales.write_tales(40_000)
    tokenizer = CharTokenizer.from_text(text)
    train_ids, val_ids = split(torch.from_numpy(tokenizer.encode(text)))
    names |= {"tokenizer": tokenizer, "vocab_size": tokenizer.vocab_size, "device": torch.device("cpu")}
    names |= {"train_ids": train_ids, "val_ids": val_ids, "lesson": Recorder()}
    names |= {"show": lambda fig, caption: plt.close(fig), "explore": Explored()}
    for words in (
        "ModernConfig(vocab_size, block_size=64",
        "def rotation",
        "def rotate",
        "def look_back",
        "class Attention",
        "attention = Attention(config)",
        "class FeedForward",
        "class NGramEmbedding",
        "class ModernBlock",
        "class ModernGPT",
        "def fresh",
    ):
        names[f"printed by {words}"] = run(words, names)
    return names


@pytest.fixture
def space(base) -> dict:
    return dict(base)


class Recorder:
    """Stands where the lesson would be: keeps what is recorded."""

    def __init__(self):
        self.values = {}

    def record(self, name, value, unit, expect=None):
        self.values[name] = value


# --- the parts ---


def test_the_parts_that_it_builds_are_those_of_helpers():
    built = last_in_notebook(NOTEBOOK.sources)
    for module, skipped in ((modern, {"ModernConfig"}), (optimizers, None)):
        with open(module.__file__, encoding="utf-8") as file:
            theirs = {node.name: bare(node) for node in definitions(file.read())}
        wanted = {"orthogonalize"} if skipped is None else theirs.keys() - skipped
        for name in wanted:
            assert built[name] == theirs[name], name
    assert optimizers.NEWTON_SCHULZ == (3.4445, -4.7750, 2.0315)
    assert "NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)" in cell("NEWTON_SCHULZ = (")


def test_turning_keeps_lengths_and_only_the_distance_counts(space):
    printed = space["printed by def rotate"]
    assert float(printed.split("length: ")[1].split()[0]) < 1e-5 and "True" in printed
    run("def score_at", space)
    score = space["score_at"]
    assert score(25, 23) == pytest.approx(score(5, 3), abs=1e-3)
    assert score(1005, 1003) == pytest.approx(score(5, 3), abs=1e-2)
    assert min(abs(score(i, j) - score(5, 3)) for i, j in ((5, 4), (3, 5))) > 0.05


def test_the_look_back_adds_a_half_and_a_quarter_and_nothing_runs_backwards(space):
    printed = space["printed by def look_back"]
    assert "before: [1.0, 0.0, 0.0, 0.0, 8.0]" in printed
    assert "after:  [1.0, 0.5, 0.25, 0.0, 8.0]" in printed


def title_of(fig) -> str:
    """The title, at the left with the course's look, in the middle without it."""
    return fig.axes[0].get_title(loc="left") or fig.axes[0].get_title()


def test_the_slider_draws_every_corner_and_its_pairs_add_up_to_the_score(space):
    run("def score_at", space)
    run("def draw(query_position", space)
    slider = space["explore"]
    for pick in (min, max):
        fig, told = slider.draw(**{name: pick(options) for name, options in slider.controls.items()})
        assert "distance 0" in told and "adds" in title_of(fig)
        plt.close(fig)
    assert all(slider.start[name] in options for name, options in slider.controls.items())
    parts = 0.0
    for pair in range(space["head_size"] // 2):
        fig, _ = slider.draw(9, 4, pair)
        parts += float(title_of(fig).split("adds ")[1].split()[0])
        plt.close(fig)
    assert parts == pytest.approx(space["score_at"](9, 4), abs=0.02)


def test_normed_scores_stay_below_the_lid_and_the_others_grow(space):
    printed = run("for growth in (1, 3, 10)", space)
    rows = [[float(word) for word in line.split()] for line in printed.splitlines()[1:4]]
    lid = math.sqrt(space["head_size"])
    assert [row[0] for row in rows] == [1, 3, 10]
    assert rows[2][1] > 50 * rows[0][1] and rows[0][2] < 0.7 < rows[2][2]
    assert all(row[3] == rows[0][3] <= lid and row[4] == rows[0][4] for row in rows)


def test_the_attention_layer_does_not_see_where_the_text_stands(space):
    assert float(space["printed by attention = Attention(config)"].split("by ")[1]) < 1e-4


def test_a_gate_takes_two_thirds_of_the_width(space):
    counts = [
        int(line.split(",", 1)[1].split()[0].replace(",", ""))
        for line in space["printed by class FeedForward"].splitlines()
    ]
    assert counts[0] == counts[1] and abs(counts[2] / counts[0] - 1) < 0.01


# --- the model ---


def test_it_is_the_model_of_helpers_and_starts_at_the_logarithm_of_the_vocabulary(space):
    printed = space["printed by def fresh"]
    assert float(printed.split("logit: ")[1].split(",")[0]) < 1e-4
    assert all(
        block.sa.proj.weight.abs().max() > 0.1 for block in space["theirs"].blocks
    )  # no zeros compared
    loss = float(printed.split("fresh model ")[1].split(",")[0])
    assert loss == pytest.approx(math.log(space["vocab_size"]), abs=0.2)
    assert int(printed.splitlines()[-1].split()[0].replace(",", "")) < 800_000


def test_fresh_blocks_change_nothing_and_learn_from_the_second_step_on(space):
    printed = run("for zero_init in (False, True)", space)
    changes = [float(line.split()[-1]) for line in printed.splitlines()[:2]]
    assert changes[0] > 0.001 and changes[1] == 0
    first, second = space["lengths"]
    for name in ("sa.qkv.weight", "ffwd.up.weight"):
        assert first[name] == 0 < second[name]
    for name in ("sa.proj.weight", "ffwd.proj.weight"):
        assert first[name] > 0 and second[name] > 0


def test_one_table_for_both_ends_saves_a_table(space):
    run("tied, untied", space)
    assert space["untied"] - space["tied"] == space["vocab_size"] * 128


# --- Muon ---


def test_newton_schulz_brings_singular_values_between_a_half_and_one_and_a_half(space):
    run("gradient = model.blocks[1]", space)
    values = space["values"]
    assert values[19] < 0.3 * values[0]
    run("NEWTON_SCHULZ = (", space)
    run("def orthogonalize", space)
    assert space["after"].min() > 0.3 and space["after"].max() < 1.5 and space["inside"] >= 120  # of 128
    even = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(8))
    values = torch.linalg.svdvals(space["orthogonalize"](even))
    assert values.min() > 0.5 and values.max() < 1.5
    run("ax.semilogy", space)


def test_a_step_of_muon_by_hand_is_that_of_the_class_and_nearly_that_of_pytorchs(space):
    run("gradient = model.blocks[1]", space)
    run("NEWTON_SCHULZ = (", space)
    run("def orthogonalize", space)
    lines = run("def muon_step", space).splitlines()
    gaps = {name: [float(line.split()[-1]) for line in lines if name in line] for name in space["rivals"]}
    assert gaps["helpers.optimizers.Muon"] == [0.0, 0.0, 0.0]
    assert all(gap < 2e-3 for gap in gaps.get("torch.optim.Muon", []))


def test_muon_gets_the_matrices_of_the_blocks_and_nothing_else(space):
    lines = run("for optimizer in make_optimizers", space).splitlines()
    (muon,) = (line for line in lines if line.startswith("Muon"))
    assert muon.split()[1] == "16"  # four matrices in each of four blocks
    assert len(lines) == 3


def test_small_steps_are_lost_in_bfloat16(space):
    lines = {line.split()[0]: line for line in run("1,000 x 0.001", space).splitlines()}
    assert "1 + 0.001 = 1.000000" in lines["bfloat16"] and "1 + 0.001 = 1.001000" in lines["float32"]
    total = {name: float(line.split("0.001 = ")[2].split()[0]) for name, line in lines.items()}
    assert total["float32"] == pytest.approx(1, abs=1e-3) and total["bfloat16"] < 0.9


# --- the ladder ---


@pytest.fixture
def stored(space):
    """A ladder of three rungs, each run measured by ladder.run_rung with a tiny model, in the place of the course's own."""
    sizes = {"block_size": 16, "n_layer": 1, "n_head": 2, "n_embd": 16}
    climbed = []
    for rung in (0, 1, LAST):
        runs = [
            ladder.run_rung(
                rung, space["train_ids"], space["val_ids"][:200], space["vocab_size"], seed=seed, sizes=sizes,
                batch_size=2, steps=1,
            )
            for seed in (1, 2, 3)
        ]  # fmt: skip
        about = {
            "name": ladder.RUNGS[rung].name,
            "parameters": runs[0]["parameters"],
            "pace": [0.02, 0.01, 0.03],
        }
        climbed.append(about | {"tokens": runs, "time": runs})
    where = {
        "command": "python -m helpers.bench --only ladder",
        "date": "2001-02-03",
        "machine": "a tin of beans",
    }
    space["load_measured"] = lambda name: where | {"torch": "9.9", name: climbed}
    return climbed


def test_the_ladder_says_where_it_was_measured_and_draws_what_is_stored(space, stored):
    printed = run('stored = load_measured("ladder")', space)
    assert "2001-02-03 on a tin of beans, PyTorch 9.9" in printed
    assert all(rung["name"] in printed for rung in stored)
    run("axes[0].set_yticks(range(len(rungs))", space)
    printed = run("def verdict", space)
    assert printed.count("better") + printed.count("worse") + printed.count("within noise") == 4
    assert "changes did not help" in run("silent = [", space)


def test_the_stored_ladder_reaches_what_the_course_promises():
    """At most 1.42 nats per character on the book, each of three seeds, with at most 800,000 parameters."""
    rungs = {rung["name"]: rung for rung in measured.load_measured("ladder")["ladder"]}
    assert set(rungs) == {rung.name for rung in ladder.RUNGS}
    best = rungs[ladder.RUNGS[LAST].name]
    assert len(best["tokens"]) == 3 and best["parameters"] <= 800_000
    assert all(run["loss"] <= 1.42 and run["steps"] * 12 * 64 == 460_800 for run in best["tokens"])
    assert 600 * best["pace"][0] < 60


def test_a_change_is_better_only_where_all_its_seeds_are(space):
    space["rungs"] = []
    exec(cell("def verdict").split("\n\n\nverdicts")[0], space)
    verdict = space["verdict"]
    assert verdict([1.5, 1.6, 1.7], [1.2, 1.3, 1.4]) == "better"
    assert verdict([1.5, 1.6, 1.7], [1.2, 1.3, 1.55]) == "within noise"
    assert verdict([1.5, 1.6, 1.7], [1.65, 1.8, 1.9]) == "within noise"
    assert verdict([1.5, 1.6, 1.7], [1.75, 1.8, 1.9]) == "worse"


def test_the_live_runs_are_those_of_the_ladder(space):
    """The model built in cells, trained in cells, has the loss that ladder.run_rung finds for the same seed."""
    exec(cell("STEPS, BATCH = 600, 12").replace("STEPS, BATCH = 600, 12", "STEPS, BATCH = 3, 4"), space)
    exec(cell("gpt = fresh(ModernGPT)").replace("eval_interval=150", "eval_interval=2"), space)
    run("modern_loss = validation_loss", space)
    again = [
        ladder.run_rung(
            rung, space["train_ids"], space["val_ids"], space["vocab_size"], seed=1, sizes=SIZES, batch_size=4, steps=3
        )["loss"]
        for rung in (0, LAST)
    ]  # fmt: skip
    assert space["classic"]["loss"] == again[0]
    assert space["lesson"].values["modern GPT"] == pytest.approx(again[1], abs=1e-4)
    assert space["last"] == LAST and space["recipe"]["optimizer"] == "muon" and "dtype" not in space["recipe"]


# --- the race ---


def test_the_cell_counts_the_pairs_and_triples_of_the_text(space):
    printed = run("with_tables = make_embedding", space).splitlines()
    text = space["train_ids"].tolist()
    for length, line in zip((2, 3), printed, strict=True):
        kinds = {tuple(text[i : i + length]) for i in range(len(text) - length + 1)}
        assert f"{space['vocab_size'] ** length:7,} possible, {len(kinds):6,} in the text" in line
    made = space["make_embedding"](modern.ModernConfig(space["vocab_size"], n_embd=16, ngram_rows=(31, 53)))
    theirs = modern.make_embedding(modern.ModernConfig(space["vocab_size"], n_embd=16, ngram_rows=(31, 53)))
    theirs.load_state_dict(made.state_dict())
    ids = torch.randint(space["vocab_size"], (2, 9))
    assert torch.equal(made(ids), theirs(ids))


def test_the_stored_race_reaches_what_the_course_promises():
    """The peer's loss in a tenth of its time with at most 800,000 parameters, and further in the same time."""
    found = measured.load_measured("race")["time_to_loss"]
    runs = found["runs"]
    assert {name: len(made) for name, made in runs.items()} == {"peer": 3, "sprint": 3, "long": 3}
    assert found["reached"] and found["loss"] <= found["peer_loss"] and found["ratio"] >= 10
    assert all(run["parameters"] <= 800_000 for run in runs["sprint"] + runs["long"])
    assert found["loss_in_peer_time"] < found["peer_loss"] - 0.1
    assert all(run["steps"] == 2000 for run in runs["peer"])


def test_the_sprint_runs_live_and_the_race_is_drawn(space, monkeypatch):
    space["classic"] = {"parameters": 9, "steps": 3, "seconds": 1.0, "loss": 3.0}
    monkeypatch.setitem(race.SPRINT.training, "steps", 2)
    printed = run("sprint = race.run", space)
    assert space["lesson"].values["one block and tables"] == space["sprint"]["loss"]
    assert "classic" in printed and "one block and tables" in printed
    assert space["alone"]["parameters"] == space["sprint"]["parameters"] - 80 * (1021 + 2039)
    printed = run('stored_race = load_measured("race")', space)
    assert "helpers.bench --only time_to_loss" in printed and "(medians)" in printed
    ratio = measured.load_measured("race")["time_to_loss"]["ratio"]
    assert f"the sprint is {ratio:.0f} times as fast" in printed
    assert callable(space.get("losses", len))  # no function of an earlier cell was overwritten


# --- scaling ---

LAW = scaling.Law(E=0.4, A=60.0, a=0.42, B=700.0, b=0.55)


@pytest.fixture
def scaled(space):
    """Stored points that lie on a law, and the cells up to the live point."""
    points = [
        {"parameters": N, "tokens": D, "loss": LAW.loss(N, D)}
        for N in (40_000, 100_000, 250_000, 800_000)
        for D in (115_200, 460_800, 1_843_200)
    ]
    about = {
        "command": "python -m helpers.bench --only scaling",
        "date": "2001-02-03",
        "machine": "a tin of beans",
    }
    space["load_measured"] = lambda name: about | {name: {"points": points}}
    run('stored_scaling = load_measured("scaling")', space)
    run("law = scaling.fit", space)
    return space


def test_the_law_goes_through_its_points_and_the_figure_draws(scaled):
    assert max(scaled["errors"]) < 0.01
    assert scaled["floor"] <= scaled["law"].E
    run("torch.logspace(math.log10(budgets[0]", scaled)


def test_the_law_speaks_before_the_point_is_trained_and_the_best_size_follows_from_the_measured_speed(scaled):
    source = cell("NEW_SIZE, NEW_BUDGET =")
    assert source.index("law.loss(new_parameters") < source.index("scaling.measure(")
    exec(source.replace("(2, 2, 52), 614_400", "(1, 2, 16), 1_536"), scaled)
    assert scaled["new"]["tokens"] == 1_536 and scaled["new_parameters"] == scaled["new"]["parameters"]
    run("speed = 6 * new", scaled)
    rows = run("for minutes in (0.25, 1, 10, 60)", scaled).splitlines()[1:]
    sizes = [int(row.split()[2].replace(",", "")) for row in rows]
    assert sizes == sorted(set(sizes)) and len(rows) == 4


def test_the_solutions_are_what_the_notebook_and_helpers_compute(space):
    turning = answer_from(TURNING_MATRIX.solution, "turning_matrix", space)
    vector = torch.randn(32, generator=torch.Generator().manual_seed(5))
    turned = space["rotate"](vector.view(1, 1, 1, 32), *space["rotation"](torch.tensor([7]), 32))
    assert torch.allclose(turning(7, 32) @ vector, turned.flatten(), atol=1e-5)
    scores = answer_from(NORMED_SCORES.solution, "normed_scores", space)
    query, key = torch.randn(2, 2, 3, 5, 32, generator=torch.Generator().manual_seed(6))
    want = F.rms_norm(query, (32,)) @ F.rms_norm(key, (32,)).mT / math.sqrt(32)
    assert torch.allclose(scores(query, key), want, atol=1e-4)
    step = answer_from(NEWTON_SCHULZ_STEP.solution, "newton_schulz_step", space)
    x = query[0, 0] / query[0, 0].norm()  # (5, 32)
    for _ in range(5):
        x = step(x)
    assert torch.allclose(x, optimizers.orthogonalize(query[:1, 0])[0], atol=1e-4)
    choice = answer_from(BEST_CHOICE.solution, "best_choice", space)
    found, best = choice(LAW.A, LAW.a, LAW.B, LAW.b, 1e13), scaling.best_size(LAW, 1e13)
    assert found == pytest.approx(best, rel=0.01)


# --- break it on purpose, pointers, outro ---


def test_each_patient_breaks_one_property_that_the_sound_model_has(space):
    space["recipe"] = ladder.settings_of(LAST)[1]
    exec(cell("class PatientA").replace("steps=150", "steps=40"), space)
    sound, a, b, c = (space["patients"][name] for name in ("sound", "A", "B", "C"))
    assert sound[1] > 0.1 and sound[2] > 0.1 and sound[3] < 0.01
    assert a[2] < 1e-4 < a[1]
    assert b[1] == 0 == b[2]
    assert c[3] > 10 * sound[3] and c[3] > 0.05 and c[2] > 0.1
    assert sound[0] < b[0]


def test_eight_bits_round_by_half_a_step_at_most_and_the_model_stays(space):
    space["gpt"] = space["fresh"](modern.ModernGPT, zero_init=False)
    printed = run("def quantised", space)
    weight = torch.randn(6, 9, generator=torch.Generator().manual_seed(7))
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((space["quantised"](weight, 8) - weight).abs() <= 0.51 * step).all()
    assert all(len(set(row.tolist())) <= 3 for row in space["quantised"](weight, 2))
    rows = {int(line.split()[0]): line for line in printed.splitlines() if "bytes" in line}
    sizes = [int(rows[bits].split("nats")[1].split()[0].replace(",", "")) for bits in (32, 8, 6, 4, 3, 2)]
    assert sizes == sorted(sizes, reverse=True) and sizes[1] < 0.27 * sizes[0]
    assert abs(space["lesson"].values["loss that 8 bits cost"]) < 0.02


def test_the_commands_of_the_projects_exist_with_their_options():
    words = " ".join(PROSE)
    named = set(re.findall(r"python -m (helpers[.\w]*)", words))
    assert {
        "helpers.train",
        "helpers.chat",
        "helpers.finetuning",
        "helpers.bench",
        "helpers.openwebtext",
    } <= named
    for name in named:
        assert importlib.util.find_spec(name), name
    for module in ("train", "chat", "bench"):
        found = importlib.import_module(f"helpers.{'train_options' if module == 'train' else module}")
        parser = found.make_parser()
        assert isinstance(parser, argparse.ArgumentParser)
        options = {option for action in parser._actions for option in action.option_strings}
        for line in re.findall(rf"python -m helpers\.{module} ([^`]*)`", words):
            assert {word for word in line.split() if word.startswith("--")} <= options, line


def test_what_is_stored_has_a_file_or_the_reader_is_told():
    with pytest.raises(FileNotFoundError, match="no measured results called 'nothing'"):
        measured.load_measured("nothing")
