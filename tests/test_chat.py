"""The chat: in Python, through a pseudo-terminal, and as a box in a notebook."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers import chat as command
from helpers import checkpoints
from helpers.bpe import BPETokenizer
from helpers.chat import Chat, talk, visible
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lesson import chat_box
from helpers.tokenizer import CharTokenizer

ROOT = Path(__file__).resolve().parent.parent
LETTERS = CharTokenizer("\n :?QAabcdefgh.")
STYLE = {"question": "Q: ", "answer": "A: ", "end": "\n"}


def always(character: str, then: dict[str, str] | None = None, context: int = 40) -> GPTLanguageModel:
    """A GPT that writes one character after any other, with exceptions {before: after}."""
    V = LETTERS.vocab_size
    model = GPTLanguageModel(GPTConfig(V, context, 1, 1, 2 * V)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.ln_f.weight.fill_(1.0)
        one_hot = torch.eye(V)  # and its negative, so that the mean is 0 before LayerNorm as after it
        model.token_embedding_table.weight.copy_(torch.cat([one_hot, -one_hot], dim=1))
        for before in LETTERS.characters:
            after = (then or {}).get(before, character)
            model.lm_head.weight[LETTERS.characters.index(after), LETTERS.characters.index(before)] = 9.0
    return model


def made(model: GPTLanguageModel, **options) -> tuple[Chat, list[str]]:
    """A chat at temperature 0 and the list of its notices."""
    notices = []
    return Chat(model, LETTERS, notice=notices.append, **{"temperature": 0, "max_new": 5} | options), notices


def reply(chat: Chat, line: str) -> str:
    return "".join(chat.say(line))


# --- what is said ---


def test_a_plain_model_goes_on_with_the_text_so_far_up_to_a_blank_line():
    chat, notices = made(always("d", {"d": ".", ".": "\n", "\n": "\n"}))
    assert reply(chat, "ab") == "d." and reply(chat, "c") == "d."
    assert chat.history == ["abd.\n\n", "cd.\n\n"] and notices == []


def test_a_plain_model_that_begins_with_a_blank_line_goes_on_below_it(monkeypatch):
    chat, _ = made(always("d", {"c": "\n", "\n": "\n"}))
    assert reply(chat, "c") == ""  # and below it there is nothing but line ends
    texts = iter(["", "dd"])  # what the model writes up to a blank line
    prompts = []
    monkeypatch.setattr(
        command, "stream", lambda m, t, prompt, *a, **o: prompts.append(prompt) or iter(next(texts))
    )
    assert reply(chat, "c") == "dd" and prompts[1] == prompts[0] + "\n\n"
    assert chat.history[-1] == "c\n\ndd\n\n"


def test_a_model_for_questions_gets_its_format_and_stops_at_its_end(monkeypatch):
    prompts, chat = [], made(always("d", {" ": "b", "b": "c", "c": ".", ".": "\n"}), style=STYLE)[0]
    real = command.stream
    monkeypatch.setattr(
        command, "stream", lambda m, t, prompt, *a, **o: prompts.append(prompt) or real(m, t, prompt, *a, **o)
    )
    assert reply(chat, "a?") == "bc." and reply(chat, "h?") == "bc."
    assert prompts == ["Q: a?\nA: ", "Q: a?\nA: bc.\nQ: h?\nA: "]


def test_empty_lines_get_no_reply_and_change_nothing():
    chat, notices = made(always("d"))
    for line in ("", "  ", "\n", "\r\n", "\x03"):
        assert reply(chat, line) == ""
    assert chat.history == [] and notices == []


def test_unknown_characters_are_replaced_with_a_notice():
    chat, notices = made(always("d"))
    reply(chat, "a\u20acb\u20ac!")
    assert notices == ["'\u20ac', '!' not in the vocabulary: replaced by '?'"]
    assert chat.history[0].startswith("a?b??")


def test_old_turns_fall_out_of_the_context_with_a_notice_and_the_reply_has_room():
    chat, notices = made(always("d", context=20))
    for line in ("aa", "bb", "cc", "ee"):
        assert reply(chat, line) == "ddddd"
    assert chat.history == [
        "ccddddd\n\n",
        "eeddddd\n\n",
    ]  # 18 tokens; one turn and the next line are 11, two are 20
    assert notices == ["the oldest turn fell out of the context of 20 tokens"] * 2


@pytest.mark.parametrize("style", [None, STYLE])
def test_a_line_longer_than_the_context_is_cut_with_a_notice(style):
    chat, notices = made(always("d", context=20), style=style)
    reply(chat, "a" * 300 + "bc")
    assert len(notices) == 1 and notices[0].startswith(
        "this line has 302 tokens, and the model sees 20: only its last"
    )
    kept = chat.history[0].split("bc")[0].removeprefix("Q: ")
    assert set(kept) == {"a"} and len(kept) + 2 == int(re.search(r"last (\d+)", notices[0])[1]) <= 15


def test_byte_pairs_take_any_line():
    tokenizer = BPETokenizer.train("the cat the hat", 260)
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(tokenizer.vocab_size, 16, 1, 1, 8))
    notices = []
    chat = Chat(model, tokenizer, seed=1, max_new=6, notice=notices.append)
    for line in ("the \u20ac", "\U0001f600" * 40, "\udc80 cat"):
        reply(chat, line)
    assert len(notices) >= 2 and "this line has 160 tokens, and the model sees 16" in notices[1] + notices[0]


def test_a_reply_that_is_stopped_stays_in_the_history():
    chat, _ = made(always("d"))
    pieces = chat.say("a")
    assert next(pieces) + next(pieces) == "dd"
    pieces.close()
    assert chat.history == ["add\n\n"] and not chat.model.training


def test_the_same_lines_get_the_same_replies_with_a_seed_also_after_a_reset():
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(LETTERS.vocab_size, 30, 1, 1, 8))
    chat, _ = made(model, temperature=1.0, seed=3, max_new=12)
    first = [reply(chat, "ab"), reply(chat, "ab")]
    chat.command("/reset")
    assert chat.history == [] and [reply(chat, "ab"), reply(chat, "ab")] == first and first[0] != first[1]


def test_commands_do_what_they_say_and_unknown_ones_are_named():
    chat, _ = made(always("d"))
    assert chat.command("/temperature 0.5") == "The temperature is 0.5 now." and chat.temperature == 0.5
    for bad in (
        "/temperature",
        "/temperature hot",
        "/temperature -1",
        "/temperature nan",
        "/temperature inf",
    ):
        assert "is not a number of at least 0; it stays 0.5" in chat.command(bad) and chat.temperature == 0.5
    assert "There is no command /exit" in chat.command("/exit now") and not chat.closed
    assert all(name in chat.command("/help") for name in ("/temperature", "/reset", "/quit"))
    chat.command("/quit")
    assert chat.closed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"max_new": 0}, "max_new=0"),
        ({"style": {"question": "Q"}}, "the style of a chat is"),
        ({"style": {**STYLE, "end": ""}}, "empty end"),
        ({"style": "Q: "}, "the style of a chat is"),
    ],
)
def test_settings_that_cannot_work_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        made(always("d"), **options)


def test_signs_that_steer_a_terminal_are_shown_as_stand_ins():
    assert visible("a\x1b[2J\tb\n\x07\x9b\ud800\u00e9") == "a\ufffd[2J\tb\n\ufffd\ufffd\ufffd\u00e9"


# --- the loop, without a terminal ---


def typed(*lines):
    """A stand-in for input(): gives these lines, raises those that are exceptions, then the end of input."""
    left = list(lines)

    def read(prompt):
        line = left.pop(0) if left else EOFError()
        if isinstance(line, BaseException):
            raise line
        return line

    return read


def test_ctrl_c_at_the_prompt_says_how_to_leave_and_a_second_one_leaves(capsys):
    chat, _ = made(always("d"))
    assert (
        talk(chat, typed(KeyboardInterrupt(), "ab", KeyboardInterrupt(), KeyboardInterrupt(), "never")) == 130
    )
    out = capsys.readouterr().out
    assert out.count("Ctrl-C once more") == 2 and "ddddd" in out and len(chat.history) == 1


def test_empty_lines_are_asked_again_and_the_end_of_input_ends_with_0(capsys):
    """Case 54."""
    chat, _ = made(always("d"))
    assert talk(chat, typed("", "   ", "ab")) == 0
    assert capsys.readouterr().out.count("Type a few words") == 2 and len(chat.history) == 1
    assert talk(made(always("d"))[0], typed("/quit", "never")) == 0


def test_a_reply_without_a_word_is_named(capsys):
    chat, _ = made(always("\n"))
    talk(chat, typed("ab"))
    assert "(The model wrote nothing.)" in capsys.readouterr().out


def test_files_that_are_no_checkpoint_end_with_a_message_and_exit_code_1(tmp_path, capsys):
    assert command.main(["--checkpoint", str(tmp_path / "none.pt"), "--device", "cpu"]) == 1
    (tmp_path / "bad.pt").write_bytes(b"no")
    assert command.main(["--checkpoint", str(tmp_path / "bad.pt"), "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "there is no checkpoint" in error and "bad.pt" in error
    checkpoints.save(tmp_path / "odd.pt", always("d"), LETTERS, chat={"question": 3})
    assert command.main(["--checkpoint", str(tmp_path / "odd.pt"), "--device", "cpu"]) == 1
    assert "the style of a chat is" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--max-new", "--temperature", "--top-k", "--top-p", "--seed"])
def test_no_number_option_takes_what_cannot_work(option, capsys):
    for value in ("-1", "abc", "nan", ""):
        with pytest.raises(SystemExit) as stopped:
            command.make_parser().parse_args([option, value])
        assert stopped.value.code == 2 and option in capsys.readouterr().err


# --- the command as a process ---

WRITES_ON = 100_000  # tokens: so many that the reply lasts until it is stopped


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two checkpoints: a plain one, and one that was trained on questions."""
    folder = tmp_path_factory.mktemp("chat")
    checkpoints.save(folder / "plain.pt", always("d"), LETTERS)
    answers = always("d", {" ": "b", "b": "c", "c": ".", ".": "\n"})
    checkpoints.save(folder / "questions.pt", answers, LETTERS, chat=STYLE)
    return folder


def arguments(path: Path, *more: str) -> list[str]:
    start = [
        sys.executable,
        "-X",
        "warn_default_encoding",
        "-W",
        "error::EncodingWarning",
        "-m",
        "helpers.chat",
    ]
    return [*start, "--checkpoint", str(path), "--device", "cpu", "--temperature", "0", *more]


def test_input_that_is_no_utf8_and_an_ascii_terminal_are_no_obstacle(files):
    env = os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": str(ROOT)}
    data = "a\u20ac\n".encode() + b"\xff\xfe b\n/temperature 0\nQ?\n"
    done = subprocess.run(
        arguments(files / "questions.pt"), input=data, capture_output=True, env=env, cwd=ROOT, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, b"")
    out = done.stdout.decode("ascii")
    assert out.count("bc.") == 3 and out.count("not in the vocabulary: replaced by '?'") == 2
    assert "Ask a question." in out and "The temperature is 0 now." in out


class Terminal:
    """The command in a pseudo-terminal, as somebody types into it."""

    def __init__(self, args: list[str]):
        import pty

        self.master, side = pty.openpty()
        env = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "dumb"}

        def own_terminal():  # Ctrl-C in this terminal reaches this process alone
            import fcntl
            import termios

            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)

        self.process = subprocess.Popen(
            args, stdin=side, stdout=side, stderr=side, env=env, cwd=ROOT, preexec_fn=own_terminal
        )
        os.close(side)
        self.seen = ""  # what came and was not waited for yet

    def type(self, keys: str | bytes) -> None:
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def wait_for(self, pattern: str, seconds: float = 240) -> str:
        """What came up to and with the pattern; AssertionError with what came instead."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen, re.S)):
            assert time.monotonic() < end, f"no {pattern!r} in {self.seen[-500:]!r}"
            if select.select([self.master], [], [], 0.5)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:  # the process has ended
                    self.process.wait(30)
                    assert re.search(pattern, self.seen, re.S), (
                        f"ended without {pattern!r}: {self.seen[-500:]!r}"
                    )
        part, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return part

    def interrupt(self, pattern: str) -> str:
        """Ctrl-C at the prompt. One that comes in the instant before Python reads is heard with the next line only."""
        self.type("\x03")
        try:
            return self.wait_for(pattern, 5)
        except AssertionError:
            self.type("\n")
            return self.wait_for(pattern)

    def end(self) -> int:
        """The exit code, once the process has ended."""
        return self.process.wait(240)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal():
    opened = []

    def start(*args: str) -> Terminal:
        opened.append(Terminal(list(args)))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a pseudo-terminal of Linux")
def test_the_chat_in_a_terminal(files, terminal):
    """Cases 12 and 54: empty lines, a line that is too long, Ctrl-C in a reply and at the prompt, and the ways out."""
    one = terminal(*arguments(files / "plain.pt", "--max-new", str(WRITES_ON)))
    one.wait_for(r"It goes on with what you type.*> ")
    one.type("\n")
    one.wait_for(r"Type a few words.*> ")
    one.type("/dance\n")
    one.wait_for(r"There is no command /dance.*> ")
    one.type("ab\u20ac" + "a" * 500 + "\n")
    one.wait_for(r"not in the vocabulary.*this line has 503 tokens.*d{50}")
    one.type("\x03")  # Ctrl-C, in the reply
    one.wait_for(r"\(stopped\).*> ")
    one.type("a\n")
    one.wait_for(r"fell out of the context.*d{50}")  # the chat goes on
    one.type("\x03")
    one.wait_for(r"\(stopped\).*> ")
    one.interrupt(r"To leave.*> ")  # at the prompt
    one.type("\x04")  # Ctrl-D
    assert one.end() == 0

    two = terminal(*arguments(files / "questions.pt"))
    two.wait_for(r"Ask a question.*> ")
    two.type(b"a\xff?\n")
    two.wait_for(r"\nbc\.\r\n> ")
    two.interrupt(r"To leave.*> ")
    time.sleep(1)
    two.type("\x03")
    assert two.end() == 130


# --- the box in a notebook ---


def test_a_box_shows_what_was_said_and_is_a_still_text_without_a_kernel():
    chat, _ = made(always("d", {"d": ".", ".": "\n", "\n": "\n"}))
    assert chat_box.chat_box(chat, start=["ab", "c\u20ac"]) is None
    box = chat_box.last()
    assert box.text.splitlines() == [
        "> ab",
        "d.",
        "> c\u20ac",
        "('\u20ac' not in the vocabulary: replaced by '?')",
        "d.",
    ]
    data = box.message()
    assert (
        data["text/plain"] == box.text
        and "<script" not in data["text/html"]
        and "&gt; ab" in data["text/html"]
    )


def test_what_is_typed_into_the_box_is_answered_as_in_the_terminal():
    chat, _ = made(always("d", {"d": ".", ".": "\n", "\n": "\n"}))
    box = chat_box.ChatBox(chat)
    shown = []
    box.widget()
    box._page.observe(lambda change: shown.append(change["new"]), names="value")
    box.field.value = "<b>a"
    box.field._handle_custom_msg({"event": "submit"}, [])
    assert box.field.value == "" and not box.button.disabled
    assert "d." in shown[-1] and any("d</div>" in page for page in shown[:-1])  # it came in pieces
    assert "<b>" not in box._page.value and "&lt;b&gt;a" in box._page.value
    for line, answer in (
        ("", "Type a few words"),
        ("/temperature 2", "is 2 now"),
        ("/no", "no command"),
        ("/quit", "stays open"),
    ):
        box.field.value = line
        box.button.click()
        assert answer in box._page.value
    assert not chat.closed
    box.field.value = "/reset"
    box.button.click()
    assert "d." not in box._page.value and chat.history == []


def test_an_interrupt_or_an_error_leaves_the_box_usable(monkeypatch):
    chat, _ = made(always("d"))
    box = chat_box.ChatBox(chat)
    for error, word in ((KeyboardInterrupt(), "stopped"), (RuntimeError("no memory"), "no memory")):

        def broken(line, error=error):
            yield "d"
            raise error

        monkeypatch.setattr(chat, "say", broken)
        box.send("a")
        assert word in box.text
    monkeypatch.undo()
    box.send("a")
    assert box.text.endswith("ddddd")
