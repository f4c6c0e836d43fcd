"""Figures and sliders: one look, pictures of one size, something to see without a kernel, and nothing that breaks."""

import re

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from walls import ROOT

from helpers.lesson import figures, widgets
from helpers.lesson.execution import run_notebook
from helpers.lesson.saving import WIDGET, prepare
from helpers.lesson.widgets import Explorer

PNG = b"\x89PNG\r\n\x1a\n"


pytestmark = pytest.mark.usefixtures("own_look")


def line(height=1.0, title="a title that is long enough to run over the edge of a small figure"):
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, height])
    ax.set_title(title)
    return fig


# --- figures ---


def test_a_still_is_a_png_of_its_full_size_whatever_is_drawn():
    sizes = {figures.size_of(figures.still(line(h, t))) for h, t in ((1, "short"), (1e9, "long " * 40))}
    assert sizes == {(770, 330)}  # 7 x 3 inches at 110 pixels to the inch


def test_the_same_figure_gives_the_same_bytes():
    assert figures.still(line()) == figures.still(line())


def test_bytes_that_are_no_png_have_no_size():
    with pytest.raises(ValueError, match="not a PNG"):
        figures.size_of(b"GIF89a")


def test_a_figure_without_a_caption_is_refused_and_closed():
    with pytest.raises(ValueError, match="needs a caption"):
        figures.show(line(), " ")


def test_a_figure_that_cannot_be_drawn_is_closed_too():
    with pytest.raises(ValueError, match="mathtext|parse|Parse"):
        figures.still(line(title=r"$\frac{1}$"))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_lines_of_the_first_two_colours_differ_in_brightness_or_hue_for_every_reader():
    """Blue against orange is safe for every kind of colour blindness; no colour vanishes on white."""
    assert list(figures.COLOURS.values())[:2] == ["#0072b2", "#d55e00"]
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == list(figures.COLOURS.values())
    for colour in figures.COLOURS.values():
        assert 1.05 / (luminance(colour) + 0.05) > 2, colour


# --- sliders ---


def test_the_controls_fit_their_values_and_start_where_they_are_told():
    explorer = Explorer(
        lambda size, scaled, what: line(size),
        "a line",
        {"size": [1, 2, 4], "scaled": [False, True], "what": ["sum", "mean"]},
        {"size": 2, "scaled": True},
    )
    explorer.widget()
    kinds = {name: type(control).__name__ for name, control in explorer.controls.items()}
    assert kinds == {"size": "SelectionSlider", "scaled": "Checkbox", "what": "Dropdown"}
    assert explorer.values == {"size": 2, "scaled": True, "what": "sum"}


def test_a_move_draws_anew_from_the_variables_of_that_moment_and_keeps_the_size():
    height = 1.0

    def draw(size):
        return line(size * height), f"{size} at height {height}"

    explorer = Explorer(draw, "a line", {"size": [1, 2, 4]})
    box = explorer.widget()
    image, words = box.children[1], box.children[2]
    seen = [bytes(image.value)]
    explorer.controls["size"].value = 4
    seen.append(bytes(image.value))
    assert "4 at height 1.0" in words.value
    height = -3.0  # the learner changes the variable, and moves again
    explorer.controls["size"].value = 2
    seen.append(bytes(image.value))
    assert "2 at height -3.0" in words.value
    assert len(set(seen)) == 3 and len({figures.size_of(png) for png in seen}) == 1
    assert box.children[1] is image  # changed in place


def test_an_error_while_moving_is_a_message_the_old_picture_stays_and_the_next_move_works():
    def draw(size):
        if size == 2:
            raise ValueError("size 2 is <not> drawn")
        return line(size), f"size {size}"

    explorer = Explorer(draw, "a line", {"size": [1, 2, 4]})
    box = explorer.widget()
    before = bytes(box.children[1].value)
    explorer.controls["size"].value = 2
    assert "ValueError: size 2 is &lt;not&gt; drawn" in box.children[2].value
    assert bytes(box.children[1].value) == before
    explorer.controls["size"].value = 4
    assert "size 4" in box.children[2].value and bytes(box.children[1].value) != before


@pytest.mark.parametrize(
    ("controls", "start", "words"),
    [
        ({}, None, "at least one control"),
        ({"size": []}, None, "no options"),
        ({"size": [1, 2]}, {"size": 3}, r"there are \[1, 2\]"),
        ({"size": [1, 2]}, {"sise": 1}, r"there are \['size'\]"),
    ],
)
def test_controls_that_cannot_work_are_refused(controls, start, words):
    with pytest.raises(ValueError, match=words):
        Explorer(lambda **_: line(), "a line", controls, start)


@pytest.mark.parametrize("result", [None, 3, (None, 3), (None, ""), ""])
def test_a_drawing_that_returns_something_else_is_refused(result):
    with pytest.raises(TypeError, match="Figure"):
        Explorer(lambda size: result, "a line", {"size": [1]})


def test_outside_of_a_notebook_nothing_is_shown_and_nothing_fails(capsys):
    widgets.explore(lambda size: line(size), "a line", size=[1, 2])
    figures.show(line(), "a line")
    assert capsys.readouterr().out == "" and widgets.last().picture.startswith(PNG)


# --- in a kernel, and saved ---

SOURCE = """
import sys; sys.path.insert(0, {root!r})
import matplotlib.pyplot as plt
from helpers.lesson import widgets
height = 1
def draw(size):
    fig, ax = plt.subplots()
    ax.plot([0, size * height])
    return fig, f"size {{size}}"
widgets.explore(draw, "A line whose height you choose.", size=[1, 2, 4], start={{"size": 2}})
"""
MOVED = """
first = widgets.last().picture
height = 5
widgets.last().controls["size"].value = 4
print(widgets.last().picture != first, widgets.last().text)
"""


def run(tmp_path, *sources):
    notebook = new_notebook(cells=[new_code_cell(s.format(root=str(ROOT))) for s in sources])
    nbformat.write(notebook, tmp_path / "00_toy.ipynb")
    result = run_notebook(tmp_path / "00_toy.ipynb", text="tales")
    assert result.ok, result.error
    return result.executed


@pytest.mark.notebook
def test_a_changed_variable_is_seen_by_the_next_move_and_a_saved_notebook_shows_the_still(tmp_path):
    executed = run(tmp_path, SOURCE, MOVED)
    (live,) = [o for o in executed.cells[0].outputs if WIDGET in o.get("data", {})]
    assert live.data["image/png"]  # in the same message: a page without a kernel falls back on it
    assert executed.cells[1].outputs[0].text == "True size 4\n"
    saved = prepare(executed)
    nbformat.validate(saved)
    (still,) = saved.cells[0].outputs
    assert set(still.data) == {"image/png", "text/plain"} and "widgets" not in saved.metadata
    assert still.metadata["image/png"]["alt"] == "A line whose height you choose."


@pytest.mark.notebook
def test_without_ipywidgets_the_still_and_the_text_are_there(tmp_path):
    blocked = "import sys; sys.modules['ipywidgets'] = None\n" + SOURCE
    executed = run(tmp_path, blocked)
    outputs = executed.cells[0].outputs
    assert [o.output_type for o in outputs] == ["display_data", "stream"]
    assert "image/png" in outputs[0].data and WIDGET not in outputs[0].data
    assert "size 2" in outputs[1].text and "pip install ipywidgets" in outputs[1].text


@pytest.mark.notebook
def test_bars_work_with_and_without_ipywidgets(tmp_path):
    """tqdm's "IProgress not found" is no error of ours: training shows its bar as text."""
    source = (
        "import sys; sys.path.insert(0, {root!r})\n"
        "BLOCK\n"
        "import torch\n"
        "from helpers.bigram import BigramLanguageModel\n"
        "from helpers.training import train\n"
        "ids = torch.arange(99) % 7\n"
        "model = BigramLanguageModel(7)\n"
        "train(model, ids, ids, steps=3, batch_size=2, block_size=4, eval_batches=1);"
    )
    for block in ("", "sys.modules['ipywidgets'] = None"):
        executed = run(tmp_path, source.replace("BLOCK", block))
        shown = "".join(o.get("text", "") for o in executed.cells[0].outputs)
        assert "validation" in shown and "IProgress" not in shown and "Error" not in shown


def test_no_notebook_starts_workers_of_a_data_loader():
    """They hang in notebooks on Windows, so the course draws its batches without them."""
    for path in [*ROOT.glob("notebooks/[0-9]*.ipynb"), *ROOT.glob("helpers/**/*.py")]:
        workers = re.findall(r"num_workers\s*=\s*(\w+)", path.read_text(encoding="utf-8"))
        assert set(workers) <= {"0"}, path.name
