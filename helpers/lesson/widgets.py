"""Sliders that redraw one picture.

    def draw(d_k):
        fig, ax = plt.subplots()
        ...                                     # reads the notebook's own variables
        return fig                              # or a text, or (fig, text)

    explore(draw, "Attention weights at a head size that you choose.", d_k=[1, 4, 16, 64], start={"d_k": 16})

The picture is one image whose content changes in place: nothing flickers and the page does not jump. A saved notebook,
or a Python without ipywidgets, shows the picture of the start values.
"""

import html
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from helpers.lesson.figures import bundle, in_notebook, size_of, still

WIDGET = "application/vnd.jupyter.widget-view+json"
LINES = (2, 14)  # height of the text part: at least, at most; a longer text can be scrolled
COLUMNS = 80  # characters to a line of the text part in a window of 800 pixels
LINE = 18  # pixels

_last: "Explorer | None" = None


class Explorer:
    """A drawing with its controls. `picture` is the PNG (or None) and `text` the words of the present `values`."""

    def __init__(
        self,
        draw: Callable[..., Any],
        caption: str,
        controls: Mapping[str, Sequence],
        start: Mapping[str, Any] | None = None,
    ) -> None:
        self.draw, self.caption = draw, caption
        self.options = {name: _options(name, given) for name, given in controls.items()}
        if not self.options:
            raise ValueError("explore needs at least one control, such as temperature=[0.5, 1.0, 1.5]")
        self.values = {name: options[0] for name, options in self.options.items()}
        for name, value in (start or {}).items():
            if name not in self.options or value not in self.options[name]:
                known = self.options.get(name, list(self.options))
                raise ValueError(f"explore: start={{{name!r}: {value!r}}}, but there are {known}")
            self.values[name] = value
        self.controls: dict[str, Any] = {}  # name -> widget, once there are widgets
        self._inches: tuple | None = None  # of the first picture, and so of all
        self.picture, self.text = self.drawn(self.values)

    def drawn(self, values: Mapping[str, Any]) -> tuple[bytes | None, str]:
        """Draw these values: (PNG or None, text or ""). No figure that draw opens stays open, errors or not."""
        before = plt.get_fignums()
        try:
            fig, text = _parts(self.draw(**values))
            if fig is None:
                return None, text
            self._inches = self._inches or tuple(fig.get_size_inches())
            fig.set_size_inches(self._inches)
            return still(fig), text
        finally:
            for number in set(plt.get_fignums()).difference(before):
                plt.close(number)

    # --- live ---

    def widget(self):
        """The live widget. Raises ImportError without ipywidgets."""
        import ipywidgets as widgets

        self.controls = {name: self._control(widgets, name) for name in self.options}
        for control in self.controls.values():
            control.observe(self._moved, names="value")
        parts = list(self.controls.values())
        self._image = None
        if self.picture is not None:
            width, _ = size_of(self.picture)
            layout = widgets.Layout(width=f"{width}px", max_width="100%", height="auto", margin="0")
            # No tooltip: JupyterLab then shows a JavaScript error instead of the picture (ipywidgets 8.1).
            self._image = widgets.Image(value=self.picture, format="png", layout=layout)
            parts.append(self._image)
        # The text part is there without a text, too: an error needs a place that does not move the page.
        lines = sum(max(1, len(textwrap.wrap(line, COLUMNS))) for line in self.text.split("\n"))
        self._lines = min(max(lines, LINES[0]), LINES[1])
        self._words = widgets.HTML(value=self._page(self.text))
        return widgets.VBox([*parts, self._words])

    def _control(self, widgets, name: str):
        """A slider; a box for False and True, a list for texts. Its label is the name as the code has it."""
        options, value = self.options[name], self.values[name]
        common = {"value": value, "description": name, "style": {"description_width": "initial"}}
        if set(map(type, options)) == {bool} and len(set(options)) == 2:
            return widgets.Checkbox(indent=False, **common)
        labelled = list(zip(_labels(options), options, strict=True))
        if all(isinstance(each, str) for each in options):
            return widgets.Dropdown(options=labelled, **common)
        layout = widgets.Layout(width="min(480px, 95%)")
        return widgets.SelectionSlider(options=labelled, continuous_update=True, layout=layout, **common)

    def _page(self, text: str) -> str:
        """Text of a fixed height, in the colours of the page."""
        return (
            f'<pre class="course-words" style="margin: 0; height: {LINE * self._lines}px; font-size: 13px; '
            f"line-height: {LINE}px; overflow: auto; white-space: pre-wrap; "
            'color: var(--jp-content-font-color1, inherit)">'
            f"{html.escape(text)}</pre>"
        )

    def _moved(self, change) -> None:
        """Draw anew. The page sends its next move when this one is drawn, and then the newest: moves do not pile up."""
        values = {name: control.value for name, control in self.controls.items()}
        try:
            picture, text = self.drawn(values)
            if (picture is None) != (self.picture is None):
                raise TypeError("draw returned a Figure for some values and only a text for others")
        except Exception as error:  # the old picture stays, and the next move works
            shown = "" if self.picture is None else f" The picture is still that of {_named(self.values)}."
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            self._words.value = self._page(f"{_named(values)}: {said}{_line_of(error, self.draw)}.{shown}")
            return
        self.values, self.picture, self.text = values, picture, text
        if picture is not None:
            self._image.value = picture
        self._words.value = self._page(text)

    # --- saved ---

    def message(self) -> tuple[dict, dict]:
        """Data and metadata of the display: what is there without a kernel, the picture or the text."""
        if self.picture is not None:
            return bundle(self.picture, self.caption)
        return {"text/html": f"<pre>{html.escape(self.text)}</pre>", "text/plain": self.text}, {}


def _options(name: str, given: Iterable) -> list:
    """The options of a control as a list. Raises ValueError where there is nothing to choose from."""
    try:
        options = list(given)
    except TypeError:
        raise ValueError(
            f"explore: the control {name} is {given!r}, but it is a list of values to choose from, such as [1, 2, 4]"
        ) from None
    if not options:
        raise ValueError(f"explore: the control {name} has no options")
    return options


def _labels(options: Sequence) -> list[str]:
    """The options as texts; 0.30000000000000004 is shown as 0.3."""
    short = [f"{each:g}" if isinstance(each, float) else str(each) for each in options]
    return short if len(set(short)) == len(options) else list(map(str, options))


def _parts(result) -> tuple[Figure | None, str]:
    """(Figure or None, text or "") of what draw returned. Raises TypeError for anything else."""
    fig, text = result if isinstance(result, tuple) and len(result) == 2 else (result, "")
    if isinstance(fig, str) and not text:
        fig, text = None, fig
    if not (isinstance(text, str) and (isinstance(fig, Figure) or (fig is None and text))):
        what = "None (is there a return?)" if result is None else repr(result)[:60]
        raise TypeError(f"draw returned {what}, but explore shows a Figure, a text, or (Figure, text)")
    return fig, text


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _line_of(error: Exception, draw: Callable) -> str:
    """Where in draw the error arose, in words; "" where that is not known."""
    trace, code, line = error.__traceback__, getattr(draw, "__code__", None), None
    while trace is not None:
        if trace.tb_frame.f_code is code and code is not None:
            line = trace.tb_lineno - code.co_firstlineno + 1
        trace = trace.tb_next
    return f" (line {line} of {code.co_name})" if line else ""


def explore(
    draw: Callable[..., Any], caption: str, *, start: Mapping[str, Any] | None = None, **controls: Sequence
) -> None:
    """Show what `draw` draws, with a control for each of its arguments.

    draw: called as draw(name=value, ...) at first and after every move; returns a Figure, a text, or (Figure, text): the
    same kind each time. It sees the notebook's variables as they are at that moment. Every picture gets the size of the
    first. An error in a move is shown below the picture.
    controls: name = the values to choose from: a slider, for texts a list, for False and True a box.
    start: the values at first (without it, the first of each). caption: a sentence that says what there is to see.
    Raises ValueError for controls that cannot work, TypeError for another result, and whatever draw raises at first.
    """
    global _last
    explorer = Explorer(draw, caption, controls, start)
    data, metadata = explorer.message()
    _last = explorer
    if not in_notebook():
        return
    from IPython.display import display

    try:
        widget = explorer.widget()
    except ImportError:
        display(data, metadata=metadata, raw=True)
        if explorer.picture is not None and explorer.text:
            print(explorer.text)
        print(
            f"(This is {_named(explorer.values)}. For the others, install the sliders: pip install ipywidgets, "
            "then restart the kernel; or change start=... above and run the cell again.)"
        )
        return
    data |= {WIDGET: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}
    display(data, metadata=metadata, raw=True)


def last() -> "Explorer | None":
    """The explorer that was made last, for tests."""
    return _last
