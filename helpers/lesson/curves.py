"""A loss curve that grows while a model learns.

    curve = LossCurve()
    result = train(model, train_ids, val_ids, steps=1000, batch_size=12, on_evaluation=curve)
    curve.finish(reference={"counted bigram": 2.36})            # lines to compare with, once they are known

In a notebook it is one picture that is drawn anew at every evaluation and stays as a still figure. In a terminal it is a
line of text for each evaluation, as long as the loss is large.
"""

import math
import uuid
import weakref
from collections.abc import Mapping

from matplotlib.figure import Figure

from helpers.lesson.figures import COLOURS, bundle, in_notebook, still
from helpers.training import TrainingResult

CAPTION = "Loss on the training text and on the validation text at each evaluation, in nats per token."
LONGEST = 40  # characters of the longest bar in a terminal


class LossCurve:
    """Give it to `train` as on_evaluation. `picture` is the PNG of the last drawing.

    reference: names and losses (nats per token) of horizontal lines to compare with. caption: for the alternative text;
    it stands below the cell, too. One curve can watch several trainings, one after the other: each gets its own picture.
    Raises ValueError for a reference that is not a finite number.
    """

    def __init__(
        self,
        title: str = "The loss while the model learns",
        caption: str = CAPTION,
        reference: Mapping[str, float] | None = None,
    ) -> None:
        self.title, self.caption = title, caption
        self.reference = _finite(reference or {})
        self.picture: bytes | None = None
        self._history: list[dict] = []
        self._training: weakref.ref | None = None  # weak: a result holds copies of a model's weights
        self._place = ""  # of the picture in the notebook

    def __call__(self, result: TrainingResult) -> None:
        """Draw the history so far."""
        new = (
            self._training is None or self._training() is not result
        )  # a cell was run again, or a training resumed
        if new:
            self._training, self._place = weakref.ref(result), uuid.uuid4().hex
        self._history = list(result.history)
        self._draw(new)
        if not in_notebook() and self._history:
            row = self._history[-1]
            print(self._bar(f"step {row['step']}", row["validation"]), flush=True)

    def finish(self, reference: Mapping[str, float] | None = None) -> None:
        """Add lines to compare with to the picture where it stands; in a terminal, print them below the others.

        Raises ValueError before the first evaluation, and for a reference that is not a finite number.
        """
        if not self._history:
            raise ValueError("there is no curve yet: give it to train(..., on_evaluation=curve) first")
        added = _finite(reference or {})
        self.reference |= added
        self._draw(new=False)
        if not in_notebook():
            for name, value in added.items():
                print(self._bar(name, value), flush=True)

    def figure(self, history: list[dict]) -> Figure:
        """The curve of a history as `train` keeps it: dicts with step, train, validation."""
        steps = [row["step"] for row in history]
        fig = Figure(figsize=(7, 3), layout="constrained")  # not of pyplot, so nothing is left open
        ax = fig.subplots()
        for name, colour, style in (("train", "blue", "--"), ("validation", "orange", "-")):
            values = [row[name] for row in history]
            ax.plot(steps, values, style, color=COLOURS[colour], marker="o", markersize=4, label=name)
        for value in self.reference.values():
            ax.axhline(value, color="#666666", linewidth=1, linestyle=":")
        low, high = ax.get_ylim()
        place = math.inf  # of the words, right of the lines: apart from each other, away from the curves
        for name, value in sorted(self.reference.items(), key=lambda item: -item[1]):
            place = min(value, place - 0.08 * (high - low))
            ax.annotate(
                f"{name} {value:.3f}", (1.01, place), xycoords=("axes fraction", "data"), va="center",
                fontsize=9, color="#444444", annotation_clip=False,
            )  # fmt: skip
        ax.set_ylim(low, high)
        ax.set(xlabel="step", ylabel="loss (nats per token)", title=self.title)
        ax.legend(loc="best", frameon=True, framealpha=1, facecolor="white", edgecolor="white")
        return fig

    def _draw(self, new: bool) -> None:
        """Make the picture, and put it in its place in the notebook."""
        self.picture = still(self.figure(self._history))
        data, metadata = bundle(self.picture, self.caption)
        if in_notebook():
            from IPython.display import display

            display(data, metadata=metadata, raw=True, display_id=self._place, update=not new)

    def _bar(self, name: str, loss: float) -> str:
        """A line for a terminal: the longer the bar, the larger the loss."""
        largest = max(
            (row["validation"] for row in self._history if math.isfinite(row["validation"])), default=1
        )
        length = round(LONGEST * loss / largest) if math.isfinite(loss) else 0
        return f"{name:>16}  validation {loss:6.3f}  {'#' * min(max(length, 0), LONGEST + 1)}"


def _finite(reference: Mapping[str, float]) -> dict[str, float]:
    """The references as numbers. Raises ValueError for one that is not finite."""
    values = {name: float(value) for name, value in reference.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"the reference {name!r} is {value}, but a line needs a finite loss")
    return values
