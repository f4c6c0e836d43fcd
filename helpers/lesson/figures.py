"""One look for all figures, and pictures that stay when a notebook is saved.

    fig, ax = plt.subplots()
    ax.plot(steps, losses)
    show(fig, "Loss against training steps: it falls, fast at first.")

A figure is shown as a PNG with its caption as alternative text. SVG is not used: JupyterLab shows none from a file
that it does not trust yet.
"""

import sys
from contextlib import suppress
from io import BytesIO

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# Okabe and Ito's colours (2008): people with any colour vision can tell them apart.
COLOURS = {
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "pink": "#cc79a7",
    "yellow": "#e69f00",
    "sky": "#56b4e9",
}
DPI = 110  # pixels per inch of the pictures


def use_style() -> None:
    """Give every figure from here on the course's look, whatever matplotlibrc the learner has."""
    plt.style.use("default")
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.0),  # inches
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.facecolor": "white",  # readable in a dark JupyterLab too
            "savefig.facecolor": "white",
            "axes.prop_cycle": plt.cycler(color=list(COLOURS.values())),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "font.family": ["DejaVu Sans"],  # comes with matplotlib, so figures are alike everywhere
            "lines.linewidth": 1.8,
            "image.cmap": "viridis",
        }
    )


def still(fig: Figure) -> bytes:
    """Return the figure as a PNG of its full size, and close it.

    Its size in pixels is its size in inches times DPI, whatever is drawn: pictures of one size do not make the page
    jump. The same figure gives the same bytes.
    """
    with BytesIO() as png:
        try:
            with plt.rc_context({"savefig.bbox": "standard"}):  # a learner's own "tight" would cut it
                fig.savefig(png, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
        finally:
            plt.close(fig)
        return png.getvalue()


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels, from its header."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("these bytes are not a PNG")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def bundle(png: bytes, caption: str) -> tuple[dict, dict]:
    """Return (data, metadata) of a display message for a picture with alternative text."""
    if not caption.strip():
        raise ValueError("a figure needs a caption: a sentence that says what there is to see")
    # The size lets a page keep the place free; JupyterLab still makes no picture wider than the window.
    width, height = size_of(png)
    about = {"alt": caption, "width": width, "height": height}
    return {"image/png": png, "text/plain": f"[figure: {caption}]"}, {"image/png": about}


def show(fig: Figure, caption: str) -> None:
    """Show a figure in the notebook with `caption` as its alternative text, and close it.

    The caption stands in the Markdown cell below, too. Outside of a notebook the figure is closed and nothing is shown.
    """
    data, metadata = bundle(still(fig), caption)
    if in_notebook():
        from IPython.display import display

        display(data, metadata=metadata, raw=True)


def in_notebook() -> bool:
    """Whether this Python runs behind a notebook."""
    if "IPython" not in sys.modules:
        return False
    with suppress(Exception):
        from IPython import get_ipython

        return get_ipython() is not None and hasattr(get_ipython(), "kernel")
    return False
