"""Cases 37, 38, 39 and 41: attention and the block, each with the right value and with the fault put in.

A check that its fault would not fail says nothing, so each has a test of the name "... would be noticed".
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import gpt
from helpers.gpt import Block, GPTConfig, GPTLanguageModel, Head, LoopedMultiHeadAttention, MultiHeadAttention

# B, T, n_embd, n_head, head_size and block_size all differ, so that no exchange of two of them fits by chance.
B, T, N_EMBD, N_HEAD, HEAD_SIZE, BLOCK_SIZE = 2, 7, 12, 4, 3, 9
BOTH = [LoopedMultiHeadAttention, MultiHeadAttention]


def config(**changes) -> GPTConfig:
    shape = {"vocab_size": 11, "block_size": BLOCK_SIZE, "n_layer": 2, "n_head": N_HEAD, "n_embd": N_EMBD}
    return GPTConfig(**shape | changes)


def spread(module: nn.Module) -> nn.Module:
    """Weights large enough that attention is far from even, and far from looking at one place only."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def x() -> torch.Tensor:
    return torch.randn(B, T, N_EMBD, generator=torch.Generator().manual_seed(3))  # (B, T, C)


def weights_of(head: Head, inputs: torch.Tensor) -> torch.Tensor:
    """The attention weights (B, T, T) that a head gives to its dropout."""
    seen = []
    handle = head.dropout.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    head(inputs)
    handle.remove()
    return seen[0]


def by_hand(head: Head, inputs: torch.Tensor, width: int, dim: int = -1) -> torch.Tensor:
    """A head, its scores divided by the root of `width` and the softmax over `dim`. (B, T, head_size)"""
    scores = head.query(inputs) @ head.key(inputs).mT / width**0.5  # (B, T, T)
    future = torch.ones(T, T).triu(1).bool()
    return scores.masked_fill(future, float("-inf")).softmax(dim) @ head.value(inputs)


def load_heads(batched: MultiHeadAttention, looped: LoopedMultiHeadAttention) -> None:
    """Give the batched attention the weights of the looped one."""
    parts = [getattr(head, name) for name in ("query", "key", "value") for head in looped.heads]
    batched.qkv.load_state_dict({
        "weight": torch.cat([part.weight for part in parts]), "bias": torch.cat([part.bias for part in parts])
    })  # fmt: skip
    batched.proj.load_state_dict(looped.proj.state_dict())


# --- case 37: scores are divided by the root of the head size, not of the embedding size ---


def test_a_head_equals_pytorchs_attention_with_another_head_size_than_the_embedding():
    head = spread(Head(config()))
    q, k, v = head.query(x()), head.key(x()), head.value(x())
    assert q.shape == (B, T, HEAD_SIZE) and HEAD_SIZE != N_EMBD
    right = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, T, head_size)
    torch.testing.assert_close(head(x()), right, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_hand(head, x(), HEAD_SIZE), right, atol=1e-5, rtol=0)


def test_batched_heads_equal_the_heads_one_after_the_other():
    looped, batched = spread(LoopedMultiHeadAttention(config())), MultiHeadAttention(config()).eval()
    load_heads(batched, looped)
    torch.testing.assert_close(batched(x()), looped(x()), atol=1e-5, rtol=0)
    heads = torch.cat([by_hand(head, x(), HEAD_SIZE) for head in looped.heads], dim=-1)
    torch.testing.assert_close(looped(x()), looped.proj(heads), atol=1e-5, rtol=0)


def test_a_scale_by_the_embedding_size_would_be_noticed():
    head = spread(Head(config()))
    assert (head(x()) - by_hand(head, x(), N_EMBD)).abs().max() > 0.05


# --- case 38: the softmax runs over the positions that are looked at ---


def test_the_weights_of_each_position_are_shares_of_one():
    weights = weights_of(spread(Head(config())), x())
    assert weights.shape == (B, T, T) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, T))
    assert (weights.sum(-2) - 1).abs().max() > 0.1  # columns do not sum to 1: the rows are no accident


@pytest.mark.parametrize("kind", BOTH)
def test_values_that_are_all_one_come_out_as_one(kind):
    """What comes out is then the sum of the weights, whatever queries and keys say."""
    attention = spread(kind(config()))
    with torch.no_grad():
        if kind is MultiHeadAttention:
            attention.qkv.weight[2 * N_EMBD :] = 0
            attention.qkv.bias[2 * N_EMBD :] = 1
        else:
            for head in attention.heads:
                head.value.weight.zero_()
                head.value.bias.fill_(1)
        attention.proj.weight.copy_(torch.eye(N_EMBD))
        attention.proj.bias.zero_()
    torch.testing.assert_close(attention(x()), torch.ones(B, T, N_EMBD))


@pytest.mark.parametrize("dim", [0, 1])
def test_a_softmax_over_another_dimension_would_be_noticed(dim, monkeypatch):
    head, softmax = spread(Head(config())), F.softmax
    right = head(x())
    monkeypatch.setattr(gpt.F, "softmax", lambda scores, **kwargs: softmax(scores, dim=dim).nan_to_num())
    assert (head(x()) - right).abs().max() > 0.05
    assert (weights_of(head, x()).sum(-1) - 1).abs().max() > 0.1


# --- case 39: a position hears itself and all before it, and nothing after it ---


def heard(function, inputs: torch.Tensor) -> torch.Tensor:
    """(T, T) bool: whether output t moves with input s. function: (B, T, C) -> (B, T, any width)."""
    inputs, rows = inputs.clone().requires_grad_(), []
    out = function(inputs)
    draw = torch.Generator().manual_seed(5)
    for t in range(inputs.shape[1]):
        direction = torch.randn(out[:, t].shape, generator=draw)
        (grad,) = torch.autograd.grad((out[:, t] * direction).sum(), inputs, retain_graph=True)  # (B, T, C)
        rows.append((grad != 0).any(-1).all(0))  # in every row of the batch
    return torch.stack(rows)


PAST = torch.ones(BLOCK_SIZE, BLOCK_SIZE).tril().bool()


@pytest.mark.parametrize("length", [1, T, BLOCK_SIZE])
@pytest.mark.parametrize("kind", [Head, *BOTH, Block])
def test_each_position_hears_itself_and_all_before_it_and_nothing_after_it(kind, length):
    inputs = torch.randn(B, length, N_EMBD)
    assert torch.equal(heard(spread(kind(config())), inputs), PAST[:length, :length])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("looped", [False, True])
def test_changing_any_token_changes_the_logits_from_there_on_and_none_before(looped, training):
    model = spread(GPTLanguageModel(config(looped_heads=looped))).train(training)
    ids = torch.randint(11, (B, T))
    before = model(ids)[0]
    for t in range(T):
        other = ids.clone()
        other[:, t] = (other[:, t] + 1) % 11
        changed = (model(other)[0] - before).abs().amax((0, 2)) > 1e-5  # (T,)
        assert changed.tolist() == [s >= t for s in range(T)]


@pytest.mark.parametrize("diagonal", [1, -1, BLOCK_SIZE])
def test_a_mask_that_lets_too_much_or_too_little_through_would_be_noticed(diagonal):
    head = spread(Head(config()))
    head.mask = torch.ones(BLOCK_SIZE, BLOCK_SIZE).tril(diagonal).bool()
    head.mask[0, 0] = True  # the first position must see something
    assert not torch.equal(heard(head, x()), PAST[:T, :T])


# --- case 41: pre-norm, as in GPT-2 ---


def pre_norm(block: Block, inputs: torch.Tensor) -> torch.Tensor:
    inputs = inputs + block.sa(block.ln1(inputs))
    return inputs + block.ffwd(block.ln2(inputs))


def post_norm(block: Block, inputs: torch.Tensor) -> torch.Tensor:
    inputs = block.ln1(inputs + block.sa(inputs))
    return block.ln2(inputs + block.ffwd(inputs))


@pytest.mark.parametrize("looped", [False, True])
def test_a_block_normalizes_what_its_parts_read_and_not_what_passes_by(looped):
    block = spread(Block(config(looped_heads=looped)))
    torch.testing.assert_close(block(x()), pre_norm(block, x()))
    assert (block(x()) - post_norm(block, x())).abs().max() > 0.5  # the other order would be noticed


def test_blocks_whose_parts_add_nothing_pass_everything_on_to_one_last_norm():
    model = spread(GPTLanguageModel(config()))
    for block in model.blocks:
        for layer in (block.sa.proj, block.ffwd.net[2]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    ids = torch.randint(11, (B, T))
    stream = model.token_embedding_table(ids) + model.position_embedding_table(torch.arange(T))
    assert torch.equal(model.blocks(stream), stream)
    torch.testing.assert_close(model(ids)[0], model.lm_head(model.ln_f(stream)))


def test_the_page_of_the_model_says_which_norm_it_has_and_whose():
    assert "pre-norm as in GPT-2" in " ".join(gpt.__doc__.split())
