"""What notebook 05 says about the bigram: its own cells are run here on a short text, and its claims are measured."""

import contextlib
import io
import math
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
import torch.nn.functional as F

from helpers.batches import split
from helpers.bigram import BigramLanguageModel
from helpers.books import load_text
from helpers.sampling import generate
from helpers.tokenizer import CharTokenizer

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "05_bigram.ipynb"
CELLS = [c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]


def cell(words: str) -> str:
    """The only code cell with these words in it."""
    (found,) = (source for source in CELLS if words in source)
    return found


class Explored:
    """Stands where the slider would be: keeps what the notebook gives to it."""

    def __call__(self, draw, caption, *, start=None, **controls):
        self.draw, self.start, self.controls = draw, start, controls


@pytest.fixture
def space() -> dict:
    """The notebook's variables once the cells that define them have run on a short text, on the CPU."""
    names: dict = {"__name__": "__main__", "torch": torch}
    imports = cell("device = pick_device()").split("device = pick_device()")[0]
    exec(imports, names)
    text = load_text("tales").text[:30_000]
    tokenizer = CharTokenizer.from_text(text)
    train_ids, val_ids = split(torch.from_numpy(tokenizer.encode(text)))
    names |= {"tokenizer": tokenizer, "vocab_size": tokenizer.vocab_size, "C": tokenizer.vocab_size}
    names |= {"train_ids": train_ids, "val_ids": val_ids, "device": torch.device("cpu"), "ladder": {}}
    names |= {"show": lambda fig, caption: plt.close(fig), "explore": Explored()}
    with contextlib.redirect_stdout(io.StringIO()):
        for words in (
            "counts = torch.bincount", "def visible", "counted = counts", "def table_loss", "def smooth(", "smoothed = smooth(",
            "first_id =", "counted_logits =", "def draw_next", "class BigramLanguageModel",
        ):  # fmt: skip
            exec(cell(words), names)
    return names


def loss_of(table: torch.Tensor, ids: torch.Tensor) -> float:
    return -table[ids[:-1], ids[1:]].log().mean().item()


# --- the counted table ---


def test_without_smoothing_the_loss_on_the_books_validation_text_is_infinite(oz, space):
    tokenizer = CharTokenizer.from_text(oz)
    train_ids, val_ids = split(torch.from_numpy(tokenizer.encode(oz)))
    space["vocab_size"], space["train_ids"] = tokenizer.vocab_size, train_ids
    with contextlib.redirect_stdout(io.StringIO()):
        exec(cell("counts = torch.bincount"), space)
        exec(cell("counted = counts").split("row = ")[0], space)
    assert (
        math.isfinite(loss_of(space["counted"], train_ids)) and loss_of(space["counted"], val_ids) == math.inf
    )
    assert space["table_loss"](space["smooth"](0.1), val_ids) == pytest.approx(2.362, abs=6e-4)


def test_every_addition_raises_the_loss_on_the_training_text(space):
    losses = [loss_of(space["smooth"](added), space["train_ids"]) for added in (1e-6, 0.01, 0.1, 1, 10, 1000)]
    assert losses == sorted(losses) and losses[0] == pytest.approx(
        loss_of(space["counted"], space["train_ids"]), abs=1e-4
    )
    assert losses[-1] > losses[0] + 0.5


# --- the slider ---


def test_the_slider_has_every_character_and_draws_it_at_every_temperature(space):
    slider, tokenizer = space["explore"], space["tokenizer"]
    characters, temperatures = slider.controls["character"], slider.controls["temperature"]
    assert len(characters) == tokenizer.vocab_size and 1.0 in temperatures
    assert slider.start["character"] in characters and slider.start["temperature"] in temperatures
    for character in characters[:: len(characters) // 3]:
        row = space["smoothed"][space["labels"][character]]
        unsure = []
        for temperature in temperatures:
            fig, words = slider.draw(character, temperature)
            heights = [bar.get_height() for bar in fig.axes[0].containers[0]]
            outlines = [bar.get_height() for bar in fig.axes[0].containers[1]]
            plt.close(fig)
            unsure.append(float(words.split("among ")[1].split()[0]))
            assert outlines == pytest.approx(sorted(row.tolist(), reverse=True)[: len(outlines)], abs=1e-5)
            if temperature == 1.0:
                assert heights == pytest.approx(outlines, abs=1e-5)
        assert unsure == sorted(unsure) and unsure[-1] > unsure[0] + 1, "hotter is less sure"


# --- logits and loss ---


def test_flat_transposed_and_by_hand_give_one_loss_and_the_wrong_view_another():
    B, T, C = 5, 7, 4
    dice = torch.Generator().manual_seed(2)
    y = torch.randint(C, (B, T), generator=dice)
    logits = torch.randn(B, T, C, generator=dice) + 3 * F.one_hot(y, C)  # a model that has learnt something
    p = logits.exp() / logits.exp().sum(dim=-1, keepdim=True)
    by_hand = -p.view(B * T, C)[torch.arange(B * T), y.view(-1)].log().mean()
    torch.testing.assert_close(F.cross_entropy(logits.view(B * T, C), y.view(B * T)), by_hand)
    torch.testing.assert_close(F.cross_entropy(logits.transpose(1, 2), y), by_hand)
    assert F.cross_entropy(logits.view(B, C, T), y) > by_hand + 0.5


def test_fresh_tables_cost_ln_c_and_half_the_variance_of_their_logits():
    C, dice = 80, torch.Generator().manual_seed(3)
    shares = torch.rand(C, C, generator=dice)
    shares /= shares.sum()
    for std in (0.0, 0.5, 1.0):
        tables = [F.log_softmax(std * torch.randn(C, C, generator=dice), dim=-1) for _ in range(40)]
        mean = sum(-(shares * table).sum().item() for table in tables) / len(tables)
        assert mean == pytest.approx(math.log(C) + std**2 / 2, abs=0.03)


# --- the module ---


def test_forward_skips_the_hook_that_a_call_runs():
    model, seen = BigramLanguageModel(5), []
    ids = torch.tensor([[0, 4, 2]])
    handle = model.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    called = model(ids)[0]
    assert len(seen) == 1
    assert torch.equal(model.forward(ids)[0], called) and len(seen) == 1
    handle.remove()
    model(ids)
    assert len(seen) == 1


def test_the_class_finds_its_parameters_and_sets_the_mode_of_its_parts():
    model = BigramLanguageModel(5)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "token_embedding_table.weight": (5, 5)
    }
    model.eval()
    assert [part.training for part in model.modules()] == [False, False]


def test_the_notebooks_sampling_is_the_helpers(space):
    with contextlib.redirect_stdout(io.StringIO()):
        space["model"] = space["BigramLanguageModel"](space["vocab_size"])
        exec(cell("def sample_tokens"), space)
    prompt = torch.tensor([[3, 1, 4]])
    ours = space["sample_tokens"](space["model"], prompt, 30, torch.Generator().manual_seed(9))
    assert torch.equal(ours, generate(space["model"], prompt, 30, seed=9)) and ours.shape == (1, 33)
    assert torch.equal(ours[:, :3], prompt)


# --- training ---


def test_the_counted_table_has_no_gradient_and_no_training_passes_it(space):
    ids, counted = space["train_ids"], space["counted"]
    lowest = loss_of(counted, ids)
    model = BigramLanguageModel(space["vocab_size"])
    weight = model.token_embedding_table.weight
    with torch.no_grad():
        weight.copy_(counted.clamp(min=1e-13).log())
    model(ids[None, :-1], ids[None, 1:])[1].backward()  # (1, N-1) each: all pairs at once
    assert weight.grad.norm() < 1e-4

    torch.manual_seed(4)
    shares = space["counts"] / space["counts"].sum()  # (C, C)
    weight = BigramLanguageModel(space["vocab_size"]).token_embedding_table.weight
    optimizer, losses = torch.optim.Adam([weight], lr=0.1), []
    for _ in range(300):
        loss = -(shares * F.log_softmax(weight, dim=-1)).sum()  # the mean over all pairs
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) > lowest - 1e-5
    assert losses[-1] < lowest + 0.02 and losses[0] > lowest + 1.5


def test_without_zero_grad_training_first_keeps_up_and_then_gets_worse(space):
    with contextlib.redirect_stdout(io.StringIO()):
        source = cell("def losses_of_a_run").replace("8, 128,", "8, 32,").replace("(500", "(400")
        exec("learning_rate = 0.03\n" + source, space)
    (right, right_size), (wrong, wrong_size) = space["runs"].values()
    assert wrong[40:80].mean() < right[40:80].mean() + 0.05
    assert wrong[-100:].mean() > right[-100:].mean() + 0.25
    assert wrong_size > 10 * right_size


def test_running_the_training_cell_again_goes_on_and_says_so(space, capsys):
    words = ("def learnt_table", "def estimate_loss", "max_steps =", "def report_losses")
    space["model"] = space["BigramLanguageModel"](space["vocab_size"])
    for each in words:
        source = cell(each)
        if each == "def learnt_table":
            source = source.split("print(")[0]
        exec(
            source.replace("max_steps = 1000", "max_steps = 30").replace(
                "eval_interval = 100", "eval_interval = 10"
            ),
            space,
        )
    space["ladder"] = {"uniform": math.log(space["vocab_size"]), "counted bigram": 2.3}
    capsys.readouterr()
    exec(cell("steps_done += 1"), space)
    assert "continues" not in capsys.readouterr().out
    first = space["curve"]
    exec(cell("steps_done += 1"), space)
    assert "30 steps already: training continues" in capsys.readouterr().out
    assert (
        space["steps_done"] == 60 and space["curve"] is not first
    )  # a cell that runs again needs a new picture
    steps = [row["step"] for row in space["history"]]
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 60
    assert all(distance > 0 for _, distance in space["above"])
