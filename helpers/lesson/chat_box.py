"""The chat of `python -m helpers.chat` as a small widget.

    chat_box(Chat(model, tokenizer, seed=1), start=["Once upon a time"])

A line, a button, and the conversation below, which grows while the model writes. A saved notebook, or a Python without
ipywidgets, shows the conversation that came from the lines of `start`.
"""

import html
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from helpers.chat import Chat, visible
from helpers.lesson.figures import in_notebook
from helpers.lesson.widgets import WIDGET

HEIGHT = 260  # pixels of the conversation; a longer one can be scrolled

_last: "ChatBox | None" = None


class ChatBox:
    """A chat with what was said so far: `lines` of (who, text), who being "you", "model" or "note"."""

    def __init__(self, chat: Chat, start: Sequence[str] = ()) -> None:
        self.chat, self.lines = chat, []
        chat.notice = lambda text: self._add("note", text)
        self._page: Any = None  # the HTML widget, once there are widgets
        for line in [start] if isinstance(start, str) else start:
            self.send(line)

    def send(self, line: str) -> None:
        """Say a line, or do a command, and show the reply as it comes. An interrupt of the kernel stops the reply."""
        if not line.strip():
            self._add("note", "Type a few words, or /help.")
            return
        if line.startswith("/"):
            said = self.chat.command(line)
            if line.strip() == "/reset":
                self.lines.clear()
            self._add(
                "note", "This chat stays open: close the notebook to leave." if self.chat.closed else said
            )
            self.chat.closed = False
            return
        self._add("you", line)
        reply = ""
        try:
            with closing(self.chat.say(line)) as pieces:
                for piece in pieces:
                    if not reply:
                        self.lines.append(("model", ""))
                    reply += visible(piece)
                    self.lines[-1] = ("model", reply)
                    self._show()
        except KeyboardInterrupt:
            self._add("note", "stopped")
            return
        except (ValueError, RuntimeError) as error:  # the box stays usable
            self._add("note", f"error: {error}")
            return
        if not reply.strip():
            self._add("note", "The model wrote nothing.")

    def _add(self, who: str, text: str) -> None:
        self.lines.append((who, visible(text)))
        self._show()

    def _show(self) -> None:
        if self._page is not None:
            self._page.value = self.page(live=True)

    @property
    def text(self) -> str:
        """The conversation as plain text."""
        marks = {"you": "> ", "model": "", "note": "  "}
        return "\n".join(
            f"({text})" if who == "note" else marks[who] + text.strip("\n") for who, text in self.lines
        )

    def page(self, live: bool = False) -> str:
        """The conversation as HTML; live: in a box of one height, with its newest line in view."""
        styles = {"you": "font-weight: 600", "model": "", "note": "font-style: italic; opacity: 0.75"}
        marks = {"you": "&gt; ", "model": "", "note": ""}
        parts = [
            f'<div style="white-space: pre-wrap; margin: 0 0 6px; {styles[who]}">'
            f"{marks[who]}{html.escape(text.strip(chr(10)))}</div>"
            for who, text in self.lines
        ]
        # Turned round twice: a box whose first line is at the bottom stays scrolled to its newest line.
        size = (
            f"height: {HEIGHT}px; overflow: auto; display: flex; flex-direction: column-reverse; "
            if live
            else ""
        )
        return (
            f'<div class="course-chat" role="log" aria-live="polite" style="{size}max-width: 760px; font-size: 13px; '
            'line-height: 18px; color: var(--jp-content-font-color1, inherit)"><div>'
            f"{''.join(parts)}</div></div>"
        )

    def widget(self):
        """The live widget. Raises ImportError without ipywidgets."""
        import ipywidgets as widgets

        wide = widgets.Layout(width="min(520px, 70%)")
        self.field = widgets.Text(placeholder="Type a line, or /help", description="You:", layout=wide)
        self.field.on_msg(self._pressed)
        self.button = widgets.Button(description="Send", layout=widgets.Layout(width="80px"))
        self._page = widgets.HTML(value=self.page(live=True))
        self.button.on_click(self._clicked)
        return widgets.VBox([self._page, widgets.HBox([self.field, self.button])])

    def _pressed(self, _field, content, _buffers) -> None:
        """The page says that Enter was pressed in the field."""
        if content.get("event") == "submit":
            self._clicked(self.button)

    def _clicked(self, _button) -> None:
        line, self.field.value = self.field.value, ""
        self.button.disabled = True
        try:
            self.send(line)
        finally:
            self.button.disabled = False

    def message(self) -> dict:
        """Data of the display: what is there without a kernel."""
        return {"text/html": self.page(), "text/plain": self.text or "(a chat, nothing said yet)"}


def chat_box(chat: Chat, *, start: Sequence[str] = ()) -> None:
    """Show a chat to type into.

    chat: it keeps the conversation and its settings. start: lines said at once, whose replies a saved notebook shows.
    Returns None; `last()` gives the ChatBox.
    """
    global _last
    box = _last = ChatBox(chat, start)
    if not in_notebook():
        return
    from IPython.display import display

    data = box.message()
    try:
        widget = box.widget()
    except ImportError:
        display(data, raw=True)
        print(
            "(To type lines of your own: pip install ipywidgets, then restart the kernel; or change start=... above.)"
        )
        return
    display(data | {WIDGET: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}, raw=True)


def last() -> "ChatBox | None":
    """The box that was made last, for tests."""
    return _last
