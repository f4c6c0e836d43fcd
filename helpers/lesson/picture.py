"""The picture of the README: the losses of the course, and what the shipped model writes.

    python -m helpers.lesson.picture      # draws notebooks/ladder.png anew

The losses are those that notebook 16 shows at its end, read from its stored output; run this after storing outputs.
"""

import re
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import torch

from helpers import checkpoints
from helpers.lesson.figures import use_style
from helpers.lesson.finding import NOTEBOOKS
from helpers.sampling import generate

PLACE = NOTEBOOKS / "ladder.png"
RUNG = re.compile(r"^  (\S.*?) +(\d\.\d{3})$", re.MULTILINE)
SEED, LENGTH = 7, 545  # of the sample, in characters


def ladder(folder: Path = NOTEBOOKS) -> list[tuple[str, float]]:
    """(name, nats per character) of each rung in the stored output of notebook 16. Raises ValueError for none."""
    notebook = nbformat.read(folder / "16_beyond.ipynb", as_version=4)
    said = [
        output.data["text/plain"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "The loss so far" in output.get("data", {}).get("text/plain", "")
    ]
    if not said:
        raise ValueError("notebook 16 has no stored loss ladder: python -m helpers run --save-outputs")
    return [(name, float(value)) for name, value in RUNG.findall(said[-1])]


def sample() -> str:
    """What the shipped model tells from a blank line on, up to its last full stop."""
    saved = checkpoints.load(checkpoints.SHIPPED)
    ids = torch.from_numpy(saved.tokenizer.encode("\n\n"))[None].long()  # (1, 2)
    written = generate(saved.model, ids, LENGTH, temperature=0.7, seed=SEED)  # (1, 2 + LENGTH)
    text = saved.tokenizer.decode(written[0, 2:].tolist()).strip()
    return text[: text.rfind(".") + 1]


def described(rungs: list[tuple[str, float]]) -> bytes:
    """The losses as the picture's file holds them, so that a test can compare."""
    return b"Description\0" + "; ".join(f"{name} {loss:.3f}" for name, loss in rungs).encode("ascii")


def draw(rungs: list[tuple[str, float]], tale: str, place: Path = PLACE) -> None:
    """Write the picture as a PNG whose description holds the losses."""
    use_style()
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=(1, 1))
    names, losses = zip(*rungs, strict=True)
    bars = left.barh(names, losses, color=["#9aa3ad"] * (len(rungs) - 2) + ["#0072b2"] * 2)
    left.bar_label(bars, fmt="%.2f", padding=3)
    left.invert_yaxis()
    left.set(xlabel="loss (nats per character)", xlim=(0, 1.12 * max(losses)))
    left.set_title("What each model of the course reaches\non The Wonderful Wizard of Oz")
    right.axis("off")
    right.set_title("What the shipped GPT tells,\ntrained on the course's own tales")
    lines = [line for part in tale.split("\n") for line in (textwrap.wrap(part, 54) or [""])]
    right.text(0, 0.97, "\n".join(lines), va="top", family="serif", fontsize=12, transform=right.transAxes)
    name, text = described(rungs).decode("ascii").split("\0")
    fig.savefig(place, dpi=110, metadata={name: text, "Software": None})
    plt.close(fig)


if __name__ == "__main__":
    draw(ladder(), sample())
