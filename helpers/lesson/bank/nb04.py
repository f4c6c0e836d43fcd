"""The exercises of notebook 04: splits, inputs and targets, epochs, batches, leaks."""

import dis
import math
from collections.abc import Callable
from types import CodeType

import torch

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, in_words, same

# --- three_parts ---

THREE_STUB = '''def three_parts(ids):
    """A training, a validation and a test part of `ids`.

    ids: (N,)    returns: three tensors
    """
    ...
'''
THREE_SOLUTION = '''def three_parts(ids):
    """A training, a validation and a test part of `ids`.

    ids: (N,)    returns: three tensors
    """
    tenth = len(ids) // 10
    first_cut = len(ids) - 2 * tenth
    second_cut = len(ids) - tenth
    return ids[:first_cut], ids[first_cut:second_cut], ids[second_cut:]
'''


def check_three_parts(answer) -> None:
    ids = torch.arange(100, 157)  # 57 different ids: ten parts of equal size would leave 7 over
    tenth = len(ids) // 10
    got = call(answer, ids)
    if not isinstance(got, list | tuple) or [type(each) for each in got] != [torch.Tensor] * 3:
        raise NotYet("type", f"three tensors are asked for; your function gives {in_words(got)}.")
    parts = [each.tolist() for each in got]
    if any(part != list(range(part[0], part[0] + len(part))) for part in parts if part):
        raise NotYet(
            "shuffled",
            "a part of yours is not one piece of the text: its neighbours were not neighbours before. What do neighbours "
            "that land in different parts tell about each other?",
        )
    taken = [each for part in parts for each in part]
    if len(set(taken)) < len(taken):
        raise NotYet(
            "overlap",
            f"your parts share ids: {len(taken) - len(set(taken))} of them are in more than one part. Where does the "
            "validation part have to stop?",
        )
    if len(taken) < len(ids):
        raise NotYet(
            "lost",
            f"the test text has {len(ids)} ids, and {len(ids) - len(taken)} of them are in none of your parts. Who gets what "
            "is left over when the length is no multiple of 10?",
        )
    if parts[1:] == [list(range(152, 157)), list(range(147, 152))]:
        raise NotYet("order", "the two tenths at the end are swapped: which of them comes last in the text?")
    if any(ids[0] in part for part in got[1:]):
        raise NotYet(
            "beginning",
            "the text begins in your validation or test part. Both are to come from the end: a model that will be asked to "
            "go on with a text is judged on what comes after the text that it knows.",
        )
    wanted = ids[: -2 * tenth], ids[-2 * tenth : -tenth], ids[-tenth:]
    for name, one, other in zip(("training", "validation", "test"), got, wanted, strict=True):
        same(one, other, what=f"the {name} part")


def _three(body: str) -> str:
    return filled(THREE_STUB, f"    tenth = len(ids) // 10\n{body}")


THREE_PARTS = Exercise(
    name="three_parts",
    title="A part for the very end",
    difficulty="easy",
    minutes=4,
    statement=(
        "Whoever tries a hundred settings and keeps the one with the best validation error has chosen it partly by luck. "
        "So careful work keeps a third part, the **test** part, and looks at it once. Write "
        "`three_parts(ids)`: the last `len(ids) // 10` ids are for the test, as many before them for validation, and all "
        "the others for training. Return them in the order training, validation, test."
    ),
    stub=THREE_STUB,
    solution=THREE_SOLUTION,
    hints=(
        "You need two cuts. Write down on paper where they are for 57 ids, when a tenth has 5.",
        "Count both cuts from the end: `len(ids) - tenth` is the second one. A slice takes what lies between two cuts.",
    ),
    check=check_three_parts,
    wrong=(
        Wrong("beginning", _three("    return ids[2 * tenth :], ids[tenth : 2 * tenth], ids[:tenth]\n")),
        Wrong("overlap", _three("    return ids[: -2 * tenth], ids[-2 * tenth :], ids[-tenth:]\n")),
        Wrong(
            "lost",
            _three("    return ids[: 8 * tenth], ids[8 * tenth : 9 * tenth], ids[9 * tenth : 10 * tenth]\n"),
        ),
        Wrong(
            "shuffled",
            _three(
                "    ids = ids[torch.randperm(len(ids))]\n"
                "    return ids[: -2 * tenth], ids[-2 * tenth : -tenth], ids[-tenth:]\n"
            ),
        ),
        Wrong("order", _three("    return ids[: -2 * tenth], ids[-tenth:], ids[-2 * tenth : -tenth]\n")),
        Wrong(
            "none",
            _three(
                "    train, validation, test = ids[: -2 * tenth], ids[-2 * tenth : -tenth], ids[-tenth:]\n"
            ),
        ),
    ),
)

# --- inputs_and_targets ---

WINDOW_STUB = '''def inputs_and_targets(ids, position, block_size):
    """One window of `ids`: the inputs, and the target of each input.

    ids: (N,)    position: of the first input    returns: two tensors, (block_size,) each
    """
    ...
'''


def _window(inputs: str, targets: str) -> str:
    body = f"    inputs = {inputs}\n    targets = {targets}\n    return inputs, targets\n"
    return filled(WINDOW_STUB, body)


def check_inputs_and_targets(answer) -> None:
    ids = torch.tensor([31, 4, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26, 43, 83, 27, 95, 2, 88, 41, 97])
    for position, size in ((6, 5), (0, 4), (len(ids) - 8, 7)):  # in the middle, the first, the last that fits
        got = call(answer, ids, position, size)
        if not isinstance(got, list | tuple) or [type(each) for each in got] != [torch.Tensor] * 2:
            raise NotYet(
                "type", f"two tensors are asked for, inputs and targets; your function gives {in_words(got)}."
            )
        x, y = (each.tolist() for each in got)
        inputs, targets = (
            ids[position : position + size],
            ids[position + 1 : position + size + 1],
        )  # (T,) each
        if (x, y) == (targets.tolist(), inputs.tolist()):
            raise NotYet(
                "swapped",
                "your inputs are the targets, and the other way round: which come first in the text?",
            )
        if x == y:
            raise NotYet(
                "not shifted", "each of your targets is its own input. What is a model to foresee here?"
            )
        if y == ids[max(0, position - 1) : position - 1 + size].tolist():
            raise NotYet(
                "backwards",
                "your targets come one place before the inputs. Is the model to foresee what came before?",
            )
        if y == (inputs + 1).tolist():
            raise NotYet(
                "plus one",
                "you add 1 to the ids. It is the places that move on by 1: `ids[i + 1]`, not `ids[i] + 1`.",
            )
        if y == ids[position + size : position + 2 * size].tolist():
            raise NotYet(
                "next window",
                "your targets are the window after the inputs. The target of an input is the character right behind it, so "
                "the two windows overlap.",
            )
        if torch.equal(torch.as_tensor(y).flatten(), targets[-1:]):
            raise NotYet(
                "one target",
                f"you return one target for the whole window. Each of the {size} inputs has one: how many questions does a "
                "window hold?",
            )
        if y == targets[:-1].tolist():
            raise NotYet(
                "short",
                f"the last input has no target: there are {len(x)} inputs and {len(y)} targets. How many characters in a row "
                "does a window need?",
            )
        same(got[0], inputs, what="what you return first")
        same(got[1], targets, what="what you return second")


INPUTS_AND_TARGETS = Exercise(
    name="inputs_and_targets",
    title="Cut a window",
    difficulty="easy",
    minutes=4,
    statement=(
        "Now with ids; try it before the next section shows it. Write `inputs_and_targets(ids, position, block_size)`: the "
        "`block_size` ids from `position` on, and the target of each of them. The target of an id is the id that "
        "stands one place further on, not the id plus one. Return the inputs first, then the targets."
    ),
    stub=WINDOW_STUB,
    solution=_window(
        "ids[position : position + block_size]", "ids[position + 1 : position + block_size + 1]"
    ),
    hints=(
        "Two slices of the same length. The slice `ids[a:b]` holds `b - a` ids, and `ids[b]` is not among them.",
        "Where does the target of the first input stand? Move both ends of the slice to there.",
    ),
    check=check_inputs_and_targets,
    wrong=(
        Wrong(
            "not shifted",
            _window("ids[position : position + block_size]", "ids[position : position + block_size]"),
        ),
        Wrong(
            "backwards",
            _window("ids[position : position + block_size]", "ids[position - 1 : position + block_size - 1]"),
        ),
        Wrong(
            "next window",
            _window(
                "ids[position : position + block_size]",
                "ids[position + block_size : position + 2 * block_size]",
            ),
        ),
        Wrong("one target", _window("ids[position : position + block_size]", "ids[position + block_size]")),
        Wrong("short", _window("ids[position : position + block_size]", "inputs[1:]")),
        Wrong("plus one", _window("ids[position : position + block_size]", "inputs + 1")),
        Wrong(
            "swapped",
            _window("ids[position + 1 : position + block_size + 1]", "ids[position : position + block_size]"),
        ),
    ),
)

# --- steps_per_epoch ---

STEPS_STUB = '''def steps_per_epoch(n_ids, block_size, batch_size):
    """How many batches hold as many targets as a text of `n_ids` ids has.

    n_ids, block_size, batch_size: whole numbers    returns: a whole number, rounded up
    """
    ...
'''


def _steps(expression: str) -> str:
    return filled(STEPS_STUB, f"    return {expression}\n")


def check_steps_per_epoch(answer) -> None:
    n_ids, size, batch = 4000, 30, 12
    got = call(answer, n_ids, size, batch)
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        raise NotYet("type", f"a number of steps is asked for; your function gives {in_words(got)}.")
    case = f"for {n_ids:,} ids, block_size={size} and batch_size={batch} your function gives {got:,.6g}"

    def is_about(value: float) -> bool:
        return math.floor(value) <= got <= math.ceil(value)

    if is_about(n_ids / batch):
        raise NotYet(
            "no block", f"{case}. A batch holds {batch} windows; how many targets are in each of them?"
        )
    if is_about(n_ids / size):
        raise NotYet(
            "no batch", f"{case}. So many windows fill the text once; how many of them go into one step?"
        )
    if is_about((n_ids - size) / batch):
        raise NotYet(
            "every start",
            f"{case}. You let a window begin at each place of the text. Such windows overlap, so each target would be met "
            f"about {size} times; once is asked for.",
        )
    if got != int(got):
        raise NotYet(
            "fraction", f"{case}. A step is taken or not: which whole number is enough for all targets?"
        )
    if got == (n_ids - 1) // (size * batch):
        raise NotYet("down", f"{case}. After so many steps some targets are still missing: round up.")
    exact = 1801  # its 1800 targets fill 5 batches to the last place
    full = call(answer, exact, size, batch)
    if (got, full) == (12, 6):
        raise NotYet(
            "last",
            f"for {exact:,} ids your function gives 6 steps, but 5 are enough: how many targets has a text of {exact:,} ids? "
            "Is there one behind the last id?",
        )
    same(got, 12, what=f"the number of steps for {n_ids:,} ids, block_size={size} and batch_size={batch}")
    same(full, 5, what=f"the number of steps for {exact:,} ids, block_size={size} and batch_size={batch}")
    same(call(answer, 50, 16, 64), 1, what="the number of steps for 50 ids, block_size=16 and batch_size=64")


STEPS_PER_EPOCH = Exercise(
    name="steps_per_epoch",
    title="Steps in an epoch",
    difficulty="medium",
    minutes=5,
    statement=(
        "An **epoch** is the number of steps whose batches together hold as many targets as the text has. (With windows "
        "drawn at random some targets come twice and some not at all, as the end of this notebook shows.) Write "
        "`steps_per_epoch(n_ids, block_size, batch_size)`: how many steps is that for a text of `n_ids` ids? "
        "Count the targets of the text, and those of a batch, and round up."
    ),
    stub=STEPS_STUB,
    solution=_steps("math.ceil((n_ids - 1) / (batch_size * block_size))"),
    hints=(
        "How many targets are in a batch of 2 windows of 3 inputs? And in a text of 10 ids, of which the first is nobody's "
        "target?",
        "Divide the targets of the text by those of a batch. `math.ceil` rounds up.",
    ),
    check=check_steps_per_epoch,
    wrong=(
        Wrong("no block", _steps("math.ceil((n_ids - 1) / batch_size)")),
        Wrong("every start", _steps("math.ceil((n_ids - block_size) / batch_size)")),
        Wrong("down", _steps("(n_ids - 1) // (batch_size * block_size)")),
        Wrong("last", _steps("math.ceil(n_ids / (batch_size * block_size))")),
        Wrong("no batch", _steps("math.ceil((n_ids - 1) / block_size)")),
        Wrong("fraction", _steps("(n_ids - 1) / (batch_size * block_size)")),
    ),
)

# --- batch_from_starts ---

BATCH_STUB = '''def batch_from_starts(ids, starts, block_size):
    """The windows of `ids` that begin at `starts`, without a loop.

    ids: (N,)    starts: (B,)    returns: inputs and targets, (B, block_size) each
    """
    ...
'''
PLACES = "    places = starts.view(-1, 1) + torch.arange(block_size)  # (B, T)\n"


def _batch(body: str) -> str:
    return filled(BATCH_STUB, body)


def _loops(code: CodeType) -> bool:
    """Whether a function walks through something: `for`, or a comprehension."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return any(each.opname == "FOR_ITER" for each in dis.get_instructions(code)) or any(map(_loops, inner))


def check_batch_from_starts(answer) -> None:
    dice = torch.Generator().manual_seed(4)
    ids = torch.randperm(60, generator=dice) + 200  # ids that are no places, and in no order
    for starts, size in ((torch.tensor([30, 4, 17]), 5), (torch.tensor([0, 53, 8, 21, 8]), 6)):
        got = call(answer, ids, starts, size)
        if not isinstance(got, list | tuple) or [type(each) for each in got] != [torch.Tensor] * 2:
            raise NotYet(
                "type", f"two tensors are asked for, inputs and targets; your function gives {in_words(got)}."
            )
        _check_batch(got, ids, starts, size)
    code = getattr(answer, "__code__", None)
    if code is not None and _loops(code):
        raise NotYet(
            "loop",
            "the batch is right, but your code walks through the windows (or the positions) one by one. Broadcasting makes "
            "all places at once: which two shapes add up to (B, T)?",
        )


def _check_batch(got, ids: torch.Tensor, starts: torch.Tensor, size: int) -> None:
    """Raise NotYet unless `got` is (inputs, targets) of the windows that begin at `starts`."""
    places = starts.view(-1, 1) + torch.arange(size)  # (B, T)
    x, y = ids[places], ids[places + 1]  # (B, T) each
    count = len(starts)

    def is_(one: torch.Tensor, other: torch.Tensor) -> bool:
        return one.shape == other.shape and bool((one == other).all())

    if is_(got[0], places):
        raise NotYet("places", "you return the places of the windows. What stands at these places, in `ids`?")
    if is_(got[0], ids[starts].view(-1, 1) + torch.arange(size)):
        raise NotYet(
            "adds to ids",
            "you take the first id of each window and add 0, 1, 2 ... to that id. It is the places that are counted on; "
            "look them up in `ids` afterwards.",
        )
    if is_(got[0], x.T):
        raise NotYet(
            "transposed",
            f"your batch has the shape {tuple(got[0].shape)}: a column for each window. A row for each window is asked for, "
            f"{tuple(x.shape)}. Which of the two things that you add is to be the column?",
        )
    if is_(got[0], ids[starts[0] : starts[0] + count * size].view(-1, size)):
        raise NotYet(
            "one piece",
            "your windows lie one behind the other. Each of them is to begin at its own start, anywhere in the text.",
        )
    same(got[0], x, what="what you return first")
    if is_(got[1], x):
        raise NotYet("not shifted", "your targets are the inputs again. Which places have the targets?")
    if is_(got[1], x + 1):
        raise NotYet(
            "plus one", "you add 1 to the ids of the inputs. Move on by 1 in the places, then look up."
        )
    if is_(got[1], x.roll(-1, dims=1)):
        raise NotYet(
            "roll",
            "the last target of each row is the first input of that row. `roll` brings round to the end what falls off at the "
            "front; the right target stands in the text, one place behind the window.",
        )
    if is_(got[1], x.flatten().roll(-1).view(-1, size)):
        raise NotYet(
            "roll",
            "the last target of each row is the first input of the next row. The rows come from different places of the "
            "text; the right target stands one place behind the window.",
        )
    same(got[1], y, what="what you return second")


BATCH_FROM_STARTS = Exercise(
    name="batch_from_starts",
    title="A batch without a loop",
    difficulty="medium",
    minutes=8,
    statement=(
        "`batch_one_by_one` walks through the windows in a loop. Write `batch_from_starts(ids, starts, block_size)` without "
        "`for`: add the starts and the numbers 0, 1, 2 ... so that broadcasting (notebook 02) makes a table of places, one row "
        "for each window. Then look up all places at once: `ids[places]` has the shape of `places`."
    ),
    stub=BATCH_STUB,
    solution=_batch(f"{PLACES}    return ids[places], ids[places + 1]\n"),
    hints=(
        "A column of shape (B, 1) plus a row of shape (T,) is a table of shape (B, T). `starts.view(-1, 1)` is such a column.",
        "`torch.arange(block_size)` is the row. The targets stand one place further on than the inputs.",
    ),
    check=check_batch_from_starts,
    wrong=(
        Wrong("roll", _batch(f"{PLACES}    return ids[places], ids[places].roll(-1, dims=1)\n")),
        Wrong(
            "adds to ids",
            _batch(
                "    x = ids[starts].view(-1, 1) + torch.arange(block_size)  # (B, T)\n    return x, x + 1\n"
            ),
        ),
        Wrong("not shifted", _batch(f"{PLACES}    return ids[places], ids[places]\n")),
        Wrong("plus one", _batch(f"{PLACES}    return ids[places], ids[places] + 1\n")),
        Wrong("places", _batch(f"{PLACES}    return places, places + 1\n")),
        Wrong(
            "transposed",
            _batch(
                "    places = starts + torch.arange(block_size).view(-1, 1)\n"
                "    return ids[places], ids[places + 1]\n"
            ),
        ),
        Wrong(
            "one piece",
            _batch(
                "    first, count = starts[0], len(starts) * block_size\n"
                "    x = ids[first : first + count].view(-1, block_size)\n"
                "    return x, ids[first + 1 : first + count + 1].view(-1, block_size)\n"
            ),
        ),
        Wrong(
            "loop",
            _batch(
                "    x = torch.stack([ids[i : i + block_size] for i in starts])\n"
                "    return x, torch.stack([ids[i + 1 : i + block_size + 1] for i in starts])\n"
            ),
        ),
    ),
)

# --- leaking_share ---

LEAK_STUB = '''def leaking_share(train_starts, val_starts, block_size):
    """Share of the validation windows that have a character in common with a training window.

    train_starts: (M,)    val_starts: (K,)    returns: a number from 0 to 1
    """
    ...
'''
DISTANCE = "    distance = (val_starts.view(-1, 1) - train_starts).abs()  # (K, 1) - (M,) → (K, M)\n"  # a row per validation window


def _leak(body: str) -> str:
    return filled(LEAK_STUB, body)


def check_leaking_share(answer) -> None:
    size = 6
    train = torch.tensor([60, 0, 20, 110, 41, 90])
    val = torch.tensor([20, 26, 14, 27, 50, 44, 38, 70, 43, 39])
    got = call(answer, train, val, size)
    value = got.item() if isinstance(got, torch.Tensor) and got.numel() == 1 else got
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NotYet("type", f"a share is one number; your function gives {in_words(got)}.")
    distance = val.view(-1, 1) - train  # (K, M)
    shared = distance.abs() <= size  # (K, M)

    def is_share(hits: Callable) -> bool:
        return abs(value - hits.float().mean().item()) < 1e-5

    if is_share(shared.any(dim=1)):
        pass
    elif is_share((distance == 0).any(dim=1)):
        raise NotYet(
            "equal",
            "you count windows that begin at the same place. Windows that begin a little apart share most of their characters.",
        )
    elif is_share((distance.abs() < size).any(dim=1)):
        raise NotYet(
            "target",
            "you leave out windows that are exactly `block_size` apart. A window of 6 inputs from place 20 on has its last "
            "target at place 26, and that is where a window from 26 on begins.",
        )
    elif any(is_share(((side >= 0) & (side <= size)).any(dim=1)) for side in (distance, -distance)):
        raise NotYet(
            "one side",
            "you find the training windows on one side only. A window may overlap with one that begins before it, and with "
            "one that begins after it.",
        )
    elif is_share(shared):
        raise NotYet(
            "pairs",
            "that is the share of all pairs of windows. For a validation window one training window is enough: does it overlap "
            "with `any`?",
        )
    elif is_share(shared.any(dim=0)):
        raise NotYet(
            "train", "that is the share of the training windows. Over which dimension does `any` run?"
        )
    elif is_share(shared.all(dim=1)):
        raise NotYet(
            "all", "you ask whether a window overlaps with all the training windows. One of them is enough."
        )
    elif abs(value - shared.any(dim=1).sum().item()) < 1e-5:
        raise NotYet("count", f"{value:g} windows leak, and that is their number. Which share of all is it?")
    else:
        same(float(value), shared.any(dim=1).float().mean().item(), what="the share")
    clean = call(answer, torch.tensor([5, 0, 31]), torch.tensor([12, 21]), size)
    same(float(clean), 0.0, what="the share of windows that lie 7 places apart and more, with block_size=6,")


LEAKING_SHARE = Exercise(
    name="leaking_share",
    title="Catch the leak",
    difficulty="hard",
    minutes=10,
    statement=(
        "Where the starts of the windows are known, a leak can be found without reading the text. Write "
        "`leaking_share(train_starts, val_starts, block_size)`: the share of the validation windows that have at least one "
        "character in common with a training window. A window that begins at `i` has `block_size + 1` "
        "characters: `i`, `i + 1`, ... `i + block_size`, both ends included; the last of them is only a target. A table "
        "of all distances (broadcasting) helps, and `table.any(dim=1)`, which asks for each row whether any entry is true. "
        "`mean` refuses booleans: call `.float()` first."
    ),
    stub=LEAK_STUB,
    solution=_leak(f"{DISTANCE}    return (distance <= block_size).any(dim=1).float().mean().item()\n"),
    hints=(
        "When do two windows of the same length overlap? Ask how far apart their starts are, and in which direction that does "
        "not matter.",
        "Broadcasting makes the distances of all pairs: `val_starts.view(-1, 1) - train_starts` has the shape (K, M).",
        "`any(dim=1)` says for each row whether one of its entries is true. Take the mean as `float`: a mean of truth values "
        "is an error.",
    ),
    check=check_leaking_share,
    wrong=(
        Wrong(
            "equal",
            _leak("    return torch.isin(val_starts, train_starts).float().mean().item()\n"),
        ),
        Wrong(
            "target",
            _leak(f"{DISTANCE}    return (distance < block_size).any(dim=1).float().mean().item()\n"),
        ),
        Wrong(
            "one side",
            _leak(
                "    after = val_starts.view(-1, 1) - train_starts  # (K, M)\n"
                "    return ((after >= 0) & (after <= block_size)).any(dim=1).float().mean().item()\n"
            ),
        ),
        Wrong("pairs", _leak(f"{DISTANCE}    return (distance <= block_size).float().mean().item()\n")),
        Wrong(
            "train",
            _leak(f"{DISTANCE}    return (distance <= block_size).any(dim=0).float().mean().item()\n"),
        ),
        Wrong("count", _leak(f"{DISTANCE}    return (distance <= block_size).any(dim=1).sum().item()\n")),
        Wrong(
            "all", _leak(f"{DISTANCE}    return (distance <= block_size).all(dim=1).float().mean().item()\n")
        ),
    ),
)

EXERCISES = [THREE_PARTS, INPUTS_AND_TARGETS, STEPS_PER_EPOCH, BATCH_FROM_STARTS, LEAKING_SHARE]
