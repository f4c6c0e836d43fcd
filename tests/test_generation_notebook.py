"""What notebook 14 says about writing: its own cells are run here, with the shipped model and a small fresh one."""

import contextlib
import io
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from notebook_cells import Explored

from helpers import checkpoints, memorisation, sampling, streaming, tales
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lesson.bank.nb14 import NUCLEUS, ROWS_READ, TEMPERATURE_FOR, UNTIL_STOP
from helpers.lesson.exercises import answer_from

ROOT = Path(__file__).resolve().parent.parent
CELLS = {
    cell.id: cell.source
    for cell in nbformat.read(ROOT / "notebooks" / "14_generation.ipynb", as_version=4).cells
    if cell.cell_type == "code"
}


def run(name: str, names: dict) -> str:
    """Run the cell with this id; returns what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(CELLS[name], names)
    return printed.getvalue()


@pytest.fixture(scope="module")
def base() -> dict:
    """The notebook's variables on the CPU; `model` is a small fresh GPT with the shipped vocabulary."""
    imports = next(source for source in CELLS.values() if "device = pick_device()" in source)
    names: dict = {"__name__": "__main__", "torch": torch}
    exec(imports.split("device = pick_device()")[0], names)
    teller = checkpoints.load(checkpoints.SHIPPED)
    torch.manual_seed(1)
    model = GPTLanguageModel(
        GPTConfig(teller.tokenizer.vocab_size, block_size=64, n_layer=2, n_head=2, n_embd=32)
    )
    for parameter in model.parameters():  # wilder than fresh, so that its choices differ
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    names |= {"device": torch.device("cpu"), "teller": teller, "model": model.eval()}
    names |= {"tokenizer": teller.tokenizer, "block_size": 64, "PROMPT": "The lantern "}
    names |= {"checkpoint": teller, "show": lambda fig, caption: plt.close(fig), "explore": Explored()}
    names |= {"lesson": SimpleNamespace(record=lambda *args, **more: None, text=None)}
    run("one-step", names)
    run("by-hand", names)
    run("prompt-errors", names)
    run("prompts-handled", names)
    return names


@pytest.fixture
def space(base) -> dict:
    return dict(base)


# --- prompts ---


def test_the_loop_by_hand_draws_what_generate_draws(space):
    assert "the same as generate: True" in run("by-hand", space)


def test_three_prompts_fail_in_three_places_and_are_handled(space):
    printed = run("prompt-errors", space).splitlines()
    assert printed[0].startswith("empty: IndexError") and "not in the vocabulary" in printed[1]
    assert "block_size=416" in printed[2] and "no error" not in "".join(printed)
    handled = run("prompts-handled", space)
    assert "empty: 0 characters → ids (1, 1)" in handled and "ids (1, 416) → one more (1, 417)" in handled
    assert "replaced by '?'" in handled


def test_a_subclass_that_does_not_crop_writes_one_more_and_one_that_does_as_many_as_asked(space):
    assert "writes as before: True" in run("writer", space)
    printed = run("uncropped", space)
    assert "1 more: (1, 417)" in printed and "2 more: the sequence has 417 tokens" in printed
    assert "as generate of the helpers: True" in run("cropped", space)


def test_what_is_overridden_counts_only_where_it_is_called(space):
    run("writer", space)
    run("uncropped", space)
    run("cropped", space)
    assert "the letter e: 0 times" in run("without-e", space)
    own, function = (
        int(line.split(":")[1].split()[0]) for line in run("method-or-function", space).splitlines()
    )
    assert own == 0 < function


# --- choosing ---


def test_the_three_ways_by_hand_are_those_of_the_helper(space):
    run("distribution", space)
    assert run("three-ways", space).count("sum 1.000") == 4
    printed = run("equal-to-helper", space)
    assert (
        space["worst"] < 1e-6
        and printed.startswith(f"{len(space['rows'])} rows")
        and len(space["rows"]) > 500
    )
    nucleus = answer_from(NUCLEUS.solution, "nucleus", space)
    for row in torch.softmax(space["rows"][:40], dim=-1):
        want = sampling.next_token_probabilities(row.log()[None], top_p=0.8)[0]
        assert torch.allclose(nucleus(row, 0.8), want, atol=1e-6)


def test_the_slider_draws_every_corner(space):
    run("distribution", space)
    run("explore-choice", space)
    slider = space["explore"]
    for pick in (0, -1):
        fig = slider.draw(**{name: list(options)[pick] for name, options in slider.controls.items()})
        (words,) = (each.get_text() for each in fig.axes[0].texts)
        assert "possible characters" in words and "equally likely" in words
        plt.close(fig)
    assert all(
        slider.start[name] in options for name, options in slider.controls.items() if name in slider.start
    )


def test_the_temperature_of_the_exercise_gives_the_entropy(space):
    run("distribution", space)
    find = answer_from(TEMPERATURE_FOR.solution, "temperature_for", space)
    p = torch.softmax(space["logits"] / find(space["logits"], 1.5), dim=0)
    assert -(p * p.log()).sum().item() == pytest.approx(1.5, abs=1e-3)


def test_settings_that_mean_nothing_are_refused_and_others_not(space):
    lines = run("refused", space).splitlines()
    assert [line.endswith(": fine") for line in lines] == [False, False, True, False, False, True, False]


def test_a_stop_text_is_no_part_of_what_comes_back(space):
    lengths = [int(line.split(": ")[1].split()[0]) for line in run("stops", space).splitlines()]
    assert lengths[0] == 265 and lengths[1] < lengths[2] <= lengths[0]
    assert "." not in sampling.complete(
        space["teller"].model, space["teller"].tokenizer, "Then ", 260, stop=".", temperature=0.5, seed=2
    )


# --- the cache ---


def test_the_rows_are_those_of_the_sums(space):
    assert "rows: 290    5 + 6 + ... + 24 = 290" in run("count-rows", space)
    count = answer_from(ROWS_READ.solution, "rows_read", space)
    gpt, begin = space["model"], torch.zeros(1, 5, dtype=torch.long)
    for new in (20, 80):
        for cache in (None, "exact"):
            rows = space["count_rows"](
                gpt, lambda n=new, c=cache: sampling.generate(gpt, begin, n, cache=c, seed=1)
            )
            assert rows == count(5, new, 64, cache is not None)


def _with_ways(space: dict) -> dict:
    names = dict(space)
    run("distribution", names)
    run("three-ways", names)
    return names


def test_keys_of_the_past_stay_within_the_context_and_not_where_the_window_moves(space):
    run("keys-stay", space)
    assert (space["before"] - space["after"][:-1]).abs().max() < 1e-4 * space["before"].abs().max()
    run("short-teller", space)
    assert space["apart"] < 1e-4
    run("window-moves", space)
    assert space["apart"] > 0.1


def test_one_layer_with_kept_keys_is_the_layer(space):
    run("one-layer-cached", space)
    assert (space["new"] - space["whole"][:, -1:]).abs().max() < 1e-5


def test_a_cache_gives_the_same_logits_and_the_same_text(space):
    names = _with_ways(space)
    run("equal-to-helper", names)
    run("count-rows", names)
    run("cache-three-ways", names)
    assert len(names["differences"]) == 3 and max(names["differences"].values()) < 1e-3
    printed = run("cache-same-text", names)
    assert printed.count("the same: True") == 3 and "after a prompt of 5: 24" in printed


def test_is_causal_lays_its_triangle_from_the_top_left(space):
    run("is-causal-trap", space)
    assert torch.equal(space["trap"][0], torch.tensor([1.0, 0, 0, 0, 0]))
    assert torch.allclose(space["right"].sum(dim=1), torch.ones(3)) and space["right"][0, 2] == pytest.approx(
        1 / 3
    )


def test_past_the_context_exact_is_no_cache_and_stride_reads_less(space):
    run("count-rows", space)
    run("short-teller", space)
    run("past-the-context", space)
    assert torch.equal(space["texts"]["exact"], space["texts"]["no cache"])
    assert not torch.equal(space["texts"]["stride 32"], space["texts"]["exact"])
    assert torch.equal(space["texts"]["stride 32"][:64], space["texts"]["exact"][:64])
    assert space["rows"]["stride 32"] < space["rows"]["exact"] < space["rows"]["no cache"]
    run("stride-table", space)
    losses = [loss for loss, _ in space["costs"].values()]
    assert losses[0] < losses[-1] and losses[0] + 0.05 < losses[-1]
    assert [read for _, read in space["costs"].values()] == [64 / stride for stride in space["strides"]]


def test_the_loss_of_a_stride_is_that_of_what_the_reader_sees(space):
    """The windows of the table are those that `generate` reads with cache="stride"."""
    run("short-teller", space)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(CELLS["stride-table"].split("\n\n\nstrides =")[0], space)
    ids, losses = space["story_ids"][None], []
    read = sampling.Reader(space["short"], "stride", 16)
    with torch.no_grad():
        for end in range(65, 65 + 96):  # from the first window that had to move
            logits = read(ids[:, :end])
            losses.append(torch.nn.functional.cross_entropy(logits, ids[:, end]).item())
    want = space["loss_with_stride"](16, predictions=96)[0]
    assert sum(losses) / 96 == pytest.approx(want, abs=1e-4)


# --- streaming ---


def test_nothing_is_computed_before_it_is_asked_for(space):
    run("count-rows", space)
    printed = run("lazy", space)
    assert "asked for nothing: rows 0" in printed and printed.rstrip().endswith("rows 7")
    told = run("streaming", space)
    assert told.startswith("Once ") and "\n\n" not in told.rstrip("\n")


def test_half_characters_wait_for_the_other_half(space):
    assert "['\ufffd', '\ufffd', '!'], through pieces ['é', '!']" in run("half-characters", space)


def test_the_stop_of_the_exercise_is_that_of_the_helper(space):
    until = answer_from(UNTIL_STOP.solution, "until_stop", space)
    for parts in (["a#", "b##c"], ["#", "#"], ["ab", "#"], ["x", "y"]):
        ours = "".join(until(iter(parts), "##"))
        assert ours == "".join(streaming.until(["##"], (part for part in parts)))


# --- memorisation ---


def test_the_meter_by_hand_is_the_helper_and_rings_for_the_parrot(space):
    space["learnt"], space["fresh"] = tales.write_tales(60_000, seed=1), tales.write_tales(8_000, seed=2)
    space["judged"] = space["teller"]
    run("four-writers", space)
    assert "as the helper: True" in run("longest-spans", space)
    longest = {name: max(length for length, _ in found) for name, found in space["spans"].items()}
    assert longest["bigram"] < longest["fresh text"] and longest["bigram"] < longest["model"]
    assert longest["parrot"] > longest["bigram"]
    run("shares", space)
    assert space["same"] < 1e-9
    for name, rows in space["samples"].items():
        want = sum(memorisation.copied_share(row, space["learnt"], 20) for row in rows) / len(rows)
        assert space["shares"][name][space["least"].index(20)] == pytest.approx(want)
    assert all(line == sorted(line, reverse=True) for line in space["shares"].values())


# --- the chat ---


def test_the_command_answers_as_the_notebook_says(space):
    printed = run("chat-command", space)
    for words in ("Type a few words", "it stays 0.8", "The temperature is 0.3 now", "replaced by '?'",
                  "The text so far is forgotten", "There is no command /dance", "Good bye.", "(exit code 0)"):  # fmt: skip
        assert words in printed, words
    assert "Ctrl-C stops a reply" in run("chat-help", space)


def test_the_chat_keeps_its_turns(space):
    run("chat", space)
    assert len(space["chat"].history) == 2 and all(turn.endswith("\n\n") for turn in space["chat"].history)
    assert space["chat"].temperature == 0.2


# --- break it on purpose ---


def test_the_three_faults_show_their_symptoms(space):
    run("one-layer-cached", space)
    run("short-teller", space)
    printed = run("break-it", space) + run("break-it-b", space) + run("break-it-c", space)
    a, b, *tales_told = printed.splitlines()
    faulty, healthy = (
        int(part.split(")")[0].split()[0]) for part in (a.split("likeliest: ")[1], a.split("healthy: ")[1])
    )
    assert faulty < healthy == 80
    faulty, healthy = float(b.split(": ")[1].split()[0]), float(b.split("healthy: ")[1].rstrip(")"))
    assert faulty > healthy + 0.3
    assert tales_told[1] != tales_told[2] and tales_told[4] == tales_told[5]
