"""The models, training, checkpoints and sampling, as facts."""

import math
import signal

import pytest
import torch

from helpers import checkpoints, generate, lora, train
from helpers.bigram import BigramLanguageModel
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.optimizers import Muon
from helpers.sampling import complete, next_token_probabilities
from helpers.sampling import generate as sample
from helpers.tokenizer import CharTokenizer
from helpers.training import (
    accumulate_gradients,
    compile_or_note,
    document_loss,
    draw_batch,
    learning_rate_at,
    validation_loss,
)
from helpers.training import train as run_training

SMALL = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 16}


def small(**changes) -> GPTLanguageModel:
    torch.manual_seed(0)
    return GPTLanguageModel(GPTConfig(**SMALL | changes))


def ids(n=400) -> torch.Tensor:
    return torch.randint(11, (n,), generator=torch.Generator().manual_seed(1))


def steps(model, n, **options):
    return run_training(model, ids(), ids(), steps=n, batch_size=4, eval_batches=2, progress=False, **options)


@pytest.mark.parametrize("looped", [False, True])
def test_changing_a_future_token_leaves_earlier_logits_unchanged(looped):
    model, x = small(looped_heads=looped).eval(), torch.randint(11, (2, 8))
    other = x.clone()
    other[:, 5] = (other[:, 5] + 1) % 11
    before, after = model(x)[0], model(other)[0]
    assert torch.equal(before[:, :5], after[:, :5]) and not torch.equal(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_fresh_gpt_starts_at_the_logarithm_of_the_vocabulary(activation, tied):
    model = GPTLanguageModel(GPTConfig(vocab_size=74, activation=activation, tie_weights=tied, bias=not tied))
    x = torch.randint(74, (8, 64))
    logits, loss = model(x, torch.randint(74, (8, 64)))
    assert logits.shape == (8, 64, 74) and abs(loss.item() - math.log(74)) < 0.2


def test_a_sequence_longer_than_the_context_names_both_lengths():
    with pytest.raises(ValueError, match="9 tokens, but block_size=8"):
        small()(torch.zeros(1, 9, dtype=torch.long))


@pytest.mark.parametrize(
    "change", [{"n_embd": 15}, {"n_layer": 0}, {"dropout": 1.0}, {"activation": "swish"}, {"n_head": True}]
)
def test_a_shape_that_cannot_work_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        GPTConfig(**SMALL | change)


def test_four_accumulated_batches_of_two_give_the_gradient_of_eight():
    model, x, y = small(), torch.randint(11, (8, 8)), torch.randint(11, (8, 8))
    accumulate_gradients(model, [(x, y)], 1)
    whole = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    accumulate_gradients(model, zip(x.split(2), y.split(2), strict=True), 4)
    for p, expected in zip(model.parameters(), whole, strict=True):
        torch.testing.assert_close(p.grad, expected, atol=1e-6, rtol=1e-4)


def test_the_learning_rate_is_never_zero_and_follows_its_schedule():
    rates = [learning_rate_at(s, 100, 1.0, warmup=10, final=0.1) for s in range(100)]
    assert rates[0] == pytest.approx(1 / 11) and max(rates) == rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.1) and rates[10:] == sorted(rates[10:], reverse=True)


def test_training_lowers_the_loss_and_repeats_with_its_seed():
    text = torch.arange(11).repeat(60)
    losses = []
    for _ in range(2):
        model = small()
        result = run_training(model, text, text, steps=60, batch_size=8, eval_batches=2, progress=False)
        losses.append(result.history[-1]["validation"])
    assert losses[0] == losses[1] < 1.5 and result.tokens == 60 * 8 * 8


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_twenty_steps_equal_ten_and_ten(optimizer):
    options = {"optimizer": optimizer, "eval_interval": 5}
    whole = small(dropout=0.1)
    steps(whole, 20, **options)
    model, kept = small(dropout=0.1), {}

    def keep(result):
        if result.state["step"] == 10:
            kept["weights"] = {k: v.clone() for k, v in model.state_dict().items()}
            kept["state"] = result.state

    steps(model, 20, on_evaluation=keep, **options)
    torch.manual_seed(999)
    again = small(dropout=0.1)
    again.load_state_dict(kept["weights"])
    steps(again, 20, resume=kept["state"], **options)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_asked_share_of_windows_begins_where_documents_do():
    ids, starts = torch.arange(1000), torch.tensor([100, 200])
    draw = torch.Generator().manual_seed(1)
    x, y = draw_batch(ids, 10, 40, draw, torch.device("cpu"), starts, aligned=30)
    at_starts = torch.isin(x[:, 0], starts)
    assert at_starts[:30].all() and not at_starts[30:].all() and torch.equal(y, x + 1)
    x, _ = draw_batch(ids, 10, 4, draw, torch.device("cpu"), starts, aligned=4)
    assert torch.isin(x[:, 0], starts).all() and len(x) == 4


def test_documents_begin_after_empty_lines_and_a_text_without_any_is_refused():
    tokenizer = CharTokenizer("ab\n")
    ids = torch.from_numpy(tokenizer.encode("ab\n\nb\na\n\n\nb"))
    assert train.document_starts(ids, tokenizer).tolist() == [2, 7, 8]
    for alphabet in ("ab\n", "ab"):
        tokenizer = CharTokenizer(alphabet)
        with pytest.raises(ValueError, match="documents with an empty line between them"):
            train.document_starts(torch.from_numpy(tokenizer.encode("abab")), tokenizer)


def test_the_document_loss_is_that_of_each_document_read_alone():
    model, total, count = small(block_size=12).eval(), 0.0, 0
    documents = [ids(n) for n in (7, 4, 11)]
    for each in documents:
        logp = model(each[None, :-1])[0].log_softmax(-1)[0]  # (T, V)
        total -= sum(logp[t - 1, each[t]].item() for t in range(2, len(each)))
        count += len(each) - 2
    found = document_loss(model.train(), documents, given=2, batch_size=2)
    assert found == pytest.approx(total / count, rel=1e-5) and model.training
    with pytest.raises(ValueError, match="block_size=12"):
        document_loss(model, [ids(14)])


def test_a_loss_that_is_not_finite_stops_with_advice_and_good_weights(capsys):
    model = small()
    result = steps(model, 50, learning_rate=1e12, clip=0.0, warmup=0)
    assert "not finite" in result.stopped and "smaller learning_rate" in capsys.readouterr().out
    for p, kept in zip(model.parameters(), small().parameters(), strict=True):
        assert torch.equal(p, kept)  # the weights of the last evaluation, which was before the first step


def test_a_stop_leaves_a_usable_model_and_a_state_to_go_on(capsys):
    def press(result):
        if result.state["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    model = small()
    result = steps(model, 20, eval_interval=2, on_evaluation=press)
    assert "after step 4 of 20" in result.stopped and "go on" in capsys.readouterr().out
    assert math.isfinite(model(ids()[None, :8], ids()[None, 1:9])[1].item())
    assert steps(model, 20, eval_interval=2, resume=result.state).stopped is None


def test_a_stop_between_two_evaluations_leaves_the_best_weights_up_to_date():
    text = torch.arange(11).repeat(60)
    model, seen = small(), []

    def press(module, _):
        seen.append(module.training)
        if module.training and sum(seen) == 30:
            signal.raise_signal(signal.SIGINT)

    model.register_forward_pre_hook(press)
    result = run_training(model, text, text, steps=1000, batch_size=8, eval_batches=2, eval_interval=500,
                          progress=False)  # fmt: skip
    assert "after step 30 of 1000" in result.stopped
    assert [entry["step"] for entry in result.history] == [0, 30] and result.best_step == result.state[
        "step"
    ] == 30
    assert all(torch.equal(result.best_state[name], tensor) for name, tensor in model.state_dict().items())


def test_training_again_says_that_it_continues(capsys):
    model = small()
    steps(model, 3)
    capsys.readouterr()
    steps(model, 3)
    assert "3 steps already" in capsys.readouterr().out


def test_the_best_weights_are_kept_when_the_model_overfits():
    model, text = small(n_embd=32), ids(40)
    result = run_training(model, text, ids(4000)[2000:], steps=150, batch_size=8, eval_interval=25, eval_batches=5,
                          progress=False, learning_rate=1e-2)  # fmt: skip
    losses = {entry["step"]: entry["validation"] for entry in result.history}
    assert result.best_step < 150 and result.best_loss == min(losses.values()) < losses[150]


def test_a_text_shorter_than_the_context_is_refused_before_training():
    with pytest.raises(ValueError, match="validation text has 8 tokens, but block_size=8 needs at least 9"):
        run_training(small(), ids(), ids(8), steps=1)


def test_every_token_of_the_validation_text_is_predicted_once():
    model, text = BigramLanguageModel(11), ids(103)
    expected = torch.nn.functional.cross_entropy(model(text[None, :-1])[0][0], text[1:]).item()
    for block_size in (1, 8, 34, 102, 500):
        assert validation_loss(model, text, block_size=block_size) == pytest.approx(expected, abs=1e-5)


def test_a_missing_compiler_is_a_note_not_an_error(monkeypatch):
    def fails(model):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", fails)
    said, model = [], small()
    assert compile_or_note(model, said.append) is model and "no C++ compiler" in said[0]


def test_our_muon_takes_the_steps_of_pytorchs():
    shapes = ((8, 24), (24, 8), (8, 8), (8, 8))
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    a, b = Muon(mine, lr=0.02), torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1)
    for _ in range(3):
        for p, q in zip(mine, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, atol=2e-3, rtol=0)  # PyTorch's own computes in bfloat16


def test_generation_crops_restores_the_mode_and_repeats_with_its_seed():
    for training in (True, False):
        model = small(dropout=0.5).train(training)
        start = torch.randint(11, (2, 20))
        first, second = (sample(model, start, 5, seed=3) for _ in range(2))
        assert first.shape == (2, 25) and torch.equal(first, second) and model.training is training


def test_sampling_settings_do_what_they_say():
    logits = torch.tensor([[1.0, 3.0, 2.0, -1.0]])
    assert next_token_probabilities(logits, temperature=0)[0].tolist() == [0, 1, 0, 0]
    assert (
        next_token_probabilities(logits.clamp(max=2), temperature=0)[0].sum() == 1
    )  # two are likeliest: one
    assert next_token_probabilities(logits.clamp(max=2), temperature=0)[0].max() == 1
    assert (next_token_probabilities(logits, top_k=2)[0] > 0).tolist() == [False, True, True, False]
    assert (next_token_probabilities(logits, top_p=0.5)[0] > 0).tolist() == [False, True, False, False]
    torch.testing.assert_close(next_token_probabilities(logits, top_k=99), logits.softmax(-1))
    for bad in (
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            next_token_probabilities(logits, **bad)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_brings_model_and_vocabulary_back(tmp_path, name, tied):
    model, tokenizer = small(tie_weights=tied).eval(), CharTokenizer("abcdefghijk")
    checkpoints.save(tmp_path / name, model, tokenizer, note="é")
    kept = checkpoints.load(tmp_path / name)
    x = torch.randint(11, (1, 8))
    assert torch.equal(kept.model(x)[0], model(x)[0]) and kept.tokenizer.characters == tokenizer.characters
    assert kept.config == model.config and kept.info == {"note": "é"}


def test_a_model_that_could_not_be_read_again_is_not_saved(tmp_path):
    """With LoRA beside its weights, or with a layer of another size; merged, it is an ordinary model."""
    tokenizer = CharTokenizer("abc")
    model = GPTLanguageModel(GPTConfig(3, 8, 1, 2, 16))
    path = checkpoints.save(tmp_path / "m.pt", model, tokenizer)
    before = path.read_bytes()
    wider = GPTLanguageModel(GPTConfig(3, 8, 1, 2, 16))
    wider.lm_head = torch.nn.Linear(16, 5)
    for odd in (lora.add_lora(model, rank=2), wider):
        with pytest.raises(ValueError, match="could not be read again.*merge_lora"):
            checkpoints.save(path, odd, tokenizer)
    assert path.read_bytes() == before
    checkpoints.save(path, lora.merge_lora(model), tokenizer)
    assert checkpoints.load(path).config == model.config


def test_a_failed_save_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    path, tokenizer = tmp_path / "m.pt", CharTokenizer("abcdefghijk")
    checkpoints.save(path, small(), tokenizer)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"could not write .*No space left"):
        checkpoints.save(path, small(), tokenizer)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.pt"):
        checkpoints.load(tmp_path / "m.pt")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        checkpoints.load(tmp_path / "other.pt")


def test_train_and_generate_run_as_commands(tmp_path, capsys):
    out = str(tmp_path / "m.pt")
    common = ["--text", "tales", "--tales-characters", "5000", "--n-embd", "16", "--n-head", "2", "--n-layer", "1",
              "--device", "cpu", "--out", out]  # fmt: skip
    assert train.main([*common, "--steps", "2", "--json"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert set(__import__("json").loads(last)) == {
        "parameters", "training_characters", "seconds", "characters_per_second", "validation_loss",
    }  # fmt: skip
    assert train.main([*common, "--steps", "4", "--resume"]) == 0
    assert train.main([*common, "--steps", "5", "--resume", "--batch-size", "3"]) == 1
    assert "batch_size: kept 12, asked 3" in capsys.readouterr().err
    assert generate.main(["--checkpoint", out, "--max-new", "5", "--prompt", "On", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("On")


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.5"])
@pytest.mark.parametrize("option", ["--steps", "--batch-size", "--n-head"])
def test_numbers_out_of_range_are_refused_by_the_commands(option, value, capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main([option, value])
    assert (
        stopped.value.code == 2
        and f"'{value}' is not a whole number of at least 1" in capsys.readouterr().err
    )


def test_complete_takes_an_empty_prompt_and_names_an_unknown_character():
    model, tokenizer = small(), CharTokenizer("abcdefghij\n")
    assert len(complete(model, tokenizer, "", 5, seed=1)) == 5
    with pytest.raises(ValueError, match="'Z' at position 1"):
        complete(model, tokenizer, "aZ", 5)
