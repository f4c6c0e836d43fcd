"""The key/value cache gives what the whole model gives, and generation with it writes the same text."""

import pytest
import torch

from helpers.bigram import BigramLanguageModel
from helpers.cache import KeyValueCache, Step, can_cache, can_step, forward_cached
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lora import add_lora, lora_parameters
from helpers.modern import ModernConfig, NGramEmbedding
from helpers.sampling import Reader, generate

V, CONTEXT = 23, 12


def gpt(seed: int = 0, **changes) -> GPTLanguageModel:
    """A small model whose positions matter: weights far from zero."""
    torch.manual_seed(seed)
    config = {"vocab_size": V, "block_size": CONTEXT, "n_layer": 2, "n_head": 2, "n_embd": 16} | changes
    model = GPTLanguageModel(GPTConfig(**config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def ids_of(B: int, T: int) -> torch.Tensor:
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(5))


MODELS = {
    "plain": {},
    "no bias, tied, gelu": {"bias": False, "tie_weights": True, "activation": "gelu"},
    "one head, one block": {"n_head": 1, "n_layer": 1},
    "dropout": {"dropout": 0.5},
}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return gpt(**request.param)


# --- logits ---


@pytest.mark.parametrize("parts", [[12], [5, 7], [1] * 12, [4, 1, 1, 6], [11, 1]], ids=str)
@torch.no_grad()
def test_a_cache_filled_in_any_parts_gives_the_logits_of_the_whole(model, parts):
    ids, cache = ids_of(3, CONTEXT), KeyValueCache(CONTEXT)
    whole, _ = model(ids)
    assert (whole[0] - whole[1]).abs().max() > 0.1  # the texts of the batch differ
    got = torch.cat([forward_cached(model, part, cache) for part in ids.split(parts, dim=1)], dim=1)
    torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)
    assert cache.length == CONTEXT


@torch.no_grad()
def test_the_second_part_with_the_triangle_from_the_top_left_would_be_wrong(monkeypatch):
    """The trap that attend_cached goes around: is_causal=True, although there are more keys than queries."""
    model, ids, attention = gpt(), ids_of(1, 12), torch.nn.functional.scaled_dot_product_attention

    def trapped(query, key, value, attn_mask=None, is_causal=False):
        return attention(query, key, value, is_causal=query.shape[2] > 1)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", trapped)
    cache = KeyValueCache(CONTEXT)
    forward_cached(model, ids[:, :5], cache)
    wrong = forward_cached(model, ids[:, 5:], cache)
    monkeypatch.undo()
    assert (wrong - model(ids)[0][:, 5:]).abs().max() > 0.01


@torch.no_grad()
def test_a_cache_that_was_reset_is_as_new():
    model, cache = gpt(), KeyValueCache(CONTEXT)
    forward_cached(model, ids_of(2, 9), cache)
    cache.reset()
    other = ids_of(2, 12).flip(1)
    torch.testing.assert_close(forward_cached(model, other, cache), model(other)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cache_that_is_full_says_so_and_stays_as_it_was():
    model, cache, ids = gpt(), KeyValueCache(CONTEXT), ids_of(1, CONTEXT)
    forward_cached(model, ids[:, :10], cache)
    with pytest.raises(ValueError, match="holds 10 tokens and 3 more would pass block_size=12"):
        forward_cached(model, ids[:, :3], cache)
    rest = forward_cached(model, ids[:, 10:], cache)
    torch.testing.assert_close(rest, model(ids)[0][:, 10:], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="block_size=12"):
        forward_cached(model, ids[:, :1], cache)


def test_another_batch_and_dropout_at_work_are_refused():
    model, cache = gpt(dropout=0.5), KeyValueCache(CONTEXT)
    forward_cached(model, ids_of(2, 3), cache)
    with pytest.raises(ValueError, match="2 texts at a time, but got 1"):
        forward_cached(model, ids_of(1, 1), cache)
    with pytest.raises(ValueError, match=r"model\.eval"):
        forward_cached(model.train(), ids_of(2, 1), cache)


def test_the_cache_is_for_models_that_it_fits():
    assert can_cache(gpt()) and can_cache(gpt(tie_weights=True))
    assert not can_cache(gpt(looped_heads=True)) and not can_cache(BigramLanguageModel(V))

    class Louder(GPTLanguageModel):
        def forward(self, ids, targets=None):
            logits, loss = super().forward(ids, targets)
            return 2 * logits, loss

    assert not can_cache(Louder(gpt().config))
    hooked = gpt()
    handle = hooked.blocks[1].sa.register_forward_hook(lambda *_: None)
    assert not can_cache(hooked)
    handle.remove()
    assert can_cache(hooked)


@torch.no_grad()
def test_a_step_gives_what_forward_cached_gives_and_its_result_is_an_ordinary_tensor(model):
    ids, cache, other = ids_of(3, CONTEXT), KeyValueCache(CONTEXT), KeyValueCache(CONTEXT)
    assert can_step(model)
    step = Step(model)
    for each in (cache, other):
        forward_cached(model, ids[:, :3], each)
    for place in range(3, CONTEXT):
        expected = forward_cached(model, ids[:, place : place + 1], cache)[:, -1]
        got = step(ids[:, place : place + 1], other)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        assert other.length == place + 1 and not got.is_inference()
    with pytest.raises(ValueError, match="cache holds 12 tokens"):
        step(ids[:, :1], other)


def test_a_step_sees_weights_that_were_changed_in_place():
    model, ids = gpt(), ids_of(1, 3)
    step, cache = Step(model), KeyValueCache(CONTEXT)
    with torch.no_grad():
        forward_cached(model, ids, cache)
        before = step(ids[:, :1], cache)
        model.lm_head.weight.mul_(2)
        model.lm_head.bias.mul_(2)
        cache.length -= 1
    torch.testing.assert_close(step(ids[:, :1], cache), 2 * before)


def test_a_step_keeps_the_eps_of_each_norm():
    model, cache, other = gpt(), KeyValueCache(CONTEXT), KeyValueCache(CONTEXT)
    model.blocks[0].ln2.eps = model.ln_f.eps = 1.0
    with torch.no_grad():
        for each in (cache, other):
            forward_cached(model, ids_of(1, 3), each)
        expected = forward_cached(model, ids_of(1, 1), cache)[:, -1]
    torch.testing.assert_close(Step(model)(ids_of(1, 1), other), expected)


def test_the_reader_steps_where_it_can():
    assert Reader(gpt()).step is not None and Reader(gpt(), None).step is None
    assert Reader(gpt(looped_heads=True)).step is None


def put(model, place: str, part) -> GPTLanguageModel:
    """The model with another part at a place such as "blocks.0.ffwd"."""
    *path, name = place.split(".")
    owner = model.get_submodule(".".join(path))
    setattr(owner, name, part)
    return model


class Own(torch.nn.Module):
    def forward(self, x):
        return 2 * x


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("blocks.0.ffwd", Own()), ("blocks.1.ffwd.net.3", torch.nn.Tanh()), ("blocks.1.ffwd.net.1", torch.nn.Tanh()),
        ("blocks.1.ffwd.net.4", torch.nn.Tanh()), ("dropout", torch.nn.Tanh()), ("blocks.0.sa.dropout", torch.nn.Tanh()),
        ("lm_head", torch.nn.Sequential(torch.nn.Linear(16, V))), ("ln_f", torch.nn.RMSNorm(16)),
        ("token_embedding_table", NGramEmbedding(ModernConfig(V, n_embd=16, n_head=2, ngram_rows=(31,)))),
    ],
)  # fmt: skip
def test_a_model_with_another_part_writes_what_it_writes_without_a_cache(place, part):
    model = put(gpt(), place, part).eval()
    assert not can_step(model)
    plain = generate(model, ids_of(2, 3), 9, seed=1, cache=None)
    assert torch.equal(generate(model, ids_of(2, 3), 9, seed=1), plain)


def test_a_hook_on_any_part_is_called():
    for place in ("blocks.1.ffwd.net.3", "blocks.0.ln1", "blocks.0.sa.qkv", "lm_head", "blocks.1.ffwd"):
        model, calls = gpt(), []
        model.get_submodule(place).register_forward_hook(lambda *_, calls=calls: calls.append(1))
        generate(model, ids_of(1, 2), 5, seed=1)
        assert len(calls) == 5, place


def test_a_step_is_for_models_of_plain_parts():
    assert can_step(gpt()) and not can_step(gpt(looped_heads=True)) and not can_step(BigramLanguageModel(V))
    hooked = gpt()
    handle = hooked.blocks[1].ffwd.net[2].register_forward_hook(lambda *_: None)
    assert can_cache(hooked) and not can_step(hooked)
    handle.remove()
    with_lora = add_lora(gpt(), rank=2)
    assert can_cache(with_lora) and not can_step(with_lora)
    torch.manual_seed(0)
    for parameter in lora_parameters(with_lora):
        torch.nn.init.normal_(parameter)
    plain = generate(with_lora, ids_of(1, 2), 8, seed=1, cache=None)
    assert torch.equal(generate(with_lora, ids_of(1, 2), 8, seed=1), plain)


# --- generation, case 64 ---

SETTINGS = [
    {"temperature": 0},
    {"seed": 1},
    {"seed": 2, "temperature": 1.5, "top_k": 5},
    {"seed": 3, "top_p": 0.8},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("cache", ["exact", "stride"])
def test_within_the_context_generation_with_the_cache_writes_the_same_tokens(model, settings, cache):
    start = ids_of(3, 2)
    plain = generate(model, start, CONTEXT - 2, **settings, cache=None)
    assert torch.equal(generate(model, start, CONTEXT - 2, **settings, cache=cache), plain)
    assert len({tuple(row) for row in plain.tolist()}) == 3


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("T", [1, CONTEXT, CONTEXT + 1, 3 * CONTEXT])
def test_past_the_context_exact_is_the_recomputing_loop(settings, T):
    model, start = gpt(), ids_of(2, T)
    plain = generate(model, start, 2 * CONTEXT, **settings, cache=None)
    assert torch.equal(generate(model, start, 2 * CONTEXT, **settings), plain)  # "exact" is what is usual


@torch.no_grad()
def test_the_logits_that_are_drawn_from_are_the_same_to_rounding():
    model, ids = gpt(), ids_of(2, 2 * CONTEXT)
    read, plain = Reader(model, "exact"), Reader(model, None)
    for T in range(3, 2 * CONTEXT + 1):
        want = model(ids[:, :T][:, -CONTEXT:])[0][:, -1]
        torch.testing.assert_close(read(ids[:, :T]), want, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plain(ids[:, :T]), want, atol=0, rtol=0)


@pytest.mark.parametrize("stride", [1, 5, 12, None])
@pytest.mark.parametrize("T", [1, CONTEXT, 3 * CONTEXT])
@torch.no_grad()
def test_with_a_stride_the_window_drops_that_many_tokens_whenever_it_is_full(stride, T):
    """With the cache, and with a model that has none: the logits of exactly those tokens."""
    ids, drop, start = ids_of(2, 6 * CONTEXT), stride or CONTEXT // 2, max(0, T - CONTEXT)
    for model in (gpt(), gpt(looped_heads=True)):
        read, start = Reader(model, "stride", stride), max(0, T - CONTEXT)
        assert (read.cache is None) == model.config.looped_heads
        for end in range(T, T + 2 * CONTEXT):
            if end - start > CONTEXT:
                start += drop
            want = model(ids[:, start:end])[0][:, -1]
            torch.testing.assert_close(read(ids[:, :end]), want, atol=1e-5, rtol=1e-5)


def test_past_the_context_the_stride_does_less_work_and_may_write_another_text():
    model, read = gpt(), []
    handle = model.lm_head.register_forward_pre_hook(lambda m, x: read.append(x[0].shape[1]))
    texts, work = {}, {}
    for cache in (None, "exact", "stride"):
        read.clear()
        texts[cache] = generate(model, ids_of(1, 1), 4 * CONTEXT, seed=1, cache=cache)
        work[cache] = sum(read)
    handle.remove()
    assert torch.equal(texts[None], texts["exact"]) and not torch.equal(texts[None], texts["stride"])
    # Three contexts past the first: every step reads 12 tokens, or one step in 6 reads 7 and the others 1.
    assert work["stride"] == 12 + 6 * 12 and work["exact"] == 12 + 36 * 12 < work[None]


@pytest.mark.parametrize("changes", [{"looped_heads": True}, {}], ids=["looped heads", "weights of 16 bits"])
def test_what_the_cache_does_not_fit_is_generated_in_the_plain_way(changes):
    model = gpt(**changes)
    if not changes:
        model = model.bfloat16()
    assert Reader(model, "exact").cache is None
    assert generate(model, ids_of(1, 3), 20, seed=1).shape == (1, 23)
    bigram = BigramLanguageModel(V)
    for cache in ("stride", None):
        assert torch.equal(
            generate(bigram, ids_of(1, 3), 9, seed=1, cache=cache), generate(bigram, ids_of(1, 3), 9, seed=1)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": "fast"}, "cache='fast', but it is"),
        ({"cache": True}, "cache=True"),
        ({"stride": 3}, 'stride=3 is for cache="stride"'),
        ({"cache": "stride", "stride": 0}, "stride=0"),
        ({"cache": "stride", "stride": True}, "stride=True"),
        ({"cache": "stride", "stride": 2.5}, "stride=2.5"),
        ({"cache": "stride", "stride": 13}, "stride=13, but the window has only block_size=12"),
    ],
)
def test_settings_of_the_cache_that_cannot_be_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        generate(gpt(), ids_of(1, 2), 3, **options)
