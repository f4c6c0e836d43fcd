"""The baselines of the benchmark are no straw men: each does what our form does, from the same weights and random numbers."""

import pytest
import torch

from helpers.batches import get_batch
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lecture_forms import (
    encode_by_dictionary,
    generate_by_cropping,
    get_batch_by_list,
    with_looped_heads,
)
from helpers.sampling import generate
from helpers.steps import make_optimizers
from helpers.tales import write_tales
from helpers.tokenizer import CharTokenizer

V = 19


def gpt(**changes) -> GPTLanguageModel:
    """A small model with weights far from zero."""
    torch.manual_seed(0)
    sizes = {"vocab_size": V, "block_size": 10, "n_layer": 2, "n_head": 2, "n_embd": 16} | changes
    model = GPTLanguageModel(GPTConfig(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def dice(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_dictionary_gives_the_ids_of_the_tokenizer():
    text = write_tales(3000) + "äß€😀\n"
    tokenizer = CharTokenizer.from_text(text)
    assert encode_by_dictionary(text, tokenizer.characters) == tokenizer.encode(text).tolist()


def test_the_list_cuts_the_windows_of_get_batch():
    ids = torch.randint(V, (200,), generator=dice())
    for block_size, batch_size in ((8, 4), (199, 3), (1, 1)):
        ours = get_batch(ids, block_size, batch_size, dice())
        theirs = get_batch_by_list(ids, block_size, batch_size, dice())
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    "changes", [{}, {"bias": False, "tie_weights": True}, {"n_head": 4, "n_layer": 1}], ids=str
)
def test_heads_in_a_loop_give_the_logits_the_loss_and_the_gradients_of_batched_ones(changes):
    model = gpt(**changes)
    looped = with_looped_heads(model)
    assert looped.config.looped_heads and not model.config.looped_heads
    x, y = torch.randint(V, (2, 3, 10), generator=dice())
    (ours, loss), (theirs, their_loss) = model(x, y), looped(x, y)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, their_loss)
    loss.backward()
    their_loss.backward()
    ours, theirs = model.blocks[0].sa.qkv.weight.grad, looped.blocks[0].sa.heads
    theirs = torch.cat(
        [getattr(head, part).weight.grad for part in ("query", "key", "value") for head in theirs]
    )
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_training_steps_with_looped_and_batched_heads_have_the_same_losses():
    model = gpt()
    histories = []
    for each in (with_looped_heads(model), model):
        (optimizer,) = make_optimizers(each, "adamw", 1e-3, 0.1, (0.9, 0.99))
        ids, losses, random = torch.randint(V, (300,), generator=dice()), [], dice(4)
        for _ in range(20):
            loss = each(*get_batch(ids, 10, 4, random))[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        histories.append(losses)
    assert histories[0] == pytest.approx(histories[1], abs=2e-4) and histories[0][0] != histories[0][-1]


def test_a_looped_copy_keeps_the_mode_and_does_not_share_the_weights():
    model = gpt().eval()
    looped = with_looped_heads(model)
    assert not looped.training
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert looped.lm_head.weight.abs().sum() > 0


def test_cropping_writes_what_generate_writes():
    model, start = gpt().eval(), torch.randint(V, (2, 3), generator=dice())
    theirs = generate_by_cropping(with_looped_heads(model), start, 40, dice(7))
    for cache in (None, "exact"):
        torch.manual_seed(0)
        assert torch.equal(generate(model, start, 40, seed=7, cache=cache), theirs)
    # What the benchmark times, as far as both see the same tokens; behind it the window of "stride" moves in leaps.
    assert torch.equal(generate(model, start, 7, seed=7, cache="stride"), theirs[:, :10])
