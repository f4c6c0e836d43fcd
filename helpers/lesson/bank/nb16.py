"""The exercises of notebook 16: rotary positions, scores with a lid, a Newton-Schulz step, the best size for a budget."""

import math

import torch
import torch.nn.functional as F

from helpers.lesson.exercises import (
    Exercise,
    NotYet,
    Wrong,
    call,
    filled,
    in_words,
    is_near,
    one_number,
    refuse_named,
    same,
)

# --- turning_matrix ---

TURNING_STUB = '''def turning_matrix(position, head_size, base=10_000.0):
    """The matrix that turns the pairs of a vector as rotary positions do: `matrix @ vector` is the turned vector.

    position: a whole number    head_size: an even number    returns: (head_size, head_size), float32
    """
    ...
'''


def _turning(
    angle: str = "position * base ** (-2 * i / head_size)",
    places: str = "i, i + half",
    entries: tuple[str, str, str, str] = ("math.cos(angle)", "-math.sin(angle)", "math.sin(angle)", "math.cos(angle)"),
) -> str:  # fmt: skip
    body = "    half = head_size // 2\n    matrix = torch.zeros(head_size, head_size)\n"
    body += f"    for i in range(half):\n        one, other = {places}\n        angle = {angle}\n"
    for place, entry in zip(("one, one", "one, other", "other, one", "other, other"), entries, strict=True):
        body += f"        matrix[{place}] = {entry}\n"
    return filled(TURNING_STUB, body + "    return matrix\n")


def _turn(
    position: int, size: int, base: float = 10_000.0, exponent: float = -2.0, near: bool = False
) -> torch.Tensor:
    """The matrix for these misconceptions; as it stands, the right one."""
    matrix, half = torch.zeros(size, size), size // 2
    for i in range(half):
        one, other = (2 * i, 2 * i + 1) if near else (i, i + half)
        angle = position * base ** (exponent * i / size)
        matrix[one, one] = matrix[other, other] = math.cos(angle)
        matrix[one, other], matrix[other, one] = -math.sin(angle), math.sin(angle)
    return matrix


def check_turning_matrix(answer) -> None:
    for position, size, base in ((3, 6, 100.0), (5, 8, 10_000.0), (0, 4, 50.0)):
        want = _turn(position, size, base)
        got = call(answer, position, size, base)
        if position:
            cosines = torch.diag(want.diagonal())
            refuse_named(
                got,
                {
                    "other way": (
                        want.T,
                        "each pair is turned, but the other way round. For an angle of a quarter turn, (1, 0) should become "
                        "(0, 1): which of the two sines has the minus?",
                    ),
                    "neighbours": (
                        _turn(position, size, base, near=True),
                        "you pair neighbours, 0 with 1, 2 with 3. That is how some models do it; here number i goes with number "
                        "i + head_size/2.",
                    ),
                    "one speed": (
                        _turn(position, size, base, exponent=0.0),
                        "all pairs turn by the same angle, the position itself. What makes the first pair fast and the last slow?",
                    ),
                    "exponent": (
                        _turn(position, size, base, exponent=-1.0),
                        "the later pairs turn too fast: is the exponent of `base` for pair i really -i / head_size?",
                    ),
                    "faster": (
                        _turn(position, size, base, exponent=2.0),
                        "the later pairs turn *faster* than the first. Which sign has the exponent?",
                    ),
                    "degrees": (
                        _degrees(position, size, base),
                        "the angles are about sixty times too small. Does `math.cos` take degrees?",
                    ),
                    "no position": (
                        _turn(1, size, base),
                        "the matrix is the same at each position. Where does `position` enter the angle?",
                    ),
                    "no sines": (
                        cosines,
                        "this shortens each pair by a cosine and turns nothing. What goes from one number of a pair to the "
                        "other?",
                    ),
                    "mirror": (
                        want * _mirror(size),
                        "lengths are kept, but this mirrors each pair in place of turning it: at position 0 it would not leave "
                        "the vector as it is.",
                    ),
                },
            )
        same(got, want, 1e-4, "the matrix")


def _degrees(position: int, size: int, base: float) -> torch.Tensor:
    matrix, half = torch.zeros(size, size), size // 2
    for i in range(half):
        angle = math.radians(position * base ** (-2 * i / size))
        matrix[i, i] = matrix[i + half, i + half] = math.cos(angle)
        matrix[i, i + half], matrix[i + half, i] = -math.sin(angle), math.sin(angle)
    return matrix


def _mirror(size: int) -> torch.Tensor:
    """Signs that make mirrors of turns: those of the second half of the columns are changed."""
    signs = torch.ones(size, size)
    signs[:, size // 2 :] = -1
    return signs


TURNING_MATRIX = Exercise(
    name="turning_matrix",
    title="A turn as a matrix",
    difficulty="medium",
    minutes=8,
    statement=(
        "(An answer follows: solve it first.) Turning is a linear map, so a matrix can do it. Write `turning_matrix(position, "
        "head_size, base)`: `matrix @ vector` turns pair i, which is the numbers i and i + `head_size`/2, by the angle "
        "position · base^(−2i / `head_size`). Begin with `torch.zeros` and set four entries for each pair; `math.cos` and "
        "`math.sin` take angles in radians, as here."
    ),
    stub=TURNING_STUB,
    solution=_turning(),
    hints=(
        "The new first number of a pair is first · cos − second · sin: so row i has cos in column i and −sin in column "
        "i + head_size/2.",
        "The row i + head_size/2 has sin in column i and cos in column i + head_size/2.",
    ),
    check=check_turning_matrix,
    wrong=(
        Wrong("other way", _turning(entries=("math.cos(angle)", "math.sin(angle)", "-math.sin(angle)", "math.cos(angle)"))),
        Wrong("neighbours", _turning(places="2 * i, 2 * i + 1")),
        Wrong("one speed", _turning("position")),
        Wrong("exponent", _turning("position * base ** (-i / head_size)")),
        Wrong("faster", _turning("position * base ** (2 * i / head_size)")),
        Wrong("degrees", _turning("math.radians(position * base ** (-2 * i / head_size))")),
        Wrong("no position", _turning("base ** (-2 * i / head_size)")),
        Wrong("no sines", _turning(entries=("math.cos(angle)", "0", "0", "math.cos(angle)"))),
        Wrong("mirror", _turning(entries=("math.cos(angle)", "math.sin(angle)", "math.sin(angle)", "-math.cos(angle)"))),
    ),
)  # fmt: skip

# --- normed_scores ---

SCORES_STUB = '''def normed_scores(query, key):
    """Attention scores of queries and keys that were brought to a root mean square of 1 first.

    query, key: (B, n_head, T, head_size)    returns: (B, n_head, T, T), divided by sqrt(head_size); no mask, no softmax
    """
    ...
'''


def _scores(
    norm: str = "x / x.square().mean(dim=-1, keepdim=True).sqrt()",
    result: str = "normed(query) @ normed(key).mT / math.sqrt(query.shape[-1])",
) -> str:
    return filled(SCORES_STUB, f"    def normed(x):\n        return {norm}\n\n    return {result}\n")


def check_normed_scores(answer) -> None:
    dice = torch.Generator().manual_seed(16)
    query, key = (torch.randn(2, 3, 5, 8, generator=dice) * 3 + 0.7 for _ in range(2))
    root = math.sqrt(8)

    def with_norm(norm) -> torch.Tensor:
        return norm(query) @ norm(key).mT / root

    def rms(x: torch.Tensor, *dims: int) -> torch.Tensor:
        return x / x.square().mean(dim=dims or (-1,), keepdim=True).sqrt()

    want = with_norm(rms)
    got = call(answer, query, key)
    refuse_named(
        got,
        {
            "not divided": (
                want * root,
                "the norm is right, but the scores are not divided: they can reach head_size. By what did notebook 08 divide?",
            ),
            "unit length": (
                want / 8,
                "your queries and keys have the length 1, so no score passes 1/sqrt(head_size), and softmax stays nearly even. "
                "Asked for is a root *mean* square of 1: is the mean over the squares, or their sum?",
            ),
            "over positions": (
                with_norm(lambda x: rms(x, -2)),
                "the mean runs over the positions, so a query depends on its neighbours, later ones too. Over which axis do "
                "the numbers of one query lie?",
            ),
            "whole tensor": (
                with_norm(lambda x: rms(x, 0, 1, 2, 3)),
                "all queries are divided by one common number, so a long query stays longer than the others. Each needs its own.",
            ),
            "mean square": (
                with_norm(lambda x: x / x.square().mean(-1, keepdim=True)),
                "you divide by the mean square itself: a vector that is twice as long comes out half as long. What is missing?",
            ),
            "LayerNorm": (
                with_norm(lambda x: F.layer_norm(x, (8,))),
                "you take the mean away first: that is LayerNorm (notebook 07). RMSNorm leaves the mean in.",
            ),
            "queries only": (
                rms(query) @ key.mT / root,
                "the queries are normalized, the keys are not: a key that grows still makes every score grow.",
            ),
            "plain": (
                query @ key.mT / root,
                "these are the plain scores: nothing is normalized yet.",
            ),
            "afterwards": (
                rms(query @ key.mT / root),
                "you normalize the *scores*. Then each row has the same spread, however well its query fits the keys. "
                "Normalize queries and keys, before the product.",
            ),
        },
    )
    same(got, want, 1e-4, "the scores")


NORMED_SCORES = Exercise(
    name="normed_scores",
    title="Scores with a lid",
    difficulty="easy",
    minutes=6,
    statement=(
        "(An answer follows: solve it first.) Write `normed_scores(query, key)` by hand. Divide each query and each key, the "
        "vectors along the last axis, by the root of the mean of its squares; then take the scores as in notebook 08, divided "
        "by √`head_size`, without mask and softmax. (`x.square()` squares every number, `keepdim=True` keeps an axis of length "
        "1, `.mT` swaps the last two axes.)"
    ),
    stub=SCORES_STUB,
    solution=_scores(),
    hints=(
        "`x.square().mean(dim=-1, keepdim=True).sqrt()` has a number for each vector: (B, n_head, T, 1).",
        "The scores are `query @ key.mT / math.sqrt(head_size)`, and head_size is `query.shape[-1]`.",
    ),
    check=check_normed_scores,
    wrong=(
        Wrong("unit length", _scores("x / x.norm(dim=-1, keepdim=True)")),
        Wrong("over positions", _scores("x / x.square().mean(dim=-2, keepdim=True).sqrt()")),
        Wrong("whole tensor", _scores("x / x.square().mean().sqrt()")),
        Wrong("mean square", _scores("x / x.square().mean(dim=-1, keepdim=True)")),
        Wrong("LayerNorm", _scores("F.layer_norm(x, x.shape[-1:])")),
        Wrong("queries only", _scores(result="normed(query) @ key.mT / math.sqrt(query.shape[-1])")),
        Wrong("plain", _scores("x")),
        Wrong("not divided", _scores(result="normed(query) @ normed(key).mT")),
        Wrong("afterwards", _scores(result="normed(query @ key.mT / math.sqrt(query.shape[-1]))")),
    ),
)  # fmt: skip

# --- newton_schulz_step ---

STEP_STUB = '''def newton_schulz_step(x, a=3.4445, b=-4.7750, c=2.0315):
    """One Newton-Schulz step: every singular value s of x becomes a s + b s^3 + c s^5.

    x: (m, n), already divided by its norm    returns: (m, n)
    """
    ...
'''


def _step(result: str, before: str = "    gram = x @ x.mT\n") -> str:
    return filled(STEP_STUB, f"{before}    return {result}\n")


def check_newton_schulz_step(answer) -> None:
    dice = torch.Generator().manual_seed(61)
    for rows, columns, (a, b, c) in ((3, 5, (3.4445, -4.7750, 2.0315)), (4, 2, (2.0, -1.5, 0.5))):
        x = torch.randn(rows, columns, generator=dice)
        x = x / x.norm()
        gram = x @ x.mT
        want = a * x + b * gram @ x + c * gram @ gram @ x
        got = call(answer, x, a, b, c)
        refuse_named(
            got,
            {
                "each number": (
                    a * x + b * x**3 + c * x**5,
                    "you take powers of each *number* of the matrix. The formula is for its singular values: the third power is "
                    "the matrix product x @ x.mT @ x.",
                ),
                "square of each": (
                    a * x + b * gram @ x + c * gram**2 @ x,
                    "`**` squares each number of `x @ x.mT`. The square of a matrix is its product with itself.",
                ),
                "no fifth": (
                    a * x + b * gram @ x,
                    "the fifth power, with c, is missing.",
                ),
                "third twice": (
                    a * x + b * gram @ x + c * gram @ x,
                    "c stands beside the third power, as b does. Which product gives the fifth: how many x are in it?",
                ),
                "fourth": (
                    a * x + b * gram @ x + c * gram @ gram @ gram @ x,
                    "c stands beside the seventh power: each `x @ x.mT` counts for two.",
                ),
                "swapped": (
                    a * x + c * gram @ x + b * gram @ gram @ x,
                    "b and c have changed places: b belongs to the third power.",
                ),
                "minus": (
                    a * x - b * gram @ x + c * gram @ gram @ x,
                    "b is negative already; a second minus makes the values grow.",
                ),
                "added": (
                    x + a * x + b * gram @ x + c * gram @ gram @ x,
                    "the old x is added once more. The formula gives the new x, not a change.",
                ),
                "five steps": (
                    _many(x, a, b, c, 5),
                    "that is five steps. Asked for is one.",
                ),
            },
        )
        same(got, want, 1e-4, "the matrix after the step")


def _many(x: torch.Tensor, a: float, b: float, c: float, steps: int) -> torch.Tensor:
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x


NEWTON_SCHULZ_STEP = Exercise(
    name="newton_schulz_step",
    title="One Newton-Schulz step",
    difficulty="medium",
    minutes=5,
    statement=(
        "(An answer follows: solve it first.) Write `newton_schulz_step(x, a, b, c)`, one step of the formula above, for one "
        "matrix that has been divided by its norm already. (`@` is the matrix product, `.mT` swaps the last two axes.)"
    ),
    stub=STEP_STUB,
    solution=_step("a * x + b * gram @ x + c * gram @ gram @ x"),
    hints=(
        "Name the small product first: `gram = x @ x.mT`.",
        "b goes with `gram @ x`, c with `gram @ gram @ x`.",
    ),
    check=check_newton_schulz_step,
    wrong=(
        Wrong("each number", _step("a * x + b * x**3 + c * x**5", "")),
        Wrong("square of each", _step("a * x + b * gram @ x + c * gram**2 @ x")),
        Wrong("no fifth", _step("a * x + b * gram @ x")),
        Wrong("third twice", _step("a * x + b * gram @ x + c * gram @ x")),
        Wrong("fourth", _step("a * x + b * gram @ x + c * gram @ gram @ gram @ x")),
        Wrong("swapped", _step("a * x + c * gram @ x + b * gram @ gram @ x")),
        Wrong("minus", _step("a * x - b * gram @ x + c * gram @ gram @ x")),
        Wrong("added", _step("x + a * x + b * gram @ x + c * gram @ gram @ x")),
        Wrong(
            "five steps",
            _step(
                "x",
                "    for _ in range(5):\n        gram = x @ x.mT\n        x = a * x + b * gram @ x + c * gram @ gram @ x\n",
            ),
        ),
    ),
)  # fmt: skip

# --- best_choice ---

CHOICE_STUB = '''def best_choice(A, a, B, b, compute):
    """How large a model, and how much text, give the lowest loss A / N**a + B / D**b of all with 6 * N * D = compute.

    A, a, B, b: positive numbers of the law (E plays no part)    compute: operations
    returns: (N, D), parameters and training characters, to 1 percent
    """
    ...
'''


def _choice(
    tokens: str = "compute / (6 * N)", loss: str = "A / N**a + B / D**b", result: str = "best, tokens"
) -> str:
    body = "    lowest = math.inf\n    for k in range(16_001):\n        N = 10 ** (k / 1_000)\n"
    body += f"        D = {tokens}\n        loss = {loss}\n        if loss < lowest:\n"
    return filled(CHOICE_STUB, body + f"            lowest, best, tokens = loss, N, D\n    return {result}\n")


def _best(A: float, a: float, B: float, b: float, product: float) -> tuple[float, float]:
    N = (a * A / (b * B) * product**b) ** (1 / (a + b))
    return N, product / N


def check_best_choice(answer) -> None:
    for A, a, B, b, compute in ((90.0, 0.42, 700.0, 0.55, 3e13), (20.0, 0.3, 60.0, 0.25, 6e14)):
        product = compute / 6
        want_N, want_D = _best(A, a, B, b, product)
        got = call(answer, A, a, B, b, compute)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise NotYet("type", f"two numbers are asked for, N and D; your function gives {in_words(got)}.")
        N, D = (one_number(each, name) for each, name in zip(got, ("N", "D"), strict=True))

        def near(N: float, D: float, other: tuple[float, float]) -> bool:
            pair = torch.tensor([N, D]), torch.tensor(other)
            return is_near(pair[0] / pair[1], torch.ones(2), 0.005)

        balance = (A / B * product**b) ** (1 / (a + b))  # where the two terms are equal
        said = {
            "no six": (
                _best(A, a, B, b, compute),
                "N times D is the whole compute. Each parameter costs how many operations for each character?",
            ),
            "equal terms": (
                (balance, product / balance),
                "here the two terms A / N^a and B / D^b are *equal*. The sum is lowest where going to a larger N gains as "
                "much as the smaller D loses, and that depends on a and b, too.",
            ),
            "swapped": (
                _best(B, b, A, a, product),
                "these are the two numbers in each other's place: A and a belong to the parameters, and N comes first.",
            ),
            "exponents": (
                _best(A, b, B, a, product),
                "the exponents have changed places: a belongs to N, b to D.",
            ),
            "half and half": (
                (math.sqrt(product), math.sqrt(product)),
                "as many characters as parameters: does the law say so? Try a little to either side.",
            ),
            "twenty": (
                (math.sqrt(product / 20), math.sqrt(20 * product)),
                "that is the rule of twenty tokens for each parameter. It came out of the law of other models on another text: "
                "what does this law say?",
            ),
            "one parameter": (
                (1.0, product),
                "the smallest model of all, and all the compute for text: did your search stop at its first try?",
            ),
        }
        for key, (other, message) in said.items():
            if near(N, D, other):
                raise NotYet(key, message)
        if abs(6 * N * D / compute - 1) > 0.02:
            raise NotYet(
                "other compute",
                f"6 · N · D is {6 * N * D:.3g} with your two numbers, and the compute is {compute:.3g}: D follows from N.",
            )
        if abs(N / want_N - 1) > 0.01:
            mine, best = (A / n**a + B / (product / n) ** b for n in (N, want_N))
            raise NotYet(
                "not lowest",
                f"with your N = {N:.4g} the two terms add up to {mine:.5f}; there is an N with {best:.5f}.",
            )


BEST_CHOICE = Exercise(
    name="best_choice",
    title="The best size for a budget",
    difficulty="hard",
    minutes=8,
    statement=(
        "(An answer follows in pictures: solve it first.) Write `best_choice(A, a, B, b, compute)`: of all N and D with 6 · N "
        "· D = compute, the pair for which A / N^a + B / D^b is lowest, as `(N, D)`. Trying is enough: walk through sizes such "
        "as `10 ** (k / 1_000)` for k from 0 to 16,000, with the D that the compute leaves for each size. (If you like "
        "derivatives, you can do without a loop.)"
    ),
    stub=CHOICE_STUB,
    solution=_choice(),
    hints=(
        "For each N there is one D only: compute / (6 * N).",
        "Keep the lowest loss so far, `lowest = math.inf` at the beginning, and the N and D that gave it.",
    ),
    check=check_best_choice,
    wrong=(
        Wrong("equal terms", _choice(loss="abs(A / N**a - B / D**b)")),
        Wrong("no six", _choice("compute / N")),
        Wrong("swapped", _choice(loss="B / N**b + A / D**a")),
        Wrong("exponents", _choice(loss="A / N**b + B / D**a")),
        Wrong("half and half", filled(CHOICE_STUB, "    N = math.sqrt(compute / 6)\n    return N, compute / (6 * N)\n")),
        Wrong("twenty", filled(CHOICE_STUB, "    N = math.sqrt(compute / 120)\n    return N, 20 * N\n")),
        Wrong("one parameter", filled(CHOICE_STUB, "    for k in range(16_001):\n        N = 10 ** (k / 1_000)\n"
                                                   "        return N, compute / (6 * N)\n")),
        Wrong("other compute", _choice(result="best, compute / 6")),
        Wrong("not lowest", filled(CHOICE_STUB, "    N = 1_000_000\n    return N, compute / (6 * N)\n")),
    ),
)  # fmt: skip

EXERCISES = [TURNING_MATRIX, NORMED_SCORES, NEWTON_SCHULZ_STEP, BEST_CHOICE]
