"""The exercises of notebook 13: a range-checked option, a preset, a main function with exit codes, gradients of parts."""

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, in_words, refuse_named, same

# --- whole_number ---

WHOLE_STUB = '''def whole_number(least):
    """A function for `type=`: it turns a text into a whole number of at least `least`.

    least: a whole number    returns: a function from a text to an int
    For any other text that function raises argparse.ArgumentTypeError, with the text and `least` in its message.
    """
    ...
'''
REFUSE = 'raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")'
TRY_INT = (
    "        try:\n            value = int(text)\n        except ValueError:\n            value = None\n"
)
DIGITS = "        value = int(text) if text.isdigit() else None\n"
SWALLOWED = 'raise ValueError(f"{text!r} is below {least}")'
INT_OR_SENTENCE = TRY_INT.replace("value = None", f"{REFUSE} from None")
NO_TEXT = 'raise argparse.ArgumentTypeError(f"a whole number of at least {least}, please")'
NO_LIMIT = 'raise argparse.ArgumentTypeError(f"{text!r} is wrong")'


def _whole(body: str) -> str:
    """A whole_number whose inner function, parse(text), has this body."""
    return filled(WHOLE_STUB, f"    def parse(text):\n{body}\n    return parse\n")


def _limited(test: str, refuse: str = REFUSE, convert: str = TRY_INT) -> str:
    return _whole(
        f"{convert}        if value is None or {test}:\n            {refuse}\n        return value\n"
    )


def _refusal(parse: Callable, text: str) -> tuple[str, object]:
    """What a parser makes of a bad text: ("refused", its sentence), ("lost", the error) or ("taken", the value)."""
    try:
        return "taken", parse(text)
    except argparse.ArgumentTypeError as error:
        return "refused", str(error)
    except (ValueError, TypeError) as error:
        return "lost", error


def _must_refuse(parse: Callable, least: int, text: str) -> None:
    """Raise NotYet unless `parse` refuses `text` with a sentence that names the text and the limit."""
    how, what = _refusal(parse, text)
    if how == "lost" and text == "abc":
        raise NotYet(
            "error of int",
            f'{text!r} ends in {type(what).__name__}, as `int` raised it. argparse catches that and says only "invalid parse '
            'value", not what is allowed. Catch it, and raise argparse.ArgumentTypeError with a sentence of your own.',
        )
    if how == "lost":
        raise NotYet(
            "sentence lost",
            f"{text!r} ends in {type(what).__name__}. argparse shows the sentence of an argparse.ArgumentTypeError only; that of "
            "any other error is lost.",
        )
    if how == "taken" and text == "2.7":
        raise NotYet(
            "rounded", f"'2.7' becomes {in_words(what)}. It is not a whole number, so it is refused."
        )
    if how == "taken" and what == least:
        raise NotYet(
            "moved",
            f"{text!r} becomes {what} without a word. Whoever typed it meant something else and should be told.",
        )
    if how == "taken" and least > 1:
        raise NotYet(
            "always 1", f"with least={least}, {text!r} is taken. Is your limit a 1 where `least` should be?"
        )
    if how == "taken":
        raise NotYet(
            "no limit", f"with least={least}, {text!r} is taken: {in_words(what)}. What is too small?"
        )
    if text not in what:
        raise NotYet("text not named", f"your sentence is {what!r}. Which text was wrong? Name it.")
    if str(least) not in what.replace(text, "", 1):
        raise NotYet("limit not named", f"your sentence is {what!r}. Say what would be right: the limit.")


def check_whole_number(answer) -> None:
    parsers = {least: call(answer, least) for least in (1, 4, -5)}
    for parse in parsers.values():
        if not callable(parse):
            raise NotYet(
                "no function",
                f"`whole_number(1)` gives {in_words(parse)}. It should give a function, for argparse to call with the text: "
                "define one inside, and return it without calling it.",
            )
    got = call(parsers[1], "7")
    if isinstance(got, str):
        raise NotYet(
            "still a text", "'7' comes back as a text. Of a text, `* 2` makes '77': return the number."
        )
    same(got, 7, what="what becomes of '7'")
    for least, text in ((4, "4"), (1, "1"), (-5, "-3")):
        how, _ = _refusal(parsers[least], text)
        if how != "taken" and int(text) == least:
            raise NotYet(
                "limit excluded",
                f"with least={least}, {text!r} is refused. Of at least {least} means that {least} itself is allowed.",
            )
        if how != "taken":
            raise NotYet(
                "no minus",
                f"with least={least}, {text!r} is refused. It is a whole number: `isdigit` knows no minus sign, `int` does.",
            )
        same(call(parsers[least], text), int(text), what=f"what becomes of {text!r}")
    for least, text in ((1, "0"), (1, "-12"), (4, "3"), (1, "abc"), (1, "2.7"), (1, "")):
        _must_refuse(parsers[least], least, text)


WHOLE_NUMBER = Exercise(
    name="whole_number",
    title="A number with a limit",
    difficulty="medium",
    minutes=8,
    statement=(
        "(An answer follows: solve it first.) `type=` takes any function that turns a text into a value. Write "
        "`whole_number(least)`: it *makes* such a function, so that `type=whole_number(1)` takes 1, 2, 3 and so on, and refuses "
        "`0`, `-1`, `2.7` and `abc`, each with a sentence such as `'0' is not a whole number of at least 1`. To refuse, raise "
        "`argparse.ArgumentTypeError(sentence)`: argparse shows that sentence. (Of other errors it shows only that there was "
        "one. `int(text)` raises a ValueError for what is no whole number.)"
    ),
    stub=WHOLE_STUB,
    solution=_limited("value < least"),
    hints=(
        "A function inside a function: `def parse(text): ...` within `whole_number`, and at the end give `parse` back, without "
        "brackets. `parse` may use `least`.",
        "`try: value = int(text)`, `except ValueError:` note that there is no value. Then one test for both faults, no value "
        "or a value below the limit, and one `raise`.",
    ),
    check=check_whole_number,
    wrong=(
        Wrong("no limit", filled(WHOLE_STUB, "    return int\n")),
        Wrong(
            "error of int",
            _whole(
                f"        value = int(text)\n        if value < least:\n            {REFUSE}\n        return value"
            ),
        ),
        Wrong("sentence lost", _limited("value < least", SWALLOWED, INT_OR_SENTENCE)),
        Wrong("limit excluded", _limited("value <= least")),
        Wrong("always 1", _limited("value < 1 and least > 0")),
        Wrong(
            "moved",
            _whole(
                f"{TRY_INT}        if value is None:\n            {REFUSE}\n        return max(value, least)"
            ),
        ),
        Wrong("rounded", _limited("value < least", convert=TRY_INT.replace("int(text)", "int(float(text))"))),
        Wrong("no minus", _limited("value < least", convert=DIGITS)),
        Wrong("text not named", _limited("value < least", NO_TEXT)),
        Wrong("limit not named", _limited("value < least", NO_LIMIT)),
        Wrong("still a text", _limited("value < least").replace("return value", "return text")),
        Wrong("no function", filled(WHOLE_STUB, "    return int(least)\n")),
    ),
)

# --- with_preset ---

PRESET_STUB = '''def with_preset(make_parser, presets, argv):
    """The settings of a command line: first the defaults, then the preset that it names, then its own options.

    make_parser: gives a new parser, which has an option --preset    presets: {name: {setting: value}}
    argv: a list of texts    returns: what parse_args gives, a Namespace; whatever comes later in this order wins
    """
    ...
'''
PRESETS = {"fast": {"steps": 20, "batch_size": 4}, "long": {"steps": 9000, "rate": "0.0001"}}
COMMANDS = (
    [],
    ["--preset", "fast"],
    ["--preset", "fast", "--steps", "7"],
    ["--steps", "7", "--preset", "long"],
    ["--preset=fast"],
    ["--preset", "fast", "--batch-size", "12"],  # the default, asked for
    ["--preset", "fast", "--steps=7"],
    ["--rate", "0.5"],
)


def _preset(body: str) -> str:
    return filled(PRESET_STUB, body)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train.py")
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--steps", type=_plain_number, default=100)
    parser.add_argument("--batch-size", type=_plain_number, default=12)
    parser.add_argument("--rate", default="0.003")
    return parser


def _plain_number(text: str) -> int:
    return int(text)


ASK = "    parser = make_parser()\n    args = parser.parse_args(argv)\n"
ANSWERS = {  # key -> body
    "right": "    parser = make_parser()\n    name = parser.parse_known_args(argv)[0].preset\n"
    "    parser.set_defaults(**presets.get(name, {}))\n    return parser.parse_args(argv)\n",
    "preset wins": f"{ASK}    for name, value in presets.get(args.preset, {{}}).items():\n"
    "        setattr(args, name, value)\n    return args\n",
    "no preset": f"{ASK}    return args\n",
    "like the default": f"{ASK}    for name, value in presets.get(args.preset, {{}}).items():\n"
    "        if getattr(args, name) == parser.get_default(name):\n            setattr(args, name, value)\n    return args\n",
    "only with a blank": "    parser = make_parser()\n    if '--preset' in argv:\n"
    "        parser.set_defaults(**presets[argv[argv.index('--preset') + 1]])\n    return parser.parse_args(argv)\n",
    "equals sign": f"{ASK}    for name, value in presets.get(args.preset, {{}}).items():\n"
    "        if '--' + name.replace('_', '-') not in argv:\n            setattr(args, name, value)\n    return args\n",
    "options lost": "    parser = make_parser()\n    name = parser.parse_args(argv).preset\n"
    "    parser.set_defaults(preset=name, **presets.get(name, {}))\n    return parser.parse_args([])\n",
    "too late": "    parser = make_parser()\n    args = parser.parse_args(argv)\n"
    "    parser.set_defaults(**presets.get(args.preset, {}))\n    return args\n",
}
MESSAGES = {
    "preset wins": "the preset overwrites what was typed: `--preset fast --steps 7` gives 20 steps. Who types an option means it.",
    "no preset": "the preset changes nothing: `--preset fast` gives the settings of no preset at all. (`set_defaults` has to come "
    "before the parsing that counts.)",
    "like the default": "you take an option that has its default value for one that was not given. `--preset fast --batch-size 12` "
    "asks for 12, although 12 is the default. Change the defaults *before* you parse.",
    "only with a blank": "you look for the word `--preset`. argparse also takes `--preset=fast`, and then you miss it. Let the "
    "parser find the preset.",
    "equals sign": "you look for the words of the options. argparse also takes `--steps=7`, and then the preset overwrites it. Let "
    "the parser do the reading.",
    "options lost": "the preset counts, but what was typed besides it is lost: `--preset fast --steps 7` gives 20 steps, and "
    "`--rate 0.5` alone gives the default. What does your last parsing read?",
}


def _settings(answer: Callable) -> list[dict]:
    """What an answer gives for each of the COMMANDS. Raises NotYet for what is no Namespace."""
    found = []
    for argv in COMMANDS:
        got = call(answer, _make_parser, PRESETS, argv)
        if not isinstance(got, argparse.Namespace):
            raise NotYet(
                "type", f"a Namespace is asked for, as parse_args gives it; yours is {in_words(got)}."
            )
        found.append(vars(got))
    return found


def _function(body: str) -> Callable:
    space: dict = {}
    exec(_preset(body), space)
    return space["with_preset"]


def check_with_preset(answer) -> None:
    found = _settings(answer)
    for key, message in MESSAGES.items():
        if found == _settings(_function(ANSWERS[key])):
            raise NotYet(key, message)
    for argv, got, want in zip(COMMANDS, found, _settings(_function(ANSWERS["right"])), strict=True):
        same(got, want, what=f"what becomes of `{' '.join(argv) or '(no options)'}`")


WITH_PRESET = Exercise(
    name="with_preset",
    title="Presets that give way",
    difficulty="hard",
    minutes=10,
    statement=(
        "(An answer stands further down, in the course's own command: solve it first.) Write `with_preset(make_parser, presets, "
        "argv)`. `make_parser()` gives a parser that has an option `--preset`. The "
        "settings of the preset take the place of the defaults, and options that were typed win over both, wherever they stand "
        "and however they are written (`--steps 7` or `--steps=7`). Two methods help: `parser.parse_known_args(argv)[0]` is a "
        "first look that passes over what it does not know, and `parser.set_defaults(steps=20)` changes a default "
        "(`set_defaults(**settings)` those of a dict). Without "
        "`--preset`, `.preset` is None. To try yours, take `make_parser` and `PRESETS` from above: "
        '`with_preset(make_parser, PRESETS, ["--preset", "fast", "--steps", "7"])` should give 7 steps and a batch size of 4.'
    ),
    stub=PRESET_STUB,
    solution=_preset(ANSWERS["right"]),
    hints=(
        "An option that was not typed gets the default. So if the defaults are those of the preset, parsing does the rest.",
        "Two looks at the same argv: the first only to learn the name of the preset. Between them `set_defaults(**settings)`, "
        "with `presets.get(name, {})` for the case that there is none.",
    ),
    check=check_with_preset,
    wrong=(
        *(Wrong(key, _preset(ANSWERS[key])) for key in MESSAGES),
        Wrong("raised", _preset(ANSWERS["right"].replace("presets.get(name, {})", "presets[name]"))),
    ),
)

# --- count_lines ---

LINES_STUB = '''def count_lines(argv=None):
    """The main function of a script: prints how many lines the file of --text has, and nothing else.

    argv: a list of texts, or None for those of the command line
    returns: the exit code: 0, or 1 where there is no such file, with a sentence about it on sys.stderr
    """
    parser = argparse.ArgumentParser(prog="count_lines.py")
    parser.add_argument("--text", type=Path, required=True, help="a text file")
    ...
'''
PARSE = "    args = parser.parse_args(argv)\n"
MISSING = (
    "    if not args.text.is_file():\n"
    '        print(f"error: there is no file {args.text}", file=sys.stderr)\n        return 1\n'
)
COUNT = '    lines = args.text.read_text(encoding="utf-8").splitlines()\n    print(len(lines))\n'


def _lines(
    *, parse: str = PARSE, missing: str = MISSING, count: str = COUNT, end: str = "    return 0\n"
) -> str:
    return filled(LINES_STUB, f"{parse}{missing}{count}{end}")


def _called(answer: Callable, argv: list[str] | None) -> tuple[object, str, str]:
    """(what it returned, stdout, stderr) of a main function. Raises NotYet where it leaves by sys.exit."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = call(answer, argv)
        except NotYet as error:
            if "SystemExit" in error.message and "2" in err.getvalue() + error.message and argv is None:
                raise NotYet(
                    "not from the terminal",
                    "called without a list, your function ends with an error of argparse. None has to reach `parse_args` as it "
                    "is: then argparse takes the words of the command line.",
                ) from None
            if "SystemExit" in error.message:
                raise NotYet(
                    "leaves",
                    "your function ends by `sys.exit`. In a script that ends the program, and whoever calls the function from a "
                    "notebook gets an error in place of a number: return the code.",
                ) from None
            if "FileNotFoundError" in error.message:
                raise NotYet(
                    "traceback",
                    "a file that is not there ends in a FileNotFoundError, and in a terminal in a traceback. A command says in a "
                    "sentence what is wrong, and returns 1.",
                ) from None
            raise
    return code, out.getvalue(), err.getvalue()


def check_count_lines(answer) -> None:
    with tempfile.TemporaryDirectory() as name:
        lamp, other = Path(name) / "lamp.txt", Path(name) / "other.txt"
        lamp.write_text("one lamp\ntwo lamps\nno lamp\n", encoding="utf-8", newline="\n")
        other.write_text("a wood\n" * 5, encoding="utf-8", newline="\n")
        with patch.object(sys, "argv", ["count_lines.py", "--text", str(other)]):
            code, out, _ = _called(answer, ["--text", str(lamp)])
            if out.strip() == "5":
                raise NotYet(
                    "argv ignored",
                    "your function was called with a list, and read the words of the command line instead. `parse_args()` without "
                    "an argument does that: hand `argv` on.",
                )
            _judge_whole(code, out)
            code, out, _ = _called(answer, None)
        same(out.strip(), "5", what="what is printed for the file that the command line names")
        code, out, err = _called(answer, ["--text", str(Path(name) / "nothing.txt")])
        _judge_missing(code, out, err)


def _judge_whole(code: object, out: str) -> None:
    if isinstance(code, bool):
        raise NotYet(
            "True",
            f"your function returns {code}. An exit code is a number, 0 for success; True would count as 1, which says that "
            "something failed.",
        )
    if code == 3:
        raise NotYet(
            "count as the code",
            "your function returns the number of lines. As an exit code, every number but 0 says that something failed: print the "
            "count, return 0.",
        )
    same(code, 0, what="the exit code for a file that is there")
    same(out.strip(), "3", what="what is printed for a file of 3 lines")


def _judge_missing(code: object, out: str, err: str) -> None:
    if code == 0:
        raise NotYet(
            "always 0",
            "for a file that is not there your function returns 0. The next program in the line would take that for success.",
        )
    same(code, 1, what="the exit code for a file that is not there")
    if out.strip() and not err.strip():
        raise NotYet(
            "on stdout",
            "your sentence about the missing file goes to standard output, where the count belongs: a program that reads the count "
            "would read the sentence. Print it with `file=sys.stderr`.",
        )
    if not err.strip():
        raise NotYet(
            "silent",
            "for a file that is not there your function says nothing on sys.stderr: say what is missing.",
        )
    same(out.strip(), "", what="what is printed to standard output for a file that is not there")


COUNT_LINES = Exercise(
    name="count_lines",
    title="A main function",
    difficulty="medium",
    minutes=9,
    statement=(
        "Write `count_lines(argv=None)`, the main function of a script that counts the lines of a text file; the parser is there "
        "already. It prints the number alone and returns 0. Where there is no such file, it prints a sentence to `sys.stderr` "
        "(the second output of a program, kept for messages: `print(sentence, file=sys.stderr)`) and returns 1. It must work "
        "from a notebook, with a list of words, and from a terminal, where `argv` is None. (`args.text` is a Path: it has "
        '`is_file()` and `read_text(encoding="utf-8")`.)'
    ),
    stub=LINES_STUB,
    solution=_lines(),
    hints=(
        "First `args = parser.parse_args(argv)`: with a list it reads the list, with None the command line.",
        "Two ends: the code 1 after the sentence where `args.text.is_file()` is False, and the code 0 after the number. Only "
        "the last line of a script, outside of this function, calls sys.exit.",
    ),
    check=check_count_lines,
    wrong=(
        Wrong("argv ignored", _lines(parse="    args = parser.parse_args()\n")),
        Wrong("not from the terminal", _lines(parse="    args = parser.parse_args(argv or [])\n")),
        Wrong("count as the code", _lines(end="    return len(lines)\n")),
        Wrong("True", _lines(end="    return True\n")),
        Wrong("leaves", _lines(end="    sys.exit(0)\n")),
        Wrong("always 0", _lines(missing=MISSING.replace("return 1", "return 0"))),
        Wrong("on stdout", _lines(missing=MISSING.replace(", file=sys.stderr", ""))),
        Wrong("silent", _lines(missing="    if not args.text.is_file():\n        return 1\n")),
        Wrong("traceback", _lines(missing="")),
    ),
)

# --- join_gradients ---

JOIN_STUB = '''def join_gradients(gradients, rows):
    """The gradient of a whole batch, from the gradients of its parts.

    gradients: a list of tensors of one shape, each the gradient of the *mean* loss of its part
    rows: how many rows each part has, a list of whole numbers    returns: a tensor of that shape
    """
    ...
'''
PAIRS = "zip(rows, gradients, strict=True)"


def _join(expression: str) -> str:
    return filled(JOIN_STUB, f"    return {expression}\n")


def check_join_gradients(answer) -> None:
    dice = torch.Generator().manual_seed(13)
    gradients = [size * torch.randn(4, 3, generator=dice) for size in (1.0, 0.3, 2.0)]
    rows = [5, 2, 8]
    one, two, three = gradients
    whole = sum(rows)
    got = call(answer, gradients, rows)
    refuse_named(
        got,
        {
            "plain mean": (
                (one + two + three) / 3,
                "you take the plain mean: each part counts the same, however few rows it has. A row of the part with 2 rows would "
                "then weigh four times as much as one of the part with 8.",
            ),
            "sum": (
                one + two + three,
                "you add the gradients up. Each is a mean already, so three parts give a step about three times too long.",
            ),
            "not divided": (
                5 * one + 2 * two + 8 * three,
                "you weigh each part by its rows, and that is right; the sum is still to be divided by the number of all rows.",
            ),
            "divided by the parts": (
                (5 * one + 2 * two + 8 * three) / 3,
                "you divide by the number of parts. What you have added up is rows: divide by how many there are of those.",
            ),
            "weighed twice": (
                (one / 5 + two / 2 + three / 8) / 3,
                "you divide each gradient by its rows. That was done already when the mean loss was taken.",
            ),
            "upside down": (
                (one / 5 + two / 2 + three / 8) / (1 / 5 + 1 / 2 + 1 / 8),
                "small parts weigh more than large ones in your mean. Which way round should it be?",
            ),
            "largest part": (
                three,
                "you keep the gradient of the largest part alone. The other rows say something too.",
            ),
        },
    )
    same(got, (5 * one + 2 * two + 8 * three) / whole, what="the gradient of the whole batch")
    same(call(answer, gradients[:2], [4, 4]), (one + two) / 2, what="the gradient of two equal halves")


JOIN_GRADIENTS = Exercise(
    name="join_gradients",
    title="Parts of unequal size",
    difficulty="easy",
    minutes=6,
    statement=(
        "With two equal halves the plain mean is enough. With parts of 5, 2 and 8 rows it is not. Write "
        "`join_gradients(gradients, rows)`: the gradient of the mean loss over all rows, made from the gradients of the mean "
        "losses of the parts. (The mean loss of a part is the sum over its rows, divided by their number. For the whole batch, "
        "every row counts the same.)"
    ),
    stub=JOIN_STUB,
    solution=_join(f"sum(n * g for n, g in {PAIRS}) / sum(rows)"),
    hints=(
        "Turn each mean back into a sum over its rows. Then add these up.",
        "A mean over 5 rows times 5 is their sum. `zip(rows, gradients)` gives the pairs; at the end comes one division.",
    ),
    check=check_join_gradients,
    wrong=(
        Wrong("plain mean", _join("sum(gradients) / len(gradients)")),
        Wrong("sum", _join("sum(gradients)")),
        Wrong("not divided", _join(f"sum(n * g for n, g in {PAIRS})")),
        Wrong("divided by the parts", _join(f"sum(n * g for n, g in {PAIRS}) / len(rows)")),
        Wrong("weighed twice", _join(f"sum(g / n for n, g in {PAIRS}) / len(rows)")),
        Wrong("upside down", _join(f"sum(g / n for n, g in {PAIRS}) / sum(1 / n for n in rows)")),
        Wrong("largest part", _join("gradients[rows.index(max(rows))]")),
        Wrong(
            "inplace",
            filled(
                JOIN_STUB,
                f"    for n, g in {PAIRS}:\n        g.mul_(n)\n    return sum(gradients) / sum(rows)\n",
            ),
        ),
    ),
)

EXERCISES = [WHOLE_NUMBER, WITH_PRESET, COUNT_LINES, JOIN_GRADIENTS]
