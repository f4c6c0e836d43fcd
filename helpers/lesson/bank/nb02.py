"""The exercises of notebook 02: a broadcasting bug, the dot product, the matrix product, running means, one-hot rows."""

from collections.abc import Callable

import torch

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, in_words, one_number, same


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(1.0, abs(other))


# --- mean_squared_error ---

ERROR_STUB = '''def mean_squared_error(predictions, targets):
    """The mean of the squared differences between each prediction and its own target.

    predictions: (N, 1)    targets: (N,)    returns: a tensor that holds one number
    """
    ...
'''


def _error(body: str) -> str:
    return filled(ERROR_STUB, body)


def check_mean_squared_error(answer) -> None:
    predictions = torch.tensor([[2.5], [0.0], [-1.0], [4.0], [3.0]])  # (N, 1)
    targets = torch.tensor([3.0, 1.0, -3.0, 0.5, 7.0])  # (N,)
    got = call(answer, predictions, targets)
    own = predictions[:, 0] - targets  # (N,)
    every = predictions - targets  # (N, N)
    if isinstance(got, torch.Tensor) and got.shape == own.shape:
        if torch.allclose(got, own**2):
            raise NotYet(
                "no mean", f"these are the squared differences, {len(own)} of them. Their mean is asked for."
            )
        if torch.allclose(got, (every**2).mean(dim=1)) or torch.allclose(got, (every**2).mean(dim=0)):
            raise NotYet(
                "every pair, again",
                f"you take a mean for each row or column of a table of {len(own)} by {len(own)} differences. Where does that "
                "table come from? Only its diagonal is asked for.",
            )
    value = one_number(got, "the mean squared error")
    if _near(value, (every**2).mean().item()):
        raise NotYet(
            "every pair",
            f"your function gives {value:.4g}, and that is the mean over all {every.numel()} pairs of a prediction and a "
            "target: (N, 1) and (N,) become (N, N). How do both get the same shape before you subtract?",
        )
    if _near(value, own.mean().item() ** 2):
        raise NotYet(
            "mean first",
            "you square the mean. Differences of opposite sign then cancel out, so large errors may go unseen: which comes "
            "first, the square or the mean?",
        )
    if _near(value, (own**2).sum().item()):
        raise NotYet(
            "sum",
            f"that is the sum of the squares. It grows with the number of predictions, here {len(own)}; the mean does not.",
        )
    if _near(value, (own**2).mean().sqrt().item()):
        raise NotYet(
            "root", "that is the root of the mean squared error. The mean of the squares itself is asked for."
        )
    if _near(value, own.abs().mean().item()):
        raise NotYet(
            "not squared", "that is the mean of the absolute differences. Where is the square? (`** 2`)"
        )
    if _near(value, ((predictions.mean() - targets) ** 2).mean().item()):
        raise NotYet(
            "one prediction",
            "you replace all predictions by their mean before you compare. Each has a target of its own.",
        )
    same(value, (own**2).mean().item(), what="the mean squared error")
    one = call(answer, torch.tensor([[2.0]]), torch.tensor([5.0]))
    same(one_number(one, "the error"), 9.0, what="the error of a single prediction, 2, with the target 5,")


MEAN_SQUARED_ERROR = Exercise(
    name="mean_squared_error",
    title="Mend a broadcast",
    difficulty="easy",
    minutes=5,
    statement=(
        "A model has made N predictions, as a column `(N, 1)`. The N targets are a row, `(N,)`. This line runs, and its "
        "result is a number that can even fall while the model learns:\n\n"
        "```python\n"
        "return ((predictions - targets) ** 2).mean()\n"
        "```\n\n"
        "It is wrong all the same: broadcasting subtracts every target from every prediction. Write "
        "`mean_squared_error(predictions, targets)` so that each prediction meets its own target only."
    ),
    stub=ERROR_STUB,
    solution=_error("    return ((predictions.squeeze(1) - targets) ** 2).mean()\n"),
    hints=(
        "Print the shape of `predictions - targets`. Which shape should it have?",
        "`predictions[:, 0]` is a row of N numbers, and so is `predictions.squeeze(1)`, which takes away axis 1 of size 1. "
        "(`targets.unsqueeze(1)` would do too: two columns.)",
    ),
    check=check_mean_squared_error,
    wrong=(
        Wrong("every pair", _error("    return ((predictions - targets) ** 2).mean()\n")),
        Wrong("mean first", _error("    return (predictions.squeeze(1) - targets).mean() ** 2\n")),
        Wrong("every pair, again", _error("    return ((predictions - targets) ** 2).mean(dim=1)\n")),
        Wrong("sum", _error("    return ((predictions.squeeze(1) - targets) ** 2).sum()\n")),
        Wrong("not squared", _error("    return (predictions.squeeze(1) - targets).abs().mean()\n")),
        Wrong("root", _error("    return ((predictions.squeeze(1) - targets) ** 2).mean().sqrt()\n")),
        Wrong("none", _error("    error = ((predictions.squeeze(1) - targets) ** 2).mean()\n")),
    ),
)

# --- dot_product ---

DOT_STUB = '''def dot_product(a, b):
    """The sum of the products of the numbers that stand at the same place.

    a, b: lists with equally many numbers (else ValueError)    returns: a number
    """
    ...
'''


def _dot(body: str) -> str:
    return filled(DOT_STUB, body)


DOT_LENGTHS = (
    "    if len(a) != len(b):\n"
    '        raise ValueError(f"{len(a)} numbers and {len(b)} numbers have no dot product")\n'
)


def check_dot_product(answer) -> None:
    a, b = [2, 3, 0, 5], [4, -1, 7, 2]
    products = [x * y for x, y in zip(a, b, strict=True)]
    got = call(answer, a, b)
    if isinstance(got, list | tuple) and list(got) == products:
        raise NotYet("products", f"{products} are the products. What is left to do with them?")
    named = {
        "early": (
            products[0],
            f"you give {products[0]}, the first product. A `return` inside of a loop ends the function in the first round: "
            "how far is yours indented?",
        ),
        "last": (
            products[-1],
            f"you give {products[-1]}, the last product. Does each round add to the total, or put something else in its place?",
        ),
        "sums": (
            sum(a) * sum(b),
            f"you multiply the sum of one list by the sum of the other. Then {a[0]} meets {b[1]} too, and it should meet "
            f"{b[0]} only.",
        ),
        "added": (
            sum(a) + sum(b),
            "you add the numbers that stand at the same place. Multiply them; the products are what is added.",
        ),
    }
    for key, (value, message) in named.items():
        if isinstance(got, int | float) and not isinstance(got, bool) and got == value:
            raise NotYet(key, message)
    same(got, sum(products), what=f"the dot product of {a} and {b}")
    same(call(answer, [0.5, 2.0, -1.0], [3.0, 0.25, 4.0]), -2.0, what="a dot product of three numbers")
    for one, other in (([4, 5], [1, 2, 3]), ([1, 2, 3], [4, 5])):
        try:
            got = call(answer, one, other)
        except NotYet as error:
            if error.key != "raised":
                raise
            if error.message.startswith("your code raised ValueError"):
                continue
            raise NotYet(
                "another error",
                f"for lists of {len(one)} and {len(other)} numbers, {error.message} A ValueError that says both lengths is "
                "asked for: it tells the caller what is wrong.",
            ) from None
        raise NotYet(
            "cut",
            f"for lists of {len(one)} and {len(other)} numbers your function gives {in_words(got)}, without a word. `zip` and "
            "a loop over one of the lists stop at its end: raise a ValueError where the lengths differ.",
        )


DOT_PRODUCT = Exercise(
    name="dot_product",
    title="The dot product by hand",
    difficulty="easy",
    minutes=4,
    statement=(
        "Write `dot_product(a, b)` for two lists with equally many numbers, in plain Python. Where one list has more numbers "
        "than the other there is no dot product: raise a `ValueError`, as PyTorch raises an error, instead of returning a wrong "
        "number."
    ),
    stub=DOT_STUB,
    solution=_dot(f"{DOT_LENGTHS}    return sum(x * y for x, y in zip(a, b, strict=True))\n"),
    hints=(
        "Start a total at 0, walk through both lists at once with `zip(a, b)`, and add each product to the total.",
        'Compare `len(a)` and `len(b)` first; `raise ValueError("...")` stops the function. (`zip` has a setting '
        "`strict=True` that does the same.)",
    ),
    check=check_dot_product,
    wrong=(
        Wrong(
            "early",
            _dot(
                f"{DOT_LENGTHS}    total = 0\n"
                "    for x, y in zip(a, b):\n"
                "        total += x * y\n"
                "        return total\n"
            ),
        ),
        Wrong("cut", _dot("    return sum(x * y for x, y in zip(a, b))\n")),
        Wrong("sums", _dot(f"{DOT_LENGTHS}    return sum(a) * sum(b)\n")),
        Wrong("products", _dot(f"{DOT_LENGTHS}    return [x * y for x, y in zip(a, b)]\n")),
        Wrong(
            "last",
            _dot(f"{DOT_LENGTHS}    for x, y in zip(a, b):\n        total = x * y\n    return total\n"),
        ),
        Wrong("added", _dot(f"{DOT_LENGTHS}    return sum(x + y for x, y in zip(a, b))\n")),
        Wrong(
            "another error",
            _dot(
                "    total = 0\n"
                "    for i in range(max(len(a), len(b))):\n"
                "        total += a[i] * b[i]\n"
                "    return total\n"
            ),
        ),
    ),
)

# --- matrix_product ---

PRODUCT_STUB = '''def matrix_product(A, B):
    """Each row of A meets each column of B.

    A: a list of n rows of k numbers    B: a list of k rows of m numbers    returns: a list of n rows of m numbers
    """
    ...
'''


def _product(body: str) -> str:
    return filled(PRODUCT_STUB, body)


def _loops(before: str, inner: str, columns: str = "len(B[0])") -> str:
    """Three loops over row, column and k, around one line."""
    return _product(
        f"    result = {before}\n"
        "    for row in range(len(A)):\n"
        f"        for column in range({columns}):\n"
        "            for k in range(len(B)):\n"
        f"                {inner}\n"
        "    return result\n"
    )


ZEROS = "[[0] * len(B[0]) for _ in A]"
ADD = "result[row][column] += A[row][k] * B[k][column]"


def check_matrix_product(answer) -> None:
    A = [[1, 2, 0], [3, -1, 4]]  # (2, 3)
    B = [[5, 1, 0, 2], [-2, 3, 1, 0], [4, 0, 2, -1]]  # (3, 4)
    columns = [list(column) for column in zip(*B, strict=True)]  # the columns of B
    want = [[sum(x * y for x, y in zip(row, c, strict=True)) for c in columns] for row in A]
    got = call(answer, A, B)
    if not isinstance(got, list | tuple) or not all(isinstance(row, list | tuple) for row in got):
        raise NotYet("type", f"a list of rows is asked for; your function gives {in_words(got)}.")
    rows = [list(row) for row in got]
    if len(got) > 1 and len({id(row) for row in got}) < len(got):
        raise NotYet(
            "one row",
            "all your rows are one and the same list, so what you write into one stands in all of them. `[[0] * m] * n` "
            "repeats a reference; `[[0] * m for _ in range(n)]` makes n lists.",
        )
    if rows == [[sum(x * y for x, y in zip(row, other, strict=False)) for other in B] for row in A]:
        raise NotYet(
            "rows with rows",
            "you let the rows of A meet the rows of B. They do not even have the same length here (3 and 4), and `zip` cuts "
            "without a word. Which numbers make up a column of B?",
        )
    if rows == [list(column) for column in zip(*want, strict=True)]:
        raise NotYet(
            "transposed",
            f"the numbers are right, and rows and columns are swapped: yours is {len(rows)} by {len(rows[0])}. A row of the "
            "result belongs to a row of A.",
        )
    if rows == [[x * y for x, y in zip(row, other, strict=False)] for row, other in zip(A, B, strict=False)]:
        raise NotYet(
            "place by place",
            "you multiply the numbers that stand at the same place, as `*` does with tensors. In a matrix product each entry "
            "is a whole dot product.",
        )
    if rows == [[row[-1] * column[-1] for column in columns] for row in A]:
        raise NotYet(
            "last",
            "each of your entries is the last product only. The products of a row and a column have to be added up: `+=`?",
        )
    if rows == [line[: len(A)] for line in want]:
        raise NotYet(
            "columns missing",
            f"your result has {len(A)} columns, as many as A has rows. It needs one for each column of B, and B has "
            f"{len(B[0])}.",
        )
    if rows == [line[: len(B)] for line in want]:
        raise NotYet(
            "k columns",
            f"your result has {len(B)} columns, as many as B has rows. How many columns has B? (`len(B)` counts its rows.)",
        )
    if len(rows) == len(want) and any(len(row) != len(columns) for row in rows):
        raise NotYet(
            "shape",
            f"for shapes (2, 3) and (3, 4) your rows have the lengths {[len(row) for row in rows]}; the result is (2, 4).",
        )
    same(got, want, what="the product of a (2, 3) and a (3, 4) matrix")
    same(call(answer, [[2], [3], [-1]], [[4, 5]]), [[8, 10], [12, 15], [-4, -5]], what="(3, 1) times (1, 2)")
    same(call(answer, [[1, 2, 3]], [[4], [5], [6]]), [[32]], what="(1, 3) times (3, 1)")


MATRIX_PRODUCT = Exercise(
    name="matrix_product",
    title="The matrix product by hand",
    difficulty="medium",
    minutes=8,
    statement=(
        "Write `matrix_product(A, B)` for two matrices that are lists of rows, in plain Python: the entry in row `i` and "
        "column `j` is the dot product of row `i` of A with column `j` of B. The check uses shapes like (2, 3) and (3, 4)."
    ),
    stub=PRODUCT_STUB,
    solution=_loops(ZEROS, ADD),
    hints=(
        "Write the shapes down first: A is (n, k), B is (k, m), so the result has `len(A)` rows of `len(B[0])` numbers.",
        "Three loops: over the rows of A, over the columns of B, and over `k`, along which the products are added.",
        "The number in row `k` and column `j` of B is `B[k][j]`. Begin with a table of zeros and add to its entries.",
    ),
    check=check_matrix_product,
    wrong=(
        Wrong(
            "rows with rows",
            _product("    return [[sum(x * y for x, y in zip(row, other)) for other in B] for row in A]\n"),
        ),
        Wrong("one row", _loops("[[0] * len(B[0])] * len(A)", ADD)),
        Wrong("last", _loops(ZEROS, ADD.replace("+=", "="))),
        Wrong(
            "transposed",
            _product(
                "    return [[sum(x * y for x, y in zip(row, column)) for row in A] for column in zip(*B)]\n"
            ),
        ),
        Wrong("columns missing", _loops("[[0] * len(A) for _ in A]", ADD, "len(A)")),
        Wrong("k columns", _loops("[[0] * len(B) for _ in A]", ADD, "len(B)")),
        Wrong(
            "place by place",
            _product("    return [[x * y for x, y in zip(row, other)] for row, other in zip(A, B)]\n"),
        ),
    ),
)

# --- running_means ---

MEANS_STUB = '''def running_means(x):
    """At each position the mean of the rows up to there, its own row included.

    x: (T, C) floats    returns: (T, C)
    """
    ...
'''
LOWER = "    lower = torch.tril(torch.ones(len(x), len(x), device=x.device))  # (T, T)\n"


def _means(body: str) -> str:
    return filled(MEANS_STUB, body)


def check_running_means(answer) -> None:
    dice = torch.Generator().manual_seed(3)
    x = torch.randn(5, 3, generator=dice)  # (T, C)
    T = len(x)
    lower = torch.ones(T, T).tril()  # (T, T)
    want = lower @ x / lower.sum(dim=1, keepdim=True)
    got = call(answer, x)
    if isinstance(got, torch.Tensor) and got.shape == want.shape and got.is_floating_point():
        _name_means(got, x, answer)
    same(got, want, what="the table of means")
    same(call(answer, x[:1]), x[:1], what="the mean of a single position")


def _name_means(got: torch.Tensor, x: torch.Tensor, answer: Callable) -> None:
    """Raise NotYet for the wrong means that can be recognised."""
    T = len(x)
    lower = torch.ones(T, T).tril()  # (T, T)
    sums = lower @ x

    def is_(other: torch.Tensor) -> bool:
        return torch.allclose(got, other, atol=1e-5, equal_nan=True)

    if is_(sums):
        raise NotYet(
            "sums",
            "these are the sums. Row 0 of the triangle has one 1 and row 1 has two: by how much has each row to be divided?",
        )
    if is_(sums / T):
        raise NotYet(
            "by T",
            f"you divide every row by {T}, the number of all positions. The first mean is of one row, the second of two: "
            "which column of sums says so?",
        )
    if is_(x.mean(dim=0).expand_as(x)):
        raise NotYet(
            "everything",
            "every position gets the mean of all rows, so the first one knows the last. Which weights have to be 0?",
        )
    if is_((lower / lower.sum(dim=1)) @ x):
        raise NotYet(
            "no keepdim",
            "the sums of the rows are right, but (T, T) / (T,) divides column 0 by the sum of row 0, and so on. With which "
            "shape do the sums meet their own rows?",
        )
    if is_((lower / lower.sum(dim=0)) @ x) or is_(sums / lower.sum(dim=0).view(-1, 1)):
        raise NotYet(
            "columns",
            "you divide by the sums of the columns, which `dim=0` gives. The weights of one row have to add up to 1.",
        )
    earlier = torch.ones(T, T).tril(diagonal=-1)  # (T, T)
    if is_((earlier @ x) / earlier.sum(dim=1, keepdim=True)) or is_(
        (earlier @ x) / earlier.sum(dim=1, keepdim=True).clamp(min=1)
    ):
        raise NotYet(
            "not itself",
            "your means leave out the position itself, and the first one has nothing to average. `diagonal=-1` cuts the "
            "diagonal off: does it belong to the triangle?",
        )
    if is_(x.cumsum(dim=1) / torch.arange(1, x.shape[1] + 1)):
        raise NotYet(
            "channels",
            "you average along the row of one position. The mean runs over the positions, which are axis 0.",
        )
    changed = x.clone()
    changed[-1] += 10
    if not torch.allclose(call(answer, changed)[:-1], got[:-1], atol=1e-4):
        raise NotYet(
            "future",
            "the last row of `x` was changed, and your first means changed with it: they look ahead. On which side of the "
            "diagonal must the weights be 0?",
        )


RUNNING_MEANS = Exercise(
    name="running_means",
    title="Means of what came before",
    difficulty="medium",
    minutes=7,
    statement=(
        "The triangle of ones adds up. Make it average: write `running_means(x)`, in which row `t` of the result is the mean "
        "of the rows 0 to `t` of `x`. One table of weights and one `@` are enough, without a loop. Make the table on the "
        "device of `x`: `device=x.device`."
    ),
    stub=MEANS_STUB,
    solution=_means(
        f"{LOWER}    weights = lower / lower.sum(dim=1, keepdim=True)  # (T, T), each row sums to 1\n"
        "    return weights @ x  # (T, T) @ (T, C) → (T, C)\n"
    ),
    hints=(
        "Which weights give the mean of three rows? Write down the first three rows of the table of weights.",
        "`torch.tril(torch.ones(T, T))` adds up. Divide each of its rows by the row's own sum.",
        "The sums of the rows, kept as a column: `sum(dim=1, keepdim=True)`.",
    ),
    check=check_running_means,
    wrong=(
        Wrong("sums", _means(f"{LOWER}    return lower @ x\n")),
        Wrong("by T", _means(f"{LOWER}    return lower @ x / len(x)\n")),
        Wrong("no keepdim", _means(f"{LOWER}    return (lower / lower.sum(dim=1)) @ x\n")),
        Wrong("columns", _means(f"{LOWER}    return (lower / lower.sum(dim=0)) @ x\n")),
        Wrong(
            "future",
            _means(
                "    upper = torch.triu(torch.ones(len(x), len(x), device=x.device))  # (T, T)\n"
                "    return upper / upper.sum(dim=1, keepdim=True) @ x\n"
            ),
        ),
        Wrong("everything", _means("    return x.mean(dim=0).expand(x.shape)\n")),
        Wrong(
            "not itself",
            _means(
                "    lower = torch.tril(torch.ones(len(x), len(x), device=x.device), diagonal=-1)  # (T, T)\n"
                "    return lower / lower.sum(dim=1, keepdim=True) @ x\n"
            ),
        ),
        Wrong(
            "channels",
            _means("    return x.cumsum(dim=1) / torch.arange(1, x.shape[1] + 1, device=x.device)\n"),
        ),
    ),
)

# --- one_hot_rows ---

ROWS_STUB = '''def one_hot_rows(ids, num_classes):
    """Each id as a row with a 1 at the place of the id, and 0 elsewhere.

    ids: (T,) int64    returns: (T, num_classes) float32
    """
    ...
'''
TABLE = "    rows = torch.zeros(len(ids), num_classes, device=ids.device)  # (T, C)\n"


def _rows(body: str) -> str:
    return filled(ROWS_STUB, body)


def check_one_hot_rows(answer) -> None:
    ids, size = torch.tensor([2, 0, 3, 3, 6]), 7  # T = 5, C = 7
    want = (ids.view(-1, 1) == torch.arange(size)).float()  # (T, C)
    got = call(answer, ids, size)
    if isinstance(got, torch.Tensor) and not got.is_complex():

        def is_(other: torch.Tensor) -> bool:
            return got.shape == other.shape and bool((got.float() == other.float()).all())

        if is_(want.T):
            raise NotYet(
                "transposed",
                f"rows and columns are swapped: your table has {len(got)} rows for {len(ids)} ids. Each id is to have a row.",
            )
        if is_(want.sum(dim=0).clamp(max=1).expand(len(ids), size)):
            raise NotYet(
                "every row",
                "each of your rows has a 1 at the place of every id. `rows[:, ids]` means all rows, and these columns; you want "
                "row 0 with the first id, row 1 with the second ...",
            )
        if is_(want.sum(dim=0)) or is_(want.sum(dim=0).clamp(max=1)):
            raise NotYet(
                "one row",
                f"you give one row for all ids together, so their order is lost. {len(ids)} ids need {len(ids)} rows.",
            )
        if is_(want * ids.view(-1, 1)):
            raise NotYet(
                "the id itself",
                "in your rows stands the id, at its place. Then id 0 has an empty row, and larger ids count more. A 1 is enough.",
            )
        classes = torch.arange(size)  # (C,)
        if any(is_(ids.view(-1, 1) == classes + step) for step in (1, -1)):
            raise NotYet(
                "shifted", "your ones stand one place off. Ids begin at 0, so id 0 belongs into column 0."
            )
        if is_(1 - want):
            raise NotYet("inverted", "your rows are 0 at the place of the id and 1 elsewhere: `==` or `!=`?")
    same(got, want, what="the table of rows")
    same(call(answer, torch.tensor([1]), 3), torch.tensor([[0.0, 1.0, 0.0]]), what="the row of a single id")


ONE_HOT_ROWS = Exercise(
    name="one_hot_rows",
    title="One-hot by hand",
    difficulty="medium",
    minutes=6,
    statement=(
        "Write what `F.one_hot` does, without it: `one_hot_rows(ids, num_classes)` gives each id a row of `num_classes` "
        "floats. There are two good ways: compare a column of ids with a row of all classes and let broadcasting do the "
        "rest, or begin with zeros and set a 1 in each row, in a loop if you like."
    ),
    stub=ROWS_STUB,
    solution=_rows(
        "    classes = torch.arange(num_classes, device=ids.device)  # (C,)\n"
        "    return (ids.unsqueeze(1) == classes).float()  # (T, 1) == (C,) → (T, C)\n"
    ),
    hints=(
        "`torch.arange(num_classes)` holds the classes. For which of them is `classes == ids[0]` true?",
        "A column (T, 1) compared with a row (C,) becomes a table (T, C) of True and False; `.float()` makes 1 and 0 of them.",
        "The other way: `rows[places, columns] = 1` with two lists of places sets one number for each pair. Which row "
        "belongs to which id?",
    ),
    check=check_one_hot_rows,
    wrong=(
        Wrong("every row", _rows(f"{TABLE}    rows[:, ids] = 1\n    return rows\n")),
        Wrong(
            "transposed",
            _rows("    return (ids == torch.arange(num_classes, device=ids.device).view(-1, 1)).float()\n"),
        ),
        Wrong(
            "shifted",
            _rows(
                "    classes = torch.arange(1, num_classes + 1, device=ids.device)  # (C,)\n"
                "    return (ids.unsqueeze(1) == classes).float()\n"
            ),
        ),
        Wrong(
            "the id itself",
            _rows(f"{TABLE}    rows[torch.arange(len(ids)), ids] = ids.float()\n    return rows\n"),
        ),
        Wrong(
            "one row",
            _rows(
                "    row = torch.zeros(num_classes, device=ids.device)\n    row[ids] = 1\n    return row\n"
            ),
        ),
        Wrong(
            "dtype",
            _rows("    return torch.eye(num_classes, device=ids.device)[ids].long()\n"),
        ),
    ),
)

EXERCISES = [MEAN_SQUARED_ERROR, DOT_PRODUCT, MATRIX_PRODUCT, RUNNING_MEANS, ONE_HOT_ROWS]
