"""Talk to a trained model, from the command line.

    python -m helpers.chat                                          # your own GPT, else the shipped one
    python -m helpers.chat --checkpoint data/mine.pt --temperature 0.7 --seed 1

A plain model goes on with what you type. One that was trained on questions (its checkpoint says so) answers them.
Introduced by notebook 14 (section 68 of the lecture), which shows the same `Chat` as a widget.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from torch import nn

from helpers import checkpoints
from helpers.arguments import add_sampling_options, number, whole
from helpers.device import pick_device
from helpers.sampling import check_sampling, stream
from helpers.stopping import StopAfterStep
from helpers.token_files import END_OF_TEXT
from helpers.tokenizer import CharTokenizer, Tokenizer

HELP = """What you type is put behind the text so far, and the model goes on from there.
/temperature 0.5   more cautious below 1, bolder above; 0 = always the likeliest
/reset             forget the text so far
/quit              leave (or Ctrl-D; on Windows Ctrl-Z and Enter)
Ctrl-C stops a reply. A line that is to begin with / needs a space before it."""
NO_LIMIT = 1000  # tokens of history for a model without a context length
BLANK_LINE = "\n\n"


class Chat:
    """A conversation with a model, without a screen: `say` gives the reply in pieces, `command` handles /commands.

    style: None for a plain model, whose reply ends at a blank line; or {"question": "Q: ", "answer": "A: ",
    "end": "\\n"} for one trained on such pairs, whose reply stops at `end`. seed: the same lines get the same replies.
    notice: called with a sentence when a line is not taken as it is. history: the turns so far, each as text.
    Raises ValueError for settings that cannot work.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        *,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        max_new: int = 200,
        seed: int | None = None,
        style: dict[str, str] | None = None,
        notice: Callable[[str], object] = print,
    ):
        check_sampling(temperature, top_k, top_p)
        if isinstance(max_new, bool) or not isinstance(max_new, int) or max_new < 1:
            raise ValueError(
                f"max_new={max_new!r}, but a reply has at most a whole number of tokens, 1 or more"
            )
        self.model, self.tokenizer, self.notice = model, tokenizer, notice
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.max_new, self.seed, self.style = max_new, seed, check_style(style)
        self.context = getattr(getattr(model, "config", None), "block_size", NO_LIMIT)
        self.history: list[str] = []
        self.replies = 0
        self.closed = False  # after /quit

    def say(self, line: str) -> Iterator[str]:
        """The reply to a line, in pieces as the model writes them; closing the iterator stops the reply.

        An empty line gets no reply. What was said, also of a reply that was stopped, becomes part of the history.
        """
        line = self._known(line)
        if not line.strip():
            return
        before, line, after = self._fit(line)
        stop = self.style["end"] if self.style else BLANK_LINE
        said = ""
        try:
            for _ in range(2):  # twice where a plain model begins with a blank line: it goes on below that
                prompt = "".join(self.history) + before + line + after + said
                for piece in self._stream(prompt, stop):
                    said += piece
                    yield piece
                if said.strip() or self.style:
                    break
                said = BLANK_LINE
        finally:
            self.history.append(before + line + after + said + stop)
            self.replies += 1

    def command(self, line: str) -> str:
        """Do what a line that begins with / asks for; returns a sentence about it."""
        name, _, value = line.strip().partition(" ")
        if name == "/quit":
            self.closed = True
            return "Good bye."
        if name == "/reset":
            self.history, self.replies = [], 0
            return "The text so far is forgotten."
        if name == "/temperature":
            try:
                self.temperature = number(0)(value.strip())
            except argparse.ArgumentTypeError as error:
                return f"{error}; it stays {self.temperature:g}. For example: /temperature 0.5"
            return f"The temperature is {self.temperature:g} now."
        if name == "/help":
            return HELP
        return f"There is no command {name}. There are /temperature, /reset, /quit and /help."

    def _stream(self, prompt: str, stop: str) -> Iterator[str]:
        """The model's continuation of a prompt."""
        seed = None if self.seed is None else (self.seed + self.replies) % 2**63
        options = {} if not isinstance(self.tokenizer, CharTokenizer) else {"unknown": "replace"}
        return stream(
            self.model, self.tokenizer, prompt, self.max_new, stop=stop, temperature=self.temperature,
            top_k=self.top_k, top_p=self.top_p, seed=seed, cache="stride", **options,
        )  # fmt: skip

    def _known(self, line: str) -> str:
        """The line in the characters of the vocabulary, without ends of line or text in it."""
        line = line.rstrip("\r\n").replace(END_OF_TEXT, "")
        if not isinstance(self.tokenizer, CharTokenizer):
            return line
        return self.tokenizer.decode(self.tokenizer.encode(line, unknown="replace", notice=self.notice))

    def _count(self, text: str) -> int:
        """Tokens of a text."""
        if isinstance(self.tokenizer, CharTokenizer):
            return len(text)
        return len(self.tokenizer.encode(text))

    def _fit(self, line: str) -> tuple[str, str, str]:
        """(before, line, after) of a new turn; old turns leave the history, and a long line is cut, to fit the context."""
        before = self.style["question"] if self.style else ""
        after = self.style["end"] + self.style["answer"] if self.style else ""
        # A quarter of the context stays free for the reply, so that it begins with all of this in view.
        room = max(1, self.context - min(self.max_new, self.context // 4))
        whole_line = self._count(line)
        while len(line) > 1 and self._count(before + line + after) > room:
            over = self._count(before + line + after) - room
            line = line[min(len(line) - 1, over) :]
        if self._count(line) < whole_line:
            self.notice(
                f"this line has {whole_line} tokens, and the model sees {self.context}: "
                f"only its last {self._count(line)} are read"
            )
        fallen = 0
        while self.history and self._count("".join(self.history) + before + line + after) > room:
            self.history.pop(0)
            fallen += 1
        if fallen:
            turns = "the oldest turn" if fallen == 1 else f"the {fallen} oldest turns"
            self.notice(f"{turns} fell out of the context of {self.context} tokens")
        return before, line, after


def check_style(style: dict | None) -> dict | None:
    """The style, if it can be one. Raises ValueError where a part is missing or is no text."""
    if style is None:
        return None
    names = ("question", "answer", "end")
    if not isinstance(style, dict) or not all(isinstance(style.get(name), str) for name in names):
        raise ValueError(
            f'the style of a chat is {{"question": ..., "answer": ..., "end": ...}}, not {style!r}'
        )
    if not style["end"]:
        raise ValueError("the style of a chat has an empty end: no reply would ever stop")
    return {name: style[name] for name in names}


def visible(text: str) -> str:
    """The text without signs that would steer a terminal; each is shown as U+FFFD (�)."""
    return "".join(
        c
        if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000)
        else "\ufffd"
        for c in text
    )


def talk(chat: Chat, read: Callable[[str], str] = input) -> int:
    """The chat in a terminal, until /quit or the end of input (0), or Ctrl-C twice at the prompt (130)."""
    interrupted = False
    while not chat.closed:
        try:
            line = read("> ")
        except EOFError:  # Ctrl-D
            print()
            return 0
        except KeyboardInterrupt:
            print()
            if interrupted:
                return 130
            interrupted = True
            print("(To leave: /quit, or Ctrl-C once more.)")
            continue
        interrupted = False
        if line.startswith("/"):
            print(chat.command(line))
        elif not line.strip():
            print("(Type a few words, or /help.)")
        else:
            _reply(chat, line)
    return 0


def _reply(chat: Chat, line: str) -> None:
    """Show the reply as it comes; Ctrl-C stops it."""
    stopped = anything = False
    try:
        with StopAfterStep() as asked, closing(chat.say(line)) as pieces:
            for piece in pieces:
                anything = anything or bool(piece.strip())
                print(visible(piece), end="", flush=True)
                if asked.requested:
                    stopped = True
                    break
            stopped = stopped or asked.requested
    except KeyboardInterrupt:  # a second one, while a slow model is at work
        stopped = True
    print("" if anything else "(The model wrote nothing.)")
    if stopped:
        print("(stopped)")


def make_parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    ap = argparse.ArgumentParser(
        prog="python -m helpers.chat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ap.add_argument(
        "--checkpoint", type=Path, help="a file of `save` (default: data/my_gpt.pt, else the shipped model)"
    )
    ap.add_argument("--max-new", type=whole(1), default=200, help="tokens in a reply at most (default 200)")
    add_sampling_options(ap)
    ap.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the best that is there)")
    return ap


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 1 a clear message was printed, 130 Ctrl-C)."""
    args = make_parser().parse_args(argv)
    for file in (
        sys.stdin,
        sys.stdout,
    ):  # what a terminal cannot show or did not send right becomes a stand-in
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="replace")
    try:
        device = pick_device(args.device)
        if args.checkpoint is None:
            kept, which = checkpoints.load_mine_or_shipped(device)
        else:
            kept, which = checkpoints.load(args.checkpoint, device), args.checkpoint.name
        style = kept.info.get("chat")
        chat = Chat(
            kept.model, kept.tokenizer, temperature=args.temperature, top_k=args.top_k, top_p=args.top_p,
            max_new=args.max_new, seed=args.seed, style=style, notice=lambda text: print(f"({visible(text)})"),
        )  # fmt: skip
        print(f"You talk to {which}. " + ("Ask a question." if style else "It goes on with what you type."))
        print("/help shows the commands; /quit or Ctrl-D leaves.")
        return talk(chat)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130


if __name__ == "__main__":
    sys.exit(main())
