"""The exercises of notebook 05: smoothing, cross-entropy, losses by position, a line of text, a training step."""

from types import CodeType

import torch
import torch.nn.functional as F
from torch import nn

from helpers.bigram import BigramLanguageModel
from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, in_words, same

# --- smoothed_table ---

SMOOTHED_STUB = '''def smoothed_table(counts, added):
    """Probabilities of the next character, with `added` added to each count.

    counts: (C, C)    added: a number above 0    returns: (C, C), each row sums to 1
    """
    ...
'''


def _smoothed(expression: str) -> str:
    return filled(SMOOTHED_STUB, f"    return {expression}\n")


def check_smoothed_table(answer) -> None:
    counts = torch.tensor([[0, 3, 1, 6], [2, 0, 9, 0], [0, 0, 0, 0], [5, 1, 0, 2]])  # (C, C)
    for added in (0.5, 2.0):
        got = call(answer, counts, added)
        raised = counts + added  # (C, C)
        want = raised / raised.sum(dim=1, keepdim=True)
        if not isinstance(got, torch.Tensor) or got.shape != want.shape:
            same(got, want, what="your table")

        def is_(table: torch.Tensor, got: torch.Tensor = got) -> bool:
            return torch.allclose(got.float(), table.float(), atol=1e-5)

        if is_(raised / raised.sum(dim=1)):
            raise NotYet(
                "keepdim",
                "your rows do not sum to 1: column j is divided by the sum of row j. The sums have the shape (C,), which "
                "broadcasting takes for a row. How do they stay a column, (C, 1)?",
            )
        if is_(raised / raised.sum(dim=0, keepdim=True)):
            raise NotYet(
                "columns",
                "your columns sum to 1, so you say what came before a character. What comes next is in the rows: along which "
                "dimension does the sum run?",
            )
        if is_(raised / raised.sum()):
            raise NotYet(
                "whole table",
                "all of your table together sums to 1: that is how likely each pair is. Asked for is what comes next when the "
                "present character is known.",
            )
        divided = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        if is_(divided + added):
            raise NotYet(
                "after",
                f"you divide first and add {added} to the probabilities, so each row sums to more than 1. It is the counts "
                "that are raised.",
            )
        if is_(raised / counts.sum(dim=1, keepdim=True).clamp(min=1)):
            raise NotYet(
                "old sum",
                "you raise the counts and divide by the sums from before, so each row sums to more than 1. By how much did the "
                "sum of a row grow?",
            )
        zeros = torch.where(counts == 0, added, counts.float())
        if is_(zeros / zeros.sum(dim=1, keepdim=True)):
            raise NotYet(
                "only zeros",
                f"you change the zeros only. With {added} in place of 0, what has never been seen may come out likelier than "
                "what has been seen once. Every count is raised.",
            )
        if is_(F.softmax(raised.float(), dim=1)):
            raise NotYet(
                "softmax",
                "softmax raises e to the counts: a pair seen 10 times would be thousands of times likelier than one seen "
                "once. Here a count is divided by the sum of its row.",
            )
        same(got.float(), want, what=f"your table with {added} added")


SMOOTHED_TABLE = Exercise(
    name="smoothed_table",
    title="Nothing is impossible",
    difficulty="easy",
    minutes=4,
    statement=(
        "The remedy is called **smoothing**: add a little to every count, as if each pair had been seen that much more often. "
        "Write `smoothed_table(counts, added)`: add `added` to each count, then divide each row by its own new sum. "
        "(An answer follows below: solve it first.)"
    ),
    stub=SMOOTHED_STUB,
    solution=_smoothed("(counts + added) / (counts + added).sum(dim=1, keepdim=True)"),
    hints=(
        "Do as in the cell that made `counted`, with other counts. Which sum does a row have now?",
        "Give the raised counts a name. `sum(dim=1, keepdim=True)` is a column with a sum for each row.",
    ),
    check=check_smoothed_table,
    wrong=(
        Wrong("keepdim", _smoothed("(counts + added) / (counts + added).sum(dim=1)")),
        Wrong("columns", _smoothed("(counts + added) / (counts + added).sum(dim=0, keepdim=True)")),
        Wrong("whole table", _smoothed("(counts + added) / (counts + added).sum()")),
        Wrong("after", _smoothed("counts / counts.sum(dim=1, keepdim=True).clamp(min=1) + added")),
        Wrong("old sum", _smoothed("(counts + added) / counts.sum(dim=1, keepdim=True).clamp(min=1)")),
        Wrong(
            "only zeros",
            filled(
                SMOOTHED_STUB,
                "    raised = torch.where(counts == 0, added, counts.float())\n"
                "    return raised / raised.sum(dim=1, keepdim=True)\n",
            ),
        ),
        Wrong("softmax", _smoothed("F.softmax(counts + added, dim=1)")),
    ),
)

# --- stable_loss ---

STABLE_STUB = '''def stable_loss(logits, targets):
    """Mean cross-entropy, also where scores are very large or very small.

    logits: (N, C)    targets: (N,), ids    returns: a tensor with one number
    """
    ...
'''
LIBRARY = {"cross_entropy", "log_softmax", "softmax", "logsumexp", "nll_loss", "CrossEntropyLoss"}
SHIFTED = "    logits = logits - logits.max(dim=1, keepdim=True).values  # (N, C)\n"
LOG_SUM = "    log_sums = logits.exp().sum(dim=1).log()  # (N,)\n"
RIGHT = "    right = logits[torch.arange(len(targets)), targets]  # (N,)\n"


def _stable(body: str) -> str:
    return filled(STABLE_STUB, body)


def _names_in(code: CodeType) -> set[str]:
    """The names of functions and attributes that a piece of code uses."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*map(_names_in, inner))


def check_stable_loss(answer) -> None:
    dice = torch.Generator().manual_seed(6)
    logits, targets = torch.randn(7, 5, generator=dice), torch.tensor([3, 0, 4, 1, 1, 2, 4])  # (N, C), (N,)
    got = call(answer, logits, targets)
    if not isinstance(got, (int, float, torch.Tensor)) or (
        isinstance(got, torch.Tensor) and got.numel() != 1
    ):
        raise NotYet(
            "type",
            f"one number is asked for, the mean of the {len(targets)} losses; you give {in_words(got)}.",
        )
    value, log_p = float(got), F.log_softmax(logits, dim=1)  # (N, C)
    right = log_p[torch.arange(len(targets)), targets]  # (N,)

    def is_(other: torch.Tensor) -> bool:
        return abs(value - other.item()) < 1e-5

    if is_(right.mean()):
        raise NotYet(
            "sign",
            "your loss is negative: the right size with the wrong sign. ln p of a p below 1 is negative.",
        )
    if is_(-right.sum()):
        raise NotYet(
            "sum",
            f"you add up the losses of the {len(targets)} questions. With the mean, batches of any size can be compared.",
        )
    if is_(-log_p.mean()):
        raise NotYet(
            "no target",
            "you take the mean over all candidates. What the model said about the others is already in the sum; which one was "
            "the right answer?",
        )
    if is_(-log_p[:, targets].mean()):
        raise NotYet(
            "all pairs",
            "`[:, targets]` takes the targets of all questions for every question, (N, N). Question i has the target "
            "`targets[i]`: which row numbers belong beside them?",
        )
    if is_(-right.exp().mean().log()):
        raise NotYet(
            "mean first",
            "you take the mean of the probabilities, then the logarithm. Each question has its own -ln p, and the mean is taken "
            "of these.",
        )
    over_questions = F.log_softmax(logits, dim=0)[torch.arange(len(targets)), targets]
    if is_(-over_questions.mean()):
        raise NotYet(
            "dim",
            "you sum over the questions: they compete with each other. It is the candidates of one question that do. Along "
            "which dimension do they lie?",
        )
    if is_(
        (
            (logits - logits.max(dim=1, keepdim=True).values).logsumexp(dim=1)
            - logits[torch.arange(7), targets]
        ).mean()
    ):
        raise NotYet(
            "half shifted",
            "you lower the scores under the sum and take the score of the right answer from before. Lower both by the same.",
        )
    same(value, -right.mean().item(), what="the loss")
    large = torch.tensor([[1000.0, 0.0, -4.0], [2.0, 1000.0, 1.0]])  # (N, C)
    far_apart = torch.tensor([[1000.0, 998.0, 1.0], [-1000.0, -1001.0, -1003.0]])  # (N, C)
    for scores, ids in ((large, torch.tensor([0, 2])), (far_apart, torch.tensor([1, 1]))):
        value = float(call(answer, scores, ids))
        case = f"for the scores {scores.tolist()} your loss is {value}"
        if value != value or value in (float("inf"), float("-inf")):
            if scores is large:
                raise NotYet(
                    "overflow",
                    f"{case}: e to the power of 1000 is more than a float can hold. Which number may be subtracted from all "
                    "scores of a row without a change in the result?",
                )
            raise NotYet(
                "one maximum",
                f"{case}. You subtract the largest score of the whole table, and in the other row each e to the power of the "
                "rest is 0. Every row has its own largest score.",
            )
        same(value, F.cross_entropy(scores, ids).item(), what=f"the loss for the scores {scores.tolist()}")
    code = getattr(answer, "__code__", None)
    used = sorted(LIBRARY & _names_in(code)) if code is not None else []
    if used:
        raise NotYet(
            "library",
            f"right, but `{used[0]}` does the work. Write it with `exp`, `sum`, `log` and `max`, to see how it is done.",
        )


STABLE_LOSS = Exercise(
    name="stable_loss",
    title="A loss that does not overflow",
    difficulty="medium",
    minutes=7,
    statement=(
        "Write `stable_loss(logits, targets)`, the mean cross-entropy of `N` questions, so that it holds for large scores too; "
        "the text above says how. Use `exp`, `sum`, `log` and `max`, and neither `F.cross_entropy` nor a softmax of the library."
    ),
    stub=STABLE_STUB,
    solution=_stable(f"{SHIFTED}{LOG_SUM}{RIGHT}    return (log_sums - right).mean()\n"),
    hints=(
        "-ln p is the logarithm of the sum of all e^score, minus the score of the right answer. So p itself is never needed.",
        "`logits.max(dim=1, keepdim=True).values` has the largest score of each row, (N, 1). Subtract it before anything else.",
        "`logits[torch.arange(len(targets)), targets]` picks one score from each row.",
    ),
    check=check_stable_loss,
    wrong=(
        Wrong("overflow", _stable(f"{LOG_SUM}{RIGHT}    return (log_sums - right).mean()\n")),
        Wrong(
            "one maximum",
            _stable(
                f"    logits = logits - logits.max()\n{LOG_SUM}{RIGHT}    return (log_sums - right).mean()\n"
            ),
        ),
        Wrong("sum", _stable(f"{SHIFTED}{LOG_SUM}{RIGHT}    return (log_sums - right).sum()\n")),
        Wrong("sign", _stable(f"{SHIFTED}{LOG_SUM}{RIGHT}    return (right - log_sums).mean()\n")),
        Wrong(
            "dim",
            _stable(
                "    logits = logits - logits.max(dim=0).values\n    log_sums = logits.exp().sum(dim=0).log()  # (C,)\n"
                "    scores = (logits - log_sums)[torch.arange(len(targets)), targets]  # (N,)\n    return -scores.mean()\n"
            ),
        ),
        Wrong(
            "all pairs",
            _stable(
                f"{SHIFTED}    log_sums = logits.exp().sum(dim=1, keepdim=True).log()  # (N, 1)\n"
                "    return (log_sums - logits[:, targets]).mean()\n"
            ),
        ),
        Wrong(
            "no target",
            _stable(
                f"{SHIFTED}    log_sums = logits.exp().sum(dim=1, keepdim=True).log()  # (N, 1)\n"
                "    return (log_sums - logits).mean()\n"
            ),
        ),
        Wrong("half shifted", _stable(f"{RIGHT}{SHIFTED}{LOG_SUM}    return (log_sums - right).mean()\n")),
        Wrong(
            "mean first",
            _stable(f"{SHIFTED}{LOG_SUM}{RIGHT}    return -(right - log_sums).exp().mean().log()\n"),
        ),
        Wrong("library", _stable("    return F.cross_entropy(logits, targets)\n")),
    ),
)

# --- loss_by_position ---

POSITION_STUB = '''def loss_by_position(logits, targets):
    """The mean loss at each position, over the sequences of a batch.

    logits: (B, T, C)    targets: (B, T), ids    returns: (T,)
    """
    ...
'''
FLAT = (
    "    B, T, C = logits.shape\n"
    '    losses = F.cross_entropy(logits.reshape(B * T, C), targets.reshape(B * T), reduction="none")  # (B*T,)\n'
)


def _position(body: str) -> str:
    return filled(POSITION_STUB, body)


def check_loss_by_position(answer) -> None:
    dice = torch.Generator().manual_seed(8)
    B, T, C = 3, 5, 4
    logits = torch.randn(B, T, C, generator=dice)
    targets = torch.randint(C, (B, T), generator=dice)
    got = call(answer, logits, targets)
    losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")  # (B, T)
    if not isinstance(got, torch.Tensor):
        raise NotYet("type", f"a tensor of shape ({T},) is asked for; your function gives {in_words(got)}.")

    def is_(other: torch.Tensor) -> bool:
        return got.shape == other.shape and torch.allclose(got.float(), other, atol=1e-5)

    if got.numel() == 1:
        raise NotYet(
            "one number",
            f'you give one number. `F.cross_entropy` takes the mean over all questions unless reduction="none" keeps them '
            f"apart; here {T} numbers are asked for, one for each position.",
        )
    if is_(losses):
        raise NotYet(
            "table", "each question has its loss, (B, T). The mean over the sequences is still to be taken."
        )
    if is_(losses.mean(dim=1)):
        raise NotYet(
            "sequences",
            f"your {B} numbers are the means of the {B} sequences. Asked for is the mean at each position: over which "
            "dimension does it run?",
        )
    if is_(losses.sum(dim=0)):
        raise NotYet(
            "sum",
            "you add up the losses of the sequences, so the result grows with the batch. Take their mean.",
        )
    if is_(losses.reshape(T, B).mean(dim=1)):
        raise NotYet(
            "mixed",
            "you lay the flat losses out as (T, B). They lie sequence by sequence, so your rows hold neighbours of one sequence, "
            "not one position of all sequences. What was the shape before it was flattened?",
        )
    viewed = F.cross_entropy(logits.view(B, C, T), targets, reduction="none")  # (B, T)
    if is_(viewed.mean(dim=0)):
        raise NotYet(
            "wrong view",
            "`view(B, C, T)` has the shape that F.cross_entropy wants and mixes the positions: it cuts the same row of numbers "
            "in other places. Move the axis with `transpose(1, 2)`, or flatten.",
        )
    by_t = F.cross_entropy(logits.reshape(B * T, C), targets.T.reshape(B * T), reduction="none").view(B, T)
    if is_(by_t.mean(dim=0)):
        raise NotYet(
            "targets turned",
            "you flatten the logits sequence by sequence and the targets position by position: question and answer no longer "
            "belong together.",
        )
    same(got, losses.mean(dim=0), what="the loss at each position")


LOSS_BY_POSITION = Exercise(
    name="loss_by_position",
    title="Which position is the hardest?",
    difficulty="medium",
    minutes=8,
    statement=(
        "For a bigram all positions are equally hard. A GPT has less to go on at the first ones, and you will want to "
        "see how much that costs. Write "
        "`loss_by_position(logits, targets)`: the mean loss at each of the `T` positions, over the sequences of the batch. "
        '`F.cross_entropy(..., reduction="none")` gives the loss of each question and takes no mean.'
    ),
    stub=POSITION_STUB,
    solution=_position(f"{FLAT}    return losses.view(B, T).mean(dim=0)\n"),
    hints=(
        'Flatten as above and ask for reduction="none": you get B*T losses in a row, sequence after sequence.',
        "Give the losses the shape of the targets again. Which of the two dimensions are the sequences?",
    ),
    check=check_loss_by_position,
    wrong=(
        Wrong("mixed", _position(f"{FLAT}    return losses.view(T, B).mean(dim=1)\n")),
        Wrong(
            "wrong view",
            _position(
                "    B, T, C = logits.shape\n"
                '    losses = F.cross_entropy(logits.view(B, C, T), targets, reduction="none")  # (B, T)\n'
                "    return losses.mean(dim=0)\n"
            ),
        ),
        Wrong("sequences", _position(f"{FLAT}    return losses.view(B, T).mean(dim=1)\n")),
        Wrong("sum", _position(f"{FLAT}    return losses.view(B, T).sum(dim=0)\n")),
        Wrong(
            "targets turned",
            _position(
                f"{FLAT.replace('targets.reshape', 'targets.T.reshape')}    return losses.view(B, T).mean(dim=0)\n"
            ),
        ),
        Wrong("one number", _position("    return F.cross_entropy(logits.transpose(1, 2), targets)\n")),
        Wrong("table", _position(f"{FLAT}    return losses.view(B, T)\n")),
    ),
)

# --- write_line ---

WRITE_STUB = '''def write_line(model, ids, stop, limit, generator):
    """`ids` and what the model writes after them, until it has written `stop`.

    ids: (1, T)    stop: an id    limit: the most tokens that are written    returns: (1, T + written)
    """
    ...
'''


def _write(
    first: str = "",
    model: str = "ids",
    pick: str = "logits[:, -1, :]",
    dim: str = "-1",
    draw: str = "torch.multinomial(probabilities, num_samples=1, generator=generator)",
    until: str = "drawn.item() == stop",
    result: str = "ids",
) -> str:
    """The source of an answer, in which the parts that learners get wrong can be replaced."""
    return filled(
        WRITE_STUB,
        f"""{first}    for _ in range(limit):
        logits, _ = model({model})  # (1, T, C)
        probabilities = F.softmax({pick}, dim={dim})  # (1, C)
        drawn = {draw}  # (1, 1)
        ids = torch.cat([ids, drawn], dim=1)  # (1, T + 1)
        if {until}:
            break
    return {result}
""",
    )


WRITE_SOLUTION = _write()
LOSES_STOP = filled(
    WRITE_STUB,
    """    for _ in range(limit):
        logits, _ = model(ids)  # (1, T, C)
        probabilities = F.softmax(logits[:, -1, :], dim=-1)  # (1, C)
        drawn = torch.multinomial(probabilities, num_samples=1, generator=generator)  # (1, 1)
        if drawn.item() == stop:
            break
        ids = torch.cat([ids, drawn], dim=1)  # (1, T + 1)
    return ids
""",
)


class _LooksBack(nn.Module):
    """Logits that depend on the last two tokens, so that a shorter context shows. ids: (B, T), T >= 2."""

    def __init__(self) -> None:
        super().__init__()
        dice = torch.Generator().manual_seed(11)
        self.register_buffer("present", torch.randn(6, 6, generator=dice))
        self.register_buffer("before", 1.5 * torch.randn(6, 6, generator=dice))

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None):
        earlier = torch.cat([ids[:, :1], ids[:, :-1]], dim=1)  # (B, T)
        return self.present[ids] + self.before[earlier], None  # (B, T, C)


def _lines(answer) -> list[torch.Tensor]:
    """What an answer writes with ten seeds: (1, T + n) each."""
    ids = torch.tensor([[4, 2, 0, 5]])  # (1, T); 2 is the stop, and it is in the context
    return [call(answer, _LooksBack(), ids, 2, 9, torch.Generator().manual_seed(seed)) for seed in range(10)]


def _as_by(*, pick=lambda logits: logits[:, -1], dim: int = -1, last_only: bool = False, greedy: bool = False,
           stop_at=lambda ids, drawn, stop: drawn == stop):  # fmt: skip
    """An answer that does one thing otherwise, to compare with."""

    def write(model, ids, stop, limit, generator):
        for _ in range(limit):
            logits, _ = model(ids[:, -1:] if last_only else ids)  # (1, T, C)
            probabilities = F.softmax(pick(logits), dim=dim)  # (1, C)
            drawn = probabilities.argmax(dim=-1, keepdim=True) if greedy else torch.multinomial(
                probabilities, num_samples=1, generator=generator
            )  # fmt: skip
            ids = torch.cat([ids, drawn], dim=1)  # (1, T + 1)
            if stop_at(ids, drawn.item(), stop):
                break
        return ids

    return write


def check_write_line(answer) -> None:
    got, again = _lines(answer), _lines(answer)
    want = _lines(_as_by())
    for each in got:
        if not isinstance(each, torch.Tensor) or each.ndim != 2 or len(each) != 1:
            raise NotYet(
                "type", f"ids of shape (1, T + written) are asked for; your function gives {in_words(each)}."
            )

    def are(lines: list[torch.Tensor]) -> bool:
        return all(map(torch.equal, got, lines))

    if not are(again):
        raise NotYet(
            "own dice",
            "two calls with the same seed write different texts. Hand the generator on: `multinomial(..., generator=generator)`.",
        )
    if are(_lines(_as_by(greedy=True))):
        raise NotYet(
            "argmax",
            "you take the likeliest token each time, so every seed writes the same. Draw according to the probabilities.",
        )
    if are(_lines(_as_by(stop_at=lambda ids, drawn, stop: False))):
        raise NotYet(
            "never stops", "your text goes on after `stop` up to the limit. When is a line at its end?"
        )
    if are(_lines(_as_by(stop_at=lambda ids, drawn, stop: stop in ids))):
        raise NotYet(
            "stop in the prompt",
            "you end as soon as `stop` is anywhere in the ids, and here it is in the prompt. Only what was just written counts.",
        )
    if are([line[:, :-1] if line[0, -1] == 2 else line for line in want]):
        raise NotYet(
            "loses the stop", "your lines end before `stop`. It was written, too: append first, then ask."
        )
    if are([line[:, 4:] for line in want]):
        raise NotYet("only new", "you return what was written, without the prompt before it.")
    if are(_lines(_as_by(pick=lambda logits: logits[:, 0]))):
        raise NotYet(
            "first position",
            "you read the prediction at the first position: what comes after the first token of the prompt. Which position "
            "foresees the token to be written?",
        )
    if are(_lines(_as_by(last_only=True))):
        raise NotYet(
            "short context",
            "you show the model the last token only. For a bigram that is enough, but this model looks further back: hand over "
            "all of the ids.",
        )
    if are(_lines(_as_by(dim=0))):
        raise NotYet(
            "wrong axis",
            "your softmax runs over the batch, which has one row, so each probability is 1 and all tokens are equally likely. "
            "Over which axis do the candidates compete?",
        )
    for one, other in zip(got, want, strict=True):
        same(one, other, what="the line (one draw for each token, in order, with the generator given)")


WRITE_LINE = Exercise(
    name="write_line",
    title="Write to the end of the line",
    difficulty="hard",
    minutes=9,
    statement=(
        "`sample_tokens` writes as many tokens as you ask for. Write `write_line(model, ids, stop, limit, generator)`, which "
        "ends when the token `stop` (a line break, say) was drawn, or after `limit` tokens. The `stop` belongs to the line. The "
        "prompt `ids`, (1, T), may already contain it; that does not end the line. Draw each token with `torch.multinomial` "
        "and the generator given, on the CPU. Hand the whole sequence to the model each time: the check has a model that "
        "looks at more than the last character."
    ),
    stub=WRITE_STUB,
    solution=WRITE_SOLUTION,
    hints=(
        "Begin with the loop of `sample_tokens`. There is one sequence only, so `drawn.item()` is the new token.",
        "Append what was drawn, then ask whether it was `stop`; `break` leaves a loop.",
    ),
    check=check_write_line,
    wrong=(
        Wrong("argmax", _write(draw="probabilities.argmax(dim=-1, keepdim=True)")),
        Wrong("never stops", _write(until="False")),
        Wrong("stop in the prompt", _write(until="(ids == stop).any()")),
        Wrong("loses the stop", LOSES_STOP),
        Wrong("first position", _write(pick="logits[:, 0, :]")),
        Wrong("short context", _write(model="ids[:, -1:]")),
        Wrong("wrong axis", _write(dim="0")),
        Wrong("own dice", _write(draw="torch.multinomial(probabilities, num_samples=1)")),
        Wrong("only new", _write(first="    T = ids.shape[1]\n", result="ids[:, T:]")),
    ),
)

# --- training_step ---

STEP_STUB = '''def training_step(model, optimizer, x, y):
    """One step of training on the batch x, y.

    x, y: (B, T), ids    returns: the loss of this batch before the step, a plain number
    """
    ...
'''


def _step(*lines: str, result: str = "loss.item()") -> str:
    body = "".join(f"    {line}\n" for line in ("logits, loss = model(x, y)", *lines, f"return {result}"))
    return filled(STEP_STUB, body)


ZERO, BACKWARD, STEP = "optimizer.zero_grad()", "loss.backward()", "optimizer.step()"
BATCHES = (
    (torch.tensor([[0, 3, 1], [4, 2, 2]]), torch.tensor([[3, 1, 4], [2, 2, 0]])),  # (B, T) each
    (torch.tensor([[1, 1, 0], [2, 4, 3]]), torch.tensor([[1, 0, 2], [4, 3, 0]])),
    (torch.tensor([[3, 0, 4], [1, 2, 0]]), torch.tensor([[0, 4, 2], [2, 0, 1]])),
)


def _two_steps(step) -> tuple[list, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What `step` returns for two batches, the table after each, (5, 5), and whether gradients were left."""
    model = BigramLanguageModel(5)
    with torch.no_grad():
        model.token_embedding_table.weight.copy_(torch.linspace(-1, 1, 25).view(5, 5).sin())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.5)
    model(*BATCHES[0])[1].backward()  # the gradient of an older batch
    returned, tables, unused = [], [], []
    for x, y in BATCHES[1:]:
        returned.append(step(model, optimizer, x, y))
        tables.append(model.token_embedding_table.weight.detach().clone())
        unused.append(model.token_embedding_table.weight.grad is not None)  # a gradient is left behind
    return returned, *tables, torch.tensor(unused)


def _in_order(*names: str):
    """A step that does these things in this order."""

    def step(model, optimizer, x, y):
        loss = model(x, y)[1]
        does = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
        does["uphill"] = lambda: (-loss).backward()
        for name in names:
            does[name]()
        return loss.item()

    return step


def check_training_step(answer) -> None:
    returned, *tables, left = _two_steps(lambda *given: call(answer, *given))

    def are(*names: str) -> bool:
        _, *others, other_left = _two_steps(_in_order(*names))
        alike = all(torch.allclose(a, b, atol=1e-6) for a, b in zip(tables, others, strict=True))
        return alike and torch.equal(left, other_left)

    if are("backward", "zero", "step"):
        raise NotYet(
            "cleared",
            "nothing has changed in the model: you clear the gradients between `backward` and `step`, so the step has none.",
        )
    if are("backward", "step", "zero"):
        raise NotYet(
            "cleared last",
            "the first step goes in a wrong direction. The model came with the gradient of an older batch, and you clear it "
            "after the step: too late for this one.",
        )
    if are("backward", "step"):
        raise NotYet(
            "piles up",
            "`backward` adds its gradients to those that are there already, from older batches. What has to come before it?",
        )
    if are("step", "zero", "backward") or are("zero", "step", "backward"):
        raise NotYet(
            "too early",
            "your step comes before `backward`, so the gradients of this batch are not used for it. Which line needs which?",
        )
    if are("zero", "uphill", "step"):
        raise NotYet(
            "uphill",
            "your steps raise the loss. The optimizer goes against the gradient by itself: give it the loss as it is.",
        )
    want, *right, _ = _two_steps(_in_order("zero", "backward", "step"))
    for number, (table, right_table) in enumerate(zip(tables, right, strict=True), start=1):
        same(table, right_table, what=f"the table of the model after {number} of your steps")
    for got in returned:
        if isinstance(got, bool) or not isinstance(got, (int, float)):
            raise NotYet(
                "type",
                f"the step is right, but you return {in_words(got)}. A loss that is kept as a tensor keeps all that `backward` "
                "needed in memory: `.item()` gives the plain number.",
            )
    after = BigramLanguageModel(5)
    with torch.no_grad():
        after.token_embedding_table.weight.copy_(tables[-1])
    if abs(returned[-1] - after(*BATCHES[2])[1].item()) < 1e-6:
        raise NotYet(
            "afterwards",
            "you return the loss after the step, which needs a second forward pass. Asked for is the loss that led to the step.",
        )
    same(returned, want, what="what your steps return")


TRAINING_STEP = Exercise(
    name="training_step",
    title="One step of training",
    difficulty="easy",
    minutes=5,
    statement=(
        "Write `training_step(model, optimizer, x, y)`: compute the loss of the batch, let the "
        "optimizer take one step, and return the loss as a plain number. The model may still hold gradients of an older batch. "
        "(An answer follows below: solve it first.)"
    ),
    stub=STEP_STUB,
    solution=_step(ZERO, BACKWARD, STEP),
    hints=(
        "Four lines: the forward pass, and three calls. Which of them fills `.grad`, which one uses it, which one clears it?",
        "Old gradients must be gone before new ones are added, and the new ones must be there before the step. "
        "`loss.item()` is a plain number.",
    ),
    check=check_training_step,
    wrong=(
        Wrong("piles up", _step(BACKWARD, STEP)),
        Wrong("cleared", _step(BACKWARD, ZERO, STEP)),
        Wrong("too early", _step(ZERO, STEP, BACKWARD)),
        Wrong("cleared last", _step(BACKWARD, STEP, ZERO)),
        Wrong("uphill", _step(ZERO, "(-loss).backward()", STEP)),
        Wrong("afterwards", _step(ZERO, BACKWARD, STEP, result="model(x, y)[1].item()")),
        Wrong("type", _step(ZERO, BACKWARD, STEP, result="loss")),
    ),
)

EXERCISES = [SMOOTHED_TABLE, STABLE_LOSS, LOSS_BY_POSITION, WRITE_LINE, TRAINING_STEP]
