"""The exercises of notebook 03: choosing a device, moving to it, honest timing, the size that pays, bytes."""

import math
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, call_in_place, filled, in_words, same

# --- choose_device ---

CHOOSE_STUB = '''def choose_device(cuda_built, cuda_works, mps_built, mps_works):
    """The name of the device to compute on.

    cuda_built, mps_built: whether this PyTorch was built for it    cuda_works, mps_works: whether it can be used
    """
    ...
'''


def _choose(body: str) -> str:
    return filled(CHOOSE_STUB, body)


def check_choose_device(answer) -> None:
    def chosen(cuda_built: bool, cuda_works: bool, mps_built: bool, mps_works: bool) -> str:
        got = call(answer, cuda_built, cuda_works, mps_built, mps_works)
        got = str(got) if isinstance(got, torch.device) else got
        if not isinstance(got, str):
            raise NotYet("type", f"the name of a device is asked for; your function gives {in_words(got)}.")
        if got not in ("cuda", "mps", "cpu"):
            raise NotYet("name", f"your function gives {got!r}. PyTorch's names are `cuda`, `mps` and `cpu`.")
        return got

    without_driver = chosen(True, False, False, False)
    if without_driver == "cuda":
        raise NotYet(
            "built",
            "for a PyTorch that was built for CUDA, on a machine without such a GPU, your function gives cuda. Does it ask "
            "whether the GPU can be used, or only whether this PyTorch knows of it?",
        )
    if without_driver != "cpu" or chosen(False, False, False, False) != "cpu":
        raise NotYet(
            "no cpu",
            f"where neither CUDA nor MPS works, your function gives {without_driver}. What is left on such a machine?",
        )
    old_mac = chosen(False, False, True, False)
    if old_mac == "mps":
        raise NotYet(
            "built mps",
            "for a PyTorch that was built for MPS, on a macOS that does not offer it, your function gives mps. Ask whether "
            "it works.",
        )
    same(old_mac, "cpu", what="the device where MPS is built and does not work")
    same(chosen(False, False, True, True), "mps", what="the device where only MPS works")
    same(chosen(True, True, False, False), "cuda", what="the device where only CUDA works")
    if chosen(True, True, True, True) == "mps":
        raise NotYet(
            "order",
            "where both work, your function gives mps, but CUDA is to come first. If you use two `if`s one after the other, "
            "does the second overwrite what the first has chosen?",
        )
    same(chosen(True, True, True, True), "cuda", what="the device where both work")


CHOOSE_DEVICE = Exercise(
    name="choose_device",
    title="Choose a device",
    difficulty="easy",
    minutes=3,
    statement=(
        'Write `choose_device(cuda_built, cuda_works, mps_built, mps_works)`: it returns `"cuda"` where CUDA works, else '
        '`"mps"` where MPS works, else `"cpu"`. The four arguments are true or false, so that you can try every kind of '
        "machine without owning it. Not all of them are needed."
    ),
    stub=CHOOSE_STUB,
    solution=_choose(
        '    if cuda_works:\n        return "cuda"\n    if mps_works:\n        return "mps"\n    return "cpu"\n'
    ),
    hints=(
        "A PyTorch that was built for CUDA can be installed on a machine without a GPU. Which of the arguments know of that?",
        "Three ways out: two questions in the right order, and what is left when both are answered with no.",
    ),
    check=check_choose_device,
    wrong=(
        Wrong(
            "built",
            _choose('    return "cuda" if cuda_built else "mps" if mps_built and mps_works else "cpu"\n'),
        ),
        Wrong("no cpu", _choose('    return "cuda" if cuda_works else "mps"\n')),
        Wrong(
            "order",
            _choose(
                '    device = "cpu"\n    if cuda_works:\n        device = "cuda"\n    if mps_works:\n        device = "mps"\n'
                "    return device\n"
            ),
        ),
        Wrong("built mps", _choose('    return "cuda" if cuda_works else "mps" if mps_built else "cpu"\n')),
        Wrong("name", _choose('    return "gpu" if cuda_works else "mps" if mps_works else "cpu"\n')),
        Wrong(
            "none",
            _choose(
                '    if cuda_works:\n        return "cuda"\n    elif mps_works:\n        return "mps"\n    "cpu"\n'
            ),
        ),
    ),
)

# --- move_together ---

MOVE_STUB = '''def move_together(model, batch, device):
    """The model and the batch, on `device`.

    batch: a dict of tensors and other things    returns: (model, batch)
    """
    ...
'''
MOVE_TENSORS = (
    "{name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}"
)


def _move(body: str) -> str:
    return filled(MOVE_STUB, body)


def check_move_together(answer) -> None:
    device = torch.device("meta")
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7))
    batch = {"x": torch.tensor([[1, 5, 3], [2, 0, 6]]), "weights": torch.tensor([0.5, 2.0]), "step": 12}
    batch |= {"source": "the tales", "y": torch.tensor([[5, 3, 4], [0, 6, 1]])}  # (B, T)
    got = call(answer, model, batch, device)
    if not (isinstance(got, tuple | list) and len(got) == 2):
        raise NotYet("type", f"a model and a batch are asked for; your function gives {in_words(got)}.")
    moved, new = got
    if not isinstance(moved, nn.Module) or not isinstance(new, dict):
        given = f"{in_words(moved)} and {in_words(new)}"
        raise NotYet("type", f"a model and a dict are asked for, in this order; your function gives {given}.")
    if any(parameter.device != device for parameter in moved.parameters()):
        raise NotYet(
            "model stays",
            "the parameters of your model are still on the CPU. `.to` of a tensor gives a new tensor and leaves the old one "
            "where it is, and a parameter is a tensor. Which object has a `.to` that moves all of its parameters?",
        )
    gone = [name for name in batch if name not in new]
    if gone:
        raise NotYet(
            "dropped",
            f"your batch has lost {' and '.join(map(repr, gone))}. An `if` at the end of a comprehension leaves entries out; "
            "`a if condition else b` at its front chooses between two values.",
        )
    tensors = [name for name, value in batch.items() if isinstance(value, torch.Tensor)]
    stay = [name for name in tensors if isinstance(new[name], torch.Tensor) and new[name].device != device]
    if len(stay) == len(tensors):
        raise NotYet(
            "batch stays",
            "the tensors of your batch are still on the CPU. `value.to(device)` gives a new tensor; what becomes of it in "
            "your code?",
        )
    if stay:
        raise NotYet(
            "some stay",
            f"{' and '.join(map(repr, stay))} of your batch stayed on the CPU. Does your code know beforehand which names a "
            "batch has? In the next one they may be others.",
        )
    for name in set(batch) - set(tensors):
        same(new[name], batch[name], what=f"batch[{name!r}]")
    for name in tensors:
        same(new[name].dtype == batch[name].dtype, True, what=f"whether batch[{name!r}] has kept its dtype")
        same(tuple(new[name].shape), tuple(batch[name].shape), what=f"the shape of batch[{name!r}]")


MOVE_TOGETHER = Exercise(
    name="move_together",
    title="Move a batch and a model",
    difficulty="medium",
    minutes=6,
    statement=(
        "A batch is often a dict: some tensors, and some facts about them, such as a step or a name. Write "
        "`move_together(model, batch, device)`: it returns the model and a batch with all tensors on `device`, whatever "
        "their names; what is not a tensor stays as it is. Build a **new** dict and leave the given one alone. "
        "`isinstance(value, torch.Tensor)` asks whether a value is a tensor. The check moves to `meta`, which every machine has."
    ),
    stub=MOVE_STUB,
    solution=_move(
        "    batch = {\n        name: value.to(device) if isinstance(value, torch.Tensor) else value\n"
        "        for name, value in batch.items()\n    }\n    return model.to(device), batch\n"
    ),
    hints=(
        "`isinstance(value, torch.Tensor)` says whether something is a tensor. A text has no `.to`.",
        "Walk through `batch.items()` and build a new dict: for each name, the moved tensor or the value as it was.",
        "A model moves all of its parameters itself: `model.to(device)`.",
    ),
    check=check_move_together,
    wrong=(
        Wrong(
            "batch stays",
            _move(
                "    model.to(device)\n    for value in batch.values():\n        if isinstance(value, torch.Tensor):\n"
                "            value.to(device)\n    return model, batch\n"
            ),
        ),
        Wrong(
            "model stays",
            _move(
                "    for parameter in model.parameters():\n        parameter.to(device)\n"
                f"    return model, {MOVE_TENSORS}\n"
            ),
        ),
        Wrong(
            "some stay",
            _move(
                '    batch = dict(batch)\n    for name in ("x", "y"):\n        batch[name] = batch[name].to(device)\n'
                "    return model.to(device), batch\n"
            ),
        ),
        Wrong(
            "dropped",
            _move(
                "    batch = {name: value.to(device) for name, value in batch.items() if isinstance(value, torch.Tensor)}\n"
                "    return model.to(device), batch\n"
            ),
        ),
        Wrong(
            "raised",
            _move(
                "    batch = {name: value.to(device) for name, value in batch.items()}\n"
                "    return model.to(device), batch\n"
            ),
        ),
    ),
)

# --- honest_seconds ---

HONEST_STUB = '''def honest_seconds(run, synchronize, clock, repeats=5):
    """Median seconds of one call of `run`, of `repeats` calls that are measured one by one.

    run(): begins work on a device    synchronize(): waits until it is done    clock(): the time now, in seconds
    """
    ...
'''


class Machine:
    """A device with a clock of its own: `run` returns at once, the first call takes long, `synchronize` waits."""

    def __init__(self, durations: list[float]) -> None:
        self.durations, self.now, self.free_at = durations, 250.0, 250.0
        self.runs = self.waits = 0
        self.readings: list[bool] = []  # for each look at the clock: was the device still at work?

    def run(self) -> None:
        """Begin the next piece of work; that takes 0.001 s."""
        self.now += 0.001
        first = self.runs == 0
        duration = 4.0 if first else self.durations[(self.runs - 1) % len(self.durations)]
        self.free_at = max(self.now, self.free_at) + duration
        self.runs += 1

    def synchronize(self) -> None:
        """Wait until the device has nothing left to do."""
        self.now, self.waits = max(self.now, self.free_at), self.waits + 1

    def clock(self) -> float:
        """Seconds, from a start that means nothing."""
        self.readings.append(self.free_at > self.now)
        return self.now


def _honest(body: str) -> str:
    return filled(HONEST_STUB, body)


def check_honest_seconds(answer) -> None:
    cases = (([0.10, 0.13, 0.11, 0.52, 0.12], 5), ([0.31, 0.24, 0.90, 0.27, 0.20, 0.29, 0.26], 7))
    for durations, repeats in cases:
        machine = Machine(durations)
        got = call(answer, machine.run, machine.synchronize, machine.clock, repeats)
        if isinstance(got, bool) or not isinstance(got, int | float):
            raise NotYet("type", f"a number of seconds is asked for; your function gives {in_words(got)}.")
        _check_order(machine, repeats)
        times = [duration + 0.001 for duration in durations]
        if math.isclose(got, sum(times) / repeats):
            raise NotYet(
                "mean",
                f"you give the mean, {got:.3f} s. One of the calls was interrupted and took {max(times):.2f} s; that moves the "
                "mean, and no typical call took so long. Which middle does not mind?",
            )
        if math.isclose(got, min(times)):
            raise NotYet(
                "fastest",
                f"you give the fastest call, {got:.3f} s. What is asked for is the one in the middle, once all are in order.",
            )
        same(float(got), median(times), what=f"the median of {repeats} calls")


def _check_order(machine: Machine, repeats: int) -> None:
    """Raise NotYet where the clock was read at a wrong moment, or the calls were not the right ones."""
    if not machine.readings:
        raise NotYet("other clock", "your function never calls `clock()`. Which clock do you read?")
    if machine.runs < repeats:
        raise NotYet("few", f"`run` was called {machine.runs} times; {repeats} calls are to be measured.")
    if machine.waits == 0:
        raise NotYet(
            "no synchronize",
            "you never wait for the device. `run` only begins the work and returns at once: what have you measured?",
        )
    if any(machine.readings[1::2]):
        raise NotYet(
            "stop too early",
            "when you read the clock after `run`, the device was still at work. What has to come between the two?",
        )
    if any(machine.readings[0::2]):
        raise NotYet(
            "start too early",
            "when you read the clock before `run`, the device was still at work on an earlier call, and your first time "
            "contains it. Wait for the warm-up, too.",
        )
    if machine.runs == repeats:
        raise NotYet(
            "no warm-up",
            f"you measure the very first call. It took 4 s, because the device had to get ready; {repeats} calls after it are "
            "to be measured.",
        )
    if len(machine.readings) == 2 != 2 * repeats:
        raise NotYet(
            "one span",
            f"you measure all {repeats} calls in one go. That gives their mean; for a median each call needs a start and a "
            "stop of its own.",
        )


HONEST_WARM_UP = "    run()\n    synchronize()\n    times = []\n    for _ in range(repeats):\n"
HONEST_LOOP = (
    "        start = clock()\n        run()\n        synchronize()\n        times.append(clock() - start)\n"
)

HONEST_SECONDS = Exercise(
    name="honest_seconds",
    title="An honest clock",
    difficulty="medium",
    minutes=8,
    statement=(
        "Put it together. Write `honest_seconds(run, synchronize, clock, repeats=5)`: one call of `run` to warm up, which is "
        "not counted; then `repeats` calls, each with a start and a stop of its own; return the **median** of their times. "
        "(`run`, `synchronize` and `clock` are functions without arguments, and `statistics.median` is imported as "
        "`median`.)\n\n"
        "Read the clock only when nothing is at work. The check brings a device and a clock of its own, and notes every call "
        "of `clock()`."
    ),
    stub=HONEST_STUB,
    solution=_honest(f"{HONEST_WARM_UP}{HONEST_LOOP}    return median(times)\n"),
    hints=(
        "In which order stand `clock()`, `run()` and `synchronize()` for one call, if the time is to hold all of its work "
        "and no other?",
        "The warm-up is work, too. When has it ended?",
        "Collect the times in a list; a time is the difference of two looks at the clock.",
    ),
    check=check_honest_seconds,
    wrong=(
        Wrong(
            "no synchronize",
            _honest(
                "    run()\n    times = []\n    for _ in range(repeats):\n        start = clock()\n        run()\n"
                "        times.append(clock() - start)\n    return median(times)\n"
            ),
        ),
        Wrong(
            "stop too early",
            _honest(
                f"{HONEST_WARM_UP}        start = clock()\n        run()\n        times.append(clock() - start)\n"
                "        synchronize()\n    return median(times)\n"
            ),
        ),
        Wrong(
            "start too early",
            _honest(
                f"    run()\n    times = []\n    for _ in range(repeats):\n{HONEST_LOOP}    return median(times)\n"
            ),
        ),
        Wrong(
            "no warm-up",
            _honest(f"    times = []\n    for _ in range(repeats):\n{HONEST_LOOP}    return median(times)\n"),
        ),
        Wrong("mean", _honest(f"{HONEST_WARM_UP}{HONEST_LOOP}    return sum(times) / repeats\n")),
        Wrong("fastest", _honest(f"{HONEST_WARM_UP}{HONEST_LOOP}    return min(times)\n")),
        Wrong(
            "one span",
            _honest(
                "    run()\n    synchronize()\n    start = clock()\n    for _ in range(repeats):\n        run()\n"
                "    synchronize()\n    return (clock() - start) / repeats\n"
            ),
        ),
        Wrong(
            "other clock",
            _honest(
                "    import time\n\n    run()\n    times = []\n    for _ in range(repeats):\n        synchronize()\n"
                "        start = time.perf_counter()\n        run()\n        synchronize()\n"
                "        times.append(time.perf_counter() - start)\n    return median(times)\n"
            ),
        ),
    ),
)

# --- first_size_that_pays ---

PAYS_STUB = '''def first_size_that_pays(sizes, cpu, gpu):
    """The smallest size from which the GPU is quicker, there and at all larger sizes; None if there is none.

    sizes: rising    cpu, gpu: seconds at these sizes
    """
    ...
'''


def _pays(body: str) -> str:
    return filled(PAYS_STUB, body)


def check_first_size_that_pays(answer) -> None:
    sizes = [16, 32, 64, 128, 256, 512, 1024]
    cpu = [2e-6, 41e-6, 19e-6, 60e-6, 310e-6, 2200e-6, 17000e-6]  # at 32 it was interrupted
    gpu = [35e-6, 36e-6, 35e-6, 68e-6, 61e-6, 140e-6, 620e-6]
    got = call(answer, sizes, cpu, gpu)

    def is_(value: int) -> bool:
        return isinstance(got, int | float) and not isinstance(got, bool) and got == value

    if is_(4):
        raise NotYet("index", "you give 4, which is a place in the list. Which size stands there?")
    if is_(32):
        raise NotYet(
            "first",
            "you give 32. The GPU is quicker there, but at 64 and at 128 it is slower again: what happened at 32 may have been "
            "an interruption. From which size on does it stay ahead?",
        )
    if is_(128):
        raise NotYet(
            "last slower",
            "you give 128, the last size at which the GPU is still slower. Which is the first that pays?",
        )
    if is_(16):
        raise NotYet(
            "swapped",
            "you give 16, where the CPU is quicker. The smaller number of seconds is the quicker one.",
        )
    if is_(1024):
        raise NotYet("last", "you give 1024. The GPU is ahead there, and at some smaller sizes already.")
    same(got, 256, what="the first size that pays")
    same(
        call(answer, sizes, [3 * each for each in gpu], gpu),
        16,
        what="the size where the GPU always is quicker",
    )
    never = call_in_place(answer, list(sizes), list(gpu), [2 * each for each in gpu])
    if never is not None:
        raise NotYet(
            "never",
            f"where the GPU is slower at every size, your function gives {in_words(never)}. None is asked for: no size pays.",
        )


FIRST_SIZE_THAT_PAYS = Exercise(
    name="first_size_that_pays",
    title="Where does it pay?",
    difficulty="medium",
    minutes=7,
    statement=(
        "Write `first_size_that_pays(sizes, cpu, gpu)`: the smallest size from which the GPU is quicker, there and at **all** "
        "larger sizes. The times are measured: where the GPU is ahead at one size only, the CPU may have been interrupted. "
        "Equal times do not count as quicker. If there is no such size, return `None`."
    ),
    stub=PAYS_STUB,
    solution=_pays(
        "    found = None\n    for size, slow, fast in zip(sizes, cpu, gpu, strict=True):\n"
        "        if fast >= slow:\n            found = None  # the GPU does not stay ahead\n"
        "        elif found is None:\n            found = size\n    return found\n"
    ),
    hints=(
        "Walk through the sizes from the smallest to the largest and remember a candidate. When do you have to give it up?",
        "Or walk from the largest size down, as long as the GPU is quicker.",
    ),
    check=check_first_size_that_pays,
    wrong=(
        Wrong(
            "first",
            _pays(
                "    for size, slow, fast in zip(sizes, cpu, gpu):\n        if fast < slow:\n            return size\n"
            ),
        ),
        Wrong(
            "last slower",
            _pays(
                "    found = None\n    for size, slow, fast in zip(sizes, cpu, gpu):\n        if fast >= slow:\n"
                "            found = size\n    return found\n"
            ),
        ),
        Wrong(
            "index",
            _pays(
                "    found = None\n    for i in range(len(sizes)):\n        if gpu[i] >= cpu[i]:\n            found = None\n"
                "        elif found is None:\n            found = i\n    return found\n"
            ),
        ),
        Wrong(
            "never",
            _pays(
                "    found = len(sizes) - 1\n    while found > 0 and gpu[found - 1] < cpu[found - 1]:\n        found -= 1\n"
                "    return sizes[found]\n"
            ),
        ),
        Wrong(
            "swapped",
            _pays(
                "    for size, slow, fast in zip(sizes, cpu, gpu):\n        if fast > slow:\n            return size\n"
            ),
        ),
        Wrong(
            "last",
            _pays(
                "    found = None\n    for size, slow, fast in zip(sizes, cpu, gpu):\n        if fast < slow:\n"
                "            found = size\n    return found\n"
            ),
        ),
    ),
)

# --- model_bytes ---

BYTES_STUB = '''def model_bytes(model):
    """Bytes that the parameters of `model` take.

    returns: a whole number
    """
    ...
'''


def _bytes(expression: str) -> str:
    return filled(BYTES_STUB, f"    return {expression}\n")


def check_model_bytes(answer) -> None:
    model = nn.Sequential(
        nn.Embedding(11, 6), nn.Linear(6, 5), nn.Linear(5, 3, bias=False).to(torch.bfloat16)
    )
    got = call(answer, model)
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise NotYet("type", f"a number of bytes is asked for; your function gives {in_words(got)}.")
    parameters = list(model.parameters())

    def is_(count: Callable[[torch.Tensor], float]) -> bool:
        return math.isclose(got, sum(map(count, parameters)))

    if is_(lambda p: p.numel()):
        raise NotYet("count", f"you give {got}: so many numbers there are. How many bytes does one take?")
    if is_(lambda p: 4 * p.numel()):
        raise NotYet(
            "always four",
            f"you give {got:g}: 4 bytes for each number. One layer of this model is bfloat16. Where does a tensor say how "
            "many bytes one of its elements takes?",
        )
    if is_(lambda p: len(p) * p.element_size()):
        raise NotYet("rows", f"you give {got:g}. `len` of a matrix counts its rows; how many numbers has it?")
    if is_(lambda p: 8 * p.numel() * p.element_size()):
        raise NotYet("bits", f"you give {got:g}: those are bits. `element_size()` counts bytes already.")
    if is_(lambda p: p.numel() * p.element_size() if p.ndim > 1 else 0):
        raise NotYet(
            "no bias", f"you give {got:g}: the weights without the biases. All parameters take memory."
        )
    same(got, sum(p.numel() * p.element_size() for p in parameters), what="the number of bytes")


MODEL_BYTES = Exercise(
    name="model_bytes",
    title="What a model weighs",
    difficulty="easy",
    minutes=4,
    statement=(
        "Write `model_bytes(model)`: how many bytes do all the parameters of a model take? `model.parameters()` gives them one by "
        "one. Its layers may have different number types."
    ),
    stub=BYTES_STUB,
    solution=_bytes("sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())"),
    hints=(
        "A parameter is a tensor. What is said above about the bytes of one tensor holds for each of them.",
        "The number of elements times the bytes of one element, added up. Two methods of a tensor tell the two factors.",
    ),
    check=check_model_bytes,
    wrong=(
        Wrong("count", _bytes("sum(parameter.numel() for parameter in model.parameters())")),
        Wrong("always four", _bytes("4 * sum(parameter.numel() for parameter in model.parameters())")),
        Wrong(
            "rows",
            _bytes("sum(len(parameter) * parameter.element_size() for parameter in model.parameters())"),
        ),
        Wrong(
            "bits",
            _bytes(
                "sum(parameter.numel() * parameter.element_size() * 8 for parameter in model.parameters())"
            ),
        ),
        Wrong(
            "no bias",
            _bytes("sum(layer.weight.numel() * layer.weight.element_size() for layer in model.children())"),
        ),
    ),
)

EXERCISES = [CHOOSE_DEVICE, MOVE_TOGETHER, HONEST_SECONDS, FIRST_SIZE_THAT_PAYS, MODEL_BYTES]
