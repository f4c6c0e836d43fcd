"""The exercises of notebook 07: dead units, the slope of an activation, LayerNorm, dropout."""

import torch
import torch.nn.functional as F

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, is_near, one_number, same

# --- dead_share ---

DEAD_STUB = '''def dead_share(hidden):
    """The share of the units that give 0 for every input.

    hidden: (N, H), what H ReLU units give for N inputs    returns: a number from 0 to 1
    """
    ...
'''


def _dead(expression: str) -> str:
    return filled(DEAD_STUB, f"    return {expression}\n")


def check_dead_share(answer) -> None:
    # 6 inputs, 5 units: units 1 and 3 are dead, and input 2 wakes none
    hidden = torch.tensor(
        [
            [0.4, 0.0, 0.0, 0.0, 1.2],
            [0.0, 0.0, 2.0, 0.0, 0.3],
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [1.5, 0.0, 0.7, 0.0, 0.0],
            [0.2, 0.0, 0.0, 0.0, 0.9],
            [0.0, 0.0, 0.1, 0.0, 0.0],
        ]
    )  # (N, H)
    silent = hidden == 0  # (N, H)
    dead = silent.all(dim=0).float().mean().item()
    got = call(answer, hidden)
    if isinstance(got, torch.Tensor) and got.numel() > 1:
        if is_near(got, silent.all(dim=0)):
            raise NotYet("per unit", "you say of each unit whether it is dead. Which share of them is?")
        if is_near(got, silent.float().mean(dim=0)):
            raise NotYet(
                "per unit",
                "you give, for each unit, its share of zeros. A unit is dead where that is 1: which share of the units is?",
            )
    value = one_number(got, "the share of dead units")
    named = {
        "zeros": (
            silent.float().mean().item(),
            "that is the share of zeros in the whole table. A unit that is silent for some inputs and not for others is at "
            "work; only one that is silent for all of them is dead.",
        ),
        "any": (
            silent.any(dim=0).float().mean().item(),
            "you count a unit as dead as soon as it is silent for one input. Which of `any` and `all` is asked for?",
        ),
        "rows": (
            silent.all(dim=1).float().mean().item(),
            "that is the share of inputs for which every unit is silent. Units are the columns: along which axis do you ask?",
        ),
        "alive": (1 - dead, "that is the share of the units that are alive."),
        "count": (
            silent.all(dim=0).sum().item(),
            "that is how many units are dead. Which share of all units is it?",
        ),
        "of the table": (
            silent.all(dim=0).sum().item() / hidden.numel(),
            "you divide the number of dead units by the number of entries in the table. How many units are there?",
        ),
    }
    for key, (number, message) in named.items():
        if abs(value - number) < 1e-6:
            raise NotYet(key, message)
    same(value, dead, what="the share of dead units")
    same(
        one_number(call(answer, hidden[:, [0, 2]]), "the share"), 0.0, what="the share where no unit is dead"
    )


DEAD_SHARE = Exercise(
    name="dead_share",
    title="Count the dead",
    difficulty="easy",
    minutes=4,
    statement=(
        "(An answer follows: solve it first.) You want to know how many units of a layer are lost. Write `dead_share(hidden)` "
        "for a table with a row for each input and a column for each unit, as it comes out of a ReLU: the share of the units "
        "that are 0 for **every** input. "
        "(`table.all(dim=...)` asks along an axis whether all entries are true. `mean` does not work on true and false "
        "values: take `.float()` first.)"
    ),
    stub=DEAD_STUB,
    solution=_dead("(hidden == 0).all(dim=0).float().mean()"),
    hints=(
        "Make a table of true and false first: where is `hidden` equal to 0?",
        "The axis that you name disappears. To be left with an entry for each unit, `(H,)`, which axis of `(N, H)` has to go?",
    ),
    check=check_dead_share,
    wrong=(
        Wrong("zeros", _dead("(hidden == 0).float().mean()")),
        Wrong("any", _dead("(hidden == 0).any(dim=0).float().mean()")),
        Wrong("rows", _dead("(hidden == 0).all(dim=1).float().mean()")),
        Wrong("alive", _dead("(hidden > 0).any(dim=0).float().mean()")),
        Wrong("count", _dead("(hidden == 0).all(dim=0).sum()")),
        Wrong("per unit", _dead("(hidden == 0).all(dim=0)")),
        Wrong("of the table", _dead("(hidden == 0).all(dim=0).sum() / hidden.numel()")),
    ),
)

# --- silu_slope ---

SILU_STUB = '''def silu_slope(x):
    """The slope of x * sigmoid(x) at each of the numbers in `x`.

    x: any shape    returns: the same shape
    """
    ...
'''


def _silu(expression: str) -> str:
    return filled(SILU_STUB, f"    s = torch.sigmoid(x)\n    return {expression}\n")


def check_silu_slope(answer) -> None:
    x = torch.tensor([[-3.1, -1.4, -0.6, 0.0], [0.3, 0.9, 2.2, 4.0]])  # (2, 4)
    s = torch.sigmoid(x)  # (2, 4)
    slope = s + x * s * (1 - s)
    got = call(answer, x)
    named = {
        "value": (x * s, "these are the values of x · sigmoid(x), not its slopes."),
        "one factor": (
            s,
            "you let x grow and hold sigmoid(x) still. A product changes when either factor does: what does the other one add?",
        ),
        "other factor": (
            x * s * (1 - s),
            "you let sigmoid(x) grow and hold x still. A product changes when either factor does: what does the other one add?",
        ),
        "product of slopes": (
            s * (1 - s),
            "you multiply the two slopes, 1 and s(1 - s). The slope of a product is a sum: slope of the first times the "
            "second, plus the first times the slope of the second.",
        ),
        "sum of slopes": (
            1 + s * (1 - s),
            "you add the two slopes. In the slope of a product each of them is multiplied by the other factor.",
        ),
        "sign": (s - x * s * (1 - s), "one sign is the wrong way round: the two parts are added."),
        "tanh": (
            s + x * (1 - s**2),
            "1 - s² is the slope of tanh. The slope of sigmoid is another one: see `slopes` above.",
        ),
    }
    for key, (tensor, message) in named.items():
        if is_near(got, tensor):
            raise NotYet(key, message)
    same(got, slope, tolerance=1e-4, what="the slope")


SILU_SLOPE = Exercise(
    name="silu_slope",
    title="A slope by hand",
    difficulty="medium",
    minutes=6,
    statement=(
        "A bend much like GELU is **SiLU**, $x \\cdot \\text{sigmoid}(x)$. Write `silu_slope(x)`, its slope. You need "
        "the slope of sigmoid and the **product rule**: the slope of $a \\cdot b$ is the slope of $a$ times $b$, plus $a$ times "
        "the slope of $b$. (Autograd would do it, too. You learn more with a pencil.)"
    ),
    stub=SILU_STUB,
    solution=_silu("s + x * s * (1 - s)"),
    hints=(
        "Take x for a and sigmoid(x) for b. What is the slope of x itself?",
        "The slope of a is 1, and the slope of b is s * (1 - s), where s is sigmoid(x). Put all four into the rule.",
    ),
    check=check_silu_slope,
    wrong=(
        Wrong("one factor", _silu("s")),
        Wrong("product of slopes", _silu("s * (1 - s)")),
        Wrong("other factor", _silu("x * s * (1 - s)")),
        Wrong("sum of slopes", _silu("1 + s * (1 - s)")),
        Wrong("sign", _silu("s - x * s * (1 - s)")),
        Wrong("tanh", _silu("s + x * (1 - s**2)")),
        Wrong("value", _silu("x * s")),
    ),
)

# --- layer_norm ---

LAYER_STUB = '''def layer_norm(x, weight, bias, eps):
    """Each row of channels brought to mean 0 and variance 1, then scaled and shifted.

    x: (B, T, C)    weight, bias: (C,)    eps: a small number    returns: (B, T, C)
    """
    ...
'''


def _layer(mean: str, variance: str, result: str) -> str:
    return filled(LAYER_STUB, f"    mean = {mean}\n    variance = {variance}\n    return {result}\n")


MEAN = "x.mean(dim=-1, keepdim=True)"
VARIANCE = "x.var(dim=-1, keepdim=True, correction=0)"
RESULT = "(x - mean) / torch.sqrt(variance + eps) * weight + bias"


def check_layer_norm(answer) -> None:
    dice = torch.Generator().manual_seed(7)
    x = torch.randn(2, 3, 4, generator=dice) * torch.tensor([1.0, 0.03, 5.0]).view(1, 3, 1) + 2  # (B, T, C)
    weight, bias = torch.tensor([1.5, 0.5, 2.0, 1.0]), torch.tensor([0.1, -0.3, 0.0, 0.7])  # (C,) each
    eps = 1e-3  # as large as the variance of one of the rows, so that its place matters
    got = call(answer, x, weight, bias, eps)
    mean = x.mean(dim=-1, keepdim=True)  # (B, T, 1)
    centred = x - mean  # (B, T, C)
    biased, unbiased = (x.var(dim=-1, keepdim=True, correction=k) for k in (0, 1))  # (B, T, 1) each

    def finished(numbers: torch.Tensor) -> torch.Tensor:
        return numbers * weight + bias

    plain = centred / (biased + eps).sqrt()  # (B, T, C)
    everything, batch = (
        (x - x.mean(dim=axes, keepdim=True)) / (x.var(dim=axes, keepdim=True, correction=0) + eps).sqrt()
        for axes in ((0, 1, 2), (0, 1))
    )
    time, first = (
        (x - x.mean(dim=axes, keepdim=True)) / (x.var(dim=axes, keepdim=True, correction=0) + eps).sqrt()
        for axes in ((1,), (0,))
    )
    named = {
        "unbiased": (
            finished(centred / (unbiased + eps).sqrt()),
            "you divide the sum of the squares by C - 1 (`var` does so by itself). LayerNorm takes their plain mean: which "
            "argument of `var` says that?",
        ),
        "eps outside": (
            finished(centred / (biased.sqrt() + eps)),
            "you add eps to the root. Is it not the variance that it belongs to, inside the root?",
        ),
        "unbiased, eps outside": (
            finished(centred / (unbiased.sqrt() + eps)),
            "two things: the variance divides by C - 1 (`std` does so, too), and eps is added outside of the root.",
        ),
        "no eps": (
            finished(centred / biased.sqrt()),
            "your eps has no effect. What would happen to a row of equal numbers?",
        ),
        "own eps": (
            finished(centred / (biased + 1e-5).sqrt()),
            "you add 1e-5, whatever eps is given. Use the argument.",
        ),
        "no root": (
            finished(centred / (biased + eps)),
            "you divide by the variance. Its root is the standard deviation, and a row divided by that has the variance 1.",
        ),
        "mean stays": (
            finished(x / (biased + eps).sqrt()),
            "you divide, but do not subtract the mean: the mean of your rows is not 0 before `bias` is added.",
        ),
        "root mean square": (
            finished(x / (x.square().mean(dim=-1, keepdim=True) + eps).sqrt()),
            "you divide by the root of the mean square of x. That is RMSNorm with a shift; the variance is about x minus its "
            "mean.",
        ),
        "all axes": (
            finished(everything),
            "you take one mean and one variance for the whole tensor. Each position has its own, over its C numbers.",
        ),
        "over batch and time": (
            finished(batch),
            "you average each channel over the batch and the time: that is BatchNorm. Over which axis does LayerNorm?",
        ),
        "over time": (
            finished(time),
            "you average over the time axis, so each position sees the others, and the future. Over which axis does LayerNorm?",
        ),
        "over the batch": (
            finished(first),
            "you average over the batch, so each sequence sees its neighbours. Over which axis does LayerNorm?",
        ),
        "no weight": (plain, "your rows are normalized. `weight` and `bias` are still to come."),
        "bias scaled": (
            (plain + bias) * weight,
            "you add the bias first and scale it with the rest. First the weight, then the bias.",
        ),
    }
    for key, (tensor, message) in named.items():
        if is_near(got, tensor):
            raise NotYet(key, message)
    same(got, F.layer_norm(x, (4,), weight, bias, eps), tolerance=1e-4, what="the normalized tensor")


LAYER_NORM = Exercise(
    name="layer_norm",
    title="LayerNorm in three lines",
    difficulty="medium",
    minutes=8,
    statement=(
        "(The next cells hold an answer: solve it first.) Write `layer_norm(x, weight, bias, eps)`. At each position: the "
        "mean of the C numbers; their variance, the plain mean of the squared distances from the mean; then "
        "$\\frac{x - \\text{mean}}{\\sqrt{\\text{variance} + \\text{eps}}}$, times `weight`, plus `bias`."
    ),
    stub=LAYER_STUB,
    solution=_layer(MEAN, VARIANCE, RESULT),
    hints=(
        "`keepdim=True` keeps the mean as `(B, T, 1)`, so that it can be subtracted from `(B, T, C)`.",
        "The variance is the mean of `(x - mean) ** 2` along the same axis. `x.var(...)` divides by C - 1, unless it is told "
        "`correction=0`.",
    ),
    check=check_layer_norm,
    wrong=(
        Wrong("unbiased", _layer(MEAN, "x.var(dim=-1, keepdim=True)", RESULT)),
        Wrong("eps outside", _layer(MEAN, VARIANCE, "(x - mean) / (variance.sqrt() + eps) * weight + bias")),
        Wrong(
            "unbiased, eps outside",
            _layer(
                MEAN,
                "x.std(dim=-1, keepdim=True)",
                "(x - mean) / (variance + eps) * weight + bias",
            ),
        ),
        Wrong("no eps", _layer(MEAN, VARIANCE, "(x - mean) / variance.sqrt() * weight + bias")),
        Wrong("own eps", _layer(MEAN, VARIANCE, "(x - mean) / (variance + 1e-5).sqrt() * weight + bias")),
        Wrong("no root", _layer(MEAN, VARIANCE, "(x - mean) / (variance + eps) * weight + bias")),
        Wrong("mean stays", _layer(MEAN, VARIANCE, "x / (variance + eps).sqrt() * weight + bias")),
        Wrong("root mean square", _layer("0", "(x**2).mean(dim=-1, keepdim=True)", RESULT)),
        Wrong("all axes", _layer("x.mean()", "x.var(correction=0)", RESULT)),
        Wrong(
            "over batch and time",
            _layer("x.mean(dim=(0, 1))", "x.var(dim=(0, 1), correction=0)", RESULT),
        ),
        Wrong(
            "over time",
            _layer(
                "x.mean(dim=1, keepdim=True)",
                "x.var(dim=1, keepdim=True, correction=0)",
                RESULT,
            ),
        ),
        Wrong("over the batch", _layer("x.mean(dim=0)", "x.var(dim=0, correction=0)", RESULT)),
        Wrong("no weight", _layer(MEAN, VARIANCE, "(x - mean) / torch.sqrt(variance + eps)")),
        Wrong(
            "bias scaled",
            _layer(MEAN, VARIANCE, "((x - mean) / torch.sqrt(variance + eps) + bias) * weight"),
        ),
    ),
)

# --- drop_some ---

DROP_STUB = '''def drop_some(x, p, training):
    """Dropout: in training each number becomes 0 with probability p, and the others make up for it.

    x: any shape    p: from 0 up to (not including) 1    training: True or False    returns: the same shape
    """
    ...
'''


def _drop(body: str) -> str:
    return filled(DROP_STUB, body)


IN_EVAL = "    if not training:\n        return x\n"
KEPT = "    kept = (torch.rand_like(x) >= p).float()\n"


def check_drop_some(answer) -> None:
    x = torch.arange(60_000.0).view(200, 300) % 7 + 1  # (200, 300), from 1 to 7: no number is 0
    for p in (0.2, 0.7):
        got = call(answer, x, p, True)
        if not isinstance(got, torch.Tensor) or got.shape != x.shape:
            same(got, x, what="what your function gives in training")
        zero = got == 0  # (200, 300)
        share = zero.float().mean().item()
        if share == 0:
            raise NotYet("nothing", f"with p={p} and training=True no number of yours is 0. Where is chance?")
        if zero.all(dim=1).any() or zero.all(dim=0).any():
            raise NotYet(
                "whole rows",
                "whole rows or columns of yours are 0. Each number is to have a throw of its own: which shape have your random "
                "numbers?",
            )
        if abs(share - (1 - p)) < 0.03:
            raise NotYet(
                "p is kept",
                f"with p={p} a share of {share:.2f} of your numbers is 0. p is the share that is dropped, not the one that is "
                "kept.",
            )
        if abs(share - p) > 0.03:
            raise NotYet(
                "share",
                f"with p={p} a share of {share:.2f} of your numbers is 0. `torch.rand` gives numbers from 0 to 1, all equally "
                "likely: how many of them are below p?",
            )
        factor = (got / x)[~zero].mean().item()
        if abs(factor - 1) < 1e-3:
            raise NotYet(
                "not enlarged",
                f"what is left is as large as before, so the mean falls to about {1 - p:.0%} of what it was. By which factor "
                "must the others grow to keep it?",
            )
        for key, wrong, words in (
            ("by p", 1 / p, "1 / p"),
            ("shrunk", 1 - p, "1 - p"),
            ("one plus p", 1 + p, "1 + p"),
        ):
            if abs(factor - wrong) < 1e-3 and abs(wrong - 1 / (1 - p)) > 1e-3:
                raise NotYet(
                    key,
                    f"what is left is multiplied by {words} = {wrong:.3g}. Of 10 numbers, {10 - 10 * p:.0f} stay; by which "
                    "factor must they grow so that the sum stays about the same?",
                )
        same(got[~zero], (x / (1 - p))[~zero], what="what is left in training")
        if torch.equal(zero, call(answer, x, p, True) == 0):
            raise NotYet(
                "same places",
                "a second call drops the same places. Chance is to be thrown anew in each call.",
            )
        calm = call(answer, x, p, False)
        if not is_near(calm, x):
            if isinstance(calm, torch.Tensor) and (calm == 0).any():
                raise NotYet(
                    "drops in eval",
                    "with training=False some numbers are 0 all the same. Whoever measures or writes wants all of them.",
                )
            if is_near(calm, x * (1 - p)):
                raise NotYet(
                    "scaled in eval",
                    "with training=False you multiply by 1 - p. That would belong to a training that enlarges nothing; here "
                    "training has made up for it already.",
                )
        same(calm, x, what="what your function gives with training=False")
    same(call(answer, x, 0.0, True), x, what="what your function gives with p=0")


DROP_SOME = Exercise(
    name="drop_some",
    title="Dropout by hand",
    difficulty="hard",
    minutes=8,
    statement=(
        "Write `drop_some(x, p, training)`. In training each number is set to 0 with probability `p`, independently of the "
        "others, and those that stay are enlarged so that the mean is kept. Otherwise `x` is returned as it is. "
        "(`torch.rand_like(x)` gives random numbers from 0 to 1 in the shape of `x`.)"
    ),
    stub=DROP_STUB,
    solution=_drop(f"{IN_EVAL}{KEPT}    return x * kept / (1 - p)\n"),
    hints=(
        "A comparison of the random numbers with `p` gives a table of true and false. Which share of it is true?",
        "If a fifth is dropped, four fifths stay. To keep the mean, each has to become 5/4 of itself: how is that written with "
        "p?",
    ),
    check=check_drop_some,
    wrong=(
        Wrong("not enlarged", _drop(f"{IN_EVAL}{KEPT}    return x * kept\n")),
        Wrong("by p", _drop(f"{IN_EVAL}{KEPT}    return x * kept / p\n")),
        Wrong("shrunk", _drop(f"{IN_EVAL}{KEPT}    return x * kept * (1 - p)\n")),
        Wrong("one plus p", _drop(f"{IN_EVAL}{KEPT}    return x * kept * (1 + p)\n")),
        Wrong(
            "p is kept",
            _drop(f"{IN_EVAL}    kept = (torch.rand_like(x) < p).float()\n    return x * kept / p\n"),
        ),
        Wrong("drops in eval", _drop(f"{KEPT}    return x * kept / (1 - p)\n")),
        Wrong(
            "scaled in eval",
            _drop(f"    if not training:\n        return x * (1 - p)\n{KEPT}    return x * kept / (1 - p)\n"),
        ),
        Wrong(
            "whole rows",
            _drop(
                f"{IN_EVAL}    kept = (torch.rand(x.shape[0], 1) >= p).float()\n    return x * kept / (1 - p)\n"
            ),
        ),
        Wrong(
            "same places",
            _drop(
                f"{IN_EVAL}    dice = torch.Generator().manual_seed(1)\n"
                "    kept = (torch.rand(x.shape, generator=dice) >= p).float()\n    return x * kept / (1 - p)\n"
            ),
        ),
        Wrong(
            "share", _drop(f"{IN_EVAL}    kept = (torch.randn_like(x) >= p).float()\n    return x * kept\n")
        ),
        Wrong("nothing", _drop("    return x\n")),
    ),
)

EXERCISES = [DEAD_SHARE, SILU_SLOPE, LAYER_NORM, DROP_SOME]
