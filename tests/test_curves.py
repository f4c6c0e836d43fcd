"""The live loss curve: one picture that grows, and stays when the training is over."""

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from walls import ROOT

from helpers.bigram import BigramLanguageModel
from helpers.lesson.curves import CAPTION, LossCurve
from helpers.lesson.execution import run_notebook
from helpers.lesson.figures import size_of
from helpers.lesson.saving import prepare
from helpers.training import train

IDS = torch.arange(200) % 7


def learn(curve, steps=6, resume=None, model=None):
    model = model or BigramLanguageModel(7)
    options = {"batch_size": 2, "block_size": 4, "eval_interval": 2, "eval_batches": 1, "progress": False}
    return model, train(model, IDS, IDS, steps=steps, on_evaluation=curve, resume=resume, **options)


def test_the_curve_is_drawn_at_every_evaluation_and_keeps_its_size():
    sizes = []

    class Watched(LossCurve):
        def __call__(self, result):
            super().__call__(result)
            sizes.append((size_of(self.picture), len(result.history)))

    learn(Watched(reference={"counted": 1.5}))
    assert [n for _, n in sizes] == [1, 2, 3, 4] and len({size for size, _ in sizes}) == 1
    assert plt.get_fignums() == []


def test_the_curve_shows_both_losses_at_their_steps_and_the_reference():
    curve = LossCurve(reference={"counted bigram": 1.5})
    _, result = learn(curve)
    fig = curve.figure(result.history)
    lines = {line.get_label(): line for line in fig.axes[0].lines}
    for name in ("train", "validation"):
        assert list(lines[name].get_xdata()) == [0, 2, 4, 6]
        assert list(lines[name].get_ydata()) == [row[name] for row in result.history]
    assert any("counted bigram 1.500" in text.get_text() for text in fig.axes[0].texts)
    plt.close(fig)


def test_a_training_that_goes_on_draws_the_whole_history():
    model, first = learn(LossCurve(), steps=4)
    curve = LossCurve()
    _, second = learn(curve, steps=8, resume=first.state, model=model)
    assert [row["step"] for row in second.history] == [0, 2, 4, 6, 8] and curve.picture


@pytest.mark.notebook
def test_in_a_notebook_there_is_one_picture_and_it_is_saved(tmp_path):
    source = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import torch\n"
        "from helpers.bigram import BigramLanguageModel\n"
        "from helpers.lesson.curves import LossCurve\n"
        "from helpers.training import train\n"
        "ids = torch.arange(200) % 7\n"
        "curve = LossCurve()\n"
        "train(BigramLanguageModel(7), ids, ids, steps=6, batch_size=2, block_size=4, eval_interval=2,\n"
        "      eval_batches=1, on_evaluation=curve, progress=False);"
    )
    again = "import hashlib; print(hashlib.sha256(curve.picture).hexdigest())"
    notebook = new_notebook(cells=[new_code_cell(source), new_code_cell(again)])
    nbformat.write(notebook, tmp_path / "00_toy.ipynb")
    result = run_notebook(tmp_path / "00_toy.ipynb", text="tales")
    assert result.ok, result.error
    saved = prepare(result.executed)
    (picture,) = saved.cells[0].outputs
    assert picture.metadata["image/png"]["alt"] == CAPTION
    import base64
    import hashlib

    stored = hashlib.sha256(base64.b64decode(picture.data["image/png"])).hexdigest()
    assert stored == saved.cells[1].outputs[0].text.strip()  # the last drawing, not the first
