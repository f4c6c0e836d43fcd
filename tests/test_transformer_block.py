"""Notebook 09: four forms of multi-head attention are one; what a block's parts do, and what they cost."""

import ast
import math
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import gpt
from helpers.gpt import Block, FeedForward, GPTConfig, Head, LoopedMultiHeadAttention, MultiHeadAttention

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "09_transformer_block.ipynb"
CELLS = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
SHAPES = [(1, 8), (2, 12), (3, 12), (4, 12), (12, 12)]  # n_head, n_embd
LENGTHS = (1, 5, 8)  # of the sequence; the block size is 8
close = torch.testing.assert_close  # float32: 1.3e-6 relative, 1e-5 absolute


def from_notebook(*names: str, **known) -> dict:
    """The last definitions of these names in the notebook's cells, and the names they need."""
    found = {}
    for source in CELLS:
        for node in ast.parse(source).body:
            if getattr(node, "name", None) in names:
                found[node.name] = node
    assert found.keys() == set(names)
    space = {"torch": torch, "F": F, "nn": nn, "math": math, "Head": Head, **known}
    space["ACTIVATIONS"], space["GPTConfig"] = gpt.ACTIVATIONS, GPTConfig
    exec("\n\n".join(ast.unparse(found[name]) for name in names), space)
    return space


MINE = from_notebook(
    "LoopedMultiHeadAttention",
    "stacked",
    "MultiHeadAttention",
    "FeedForward",
    "Block",
    "PostNormBlock",
    "Neither",
    "NoNorm",
    "Stack",
    "rows_by_hand",
    "count",
    C=12,
)


def config(n_head: int = 3, n_embd: int = 12, **changes) -> GPTConfig:
    return GPTConfig(**{"vocab_size": 11, "block_size": 8, "n_head": n_head, "n_embd": n_embd} | changes)


def numbers(T: int = 5, C: int = 12) -> torch.Tensor:
    return torch.randn(2, T, C, generator=torch.Generator().manual_seed(T))  # (B, T, C)


def to_batched(looped: nn.Module, bias: bool) -> dict[str, torch.Tensor]:
    """The state_dict of MultiHeadAttention that has a looped one's weights."""
    kinds = ("weight", "bias") if bias else ("weight",)
    state = {f"qkv.{what}": MINE["stacked"](looped, what) for what in kinds}
    return state | {f"proj.{what}": getattr(looped.proj, what) for what in kinds}


def to_looped(batched: nn.Module, bias: bool) -> dict[str, torch.Tensor]:
    """The way back: the state_dict of LoopedMultiHeadAttention."""
    state, kinds = {}, ("weight", "bias") if bias else ("weight",)
    for what in kinds:
        state[f"proj.{what}"] = getattr(batched.proj, what)
        thirds = getattr(batched.qkv, what).chunk(3)  # (C, ...) each
        for kind, part in zip(("query", "key", "value"), thirds, strict=True):
            for h, piece in enumerate(part.chunk(batched.n_head)):  # (head_size, ...) each
                state[f"heads.{h}.{kind}.{what}"] = piece
    return state


def by_hand(x: torch.Tensor, batched: nn.Module) -> torch.Tensor:
    """Attention written out, with no PyTorch attention and no loop over heads."""
    B, T, C = x.shape
    qkv = F.linear(x, batched.qkv.weight, batched.qkv.bias).view(B, T, 3, batched.n_head, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, n_head, T, head_size) each
    scores = query @ key.transpose(-2, -1) / math.sqrt(C // batched.n_head)  # (B, n_head, T, T)
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(later, float("-inf")).softmax(dim=-1)
    merged = (weights @ value).transpose(1, 2).reshape(B, T, C)
    return F.linear(merged, batched.proj.weight, batched.proj.bias)


def ladder(n_head: int, n_embd: int, bias: bool) -> dict:
    """The four forms of one attention; each has the weights of the one before it."""
    torch.manual_seed(n_head)
    looped = MINE["LoopedMultiHeadAttention"](config(n_head, n_embd, bias=bias))
    batched = MINE["MultiHeadAttention"](config(n_head, n_embd, bias=bias))
    batched.load_state_dict(to_batched(looped, bias))
    helpers_own = MultiHeadAttention(config(n_head, n_embd, bias=bias))
    helpers_own.load_state_dict(batched.state_dict())
    helpers_looped = LoopedMultiHeadAttention(config(n_head, n_embd, bias=bias))
    helpers_looped.load_state_dict(to_looped(helpers_own, bias))
    pytorchs = nn.MultiheadAttention(n_embd, n_head, bias=bias, batch_first=True)
    names = {"qkv.": "in_proj_", "proj.": "out_proj."}
    pytorchs.load_state_dict(
        {new + what: helpers_own.state_dict()[old + what] for old, new in names.items()
         for what in (("weight", "bias") if bias else ("weight",))}
    )  # fmt: skip

    def theirs(x):
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return pytorchs(x, x, x, attn_mask=later, need_weights=False)[0]

    return {
        "looped": looped,
        "by hand": lambda x: by_hand(x, batched),
        "batched": batched,
        "helpers": helpers_own,
        "helpers, looped": helpers_looped,
        "PyTorch": theirs,
    }


# --- the ladder ---


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_head, n_embd", SHAPES)
def test_all_forms_of_attention_give_the_same_values_and_gradients(n_head, n_embd, bias):
    forms = ladder(n_head, n_embd, bias)
    for T in LENGTHS:
        results = {}
        for name, form in forms.items():
            x = numbers(T, n_embd).requires_grad_()
            y = form(x)  # (B, T, C)
            (y * torch.linspace(-1, 2, y.numel()).view(y.shape)).sum().backward()
            assert y.shape == x.shape and x.grad.abs().sum() > 0
            results[name] = (y.detach(), x.grad)
        for name, found in results.items():
            for one, other in zip(found, results["looped"], strict=True):
                close(one, other, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("bias", [True, False])
def test_the_gradients_of_the_weights_are_the_same_numbers_in_another_order(bias):
    forms = ladder(3, 12, bias)
    looped, batched = forms["looped"], forms["batched"]
    for form in (looped, batched):
        (form(numbers()) ** 3).sum().backward()
    kinds = ("weight", "bias") if bias else ("weight",)
    for what in kinds:
        wanted = torch.cat(
            [getattr(getattr(head, kind), what).grad for kind in ("query", "key", "value") for head in looped.heads]
        )  # fmt: skip
        assert wanted.abs().sum() > 0
        close(getattr(batched.qkv, what).grad, wanted, rtol=1e-4, atol=1e-5)
        close(getattr(batched.proj, what).grad, getattr(looped.proj, what).grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_head, n_embd", SHAPES)
def test_weights_travel_to_the_batched_form_and_back_without_loss(n_head, n_embd, bias):
    torch.manual_seed(1)
    first = LoopedMultiHeadAttention(config(n_head, n_embd, bias=bias))
    batched = MultiHeadAttention(config(n_head, n_embd, bias=bias))
    batched.load_state_dict(to_batched(first, bias))
    again = LoopedMultiHeadAttention(config(n_head, n_embd, bias=bias))
    again.load_state_dict(to_looped(batched, bias))
    state = first.state_dict()
    assert len(state) == (3 * n_head + 1) * (1 + bias)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_the_results_of_the_heads_stand_side_by_side():
    looped = LoopedMultiHeadAttention(config())
    with torch.no_grad():
        looped.proj.weight.copy_(torch.eye(12))
        looped.proj.bias.zero_()
    result = looped(numbers())
    for h, head in enumerate(looped.heads):
        close(result[..., 4 * h : 4 * h + 4], head(numbers()))


def test_merging_without_the_transpose_has_the_right_shape_and_other_values():
    x = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)  # (B, n_head, T, head_size)
    right, wrong = x.transpose(1, 2).reshape(2, 5, 12), x.reshape(2, 5, 12)
    assert right.shape == wrong.shape and not torch.equal(right, wrong)
    assert torch.equal(right[1, 3], torch.cat([x[1, h, 3] for h in range(3)]))


@pytest.mark.parametrize("kind", [LoopedMultiHeadAttention, MultiHeadAttention])
def test_a_later_position_changes_no_earlier_result(kind):
    attention, x = kind(config()), numbers(8)
    other = x.clone()
    other[:, 5] += 1
    same = (attention(x) - attention(other)).abs().amax(dim=(0, 2)) == 0  # (T,)
    assert same.tolist() == [True] * 5 + [False] * 3


@pytest.mark.parametrize("kind", [LoopedMultiHeadAttention, MultiHeadAttention])
def test_dropout_acts_in_train_mode_and_not_in_eval_mode(kind):
    attention, x = kind(config(dropout=0.5)), numbers()
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


# --- feed-forward ---


def test_feed_forward_acts_at_each_position_by_itself():
    part, x = FeedForward(config()), numbers(8)
    for t in range(8):
        other = x.clone()
        other[:, t] += 1
        moved = (part(x) - part(other)).abs().amax(dim=(0, 2)) > 0  # (T,)
        assert moved.nonzero().flatten().tolist() == [t]
        close(part(x[:, t]), part(x)[:, t])


def test_feed_forward_is_four_times_as_wide_in_the_middle():
    part = FeedForward(config(n_embd=12))
    assert part.net[0].weight.shape == (48, 12) and part.net[2].weight.shape == (12, 48)


# --- blocks ---


@pytest.mark.parametrize("name, norm_first", [("Block", True), ("PostNormBlock", False)])
def test_both_orders_of_the_norm_are_pytorchs(name, norm_first):
    torch.manual_seed(1)
    block = MINE[name](config())
    with torch.no_grad():
        for parameter in block.parameters():  # norms with weights of their own
            parameter.add_(0.1 * torch.randn(parameter.shape))
    theirs = nn.TransformerEncoderLayer(12, 3, 48, dropout=0.0, batch_first=True, norm_first=norm_first)
    parts = {
        "self_attn.in_proj_": "sa.qkv.", "self_attn.out_proj.": "sa.proj.", "norm1.": "ln1.", "norm2.": "ln2.",
        "linear1.": "ffwd.net.0.", "linear2.": "ffwd.net.2.",
    }  # fmt: skip
    state = block.state_dict()
    theirs.load_state_dict(
        {new + w: state[old + w] for new, old in parts.items() for w in ("weight", "bias")}
    )
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    close(block(numbers()), theirs(numbers(), src_mask=later), rtol=1e-5, atol=1e-5)


def test_pre_norm_and_post_norm_have_the_same_weights_and_are_different_models():
    pre, post = MINE["Block"](config()), MINE["PostNormBlock"](config())
    post.load_state_dict(pre.state_dict())
    assert (pre(numbers()) - post(numbers())).abs().max() > 0.1


def test_post_norm_gives_normalized_numbers_and_pre_norm_does_not():
    x = 3 * numbers()
    post, pre = MINE["PostNormBlock"](config())(x), MINE["Block"](config())(x)
    close(post.mean(dim=-1), torch.zeros(2, 5), rtol=0, atol=1e-5)
    close(post.var(dim=-1, correction=0), torch.ones(2, 5), rtol=0, atol=1e-3)
    assert pre.var(dim=-1, correction=0).min() > 2


def test_a_block_whose_parts_give_nothing_hands_x_on():
    block = Block(config())
    with torch.no_grad():
        for layer in (block.sa.proj, block.ffwd.net[2]):
            layer.weight.zero_()
            layer.bias.zero_()
    assert torch.equal(block(numbers()), numbers())


def test_the_gradient_reaches_the_first_of_twelve_blocks_only_with_residuals():
    sizes = {}
    for name in ("Block", "NoNorm", "PostNormBlock", "Neither"):
        torch.manual_seed(1)
        x = numbers().requires_grad_()
        stack = nn.Sequential(*[MINE[name](config()) for _ in range(12)], nn.LayerNorm(12))
        stack(x).square().mul(torch.arange(12.0)).sum().backward()
        sizes[name] = x.grad.square().mean().sqrt().item()
    least = min(sizes[name] for name in sizes if name != "Neither")
    assert 0 < sizes["Neither"] < 1e-6 * least


def test_the_looped_and_the_batched_block_are_the_same_block():
    looped = Block(config(looped_heads=True))
    batched = Block(config())
    state = {k: v for k, v in looped.state_dict().items() if not k.startswith("sa.")}
    state |= {f"sa.{k}": v for k, v in to_batched(looped.sa, bias=True).items()}
    batched.load_state_dict(state)
    close(looped(numbers()), batched(numbers()), rtol=1e-5, atol=1e-5)


# --- counting ---


@pytest.mark.parametrize("looped", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_head, n_embd", [*SHAPES, (4, 64), (6, 96)])
def test_the_count_by_hand_is_that_of_pytorch(n_head, n_embd, bias, looped):
    block = Block(config(n_head, n_embd, bias=bias, looped_heads=looped))
    rows = MINE["rows_by_hand"](n_embd, bias)
    counted = sum(parameter.numel() for parameter in block.parameters())
    assert sum(rows.values()) == counted == MINE["count"](block)
    assert rows["qkv"] + rows["proj"] == MINE["count"](block.sa)
    assert rows["feed-forward, up"] + rows["feed-forward, down"] == MINE["count"](block.ffwd)


def test_training_with_adamw_takes_sixteen_bytes_for_each_parameter():
    block = Block(config())
    optimizer = torch.optim.AdamW(block.parameters())
    block(numbers()).sum().backward()
    optimizer.step()
    held = [*block.parameters(), *(p.grad for p in block.parameters())]
    held += [t for state in optimizer.state.values() for name, t in state.items() if name != "step"]
    assert sum(t.numel() * t.element_size() for t in held) == 16 * MINE["count"](block)


# --- containers ---


def test_a_plain_list_registers_no_parameters_and_a_module_list_does():
    blocks = [Block(config()) for _ in range(3)]
    one = sum(parameter.numel() for parameter in blocks[0].parameters())
    head = 12 * 7 + 7
    counts = [
        MINE["count"](MINE["Stack"](c)) for c in (blocks, nn.ModuleList(blocks), nn.Sequential(*blocks))
    ]
    assert counts == [head, head + 3 * one, head + 3 * one]
    assert set(MINE["Stack"](blocks).state_dict()) == {"head.weight", "head.bias"}
    assert set(nn.ModuleList(blocks).state_dict()) == set(nn.Sequential(*blocks).state_dict())


def test_blocks_in_a_plain_list_run_and_do_not_learn():
    moved = {}
    for name, container in (("list", list), ("ModuleList", nn.ModuleList)):
        torch.manual_seed(1)
        stack = MINE["Stack"](container([Block(config()) for _ in range(2)]))
        before = stack.blocks[0].ffwd.net[0].weight.clone()
        optimizer = torch.optim.SGD(stack.parameters(), lr=0.1)
        stack(numbers()).square().sum().backward()
        optimizer.step()
        moved[name] = not torch.equal(before, stack.blocks[0].ffwd.net[0].weight)
    assert moved == {"list": False, "ModuleList": True}


def test_the_same_block_twice_is_one_block():
    block = Block(config())
    assert MINE["count"](nn.Sequential(block, block)) == MINE["count"](block)


def test_a_sequential_is_a_loop_over_its_modules_and_a_module_list_cannot_be_called():
    blocks = [Block(config()) for _ in range(3)]
    x = numbers()
    for block in nn.ModuleList(blocks):
        x = block(x)
    assert torch.equal(x, nn.Sequential(*blocks)(numbers()))
    with pytest.raises(NotImplementedError):
        nn.ModuleList(blocks)(numbers())
    with pytest.raises(TypeError):
        nn.Sequential(*blocks)(numbers(), None)


# --- the bug zoo ---


@pytest.mark.parametrize(
    ("name", "leaks"),
    [("WrongMerge", True), ("NoMask", True), ("ColumnSoftmax", True), ("AlwaysDropout", None), (None, False)],
)
def test_each_patient_of_the_ward_has_its_fault(name, leaks):
    known = {"MultiHeadAttention": MultiHeadAttention}
    kind = from_notebook(name, **known)[name] if name else MultiHeadAttention
    torch.manual_seed(1)
    attention, x = kind(config()).eval(), numbers(8)
    other = x.clone()
    other[:, -1] += 1
    if leaks is None:
        assert not torch.equal(attention(x), attention(x))
    else:
        assert torch.equal(attention(x), attention(x))
        assert bool(((attention(x) - attention(other))[:, :-1].abs() > 1e-5).any()) is leaks
