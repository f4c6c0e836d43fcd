"""Sliders that no drawing can break, what is stored of them, and what a browser shows.

The controls, a move and an error are in test_figures_and_widgets.py; this file has what is harder.
"""

import re

import matplotlib.pyplot as plt
import nbformat
import pytest
from browser import Lab
from nbformat.v4 import new_code_cell, new_notebook, new_output
from walls import ROOT, copy_of_the_course

from helpers.lesson import figures, widgets
from helpers.lesson.execution import run_notebook
from helpers.lesson.saving import KERNELSPEC, WIDGET, prepare
from helpers.lesson.widgets import Explorer

CAPTION = "A line whose height you choose."


pytestmark = pytest.mark.usefixtures("own_look")


def line(height=1.0, **options):
    fig, ax = plt.subplots(**options)
    ax.plot([0, 1], [0, height])
    return fig


def live(draw, **controls):
    """An explorer with its widgets: (explorer, image or None, words)."""
    explorer = Explorer(draw, CAPTION, controls)
    parts = explorer.widget().children[len(controls) :]
    return explorer, parts[0] if len(parts) == 2 else None, parts[-1]


def height_of(words) -> str:
    return re.search(r"height: (\d+px)", words.value)[1]


# --- a drawing that goes wrong ---


def test_a_drawing_that_fails_at_first_fails_as_any_cell_does_and_leaves_no_figure():
    widgets.explore(lambda size: line(size), CAPTION, size=[1])
    before = widgets.last()

    def draw(size):
        line(size)
        raise ZeroDivisionError("at first")

    with pytest.raises(ZeroDivisionError, match="at first"):
        widgets.explore(draw, CAPTION, size=[1, 2])
    assert plt.get_fignums() == [] and widgets.last() is before


def test_a_drawing_that_fails_in_a_move_says_where_and_leaves_no_figure():
    def draw(size, scaled):
        fig = line(size)
        line(size)  # a second figure, which is never returned
        if size == 2:
            raise KeyError("queries")
        return fig

    explorer, image, words = live(draw, size=[1, 2, 4], scaled=[False, True])
    before, height = bytes(image.value), height_of(words)
    explorer.controls["size"].value = 2
    assert plt.get_fignums() == []
    assert "size=2, scaled=False: KeyError: &#x27;queries&#x27; (line 5 of draw)." in words.value
    assert "The picture is still that of size=1, scaled=False." in words.value
    assert bytes(image.value) == before == explorer.picture and explorer.values["size"] == 1
    assert height_of(words) == height  # although there was no text: the page does not jump
    explorer.controls["size"].value = 4
    assert "KeyError" not in words.value and bytes(image.value) == explorer.picture != before
    assert explorer.values == {"size": 4, "scaled": False}


def test_a_drawing_that_is_sometimes_a_text_is_told_so():
    explorer, image, words = live(lambda size: "words" if size == 2 else line(size), size=[1, 2])
    explorer.controls["size"].value = 2
    assert "TypeError: draw returned a Figure for some values" in words.value and image.value
    explorer, image, words = live(lambda size: line(size) if size == 2 else "words", size=[1, 2])
    explorer.controls["size"].value = 2
    assert "TypeError: draw returned a Figure for some values" in words.value and image is None


def test_a_forgotten_return_is_named():
    with pytest.raises(TypeError, match="is there a return"):
        Explorer(lambda size: None, CAPTION, {"size": [1]})


def test_a_figure_that_was_made_before_stays_open():
    """What the learner has open is theirs."""
    mine = plt.figure()
    live(lambda size: line(size), size=[1, 2])[0].controls["size"].value = 2
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


# --- one size ---


def test_all_pictures_have_the_size_of_the_first_whatever_size_is_drawn():
    explorer, image, _ = live(
        lambda size: line(size, figsize=(5, size), layout="constrained"), size=[2, 3, 9]
    )
    sizes = {figures.size_of(image.value)}
    for size in (3, 9):
        explorer.controls["size"].value = size
        assert bytes(image.value) == explorer.picture
        sizes.add(figures.size_of(image.value))
    assert sizes == {(550, 220)}


def test_the_text_part_keeps_its_height_and_shows_a_long_first_text_whole():
    texts = {1: "word " * 100, 2: "short", 3: "line\n" * 99}  # 500 characters need 7 lines of 80
    explorer, _, words = live(lambda size: texts[size], size=[1, 2, 3])
    heights = [height_of(words)]
    for size in (2, 3):
        explorer.controls["size"].value = size
        assert texts[size] in words.value
        heights.append(height_of(words))
    assert heights == [f"{7 * widgets.LINE}px"] * 3 and "overflow: auto" in words.value


# --- controls ---


def test_controls_are_labelled_with_their_names_and_short_numbers():
    options = [0.1, 0.1 + 0.2, 1.0]
    explorer, *_ = live(lambda n_embd, p, shape: "x", n_embd=range(3, 6), p=options, shape=[(2, 3), (4, 5)])
    assert [each.description for each in explorer.controls.values()] == ["n_embd", "p", "shape"]
    assert explorer.controls["p"]._options_labels == ("0.1", "0.3", "1")
    assert explorer.controls["shape"].value == (2, 3)  # not a label and its value
    explorer.controls["p"].value = options[1]
    assert explorer.values == {"n_embd": 3, "p": options[1], "shape": (2, 3)}
    assert explorer.controls["n_embd"].continuous_update


def test_numbers_that_differ_late_keep_all_their_digits():
    explorer, *_ = live(lambda p: "x", p=[0.12345678, 0.12345679])
    assert explorer.controls["p"]._options_labels == ("0.12345678", "0.12345679")


def test_a_box_is_only_for_both_truth_values():
    explorer, *_ = live(lambda a, b: "x", a=[True, False], b=[True])
    assert [type(each).__name__ for each in explorer.controls.values()] == ["Checkbox", "SelectionSlider"]
    assert explorer.values == {"a": True, "b": True}


def test_one_value_instead_of_a_list_is_refused_with_words():
    with pytest.raises(ValueError, match="temperature is 0.5, but it is a list of values"):
        Explorer(lambda temperature: "x", CAPTION, {"temperature": 0.5})


# --- saved ---


def notebook_of(**output):
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[new_output("display_data", **output)])])
    notebook.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {"version_major": 2}
    }  # no "state"
    return notebook


def test_what_stands_in_for_a_widget_is_stored_with_its_caption_and_the_widget_is_not():
    view = {WIDGET: {"model_id": "1", "version_major": 2, "version_minor": 0}}
    picture = {"image/png": "aGk=", "text/plain": "[figure]"}
    about = {"image/png": {"alt": CAPTION, "width": 770, "height": 330}, WIDGET: {"x": 1}}
    words = {"text/html": "<pre>words</pre>", "text/plain": "words"}
    for data, metadata, left in (
        (picture, about, [("display_data", picture, {"image/png": about["image/png"]})]),
        (words, {}, [("display_data", words, {})]),
        ({"text/plain": "IntSlider(value=3)"}, {}, []),  # nothing to see in it
    ):
        saved = prepare(notebook_of(data=view | data, metadata=metadata))
        nbformat.validate(saved)
        assert [(o.output_type, o.data, o.metadata) for o in saved.cells[0].outputs] == left
        assert "widgets" not in saved.metadata and WIDGET not in nbformat.writes(saved)


CELLS = (
    """
import sys; sys.path.insert(0, {root!r})
import matplotlib.pyplot as plt
from helpers.lesson import figures, widgets
figures.use_style()
scale = 1
def draw(size):
    if size == 7:
        raise ValueError("seven is not drawn")
    fig, ax = plt.subplots(figsize=(9, 2 + size / 10))
    ax.plot([0, size * scale])
    return fig
widgets.explore(draw, "A line whose height you choose.", size=range(1, 40))
""",
    """
widgets.explore(lambda word: f"<{{word}}> is a word", "A word.", word=["owl", "lion"])
""",
    """
scale, before = 5, widgets.last().picture
def words(size):
    return f"{{size * scale}}"
widgets.explore(words, "A number.", size=[1, 2])
scale = 7
widgets.last().controls["size"].value = 2
print(widgets.last().text, widgets.last().values)
""",
)


def toy(path, *first):
    sources = [*first, *(source.format(root=str(ROOT)) for source in CELLS)]
    notebook = new_notebook(cells=[new_code_cell(s) for s in sources])
    notebook.metadata["kernelspec"] = KERNELSPEC  # without it JupyterLab asks for a kernel
    nbformat.write(notebook, path)


@pytest.mark.notebook
def test_a_saved_text_is_there_without_a_kernel_and_a_move_sees_what_a_later_line_changed(tmp_path):
    toy(tmp_path / "00_toy.ipynb")
    result = run_notebook(tmp_path / "00_toy.ipynb", text="tales")
    assert result.ok and result.notes == [], result.error
    assert all(WIDGET in cell.outputs[0].data for cell in result.executed.cells)
    saved = prepare(result.executed)
    nbformat.validate(saved)
    assert WIDGET not in nbformat.writes(saved)
    picture, word, number = (cell.outputs[0] for cell in saved.cells)
    assert picture.metadata["image/png"] == {"alt": CAPTION, "width": 990, "height": 231}
    assert word.data == {"text/html": "<pre>&lt;owl&gt; is a word</pre>", "text/plain": "<owl> is a word"}
    assert number.data["text/plain"] == "5"
    assert saved.cells[2].outputs[1].text == "14 {'size': 2}\n"


@pytest.mark.notebook
def test_without_ipywidgets_every_cell_shows_its_start_and_says_how_to_see_the_others(tmp_path):
    toy(tmp_path / "00_toy.ipynb", "import sys; sys.modules['ipywidgets'] = None")
    notebook = nbformat.read(tmp_path / "00_toy.ipynb", as_version=4)
    notebook.cells.pop()
    nbformat.write(notebook, tmp_path / "00_toy.ipynb")
    result = run_notebook(tmp_path / "00_toy.ipynb", text="tales")
    assert result.ok and result.notes == [], result.error
    (picture, one), (word, other) = (cell.outputs for cell in result.executed.cells[1:])
    assert "image/png" in picture.data and word.data["text/plain"] == "<owl> is a word"
    for output, now in ((one, "size=1"), (other, "word='owl'")):
        assert output.name == "stdout" and output.text.startswith(f"(This is {now}. For the others, ")
        assert "pip install ipywidgets" in output.text and "start=" in output.text


# --- in a browser ---


PAUSE = """
import time
calls = []
def slow(size):
    calls.append(size)
    time.sleep(0.5 * (len(calls) > 1))
    fig, ax = plt.subplots(figsize=(9, 2))
    ax.plot([0, size])
    return fig, f"size {size} after {len(calls)} drawings"
widgets.explore(slow, "A line that is drawn slowly.", size=range(1, 40))
"""


def boxes(tab):
    """Of every part of the widgets: what is wider or higher than its place, and so gets a scroll bar."""
    return tab.locator(".jp-NotebookPanel .widget-vbox").evaluate_all(
        "all => all.map(e => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight])"
    )


def contrast(locator) -> float:
    """Between the words of a part and the page behind them."""
    colours = locator.evaluate(
        """e => { let page = e, back = 'rgba(0, 0, 0, 0)';
            while (/, 0\\)$/.test(back) && page) { back = getComputedStyle(page).backgroundColor; page = page.parentElement; }
            return [getComputedStyle(e).color, back]; }"""
    )
    light = []
    for colour in colours:
        parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        light.append(sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_narrow_window_sliders_are_readable_still_and_never_behind(tmp_path, dark):
    course = copy_of_the_course(tmp_path / "course")
    path = course / "notebooks" / "00_toy.ipynb"
    toy(path)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1] = new_code_cell(PAUSE)
    nbformat.write(notebook, path)
    with Lab(course, tmp_path, dark=dark) as lab, lab.page(width=800) as page:
        page.open("00_toy.ipynb")
        page.tab.keyboard.press("Control+b")  # close the file list
        page.run_all()
        page.cell("slow(").locator("img").wait_for()
        assert page.errors() == [] and page.tab.get_by_text("javascript error").count() == 0
        assert boxes(page.tab) == [[0, 0]] * 3
        for cell in map(page.cell, ("def draw", "is a word", "slow(")):
            for part in (*cell.locator(".widget-label").all(), *cell.locator("pre.course-words").all()):
                assert contrast(part) > 4.5
        # An error: a message, the old picture, the same height.
        cell = page.cell("def draw")
        picture, handle = cell.locator("img"), cell.locator(".noUi-handle")
        height, seen = cell.bounding_box()["height"], []
        for _ in range(7):
            handle.focus()
            page.tab.keyboard.press("ArrowRight")
            page.tab.wait_for_timeout(900)
            seen.append(picture.get_attribute("src"))
            assert cell.bounding_box()["height"] == height
            if len(seen) == 6:
                words = cell.locator("pre.course-words").inner_text()
                assert "size=7: ValueError: seven is not drawn (line 3 of draw)" in words
        assert len(set(seen)) == 6 and seen[5] == seen[4]  # size 7 kept the picture of size 6
        # Moves that come faster than the pictures: the newest is drawn, most of those between are not.
        cell = page.cell("slow(")
        cell.locator(".noUi-handle").focus()
        for _ in range(12):
            page.tab.keyboard.press("ArrowRight")
            page.tab.wait_for_timeout(50)
        words = cell.locator(
            "pre.course-words", has_text="size 13 "
        )  # found anew: each move makes a new element
        words.wait_for()
        assert int(re.search(r"after (\d+) drawings", words.inner_text())[1]) < 9


@pytest.mark.browser
@pytest.mark.slow
def test_a_saved_notebook_shows_the_stills_where_nothing_has_run(tmp_path):
    course = copy_of_the_course(tmp_path / "course")
    path = course / "notebooks" / "00_toy.ipynb"
    toy(path)
    executed = run_notebook(path, text="tales").executed
    nbformat.write(prepare(executed), path)
    nbformat.write(
        executed, path.with_name("01_toy.ipynb")
    )  # with its widgets, from another machine: not trusted
    with Lab(course, tmp_path) as lab:
        for name in ("00_toy.ipynb", "01_toy.ipynb"):
            with lab.page(width=800) as page:
                page.open(name)
                page.tab.get_by_text("<owl> is a word").last.wait_for()
                shown = page.tab.locator(".jp-OutputArea img")
                assert shown.count() == 1 and shown.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [
                    990,
                    231,
                ]
                box = shown.bounding_box()
                assert box["x"] + box["width"] <= 800  # and not out of shape:
                assert box["width"] / box["height"] == pytest.approx(990 / 231, rel=0.02)
                assert page.errors() == []
