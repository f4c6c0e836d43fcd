"""The exercises of notebook 01: unknown characters, unknown words, bytes, merges, and what a context covers."""

import re
from collections import Counter
from itertools import pairwise

from helpers.bpe import merge
from helpers.lesson.exercises import Exercise, NotYet, Wrong, call, filled, in_words, same


def words(string: str) -> list[str]:
    """Words, single signs and single blanks: as the notebook defines it, for the answers of its exercises."""
    return re.findall(r"\w+|[^\w\s]|\s", string)


NAMES = {"words": words, "merge": merge, "Counter": Counter, "pairwise": pairwise, "re": re}


# --- encode_or_unknown ---

UNKNOWN_STUB = '''def encode_or_unknown(string, string_to_int):
    """The ids of the characters of `string`; an unknown character gets the id after the last one.

    string_to_int: {character: id} with the ids 0, 1, 2 ...    returns: a list, one id for each character
    """
    ...
'''


def _unknown(body: str) -> str:
    return filled(UNKNOWN_STUB, body)


def check_encode_or_unknown(answer) -> None:
    string_to_int = {character: i for i, character in enumerate(" adeglnrs")}
    size = len(string_to_int)
    for string in ("€ a grand lens, 9 €", "sand", "§§"):
        got = call(answer, string, string_to_int)
        wanted = [string_to_int.get(character, size) for character in string]
        known = [string_to_int[character] for character in string if character in string_to_int]
        strange = [character for character in string if character not in string_to_int]
        if not isinstance(got, list | tuple):
            raise NotYet("type", f"a list of ids is asked for; your function gives {in_words(got)}.")
        got = list(got)
        if strange and got == known:
            raise NotYet(
                "dropped",
                f"you leave unknown characters out: {len(string)} characters become {len(got)} ids. Nobody can tell any more "
                "that something stood there. Which id says so?",
            )
        if len(got) == len(string) and strange:
            at = [i for character, i in zip(string, got, strict=True) if character not in string_to_int]
            if set(at) == {-1}:
                raise NotYet(
                    "minus one",
                    "an unknown character gets -1 from you. A model has the rows 0, 1, 2 ...: row -1 does not exist, or it is "
                    "the last one, counted from the end. Which id is still free?",
                )
            if set(at) == {size - 1}:
                raise NotYet(
                    "last one",
                    f"an unknown character gets {size - 1} from you, and that is the id of the last known one. {size} "
                    f"characters have the ids 0 to {size - 1}: which is the next?",
                )
            if len(set(at)) == 1 and at[0] in range(size):
                raise NotYet(
                    "id of another",
                    f"an unknown character gets {at[0]} from you, which is the id of {list(string_to_int)[at[0]]!r} already. "
                    "How would a model tell the two apart?",
                )
            if len(set(strange)) > 1 and len(set(at)) == len(set(strange)) and min(at) >= size:
                raise NotYet(
                    "grows",
                    f"each unknown character gets an id of its own from you, up to {max(at)}. The model has one spare row, "
                    f"so all of them share the id {size}. (Does your code add entries to the dictionary?)",
                )
        same(got, wanted, what=f"what you make of {string!r}")


ENCODE_OR_UNKNOWN = Exercise(
    name="encode_or_unknown",
    title="One id for all strangers",
    difficulty="easy",
    minutes=4,
    statement=(
        "Besides refusing and replacing there is a third way, and many tokenizers take it: one extra id that means "
        "“something that I do not know”. Write `encode_or_unknown(string, string_to_int)`: known characters get their id, "
        "and every unknown one gets the first id that is still free. The dictionary has the ids 0, 1, 2 ... without gaps."
    ),
    stub=UNKNOWN_STUB,
    solution=_unknown(
        "    unknown = len(string_to_int)\n"
        "    return [string_to_int.get(character, unknown) for character in string]\n"
    ),
    hints=(
        "If there are 3 characters with the ids 0, 1 and 2, which id comes next? How do you get it from the dictionary?",
        "`dictionary.get(key, other)` gives `other` where the key is missing.",
    ),
    check=check_encode_or_unknown,
    wrong=(
        Wrong(
            "dropped",
            _unknown(
                "    return [string_to_int[character] for character in string if character in string_to_int]\n"
            ),
        ),
        Wrong(
            "id of another",
            _unknown("    return [string_to_int.get(character, 0) for character in string]\n"),
        ),
        Wrong(
            "minus one", _unknown("    return [string_to_int.get(character, -1) for character in string]\n")
        ),
        Wrong(
            "last one",
            _unknown(
                "    unknown = max(string_to_int.values())\n"
                "    return [string_to_int.get(character, unknown) for character in string]\n"
            ),
        ),
        Wrong(
            "grows",
            _unknown(
                "    ids = []\n"
                "    for character in string:\n"
                "        if character not in string_to_int:\n"
                "            string_to_int[character] = len(string_to_int)\n"
                "        ids.append(string_to_int[character])\n"
                "    return ids\n"
            ),
        ),
        Wrong("raised", _unknown("    return [string_to_int[character] for character in string]\n")),
    ),
)

# --- decode_tokens ---

DECODE_STUB = '''def decode_tokens(tokens):
    """The text whose UTF-8 bytes were cut into `tokens`.

    tokens: a list of bytes    returns: a string
    """
    ...
'''


def _decode(body: str) -> str:
    return filled(DECODE_STUB, body)


def check_decode_tokens(answer) -> None:
    tokens = [
        b"Zo",
        b"\xc3",
        b"\xab",
        b" paid",
        b" 5 \xe2",
        b"\x82\xac",
        b" for",
        b" a \xf0\x9f",
        b"\xa6\x81",
        b".",
    ]
    want = "Zoë paid 5 € for a 🦁."
    try:
        got = call(answer, tokens)
    except NotYet as error:
        if error.key == "raised" and "UnicodeDecodeError" in error.message:
            raise NotYet(
                "each alone",
                f"{error.message} The bytes of one character may lie in two tokens, and half a character cannot be decoded. "
                "What has to happen first?",
            ) from None
        raise
    if isinstance(got, str):
        if got == "".join(token.decode("utf-8", "replace") for token in tokens):
            raise NotYet(
                "replaced",
                f"{got!r} is what your function gives: `replace` hides that half characters were decoded. Whose other half "
                "is in the next token?",
            )
        if got == "".join(token.decode("utf-8", "ignore") for token in tokens):
            raise NotYet(
                "ignored",
                f"{got!r} is what your function gives: three characters are gone, without a word. `ignore` throws away what "
                "cannot be decoded; did it have to be decoded in pieces?",
            )
        if got in (b"".join(tokens).decode("latin-1"), b"".join(tokens).decode("cp1252", "replace")):
            raise NotYet(
                "latin-1",
                f"{got!r} is what your function gives: one character for each byte. In UTF-8 a character may take several.",
            )
        if "b'" in got or 'b"' in got:
            raise NotYet(
                "repr",
                f"your text begins {got[:12]!r}: `str` shows how Python writes bytes down, it does not decode them.",
            )
        if got == b" ".join(tokens).decode("utf-8", "replace"):
            raise NotYet(
                "spaces",
                f"{got!r} has spaces that were in no token. What stands between two tokens of a text?",
            )
    same(got, want, what="the text of your function")


DECODE_TOKENS = Exercise(
    name="decode_tokens",
    title="From bytes back to text",
    difficulty="easy",
    minutes=4,
    statement=(
        "A tokenizer that works on bytes may cut anywhere, in the middle of a character too. Write "
        "`decode_tokens(tokens)`, which gets a list of `bytes` and returns the text. In the check, the `ë` of Zoë lies in "
        "two tokens: `[b'Zo', b'\\xc3', b'\\xab', ...]`."
    ),
    stub=DECODE_STUB,
    solution=_decode('    return b"".join(tokens).decode("utf-8")\n'),
    hints=(
        "Two steps, and their order decides: put together, and decode. Which of them copes with half a character?",
        'Strings are joined with `"".join(...)`, and bytes with `b"".join(...)`.',
    ),
    check=check_decode_tokens,
    wrong=(
        Wrong("each alone", _decode('    return "".join([token.decode("utf-8") for token in tokens])\n')),
        Wrong(
            "replaced",
            _decode('    return "".join([token.decode("utf-8", errors="replace") for token in tokens])\n'),
        ),
        Wrong(
            "ignored",
            _decode('    return "".join([token.decode("utf-8", errors="ignore") for token in tokens])\n'),
        ),
        Wrong("latin-1", _decode('    return "".join([chr(byte) for token in tokens for byte in token])\n')),
        Wrong("repr", _decode('    return "".join([str(token) for token in tokens])\n')),
        Wrong("spaces", _decode('    return b" ".join(tokens).decode("utf-8", errors="replace")\n')),
        Wrong("type", _decode('    return b"".join(tokens)\n')),
    ),
)

# --- unknown_share ---

SHARE_STUB = '''def unknown_share(known_text, new_text):
    """Share of the tokens of `new_text` that do not occur in `known_text`; `words` gives the tokens of both.

    returns: a number from 0 to 1
    """
    ...
'''


def _share(body: str) -> str:
    return filled(SHARE_STUB, body)


def check_unknown_share(answer) -> None:
    known_text = "The lion sang, and the owl slept. The lion and the fox had a lamp."
    new_text = "The bear sang on, and he saw the bear; he had no lamp, so he sang. And no fox, no fox!"
    known, new = words(known_text), words(new_text)
    missing = [token for token in new if token not in set(known)]
    got = call(answer, known_text, new_text)
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise NotYet("type", f"a number from 0 to 1 is asked for; your function gives {in_words(got)}.")

    def is_about(value: float) -> bool:
        return abs(got - value) < 1e-6

    case = (
        f"of the {len(new)} tokens of the new text {len(missing)} are unknown; your function gives {got:.4g}"
    )
    if is_about(len(missing)):
        raise NotYet("count", f"{case}: that is a count. A share is a part of something: of what?")
    if is_about(100 * len(missing) / len(new)):
        raise NotYet("percent", f"{case}: these are percent. A share goes from 0 to 1.")
    if is_about(1 - len(missing) / len(new)):
        raise NotYet("known", f"{case}: the share of those that are known. The others are asked for.")
    if is_about(len(missing) / len(known)):
        raise NotYet(
            "other total",
            f"{case}: you divide by the length of the known text. A share of which text is asked for?",
        )
    if is_about(len(set(missing)) / len(set(new))):
        raise NotYet(
            "different ones",
            f"{case}. That is the share among the different tokens, each counted once. A reader stumbles over an unknown "
            "word each time it comes.",
        )
    if is_about(len(set(missing)) / len(new)):
        raise NotYet(
            "each once",
            f"{case}. You count a missing token once, however often it comes, and divide by all of them. (A difference of "
            "sets forgets how often.)",
        )
    if is_about(sum(token not in known_text for token in new) / len(new)):
        raise NotYet(
            "substring",
            f"{case}. You search the text, not its tokens: 'he' is found in the text, inside 'The', and is no word of it.",
        )
    split_known, split_new = set(known_text.split()), new_text.split()
    if is_about(sum(token not in split_known for token in split_new) / len(split_new)):
        raise NotYet(
            "split",
            f"{case}. With `split` the sign stays at its word, so 'lamp.' and 'lamp,' are two words. `words` cuts them apart.",
        )
    lower = set(words(known_text.lower()))
    if is_about(sum(token not in lower for token in words(new_text.lower())) / len(new)):
        raise NotYet(
            "lower case",
            f"{case}. You made all letters small first. For a tokenizer 'And' and 'and' are two entries: with small letters "
            "alone it could not give back the text.",
        )
    same(got, len(missing) / len(new), what="the share")


UNKNOWN_SHARE = Exercise(
    name="unknown_share",
    title="How much is unknown",
    difficulty="medium",
    minutes=5,
    statement=(
        "Write the measurement above as a function: `unknown_share(known_text, new_text)` is the share of the "
        "tokens of `new_text` that a word tokenizer made from `known_text` has no id for. Use `words` for both texts. A "
        "token that comes three times counts three times."
    ),
    stub=SHARE_STUB,
    solution=_share(
        "    known = set(words(known_text))\n"
        "    new = words(new_text)\n"
        "    return sum(token not in known for token in new) / len(new)\n"
    ),
    hints=(
        "You need two things: the set of known tokens, and the list of new ones. Why a list?",
        "`True` counts as 1, so `sum(...)` over a condition counts how often it holds. Then divide by how many there are.",
    ),
    check=check_unknown_share,
    wrong=(
        Wrong(
            "different ones",
            _share(
                "    known, new = set(words(known_text)), set(words(new_text))\n"
                "    return len(new - known) / len(new)\n"
            ),
        ),
        Wrong(
            "each once",
            _share(
                "    known, new = words(known_text), words(new_text)\n"
                "    return len(set(new) - set(known)) / len(new)\n"
            ),
        ),
        Wrong(
            "substring",
            _share(
                "    new = words(new_text)\n"
                "    return sum(token not in known_text for token in new) / len(new)\n"
            ),
        ),
        Wrong(
            "known",
            _share(
                "    known, new = set(words(known_text)), words(new_text)\n"
                "    return sum(token in known for token in new) / len(new)\n"
            ),
        ),
        Wrong(
            "other total",
            _share(
                "    known, new = words(known_text), words(new_text)\n"
                "    return sum(token not in known for token in new) / len(known)\n"
            ),
        ),
        Wrong(
            "split",
            _share(
                "    known, new = set(known_text.split()), new_text.split()\n"
                "    return sum(token not in known for token in new) / len(new)\n"
            ),
        ),
        Wrong(
            "lower case",
            _share(
                "    known, new = set(words(known_text.lower())), words(new_text.lower())\n"
                "    return sum(token not in known for token in new) / len(new)\n"
            ),
        ),
        Wrong(
            "percent",
            _share(
                "    known, new = set(words(known_text)), words(new_text)\n"
                "    return 100 * sum(token not in known for token in new) / len(new)\n"
            ),
        ),
        Wrong(
            "count",
            _share(
                "    known, new = set(words(known_text)), words(new_text)\n"
                "    return len([token for token in new if token not in known])\n"
            ),
        ),
    ),
)

# --- apply_merges ---

APPLY_STUB = '''def apply_merges(tokens, merges):
    """Encode a new piece with merges that were learnt before.

    tokens: a list of strings    merges: a list of pairs, the first learnt first    returns: a list of strings
    """
    ...
'''


def _apply(body: str) -> str:
    return filled(APPLY_STUB, body)


def _applied(tokens: list[str], merges: list[tuple[str, str]]) -> list[str]:
    for pair in merges:
        tokens = merge(tokens, pair)
    return tokens


def _only_first(tokens: list[str], merges: list[tuple[str, str]]) -> list[str]:
    for pair in merges:
        at = next((i for i, each in enumerate(pairwise(tokens)) if each == pair), None)
        if at is not None:
            tokens = [*tokens[:at], "".join(pair), *tokens[at + 2 :]]
    return tokens


def _longest(tokens: list[str], merges: list[tuple[str, str]]) -> list[str]:
    text, known, found = "".join(tokens), {"".join(pair) for pair in merges}, []
    while text:
        length = next((n for n in range(len(text), 1, -1) if text[:n] in known), 1)
        found.append(text[:length])
        text = text[length:]
    return found


def _as_they_come(tokens: list[str], merges: list[tuple[str, str]]) -> list[str]:
    found = []
    for token in tokens:
        found.append(token)
        while len(found) > 1 and tuple(found[-2:]) in merges:
            found[-2:] = ["".join(found[-2:])]
    return found


def check_apply_merges(answer) -> None:
    merges = [("e", "r"), ("t", "h"), ("h", "e"), ("th", "e"), ("th", "er"), ("r", "e"), ("n", "o")]
    for piece in ("heranother", "banana", "t"):
        tokens = list(piece)
        got = call(answer, tokens, merges)
        if not isinstance(got, list | tuple):
            raise NotYet("type", f"a list of tokens is asked for; your function gives {in_words(got)}.")
        want, got = _applied(tokens, merges), list(got)
        if got == want:
            continue
        case = f"of {piece!r} your function makes {got}"
        if got == tokens:
            raise NotYet(
                "unchanged",
                f"{case}: nothing was merged. `merge` leaves its list as it is and returns a new one: where does that go?",
            )
        if got in [merge(tokens, pair) for pair in merges]:
            raise NotYet(
                "from scratch",
                f"{case}: only one of the merges had an effect. Does each of them start from what the one before it made?",
            )
        if got == _applied(tokens, merges[::-1]):
            raise NotYet(
                "reversed",
                f"{case}: you begin with the merge that was learnt last. A later merge may need what an earlier one made.",
            )
        if got == _only_first(tokens, merges):
            raise NotYet(
                "only the first",
                f"{case}: each pair was merged at its first place only. What does `merge` do?",
            )
        if got == _longest(tokens, merges):
            raise NotYet(
                "longest",
                f"{case}: you take the longest token that fits, from the left. BPE knows no lengths: it repeats the merges "
                "in the order in which they were learnt.",
            )
        if got == _as_they_come(tokens, merges):
            raise NotYet(
                "as they come",
                f"{case}: you go through the piece once and merge whatever is possible. In 'her' you meet ('h', 'e') first, "
                "but ('e', 'r') was learnt earlier, so it goes first, wherever it stands.",
            )
        same(got, want, what=f"what you make of {piece!r}")


APPLY_MERGES = Exercise(
    name="apply_merges",
    title="Encode with merges",
    difficulty="medium",
    minutes=6,
    statement=(
        "Training gave a list of merges. To encode a new piece of text, the same merges are made again, in the order in "
        "which they were learnt, each wherever its pair stands. Write `apply_merges(tokens, merges)`, and use `merge` "
        "from above. Your function gets a list of single characters, not of bytes, so that you can read what it makes; for "
        "`merge` that is all the same."
    ),
    stub=APPLY_STUB,
    solution=_apply("    for pair in merges:\n        tokens = merge(tokens, pair)\n    return tokens\n"),
    hints=(
        "One loop over the merges is enough: `merge` itself finds all places of a pair.",
        "`merge(tokens, pair)` returns a new list and leaves the old one as it was. What must the next merge work on?",
    ),
    check=check_apply_merges,
    wrong=(
        Wrong(
            "unchanged", _apply("    for pair in merges:\n        merge(tokens, pair)\n    return tokens\n")
        ),
        Wrong(
            "from scratch",
            _apply("    for pair in merges:\n        merged = merge(tokens, pair)\n    return merged\n"),
        ),
        Wrong(
            "reversed",
            _apply(
                "    for pair in reversed(merges):\n        tokens = merge(tokens, pair)\n    return tokens\n"
            ),
        ),
        Wrong(
            "only the first",
            _apply(
                "    tokens = list(tokens)\n"
                "    for left, right in merges:\n"
                "        for i in range(len(tokens) - 1):\n"
                "            if tokens[i] == left and tokens[i + 1] == right:\n"
                "                tokens[i : i + 2] = [left + right]\n"
                "                break\n"
                "    return tokens\n"
            ),
        ),
        Wrong(
            "longest",
            _apply(
                '    text, known, found = "".join(tokens), {left + right for left, right in merges}, []\n'
                "    while text:\n"
                "        length = len(text)\n"
                "        while length > 1 and text[:length] not in known:\n"
                "            length -= 1\n"
                "        found.append(text[:length])\n"
                "        text = text[length:]\n"
                "    return found\n"
            ),
        ),
        Wrong(
            "as they come",
            _apply(
                "    found = []\n"
                "    for token in tokens:\n"
                "        found.append(token)\n"
                "        while len(found) > 1 and (found[-2], found[-1]) in merges:\n"
                "            right = found.pop()\n"
                "            found[-1] += right\n"
                "    return found\n"
            ),
        ),
    ),
)

# --- context_in_characters ---

CONTEXT_STUB = '''def context_in_characters(block_size, n_characters, n_tokens):
    """How many characters a window of `block_size` tokens covers, on average.

    n_characters, n_tokens: of the same text    returns: a number
    """
    ...
'''


def _context(expression: str) -> str:
    return filled(CONTEXT_STUB, f"    return {expression}\n")


def check_context_in_characters(answer) -> None:
    for size, characters, tokens in ((50, 9000, 3750), (64, 1000, 375), (30, 400, 500)):
        got = call(answer, size, characters, tokens)
        if isinstance(got, bool) or not isinstance(got, int | float):
            raise NotYet("type", f"a number of characters is asked for; your function gives {in_words(got)}.")
        want = size * characters / tokens
        if abs(got - want) < 1e-6:
            continue
        case = f"block_size={size}, {characters} characters in {tokens} tokens: your function gives {got:.5g}"

        def is_about(value: float, got=got) -> bool:
            return abs(got - value) < 1e-6

        if is_about(characters / tokens):
            raise NotYet("one token", f"{case}. That is what one token covers; how many are in a window?")
        if is_about(tokens / characters):
            raise NotYet(
                "upside down",
                f"{case}. These are tokens per character. Which of the two numbers belongs on top?",
            )
        if is_about(size * tokens / characters):
            raise NotYet(
                "upside down",
                f"{case}. With fewer tokens than characters a token covers more than one character, so the window covers "
                "more than block_size of them. Which of the two numbers belongs on top?",
            )
        if is_about(tokens / size) or is_about(characters / size):
            raise NotYet(
                "windows",
                f"{case}. That is how often a window fits into the text, not how much one of them covers.",
            )
        if is_about(size * (characters // tokens)):
            raise NotYet(
                "floored",
                f"{case}. `//` throws away the part of a character that a token has on average; over {size} tokens that "
                f"adds up to {want - got:.0f} characters. Which division keeps it?",
            )
        same(got, want, what=f"the answer for block_size={size}, {characters} characters and {tokens} tokens")


CONTEXT_IN_CHARACTERS = Exercise(
    name="context_in_characters",
    title="How far back a model sees",
    difficulty="easy",
    minutes=3,
    statement=(
        "A model sees the last `block_size` tokens and nothing before them. With longer tokens the same window reaches "
        "further back in the text. Write `context_in_characters(block_size, n_characters, n_tokens)`: how many characters "
        "does a window cover on average, if a text of `n_characters` characters has `n_tokens` tokens?"
    ),
    stub=CONTEXT_STUB,
    solution=_context("block_size * n_characters / n_tokens"),
    hints=(
        "First for one token: if 100 characters have 25 tokens, how many characters has a token?",
        "A window holds `block_size` tokens, so multiply. Do not round: an average need not be a whole number.",
    ),
    check=check_context_in_characters,
    wrong=(
        Wrong("upside down", _context("block_size * n_tokens / n_characters")),
        Wrong("one token", _context("n_characters / n_tokens")),
        Wrong("windows", _context("n_tokens / block_size")),
        Wrong("floored", _context("block_size * (n_characters // n_tokens)")),
    ),
)

EXERCISES = [ENCODE_OR_UNKNOWN, DECODE_TOKENS, UNKNOWN_SHARE, APPLY_MERGES, CONTEXT_IN_CHARACTERS]
