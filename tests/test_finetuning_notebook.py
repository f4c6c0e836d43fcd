"""What notebook 15 says about fine-tuning: its own cells are run here, with few steps."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from notebook_cells import Explored, NotebookCells
from test_notebook_definitions import bare, definitions

from helpers import finetuning, tales
from helpers.answers import answer, exact_match, forgetting
from helpers.finetuning_command import STUDY
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lesson.bank.nb15 import ANSWER_TARGETS, MERGED_WEIGHT, MIXED_LOSS, SHARE_EXACT
from helpers.lesson.exercises import answer_from
from helpers.lesson.measured import load_measured
from helpers.lora import LoRALinear
from helpers.questions import IGNORED, encode_examples, encode_rows, make_examples
from helpers.tokenizer import CharTokenizer

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = NotebookCells("15_finetuning")
cell, run = NOTEBOOK.cell, NOTEBOOK.run
STEPS_AND_BATCH = [int(n) for n in re.search(r"STEPS, BATCH = (\d+), (\d+)", cell("STEPS, BATCH =")).groups()]


class Recorded:
    """Stands where the lesson would be: keeps what is recorded."""

    def __init__(self, text):
        self.text, self.values = text, {}

    def record(self, name, value, unit, expect=None):
        self.values[name] = value


def curve(*_, **__):
    """Stands where the live curve would be."""
    return lambda result: None


@pytest.fixture(scope="module")
def base() -> dict:
    """The notebook's variables on the CPU with few questions, up to the shipped model."""
    names: dict = {"__name__": "__main__", "torch": torch}
    exec(cell("device = pick_device()").split("device = pick_device()")[0], names)
    names |= {"device": torch.device("cpu"), "lesson": Recorded(names["load_text"]("tales"))}
    names |= {"show": lambda fig, caption: plt.close(fig), "explore": Explored(), "LossCurve": curve}
    few = lambda model, tokenizer: forgetting(model, tokenizer, 800)  # noqa: E731
    names["forgetting"] = few
    exec(re.sub(r"STEPS, BATCH = \d+, \d+", "STEPS, BATCH = 2, 2", cell("STEPS, BATCH =")), names)
    names["asked"], names["held_out"] = make_examples(3, seed=6), make_examples(12, seed=2)
    names["learn"] = make_examples(96, seed=1, per_tale=3)
    names["three"] = make_examples(3, seed=5, per_tale=3)
    names["before"] = exact_match(names["shipped"].model, names["tokenizer"], names["held_out"])
    names["tales_before"] = few(names["shipped"].model, names["tokenizer"])
    return names


@pytest.fixture
def space(base) -> dict:
    return dict(base)


@pytest.fixture
def few_tales(monkeypatch):
    """finetune reads few tales when it measures."""
    monkeypatch.setattr(finetuning, "forgetting", lambda model, tokenizer: forgetting(model, tokenizer, 800))


def study_of(steps=(0, 2, 4)) -> dict:
    """A study as `--study` writes it, with invented numbers."""
    history = [{"step": s, "exact_match": s / 10, "tales": 0.3 + s / 100, "validation": 1.0} for s in steps]
    common = {"trained": 800, "parameters": 1000, "kinds": {"day": 0.5}, "history": history}
    return {
        "command": "python -m helpers.finetuning --steps 4",
        "machine": "a test",
        "date": "2026-01-02",
        "runs": [{"name": name} | common for name in STUDY],
    }


# --- the data and its mask ---


def test_no_tale_is_in_both_and_guessing_gets_next_to_nothing(space):
    steps, batch = STEPS_AND_BATCH
    space |= {"STEPS": steps, "BATCH": batch, "held_out": make_examples(100, seed=2)}
    printed = run("both = {", space)
    assert f"{3 * steps * batch:,} questions to learn from, 100 held out, tales in both: 0" in printed
    assert len({e.tale for e in space["learn"]}) == steps * batch and space["lucky"] < 0.15 < space["seen"]


def test_the_row_by_hand_is_the_helpers_and_the_loss_is_that_of_pytorch(space):
    printed = run("prompt = torch.from_numpy", space)
    assert "equal to the helper's row: True" in printed and "'\\nA: '" not in printed.splitlines()[0]
    assert printed.splitlines()[1].endswith("A: '")
    assert repr(space["example"].answer + "\n") in printed
    lines = run("of_target = log_p", space).splitlines()
    by_hand, pytorch, unmasked = (float(line.split()[-1]) for line in lines)
    assert by_hand == pytest.approx(pytorch, rel=1e-5) and unmasked < by_hand / 2
    loss = space["shipped"].model(space["x"][None], space["y"][None])[1].item()
    assert loss == pytest.approx(pytorch, rel=1e-4)


def test_filling_up_disturbs_no_row(space):
    printed = run("alone, together = ", space)
    assert float(printed.split()[-1]) < 1e-3 and space["together"].shape[1] > space["alone"].shape[1]


def test_the_drawn_row_counts_the_three_answers(space):
    run("row_ids, row_targets", space)
    counted = "".join(c for c, asked in zip(space["characters"], space["counts"], strict=True) if asked)
    assert counted == "".join(f"{e.answer}↵" for e in space["three"])


def test_the_exercises_do_what_the_helpers_do(space):
    targets_of = answer_from(ANSWER_TARGETS.solution, "answer_targets", space)
    example, tokenizer = space["asked"][1], space["tokenizer"]
    ((ids, targets),) = encode_rows([example], tokenizer, space["block_size"])
    assert torch.equal(targets_of(ids, len(example.prompt)), targets)
    share = answer_from(SHARE_EXACT.solution, "share_exact", space)
    x, y = encode_examples(space["asked"], tokenizer, space["block_size"])
    logits = space["shipped"].model(x)[0]
    assert share(logits, y) == exact_match(space["shipped"].model, tokenizer, space["asked"]).share
    assert share(torch.nn.functional.one_hot(y.clamp(min=0), 104).float(), y) == 1
    torch.manual_seed(1)
    layer = LoRALinear(torch.nn.Linear(7, 5), 3)
    torch.nn.init.normal_(layer.B)
    W = layer.base.weight.detach().clone()
    merged = answer_from(MERGED_WEIGHT.solution, "merged_weight", space)(W, layer.A, layer.B, layer.alpha)
    torch.testing.assert_close(merged, layer.merged().weight)
    mixed = answer_from(MIXED_LOSS.solution, "mixed_loss", space)
    assert mixed(torch.tensor([2.0, 4.0]), torch.tensor([1.0]), 0.1).item() == pytest.approx(2.8)


# --- the loop ---


def test_the_shipped_model_does_not_answer_and_the_notebook_asks_it_as_the_helper_does(space):
    printed = run("written: {answer(shipped.model", space)
    assert printed.count("right:") == 3
    for example in space["asked"]:
        assert repr(answer(space["shipped"].model, space["tokenizer"], example)) in printed
    assert space["before"].share < 0.1


def test_the_loop_by_hand_learns(space):
    assert [line.split()[3] for line in run("def tale_row", space).splitlines()] == ["questions:", "tales:"]
    printed = run("for step in range(6)", space)
    losses = [float(line.split("answers")[1].split()[0]) for line in printed.splitlines()]
    assert len(losses) == 6 and losses[-1] < losses[0] / 2
    assert not any(
        torch.equal(p, q) for p, q in zip(space["model"].parameters(), space["shipped"].model.parameters(), strict=True)
        if p.ndim == 2 and p.shape[0] != space["block_size"]
    )  # fmt: skip


def test_both_fine_tunings_begin_with_the_same_weights_and_the_table_shows_them(space, few_tales):
    space["MIX"] = 0.1
    shipped = {name: p.clone() for name, p in space["shipped"].model.state_dict().items()}
    run("forgetful = copy", space)
    run("tuned = copy", space)
    printed = run("after, no tales", space)
    assert space["without"].history[0]["tales"] == space["mixed"].history[0]["tales"] == space["tales_before"]
    assert [e["step"] for e in space["mixed"].history] == [0, 1, 2] and printed.count("after, ") == 2
    assert set(space["lesson"].values) >= {"exact match after", "forgotten without tales"}
    assert all(torch.equal(p, space["shipped"].model.state_dict()[name]) for name, p in shipped.items())
    assert run("for question in (", space).count("written:") == 6
    run("meter.axhline", space)


# --- LoRA ---


def test_the_class_in_the_notebook_is_that_of_helpers():
    (ours,) = definitions(cell("class LoRALinear"))
    source = (ROOT / "helpers" / "lora.py").read_text(encoding="utf-8")
    (theirs,) = (node for node in definitions(source) if node.name == "LoRALinear")
    assert bare(ours) == bare(theirs)


def test_the_layer_by_hand_begins_as_the_plain_one_and_follows_the_formula(space):
    assert run("matrix_rank", space).count("rank 4") == 2
    run("class LoRALinear", space)
    printed = run("with another B", space)
    assert printed.count("True") == 3 and printed.splitlines()[-1] == "trained: ['A', 'B']"


def test_the_rank_slider_draws_every_corner(space):
    space["tuned"] = small_change(space)
    table = [line.split() for line in run("U, S, V = torch.linalg.svd", space).splitlines()[1:]]
    run("def draw_rank", space)
    slider, told = space["explore"], {}
    for rank in slider.controls["rank"]:
        fig, told[rank] = slider.draw(rank=rank)
        assert len(fig.axes) == 3
        plt.close(fig)
    assert "trains 0 numbers" in told[0] and "holds 0%" in told[0]
    assert slider.start["rank"] in slider.controls["rank"]
    held = [float(told[rank].split("holds ")[1].split("%")[0]) for rank in slider.controls["rank"]]
    assert held == sorted(held) and held[-1] < 100
    added = finetuning.count_trained(space["add_lora"](space["copy"].deepcopy(space["shipped"].model), 8))
    assert f"{added:,}" in told[8]
    assert {int(row[0]) for row in table} == set(told) - {0}
    assert all(row[1] in told[int(row[0])] and f"holds {row[3]}" in told[int(row[0])] for row in table)


def small_change(space):
    """The shipped model with a little noise on its weights."""
    torch.manual_seed(2)
    model = space["copy"].deepcopy(space["shipped"].model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    return model


def test_lora_begins_as_the_model_and_merges_up_to_rounding(space, few_tales):
    space |= {"MIX": 0.1, "STEPS": 4, "held_out": space["held_out"][:6]}
    space["mixed"] = finetuning.FinetuningResult([{}, {"step": 2, "exact_match": 0.5}])
    printed = run("small_change = add_lora", space)
    assert "equals the shipped model's: True" in printed
    share = space["trained"] / space["total"]
    assert 0 < share <= 0.1, share  # the issue asks for at most a tenth
    printed = run("merged = merge_lora", space)
    assert space["difference"] < 1e-3 and "same names as before: True" in printed
    assert not torch.equal(
        space["merged"].blocks[0].sa.qkv.weight, space["shipped"].model.blocks[0].sa.qkv.weight
    )


# --- stored results ---


def test_stored_results_say_how_they_were_made_or_how_to_make_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are: none.*python -m helpers.finetuning --study"):
        load_measured("finetuning", tmp_path)
    path = tmp_path / "finetuning.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged"):
        load_measured("finetuning", tmp_path)
    path.write_text(json.dumps({"command": "c", "runs": []}), encoding="utf-8")
    with pytest.raises(ValueError, match="does not say its machine and date"):
        load_measured("finetuning", tmp_path)
    path.write_text(json.dumps(study_of()), encoding="utf-8")
    assert load_measured("finetuning", tmp_path) == study_of()


def test_the_study_is_drawn_with_its_command_and_date(space, monkeypatch):
    space["load_measured"] = lambda name: study_of()
    assert "python -m helpers.finetuning --steps 4" in run("study = load_measured", space)
    notes = []
    space["show"] = lambda fig, caption: (notes.append(fig.get_supxlabel()), plt.close(fig))
    run("def draw_runs", space)
    printed = run("behind = 100", space)
    assert notes == ["python -m helpers.finetuning --steps 4, 2026-01-02"] * 2
    assert all(name in printed for name in STUDY)


def test_the_stored_study_holds_what_the_issue_asks_for():
    runs = {each["name"]: each for each in load_measured("finetuning")["runs"]}
    assert set(runs) == set(STUDY)
    last = {name: each["history"][-1] for name, each in runs.items()}
    assert all(each["history"][0]["exact_match"] < 0.1 for each in runs.values())
    assert last["full"]["exact_match"] >= 0.95
    within = [
        name for name in runs
        if name.startswith("LoRA") and last["full"]["exact_match"] - last[name]["exact_match"] <= 0.1
        and runs[name]["trained"] <= 0.1 * runs[name]["parameters"]
    ]  # fmt: skip
    assert within
    three = [last[name] for name in ("full, prompt not masked", "full", "full, no tales mixed in")]
    assert three[0]["tales"] < three[1]["tales"] - 0.05 and three[1]["tales"] < three[2]["tales"] - 1
    shares = [each["exact_match"] for each in three]
    assert max(shares) - min(shares) < 0.05


# --- the learner's own text ---


def own_text(space, text, name="mine"):
    space["lesson"] = Recorded(type(space["lesson"].text)(text, name, "A text"))
    return run("missing = tokenizer.unknown", space)


def test_unknown_characters_of_a_text_are_named_and_left_out(space):
    told = tales.write_tales(6_000, seed=9)
    printed = own_text(space, told.replace("the", "þe ß"))
    assert "'þ'" in printed and "'ß'" in printed and "tales take the place" not in printed
    assert space["text"] == told.replace("the", "e ") and space["left_out"] == 2 * told.count("the")
    assert "0 of" in own_text(space, told) and space["text"] == told


def test_a_text_of_unknown_characters_gives_way_to_the_tales(space):
    printed = own_text(space, "Быстрая лиса. " * 900)
    assert "the built-in tales take the place of your text" in printed
    assert space["text"] == tales.write_tales() and "read already" in printed


def test_both_beginnings_read_the_same_number_of_characters(space):
    short = (
        cell("racers = {")
        .replace("steps=60, batch_size=12", "steps=2, batch_size=2")
        .replace("interval=15", "interval=1")
    )
    own_text(space, tales.write_tales(9_000, seed=9).replace("the", "ze"))
    exec(short, space)
    assert [result.tokens for result in space["race"].values()] == [2 * 2 * 64] * 2
    assert space["final"]["from the tales"] < space["final"]["from nothing"]
    assert "before" in run("two beginnings", space)


# --- break it on purpose ---


def test_two_patients_show_their_symptoms(space):
    run("def examine", space)
    exec(cell("def treat").split("\n\n\nward =")[0], space)
    (two, own_two), (three, own_three) = space["treat"](2, 3, 2), space["treat"](3, 8, 2)
    untrained = (*space["examine"](space["shipped"].model)[:4], 65_536)
    assert space["examine"](two) == pytest.approx(untrained)  # exactly as before, and many numbers "trained"
    first, later, _, on_tales, _ = space["examine"](three)
    assert on_tales > space["tales_before"] + 0.5 and first > 1 and later > 1
    space["ward"] = {
        "patient 2": (own_two, *space["examine"](two)),
        "patient 3": (own_three, *space["examine"](three)),
    }
    assert run("own loss  ", space).count("→") == 2


@pytest.mark.slow
def test_a_model_whose_first_characters_were_masked_writes_later_ones_only(space):
    space["learn"] = make_examples(3 * 16 * 12, seed=1, per_tale=3)
    run("def examine", space)
    exec(cell("def treat").split("\n\n\nward =")[0], space)
    (model, own) = space["treat"](1, 16, 12)
    first, later, _, _, _ = space["examine"](model)
    assert float(own.split()[-1]) < 0.6 and later < 0.8 and first > later + 1.5
    assert exact_match(model, space["tokenizer"], space["held_out"]).share < 0.2


def test_the_mask_of_the_patient_covers_the_first_character_of_each_answer(space):
    run("def examine", space)
    exec(cell("def treat").split("\n\n\nward =")[0], space)
    _, y = encode_examples(space["three"], space["tokenizer"], space["block_size"])  # (1, T)
    begun = space["tokenizer"].decode(y[space["begins"](y)])
    assert begun == "".join(e.answer[0] for e in space["three"]) and (y != IGNORED).sum() > 3


def test_a_model_with_another_context_has_no_room_for_a_tale(space):
    """Why it has to be the shipped model: that of notebook 10 reads 64 characters."""
    short = GPTLanguageModel(GPTConfig(vocab_size=104, block_size=64, n_layer=1, n_head=1, n_embd=8))
    with pytest.raises(ValueError, match="the context has 64"):
        exact_match(short, CharTokenizer(space["tokenizer"].characters), space["asked"])
    assert min(space["lengths"]) > 64
