"""The exercises of notebook 09: heads apart and together again, the lecture's block, parameters counted by hand."""

import torch

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, in_words, refuse_named, same

# --- split_heads ---

SPLIT_STUB = '''def split_heads(x, n_head):
    """Each row of channels cut into `n_head` equal parts, with the heads in front of the time axis.

    x: (B, T, C)    returns: (B, n_head, T, head_size) with head_size = C // n_head
    """
    ...
'''


def _split(expression: str) -> str:
    return filled(
        SPLIT_STUB, f"    B, T, C = x.shape\n    head_size = C // n_head\n    return {expression}\n"
    )


def check_split_heads(answer) -> None:
    B, T, n_head, head_size = 2, 5, 3, 4  # all different
    C = n_head * head_size
    x = torch.arange(float(B * T * C)).view(B, T, C)  # (B, T, C): every number is another one
    right = x.view(B, T, n_head, head_size).transpose(1, 2)  # (B, n_head, T, head_size)
    got = call(answer, x, n_head)
    if isinstance(got, tuple | list):
        raise NotYet(
            "pieces",
            f"you give {len(got)} pieces one by one. One product can treat all heads only if they are in one tensor: "
            "`view` cuts without taking apart.",
        )
    refuse_named(
        got,
        {
            "view alone": (
                x.view(B, n_head, T, head_size),
                "the shape is right, and the numbers are not where they belong: your `view` reads row after row, so a head "
                "gets whole positions in place of its part of each. Cut the last axis first, then move an axis.",
            ),
            "not moved": (
                right.transpose(1, 2),
                "each row is cut as it should be, but the heads stand behind the time. Attention works on the last two axes: "
                "what has to stand there?",
            ),
            "every third": (
                x.view(B, T, head_size, n_head).permute(0, 3, 1, 2),
                "your heads take every n_head-th channel. Head 0 is to get the first head_size channels, head 1 the next: "
                "which of the two sizes comes first in `view`?",
            ),
            "time last": (
                right.transpose(2, 3),
                "the heads are right, but time and head_size are swapped: a query is a row of head_size numbers, so "
                "head_size comes last.",
            ),
            "heads first": (
                right.transpose(0, 1),
                "the heads stand in front of the batch. That can work too, but the batch comes first here: "
                "(B, n_head, T, head_size).",
            ),
            "first part only": (
                x[..., :head_size].unsqueeze(1).expand(B, n_head, T, head_size),
                "all your heads have the same numbers, the first head_size channels. Each head has a part of its own.",
            ),
            "through time": (
                x.transpose(1, 2).reshape(B, n_head, T, head_size),
                "you swap time and channels and then cut. After that the memory is read in another order, so rows are mixed: "
                "cut the channels first, with `view`.",
            ),
        },
    )
    if isinstance(got, torch.Tensor) and got.shape == (B, head_size, T, n_head):
        raise NotYet(
            "size for number",
            "you make head_size heads of n_head numbers: the other way round. (`x.split(k)` makes pieces of size k, "
            "`x.chunk(k)` k pieces.)",
        )
    same(got, right, what="what your function gives")


SPLIT_HEADS = Exercise(
    name="split_heads",
    title="Split the heads",
    difficulty="medium",
    minutes=6,
    statement=(
        "(An answer follows: solve it first.) Write `split_heads(x, n_head)`, which cuts the channels of each position into "
        "`n_head` equal parts, `(B, T, C)` → `(B, n_head, T, head_size)`: head 0 gets the first `head_size` channels of every "
        "position, head 1 the next ones. You need `view` and `transpose`, in this order."
    ),
    stub=SPLIT_STUB,
    solution=_split("x.view(B, T, n_head, head_size).transpose(1, 2)"),
    hints=(
        "`view` may cut an axis into two that stand side by side: C becomes (n_head, head_size), and B and T stay where they are.",
        "After that the axes are (B, T, n_head, head_size). Which two of them have to change places?",
    ),
    check=check_split_heads,
    wrong=(
        Wrong("view alone", _split("x.view(B, n_head, T, head_size)")),
        Wrong("not moved", _split("x.view(B, T, n_head, head_size)")),
        Wrong("every third", _split("x.view(B, T, head_size, n_head).permute(0, 3, 1, 2)")),
        Wrong("time last", _split("x.view(B, T, n_head, head_size).permute(0, 2, 3, 1)")),
        Wrong("heads first", _split("torch.stack(x.chunk(n_head, dim=-1))")),
        Wrong("first part only", _split("x[..., :head_size].unsqueeze(1).expand(B, n_head, T, head_size)")),
        Wrong("through time", _split("x.transpose(1, 2).reshape(B, n_head, T, head_size)")),
        Wrong("size for number", _split("torch.stack(x.split(n_head, dim=-1), dim=1)")),
        Wrong("pieces", _split("x.chunk(n_head, dim=-1)")),
    ),
)

# --- merge_heads ---

MERGE_STUB = '''def merge_heads(x):
    """For each position, the results of its heads side by side.

    x: (B, n_head, T, head_size)    returns: (B, T, n_head * head_size)
    """
    ...
'''


def _merge(expression: str) -> str:
    return filled(
        MERGE_STUB,
        f"    B, n_head, T, head_size = x.shape\n    C = n_head * head_size\n    return {expression}\n",
    )


def check_merge_heads(answer) -> None:
    B, n_head, T, head_size = 2, 3, 5, 4  # all different
    C = n_head * head_size
    x = torch.arange(float(B * T * C)).view(B, n_head, T, head_size)  # every number is another one
    right = x.transpose(1, 2).reshape(B, T, C)  # (B, T, C)
    got = call(answer, x)
    refuse_named(
        got,
        {
            "reshape alone": (
                x.reshape(B, T, C),
                "the shape is right, and the rows are not: `reshape` reads head after head, so a row of yours holds several "
                "positions of one head. Which axis has to be moved before?",
            ),
            "interleaved": (
                x.permute(0, 2, 3, 1).reshape(B, T, C),
                "the numbers of the heads alternate in your rows: first of head 0, first of head 1, and so on. Head 0 is to "
                "come first as a whole, so head_size is the last axis before you join.",
            ),
            "other axes": (
                x.transpose(2, 3).reshape(B, T, C),
                "you swap T and head_size. To have a position's heads side by side, which two axes must be neighbours?",
            ),
            "summed": (
                x.sum(dim=1),
                "you add the heads up: n_head results become one, and nobody can tell them apart any more. Side by side "
                "they keep all their numbers.",
            ),
            "averaged": (
                x.mean(dim=1),
                "you take the mean of the heads: n_head results become one. Side by side they keep all their numbers.",
            ),
            "along time": (
                x.flatten(1, 2),
                "you lay the heads one behind the other along the time, so the sequence is n_head times as long. They belong "
                "side by side, in the channels.",
            ),
            "time in channels": (
                x.flatten(2),
                "you join time and head_size. Which two axes make up the channels?",
            ),
            "one head again and again": (
                x[:, 0].repeat(1, 1, n_head),
                "you repeat head 0. Each head has something to say.",
            ),
            "last head first": (
                x.flip(1).transpose(1, 2).reshape(B, T, C),
                "the heads stand in the opposite order. Head 0 gets the first channels.",
            ),
            "batch in channels": (
                torch.cat(list(x), dim=-1),
                "a loop over x runs over its first axis, the sequences, so you lay sequences side by side. The heads are the "
                "second axis.",
            ),
        },
    )
    same(got, right, what="what your function gives")


MERGE_HEADS = Exercise(
    name="merge_heads",
    title="Merge the heads",
    difficulty="medium",
    minutes=5,
    statement=(
        "(An answer follows: solve it first.) Write `merge_heads(x)`, the way back: `(B, n_head, T, head_size)` → `(B, T, C)`, "
        "where the channels of a position are those of head 0, then those of head 1, and so on."
    ),
    stub=MERGE_STUB,
    solution=_merge("x.transpose(1, 2).reshape(B, T, C)"),
    hints=(
        "Two axes can be joined if they stand side by side, and the second one runs faster. What must stand in front of "
        "head_size?",
        "(B, T, n_head, head_size) is what you want before you join the last two. One `transpose` leads there.",
        "After a `transpose` the numbers no longer lie in memory in the order of the axes; then `view` refuses, and `reshape` "
        "makes a copy.",
    ),
    check=check_merge_heads,
    wrong=(
        Wrong("reshape alone", _merge("x.reshape(B, T, C)")),
        Wrong("interleaved", _merge("x.permute(0, 2, 3, 1).reshape(B, T, C)")),
        Wrong("other axes", _merge("x.transpose(2, 3).reshape(B, T, C)")),
        Wrong("summed", _merge("x.sum(dim=1)")),
        Wrong("averaged", _merge("x.mean(dim=1)")),
        Wrong("along time", _merge("torch.cat([x[:, h] for h in range(n_head)], dim=1)")),
        Wrong("time in channels", _merge("x.flatten(2)")),
        Wrong("one head again and again", _merge("torch.cat([x[:, 0]] * n_head, dim=-1)")),
        Wrong("last head first", _merge("torch.cat([x[:, -1 - h] for h in range(n_head)], dim=-1)")),
        Wrong("batch in channels", _merge("torch.cat([head for head in x], dim=-1)")),
        Wrong("raised", _merge("x.transpose(1, 2).view(B, T, C)")),
    ),
)

# --- lecture_block ---

LECTURE_STUB = '''def lecture_block(x, attention, feed_forward, norm1, norm2):
    """A post-norm block: attention, then feed-forward, each with its residual connection and its norm.

    x: (B, T, C)    the other four: functions from (B, T, C) to (B, T, C)    returns: (B, T, C)
    """
    ...
'''


def _lecture(*lines: str) -> str:
    return filled(LECTURE_STUB, "".join(f"    {line}\n" for line in lines))


def check_lecture_block(answer) -> None:
    dice = torch.Generator().manual_seed(9)
    x = torch.randn(2, 5, 4, generator=dice)  # (B, T, C)
    turn = torch.randn(4, 4, generator=dice)  # (C, C)

    def attention(x):
        return x.cumsum(dim=1) * 0.3  # each position sees itself and the past

    def feed_forward(x):
        return torch.tanh(x @ turn)

    def norm1(x):
        return (x - x.mean(dim=-1, keepdim=True)) / x.std(dim=-1, keepdim=True)

    def norm2(x):
        return 2 * norm1(x) + 0.5

    a, f = attention, feed_forward
    half = norm1(x + a(x))  # (B, T, C), after attention
    right = norm2(half + f(half))  # (B, T, C)
    got = call(answer, x, attention, feed_forward, norm1, norm2)
    pre = x + a(norm1(x))  # (B, T, C)
    bare = norm1(a(x))  # (B, T, C)
    branch = x + norm1(a(x))  # (B, T, C)
    both = norm1(x + f(x))  # (B, T, C)
    swapped = norm2(x + a(x))  # (B, T, C)
    refuse_named(
        got,
        {
            "pre-norm": (
                pre + f(norm2(pre)),
                "this is pre-norm, as in GPT-2: your norms stand in front of attention and feed-forward. In the lecture's "
                "block they come after the addition.",
            ),
            "no residual": (
                norm2(f(bare)),
                "nothing of yours is added: each part replaces its input. Where does x run past?",
            ),
            "norm on the branch": (
                branch + norm2(f(branch)),
                "you normalize what attention gives and then add x. Post-norm normalizes the sum.",
            ),
            "old x": (
                norm2(x + f(half)),
                "the second residual connection carries the x from before attention, so what attention found is lost on that "
                "way. What is the input of the feed-forward part?",
            ),
            "side by side": (
                norm2(norm1(x + a(x) + f(x))),
                "your feed-forward network reads the x from before attention: the two work side by side. Here it digests what "
                "attention has found.",
            ),
            "one norm for both": (
                norm1(half + f(half)),
                "you use norm1 twice. Each of the two has learnt weights of its own.",
            ),
            "norms swapped": (
                norm1(swapped + f(swapped)),
                "norm1 belongs to attention and norm2 to feed-forward; yours are the other way round.",
            ),
            "feed-forward first": (
                norm2(both + a(both)),
                "you begin with feed-forward. Attention comes first: gather, then digest.",
            ),
            "last norm missing": (
                half + f(half),
                "the sum after feed-forward is not normalized. In a post-norm block a norm stands behind each of the two "
                "additions.",
            ),
            "first norm missing": (
                norm2(x + a(x) + f(x + a(x))),
                "the sum after attention is not normalized. In a post-norm block a norm stands behind each of the two "
                "additions.",
            ),
            "second not added": (
                norm2(f(half)),
                "the first part adds, the second replaces: where is the residual connection around feed-forward?",
            ),
        },
    )
    same(got, right, tolerance=1e-4, what="what your block gives")


LECTURE_BLOCK = Exercise(
    name="lecture_block",
    title="The lecture's block",
    difficulty="easy",
    minutes=5,
    statement=(
        "(An answer follows: solve it first.) Write `lecture_block(x, attention, feed_forward, norm1, norm2)`, a post-norm "
        "block. First attention: add what it finds to its input, and normalize the sum with `norm1`. Then feed-forward "
        "likewise, with `norm2`. The four parts are handed over as functions."
    ),
    stub=LECTURE_STUB,
    solution=_lecture(
        "x = norm1(x + attention(x))",
        "return norm2(x + feed_forward(x))",
    ),
    hints=(
        "Two lines, one for each part. Both have the form: norm of (input plus what the part makes of the input).",
        "The input of the second line is the result of the first, in both places where an x stands.",
    ),
    check=check_lecture_block,
    wrong=(
        Wrong("pre-norm", _lecture("x = x + attention(norm1(x))", "return x + feed_forward(norm2(x))")),
        Wrong("no residual", _lecture("x = norm1(attention(x))", "return norm2(feed_forward(x))")),
        Wrong(
            "norm on the branch",
            _lecture("x = x + norm1(attention(x))", "return x + norm2(feed_forward(x))"),
        ),
        Wrong("old x", _lecture("y = norm1(x + attention(x))", "return norm2(x + feed_forward(y))")),
        Wrong(
            "side by side",
            _lecture("x = norm1(x + attention(x) + feed_forward(x))", "return norm2(x)"),
        ),
        Wrong(
            "one norm for both",
            _lecture("x = norm1(x + attention(x))", "return norm1(x + feed_forward(x))"),
        ),
        Wrong("norms swapped", _lecture("x = norm2(x + attention(x))", "return norm1(x + feed_forward(x))")),
        Wrong(
            "feed-forward first",
            _lecture("x = norm1(x + feed_forward(x))", "return norm2(x + attention(x))"),
        ),
        Wrong("last norm missing", _lecture("x = norm1(x + attention(x))", "return x + feed_forward(x)")),
        Wrong("first norm missing", _lecture("x = x + attention(x)", "return norm2(x + feed_forward(x))")),
        Wrong("second not added", _lecture("x = norm1(x + attention(x))", "return norm2(feed_forward(x))")),
    ),
)

# --- block_parameters ---

COUNT_STUB = '''def block_parameters(n_embd, n_head, bias):
    """How many parameters a block has.

    n_embd: channels    n_head: heads    bias: whether linear layers and norms have biases    returns: a whole number
    """
    ...
'''


def _count(weights: str, biases: str = "11 * n_embd") -> str:
    return filled(
        COUNT_STUB,
        f"    weights = {weights}\n    biases = {biases}\n    return weights + (biases if bias else 0)\n",
    )


def check_block_parameters(answer) -> None:
    def right(C: int, bias: bool) -> int:
        return 12 * C * C + 2 * C + (11 * C if bias else 0)

    cases = [(12, 3, True), (12, 3, False), (40, 5, True), (40, 5, False)]
    got = [call(answer, *case) for case in cases]
    for value in got:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotYet(
                "type", f"the number of parameters is a whole number; your function gives {in_words(value)}."
            )
    wanted = [right(C, bias) for C, _, bias in cases]
    extra = [value - want for value, want in zip(got, wanted, strict=True)]  # too many
    squares = [case[0] ** 2 for case in cases]
    sizes, with_bias = [case[0] for case in cases], [case[2] for case in cases]

    def all_extra(of_square: float, of_width: float, of_bias: float = 0) -> bool:
        """Whether all cases are wrong by these multiples of C², of C, and of C where there are biases."""
        return all(
            off == of_square * square + of_width * size + (of_bias * size if b else 0)
            for off, square, size, b in zip(extra, squares, sizes, with_bias, strict=True)
        )

    if any(extra):
        by_heads = [3 * (case[1] - 1) * case[0] ** 2 for case in cases]
        if all(
            off - more in (0, 3 * (case[1] - 1) * case[0])
            for off, more, case in zip(extra, by_heads, cases, strict=True)
        ):
            raise NotYet(
                "for each head",
                "you count query, key and value of full width for each head. The heads share the channels: n_head heads of "
                "n_embd / n_head numbers are together as wide as one of n_embd.",
            )
        named = (
            ("no projection", all_extra(-1, 0, -1) or all_extra(-1, 0), "the projection behind the heads is missing."),
            (
                "qkv once",
                all_extra(-2, 0, -2) or all_extra(-2, 0),
                "you count one of query, key and value. There are three of them, each from n_embd to n_embd.",
            ),
            (
                "one way up",
                all_extra(-4, 0) or all_extra(-4, 0, -1) or all_extra(-4, 0, -4),
                "the feed-forward network has two layers: up to 4 · n_embd and back down. You count one of them.",
            ),
            (
                "not four times",
                all_extra(-6, 0, -3) or all_extra(-6, 0),
                "your feed-forward layers go from n_embd to n_embd. In the middle the network is four times as wide.",
            ),
            (
                "wide square",
                all_extra(8, 0),
                "a layer from n_embd to 4 · n_embd has n_embd · 4 · n_embd weights. One of your layers is 4 · n_embd wide on "
                "both sides.",
            ),
            (
                "one norm",
                all_extra(0, -1, -1) or all_extra(0, -1),
                "a block has two norms: one for attention, one for feed-forward.",
            ),
            ("no norms", all_extra(0, -2, -2) or all_extra(0, -2), "the two norms have weights, too: one for each channel."),
            (
                "norm as a matrix",
                all_extra(2, -2) or all_extra(2, -2, -2),
                "you count a LayerNorm as a layer from n_embd to n_embd. It multiplies each channel by one number: n_embd "
                "weights.",
            ),
            (
                "bias always",
                all_extra(0, 11, -11),
                "you count biases although `bias` is False.",
            ),
            ("bias never", all_extra(0, 0, -11), "with bias=True the biases are missing: a number for each output of each layer."),
            (
                "norms keep their bias",
                all_extra(0, 2, -2),
                "with bias=False the norms have no biases either (as in our `Block`), only their weights.",
            ),
            (
                "norms without bias",
                all_extra(0, 0, -2),
                "with bias=True each of the two norms has a bias for each channel, as well as a weight.",
            ),
            (
                "narrow bias",
                all_extra(0, 0, -3) or all_extra(0, 0, -5),
                "a layer has a bias for each of its outputs: the layer up to 4 · n_embd has 4 · n_embd of them, and query, "
                "key and value together have 3 · n_embd.",
            ),
        )  # fmt: skip
        for key, hit, message in named:
            if hit:
                raise NotYet(key, message)
    for value, want, case in zip(got, wanted, cases, strict=True):
        same(value, want, what=f"the number for n_embd={case[0]}, n_head={case[1]}, bias={case[2]}")


BLOCK_PARAMETERS = Exercise(
    name="block_parameters",
    title="Count a block",
    difficulty="hard",
    minutes=10,
    statement=(
        "(An answer follows: solve it first.) Write `block_parameters(n_embd, n_head, bias)`: how many parameters our `Block` "
        "has, from the sizes alone, without making one. It has query, key and value; the projection; the two layers of the "
        "feed-forward network; two norms. With `bias=False` neither linear layers nor norms have biases. (`print(Block(small))` "
        "lists the parts.)"
    ),
    stub=COUNT_STUB,
    solution=_count("12 * n_embd**2 + 2 * n_embd"),
    hints=(
        "Begin with the weights, in units of n_embd squared: query, key, value and projection have one each. How many have the "
        "two feed-forward layers?",
        "The norms have one weight for each channel. For the biases, go through all the layers once more and add up the "
        "numbers of outputs: three, one, four, one; and one for each of the two norms.",
    ),
    check=check_block_parameters,
    wrong=(
        Wrong("for each head", _count("(9 + 3 * n_head) * n_embd**2 + 2 * n_embd")),
        Wrong("no projection", _count("11 * n_embd**2 + 2 * n_embd", "10 * n_embd")),
        Wrong("qkv once", _count("10 * n_embd**2 + 2 * n_embd", "9 * n_embd")),
        Wrong("one way up", _count("8 * n_embd**2 + 2 * n_embd", "10 * n_embd")),
        Wrong("not four times", _count("6 * n_embd**2 + 2 * n_embd", "8 * n_embd")),
        Wrong("wide square", _count("4 * n_embd**2 + 4 * n_embd * 4 * n_embd + 2 * n_embd")),
        Wrong("one norm", _count("12 * n_embd**2 + n_embd", "10 * n_embd")),
        Wrong("no norms", _count("12 * n_embd**2", "9 * n_embd")),
        Wrong("norm as a matrix", _count("14 * n_embd**2")),
        Wrong("bias always", _count("12 * n_embd**2 + 13 * n_embd", "0")),
        Wrong("bias never", _count("12 * n_embd**2 + 2 * n_embd", "0")),
        Wrong("norms keep their bias", _count("12 * n_embd**2 + 4 * n_embd", "9 * n_embd")),
        Wrong("norms without bias", _count("12 * n_embd**2 + 2 * n_embd", "9 * n_embd")),
        Wrong("narrow bias", _count("12 * n_embd**2 + 2 * n_embd", "8 * n_embd")),
    ),
)

EXERCISES = [SPLIT_HEADS, MERGE_HEADS, LECTURE_BLOCK, BLOCK_PARAMETERS]
