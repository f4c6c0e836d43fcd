"""What notebook 10 says about the GPT: its own cells are run here on a short text, without the long training."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from notebook_cells import Explored, NotebookCells
from torch import nn

from helpers import tales
from helpers.batches import split
from helpers.books import load_text
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lesson.bank.nb10 import CLIP_GRADIENTS, COUNT_PARAMETERS
from helpers.lesson.exercises import answer_from
from helpers.tokenizer import CharTokenizer
from helpers.train import tales_loss

NOTEBOOK = NotebookCells("10_gpt")
cell, run = NOTEBOOK.cell, NOTEBOOK.run


@pytest.fixture(scope="module")
def base() -> dict:
    """The notebook's variables on a short text, on the CPU, once its class and its small config are there."""
    names: dict = {"__name__": "__main__", "torch": torch}
    exec(cell("device = pick_device()").split("device = pick_device()")[0], names)
    text = load_text("tales").text[:60_000]
    tokenizer = CharTokenizer.from_text(text)
    train_ids, val_ids = split(torch.from_numpy(tokenizer.encode(text)))
    names |= {"text": text, "tokenizer": tokenizer, "vocab_size": tokenizer.vocab_size}
    names |= {"train_ids": train_ids, "val_ids": val_ids, "device": torch.device("cpu"), "checklist": {}}
    names |= {"show": lambda fig, caption: plt.close(fig), "explore": Explored()}
    exec(cell("def count(module)").split("\n\n\nfor name")[0], names)
    exec(cell("class GPTLanguageModel(nn.Module)"), names)
    names["tiny"] = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=32, n_layer=2, n_head=2, n_embd=64)
    return names


@pytest.fixture
def space(base) -> dict:
    return base | {"checklist": {}}


@pytest.fixture(scope="module")
def zoo(base) -> dict:
    """The variables after the cell that builds the zoo."""
    names = dict(base)
    run("class Caged(MultiHeadAttention)", names)
    return names


# --- positions ---


@pytest.fixture(scope="module")
def without_positions() -> dict:
    """Largest difference at the last position when the characters before it change places."""
    torch.manual_seed(5)
    config = GPTConfig(vocab_size=9, block_size=8, n_layer=3, n_head=2, n_embd=16)
    model = GPTLanguageModel(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)  # far from the quiet start
    ids, moved = torch.tensor([[1, 7, 3, 5, 2]]), torch.tensor([[5, 3, 1, 7, 2]])
    differences = {}
    with torch.no_grad():
        for n in (1, 2, 3):
            one, other = (model.blocks[:n](model.token_embedding_table(each)) for each in (ids, moved))
            differences[n] = (one[0, -1] - other[0, -1]).abs().max().item()
    return differences


def test_one_layer_without_positions_is_blind_to_order(without_positions):
    assert without_positions[1] < 1e-5


def test_stacked_causal_layers_without_positions_are_not(without_positions):
    assert without_positions[2] > 1e-2 and without_positions[3] > 1e-2


# --- counting and predicting ---

CONFIGS = [
    GPTConfig(vocab_size=74),
    GPTConfig(vocab_size=11, block_size=3, n_layer=1, n_head=1, n_embd=2),
    GPTConfig(vocab_size=104, block_size=416, n_layer=6, n_head=6, n_embd=48),
    GPTConfig(vocab_size=5, block_size=40, n_layer=9, n_head=2, n_embd=6, looped_heads=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_formula_counts_what_pytorch_counts(config):
    formula = answer_from(COUNT_PARAMETERS.solution, COUNT_PARAMETERS.name)
    exact = sum(parameter.numel() for parameter in GPTLanguageModel(config).parameters())
    assert formula(config) == exact > 12 * config.n_layer * config.n_embd**2


def test_the_lectures_own_settings_stand_in_the_table(space):
    run("PRESETS = {", space)
    lecture = space["PRESETS"]["lecture"]
    expected = {"batch_size": 64, "block_size": 128, "n_embd": 384, "n_head": 8, "n_layer": 8}
    assert {name: lecture[name] for name in expected} == expected
    assert {"cpu", "mps", "cuda"} <= set(space["PRESETS"])
    assert all(list(preset) == list(lecture) for preset in space["PRESETS"].values())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("sizes", [(2, 2, 32, 16), (3, 4, 64, 32)], ids=str)
def test_the_estimate_of_the_activations_is_close_to_what_pytorch_keeps(space, dropout, sizes):
    shape = dict(zip(("n_layer", "n_head", "n_embd", "block_size"), sizes, strict=True))
    space |= {"shape": shape, "settings": {"dropout": dropout, "batch_size": 6, "block_size": sizes[-1]}}
    run("def activation_bytes", space)
    kept = sum(space["kept"].values())
    assert space["estimate"] == pytest.approx(kept, rel=0.25)


def test_the_rule_of_six_counts_the_multiplications_of_the_linear_layers():
    config = GPTConfig(vocab_size=30, block_size=16, n_layer=2, n_head=2, n_embd=32)
    model, operations = GPTLanguageModel(config), 0

    def add(module, given, result):
        nonlocal operations
        operations += 2 * given[0][..., 0].numel() * module.weight.numel()  # a multiplication and an addition

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(add)
    model(torch.zeros(3, 16, dtype=torch.long))
    weights = sum(p.numel() for p in model.parameters())
    assert 3 * operations == pytest.approx(6 * weights * 3 * 16, rel=0.1)


# --- the checklist ---


def test_the_test_for_leaks_passes_the_model_and_finds_the_sick_ones(space, zoo):
    run("def leak(model)", space)
    assert space["checklist"]["does not look ahead"][0]
    found = {name: space["leak"](model.eval())[0] for name, (model, _) in zoo["zoo"].items()}
    assert found["A"] > 0.01 and found["B"] > 0.01
    assert all(found[name] < 1e-5 for name in ("healthy", "C", "D", "E"))


def test_with_shuffled_targets_training_stops_at_the_frequencies(space):
    printed = run("def loss_after(shuffle", space)
    shares = torch.bincount(space["train_ids"]).double() / len(space["train_ids"])
    entropy = -(shares[shares > 0] * shares[shares > 0].log()).sum().item()
    assert space["frequencies_alone"] == pytest.approx(entropy, abs=1e-4)
    assert space["shuffled"] == pytest.approx(entropy, abs=0.1)
    assert space["true"] < entropy - 0.3
    assert space["checklist"]["shuffled targets: frequencies only"][0] and "frequencies alone" in printed


def test_one_batch_is_learnt_by_heart_and_every_part_gets_a_gradient(space):
    space["config"] = space["tiny"]
    run("def lowest_possible", space)
    run("def gradient_sizes", space)
    run("gradients[step] = gradient_sizes(model)", space)
    space["checklist"].pop("learns one batch by heart")  # judged for the larger model of the notebook
    assert set(space["gradients"]) == {0, 20}
    assert {"block 1", "block 2", "last layer"} < set(space["gradients"][0])
    run("ratio = max(in_blocks)", space)
    assert space["checklist"]["every part gets a gradient"][0]
    assert space["loss"].item() < 2 < math.log(space["vocab_size"])


def test_a_part_that_is_left_out_gets_no_gradient(space):
    space["config"] = space["tiny"]
    run("def gradient_sizes", space)
    model = GPTLanguageModel(space["tiny"])
    model.blocks[0].register_forward_hook(lambda module, given, result: result.detach())
    ids = space["train_ids"][:20].view(2, 10)
    model(ids, ids)[1].backward()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    sizes = space["gradient_sizes"](model)
    assert sizes["block 1"] == sizes["token embedding"] == 0 < sizes["block 2"]


def test_clipping_by_hand_is_pytorchs():
    clip = answer_from(CLIP_GRADIENTS.solution, CLIP_GRADIENTS.name, {"torch": torch})
    for limit in (0.1, 1.0, 1e3):
        weights = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 2), (5,), (2, 2))]
        for number, weight in enumerate(weights):
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
        ours = clip([weight.grad.clone() for weight in weights], limit)
        nn.utils.clip_grad_norm_(weights, limit)
        for one, weight in zip(ours, weights, strict=True):
            torch.testing.assert_close(one, weight.grad)


# --- the ladder ---


def ladder(space: dict, recorded: list) -> str:
    class Loaded:
        name = "tales"

    fake = type("Progress", (), {"read": staticmethod(lambda: {})})
    space |= {
        "loaded": Loaded,
        "never_seen": 1.5,
        "progress": fake,
        "loss_ladder": lambda kept, name: recorded,
    }
    return run('ladder["unigram, counted"] =', space)


def test_the_ladder_has_the_rungs_that_earlier_notebooks_recorded(space):
    recorded = [
        ("uniform", 4.3),
        ("neural bigram", 2.41),
        ("one head", 2.2),
        ("multi-head", 2.0),
        ("one block", 1.95),
        ("GPT", 1.9),
    ]
    assert "not recorded" not in ladder(space, recorded)
    rungs = list(space["ladder"])
    assert (
        rungs[3:8] == ["neural bigram", "one head", "multi-head", "one block", "your GPT"]
        and rungs[-1] == "exact floor"
    )
    assert space["ladder"]["one head"] == 2.2 and space["ladder"]["your GPT"] == 1.5


def test_a_rung_that_was_not_recorded_is_left_out_and_its_notebook_named(space):
    printed = ladder(space, [("neural bigram", 2.41)])
    assert "one head: not recorded on this text yet; notebook 08" in printed
    assert "multi-head: not recorded on this text yet; notebook 09" in printed
    assert "neural bigram" in space["ladder"] and "one head" not in space["ladder"]
    assert (
        space["ladder"]["bigram, counted"]
        < space["ladder"]["unigram, counted"]
        < math.log(space["vocab_size"])
    )


# --- tale by tale ---


class Frequencies(nn.Module):
    """Predicts the same at every position: its loss is a sum over characters, whatever the windows are."""

    def __init__(self, logits: torch.Tensor, block_size: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.config = GPTConfig(vocab_size=len(logits), block_size=block_size)

    def forward(self, ids, targets=None):
        logits = self.logits.expand(*ids.shape, -1)  # (B, T, V)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


@pytest.mark.parametrize("block_size", [7, 32, 64, 1000])
def test_every_character_of_a_tale_is_scored_once_whatever_the_context(space, block_size):
    run("def loss_tale_by_tale", space)
    told = tales.write_tales(2_000, seed=3).removesuffix(tales.SEPARATOR).split(tales.SEPARATOR)
    tokenizer = CharTokenizer.from_text(tales.ALPHABET)
    logits = torch.randn(tokenizer.vocab_size, generator=torch.Generator().manual_seed(4))
    ids = torch.from_numpy(tokenizer.encode("".join(tale + tales.SEPARATOR for tale in told)))
    want = -logits.log_softmax(dim=-1)[ids].mean().item()
    got = space["loss_tale_by_tale"](Frequencies(logits, block_size), tokenizer, told)
    assert got == pytest.approx(want, abs=1e-4)


def test_with_a_context_for_whole_tales_it_is_the_loss_of_the_shipped_recipe(space):
    run("def loss_tale_by_tale", space)
    text = tales.write_tales(3_000, seed=3)
    told = text.removesuffix(tales.SEPARATOR).split(tales.SEPARATOR)
    tokenizer = CharTokenizer.from_text(tales.ALPHABET)
    torch.manual_seed(1)
    size = tales.LONGEST_TALE + 8
    model = GPTLanguageModel(GPTConfig(tokenizer.vocab_size, block_size=size, n_layer=1, n_head=2, n_embd=16))
    assert space["loss_tale_by_tale"](model, tokenizer, told) == pytest.approx(
        tales_loss(model, tokenizer, text), abs=1e-5
    )


def test_the_shipped_model_is_within_a_tenth_of_a_nat_of_the_exact_loss(space):
    run("def loss_tale_by_tale", space)
    space["loaded"] = type("Loaded", (), {"name": "oz"})
    printed = run("exact = -sum(tales.log_probability", space)
    assert -0.05 < space["theirs"] - space["exact"] < 0.1
    assert "COURSE_TEXT=tales" in printed


# --- looking inside ---


def test_the_slider_has_every_block_and_head_and_begins_with_the_one_that_looks_back(space):
    config = GPTConfig(space["vocab_size"], block_size=64, n_layer=3, n_head=2, n_embd=32)
    torch.manual_seed(2)
    space |= {"config": config, "model": GPTLanguageModel(config).eval()}
    run("def attention_weights", space)
    assert space["worst"] < 1e-5 and space["maps"].shape[:2] == (3, 2)
    assert space["maps"].triu(1).abs().max() == 0
    torch.testing.assert_close(space["maps"].sum(dim=-1), torch.ones(space["maps"].shape[:3]))
    run("back = maps.diagonal", space)
    run("def draw_map", space)
    slider = space["explore"]
    assert list(slider.controls["block"]) == [1, 2, 3] and list(slider.controls["head"]) == [1, 2]
    most = space["back"][slider.start["block"] - 1, slider.start["head"] - 1]
    assert most == space["back"].max()
    for block in (1, 2, 3):
        fig, words = slider.draw(block, 2)
        assert f"Block {block}, head 2" in fig.axes[0].get_title(loc="left") + fig.axes[0].get_title()
        assert "to the character just before" in words
        plt.close(fig)


def test_the_two_directions_are_the_widest_ones(space):
    config = GPTConfig(space["vocab_size"], block_size=16, n_layer=1, n_head=2, n_embd=24)
    torch.manual_seed(2)
    space["model"] = GPTLanguageModel(config)
    run("torch.linalg.svd", space)
    rows = space["centred"].double()
    largest = torch.linalg.eigvalsh(rows.T @ rows)[-2:].sum().item()
    assert space["flat"].double().square().sum().item() == pytest.approx(largest, rel=1e-4)
    assert 0 < space["kept_share"] < 1


# --- the zoo ---


def test_the_zoo_shows_its_symptoms(zoo):
    animals, loss_at, write = zoo["zoo"], zoo["loss_at"], zoo["write"]
    healthy = loss_at(animals["healthy"][0], None)
    for name in ("A", "B"):  # the future leaks in: good everywhere but at the last position
        assert loss_at(animals[name][0], None) < healthy - 0.5
        assert loss_at(animals[name][0], -1) > loss_at(animals[name][0], None) + 1
    assert animals["C"][1][-1] < 0.1
    written = write(animals["C"][0].eval(), 60)
    assert (written[1:] == written[:-1]).float().mean() > 0.95
    forgetful = animals["D"][0]
    assert not torch.equal(write(forgetful.train(), 60), write(forgetful.train(), 60))
    assert torch.equal(write(forgetful.eval(), 60), write(forgetful.eval(), 60))


def test_validation_text_from_the_training_part_hides_what_is_known_by_heart(zoo):
    printed = run("part = validation_ids_of_E", zoo)
    new = zoo["loss_at"](zoo["zoo"]["E"][0], None)
    assert zoo["its_own"] < new - 1 and "its validation loss at the end" in printed
    assert abs(zoo["its_own"] - sum(zoo["losses"][-20:]) / 20) < 0.6


# --- your own text ---


@pytest.mark.parametrize(
    ("length", "passes", "words"),
    [
        (3_000, 40.0, "Short"),
        (3_000, 40.0, "Seen often"),
        (1_100_000, 1.0, "Long"),
        (300_000, 5.0, "A good size"),
    ],
)
def test_the_advice_fits_the_text(space, length, passes, words):
    space |= {"text": ("abcdefgh " * (length // 9 + 1))[:length], "passes": passes}
    assert words in run("often = Counter(text)", space)
