"""The exercises of notebook 11: files by their first bytes, batches from a map, decoding in pieces, a split by content, a cost."""

import codecs  # noqa: F401  (answers use it)
import functools
import hashlib
import io
import lzma
import random
import tarfile
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from helpers.lesson.exercises import (
    Exercise,
    NotYet,
    Wrong,
    call,
    filled,
    in_words,
    is_near,
    one_number,
    same,
)

# --- batch_from_map ---

MAP_STUB = '''def batch_from_map(mapped, starts, block_size):
    """Inputs and targets of the windows that begin at `starts`.

    mapped: (N,) of uint16, a memory map    starts: (B,) of int64, a tensor
    returns: two tensors of int64, (block_size,) for each start: (B, block_size) each
    """
    ...
'''
PLACES = "    places = (starts.view(-1, 1) + torch.arange(block_size)).numpy()  # (B, T)\n"


def _map(x: str, y: str, before: str = "") -> str:
    return filled(MAP_STUB, f"{before}{PLACES}    x = {x}\n    y = {y}\n    return x, y\n")


def _from_map(places: str, kind: str = "np.int64") -> str:
    return f"torch.from_numpy(mapped[{places}].astype({kind}).astype(np.int64))"


def check_batch_from_map(answer) -> None:
    dice = np.random.default_rng(11)
    ids = dice.integers(0, 1 << 16, 1_000_000).astype("<u2")  # (N,), half of them above 32,767
    T, N = 5, len(ids)
    starts = torch.tensor([7, 300_000, N - T - 1, 12_345])  # (B,), the last possible start among them
    places = starts.view(-1, 1) + torch.arange(T)  # (B, T)
    peak = 0  # bytes that NumPy and Python take meanwhile

    @functools.wraps(answer)
    def measured(*given):
        nonlocal peak
        tracing = tracemalloc.is_tracing()
        if not tracing:
            tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        try:
            return answer(*given)
        finally:
            peak = tracemalloc.get_traced_memory()[1] - before
            if not tracing:
                tracemalloc.stop()

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "ids.bin"
        path.write_bytes(ids.tobytes())
        got = call(measured, np.memmap(path, "<u2", "r"), starts, T)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise NotYet("type", f"two tensors are asked for, x and y; your function gives {in_words(got)}.")
    tensors = torch.from_numpy(ids.astype(np.int64))  # (N,)
    want_x, want_y = tensors[places], tensors[places + 1]  # (B, T) each
    signed = torch.from_numpy(ids.view("<i2").astype(np.int64))  # (N,)
    x, y = got
    if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and x.shape == y.shape == want_x.shape:
        if is_near(x.long(), signed[places]):
            raise NotYet(
                "negative",
                f"some of your ids are negative, such as {int(signed[places].min())}. 16 bits with a sign hold numbers up to "
                "32,767 only; the ids here go up to 65,535. Which type has the file?",
            )
        if is_near(x, want_x) and is_near(y, want_x):
            raise NotYet(
                "unshifted",
                "your targets are the inputs themselves. The target of an id is the one that stands a place further on.",
            )
        if is_near(x, want_x) and is_near(y, want_x + 1):
            raise NotYet(
                "plus one",
                "your targets are the inputs plus 1. Asked for is the id that stands one *place* further on.",
            )
        if is_near(x, want_x) and is_near(y, want_x.flip(0)):
            raise NotYet("values", "your targets belong to other rows than your inputs.")
        if is_near(x, want_y):
            raise NotYet("late", "your windows begin one place after their starts.")
        if is_near(x, want_x[:1].expand_as(want_x)):
            raise NotYet(
                "one start", "all your rows are the same window. There are B starts, a row for each."
            )
    same(x, want_x, what="x")
    same(y, want_y, what="y")
    if peak > N:
        raise NotYet(
            "reads all",
            f"the batch is right, but on the way your code copied {peak / 2**20:.0f} MiB: all ids of the file. Of a corpus that is "
            "longer than memory only the windows may be taken out. Index `mapped` first, convert what comes out.",
        )


BATCH_FROM_MAP = Exercise(
    name="batch_from_map",
    title="A batch out of a map",
    difficulty="medium",
    minutes=7,
    statement=(
        "(An answer follows: solve it first.) Write `batch_from_map(mapped, starts, block_size)` for an array that lies in a "
        "file: the windows that begin at the given starts, and their targets. Take no more out of the map than the batch "
        "needs: the file may be longer than your memory. (An array is indexed by an array, so a tensor of places becomes one "
        "by `.numpy()`. `array.astype(np.int64)` converts, `torch.from_numpy` makes a tensor of an array.)"
    ),
    stub=MAP_STUB,
    solution=_map(
        "torch.from_numpy(mapped[places].astype(np.int64))",
        "torch.from_numpy(mapped[places + 1].astype(np.int64))",
    ),
    hints=(
        "In notebook 04 the places were a table: a column of starts plus a row `torch.arange(block_size)`, (B, T) together.",
        "First index, then convert: `mapped[...]` takes out B · T ids, and only these become int64.",
    ),
    check=check_batch_from_map,
    wrong=(
        Wrong("reads all", _map("ids[places]", "ids[places + 1]", "    ids = torch.from_numpy(mapped.astype(np.int64))\n")),
        Wrong("negative", _map(_from_map("places", "np.int16"), _from_map("places + 1", "np.int16"))),
        Wrong("unshifted", _map(_from_map("places"), _from_map("places"))),
        Wrong("plus one", _map(_from_map("places"), "x + 1")),
        Wrong("late", _map(_from_map("places + 1"), _from_map("np.minimum(places + 2, len(mapped) - 1)"))),
        Wrong("one start", _map(_from_map("places[:1].repeat(len(places), axis=0)"), _from_map("places + 1"))),
        Wrong("dtype", _map("torch.from_numpy(np.array(mapped[places]))", "torch.from_numpy(np.array(mapped[places + 1]))")),
    ),
)  # fmt: skip

# --- kind_of ---

KIND_STUB = '''def kind_of(first):
    """What a file holds, told by its first bytes.

    first: bytes, the first 512 of the file, fewer where it is shorter
    returns: "xz", "tar", "text" or "unknown"
    """
    ...
'''
IS_XZ, IS_TAR = r'first.startswith(b"\xfd7zXZ\x00")', 'first[257:262] == b"ustar"'
IS_TEXT = "len(first) > 0 and 0 not in first"


def _kind(xz: str = IS_XZ, tar: str = IS_TAR, text: str = IS_TEXT, first: str = "") -> str:
    body = f'{first}    if {xz}:\n        return "xz"\n    if {tar}:\n        return "tar"\n'
    body += f'    if {text}:\n        return "text"\n    return "unknown"\n'
    return filled(KIND_STUB, body)


def _a_tar() -> bytes:
    """The first bytes of a tar of one small text."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            about = tarfile.TarInfo("0001.txt")
            about.size = 5
            tar.addfile(about, io.BytesIO(b"crows"))
        return file.getvalue()[:512]


def check_kind_of(answer) -> None:
    words = "A page about file formats: a tar names itself ustar, an xz file has 7zXZ near its beginning. "
    long = ("“" * 170 + words * 9).encode("utf-8")[: 3 * 170]  # 510 bytes of whole characters
    cases = [  # what, its first bytes, what is right, {another answer: (key, message)}
        ("an xz file", lzma.compress(b"seven crows")[:512], "xz", {}),
        (
            "a tar", _a_tar(), "tar",
            {
                "text": ("tar is text", "you take a tar for a text. The header of a tar is plain letters and zero bytes, so it "
                         "can be decoded without an error. Which test has to come first?"),
                "unknown": ("place", "you do not recognise a tar. Its five letters stand at the places 257 to 261; a slice ends "
                            "before its second number."),
            },
        ),
        (
            "a text with the word ustar in it", words.encode("utf-8"), "text",
            {
                "tar": ("anywhere", "you take a text that has the word ustar in it for a tar. In a tar it stands at one place."),
                "xz": ("xz anywhere", "you take a text that has the letters 7zXZ in it for an xz file. Its six bytes come first."),
            },
        ),
        (
            "a text whose last character is cut in two", long + "“".encode()[:2], "text",
            {"unknown": ("cut character", "a text whose 512 bytes end in the middle of a character is \"unknown\" for you. Such a "
                         "cut says nothing about the file: ask for a zero byte, as the exercise says.")},
        ),
        (
            "a text in an old encoding that begins with ý", "ýmir slept, and seven crows came".encode("cp1252"), "text",
            {"xz": ("first byte", "you take a text for xz because of its first byte. All six bytes have to be there.")},
        ),
        (
            "an empty file", b"", "unknown",
            {"text": ("empty", "an empty file is a \"text\" for you. There is no zero byte in it, and nothing else.")},
        ),
        (
            "a picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "unknown",
            {"text": ("zero byte", "a picture is a \"text\" for you. It has zero bytes, and a text has none.")},
        ),
    ]  # fmt: skip
    for what, first, want, named in cases:
        got = call(answer, first)
        if not isinstance(got, str):
            raise NotYet("type", f'a word is asked for, such as "tar"; your function gives {in_words(got)}.')
        if got in named:
            raise NotYet(*named[got])
        same(got, want, what=f"your word for {what}")


KIND_OF = Exercise(
    name="kind_of",
    title="Told by the first bytes",
    difficulty="easy",
    minutes=5,
    statement=(
        "(An answer follows: solve it first.) A file's name can be wrong; its first bytes seldom are. Write `kind_of(first)`. "
        'An xz file begins with the six bytes `b"\\xfd7zXZ\\x00"`. A tar has the five letters `b"ustar"` at the places 257 to 261, '
        "counted from 0. What has no zero byte in it is `\"text\"` (`0 in first` asks for one). All else is `\"unknown\"`, "
        "and so is an empty file."
    ),
    stub=KIND_STUB,
    solution=_kind(),
    hints=(
        "`first.startswith(...)` asks for the beginning, `first[257:262]` cuts five bytes out, and of a short file it is empty.",
        "Ask in the order of the exercise, and let the text come last. `0 not in first` is True for an empty file, too.",
    ),
    check=check_kind_of,
    wrong=(
        Wrong("anywhere", _kind(tar='b"ustar" in first')),
        Wrong("xz anywhere", _kind(xz='b"7zXZ" in first')),
        Wrong("place", _kind(tar='first[256:261] == b"ustar"')),
        Wrong("tar is text", _kind(first='    if first.isascii() and first:\n        return "text"\n')),
        Wrong("cut character", _kind(text=f"{IS_TEXT} and first.decode('utf-8', 'replace')[-1] != chr(0xFFFD)")),
        Wrong("first byte", _kind(xz=r'first[:1] == b"\xfd"')),
        Wrong("empty", _kind(text="0 not in first")),
        Wrong("zero byte", _kind(text="len(first) > 0")),
    ),
)  # fmt: skip

# --- decode_pieces ---

PIECES_STUB = '''def decode_pieces(pieces):
    """The text of UTF-8 bytes that come in pieces, which may be cut anywhere.

    pieces: bytes, one after the other
    yields: texts, one after the other, as soon as their bytes are there; joined they are the whole text
    """
    ...
'''


def _pieces(body: str) -> str:
    return filled(PIECES_STUB, body)


def _each(expression: str, before: str = "", after: str = "") -> str:
    return _pieces(f"{before}    for piece in pieces:\n        yield {expression}\n{after}")


DECODER = '    decoder = codecs.getincrementaldecoder("utf-8")()\n'
STORY = "“Zoë counts seven crows”, said the fox 🦊. « Très drôle! » 七羽の鴉 … "


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _joined(answer, pieces) -> str:
    """All that the learner's function gives for these pieces. Raises NotYet for what gives no texts."""
    given = call(answer, pieces)
    if isinstance(given, bytes) or not hasattr(given, "__iter__"):
        raise NotYet(
            "type", f"texts one after the other are asked for; your function gives {in_words(given)}."
        )
    texts = call(lambda: list(given))
    wrong = next((each for each in texts if not isinstance(each, str)), None)
    if wrong is not None:
        raise NotYet("type", f"your function gives {in_words(wrong)} where a text (a str) is asked for.")
    return "".join(texts)


def check_decode_pieces(answer) -> None:
    for size in (1, 2, 3, 5, 7):
        pieces = _cut(STORY.encode("utf-8"), size)
        try:
            got = _joined(answer, pieces)
        except NotYet as error:
            if error.key == "raised" and "UnicodeDecodeError" in error.message:
                raise NotYet(
                    "piece by piece",
                    f"for pieces of {size} bytes your code raises UnicodeDecodeError, and yet the text is sound. A character of "
                    "two, three or four bytes was cut in two, and each half alone is no character.",
                ) from None
            raise
        for handling, words in (
            ("ignore", "they vanish in silence"),
            ("replace", "each becomes the sign for what cannot be read"),
        ):
            if got == "".join(piece.decode("utf-8", handling) for piece in pieces):
                raise NotYet(
                    handling,
                    f'with errors="{handling}" a character that is cut in two is lost: {words}. Of {len(STORY)} characters '
                    f"you give {len(got)} for pieces of {size} bytes. The halves have to be put together.",
                )
        if got == "".join(piece.decode("latin-1") for piece in pieces):
            raise NotYet("one byte each", "you make a character of each byte. Which encoding has the text?")
        same(got, STORY, what=f"the text of pieces of {size} bytes")
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for piece in _cut(STORY.encode("utf-8") * 20, 7):
            taken += 1
            yield piece

    first = call(lambda: next(iter(answer(counted()))))
    if taken > 4:
        raise NotYet(
            "all at once",
            f"before your first text ({in_words(first)}) you take {taken} pieces. A corpus does not fit into memory: what a "
            "piece gives has to be handed on with `yield` before the next one is taken.",
        )
    broken = [STORY.encode("utf-8")[:-9]]
    try:
        got = _joined(answer, broken)
    except NotYet as error:
        if "UnicodeDecodeError" in error.message:
            return
        raise
    raise NotYet(
        "unfinished",
        "the bytes end in the middle of a character, so the text was cut short, and your function says nothing. What does "
        'the decoder do when it is called once more with `decode(b"", final=True)`?',
    )


DECODE_PIECES = Exercise(
    name="decode_pieces",
    title="Cut in the middle of a character",
    difficulty="hard",
    minutes=7,
    statement=(
        "(An answer follows: solve it first.) A large file is read in pieces, and a piece may end in the middle of a "
        'character. `codecs.getincrementaldecoder("utf-8")()` makes a decoder that keeps what is unfinished: '
        "`decoder.decode(piece)` gives the characters that are complete so far. Write the generator `decode_pieces(pieces)`, "
        'which yields a text for each piece. When there are no more pieces, call `decoder.decode(b"", final=True)` once: it raises '
        "UnicodeDecodeError if a character is still unfinished, and that is right, for then the file was cut short."
    ),
    stub=PIECES_STUB,
    solution=_each("decoder.decode(piece)", before=DECODER, after='    yield decoder.decode(b"", final=True)\n'),
    hints=(
        "One decoder for all pieces, made before the loop: it has to remember what the piece before left over.",
        "A `yield` in the loop for each piece, and one line after the loop for the end.",
    ),
    check=check_decode_pieces,
    wrong=(
        Wrong("piece by piece", _each('piece.decode("utf-8")')),
        Wrong("ignore", _each('piece.decode("utf-8", errors="ignore")')),
        Wrong("replace", _each('piece.decode("utf-8", errors="replace")')),
        Wrong("one byte each", _each('piece.decode("latin-1")')),
        Wrong("all at once", _pieces('    yield b"".join(pieces).decode("utf-8")\n')),
        Wrong("unfinished", _each("decoder.decode(piece)", before=DECODER)),
    ),
)  # fmt: skip

# --- part_of ---

PART_STUB = '''def part_of(document, share):
    """The part that a document belongs to, decided by its text alone.

    document: a str    share: of the validation part, from 0 to 1    returns: "train" or "val"
    """
    ...
'''
NUMBER = (
    '    digest = hashlib.sha256(document.encode("utf-8")).digest()\n'
    '    number = int.from_bytes(digest[:8], "big") / 2**64\n'
)


def _part(condition: str, before: str = NUMBER) -> str:
    return filled(PART_STUB, f'{before}    return "val" if {condition} else "train"\n')


class _Page(str):
    """A text whose `hash` is another one than that of the same str: as in the next Python that is started."""

    def __hash__(self) -> int:
        return 987_654_321


def check_part_of(answer) -> None:
    dice = random.Random(11)
    letters = "abcdefghijklmnop"
    documents = ["".join(dice.choices(letters, k=40 + i % 5)) for i in range(400)]

    def parts(share: float, texts=documents) -> list[str]:
        found = [call(answer, text, share) for text in texts]
        wrong = next((each for each in found if each not in ("train", "val")), None)
        if wrong is not None:
            raise NotYet("type", f'"train" or "val" is asked for; your function gives {in_words(wrong)}.')
        return found

    got = parts(0.2)
    if got != parts(0.2):
        raise NotYet(
            "random",
            "the same page is now in one part, now in the other. A page that stands in the corpus twice would be in both: the "
            "text alone has to decide.",
        )
    if got != parts(0.2, [_Page(text) for text in documents]):
        raise NotYet(
            "hash",
            "you use Python's own `hash`. For texts it is another one each time Python starts, so tomorrow's validation part "
            "would hold pages that you train on today. `hashlib.sha256` gives the same everywhere.",
        )
    lengths = {(len(text), part) for text, part in zip(documents, got, strict=True)}
    if len(lengths) == 5 or len(set(got)) == 1 and len(set(parts(0.2, ["x" * n for n in range(1, 60)]))) == 2:
        raise NotYet(
            "length", "you decide by the length of the page. Long pages are of another kind than short ones."
        )
    alike = ["The weather in the valley of the seven crows, " + text for text in documents[:100]]
    if len(set(parts(0.2, alike))) == 1:
        raise NotYet(
            "beginning",
            "a hundred pages that begin alike are all in one part. Pages of one site often begin alike: take the whole text.",
        )
    share = got.count("val") / len(got)
    if got == parts(0.6):
        raise NotYet(
            "share", "your parts are the same for share=0.2 and share=0.6. Where does `share` come in?"
        )
    if share > 0.7:
        raise NotYet(
            "swapped",
            f"with share=0.2 your validation part has {share:.0%} of the pages: the parts are swapped.",
        )
    digests = [hashlib.sha256(text.encode("utf-8")).digest() for text in documents]
    if all(parts(s) == ["val" if d[0] / 256 < s else "train" for d in digests] for s in (0.2, 0.03)):
        raise NotYet(
            "coarse",
            "you use one byte of the digest, which has 256 values only: with share=0.001 a 256th of the pages would be for "
            "validation, four times too many. Take eight bytes.",
        )
    for asked, found in ((0.2, share), (0.6, parts(0.6).count("val") / len(got))):
        if abs(found - asked) > 0.1:
            raise NotYet("values", f"with share={asked} your validation part has {found:.0%} of 400 pages.")
    for asked, word in ((0, "train"), (1, "val")):
        if set(parts(asked)) != {word}:
            raise NotYet("values", f'with share={asked} every page is "{word}"; yours are not.')


PART_OF = Exercise(
    name="part_of",
    title="The page decides",
    difficulty="medium",
    minutes=6,
    statement=(
        "(An answer follows: solve it first.) Write `part_of(document, share)`: `\"val\"` for about that share of all pages, "
        '`"train"` for the others, and the same part for the same text, whenever and wherever it is asked. '
        '`hashlib.sha256(document.encode("utf-8")).digest()` gives 32 bytes that look random and depend on nothing but the '
        'text; `int.from_bytes(digest[:8], "big")` makes of the first eight a whole number from 0 to $2^{64} - 1$. '
        "(Such a number is called a **hash**.)"
    ),
    stub=PART_STUB,
    solution=_part("number < share"),
    hints=(
        "Divide the whole number by `2**64`: then it lies between 0 and 1, and every place there is equally likely.",
        "Which share of the numbers between 0 and 1 is below `share`?",
    ),
    check=check_part_of,
    wrong=(
        Wrong("hash", _part("hash(document) % 1000 < 1000 * share", before="")),
        Wrong("random", _part("random.random() < share", before="")),
        Wrong("length", _part("len(document) % 10 < 10 * share", before="")),
        Wrong("beginning", _part("number < share", before=NUMBER.replace("document.", "document[:20]."))),
        Wrong("share", _part("number < 0.1")),
        Wrong("swapped", _part("number > share")),
        Wrong("coarse", _part("digest[0] / 256 < share", before=NUMBER.splitlines(keepends=True)[0])),
    ),
)  # fmt: skip

# --- hours_of_run ---

HOURS_STUB = '''def hours_of_run(parameters, tokens, peak, share):
    """How many hours a training takes.

    parameters: of the model    tokens: to train on    peak: operations per second that the machine could do
    share: of the peak that the training reaches, such as 0.4    returns: hours, a float
    """
    ...
'''


def _hours(expression: str) -> str:
    return filled(HOURS_STUB, f"    return {expression}\n")


def check_hours_of_run(answer) -> None:
    N, D, peak, share = 124e6, 9.0e9, 312e12, 0.35
    right = 6 * N * D / (peak * share) / 3600
    named = {
        "forward only": (right / 3, "you count 2 operations for each parameter and token: that is the forward pass alone. The way "
                         "back takes twice as many."),
        "seconds": (right * 3600, "that is in seconds. Asked for are hours."),
        "minutes": (right * 60, "that is in minutes. An hour has 3,600 seconds."),
        "peak reached": (right * share, "you reckon with the full peak. The training reaches only `share` of it."),
        "share on top": (right * share**2, "you multiply the time by `share`: a machine that reaches less of its peak would be "
                         "done sooner."),
        "one operation": (right / 6, "you count one operation for each parameter and token. It is 6: see the rule of notebook 10."),
        "no tokens": (right / D, "the tokens are missing: that is the time for one of them."),
    }  # fmt: skip
    value = one_number(call(answer, N, D, peak, share), "the hours")
    for key, (number, message) in named.items():
        if abs(value - number) < 1e-6 * number:
            raise NotYet(key, message)
    same(value, right, what="the hours")


HOURS_OF_RUN = Exercise(
    name="hours_of_run",
    title="Before you rent a machine",
    difficulty="easy",
    minutes=4,
    statement=(
        "(An answer follows: solve it first.) Write `hours_of_run(parameters, tokens, peak, share)` by the rule of notebook 10: "
        "6 operations for each parameter and each token. `peak` is what the maker of the machine promises, in operations per "
        "second, and `share` is how much of it a training reaches."
    ),
    stub=HOURS_STUB,
    solution=_hours("6 * parameters * tokens / (peak * share) / 3600"),
    hints=(
        "First all operations, then the operations in a second, then divide.",
        "What comes out is in seconds.",
    ),
    check=check_hours_of_run,
    wrong=(
        Wrong("forward only", _hours("2 * parameters * tokens / (peak * share) / 3600")),
        Wrong("seconds", _hours("6 * parameters * tokens / (peak * share)")),
        Wrong("peak reached", _hours("6 * parameters * tokens / peak / 3600")),
        Wrong("share on top", _hours("6 * parameters * tokens / peak * share / 3600")),
        Wrong("one operation", _hours("parameters * tokens / (peak * share) / 3600")),
        Wrong("minutes", _hours("6 * parameters * tokens / (peak * share) / 60")),
    ),
)

EXERCISES = [BATCH_FROM_MAP, KIND_OF, DECODE_PIECES, PART_OF, HOURS_OF_RUN]
