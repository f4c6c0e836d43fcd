"""The look of figures for every reader, what a page gets of a figure, and the loss curve from its first point to its last.

More about single figures is in test_figures_and_widgets.py, about the curve in test_curves.py.
"""

import base64
import hashlib
import math
import signal
from itertools import combinations

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from nbformat.v4 import new_code_cell, new_notebook
from walls import ROOT

from helpers.bigram import BigramLanguageModel
from helpers.lesson import curves, figures
from helpers.lesson.curves import LossCurve
from helpers.lesson.execution import run_notebook
from helpers.lesson.saving import prepare
from helpers.training import TrainingResult, train

IDS = torch.arange(200) % 7

# How the red, green and blue light of a colour appear to who lacks one kind of cone: Machado, Oliveira and Fernandes
# (2009), table for a severity of 1.
WITHOUT = {
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("own_look")


def line():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    ax.set(xlabel="step", ylabel="loss (nats)", title="A line goes up")
    return fig


# --- the look ---


def light(colour) -> np.ndarray:
    """Red, green and blue light of an sRGB colour: (3,)."""
    part = np.array(to_rgb(colour))
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab of light, white D65: (3,). Distances are about as large as they look."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ rgb.clip(0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours, matrix) -> float:
    """The distance of the two colours that are the most alike to a reader."""
    seen = [lab(np.array(matrix) @ light(each)) for each in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))


@pytest.mark.parametrize("cone", WITHOUT)
def test_a_colour_blind_reader_can_tell_the_colours_apart(cone):
    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert cycle == list(figures.COLOURS.values()) and len(cycle) == 6
    assert nearest(cycle, WITHOUT[cone]) > 10
    assert nearest(cycle[:2], WITHOUT[cone]) > 40


@pytest.mark.parametrize("cone", ["red", "green"])
def test_the_simulation_finds_what_a_colour_blind_reader_cannot_tell_apart(cone):
    """So that the test above cannot pass for nothing: matplotlib's own cycle fails it."""
    usual = plt.rcParamsDefault["axes.prop_cycle"].by_key()["color"]
    assert nearest(usual, np.eye(3)) > 10 > nearest(usual, WITHOUT[cone])


def test_words_are_dark_on_white_and_large_enough():
    fig = line()
    (ax,) = fig.axes
    ax.legend(["one"])
    words = [ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_legend().texts]
    assert len(words) > 6
    for each in words:
        brightness = float(light(each.get_color()) @ [0.2126, 0.7152, 0.0722])
        assert 1.05 / (brightness + 0.05) > 7, each  # the strictest contrast that the web's rules know
        assert each.get_fontsize() >= 9, each
    assert to_rgb(fig.get_facecolor()) == (1, 1, 1)
    plt.close(fig)


def test_the_settings_of_the_learner_change_no_figure():
    want = figures.still(line())
    plt.style.use("dark_background")
    plt.rcParams.update({"font.size": 20, "lines.linewidth": 9, "axes.grid": True})
    figures.use_style()
    plt.rcParams["savefig.bbox"] = "tight"  # set later, by a cell
    assert figures.still(line()) == want


# --- what a page gets ---


def test_a_page_gets_the_caption_and_the_size_in_pixels():
    png = figures.still(line())
    data, metadata = figures.bundle(png, "A line that goes up.")
    assert data == {"image/png": png, "text/plain": "[figure: A line that goes up.]"}
    assert metadata == {"image/png": {"alt": "A line that goes up.", "width": 770, "height": 330}}


# --- the loss curve ---


def learn(curve, steps=6, **options):
    model = BigramLanguageModel(7)
    common = {"batch_size": 2, "block_size": 4, "eval_interval": 2, "eval_batches": 1, "progress": False}
    return model, train(model, IDS, IDS, steps=steps, on_evaluation=curve, **common | options)


def test_lines_to_compare_with_can_be_added_when_they_are_known():
    curve = LossCurve(reference={"uniform": math.log(7)})
    _, result = learn(curve)
    before, size = curve.picture, figures.size_of(curve.picture)
    curve.finish(reference={"counted bigram": 1.5})
    assert curve.picture != before and figures.size_of(curve.picture) == size
    (ax,) = curve.figure(result.history).axes
    assert [text.get_text() for text in ax.texts] == ["uniform 1.946", "counted bigram 1.500"]
    levels = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert sorted(levels) == pytest.approx([1.5, math.log(7)])


def test_words_of_lines_that_lie_together_stand_apart():
    curve = LossCurve(reference={"a": 2.36, "b": 2.37, "c": 2.365})
    fig = curve.figure(
        [{"step": 0, "train": 4.0, "validation": 4.1}, {"step": 9, "train": 2.0, "validation": 2.1}]
    )
    fig.canvas.draw()
    boxes = [text.get_window_extent() for text in fig.axes[0].texts]
    assert [text.get_text()[0] for text in fig.axes[0].texts] == ["b", "c", "a"]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 for box in boxes)


def test_a_curve_of_no_training_and_a_line_at_no_loss_are_refused():
    with pytest.raises(ValueError, match="on_evaluation=curve"):
        LossCurve().finish()
    with pytest.raises(ValueError, match="'floor' is nan"):
        LossCurve(reference={"floor": math.nan})
    curve = LossCurve()
    learn(curve, steps=2)
    with pytest.raises(ValueError, match="'floor' is inf"):
        curve.finish(reference={"floor": math.inf})


def test_in_a_terminal_there_is_a_line_for_each_evaluation_and_each_comparison(capsys):
    curve = LossCurve()
    _, result = learn(curve)
    curve.finish(reference={"perfect": 0.0})
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["step", str(n)] for n in (0, 2, 4, 6)]
    for line, row in zip(lines, result.history, strict=True):
        assert f"{row['validation']:.3f}" in line
    highest = max(range(4), key=lambda i: result.history[i]["validation"])
    assert lines[highest].count("#") == curves.LONGEST
    assert last.split()[0] == "perfect" and "#" not in last
    assert all(line.isascii() and len(line) < 80 for line in (*lines, last))  # any terminal can show it


def test_a_loss_that_is_no_number_is_drawn_as_a_gap(capsys):
    rows = [{"step": n, "train": x, "validation": x} for n, x in enumerate((2.0, math.nan, math.inf))]
    curve = LossCurve()
    curve(TrainingResult(history=rows))
    curve(TrainingResult(history=rows[1:2]))
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == "nan" and curve.picture


def test_a_training_that_the_learner_stops_leaves_its_whole_curve():
    curve = LossCurve()

    def stop_at_four(result):
        curve(result)
        if result.history[-1]["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    _, result = learn(stop_at_four, steps=1000)
    assert "stopped by you" in result.stopped
    shown = curve.picture
    curve(result)
    assert curve.picture == shown  # nothing has come since
    assert result.history[-1]["step"] < 1000


def test_a_curve_keeps_no_models_alive():
    import gc
    import weakref

    curve = LossCurve()
    _, result = learn(curve)
    kept = weakref.ref(result)
    del result
    gc.collect()
    assert kept() is None


# --- in a kernel ---

FIRST = """
import sys; sys.path.insert(0, {root!r}); sys.modules["ipywidgets"] = None
import hashlib
import matplotlib.pyplot as plt
import torch
from helpers.bigram import BigramLanguageModel
from helpers.lesson.curves import LossCurve
from helpers.lesson.figures import show
from helpers.training import train

fig, ax = plt.subplots()
ax.plot([0, 1])
print(show(fig, "A line that goes up."), plt.get_fignums())
"""
TRAIN = """
ids = torch.arange(200) % 7
model = BigramLanguageModel(7)
train(model, ids, ids, steps=6, batch_size=2, block_size=4, eval_interval=2, eval_batches=1, on_evaluation=curve);
"""
FINISH = """
before = curve.picture
curve.finish(reference={"counted bigram": 1.5})
print(hashlib.sha256(before).hexdigest(), hashlib.sha256(curve.picture).hexdigest())
"""


def digest(output) -> str:
    return hashlib.sha256(base64.b64decode(output.data["image/png"])).hexdigest()


@pytest.mark.notebook
def test_figures_and_curves_are_stored_with_the_notebook_ipywidgets_or_not(tmp_path):
    """A cell that is run again has a picture of its own, and `finish` changes the newest where it stands."""
    sources = [FIRST.format(root=str(ROOT)), "curve = LossCurve()" + TRAIN, TRAIN, FINISH]
    nbformat.write(new_notebook(cells=[new_code_cell(s) for s in sources]), tmp_path / "00_toy.ipynb")
    result = run_notebook(tmp_path / "00_toy.ipynb", text="tales")
    assert result.ok, result.error
    assert result.notes == []  # nothing on stderr
    saved = prepare(result.executed)
    pictures = [[o for o in cell.outputs if "image/png" in o.get("data", {})] for cell in saved.cells]
    assert [len(each) for each in pictures] == [1, 1, 1, 0]
    (figure,), (first,), (again,), _ = pictures
    assert saved.cells[0].outputs[-1].text == "None []\n"
    assert figure.metadata["image/png"]["alt"] == "A line that goes up."
    assert first.metadata["image/png"]["alt"] == again.metadata["image/png"]["alt"] == curves.CAPTION
    before, finished = saved.cells[3].outputs[0].text.split()
    assert digest(again) == finished != before and digest(first) not in (before, finished)
    shown = "".join(o.get("text", "") for o in saved.cells[1].outputs)
    assert "step     6" in shown and "#" not in shown  # train's own lines; those of a terminal are not here
