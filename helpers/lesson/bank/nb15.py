"""The exercises of notebook 15: targets of a masked prompt, exact match, two losses mixed, merged weights."""

import torch
import torch.nn.functional as F

from helpers.lesson.exercises import (
    Exercise,
    NotYet,
    Wrong,
    call,
    filled,
    one_number,
    refuse_named,
    same,
)

IGNORED = -100

# --- answer_targets ---

TARGETS_STUB = '''def answer_targets(ids, prompt_length):
    """Targets for a text that is a prompt and then an answer: only the answer is asked for.

    ids: (T+1,), the prompt and the answer in one    prompt_length: how many of them are the prompt
    returns: (T,), at each position the id that comes next, or -100 where that is part of the prompt
    """
    ...
'''


def _targets(cut: str, made: str = "ids[1:].clone()", mark: str = "-100") -> str:
    return filled(TARGETS_STUB, f"    targets = {made}\n    targets[{cut}] = {mark}\n    return targets\n")


def check_answer_targets(answer) -> None:
    ids, prompt_length = torch.tensor([7, 2, 9, 4, 8, 3, 6, 5]), 5
    got = call(answer, ids, prompt_length)
    right = torch.tensor([-100, -100, -100, -100, 3, 6, 5])

    def masked(count: int, tensor: torch.Tensor = ids[1:], mark: int = -100) -> torch.Tensor:
        return torch.cat([torch.full((count,), mark), tensor[count:]])

    refuse_named(
        got,
        {
            "late": (
                masked(prompt_length),
                "one target too many is masked: the first character of the answer. It is predicted at the *last* position of "
                "the prompt, and there the loss has to ask for it. Nobody would teach the model how an answer begins.",
            ),
            "early": (
                masked(prompt_length - 2),
                "the last character of the prompt is still asked for. At which position does the model predict it?",
            ),
            "unshifted": (
                masked(prompt_length, ids),
                "your targets are the ids themselves, not those that come next: the model would learn to repeat what it sees.",
            ),
            "not shifted, cut": (
                masked(prompt_length, ids)[:-1],
                "your targets have the right length, but at each position they hold the id that stands there, not the next one.",
            ),
            "nothing masked": (ids[1:], "nothing is masked: the loss would ask for the prompt too."),
            "answer masked": (
                torch.cat([ids[1:prompt_length], torch.full((3,), -100)]),
                "you mask the answer, and the prompt is asked for: the other way round.",
            ),
            "zero": (
                masked(prompt_length - 1, mark=0),
                "you mark what is masked with 0. That is the id of a character, and the model would learn to write it there. "
                "Which number does `F.cross_entropy` leave out?",
            ),
            "left out": (
                ids[prompt_length:],
                "only the targets of the answer are left. Inputs and targets need equally many positions: masked ones stay in "
                "their places and are marked.",
            ),
        },
    )
    same(got, right, what="the targets")
    same(call(answer, ids, 1), ids[1:], what="the targets of a prompt of one id")


ANSWER_TARGETS = Exercise(
    name="answer_targets",
    title="Only the answer counts",
    difficulty="medium",
    minutes=6,
    statement=(
        "(An answer follows: solve it first.) Write `answer_targets(ids, prompt_length)`. The targets are the ids shifted by "
        "one, as in notebook 04, and every target that belongs to the *prompt* is -100. Take care at the border: which "
        "position predicts the first character of the answer? (`ids[1:]` shows a part of `ids`, and who writes into it writes "
        "into `ids`; `.clone()` makes a copy.)"
    ),
    stub=TARGETS_STUB,
    solution=_targets(": prompt_length - 1"),
    hints=(
        "Write the ids 7 2 9 | 4 8 on paper, with the prompt before the stroke, and below each the one that comes next. Which "
        "of these belong to the prompt?",
        "A prompt of n ids has n - 1 targets of its own, since its first id is nobody's target.",
    ),
    check=check_answer_targets,
    wrong=(
        Wrong("late", _targets(": prompt_length")),
        Wrong("early", _targets(": prompt_length - 2")),
        Wrong("unshifted", _targets(":prompt_length", "ids.clone()")),
        Wrong("not shifted, cut", _targets(":prompt_length", "ids[:-1].clone()")),
        Wrong("nothing masked", filled(TARGETS_STUB, "    return ids[1:].clone()\n")),
        Wrong("answer masked", _targets("prompt_length - 1 :")),
        Wrong("zero", _targets(": prompt_length - 1", mark="0")),
        Wrong("left out", filled(TARGETS_STUB, "    return ids[prompt_length:].clone()\n")),
        Wrong("inplace", _targets(": prompt_length - 1", "ids[1:]")),
    ),
)

# --- share_exact ---

EXACT_STUB = '''def share_exact(logits, targets):
    """The share of rows in which the likeliest character is the target at every position that counts.

    logits: (B, T, V)    targets: (B, T), -100 where nothing is asked    returns: a number from 0 to 1
    """
    ...
'''


def _exact(body: str) -> str:
    return filled(EXACT_STUB, "    guesses = logits.argmax(dim=-1)\n" + body)


def _rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Five rows: two are right where it counts; of the others one misses its last character, one its first, one all."""
    guesses = torch.tensor(
        [[1, 2, 3, 0, 2, 1], [4, 1, 1, 2, 0, 3], [2, 2, 4, 1, 1, 0], [3, 0, 2, 2, 4, 1], [0, 3, 1, 4, 2, 2]]
    )
    targets = guesses.clone()
    targets[0, :3] = targets[1, :2] = targets[2, :2] = targets[3, :1] = targets[4, :3] = IGNORED
    targets[1, 3:] = IGNORED  # filled up at its end
    targets[2, 5], targets[3, 1] = 3, 1
    targets[4, 3:] = torch.tensor([0, 1, 4])
    logits = torch.randn(5, 6, 5, generator=torch.Generator().manual_seed(4)) + 6.0 * F.one_hot(guesses, 5)
    return logits, targets


def check_share_exact(answer) -> None:
    logits, targets = _rows()
    got = one_number(call(answer, logits, targets), "the share")
    hit, counts = logits.argmax(dim=-1) == targets, targets != IGNORED
    named = {
        "characters": (
            (hit & counts).sum() / counts.sum(),
            "this is the share of *characters* that are right. An answer with one wrong character is a wrong answer.",
        ),
        "all positions": (
            hit.float().mean(),
            "this is the share of right positions over the whole table, those with -100 among them. Look at whole rows, and "
            "at the positions that count.",
        ),
        "ignored as wrong": (
            hit.all(dim=1).float().mean(),
            "no row is right for you, because at positions with -100 no character can be right. What is not asked cannot be "
            "answered wrongly.",
        ),
        "some": (
            (hit & counts).any(dim=1).float().mean(),
            "you count the rows with *at least one* right character. An exact match needs all of them.",
        ),
        "count": (
            (hit | ~counts).all(dim=1).sum().float(),
            "this is how many rows are right. Asked for is their share.",
        ),
        "columns": (
            (hit | ~counts).all(dim=0).float().mean(),
            "you look down the columns: at one position in all rows. An answer is a row.",
        ),
        "last": (
            (hit | ~counts)[:, -1].float().mean(),
            "you look at the last position alone. Every character of the answer has to be right.",
        ),
    }
    for key, (value, message) in named.items():
        if abs(got - float(value)) < 1e-6:
            raise NotYet(key, message)
    same(got, 0.4, what="the share")
    one_row = one_number(call(answer, logits[:1], targets[:1]), "the share")
    same(one_row, 1.0, what="the share of one row that is right")


EXACT = "    hits = {}\n    return hits.{}(dim=1).float().mean().item()\n"
SHARE_EXACT = Exercise(
    name="share_exact",
    title="Right to the last character",
    difficulty="medium",
    minutes=6,
    statement=(
        "Write `share_exact(logits, targets)`: the share of rows in which the likeliest character is the right one at *every* "
        "position that counts. Positions whose target is -100 do not count. (`logits.argmax(dim=-1)` gives the likeliest "
        "character at each position; `a | b` is True where at least one of two tables is; `table.all(dim=1)` is True for a row "
        "that is True throughout.)"
    ),
    stub=EXACT_STUB,
    solution=_exact(EXACT.format("(guesses == targets) | (targets == -100)", "all")),
    hints=(
        "First a table of True and False, (B, T): is this position fine? It is if the guess is right, or if nothing is asked.",
        "Then one True or False for each row. Its mean over the rows, after `.float()`, is the share.",
    ),
    check=check_share_exact,
    wrong=(
        Wrong("ignored as wrong", _exact(EXACT.format("guesses == targets", "all"))),
        Wrong(
            "characters",
            _exact(
                "    asked = targets != -100\n    return (guesses == targets)[asked].float().mean().item()\n"
            ),
        ),
        Wrong("all positions", _exact("    return (guesses == targets).float().mean().item()\n")),
        Wrong("some", _exact(EXACT.format("guesses == targets", "any"))),
        Wrong(
            "count",
            _exact(
                "    hits = (guesses == targets) | (targets == -100)\n    return hits.all(dim=1).sum().item()\n"
            ),
        ),
        Wrong(
            "columns",
            _exact(
                "    hits = (guesses == targets) | (targets == -100)\n    return hits.all(dim=0).float().mean().item()\n"
            ),
        ),
    ),
)

# --- mixed_loss ---

MIXED_STUB = '''def mixed_loss(answers, tales, mix):
    """The loss of two tasks at once: the share `mix` of it is on tales.

    answers: (N,), the losses of single characters of answers    tales: (M,), those of characters of tales
    returns: a tensor with one number
    """
    ...
'''


def check_mixed_loss(answer) -> None:
    answers = torch.tensor([3.0, 2.5, 0.5], requires_grad=True)  # mean 2
    tales = torch.tensor([0.1, 0.5, 0.2, 0.6, 0.3, 0.7, 0.4], requires_grad=True)  # mean 0.4
    mix = 0.25
    got = call(answer, answers, tales, mix)
    if isinstance(got, float):
        raise NotYet(
            "number",
            "your function gives a plain number. Its value may be right, but no gradient can flow through it: return the "
            "tensor, without `.item()`.",
        )
    a, t = answers.detach().mean(), tales.detach().mean()
    refuse_named(
        got.detach() if isinstance(got, torch.Tensor) else got,
        {
            "swapped": (
                mix * a + (1 - mix) * t,
                "the shares are swapped: `mix` is that of the tales, and the rest belongs to the answers.",
            ),
            "sum": (
                a + mix * t,
                "the answers count in full and the tales on top of that. The two shares have to sum to 1, or the loss, and "
                "each step with it, grows with `mix`.",
            ),
            "joined": (
                torch.cat([answers, tales]).detach().mean(),
                "you take one mean over all characters of both. A tale has many more characters than an answer, so the tales "
                "would drown the answers, and `mix` does not matter at all. First a mean for each of the two.",
            ),
            "weighted and joined": (
                torch.cat([(1 - mix) * answers, mix * tales]).detach().mean(),
                "you weight the characters, and then take one mean over all of them: how many characters each side happens to "
                "have still matters. First a mean for each of the two.",
            ),
            "sums": (
                (1 - mix) * answers.detach().sum() + mix * tales.detach().sum(),
                "you add the characters up. The more characters, the larger the sum: a mean for each is asked for.",
            ),
            "halves": ((a + t) / 2, "answers and tales count equally here. Where is `mix`?"),
        },
    )
    same(got.detach(), (1 - mix) * a + mix * t, what="the loss")
    same(call(answer, answers, tales, 0.0).detach(), a, what="the loss for mix = 0")
    if not got.requires_grad:
        raise NotYet(
            "no gradient",
            "the value is right, but the gradient is cut off on the way (`detach` or `no_grad`?), and nothing would be learnt.",
        )


def _mixed(expression: str) -> str:
    return filled(MIXED_STUB, f"    return {expression}\n")


MIXED_LOSS = Exercise(
    name="mixed_loss",
    title="Learn without forgetting",
    difficulty="easy",
    minutes=4,
    statement=(
        "(An answer follows: solve it first.) Write `mixed_loss(answers, tales, mix)`, the loss of a step that learns to answer "
        "and goes on reading tales: the share `mix` is the mean loss on the tales, the rest, `1 - mix`, the mean loss on the "
        "answers. There are far more characters of tales than of answers; that must not matter."
    ),
    stub=MIXED_STUB,
    solution=_mixed("(1 - mix) * answers.mean() + mix * tales.mean()"),
    hints=(
        "Two means, one for each of the two tensors, each with its share in front of it.",
        "The two shares sum to 1. With mix = 0 the tales must not count at all.",
    ),
    check=check_mixed_loss,
    wrong=(
        Wrong("joined", _mixed("torch.cat([answers, tales]).mean()")),
        Wrong("weighted and joined", _mixed("torch.cat([(1 - mix) * answers, mix * tales]).mean()")),
        Wrong("swapped", _mixed("mix * answers.mean() + (1 - mix) * tales.mean()")),
        Wrong("sum", _mixed("answers.mean() + mix * tales.mean()")),
        Wrong("sums", _mixed("(1 - mix) * answers.sum() + mix * tales.sum()")),
        Wrong("halves", _mixed("(answers.mean() + tales.mean()) / 2")),
        Wrong("number", _mixed("((1 - mix) * answers.mean() + mix * tales.mean()).item()")),
        Wrong("no gradient", _mixed("(1 - mix) * answers.detach().mean() + mix * tales.detach().mean()")),
    ),
)

# --- merged_weight ---

MERGED_STUB = '''def merged_weight(W, A, B, alpha):
    """The weight of a plain layer that computes what a layer with LoRA computes.

    W: (out, in), the frozen weight    A: (rank, in)    B: (out, rank)    alpha: a number
    returns: (out, in)
    """
    ...
'''


def _merged(expression: str, before: str = "") -> str:
    return filled(MERGED_STUB, f"{before}    return {expression}\n")


def check_merged_weight(answer) -> None:
    dice = torch.Generator().manual_seed(15)
    # Square, so that a wrong order of the two factors raises no error by its shape alone.
    W, A, B = (torch.randn(shape, generator=dice) for shape in ((6, 6), (2, 6), (6, 2)))
    got = call(answer, W, A, B, 8.0)
    product = B @ A
    refuse_named(
        got,
        {
            "scale": (
                W + product,
                "the correction is added as it is. It counts alpha / rank times, in the layer and so in the weight too.",
            ),
            "alpha": (
                W + 8.0 * product,
                "the correction counts alpha times here. It is alpha / rank times: a larger rank adds up more terms, and the "
                "division makes up for it.",
            ),
            "upside down": (
                W + 2 / 8.0 * product,
                "you multiply by rank / alpha: the fraction is upside down.",
            ),
            "other size": (
                W + 8.0 / 6 * product,
                "you divide by 6, which is a size of the layer. The rank is the short side of A and of B: rows of A, columns "
                "of B.",
            ),
            "turned": (
                W + 4.0 * product.t(),
                "your correction is turned: rows and columns are exchanged. For a square weight no shape complains. W is "
                "(out, in), and so is B @ A.",
            ),
            "correction": (
                4.0 * product,
                "this is the correction alone. Where is the weight that it corrects?",
            ),
            "subtracted": (W - 4.0 * product, "the correction is subtracted here."),
            "everything": (
                4.0 * (W + product),
                "alpha / rank multiplies W too. Only the correction is scaled: with B = 0 the weight must stay as it was.",
            ),
        },
    )
    same(got, W + 4.0 * product, what="the weight")
    W, A, B = (torch.randn(shape, generator=dice) for shape in ((5, 7), (3, 7), (5, 3)))
    same(call(answer, W, A, B, 6.0), W + 2.0 * B @ A, what="the weight of a layer from 7 to 5 numbers")


MERGED_WEIGHT = Exercise(
    name="merged_weight",
    title="Two layers become one",
    difficulty="easy",
    minutes=5,
    statement=(
        "(An answer follows: solve it first.) With LoRA a layer computes `x @ W.T` and adds `alpha / rank` times "
        "`x @ A.T @ B.T`. Write `merged_weight(W, A, B, alpha)`: the one weight with which a plain layer gives the same. The "
        "rank is the number of rows of `A`."
    ),
    stub=MERGED_STUB,
    solution=_merged("W + alpha / rank * B @ A", before="    rank = A.shape[0]\n"),
    hints=(
        "What is `x @ A.T @ B.T` as one product of x with something? Turning a product round turns both factors and their order.",
        "W is (out, in). Which product of A and B has that shape, and how often does it count?",
    ),
    check=check_merged_weight,
    wrong=(
        Wrong("scale", _merged("W + B @ A")),
        Wrong("alpha", _merged("W + alpha * B @ A")),
        Wrong("upside down", _merged("W + A.shape[0] / alpha * B @ A")),
        Wrong("other size", _merged("W + alpha / A.shape[1] * B @ A")),
        Wrong("turned", _merged("W + alpha / A.shape[0] * A.T @ B.T")),
        Wrong("correction", _merged("alpha / A.shape[0] * B @ A")),
        Wrong("everything", _merged("alpha / A.shape[0] * (W + B @ A)")),
        Wrong("inplace", _merged("W.add_(alpha / A.shape[0] * B @ A)")),
    ),
)  # fmt: skip

EXERCISES = [ANSWER_TARGETS, SHARE_EXACT, MIXED_LOSS, MERGED_WEIGHT]
