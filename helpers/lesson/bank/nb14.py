"""The exercises of notebook 14: the nucleus, a temperature for an entropy, the work of writing, a stop text in pieces."""

import math

import torch

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, is_near, one_number, same

# --- nucleus ---

NUCLEUS_STUB = '''def nucleus(probabilities, top_p):
    """Probabilities with all but the likeliest tokens set to 0.

    probabilities: (V,), their sum is 1    top_p: above 0, at most 1
    Kept is the smallest set of likeliest tokens whose probabilities sum to at least top_p.
    returns: (V,), each token in its own place, their sum is 1
    """
    ...
'''


def _nucleus(
    keep: str = "ordered.cumsum(dim=0) - ordered < top_p",
    back: str = "    kept = torch.zeros_like(probabilities).scatter(0, places, ordered)\n",
    give: str = "kept / kept.sum()",
    descending: str = "True",
) -> str:
    body = f"    ordered, places = probabilities.sort(descending={descending})  # (V,) each\n"
    body += f"    ordered = ordered * ({keep})  # (V,)\n{back}    return {give}\n"
    return filled(NUCLEUS_STUB, body)


def check_nucleus(answer) -> None:
    probabilities = torch.tensor([0.06, 0.31, 0.11, 0.02, 0.27, 0.23])  # (V,)
    rules = {}
    for top_p in (0.4, 0.7, 0.95):
        ordered, places = probabilities.sort(descending=True)
        total = ordered.cumsum(dim=0)

        def put_back(keep, ordered=ordered, places=places):
            return torch.zeros_like(ordered).scatter(0, places, ordered * keep)

        right = put_back(total - ordered < top_p)
        upwards, from_below = probabilities.sort()
        wrong_end = torch.zeros_like(ordered).scatter(
            0, from_below, upwards * (upwards.cumsum(dim=0) - upwards < top_p)
        )
        tables = {
            "right": right / right.sum(),
            "not normalised": right,
            "without the last": put_back(total <= top_p) / put_back(total <= top_p).sum(),
            "one too many": put_back(total - ordered - ordered.roll(1) < top_p),
            "in the order of size": (ordered * (total - ordered < top_p)) / right.sum(),
            "not sorted": probabilities * (probabilities.cumsum(dim=0) - probabilities < top_p),
            "threshold": probabilities * (probabilities >= 1 - top_p),
            "wrong end": wrong_end / wrong_end.sum(),
            "nothing cut": probabilities,
        }
        for name in ("one too many", "not sorted", "threshold"):
            tables[name] = tables[name] / tables[name].sum()
        rules[top_p] = tables
    messages = {
        "nothing cut": "nothing is cut off: the result is what came in.",
        "not normalised": "the right tokens are kept, but the probabilities that are left no longer sum to 1. What must they be "
        "divided by?",
        "without the last": "the token that takes the sum past `top_p` is missing from your set, so the set has less than `top_p`. "
        "It is the sum *before* a token that decides whether the token is still needed.",
        "one too many": "your set has one token more than it needs: the tokens before the last one reach `top_p` already.",
        "in the order of size": "the numbers are right, but they stand in the order of their size. Each has to go back to the "
        "place of its own token: `sort` gives the places, too.",
        "not sorted": "you add up the probabilities in the order of the vocabulary. Which tokens come first then? Sort them.",
        "threshold": "you keep tokens by their own probability. What counts is the sum of the likeliest ones: where many are "
        "alike, many are kept.",
        "wrong end": "you begin with the unlikeliest tokens.",
    }
    got = {top_p: call(answer, probabilities, top_p) for top_p in rules}
    for key, message in messages.items():
        tables = {top_p: table[key] for top_p, table in rules.items() if not table[key].isnan().any()}
        if all(is_near(got[top_p], table) for top_p, table in tables.items()):
            raise NotYet(key, message)
    for top_p, tables in rules.items():
        same(got[top_p], tables["right"], what=f"the result for top_p={top_p}")
    same(call(answer, probabilities, 1.0), probabilities, what="the result for top_p=1")


NUCLEUS = Exercise(
    name="nucleus",
    title="The smallest set",
    difficulty="medium",
    minutes=8,
    statement=(
        "(An answer follows: solve it first.) Write `nucleus(probabilities, top_p)`: keep the likeliest tokens until their "
        "probabilities sum to at least `top_p`, set all others to 0, and make the rest sum to 1 again. "
        "(`ordered, places = probabilities.sort(descending=True)` gives the probabilities from the largest to the smallest and "
        "where each came from; `ordered.cumsum(dim=0)` adds them up from the first to each; and "
        "`torch.zeros_like(probabilities).scatter(0, places, ordered)` puts them back where they came from.)"
    ),
    stub=NUCLEUS_STUB,
    solution=_nucleus(),
    hints=(
        "A token is needed if the sum of all likelier ones is still below `top_p`. How do you get that sum from the `cumsum`?",
        "`cumsum` minus the token's own probability is the sum before it. Compare, multiply, put back, divide.",
    ),
    check=check_nucleus,
    wrong=(
        Wrong("without the last", _nucleus("ordered.cumsum(dim=0) <= top_p")),
        Wrong("not normalised", _nucleus(give="kept")),
        Wrong("in the order of size", _nucleus(back="    kept = ordered\n")),
        Wrong(
            "threshold",
            filled(
                NUCLEUS_STUB,
                "    kept = probabilities * (probabilities >= 1 - top_p)\n    return kept / kept.sum()\n",
            ),
        ),
        Wrong(
            "not sorted",
            filled(
                NUCLEUS_STUB,
                "    kept = probabilities * (probabilities.cumsum(dim=0) - probabilities < top_p)\n    return kept / kept.sum()\n",
            ),
        ),
        Wrong("wrong end", _nucleus(descending="False")),
        Wrong("one too many", _nucleus("ordered.cumsum(dim=0) - ordered - ordered.roll(1) < top_p")),
        Wrong("nothing cut", filled(NUCLEUS_STUB, "    return probabilities / probabilities.sum()\n")),
    ),
)  # fmt: skip

# --- temperature_for ---

TEMPERATURE_STUB = '''def temperature_for(logits, wanted):
    """The temperature at which softmax(logits / temperature) has the entropy `wanted`, to within 0.001 nats.

    logits: (V,)    wanted: nats, above 0 and below ln(V)    returns: a number, here between 0.01 and 100
    """
    ...
'''


def _temperature(
    divided: str = "logits / middle",
    entropy: str = "-(p * torch.log(p + 1e-30)).sum()",
    compare: str = "<",
    give: str = "low",
    middle: str = "(low * high) ** 0.5",
    before: str = "",
) -> str:
    body = f"    low, high = 0.01, 100.0\n{before}    for _ in range(60):\n        middle = {middle}\n"
    body += f"        p = torch.softmax({divided}, dim=0)  # (V,)\n        entropy = {entropy}\n"
    body += f"        if entropy {compare} wanted:\n            low = middle\n        else:\n            high = middle\n"
    return filled(TEMPERATURE_STUB, f"{body}    return {give}\n")


def _entropy(p: torch.Tensor) -> float:
    return -(p * (p + 1e-30).log()).sum().item()


def check_temperature_for(answer) -> None:
    logits = torch.tensor([2.3, -0.7, 0.4, 1.9, -1.6, 0.9, 0.1])  # (V,)
    cases, got = (0.5, 1.2, 1.8), []
    for wanted in cases:
        number = one_number(call(answer, logits.clone(), wanted), "the temperature")
        if not (math.isfinite(number) and number > 0):
            raise NotYet("not positive", f"a temperature is a positive number; yours is {number:g}.")
        got.append(number)
    readings = [(1 / number, number) for number in got]
    plain = torch.softmax(logits, dim=0)

    def all_near(entropy) -> bool:
        return all(abs(entropy(number) - wanted) < 0.003 for number, wanted in zip(got, cases, strict=True))

    if all_near(lambda t: _entropy(torch.softmax(logits / t, dim=0))):
        if len(set(got)) < len(got):
            raise NotYet("one for all", "your temperature does not depend on `wanted`.")
        return
    if all(number < 0.011 or number > 99 for number in got):
        raise NotYet(
            "wrong way",
            "your search runs to an end of the range. If the entropy is still too small, must the temperature go up or down?",
        )
    if all_near(lambda t: _entropy(torch.softmax(logits * t, dim=0))):
        raise NotYet(
            "times",
            "you multiply the logits by the number: you give 1 / temperature. A temperature *divides* them.",
        )
    if all_near(lambda t: _entropy(torch.softmax(logits / t, dim=0)) / math.log(2)):
        raise NotYet(
            "bits",
            "your entropy is in bits, with the logarithm to base 2. `wanted` is in nats, as all our losses.",
        )
    if all_near(lambda t: _entropy(torch.softmax(plain / t, dim=0))):
        raise NotYet(
            "softmax twice",
            "you divide the *probabilities*, and then take softmax once more. The temperature divides the logits.",
        )
    if all_near(lambda t: -torch.log_softmax(logits / t, dim=0).max().item()):
        raise NotYet(
            "likeliest only", "you look at the likeliest token alone. All of them belong to the entropy."
        )
    if all(abs(number - wanted / _entropy(plain)) < 1e-3 for number, wanted in zip(got, cases, strict=True)):
        raise NotYet(
            "proportion",
            "you scale the temperature in proportion to the entropy. The two are not proportional: the entropy ends at ln(V). "
            "Search for it instead.",
        )
    found = [_entropy(torch.softmax(logits / number, dim=0)) for _, number in readings]
    told = ", ".join(f"{wanted:g} wanted, {h:.3f} reached" for wanted, h in zip(cases, found, strict=True))
    raise NotYet("other", f"the entropies are not those asked for: {told}.")


TEMPERATURE_FOR = Exercise(
    name="temperature_for",
    title="As uncertain as you like",
    difficulty="medium",
    minutes=9,
    statement=(
        "How uncertain is a draw? The **entropy** of notebook 08 says it: the mean of $-\\ln p$ over what is drawn, so each token "
        "counts with its own probability: $-\\sum p \\ln p$. It is 0 where one token has everything and $\\ln V$ where all are "
        "alike, and it rises with the temperature. Write `temperature_for(logits, wanted)`, which finds the temperature that "
        "gives the entropy `wanted`. No formula gives it, but halving does: begin with a range from 0.01 to 100, look at "
        "a temperature in its middle, keep the half in which the answer lies, and repeat some 60 times. (`(low * high) ** "
        "0.5` is a good middle of such a range.)"
    ),
    stub=TEMPERATURE_STUB,
    solution=_temperature(),
    hints=(
        "If the entropy at `middle` is too small, the temperature must be higher: `low = middle`. Else `high = middle`.",
        "`p = torch.softmax(logits / middle, dim=0)`. Its entropy is minus the sum of `p * p.log()`; add 1e-30 inside the log, for "
        "a p that is 0.",
    ),
    check=check_temperature_for,
    wrong=(
        Wrong("wrong way", _temperature(compare=">")),
        Wrong("times", _temperature("logits * middle", compare=">")),
        Wrong("bits", _temperature(entropy="-(p * torch.log2(p + 1e-30)).sum()")),
        Wrong(
            "softmax twice",
            _temperature(
                "plain / middle", before="    plain = torch.softmax(logits, dim=0)  # (V,)\n"
            ).replace("low, high = 0.01, 100.0", "low, high = 0.0001, 100.0"),
        ),
        Wrong(
            "proportion",
            filled(
                TEMPERATURE_STUB,
                "    p = torch.softmax(logits, dim=0)  # (V,)\n    return wanted / -(p * p.log()).sum()\n",
            ),
        ),
        Wrong("likeliest only", _temperature(entropy="-p.max().log()")),
    ),
)  # fmt: skip

# --- rows_read ---

ROWS_STUB = '''def rows_read(prompt, new, block_size, cached):
    """How many rows, one for each position of each call, go through the model while it writes.

    prompt: tokens of the prompt, from 1 to block_size    new: tokens to write
    cached: True with a cache, which helps as long as the text has at most block_size tokens; False without
    returns: a whole number
    """
    ...
'''
SEES = "min(prompt + step, block_size)"


def _rows(
    length: str = "prompt + step",
    sees: str = "min(length, block_size)",
    one: str = "cached and step > 0 and length <= block_size",
    steps: str = "range(new)",
) -> str:
    body = f"    rows = 0\n    for step in {steps}:\n        length = {length}\n"
    body += f"        if {one}:\n            rows += 1\n        else:\n            rows += {sees}\n    return rows\n"
    return filled(ROWS_STUB, body)


def _count(prompt: int, new: int, block_size: int, cached: bool, **rule) -> int:
    total = 0
    for step in range(rule.get("first", 0), new + rule.get("first", 0)):
        length = prompt + step
        within = length <= block_size or rule.get("endless", False)
        if cached and within and step > rule.get("never", 0):
            total += 1
        elif rule.get("no crop", False):
            total += length
        else:
            total += min(length, block_size)
    return total


def check_rows_read(answer) -> None:
    cases = [
        (prompt, new, block, cached)
        for prompt, new, block in ((5, 4, 16), (3, 20, 9), (7, 1, 8), (11, 3, 11))
        for cached in (False, True)
    ]
    rules = {
        "right": {},
        "after the draw": {"first": 1},
        "no crop": {"no crop": True},
        "endless cache": {"endless": True},
        "prompt free": {"never": -1},
    }
    tables = {name: [_count(*case, **rule) for case in cases] for name, rule in rules.items()}
    tables["never cached"] = [_count(*case[:3], False) for case in cases]
    tables["new only"] = [case[1] for case in cases]
    tables["squared"] = [
        (prompt + new) ** 2 if not cached else prompt + new for prompt, new, _, cached in cases
    ]
    tables["no first step"] = [
        right - min(prompt, block)
        for right, (prompt, _, block, _) in zip(tables["right"], cases, strict=True)
    ]
    messages = {
        "after the draw": "you count the text as it is *after* each draw. The first step reads the prompt alone, and nothing reads "
        "the token that is written last.",
        "no crop": "past the context your model reads the whole text. It sees `block_size` tokens at most.",
        "endless cache": "past `block_size` your cache goes on as before. There the window moves at every step, and each step "
        "reads all `block_size` tokens.",
        "prompt free": "with the cache your first step reads one row. The cache is empty then: the whole prompt has to go through.",
        "never cached": "with and without a cache you count the same. Which rows need not be computed again?",
        "new only": "you count one row for each new token. Without a cache each step reads the whole text, and even with one the "
        "prompt must go through once.",
        "squared": "that is the order of growth, and not the count: step by step the text grows by one.",
        "no first step": "the first step is missing: it reads the prompt.",
    }
    got = [one_number(call(answer, *case), "the number of rows") for case in cases]
    for key, message in messages.items():
        if got == tables[key]:
            raise NotYet(key, message)
    for case, number, right in zip(cases, got, tables["right"], strict=True):
        if number != right:
            prompt, new, block, cached = case
            raise NotYet(
                "other",
                f"for prompt={prompt}, new={new}, block_size={block}, cached={cached} you count {number:g}; right is {right}.",
            )


ROWS_READ = Exercise(
    name="rows_read",
    title="What writing costs",
    difficulty="easy",
    minutes=6,
    statement=(
        "Write `rows_read(prompt, new, block_size, cached)`: how many rows go through the model while it writes `new` tokens "
        "after a prompt. The first step reads the prompt, and each step makes the text one token longer. Without a cache a "
        "step reads all that the model sees, at most `block_size` tokens. With one, a step after the first reads a single row "
        "while the text, the prompt and what was written so far, has at most `block_size` tokens. With a longer text it reads "
        "`block_size` rows, like the exact way above. For example, take a prompt of 3, 4 new tokens and a `block_size` of 5: "
        "the four steps look at texts of 3, 4, 5 and 6 tokens. Without a cache they read 3 + 4 + 5 + 5 = 17 rows, with one 3 + "
        "1 + 1 + 5 = 10."
    ),
    stub=ROWS_STUB,
    solution=_rows(),
    hints=(
        "Go through the steps 0 to `new - 1`. How long is the text that step number `step` looks at?",
        "`prompt + step`. Cached, not the first step, and the text not longer than `block_size`: one row. Else "
        "the smaller of the text and `block_size`.",
    ),
    check=check_rows_read,
    wrong=(
        Wrong("endless cache", _rows(one="cached and step > 0")),
        Wrong("no crop", _rows(sees="length")),
        Wrong("after the draw", _rows(one="cached and length <= block_size", steps="range(1, new + 1)")),
        Wrong("prompt free", _rows(one="cached and length <= block_size")),
        Wrong("never cached", _rows(one="False")),
        Wrong("new only", filled(ROWS_STUB, "    return new\n")),
        Wrong(
            "squared",
            filled(ROWS_STUB, "    return prompt + new if cached else (prompt + new) ** 2\n"),
        ),
        Wrong("no first step", _rows().replace("return rows", "return rows - min(prompt, block_size)")),
    ),
)  # fmt: skip

# --- until_stop ---

STOP_STUB = '''def until_stop(pieces, stop):
    """The pieces of a text up to where `stop` begins; nothing of `stop`, and nothing behind it.

    pieces: texts, one after another    stop: a text of at least one character
    A generator: it yields what is certain as soon as it is certain. What could be the beginning of `stop` waits.
    """
    ...
'''
STOP_BODY = """    held = ""
    for piece in pieces:
        held += piece
        if stop in held:
            yield held[: held.index(stop)]
            return
        waits = max(n for n in range(len(stop)) if held.endswith(stop[:n]))
        yield held[: len(held) - waits]
        held = held[len(held) - waits :]
    yield held
"""


def _drawn(pieces: list[str], log: list[str]):
    for piece in pieces:
        log.append(piece)
        yield piece


def _run_stop(answer, pieces: list[str], stop: str) -> tuple[list[tuple[str, int]], int]:
    """What came out, each with how many pieces had been taken by then; and how many were taken in all."""
    taken: list[str] = []
    given = []
    for part in answer(_drawn(pieces, taken), stop):
        if not isinstance(part, str):
            raise NotYet("type", f"your generator yields {part!r}, which is no text.")
        given.append((part, len(taken)))
        if len(given) > 500:
            raise NotYet("endless", "your generator does not end.")
    return given, len(taken)


def check_until_stop(answer) -> None:
    cases = {
        "whole": (["The owl ", "slept.", "##", " and more"], "##"),
        "across": (["The owl sle", "pt.#", "#x", "y"], "##"),
        "false alarm": (["one # t", "wo #", " three"], "##"),
        "at the end": (["a lamp", "#"], "##"),
        "again": (["b", "a", "a", "b", "c"], "ab"),
        "long": (["x<", "e", "n", "d", ">y"], "<end>"),
    }
    for name, (pieces, stop) in cases.items():
        text = "".join(pieces)
        want = text.partition(stop)[0]
        given = call(lambda p, s: _run_stop(answer, p, s), pieces, stop)
        parts, taken = given
        got = "".join(part for part, _ in parts)
        if got == want + stop and got != want and stop in text:
            raise NotYet("stop shown", f"the stop text itself is shown: for {pieces} you give {got!r}.")
        if got != want and name == "at the end" and want.startswith(got):
            raise NotYet(
                "rest lost",
                f"for {pieces} and stop={stop!r} you give {got!r}. What was held back is text after all when no more pieces come.",
            )
        if got == text and stop in text and name != "whole":
            raise NotYet(
                "inside a piece",
                f"for {pieces} and stop={stop!r} the text went on: you look for the stop text inside each piece, and here it lies "
                "across several.",
            )
        if got != want and want and got.startswith(want) and name != "whole":
            raise NotYet(
                "shown too early",
                f"for {pieces} and stop={stop!r} you give {got!r}: a part of the stop text had gone out before the rest came. "
                "What is shown cannot be taken back.",
            )
        if got != want and len(got) < len(want) and name in ("false alarm", "again"):
            raise NotYet(
                "lost",
                f"for {pieces} and stop={stop!r} you give {got!r}, and characters of the text are missing: what looked like a "
                "beginning of the stop text was none, and has to be shown then.",
            )
        if got != want:
            raise NotYet("other", f"for {pieces} and stop={stop!r} you give {got!r}; right is {want!r}.")
        if name == "whole" and taken > 3:
            raise NotYet(
                "reads on",
                "the text is right, but after the stop text you ask for further pieces: a model would go on writing for nothing.",
            )
        if name == "whole" and next((seen for part, seen in parts if part), 9) > 1:
            raise NotYet(
                "waits",
                "the text is right, but the first piece is yielded only when later ones have come. It holds nothing of the stop "
                "text, so it can go out at once.",
            )


UNTIL_STOP = Exercise(
    name="until_stop",
    title="A stop in two pieces",
    difficulty="hard",
    minutes=12,
    statement=(
        "A stop text may begin in one piece and end in the next, and what is on the screen cannot be taken back. Write the "
        "generator `until_stop(pieces, stop)`, which yields a text up to where `stop` begins. What may be the beginning of "
        "`stop` waits: if the text so far ends with `#` and `stop` is `##`, hold the `#` back until the next piece comes; then "
        "it is either shown or the end. Where several endings of the text could be the beginning of `stop`, the *longest* has "
        "to wait. When no piece comes any more, what still waits is shown. Everything else goes out at once. "
        "(`text.endswith(part)` is True if `text` ends with `part`, and `part in text` if it stands anywhere in it.)"
    ),
    stub=STOP_STUB,
    solution=filled(STOP_STUB, STOP_BODY),
    hints=(
        "Keep a variable `held`: what has come and was not yielded yet. Add each piece to it, and look for `stop` in `held`.",
        "How many characters at the end of `held` are the first ones of `stop`? Try all lengths below `len(stop)` and take the "
        "largest that fits. Those wait, the others go out.",
        "When the pieces have ended, `held` is text like any other.",
    ),
    check=check_until_stop,
    wrong=(
        Wrong(
            "inside a piece",
            filled(
                STOP_STUB,
                "    for piece in pieces:\n        if stop in piece:\n            yield piece[: piece.index(stop)]\n"
                "            return\n        yield piece\n",
            ),
        ),
        Wrong(
            "shown too early",
            filled(
                STOP_STUB,
                '    text = ""\n    for piece in pieces:\n        before = len(text)\n        text += piece\n'
                "        if stop in text:\n            yield text[before : text.index(stop)]\n            return\n"
                "        yield piece\n",
            ),
        ),
        Wrong(
            "waits",
            filled(
                STOP_STUB,
                '    text = ""\n    for piece in pieces:\n        text += piece\n        if stop in text:\n            break\n'
                "    yield text.partition(stop)[0]\n",
            ),
        ),
        Wrong("reads on", filled(STOP_STUB, '    yield from "".join(pieces).partition(stop)[0]\n')),
        Wrong(
            "stop shown",
            filled(STOP_STUB, STOP_BODY.replace("held.index(stop)", "held.index(stop) + len(stop)")),
        ),
        Wrong("rest lost", filled(STOP_STUB, STOP_BODY[: STOP_BODY.rindex("    yield held")])),
        Wrong(
            "lost",
            filled(
                STOP_STUB,
                '    held = ""\n    for piece in pieces:\n        for character in piece:\n'
                "            if stop[len(held)] == character:\n                held += character\n"
                "                if held == stop:\n                    return\n            else:\n"
                '                held = ""\n                yield character\n    yield held\n',
            ),
        ),
    ),
)  # fmt: skip

EXERCISES = [NUCLEUS, TEMPERATURE_FOR, ROWS_READ, UNTIL_STOP]
