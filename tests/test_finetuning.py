"""Fine-tuning: what is learnt from, how it is measured, how it ends, and the command."""

import copy
import json
import math
import os
import signal

import pytest
import torch

from helpers import finetuning, finetuning_command
from helpers.answers import answer, exact_match, forgetting
from helpers.checkpoints import SHIPPED, load, save
from helpers.finetuning import finetune, main, save_chat
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lora import add_lora, count_trained, lora_parameters, merge_lora
from helpers.questions import CHAT, IGNORED, ROOM, Example, encode_examples, make_examples
from helpers.steps import make_optimizers
from helpers.tales import write_tales
from helpers.tokenizer import CharTokenizer
from helpers.train_data import FRESH_TALES_SEED, SHIPPED_ALPHABET, tales_loss

TOKENIZER = CharTokenizer(SHIPPED_ALPHABET)


def small(seed: int = 1) -> GPTLanguageModel:
    torch.manual_seed(seed)
    return GPTLanguageModel(
        GPTConfig(vocab_size=TOKENIZER.vocab_size, block_size=ROOM, n_layer=1, n_head=2, n_embd=16)
    ).eval()


@pytest.fixture(autouse=True)
def few_tales(monkeypatch):
    """The loss on tales is read on a few of them, so that these tests are quick."""
    monkeypatch.setattr(finetuning, "forgetting", lambda model, tokenizer: forgetting(model, tokenizer, 1000))


@pytest.fixture(scope="module")
def memorised():
    """A small model that has learnt one example by heart, and the example."""
    model, (example,) = small(), make_examples(1, seed=21)
    x, y = encode_examples([example], TOKENIZER, ROOM)
    (optimizer,) = make_optimizers(model, "adamw", 0.02, 0.0, (0.9, 0.95))
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(x, y)[1]
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    return model, example


def finetuned(model, **options):
    defaults = {"steps": 3, "batch_size": 2, "mix": 0.0, "optimizer": "adamw", "progress": False}
    return finetune(model, TOKENIZER, make_examples(8, seed=1), **(defaults | options))


# --- the loss ---


def test_the_loss_is_the_mean_over_the_answers_alone():
    model, examples = small(), make_examples(3, seed=2)
    x, y = encode_examples(examples, TOKENIZER, ROOM)
    logits, loss = model(x, y)
    log_probabilities = logits.log_softmax(dim=-1)
    by_hand = [
        -log_probabilities[b, len(e.prompt) - 1 + i, TOKENIZER.encode(c)[0]]
        for b, e in enumerate(examples)
        for i, c in enumerate(e.answer + "\n")
    ]
    assert loss.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-5)


def test_the_gradient_at_the_logits_is_zero_but_at_the_answers():
    model, examples = small(), make_examples(3, seed=2)
    for mask_prompt in (True, False):
        x, y = encode_examples(examples, TOKENIZER, ROOM, mask_prompt)
        logits = model(x)[0].detach().requires_grad_(True)  # (B, T, V)
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        pulled = logits.grad.abs().sum(dim=-1) > 0  # (B, T)
        assert torch.equal(pulled, y != IGNORED)
        assert pulled.sum() == sum(len(e.answer) + 1 if mask_prompt else len(e.text) - 1 for e in examples)


def test_filling_up_changes_no_loss():
    model, examples = small(), sorted(make_examples(6, seed=2), key=lambda e: len(e.text))
    short, long = examples[0], examples[-1]
    assert len(short.text) < len(long.text)
    alone = model(*encode_examples([short], TOKENIZER, ROOM))[0]
    together = model(encode_examples([short, long], TOKENIZER, ROOM)[0])[0]
    torch.testing.assert_close(together[0, : alone.shape[1]], alone[0], atol=1e-5, rtol=1e-4)


# --- measuring ---


def test_an_exact_match_is_what_the_model_would_write(memorised):
    """One reading of the right answers gives the verdict of writing them out, character by character."""
    model, example = memorised
    wrong = Example(example.tale, example.question, example.answer + "s", example.kind)
    longer = Example(
        example.tale, "On which day?" if example.kind != "day" else "Who?", example.answer, example.kind
    )
    others = [*make_examples(2, seed=22), wrong, longer]
    assert answer(model, TOKENIZER, example) == example.answer
    for each in (example, *others):
        written = answer(model, TOKENIZER, each) == each.answer
        assert (exact_match(model, TOKENIZER, [each]).share == 1) == written
    assert exact_match(model, TOKENIZER, [wrong]).share == 0


def test_the_share_is_over_all_questions_and_for_each_kind(memorised):
    model, example = memorised
    others = [e for e in make_examples(12, seed=22) if e.kind != example.kind][:3]
    score = exact_match(model, TOKENIZER, [example, *others], batch_size=3)
    assert score.kinds[example.kind] == 1 and set(score.kinds) == {e.kind for e in (example, *others)}
    singles = [exact_match(model, TOKENIZER, [e]) for e in (example, *others)]
    assert score.share == pytest.approx(sum(s.share for s in singles) / 4)
    lengths = [len(e.answer) + 1 for e in (example, *others)]
    mean = sum(s.loss * n for s, n in zip(singles, lengths, strict=True)) / sum(lengths)
    assert score.loss == pytest.approx(mean, rel=1e-5)


def test_measuring_leaves_the_mode_and_the_weights():
    model = small().train()
    before = copy.deepcopy(model.state_dict())
    exact_match(model, TOKENIZER, make_examples(2, seed=2))
    forgetting(model, TOKENIZER, 500)
    assert model.training and all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_forgetting_is_the_loss_on_fresh_tales():
    model = small()
    fresh = write_tales(2000, seed=FRESH_TALES_SEED)
    assert forgetting(model, TOKENIZER, 2000) == pytest.approx(tales_loss(model, TOKENIZER, fresh))


def test_the_shipped_model_does_not_answer_yet():
    checkpoint = load(SHIPPED)
    assert exact_match(checkpoint.model, checkpoint.tokenizer, make_examples(30, seed=2)).share < 0.1


def test_measuring_names_what_cannot_be_measured():
    model, (example,) = small(), make_examples(1, seed=2)
    with pytest.raises(ValueError, match="0 questions"):
        exact_match(model, TOKENIZER, [])
    short = GPTLanguageModel(
        GPTConfig(vocab_size=TOKENIZER.vocab_size, block_size=64, n_layer=1, n_head=1, n_embd=8)
    )
    with pytest.raises(ValueError, match="the context has 64"):
        exact_match(short, TOKENIZER, [example])
    with pytest.raises(ValueError, match="the context has 64"):
        answer(short, TOKENIZER, example)


# --- training ---


def test_the_answers_become_likelier_and_the_history_says_so():
    model, seen = small(), []
    held_out = make_examples(4, seed=2)
    result = finetuned(
        model, steps=6, learning_rate=0.01, held_out=held_out, eval_interval=2, on_evaluation=lambda r: seen.append(len(r.history))
    )  # fmt: skip
    assert [row["step"] for row in result.history] == [0, 2, 4, 6] and seen == [1, 2, 3, 4]
    first, last = result.history[0], result.history[-1]
    assert last["validation"] < first["validation"] - 0.2 and first["train"] is None and last["train"] > 0
    assert last["validation"] == pytest.approx(exact_match(model, TOKENIZER, held_out).loss)
    assert last["tales"] == pytest.approx(forgetting(model, TOKENIZER, 1000))
    assert result.trained == count_trained(model) and result.seconds > 0 and result.stopped is None
    json.dumps(result.history, allow_nan=False)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    weights = []
    for seed in (1, 1, 2):
        model = small()
        finetuned(model, seed=seed, mix=0.1)
        weights.append(model.lm_head.weight.detach().clone())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_tales_mixed_in_pull_towards_tales():
    """After the same steps the loss on tales is lower with tales mixed in."""
    losses = {}
    for mix in (0.0, 0.5):
        model = small()
        losses[mix] = finetuned(model, steps=16, learning_rate=0.02, mix=mix).history[-1]["tales"]
    assert losses[0.5] < losses[0.0] - 0.1


def test_lora_trains_the_corrections_alone_and_merges_to_what_was_measured():
    model, held_out = small(), make_examples(4, seed=2)
    before = copy.deepcopy(model.state_dict())
    add_lora(model, rank=2)
    result = finetuned(model, steps=5, learning_rate=0.02, held_out=held_out)
    assert result.trained == sum(p.numel() for p in lora_parameters(model))
    assert torch.equal(model.lm_head.weight, before["lm_head.weight"])
    merge_lora(model)
    assert exact_match(model, TOKENIZER, held_out).loss == pytest.approx(
        result.history[-1]["validation"], rel=1e-4
    )
    assert not torch.equal(model.blocks[0].sa.qkv.weight, before["blocks.0.sa.qkv.weight"])


def test_a_loss_that_is_not_finite_ends_with_usable_weights(capsys):
    model = small()
    before = copy.deepcopy(model.state_dict())
    result = finetuned(model, steps=40, learning_rate=1e30, clip=0.0)
    assert "not finite" in result.stopped and result.stopped in capsys.readouterr().out
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert math.isfinite(forgetting(model, TOKENIZER, 500))


def test_ctrl_c_ends_after_the_step_at_hand_and_is_measured():
    model = small()

    def interrupt(result):
        if result.history[-1]["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT) if os.name == "posix" else signal.raise_signal(signal.SIGINT)

    result = finetuned(model, steps=50, eval_interval=2, on_evaluation=interrupt)
    assert result.stopped == "stopped by you after step 2 of 50" and result.history[-1]["step"] == 2
    assert not model.training  # as it was


def test_a_stop_in_the_middle_of_a_step_brings_the_last_evaluation_back(monkeypatch):
    model, weights, calls = small(), [], []

    def clip(parameters, most):
        calls.append(most)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    keep = lambda result: weights.append(copy.deepcopy(model.state_dict()))  # noqa: E731
    result = finetuned(model, steps=50, eval_interval=2, on_evaluation=keep)
    assert "in step 4 of 50" in result.stopped or "in step 5 of 50" in result.stopped
    assert len(weights) == 2 and all(torch.equal(weights[-1][k], v) for k, v in model.state_dict().items())


def test_settings_that_cannot_work_are_named():
    for wrong, message in (
        ({"steps": 0}, "steps=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"eval_interval": 0}, "eval_interval=0"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"mix": 1.0}, "mix=1.0"),
        ({"mix": -0.1}, "mix=-0.1"),
        ({"optimizer": "sgd"}, "sgd"),
    ):
        with pytest.raises(ValueError, match=message):
            finetuned(small(), **wrong)
    with pytest.raises(ValueError, match="0 examples to learn from"):
        finetune(small(), TOKENIZER, [])
    with pytest.raises(ValueError, match="rank 0 changes nothing"):
        finetuned(add_lora(small(), rank=0))


# --- files and the command ---


def test_a_saved_model_says_how_it_is_asked(tmp_path):
    model = small()
    checkpoint = load(save_chat(tmp_path / "chat.safetensors", model, TOKENIZER, steps=3))
    assert checkpoint.info == {"chat": {"question": "Q: ", "answer": "A: ", "end": "\n"}, "steps": 3}
    assert checkpoint.info["chat"] == CHAT
    (example,) = make_examples(1, seed=2)
    assert answer(checkpoint.model, checkpoint.tokenizer, example) == answer(model, TOKENIZER, example)


def test_lora_has_to_be_merged_before_it_is_saved(tmp_path):
    model = add_lora(small(), rank=1)
    with pytest.raises(ValueError, match="merge_lora"):
        save_chat(tmp_path / "chat.pt", model, TOKENIZER)
    assert not list(tmp_path.iterdir())
    save_chat(tmp_path / "chat.pt", merge_lora(model), TOKENIZER)
    assert load(tmp_path / "chat.pt").info["chat"] == CHAT


@pytest.fixture
def quick(tmp_path):
    """Options of a quick run from a small model."""
    save(tmp_path / "base.pt", small(), TOKENIZER)
    return ["--checkpoint", str(tmp_path / "base.pt"), "--steps", "2", "--batch-size", "2", "--examples", "8",
            "--held-out", "3", "--device", "cpu"]  # fmt: skip


@pytest.mark.parametrize("lora", [[], ["--lora", "2"]], ids=["full", "lora"])
def test_the_command_keeps_a_model_that_can_be_asked(quick, lora, tmp_path, capsys):
    out = tmp_path / "chat.safetensors"
    assert main([*quick, *lora, "--out", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    info = load(out).info
    assert info["chat"] == CHAT and info["exact_match"] == facts["exact_match"]
    assert facts["steps"] == 2 and info["recipe"]["lora"] == (2 if lora else None)
    assert (facts["trained"] < facts["parameters"]) == bool(lora)
    assert str(tmp_path) not in json.dumps(info)


def test_a_study_keeps_every_curve_with_command_and_date(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(
        finetuning_command, "STUDY", {"full": {}, "none mixed in": {"mix": 0.0}, "LoRA": {"lora": 1}}
    )
    path = tmp_path / "study.json"
    assert main([*quick, "--study", str(path)]) == 0
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["command"].startswith("python -m helpers.finetuning --checkpoint base.pt")
    assert "--steps 2" in content["command"] and content["date"][:2] == "20" and content["machine"]
    assert [(r["name"], r["mix"], r["lora"]) for r in content["runs"]] == [
        ("full", 0.1, None), ("none mixed in", 0.0, None), ("LoRA", 0.1, 1),
    ]  # fmt: skip
    for entry in content["runs"]:
        assert [row["step"] for row in entry["history"]] == [0, 2]
        assert 0 <= entry["history"][-1]["exact_match"] <= 1 and entry["kinds"]
    assert str(tmp_path) not in json.dumps(content)


@pytest.mark.parametrize(
    "options",
    [["--steps", "0"], ["--lora", "0"], ["--mix", "1"], ["--mix", "-0.1"], ["--per-tale", "4"], ["--examples", "x"],
     ["--learning-rate", "0"], ["--learning-rate", "nan"], ["--alpha", "0"], ["--optimizer", "sgd"], ["--seed", "-1"]],
    ids=" ".join,
)  # fmt: skip
def test_options_out_of_range_are_refused(options, capsys):
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == 2 and options[0] in capsys.readouterr().err


def test_the_command_explains_what_cannot_work(quick, tmp_path, capsys):
    for options, message in (
        (["--checkpoint", str(tmp_path / "none.pt")], "there is no checkpoint"),
        ([*quick, "--out", "chat.txt"], ".pt or .safetensors"),
        ([*quick, "--out", "chat.pt", "--study", "s.json"], "without --out"),
        ([*quick, "--lora", "100"], "at most the rank 16"),
    ):
        assert main(options) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error
