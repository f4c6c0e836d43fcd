"""What notebook 08 says about attention: its own cells are run here, and its claims are measured (cases 37 to 39)."""

import contextlib
import io
import math
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import gpt
from helpers.batches import split
from helpers.books import load_text
from helpers.gpt import GPTConfig
from helpers.tokenizer import CharTokenizer

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "08_self_attention.ipynb"
CELLS = [c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
SMALL = GPTConfig(vocab_size=11, n_embd=48, n_head=3, block_size=10)  # head_size 16


def cell(words: str) -> str:
    """The only code cell with these words in it."""
    (found,) = (source for source in CELLS if words in source)
    return found


class Explored:
    """Stands where a slider would be: keeps what the notebook gives to it, by the name of its drawing."""

    def __init__(self):
        self.seen = {}

    def __call__(self, draw, caption, *, start=None, **controls):
        self.seen[draw.__name__] = (draw, start, controls)


def run(names: dict, *cells: str) -> str:
    """Run the cells with these words in them, and return what they print."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for words in cells:
            exec(cell(words), names)
    return said.getvalue()


class Records:
    def record(self, name, value, unit, expect=None):
        assert math.isfinite(value)


@pytest.fixture(scope="module")
def space() -> dict:
    """The notebook's variables up to its complete head, on a short text and the CPU."""
    names: dict = {"__name__": "__main__", "torch": torch}
    exec(cell("device = pick_device()").split("device = pick_device()")[0], names)
    text = load_text("tales").text[:60_000]
    tokenizer = CharTokenizer.from_text(text)
    train_ids, val_ids = split(torch.from_numpy(tokenizer.encode(text)))
    names |= {"tokenizer": tokenizer, "vocab_size": tokenizer.vocab_size, "device": torch.device("cpu")}
    names |= {"train_ids": train_ids, "val_ids": val_ids, "lesson": Records(), "loaded": load_text("tales")}
    names |= {"show": lambda fig, caption: plt.close(fig), "explore": Explored()}
    names["said"] = run(
        names, "looped = ", "triangle = torch.tril", "scores = torch.zeros(T, T)", "by_loop =", "def draw_numbers",
        "softmax, then mask", "def channels_of", "W_query = ", "query = x @ W_query", "scores = (query @ key.T)",
        "def look_from", "def draw_look", "def attend", "to_query, to_key", "spreads = {}", "def draw_scaling",
        "def measure_softmax", "class Head", "class OneHeadModel",
    )  # fmt: skip
    return names


def moved_by(function, x: torch.Tensor, at: int) -> list[bool]:
    """Which positions of function(x), (B, T, ...), change when position `at` of x does."""
    changed = x.clone()
    changed[:, at] += 1.0
    return ((function(changed) - function(x)).abs() > 1e-6).flatten(2).any(dim=-1).any(dim=0).tolist()


# --- averages of the past ---


def test_loop_triangle_and_softmax_give_the_same_averages(space):
    x = torch.tensor([[2.0, 0.0], [4.0, 1.0], [0.0, 5.0], [6.0, 2.0]])
    want = x.cumsum(dim=0) / torch.arange(1, 5)[:, None]
    for name in ("looped", "multiplied"):
        torch.testing.assert_close(space[name], want)
    assert "all three equal: True True" in space["said"] and "equal to the loop: True" in space["said"]
    torch.testing.assert_close(
        space["averaging"] @ space["batch"], space["by_loop"], rtol=1e-5, atol=1e-6
    )  # (B, T, C)


def test_a_mask_after_softmax_lets_the_future_into_the_division():
    dice = torch.Generator().manual_seed(1)
    scores, mask = torch.randn(6, 6, generator=dice), torch.ones(6, 6, dtype=torch.bool).tril()
    later = scores.clone()
    later[1, 4] += 3
    first, after = (
        lambda s: F.softmax(s.masked_fill(~mask, -math.inf), dim=-1),
        lambda s: F.softmax(s, dim=-1) * mask,
    )
    torch.testing.assert_close(first(scores).sum(dim=-1), torch.ones(6))
    assert (after(scores).sum(dim=-1)[:-1] < 0.99).all()
    assert torch.equal(first(scores)[1], first(later)[1])
    assert (after(scores)[1, :2] - after(later)[1, :2] > 0.01).all()


# --- the vowel head ---


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzAEIOU -", min_size=1, max_size=18), st.data())
def test_the_vowel_head_looks_at_the_last_vowel_of_any_word(space, word, data):
    place = data.draw(st.integers(0, len(word) - 1))
    scores, weights, output = space["look_from"](word, place)
    assert torch.isinf(scores[place + 1 :]).all() and weights[place + 1 :].sum() == 0
    vowels = [t for t in range(place + 1) if word[t].lower() in "aeiou"]
    if vowels:
        assert weights.argmax() == vowels[-1] and weights[vowels[-1]] > 0.99
        assert "aeiou"[output.argmax()] == word[vowels[-1]].lower()
    else:
        assert weights.argmax() == place and output.abs().sum() == 0


def test_the_vowel_head_loses_a_vowel_that_is_twenty_places_back(space):
    kept = [space["look_from"]("a" + "n" * others, others)[1][0].item() for others in (19, 20, 21)]
    assert kept[0] > 0.99 and kept[1] == pytest.approx(0.5, abs=0.01) and kept[2] < 0.01


def test_one_position_by_itself_gives_what_the_whole_table_gives(space):
    word = "marmalade"
    x = space["channels_of"](word)
    whole, weights = space["attend"](*(x @ space[name] for name in ("W_query", "W_key", "W_value")))
    for place in range(len(word)):
        _, row, output = space["look_from"](word, place)
        torch.testing.assert_close(row, weights[place])
        torch.testing.assert_close(output, whole[place])


# --- dot-product attention ---


def test_attend_is_pytorchs_attention_without_its_scale(space):
    dice = torch.Generator().manual_seed(4)
    query, key, value = (torch.randn(3, 5, size, generator=dice) for size in (7, 7, 4))
    for causal in (True, False):
        ours = space["attend"](query, key, value, causal)[0]
        theirs = F.scaled_dot_product_attention(query, key, value, is_causal=causal, scale=1.0)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        scaled = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        assert (ours - scaled).abs().max() > 0.1


@pytest.mark.parametrize("T", [1, 7, 10])
def test_the_head_is_pytorchs_attention_where_the_head_is_smaller_than_the_embedding(space, T):
    """Case 37: in values and gradients; the root of n_embd would show."""
    head = space["Head"](SMALL)
    x = torch.randn(2, T, 48, requires_grad=True)
    parts = head.query(x), head.key(x), head.value(x)
    results = [head(x), F.scaled_dot_product_attention(*parts, is_causal=True)]
    pull = torch.randn(2, T, 16)
    slopes = [torch.autograd.grad((r * pull).sum(), x, retain_graph=True)[0] for r in results]
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)
    if T > 1:
        wrong = F.scaled_dot_product_attention(*parts, is_causal=True, scale=48**-0.5)
        assert (wrong - results[0]).abs().max() > 0.01


def test_the_notebooks_head_computes_what_the_helpers_head_does(space):
    ours, theirs = space["Head"](SMALL), gpt.Head(SMALL)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 48)
    assert torch.equal(ours(x), theirs(x))


def test_rows_of_weights_sum_to_one_and_columns_do_not(space):
    """Case 38: B, T and the head size all differ."""
    query, key, value = (torch.randn(2, 5, 3) for _ in range(3))
    weights = space["attend"](query, key, value)[1]
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 5))
    assert (weights.sum(dim=-2) - 1).abs().max() > 0.1


@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_changed_future_leaves_earlier_outputs_as_they_were_and_without_a_mask_it_does_not(space, at):
    """Case 39."""
    head, x = space["Head"](SMALL), torch.randn(2, 7, 48)
    want = [t >= at for t in range(7)]
    assert moved_by(head, x, at) == want
    x = 0.2 * x  # small scores: without a scale, large ones would leave one weight per row
    assert moved_by(lambda x: space["attend"](x, x, x)[0], x, at) == want
    assert moved_by(lambda x: space["attend"](x, x, x, causal=False)[0], x, at) == [True] * 7
    head.mask[:] = True
    assert moved_by(head, x, at) == [True] * 7


def test_without_positions_the_past_is_a_bag_and_with_positions_it_is_not(space):
    ids = torch.tensor([[3, 1, 4, 0, 5, 9]])
    shuffled = ids[:, [2, 4, 0, 3, 1, 5]]
    for positions, least, most in ((False, 0.0, 1e-5), (True, 1e-3, math.inf)):
        torch.manual_seed(2)
        model = space["OneHeadModel"](SMALL, positions)
        difference = (model(ids)[0][:, -1] - model(shuffled)[0][:, -1]).abs().max().item()
        assert least <= difference <= most


# --- why scale ---


def test_the_spread_of_scores_is_the_root_of_the_head_size(space):
    for d_k, spread in space["spreads"].items():
        assert spread == pytest.approx(d_k**0.5, rel=0.05)
    assert len(space["spreads"]) == 5
    n_embd, n_head = 384, 6
    q, k = torch.randn(2, 20_000, n_embd // n_head)
    scores = (q * k).sum(dim=-1)
    assert (scores / n_embd**0.5).std().item() == pytest.approx(n_head**-0.5, rel=0.05)
    assert (scores / (n_embd // n_head) ** 0.5).std().item() == pytest.approx(1, rel=0.05)


def test_unscaled_entropy_and_gradient_fall_with_the_head_size_and_scaled_ones_stay(space):
    plain, root, whole = space["measured"].values()
    for k in (0, 1):
        values = [pair[k] for pair in plain][1:]  # from d_k = 4 on
        assert values == sorted(values, reverse=True) and values[-1] < values[0] / 4
        assert len({pair[k] for pair in root}) == 1
    assert whole[-1][0] == pytest.approx(math.log(8), abs=0.01) and root[-1][0] < math.log(8) - 0.2


def test_softmax_measured_by_hand_agrees(space):
    entropy, gradient = space["measure_softmax"](2.0, rows=50, T=3)
    dice = torch.Generator().manual_seed(1337)
    scores, pull = 2 * torch.randn(50, 3, generator=dice), torch.randn(50, 3, generator=dice)
    p = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    assert entropy == pytest.approx(-(p * p.log()).sum(dim=-1).mean().item(), abs=1e-5)
    by_hand = p * (pull - (p * pull).sum(dim=-1, keepdim=True))
    assert gradient == pytest.approx(by_hand.norm(dim=-1).median().item(), abs=1e-5)


# --- the model, its map, the zoo ---


@pytest.fixture(scope="module")
def trained(space) -> dict:
    """The notebook's models after a much shorter training."""
    names = dict(space)
    source = cell("def learn(").replace(", 600, 0.0", ", 60, 0.0")
    with contextlib.redirect_stdout(io.StringIO()):
        assert source != cell("def learn(")
        exec(source, names)
        names["ladder"] = {"counted bigram": 2.3}
        run(names, "def weights_of", "def draw_map")
    return names


def test_the_map_shows_the_weights_with_which_the_model_computes(trained):
    for name, positions in (("one head, no positions", False), ("one head", True)):
        model = trained["models"][name]
        assert model.positions == positions
        ids = trained["val_ids"][:20]
        weights = trained["weights_of"](model, ids)  # (T, T)
        with torch.no_grad():
            logits = model.lm_head(weights @ model.head.value(model.embed(ids[None])))  # (1, T, V)
            torch.testing.assert_close(logits, model(ids[None])[0], rtol=1e-4, atol=1e-5)
        assert torch.equal(weights, weights.tril())


@pytest.mark.parametrize(
    "sentence", ["x", "été ☃ 12", "an owl and a lion, " * 9], ids=["one", "unknown", "long"]
)
def test_the_map_takes_any_sentence(trained, sentence):
    for positions in (True, False):
        fig, words = trained["explore"].seen["draw_map"][0](sentence, positions)
        assert len(fig.axes[0].get_xticklabels()) == min(len(sentence), 32)
        assert "looks most at" in words
        plt.close(fig)


def test_every_stand_of_the_sliders_can_be_drawn(trained):
    seen = trained["explore"].seen
    assert set(seen) == {"draw_look", "draw_scaling", "draw_map"}
    for _, start, controls in seen.values():
        assert all(start[name] in controls[name] for name in start)
    draw, _, controls = seen["draw_look"]
    for word in [*controls["word"], "Ä", "x y"]:
        for place in (0, 5, 17):
            fig, words = draw(word, place)
            shown = word[: min(place, len(word) - 1) + 1]
            assert ("no vowel so far" in words) == (not set(shown.lower()) & set("aeiou"))
            plt.close(fig)
    draw, _, controls = seen["draw_scaling"]
    for d_k in controls["d_k"]:
        fig, words = draw(d_k)
        largest = [float(line.rsplit(" ", 1)[1]) for line in words.splitlines()]
        assert largest == sorted(largest, reverse=True) and len(largest) == 3
        plt.close(fig)
    assert largest[0] > 0.99 and largest[2] < 0.12


def test_each_patient_of_the_zoo_shows_its_symptom(trained):
    names = dict(trained)
    run(names, "class Patient", "def admit", "def symptoms_of")
    symptoms = {name: found for name, (_, found) in names["ward"].items()}
    assert list(symptoms) == ["healthy", "A", "B", "C", "D", "E"]
    loss, last, rows, moved, echo = (
        dict(zip(symptoms, column, strict=True)) for column in zip(*symptoms.values(), strict=True)
    )
    assert moved["healthy"] == 0 and echo["healthy"] < 0.2 and abs(last["healthy"] - loss["healthy"]) < 0.5
    assert loss["A"] < 0.2 and echo["A"] > 0.95 and moved["A"] == 0
    assert moved["B"] == 1 and loss["B"] < loss["healthy"] - 0.2 and last["B"] > loss["B"] + 1
    for turned in "CE":
        assert loss[turned] < loss["healthy"] - 1 and last[turned] > loss[turned] + 1 and moved[turned] > 0
    assert {name for name, each in rows.items() if each != "1.00 to 1.00"} == {"D"} and moved["D"] > 0.5
