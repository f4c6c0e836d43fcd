"""The exercise of notebook 00."""

import lzma

from helpers.lesson.exercises import Exercise, NotYet, Wrong, call

STUB = '''def bits_per_character(text):
    """How many bits a character of `text` still costs when lzma has packed it.

    text: a str    returns: a float
    """
    ...
'''

SOLUTION = '''def bits_per_character(text):
    """How many bits a character of `text` still costs when lzma has packed it.

    text: a str    returns: a float
    """
    packed = lzma.compress(text.encode("utf-8"))
    return 8 * len(packed) / len(text)
'''

TEXT = "„Öl für die Lampe“, sagte Zoë, „und Käse für die Mäuse!“ – " * 40  # characters of 1, 2 and 3 bytes


def check(answer) -> None:
    got = call(answer, TEXT)
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        raise NotYet("type", f"the answer is a number of bits, such as 2.5; yours is {got!r}.")
    raw, packed = len(TEXT.encode("utf-8")), len(lzma.compress(TEXT.encode("utf-8")))

    def near(value: float) -> bool:
        return abs(got - value) < 1e-6 * value

    if near(8 * packed / len(TEXT)):
        return
    if near(packed / len(TEXT)):
        raise NotYet("bytes", "these are bytes per character. How many bits has a byte?")
    if near(8 * packed / raw):
        raise NotYet(
            "per byte",
            f"you divide by the number of bytes, {raw:,}. The test text has characters of two and three bytes, so it "
            f"holds only {len(TEXT):,} characters. Which of the two is asked for?",
        )
    if near(packed / raw):
        raise NotYet(
            "share",
            "that is the share that is left, as printed above the bars. Bits per character are asked for.",
        )
    if near(8 * packed):
        raise NotYet(
            "total", "these are the bits of the whole packed text. Per character, how many are that?"
        )
    if near(8 * raw / len(TEXT)):
        raise NotYet(
            "unpacked", "that is what a character costs before packing. Where does `lzma.compress` come in?"
        )
    raise NotYet(
        "values", f"for the test text {8 * packed / len(TEXT):.3f} is right; your function gives {got:.3f}."
    )


def _returning(expression: str) -> str:
    return SOLUTION.replace("8 * len(packed) / len(text)", expression)


EXERCISES = [
    Exercise(
        name="bits_per_character",
        title="What does a character cost?",
        difficulty="easy",
        minutes=4,
        statement=(
            "The bars above came with bits per character. Write the function that computes them: "
            "`bits_per_character(text)` packs the text with `lzma.compress` and shares out the bits of what is left among the "
            "characters of the text. Mind that `compress` takes bytes, and that a character is not always one byte. Then try it "
            "on a long text, such as `bits_per_character(book.text)`: in a very short one, the fixed header of the packed file "
            "costs more than the text itself."
        ),
        stub=STUB,
        solution=SOLUTION,
        hints=(
            'Bytes first: `text.encode("utf-8")`. Then pack them, and count the bytes that are left with `len`.',
            "A byte has 8 bits. Divide by the number of characters, which is the length of the text itself.",
        ),
        check=check,
        wrong=(
            Wrong("bytes", _returning("len(packed) / len(text)")),
            Wrong("per byte", _returning('8 * len(packed) / len(text.encode("utf-8"))')),
            Wrong("share", _returning('len(packed) / len(text.encode("utf-8"))')),
            Wrong("total", _returning("8 * len(packed)")),
            Wrong("none", _returning("8 * len(packed) / len(text)").replace("return ", "")),
        ),
    )
]
