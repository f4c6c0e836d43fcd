"""The exercises of notebook 08: the causal mask, one output by hand, entropy, attention weights, a window."""

import math

import torch
import torch.nn.functional as F

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, is_near, refuse_named, same


def _triangle(T: int, diagonal: int = 0) -> torch.Tensor:
    """(T, T), True on and below a diagonal."""
    return torch.ones(T, T, dtype=torch.bool).tril(diagonal)


def _softmax_where(scores: torch.Tensor, allowed: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Softmax over the allowed places alone."""
    return F.softmax(scores.masked_fill(~allowed, -math.inf), dim=dim)


# --- causal_mask ---

MASK_STUB = '''def causal_mask(T):
    """Who may look at whom: True where the position of the row may see that of the column.

    T: how many positions    returns: (T, T), of True and False
    """
    ...
'''


def _mask(expression: str) -> str:
    return filled(MASK_STUB, f"    return {expression}\n")


def check_causal_mask(answer) -> None:
    T = 5
    want = _triangle(T)
    got = call(answer, T)
    if isinstance(got, torch.Tensor) and got.is_floating_point() and torch.isinf(got).any():
        raise NotYet(
            "minus infinity",
            "your table holds scores, with minus infinity in it. Asked for is the table that says where: True or False.",
        )
    if isinstance(got, torch.Tensor) and got.dtype != torch.bool and is_near(got, want):
        raise NotYet(
            "dtype",
            f"the places are right, but your table holds numbers ({str(got.dtype).removeprefix('torch.')}), on which `~` "
            "(not) fails or means something else. How does one make True and False of them?",
        )
    refuse_named(
        got,
        {
            "inverted": (
                ~want,
                "your table is True where a position may *not* look. Which of the two did the docstring ask for?",
            ),
            "not itself": (
                _triangle(T, -1),
                "in your table a position does not see itself, so the first one sees nobody. Does the diagonal belong to it?",
            ),
            "one ahead": (
                _triangle(T, 1),
                "each position sees one step into the future: that is the character which it is to predict.",
            ),
            "transposed": (
                want.T,
                "your rows see themselves and what comes *after* them. Rows and columns have changed places.",
            ),
            "only itself": (
                torch.eye(T, dtype=torch.bool),
                "each position sees itself alone. Where is what came before?",
            ),
            "only the last": (
                _triangle(T) & ~_triangle(T, -2),
                "each position sees itself and the one before, and nothing further back. How far may it look?",
            ),
            "everything": (
                torch.ones(T, T, dtype=torch.bool),
                "in your table everybody sees everybody, the future too.",
            ),
        },
    )
    same(got, want, what="the mask")
    shorter = call(answer, 3)
    if isinstance(shorter, torch.Tensor) and shorter.shape == want.shape:
        raise NotYet("fixed size", "with T=3 your table still has 5 rows and columns. Use the argument.")
    same(shorter, _triangle(3), what="the mask for T=3")


CAUSAL_MASK = Exercise(
    name="causal_mask",
    title="Who may look at whom",
    difficulty="easy",
    minutes=4,
    statement=(
        "(An answer follows: solve it first.) Write `causal_mask(T)` (causal: nothing may depend on what comes later): a table "
        "of True and False with a row for each position that looks and a column for each position that is looked at. A "
        "position may look at itself and at all positions before it, and at none after it."
    ),
    stub=MASK_STUB,
    solution=_mask("torch.tril(torch.ones(T, T, dtype=torch.bool))"),
    hints=(
        "Write down the rows for T = 3 on paper. How many True are in the first row, the second, the third?",
        "The True form a triangle at the lower left, with the diagonal. `torch.tril` keeps just that part of a table, and "
        "`torch.ones(T, T, dtype=torch.bool)` is a table of True.",
    ),
    check=check_causal_mask,
    wrong=(
        Wrong("inverted", _mask("torch.triu(torch.ones(T, T), diagonal=1) == 1")),
        Wrong("not itself", _mask("torch.tril(torch.ones(T, T, dtype=torch.bool), diagonal=-1)")),
        Wrong("one ahead", _mask("torch.tril(torch.ones(T, T, dtype=torch.bool), diagonal=1)")),
        Wrong("transposed", _mask("torch.triu(torch.ones(T, T, dtype=torch.bool))")),
        Wrong("only itself", _mask("torch.eye(T) == 1")),
        Wrong("only the last", _mask("torch.eye(T).bool() | torch.eye(T).roll(-1, dims=1).tril().bool()")),
        Wrong("everything", _mask("torch.ones(T, T, dtype=torch.bool)")),
        Wrong("minus infinity", _mask("torch.zeros(T, T).masked_fill(torch.ones(T, T).triu(1) == 1, float('-inf'))")),
        Wrong("fixed size", _mask("torch.tril(torch.ones(5, 5, dtype=torch.bool))")),
        Wrong("dtype", _mask("torch.tril(torch.ones(T, T))")),
    ),
)  # fmt: skip

# --- output_at ---

OUTPUT_STUB = '''def output_at(x, W_query, W_key, W_value, t):
    """What one head gives at position t: a mixture of the values of the positions 0 to t.

    x: (T, C)    W_query, W_key, W_value: (C, H)    t: a position    returns: (H,)
    """
    ...
'''


def _output(
    seen: str = "x[: t + 1]",
    query: str = "x[t] @ W_query",
    keys: str = "seen @ W_key",
    result: str = "F.softmax(keys @ query, dim=0) @ (seen @ W_value)",
) -> str:
    body = f"    seen = {seen}\n    query = {query}\n    keys = {keys}\n    return {result}\n"
    return filled(OUTPUT_STUB, body)


def check_output_at(answer) -> None:
    dice = torch.Generator().manual_seed(3)
    x = torch.randn(6, 4, generator=dice)  # (T, C)
    W_query, W_key, W_value = (0.5 * torch.randn(4, 3, generator=dice) for _ in range(3))  # (C, H) each
    t = 3
    seen = x[: t + 1]  # (4, C)
    query, keys, values = x[t] @ W_query, seen @ W_key, seen @ W_value  # (H,), (4, H), (4, H)
    scores = keys @ query  # (4,)
    weights = F.softmax(scores, dim=0)  # (4,)
    got = call(answer, x, W_query, W_key, W_value, t)
    everything = F.softmax(x @ W_key @ query, dim=0) @ (x @ W_value)  # (H,)
    refuse_named(
        got,
        {
            "future": (
                everything,
                "your position looks at all of x, at what comes after it, too. Which rows of x may it see?",
            ),
            "not itself": (
                F.softmax(scores[:-1], dim=0) @ values[:-1],
                "your position does not look at itself: `x[:t]` ends before row t.",
            ),
            "no softmax": (
                scores @ values,
                "you add up the values with the bare scores. Scores may be negative and of any size; what makes weights of "
                "them that sum to 1?",
            ),
            "not divided": (
                scores.exp() @ values,
                "your weights are e to the score, and do not sum to 1. What is the second half of softmax?",
            ),
            "roles": (
                F.softmax(seen @ W_query @ (x[t] @ W_key), dim=0) @ values,
                "query and key have changed roles: position t asks, with its query, and each position it may see answers, "
                "with its key.",
            ),
            "keys": (
                weights @ keys,
                "you mix the keys. They are what a position is found by; what it hands over is its value.",
            ),
            "x itself": (
                weights @ seen,
                "you mix the rows of x themselves, so your result has C numbers. What is `W_value` for?",
            ),
            "scaled": (
                F.softmax(scores / 3**0.5, dim=0) @ values,
                "you divide the scores by a root already. In this head they stay as they are; the division comes later in the "
                "notebook, with its reason.",
            ),
            "mean": (
                values.mean(dim=0),
                "that is the plain mean of the values: each of them counts the same, whatever query and keys say.",
            ),
            "winner": (
                values[scores.argmax()],
                "you hand over the value with the largest score alone. In a head the others have their share, too: a softer "
                "choice, and one that has a slope to learn from.",
            ),
            "last query": (
                F.softmax(keys @ (x[-1] @ W_query), dim=0) @ values,
                "the query is that of the last position. Who is asking here?",
            ),
        },
    )
    same(got, weights @ values, tolerance=1e-4, what="the output")
    for other in (0, 5):
        seen = x[: other + 1]
        right = F.softmax(seen @ W_key @ (x[other] @ W_query), dim=0) @ (seen @ W_value)  # (H,)
        same(
            call(answer, x, W_query, W_key, W_value, other),
            right,
            tolerance=1e-4,
            what=f"the output at t={other}",
        )


OUTPUT_AT = Exercise(
    name="output_at",
    title="One output, by hand",
    difficulty="medium",
    minutes=8,
    statement=(
        "Write `output_at(x, W_query, W_key, W_value, t)`: what the head gives at the single position `t`, for any three "
        "tables of weights with H columns. No mask is needed when you take only the rows of `x` that position `t` may see. "
        "The steps: the query of position t, the keys and the values of what it sees, scores, softmax, and each value times "
        "its weight, added up. (`matrix @ vector` is a dot product for each row, `vector @ matrix` a weighted sum of the "
        "rows.)"
    ),
    stub=OUTPUT_STUB,
    solution=_output(),
    hints=(
        "`x[: t + 1]` are the rows that position t may see, `x[t]` is its own row.",
        "There is one score for each row that is seen: the dot product of its key with the query. Softmax runs over them.",
    ),
    check=check_output_at,
    wrong=(
        Wrong("future", _output(seen="x")),
        Wrong("not itself", _output(seen="x[:t] if t else x[:1]")),
        Wrong("no softmax", _output(result="(keys @ query) @ (seen @ W_value)")),
        Wrong("not divided", _output(result="(keys @ query).exp() @ (seen @ W_value)")),
        Wrong("roles", _output(query="x[t] @ W_key", keys="seen @ W_query")),
        Wrong("keys", _output(result="F.softmax(keys @ query, dim=0) @ keys")),
        Wrong("x itself", _output(result="F.softmax(keys @ query, dim=0) @ seen")),
        Wrong("scaled", _output(result="F.softmax(keys @ query * len(query) ** -0.5, dim=0) @ (seen @ W_value)")),
        Wrong("mean", _output(result="(seen @ W_value).mean(dim=0)")),
        Wrong("winner", _output(result="(seen @ W_value)[(keys @ query).argmax()]")),
        Wrong("last query", _output(query="x[-1] @ W_query")),
    ),
)  # fmt: skip

# --- entropy ---

ENTROPY_STUB = '''def entropy(weights):
    """How undecided each row of weights is, in nats: 0 where one weight is 1, ln T where all T are equal.

    weights: (..., T), none negative, each row sums to 1    returns: (...)
    """
    ...
'''


def _entropy(body: str) -> str:
    return filled(ENTROPY_STUB, body)


def check_entropy(answer) -> None:
    dice = torch.Generator().manual_seed(5)
    weights = F.softmax(1.5 * torch.randn(2, 3, 4, generator=dice), dim=-1)  # (2, 3, 4), no zeros
    logs = weights.log()  # (2, 3, 4)
    want = -(weights * logs).sum(dim=-1)  # (2, 3)
    got = call(answer, weights)
    columns = -(weights * logs).sum(dim=-2)  # (2, 4)
    refuse_named(
        got,
        {
            "sign": (
                -want,
                "your entropies are negative. The logarithm of a weight below 1 is negative: where is the minus?",
            ),
            "bits": (
                want / math.log(2),
                "these are bits: you took the logarithm to the base 2. Nats come from the natural one, `.log()`.",
            ),
            "mean": (
                want / 4,
                "you take the mean over the places of a row. The weights do the averaging already: what remains is a sum.",
            ),
            "unweighted": (
                -logs.mean(dim=-1),
                "you average -ln w with all places counting the same. A place counts as much as its weight.",
            ),
            "no weights": (
                -logs.sum(dim=-1),
                "you add up -ln w. Each of them has to be multiplied by its own weight first.",
            ),
            "one number": (
                want.mean(),
                "you give one number for all rows together. Asked for is one for each row: which `dim` is to be summed?",
            ),
            "columns": (
                columns,
                "you sum along the columns. The weights of a row lie along the last axis.",
            ),
            "perplexity": (
                want.exp(),
                "that is e to the entropy: the number of equally likely places. It is as good a measure, but it is not in nats.",
            ),
            "squares": (
                1 - weights.square().sum(dim=-1),
                "that is 1 minus the sum of the squares. It measures something similar; entropy uses the logarithm.",
            ),
            "share of the most": (
                want / math.log(4),
                "you divide by ln T, so that equal weights give 1. Entropy in nats is not divided.",
            ),
        },
    )
    same(got, want, tolerance=1e-4, what="the entropy")
    sure = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])  # (2, 3), as a mask leaves them
    got = call(answer, sure)
    if isinstance(got, torch.Tensor) and torch.isnan(got).any():
        raise NotYet(
            "zeros",
            "for a row with a weight of 0 you give `nan`: ln 0 is minus infinity, and 0 times that is not a number. A weight "
            "of 0 should add nothing. Behind a mask there are many of them.",
        )
    same(
        got,
        torch.tensor([0.0, math.log(2)]),
        tolerance=1e-3,
        what="the entropy of rows with weights of 0",
    )


ENTROPY = Exercise(
    name="entropy",
    title="How undecided is a head",
    difficulty="easy",
    minutes=5,
    statement=(
        "(An answer follows: solve it first.) Write `entropy(weights)`: for each row of weights the sum of $-w \\ln w$ over "
        "the last axis. A weight of 0 adds 0. (`tensor.clamp(min=1e-30)` raises what is smaller to that number.)"
    ),
    stub=ENTROPY_STUB,
    solution=_entropy("    return -(weights * weights.clamp(min=1e-30).log()).sum(dim=-1)\n"),
    hints=(
        "Multiply each weight by its own logarithm, add up along the last axis, and mind the sign.",
        "0 times minus infinity is not a number. 0 times the logarithm of a tiny number is 0: clamp before the logarithm.",
    ),
    check=check_entropy,
    wrong=(
        Wrong("zeros", _entropy("    return -(weights * weights.log()).sum(dim=-1)\n")),
        Wrong("sign", _entropy("    return (weights * weights.clamp(min=1e-30).log()).sum(dim=-1)\n")),
        Wrong("bits", _entropy("    return -(weights * weights.clamp(min=1e-30).log2()).sum(dim=-1)\n")),
        Wrong("mean", _entropy("    return -(weights * weights.clamp(min=1e-30).log()).mean(dim=-1)\n")),
        Wrong("unweighted", _entropy("    return -weights.clamp(min=1e-30).log().mean(dim=-1)\n")),
        Wrong("no weights", _entropy("    return -weights.clamp(min=1e-30).log().sum(dim=-1)\n")),
        Wrong("one number", _entropy("    return -(weights * weights.clamp(min=1e-30).log()).sum(dim=-1).mean()\n")),
        Wrong("columns", _entropy("    return -(weights * weights.clamp(min=1e-30).log()).sum(dim=-2)\n")),
        Wrong("perplexity", _entropy("    return torch.special.entr(weights).sum(dim=-1).exp()\n")),
        Wrong("squares", _entropy("    return 1 - (weights**2).sum(dim=-1)\n")),
        Wrong("share of the most", _entropy("    return torch.special.entr(weights).sum(dim=-1) / math.log(weights.shape[-1])\n")),
    ),
)  # fmt: skip

# --- attention_weights ---

WEIGHTS_STUB = '''def attention_weights(query, key):
    """The weights of one head: scores, scaled, masked, softmax.

    query, key: (B, T, head_size)    returns: (B, T, T), each row sums to 1
    """
    ...
'''

FUTURE = "torch.ones(T, T).triu(1) == 1"


def _weights(scores: str, masked: str, result: str) -> str:
    body = f"    T, head_size = query.shape[-2:]\n    scores = {scores}\n"
    body += f"    masked = {masked}\n    return {result}\n"
    return filled(WEIGHTS_STUB, body)


SCORES = "query @ key.transpose(-2, -1) * head_size**-0.5"
MASKED = f"scores.masked_fill({FUTURE}, float('-inf'))"
RESULT = "F.softmax(masked, dim=-1)"


def check_attention_weights(answer) -> None:
    dice = torch.Generator().manual_seed(11)
    B, T, H = 2, 5, 7
    query, key = torch.randn(B, T, H, generator=dice), torch.randn(B, T, H, generator=dice)  # (B, T, H) each
    bare = query @ key.transpose(-2, -1)  # (B, T, T)
    scores = bare * H**-0.5  # (B, T, T)
    allowed = _triangle(T)
    want = _softmax_where(scores, allowed)
    got = call(answer, query, key)
    refuse_named(
        got,
        {
            "unscaled": (
                _softmax_where(bare, allowed),
                "your scores are the bare dot products. What is their standard deviation, and what should it be?",
            ),
            "by head_size": (
                _softmax_where(bare / H, allowed),
                "you divide by head_size. That is the variance of the scores; which number brings the standard deviation to 1?",
            ),
            "by T": (
                _softmax_where(bare * T**-0.5, allowed),
                "you divide by the root of T. A score is a sum over the head, so how many products are in it?",
            ),
            "multiplied": (
                _softmax_where(bare * H**0.5, allowed),
                "you multiply by the root: large scores become larger still. The scale is head_size ** -0.5, with a minus.",
            ),
            "no mask": (
                F.softmax(scores, dim=-1),
                "your positions look into the future: the upper triangle has weights.",
            ),
            "mask after": (
                F.softmax(scores, dim=-1) * allowed,
                "you mask after softmax, so your rows do not sum to 1: the future has taken part in the division.",
            ),
            "zeros": (
                F.softmax(scores.masked_fill(~allowed, 0.0), dim=-1),
                "you put 0 in the place of the future's scores. e to the 0 is 1, so the future still gets weight. Which score "
                "becomes a weight of 0?",
            ),
            "columns": (
                _softmax_where(scores, allowed, dim=-2),
                "your columns sum to 1, not your rows. One row is one position that looks: softmax runs along it.",
            ),
            "batch": (
                F.softmax(scores, dim=0).masked_fill(~allowed, 0.0),
                "your softmax runs over the batch: the sequences compete with each other.",
            ),
            "key asks": (
                _softmax_where(scores.transpose(-2, -1), allowed),
                "in your scores the keys are the rows and the queries the columns. Rows are those who ask.",
            ),
            "upper": (
                _softmax_where(scores, allowed.T),
                "you hide the past, and keep the future. Which triangle has to go?",
            ),
        },
    )
    same(got, want, tolerance=1e-4, what="the weights")


ATTENTION_WEIGHTS = Exercise(
    name="attention_weights",
    title="The weights of a head",
    difficulty="medium",
    minutes=7,
    statement=(
        "(An answer follows: solve it first.) All steps up to the weights, for a whole batch. Write "
        "`attention_weights(query, key)`: the dot product of every query with every key, divided by the root of the head "
        "size, the future set to minus infinity, then softmax."
    ),
    stub=WEIGHTS_STUB,
    solution=_weights(SCORES, MASKED, RESULT),
    hints=(
        "`key.transpose(-2, -1)` is (B, head_size, T), so `query @` that is (B, T, T). The head size is `query.shape[-1]`.",
        "`masked_fill(table, number)` puts the number wherever the table is True: which places are the future? And along "
        "which axis do the weights of one position lie?",
    ),
    check=check_attention_weights,
    wrong=(
        Wrong("unscaled", _weights("query @ key.transpose(-2, -1)", MASKED, RESULT)),
        Wrong("by head_size", _weights("query @ key.transpose(-2, -1) / head_size", MASKED, RESULT)),
        Wrong("by T", _weights("query @ key.transpose(-2, -1) * T**-0.5", MASKED, RESULT)),
        Wrong("multiplied", _weights("query @ key.transpose(-2, -1) * head_size**0.5", MASKED, RESULT)),
        Wrong("no mask", _weights(SCORES, "scores", RESULT)),
        Wrong("mask after", _weights(SCORES, "F.softmax(scores, dim=-1)", f"masked.masked_fill({FUTURE}, 0.0)")),
        Wrong("zeros", _weights(SCORES, f"scores.masked_fill({FUTURE}, 0.0)", RESULT)),
        Wrong("columns", _weights(SCORES, MASKED, "F.softmax(masked, dim=-2)")),
        Wrong("batch", _weights(SCORES, "F.softmax(scores, dim=0)", f"masked.masked_fill({FUTURE}, 0.0)")),
        Wrong("key asks", _weights("key @ query.transpose(-2, -1) * head_size**-0.5", MASKED, RESULT)),
        Wrong("upper", _weights(SCORES, "scores.masked_fill(torch.ones(T, T).tril(-1) == 1, float('-inf'))", RESULT)),
    ),
)  # fmt: skip

# --- window_weights ---

WINDOW_STUB = '''def window_weights(scores, k):
    """Weights of a head that looks at itself and at most k - 1 positions back.

    scores: (T, T)    k: at least 1    returns: (T, T), each row sums to 1
    """
    ...
'''


def _window(allowed: str, result: str = "F.softmax(scores.masked_fill(~allowed, float('-inf')), dim=-1)"):
    body = "    T = len(scores)\n    back = torch.arange(T)[:, None] - torch.arange(T)  # (T, T)\n"
    return filled(WINDOW_STUB, body + f"    allowed = {allowed}  # (T, T)\n    return {result}\n")


IN_WINDOW = "(back >= 0) & (back < k)"


def check_window_weights(answer) -> None:
    dice = torch.Generator().manual_seed(13)
    T, k = 7, 3
    scores = torch.randn(T, T, generator=dice)  # (T, T)
    back = torch.arange(T)[:, None] - torch.arange(T)  # (T, T)
    allowed = (back >= 0) & (back < k)  # (T, T)
    want = _softmax_where(scores, allowed)
    got = call(answer, scores, k)
    if isinstance(got, torch.Tensor) and torch.isnan(got).any():
        raise NotYet(
            "nobody",
            "some rows of yours are `nan`: such a position sees nobody, and softmax of nothing but minus infinity is not a "
            "number. Each position sees at least itself.",
        )
    refuse_named(
        got,
        {
            "all the past": (
                _softmax_where(scores, back >= 0),
                "your positions see all of the past, however far. Where does k come in?",
            ),
            "one too many": (
                _softmax_where(scores, (back >= 0) & (back <= k)),
                "your positions see k places back and themselves: one too many. Together there are to be k.",
            ),
            "one too few": (
                _softmax_where(scores, (back >= 0) & (back < k - 1)),
                "your positions see k - 1 places with their own: one too few.",
            ),
            "both sides": (
                _softmax_where(scores, back.abs() < k),
                "your window reaches as far forward as back. The future stays hidden.",
            ),
            "ahead": (
                _softmax_where(scores, (back <= 0) & (back > -k)),
                "your window lies in front of the position, in the future. What is the row, what the column?",
            ),
            "far past": (
                _softmax_where(scores, (back >= k) | (back == 0)),
                "you keep what lies far back and hide what is near: the other way round.",
            ),
            "mask after": (
                F.softmax(scores, dim=-1) * allowed,
                "you mask after softmax: your rows do not sum to 1.",
            ),
            "columns": (
                _softmax_where(scores, allowed, dim=0),
                "your columns sum to 1, not your rows. Along which axis does a position look?",
            ),
            "equal weights": (
                allowed / allowed.sum(dim=-1, keepdim=True),
                "you average over the window with equal weights. The scores say how much each place counts.",
            ),
            "first k": (
                _softmax_where(scores, (back >= 0) & (torch.arange(T) < k)),
                "every position looks at the first k places of the sequence. The window moves along with the position.",
            ),
        },
    )
    same(got, want, tolerance=1e-4, what="the weights")
    same(call(answer, scores, 1), torch.eye(T), tolerance=1e-4, what="the weights for k=1")
    same(
        call(answer, scores, T),
        _softmax_where(scores, back >= 0),
        tolerance=1e-4,
        what=f"the weights for k={T}",
    )


WINDOW_WEIGHTS = Exercise(
    name="window_weights",
    title="A short memory",
    difficulty="hard",
    minutes=8,
    statement=(
        "In a long text the table of scores grows with the square of its length, so many models let some layers look "
        "back only a little. Write `window_weights(scores, k)`: position `t` sees itself and the `k - 1` positions before it "
        "(at the beginning there are fewer), and softmax over their scores gives the weights. "
        "(`torch.arange(T)[:, None] - torch.arange(T)` is a table of distances: how far back the column lies from the row. "
        "`a & b` is True where both are.)"
    ),
    stub=WINDOW_STUB,
    solution=_window(IN_WINDOW),
    hints=(
        "Print the table of distances for T = 4. Which numbers in it belong to the window?",
        "Two conditions: not in the future, and not further back than k - 1. What is not allowed gets minus infinity.",
    ),
    check=check_window_weights,
    wrong=(
        Wrong("all the past", _window("back >= 0")),
        Wrong("one too many", _window("(back >= 0) & (back <= k)")),
        Wrong("one too few", _window("(back >= 0) & (back < max(k - 1, 1))")),
        Wrong("both sides", _window("back.abs() < k")),
        Wrong("ahead", _window("(back <= 0) & (back > -k)")),
        Wrong("far past", _window("(back >= k) | (back == 0)")),
        Wrong("mask after", _window(IN_WINDOW, "F.softmax(scores, dim=-1) * allowed")),
        Wrong("columns", _window(IN_WINDOW, "F.softmax(scores.masked_fill(~allowed, float('-inf')), dim=0)")),
        Wrong("equal weights", _window(IN_WINDOW, "allowed / allowed.sum(dim=-1, keepdim=True)")),
        Wrong("first k", _window("(back >= 0) & (torch.arange(T) < k)")),
        Wrong("nobody", _window("(back > 0) & (back < k)")),
    ),
)  # fmt: skip

EXERCISES = [CAUSAL_MASK, OUTPUT_AT, ENTROPY, ATTENTION_WEIGHTS, WINDOW_WEIGHTS]
