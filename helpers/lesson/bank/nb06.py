"""The exercises of notebook 06: slopes by nudging, a step of momentum, a step of Adam, a schedule."""

from collections.abc import Callable

import torch

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, in_words, same

# --- slopes ---

SLOPES_STUB = '''def slopes(loss_of, w, h):
    """The gradient of loss_of at w: each number is nudged up by h and down by h.

    loss_of: from (N,) to one number    w: (N,)    h: a number    returns: (N,)
    """
    ...
'''


def _slopes(body: str) -> str:
    return filled(SLOPES_STUB, body)


def _nudging(before: str, up: str, down: str, value: str) -> str:
    """An answer that walks through the numbers of w; the parts are code."""
    return _slopes(
        f"    found = torch.zeros_like(w)  # (N,)\n{before}"
        f"    for i in range(len(w)):\n{up}{down}        found[i] = {value}\n    return found\n"
    )


UP = "        up = w.clone()\n        up[i] += h\n"
DOWN = "        down = w.clone()\n        down[i] -= h\n"
BOTH = "(loss_of(up) - loss_of(down))"


def _rough(w: torch.Tensor) -> torch.Tensor:
    """A loss of three numbers, curved, with products, so that no two ways to nudge give the same slopes."""
    return w[0] ** 2 * w[1] + 3 * w[1] * w[2] ** 2 + 0.5 * w[2] ** 3 + 2 * w[0]


def _nudged(w: torch.Tensor, h: float, kind: str) -> torch.Tensor:
    """The slopes as an answer of this kind gives them, (N,)."""
    nudges = h * torch.eye(len(w))  # (N, N)
    found, moved = [], w.clone()
    for nudge in nudges:
        if kind == "all at once":
            found.append((_rough(w + h) - _rough(w - h)) / (2 * h))
        elif kind == "left nudged":
            up, down = moved + nudge, moved - nudge
            found.append((_rough(up) - _rough(down)) / (2 * h))
            moved = down
        elif kind == "left up":
            up = moved + nudge
            found.append((_rough(up) - _rough(moved)) / h)
            moved = up
        elif kind == "one side":
            found.append((_rough(w + nudge) - _rough(w)) / h)
        else:
            found.append((_rough(w + nudge) - _rough(w - nudge)) / (2 * h))
    return torch.stack(found)


def check_slopes(answer) -> None:
    w, h = torch.tensor([0.7, -1.3, 1.9]), 0.25
    got = call(answer, _rough, w, h)
    if isinstance(got, list | tuple) and len(got) == len(w):
        got = torch.stack([torch.as_tensor(each).float() for each in got])
    if not isinstance(got, torch.Tensor):
        raise NotYet(
            "type", f"a slope for each number of w is asked for; your function gives {in_words(got)}."
        )
    right = _nudged(w, h, "right")

    def is_(want: torch.Tensor) -> bool:
        return got.shape == want.shape and torch.allclose(got, want, atol=1e-3)

    if is_(_nudged(w, h, "one side")):
        raise NotYet(
            "one side",
            "you compare the loss a nudge further up with the loss at `w` itself. On a curve that is the slope half a nudge "
            "away from `w`. Where else can you measure, so that `w` lies in the middle?",
        )
    if is_(2 * right):
        raise NotYet(
            "not halved", "your slopes are twice too large. How far apart are the two places you compare?"
        )
    if is_(-right):
        raise NotYet("sign", "your slopes have the wrong sign: which of the two losses is taken from which?")
    if is_(_nudged(w, h, "all at once")) or is_(_nudged(w, h, "all at once")[0]):
        raise NotYet(
            "all at once",
            "you nudge all the numbers of `w` together. Their slopes then come as one sum: how can one number move while the "
            "others stay?",
        )
    if is_(_nudged(w, h, "left nudged")) or is_(_nudged(w, h, "left up")):
        raise NotYet(
            "left nudged",
            "the first slope is right, the later ones are measured somewhere else: the numbers before them are still nudged. "
            "Where does each of them go back to its place?",
        )
    if is_(2 * h * right):
        raise NotYet(
            "not divided",
            "you give the change of the loss. A slope is the change for each unit of the nudge.",
        )
    same(got, right, tolerance=1e-3, what="the gradient")


SLOPES = Exercise(
    name="slopes",
    title="Feel the slope",
    difficulty="medium",
    minutes=7,
    statement=(
        "Write `slopes(loss_of, w, h)`, the gradient by finite differences for any loss: for each number of `w`, how much "
        "does `loss_of` change for each unit of the nudge, when only this number is nudged, up by `h` and down by `h`? "
        "`w.clone()` is a copy that may be changed."
    ),
    stub=SLOPES_STUB,
    solution=_nudging("", UP, DOWN, f"{BOTH} / (2 * h)"),
    hints=(
        "For number i: a copy of w in which this number is larger by h, another one in which it is smaller by h. Two losses.",
        "The two places are 2 * h apart. Begin each copy with `w.clone()`, so that no nudge stays.",
    ),
    check=check_slopes,
    wrong=(
        Wrong("one side", _nudging("", UP, "", "(loss_of(up) - loss_of(w)) / h")),
        Wrong("not halved", _nudging("", UP, DOWN, f"{BOTH} / h")),
        Wrong("sign", _nudging("", UP, DOWN, "(loss_of(down) - loss_of(up)) / (2 * h)")),
        Wrong("all at once", _nudging("", "", "", "(loss_of(w + h) - loss_of(w - h)) / (2 * h)")),
        Wrong(
            "left nudged",
            _nudging(
                "    w = w.clone()\n",
                "        w[i] += h\n        high = loss_of(w)\n",
                "        w[i] -= 2 * h\n        low = loss_of(w)\n",
                "(high - low) / (2 * h)",
            ),
        ),
        Wrong("not divided", _nudging("", UP, DOWN, BOTH)),
    ),
)  # fmt: skip

# --- momentum_step ---

MOMENTUM_STUB = '''def momentum_step(p, gradient, velocity, lr, momentum):
    """One step with momentum: the new parameter and the new velocity.

    p, gradient, velocity: (N,)    lr, momentum: numbers    returns: two tensors, (N,) each
    """
    ...
'''


def _momentum(velocity: str, p: str) -> str:
    return filled(MOMENTUM_STUB, f"    new_velocity = {velocity}\n    return {p}, new_velocity\n")


def check_momentum_step(answer) -> None:
    p, gradient = torch.tensor([1.5, -0.4, 2.2]), torch.tensor([0.8, -1.7, 0.3])
    velocity, lr, momentum = torch.tensor([2.0, 0.9, -1.1]), 0.3, 0.7
    got = call(answer, p, gradient, velocity, lr, momentum)
    if not isinstance(got, list | tuple) or [type(each) for each in got] != [torch.Tensor] * 2:
        raise NotYet(
            "type",
            f"two tensors are asked for, the parameter and the velocity; your function gives {in_words(got)}.",
        )
    new = momentum * velocity + gradient

    def is_(one: torch.Tensor, other: torch.Tensor) -> bool:
        return one.shape == other.shape and torch.allclose(one, other, atol=1e-5)

    if is_(got[1], momentum * velocity + (1 - momentum) * gradient):
        raise NotYet(
            "mean",
            "you let the gradient in only in part, so your velocity is a running mean. (Adam does that.) Here it is to "
            "collect: the whole gradient is added to what is left of the old velocity.",
        )
    if is_(got[1], momentum * velocity + lr * gradient) or is_(got[1], momentum * velocity - lr * gradient):
        raise NotYet(
            "rate inside",
            "your velocity has the learning rate in it. When the learning rate changes later, the old gradients in it would "
            "keep the old one. Keep it out of the velocity, and use it for the step.",
        )
    if is_(got[1], velocity + gradient):
        raise NotYet(
            "no fading",
            "your velocity never fades: every gradient stays in it for good. What is `momentum` for?",
        )
    if is_(got[1], momentum * (velocity + gradient)):
        raise NotYet(
            "fades at once",
            "the new gradient fades as well before it is used. Which of the two is the old one?",
        )
    same(got[1], new, what="the new velocity")
    if is_(got[0], p - lr * gradient):
        raise NotYet(
            "gradient", "the velocity is right, and the step does not use it: you still go by the gradient."
        )
    if is_(got[0], p - lr * velocity):
        raise NotYet(
            "old velocity", "your step goes by the old velocity, which has not heard of this gradient yet."
        )
    if is_(got[0], p + lr * new):
        raise NotYet(
            "uphill", "your step goes up: the velocity is made of gradients, and these point uphill."
        )
    if is_(got[0], p - lr * (gradient + momentum * new)):
        raise NotYet(
            "nesterov",
            "you look one step ahead: gradient plus faded velocity. That is Nesterov's kind; the plain step goes by the new "
            "velocity.",
        )
    if is_(got[0], p - new):
        raise NotYet("no rate", "your step is the whole velocity. How long is it to be?")
    same(got[0], p - lr * new, what="the new parameter")


MOMENTUM_STEP = Exercise(
    name="momentum_step",
    title="One step with momentum",
    difficulty="easy",
    minutes=5,
    statement=(
        "Write `momentum_step(p, gradient, velocity, lr, momentum)`. The new velocity is the old one times `momentum`, plus the "
        "gradient. The step is `lr` times the new velocity, and the parameter moves against it. Return the new parameter and the "
        "new velocity, and leave the tensors that you were given as they are."
    ),
    stub=MOMENTUM_STUB,
    solution=_momentum("momentum * velocity + gradient", "p - lr * new_velocity"),
    hints=(
        "Two lines: first the velocity, then the step that uses it.",
        "The learning rate belongs to the step only. `p -= ...` would change the tensor of the caller; `p - ...` makes a new one.",
    ),
    check=check_momentum_step,
    wrong=(
        Wrong("mean", _momentum("momentum * velocity + (1 - momentum) * gradient", "p - lr * new_velocity")),
        Wrong("rate inside", _momentum("momentum * velocity - lr * gradient", "p + new_velocity")),
        Wrong("no fading", _momentum("velocity + gradient", "p - lr * momentum * new_velocity")),
        Wrong("fades at once", _momentum("momentum * (velocity + gradient)", "p - lr * new_velocity")),
        Wrong("gradient", _momentum("momentum * velocity + gradient", "p - lr * gradient")),
        Wrong("old velocity", _momentum("momentum * velocity + gradient", "p - lr * velocity")),
        Wrong("uphill", _momentum("momentum * velocity + gradient", "p + lr * new_velocity")),
        Wrong("nesterov", _momentum("momentum * velocity + gradient", "p - lr * (gradient + momentum * new_velocity)")),
        Wrong("no rate", _momentum("momentum * velocity + gradient", "p - new_velocity")),
    ),
)  # fmt: skip

# --- adam_step ---

ADAM_STUB = '''def adam_step(p, gradient, mean, square, t, lr, beta1, beta2, eps):
    """Step number t of Adam: the new parameter, and the new running means of the gradient and of its square.

    p, gradient, mean, square: (N,)    t: 1, 2, 3 ...    lr, beta1, beta2, eps: numbers    returns: three tensors, (N,) each
    """
    ...
'''
ADAM = {
    "mean": "beta1 * mean + (1 - beta1) * gradient",
    "square": "beta2 * square + (1 - beta2) * gradient**2",
    "corrected_mean": "mean / (1 - beta1**t)",
    "corrected_square": "square / (1 - beta2**t)",
    "p": "p - lr * corrected_mean / (corrected_square.sqrt() + eps)",
    "returned": "p, mean, square",
}


def _adam(**changed: str) -> str:
    parts = ADAM | changed
    names = ("mean", "square", "corrected_mean", "corrected_square", "p")
    lines = [f"    {name} = {parts[name]}\n" for name in names]
    return filled(ADAM_STUB, "".join(lines) + f"    return {parts['returned']}\n")


def check_adam_step(answer) -> None:
    p, gradient = torch.tensor([0.6, -1.2, 2.1]), torch.tensor([0.5, -0.02, 1.4])
    mean, square = torch.tensor([0.3, 0.04, -0.2]), torch.tensor([0.11, 0.006, 0.7])
    t, lr, beta1, beta2, eps = 3, 0.2, 0.8, 0.95, 0.05
    got = call(answer, p, gradient, mean, square, t, lr, beta1, beta2, eps)
    if not isinstance(got, list | tuple) or [type(each) for each in got] != [torch.Tensor] * 3:
        raise NotYet(
            "type",
            f"three tensors are asked for, the parameter and the two means; your function gives {in_words(got)}.",
        )

    def is_(one: torch.Tensor, other: torch.Tensor) -> bool:
        return one.shape == other.shape and torch.allclose(one, other, atol=1e-5)

    new_mean, new_square = beta1 * mean + (1 - beta1) * gradient, beta2 * square + (1 - beta2) * gradient**2
    root, c1, c2 = new_square.sqrt(), 1 - beta1**t, 1 - beta2**t
    if is_(got[1], new_mean / c1) or is_(got[2], new_square / c2):
        raise NotYet(
            "keeps corrected",
            "you return a corrected mean. At the next step it would be corrected again. The correction is only for the step at "
            "hand: keep the plain running means.",
        )
    if is_(got[1], (1 - beta1) * mean + beta1 * gradient):
        raise NotYet(
            "shares swapped",
            f"your mean keeps a share of {1 - beta1:.1f} of what it was, and takes {beta1} from the new gradient. `beta1` is the "
            "share that is kept.",
        )
    if is_(got[1], beta1 * mean + gradient):
        raise NotYet(
            "collects",
            "your first mean collects whole gradients, like momentum. Which share of the new one goes into a mean?",
        )
    if is_(got[1], beta2 * mean + (1 - beta2) * gradient):
        raise NotYet(
            "betas swapped", "your mean of the gradients uses `beta2`: which of the two shares belongs to it?"
        )
    same(got[1], new_mean, what="the new mean of the gradient")
    if is_(got[2], beta2 * square + (1 - beta2) * new_mean**2):
        raise NotYet(
            "square of the mean",
            "you square the mean. What is averaged are the squares: square first, then the mean.",
        )
    if is_(got[2], beta2 * square + (1 - beta2) * gradient):
        raise NotYet(
            "not squared", "your second mean is one of gradients too. Theirs cancel out; what can't cancel?"
        )
    same(got[2], new_square, what="the new mean of the square")

    def step(upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
        return p - lr * upper / lower

    right = step(new_mean / c1, root / c2**0.5 + eps)
    if is_(got[0], step(new_mean, root + eps)):
        raise NotYet(
            "no correction",
            f"your step uses the running means as they are. At step {t} they still are too small, since they began at 0. By "
            "what are they divided to put that right?",
        )
    if is_(got[0], step(new_mean / c1, root + eps)) or is_(got[0], step(new_mean, root / c2**0.5 + eps)):
        raise NotYet("half corrected", "only one of the two means is corrected. Both began at 0.")
    if is_(got[0], step(new_mean / (1 - beta1 ** (t - 1)), root / (1 - beta2 ** (t - 1)) ** 0.5 + eps)):
        raise NotYet(
            "late",
            f"your correction is that of step {t - 1}. (For the first step, t = 1, it would divide by 0.)",
        )
    if is_(got[0], step(new_mean / (1 - beta1), root / (1 - beta2) ** 0.5 + eps)):
        raise NotYet(
            "same correction",
            "your correction is the same at each step, but has to fade: where is `t`?",
        )
    if is_(got[0], step(new_mean / c1, (new_square / c2 + eps).sqrt())):
        raise NotYet(
            "eps inside",
            "your `eps` is under the root, where a small one becomes large. Add it after the root.",
        )
    if is_(got[0], step(new_mean / c1, new_square / c2 + eps)):
        raise NotYet(
            "no root", "you divide by the mean of the squares. The usual size of a gradient is its root."
        )
    if is_(got[0], step(gradient, root / c2**0.5 + eps)):
        raise NotYet(
            "rmsprop",
            "your step is made of the gradient itself, as in RMSprop. Adam puts its running mean there.",
        )
    if is_(got[0], 2 * p - right):
        raise NotYet("uphill", "your step goes up: gradients point uphill.")
    same(got[0], right, what="the new parameter")


ADAM_STEP = Exercise(
    name="adam_step",
    title="One step of Adam",
    difficulty="hard",
    minutes=10,
    statement=(
        "Write `adam_step(p, gradient, mean, square, t, lr, beta1, beta2, eps)`. Bring both running means up to date: `mean` keeps "
        "the share `beta1` and takes the rest from the gradient, `square` keeps `beta2` and takes the rest from the gradient "
        "squared.\n\n"
        "Divided by `1 - beta1**t` and `1 - beta2**t`, they give two new, corrected values, which serve for this step only. The "
        "step is `lr` times the corrected mean, divided by the root of the corrected square (and `eps` is added to that root). "
        "The parameter moves against it. Return the parameter and the two running means, not the corrected ones."
    ),
    stub=ADAM_STUB,
    solution=_adam(),
    hints=(
        "Five lines: two running means, two corrections with names of their own, one step.",
        "A running mean: `beta * old + (1 - beta) * new`. RMSprop above has the second of them, and nearly the last line.",
    ),
    check=check_adam_step,
    wrong=(
        Wrong("no correction", _adam(corrected_mean="mean", corrected_square="square")),
        Wrong("half corrected", _adam(corrected_square="square")),
        Wrong("keeps corrected", _adam(returned="p, corrected_mean, corrected_square")),
        Wrong("eps inside", _adam(p="p - lr * corrected_mean / (corrected_square + eps).sqrt()")),
        Wrong("no root", _adam(p="p - lr * corrected_mean / (corrected_square + eps)")),
        Wrong("square of the mean", _adam(square="beta2 * square + (1 - beta2) * mean**2")),
        Wrong("not squared", _adam(square="beta2 * square + (1 - beta2) * gradient")),
        Wrong("shares swapped", _adam(mean="(1 - beta1) * mean + beta1 * gradient")),
        Wrong("collects", _adam(mean="beta1 * mean + gradient")),
        Wrong("betas swapped", _adam(mean="beta2 * mean + (1 - beta2) * gradient")),
        Wrong("late", _adam(corrected_mean="mean / (1 - beta1 ** (t - 1))", corrected_square="square / (1 - beta2 ** (t - 1))")),
        Wrong("same correction", _adam(corrected_mean="mean / (1 - beta1)", corrected_square="square / (1 - beta2)")),
        Wrong("rmsprop", _adam(p="p - lr * gradient / (corrected_square.sqrt() + eps)")),
        Wrong("uphill", _adam(p="p + lr * corrected_mean / (corrected_square.sqrt() + eps)")),
    ),
)  # fmt: skip

# --- warm_hold_cool ---

SCHEDULE_STUB = '''def warm_hold_cool(step, steps, peak, warmup, cooldown):
    """The learning rate of step 0, 1, ... steps - 1: straight up, level at `peak`, straight down.

    warmup, cooldown: how many steps at the beginning and at the end are below the peak    returns: a number
    """
    ...
'''


def _schedule(body: str) -> str:
    return filled(SCHEDULE_STUB, body)


def _three_parts(up: str, down: str, begins: str = "step >= steps - cooldown") -> str:
    return _schedule(
        f"    if step < warmup:\n        return {up}\n    if {begins}:\n        return {down}\n    return peak\n"
    )


RISE, FALL = "peak * (step + 1) / (warmup + 1)", "peak * (steps - step) / (cooldown + 1)"


def _rates(of: Callable[[int], float], steps: int) -> torch.Tensor:
    return torch.tensor([float(of(step)) for step in range(steps)])


def check_warm_hold_cool(answer) -> None:
    steps, peak, warmup, cooldown = 40, 0.6, 9, 12
    last = steps - 1
    given = [call(answer, step, steps, peak, warmup, cooldown) for step in range(steps)]
    for each in given:
        if isinstance(each, bool) or not isinstance(each, int | float):
            raise NotYet(
                "type", f"a number is asked for, the learning rate; your function gives {in_words(each)}."
            )
    got = torch.tensor([float(each) for each in given])

    def right(step: int) -> float:
        return peak * min(1, (step + 1) / (warmup + 1), (steps - step) / (cooldown + 1))

    def is_(of: Callable[[int], float], part: slice = slice(None)) -> bool:
        return torch.allclose(got[part], _rates(of, steps)[part], atol=1e-6)

    case = f"with steps={steps}, peak={peak}, warmup={warmup} and cooldown={cooldown}"
    if is_(lambda step: right(step) / peak):
        raise NotYet("no peak", f"{case} your largest rate is 1. How high is the schedule to go?")
    if got[0] == 0:
        raise NotYet(
            "zero first",
            f"{case} the very first step has the rate 0: it would change nothing, and its batch is lost.",
        )
    if is_(lambda step: peak * min(1, (step + 1) / (warmup + 1))):
        raise NotYet(
            "never cools", f"{case} the rate rises and stays. What happens in the last {cooldown} steps?"
        )
    if is_(lambda step: peak * min(1, (steps - step) / (cooldown + 1))):
        raise NotYet("cold start", f"{case} the first step already has the full peak. Where is the warm-up?")
    if is_(lambda step: peak * (steps - step) / (steps - warmup), slice(warmup, None)):
        raise NotYet(
            "no hold",
            f"{case} the rate falls from the end of the warm-up on. It is to stay level until {cooldown} steps are left.",
        )
    if is_(lambda step: peak * (steps - step) / steps, slice(steps - cooldown, None)):
        raise NotYet(
            "jump",
            f"{case} the rate jumps from {peak} down to {got[steps - cooldown]:.3g} where the cooling begins: your straight line "
            "began at step 0. How many steps does the way down have?",
        )
    if abs(got[last]) < 1e-9:
        raise NotYet("zero last", f"{case} the very last step has the rate 0: its batch is lost, too.")
    if is_(lambda step: peak * min(1, (step + 1) / warmup, (steps - step) / cooldown)):
        raise NotYet(
            "too short",
            f"{case} only {warmup - 1} steps at the beginning are below the peak, and {cooldown - 1} at the end: yours reaches it "
            "one step too early and leaves it one too late.",
        )
    same(got, _rates(right, steps), what=f"the list of the {steps} rates {case}")
    same(call(answer, 0, 10, 1.0, 0, 3), 1.0, what="the first rate without a warm-up")
    same(call(answer, 9, 10, 1.0, 3, 0), 1.0, what="the last rate without a cool-down")


WARM_HOLD_COOL = Exercise(
    name="warm_hold_cool",
    title="Warm up, hold, cool down",
    difficulty="medium",
    minutes=7,
    statement=(
        "Another schedule has become usual beside the cosine: it rises, stays level for as long as one likes, and falls at the "
        "end. So it need not know from the first step on how long the training will be.\n\n"
        "Write `warm_hold_cool(step, steps, peak, warmup, cooldown)`. The warm-up is that of `learning_rate_at`: step 0 has "
        "`peak / (warmup + 1)`, and step number `warmup` has the peak. The way down mirrors the way up: the last step has "
        "`peak / (cooldown + 1)`, the one before it twice as much, and so on. `warmup + cooldown` is less than `steps`."
    ),
    stub=SCHEDULE_STUB,
    solution=_three_parts(RISE, FALL),
    hints=(
        "Three cases: the first `warmup` steps, the last `cooldown` steps, and all between them.",
        "At the last step, `steps - 1`, the number `steps - step` is 1. One step earlier it is 2.",
    ),
    check=check_warm_hold_cool,
    wrong=(
        Wrong("zero first", _three_parts("peak * step / warmup", FALL)),
        Wrong("zero last", _three_parts(RISE, "peak * (steps - 1 - step) / cooldown")),
        Wrong("never cools", _three_parts(RISE, "peak")),
        Wrong("cold start", _three_parts("peak", FALL)),
        Wrong("no hold", _three_parts(RISE, "peak * (steps - step) / (steps - warmup)", "step >= warmup")),
        Wrong("jump", _three_parts(RISE, "peak * (steps - step) / steps")),
        Wrong("too short", _three_parts("peak * (step + 1) / warmup", "peak * (steps - step) / cooldown")),
        Wrong("no peak", _three_parts(RISE, FALL).replace("return peak *", "return").replace("return peak", "return 1.0")),
    ),
)  # fmt: skip

EXERCISES = [SLOPES, MOMENTUM_STEP, ADAM_STEP, WARM_HOLD_COOL]
