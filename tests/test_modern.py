"""Today's parts: each alone is what its paper says, and with all of them off the model is the classic GPT."""

import pytest
import torch
import torch.nn.functional as F

from helpers import checkpoints, train, training
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.modern import (
    MLPS,
    Attention,
    FeedForward,
    ModernConfig,
    ModernGPT,
    NGramEmbedding,
    look_back,
    rotate,
    rotation,
)
from helpers.sampling import complete
from helpers.steps import make_optimizers
from helpers.tokenizer import CharTokenizer

SIZES = {"vocab_size": 11, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 16}
OFF = {
    "bias": True, "rope": False, "rms_norm": False, "qk_norm": False, "short_conv": False, "mlp": "relu", "zero_init": False
}  # fmt: skip
NAMES = {"norm1": "ln1", "norm2": "ln2", "norm_f": "ln_f", "ffwd.up": "ffwd.net.0", "ffwd.proj": "ffwd.net.2"}


def modern(**changes) -> ModernGPT:
    torch.manual_seed(0)
    model = ModernGPT(ModernConfig(**(SIZES | changes)))
    for name, p in model.named_parameters():  # what is 0 at first would hide faults
        if name.endswith(("proj.weight", "earlier")):
            torch.nn.init.normal_(p, std=0.3)
    return model


def ids(B=3, T=9, seed=1) -> torch.Tensor:
    return torch.randint(SIZES["vocab_size"], (B, T), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tied", [False, True])
def test_with_all_parts_off_it_is_the_classic_gpt(tied):
    torch.manual_seed(0)
    classic = GPTLanguageModel(GPTConfig(**SIZES, tie_weights=tied))
    ours = ModernGPT(ModernConfig(**SIZES, **OFF, tie_weights=tied))
    weights = classic.state_dict()
    for name in ours.state_dict():
        theirs = name
        for new, old in NAMES.items():
            theirs = theirs.replace(new, old)
        weights[name] = weights.pop(theirs)
    ours.load_state_dict(weights)
    x, y = ids(), ids(seed=2)
    for got, want in zip(ours(x, y), classic(x, y), strict=True):
        assert torch.allclose(got, want, atol=1e-6)


def test_its_initial_weights_have_the_classic_spread():
    classic = GPTLanguageModel(GPTConfig(**(SIZES | {"n_embd": 64})))
    ours = ModernGPT(ModernConfig(**(SIZES | {"n_embd": 64}), **OFF))
    for name, new in (
        ("sa.qkv", "sa.qkv"),
        ("sa.proj", "sa.proj"),
        ("ffwd.net.0", "ffwd.up"),
        ("ffwd.net.2", "ffwd.proj"),
    ):
        want = classic.get_parameter(f"blocks.0.{name}.weight").std().item()
        assert ours.get_parameter(f"blocks.0.{new}.weight").std().item() == pytest.approx(want, rel=0.1)


def test_scores_depend_on_relative_positions_only():
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))

    def score(i: int, j: int) -> float:
        turned = [
            rotate(vector.view(1, 1, 1, 8), *rotation(torch.tensor([place]), 8))
            for vector, place in ((query, i), (key, j))
        ]
        return (turned[0] * turned[1]).sum().item()

    for distance in (0, 1, 5, 100):
        scores = [score(start + distance, start) for start in (0, 1, 17, 300)]
        assert max(scores) - min(scores) < 1e-3
    assert abs(score(5, 0) - score(4, 0)) > 1e-3
    assert score(4, 4) == pytest.approx((query @ key).item(), abs=1e-4)  # nobody is turned against himself


def test_a_turn_keeps_the_length_and_position_0_is_not_turned():
    x = torch.randn(2, 3, 5, 8)
    turned = rotate(x, *rotation(torch.arange(5), 8))
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert torch.allclose(turned[:, :, 0], x[:, :, 0]) and not torch.allclose(turned[:, :, 1], x[:, :, 1])


def test_without_positions_at_all_the_order_of_earlier_tokens_would_not_matter_and_with_rope_it_does():
    for rope, same in ((True, False), (False, True)):
        model = modern(rope=rope, short_conv=False, n_layer=1)
        if not rope:
            torch.nn.init.zeros_(model.position_embedding_table.weight)
        x = torch.tensor([[7, 3, 1, 5]])
        swapped = torch.tensor([[3, 7, 1, 5]])
        assert torch.allclose(model(x)[0][:, -1], model(swapped)[0][:, -1], atol=1e-5) is same


def test_attention_equals_the_sum_written_out():
    torch.manual_seed(1)
    config = ModernConfig(**SIZES)
    attention = Attention(config)
    torch.nn.init.normal_(attention.earlier)
    x, T = torch.randn(2, 7, 16), 7
    cos, sin = rotation(torch.arange(T), 8)
    query, *pair = (part.clone() for part in attention.qkv(x).detach().split(16, dim=-1))
    for kind, part in enumerate(pair):
        one, two = attention.earlier[:, 0].view(2, 2, 16)[:, kind]
        for t in reversed(range(T)):  # the last first, so that each finds the others as they were
            part[:, t] += sum(w * part[:, t - lag] for lag, w in ((1, one), (2, two)) if t >= lag)
    query, key, value = (part.view(2, T, 2, 8).transpose(1, 2) for part in (query, *pair))
    query, key = (
        t / (t.square().mean(-1, keepdim=True) + torch.finfo(t.dtype).eps).sqrt() for t in (query, key)
    )
    scores = rotate(query, cos, sin) @ rotate(key, cos, sin).mT / 8**0.5
    weights = scores.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf")).softmax(-1)
    want = attention.proj((weights @ value).transpose(1, 2).reshape(2, T, 16))
    assert torch.allclose(attention(x, cos, sin), want, atol=1e-5)


def test_looking_back_is_a_depthwise_convolution_that_sees_no_future():
    x, weights = torch.randn(2, 6, 5), torch.randn(2, 1, 5)
    kernel = torch.stack([weights[1, 0], weights[0, 0], torch.ones(5)], dim=-1)[:, None]  # (C, 1, 3)
    want = F.conv1d(F.pad(x.mT, (2, 0)), kernel, groups=5).mT
    assert torch.allclose(look_back(x, weights), want, atol=1e-5)
    assert torch.equal(look_back(x[:, :1], weights), x[:, :1])  # shorter than the look back


def test_the_tables_of_pairs_and_triples_are_read_where_the_last_tokens_say():
    """Against the sum written out: a number in base V + 1, digit 0 for what stands before the text."""
    layer = NGramEmbedding(ModernConfig(**SIZES, ngram_rows=(31, 53)))
    x = ids(B=2, T=6)
    got = layer(x)
    for row in range(2):
        digits = [0, 0] + [int(token) + 1 for token in x[row]]
        for t in range(6):
            last, one, two = digits[t + 2], digits[t + 1], digits[t]
            pair = (last * 12 + one) % 31
            triple = (last * 144 + one * 12 + two) % 53
            expected = layer.weight[last - 1] + layer.tables[0].weight[pair] + layer.tables[1].weight[triple]
            torch.testing.assert_close(got[row, t], expected)


def test_one_number_of_rows_means_one_table():
    assert ModernConfig(**SIZES, ngram_rows=5).ngram_rows == (5,)


def test_pairs_that_share_no_row_have_rows_of_their_own():
    layer = NGramEmbedding(ModernConfig(**SIZES, ngram_rows=(144,)))  # 12 x 12: room for every pair
    pairs = torch.cartesian_prod(torch.arange(11), torch.arange(11))  # (121, 2)
    rows = layer(pairs)[:, 1]  # (121, C)
    assert len({tuple(row.tolist()) for row in rows}) == 121


def test_without_tables_it_is_the_plain_embedding_and_a_checkpoint_brings_them_back(tmp_path):
    model = ModernGPT(ModernConfig(**SIZES, ngram_rows=(31, 53)))
    assert type(ModernGPT(ModernConfig(**SIZES)).token_embedding_table) is torch.nn.Embedding
    plain = ModernGPT(ModernConfig(**SIZES))
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if ".tables." not in k})
    assert not torch.allclose(model(ids())[0], plain(ids())[0])
    with torch.no_grad():
        for table in model.token_embedding_table.tables:
            table.weight.zero_()
    assert torch.equal(model(ids())[0], plain(ids())[0])
    with torch.no_grad():
        for table in model.token_embedding_table.tables:
            table.weight.normal_()
    tokenizer = CharTokenizer.from_text("abcdefghijk")
    checkpoints.save(tmp_path / "tables.safetensors", model, tokenizer)
    again = checkpoints.load(tmp_path / "tables.safetensors")
    assert again.model.config.ngram_rows == (31, 53)
    assert torch.equal(again.model(ids())[0], model.eval()(ids())[0])


def test_with_one_table_for_both_ends_only_that_of_the_single_tokens_is_shared():
    model = ModernGPT(ModernConfig(**SIZES, ngram_rows=(31,), tie_weights=True))
    assert model.lm_head.weight is model.token_embedding_table.weight
    assert model(ids())[0].shape == (3, 9, 11)


def test_normalized_queries_and_keys_bound_the_scores():
    config = ModernConfig(**SIZES)
    attention = Attention(config)
    torch.nn.init.normal_(attention.qkv.weight, std=50.0)  # without the norm softmax would be all or nothing
    query, key, _ = attention.qkv(torch.randn(2, 7, 16)).view(2, 7, 3, 2, 8).permute(2, 0, 3, 1, 4)
    normal = [F.rms_norm(t, (8,)) for t in (query, key)]
    assert (normal[0] @ normal[1].mT / 8**0.5).abs().max() <= 8**0.5 + 1e-3
    assert (query @ key.mT / 8**0.5).abs().max() > 100


def test_the_three_feed_forward_parts_are_what_they_are_called():
    x = torch.randn(4, 16)
    for kind in MLPS:
        torch.manual_seed(2)
        part = FeedForward(ModernConfig(**SIZES, mlp=kind))
        up = part.up(x)
        if kind == "swiglu":
            up, gate = up.chunk(2, dim=-1)
            bent = up * gate * torch.sigmoid(gate)
        else:
            bent = up.clamp(min=0) ** (2 if kind == "relu2" else 1)
        assert torch.allclose(part(x), part.proj(bent), atol=1e-6)
    wide = [FeedForward(ModernConfig(**SIZES | {"n_embd": 96}, mlp=kind)) for kind in MLPS]
    sizes = {part.kind: sum(p.numel() for p in part.parameters()) for part in wide}
    assert sizes["swiglu"] == sizes["relu"] == sizes["relu2"]


def test_blocks_add_nothing_at_first_so_the_first_loss_is_that_of_knowing_nothing():
    torch.manual_seed(0)
    model = ModernGPT(ModernConfig(**SIZES))
    x = ids()
    table = model.token_embedding_table(x)
    assert torch.allclose(model(x)[0], model.lm_head(model.norm_f(table)), atol=1e-6)
    assert model(x, ids(seed=2))[1].item() == pytest.approx(torch.tensor(11.0).log().item(), abs=0.2)


def test_changing_a_future_token_leaves_earlier_logits_unchanged():
    for changes in (
        {},
        {"rope": False},
        {"mlp": "swiglu"},
        {"qk_norm": False},
        {"rms_norm": False},
        {"short_conv": False},
        {"ngram_rows": (31, 53)},
    ):
        model, x = modern(**changes), ids()
        for place in range(1, x.shape[1]):
            other = x.clone()
            other[:, place] = (x[:, place] + 1) % 11
            before, after = model(x)[0], model(other)[0]
            assert torch.equal(before[:, :place], after[:, :place])
            assert not torch.equal(before[:, place:], after[:, place:])


def test_every_parameter_gets_a_gradient():
    for changes in (
        {},
        {"rope": False, "mlp": "swiglu", "tie_weights": True},
        {"ngram_rows": (3, 5)},
    ):
        model = modern(**changes)
        model(ids(), ids(seed=2))[1].backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mlp": "gelu"}, "mlp='gelu', but it is one of relu, relu2, swiglu"),
        ({"n_embd": 6, "n_head": 2}, "heads of 3 numbers"),
        ({"n_embd": 15}, "not divisible"),
        ({"block_size": 0}, "block_size=0"),
        ({"ngram_rows": (100, 0)}, r"ngram_rows=\(100, 0\), but it has a whole number"),
        ({"ngram_rows": (2.5,)}, "a whole number of at least 1 for pairs"),
        ({"ngram_rows": [True]}, "a whole number of at least 1 for pairs"),
        ({"vocab_size": 50_257, "ngram_rows": (9,) * 4}, "does not fit into 64 bits: take fewer tables"),
    ],
)
def test_settings_that_fit_no_model_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        ModernConfig(**SIZES | changes)


def test_a_sequence_longer_than_the_context_names_both_lengths():
    with pytest.raises(ValueError, match="has 13 tokens, but block_size=12"):
        modern()(ids(T=13))


def test_the_training_command_makes_one_keeps_it_and_it_comes_back_and_writes(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("over the hills and far away the lantern stood\n" * 30, encoding="utf-8", newline="\n")
    small = [
        "--n-layer",
        "1",
        "--n-head",
        "2",
        "--n-embd",
        "16",
        "--block-size",
        "16",
        "--eval-interval",
        "4",
    ]
    for name in ("m.pt", "m.safetensors"):
        out = ["--out", str(tmp_path / name), "--device", "cpu"]
        assert train.main(["--text", str(text), "--preset", "modern", "--steps", "8", *small, *out]) == 0
        kept = checkpoints.load(tmp_path / name)
        assert isinstance(kept.model, ModernGPT) and kept.config == kept.model.config
        assert (
            kept.config.tie_weights and kept.model.lm_head.weight is kept.model.token_embedding_table.weight
        )
        written = complete(kept.model, kept.tokenizer, "over", 40, temperature=0)
        assert len(written) == 44
    again = ["--text", str(text), "--preset", "modern", "--steps", "12", *small]
    assert train.main([*again, "--out", str(tmp_path / "m.pt"), "--resume"]) == 0
    assert train.main([*again, "--out", str(tmp_path / "m.pt"), "--resume", "--model", "classic"]) == 1
    assert "model: kept 'modern', asked 'classic'" in capsys.readouterr().err


def test_the_momentum_of_muon_is_that_of_the_settings_and_a_wrong_one_is_refused():
    model = modern()
    optimizers = make_optimizers(model, "muon", 1e-3, 0.1, (0.9, 0.99), momentum=0.7)
    assert optimizers[1].param_groups[0]["momentum"] == 0.7
    of_muon = {p for group in optimizers[1].param_groups for p in group["params"]}
    assert model.blocks[0].sa.qkv.weight in of_muon and model.blocks[0].sa.earlier not in of_muon
    for wrong in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"momentum={wrong}, but"):
            training.train(model, ids()[0], ids()[0], steps=1, momentum=wrong)
