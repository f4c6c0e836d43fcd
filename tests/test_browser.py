"""The notebooks as a learner meets them: JupyterLab in a browser, clicks and keys."""

from pathlib import Path

import nbformat
import pytest
from browser import IDLE, Lab
from walls import ROOT, copy_of_the_course

from helpers.lesson.course import COURSE

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOKS = [each.path for each in COURSE if each.path.is_file()]
TALK = "cell.querySelector('.course-chat').innerText"  # the element is made anew with each piece
QUICK = [path for path in NOTEBOOKS if path.name < "05"]  # those that a browser runs whole, and 08 below


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the course; the tales are its text."""
    folder = tmp_path_factory.mktemp("browser")
    course = copy_of_the_course(folder / "course", *ROOT.glob("notebooks/*.ipynb"))
    with Lab(course, folder, COURSE_TEXT="tales", COURSE_DEVICE="cpu") as lab:
        yield lab


@pytest.mark.parametrize("notebook", QUICK, ids=lambda path: path.stem)
def test_run_all_runs_every_cell_without_an_error_and_asks_no_other_machine(lab, notebook: Path):
    lab.left.clear()
    with lab.page() as page:
        page.open(notebook.name)
        page.run_all()
        assert page.errors() == []
        shown = page.tab.locator(".jp-NotebookPanel img").evaluate_all("all => all.map(i => i.naturalWidth)")
        assert shown and all(shown), "a picture is broken"
        sliders = page.tab.locator(".jp-NotebookPanel .widget-slider, .jp-NotebookPanel .noUi-target")
        assert sliders.count() >= 1, "no widget is there"
    assert lab.left == []


def test_a_slider_is_moved_by_the_keyboard_and_the_picture_and_the_text_follow(lab):
    with lab.page() as page:
        page.open("00_welcome_and_setup.ipynb")
        page.run_all()
        cell = page.cell("explore(")
        picture, handle = cell.locator("img").first, cell.locator(".noUi-handle").first
        height = cell.bounding_box()["height"]
        seen = [(picture.get_attribute("src"), cell.locator(".jp-OutputArea-output").first.inner_text())]
        for _ in range(2):
            handle.focus()
            page.tab.keyboard.press("ArrowRight")
            page.tab.wait_for_function(
                "([img, before]) => img.src !== before && img.complete",
                arg=[picture.element_handle(), seen[-1][0]],
            )
            page.tab.wait_for_timeout(300)
            seen.append(
                (picture.get_attribute("src"), cell.locator(".jp-OutputArea-output").first.inner_text())
            )
            assert cell.bounding_box()["height"] == height, "the page jumps when the slider moves"
        assert len({src for src, _ in seen}) == 3 and len({text for _, text in seen}) == 3
        assert page.errors() == []


def test_the_attention_map_follows_its_check_box_and_its_sentence(lab):
    """Notebook 08 run whole: the map with and without positions, and over another sentence."""
    lab.left.clear()
    with lab.page() as page:
        page.open("08_self_attention.ipynb")
        page.run_all(seconds=400)
        assert page.errors() == []
        cell = page.cell("draw_map,")
        picture, box = cell.locator("img").first, cell.locator("input[type=checkbox]").first
        text = cell.locator(".jp-OutputArea-output").first
        output = cell.locator(
            ".jp-OutputArea"
        ).first  # the editor above it is drawn anew when it comes into view
        height = output.bounding_box()["height"]
        assert box.is_checked()
        seen = [(picture.get_attribute("src"), text.inner_text())]
        sentences = cell.locator("select").first.locator("option").all_inner_texts()
        other = next(each for each in sentences if each != cell.locator("select").first.input_value())
        for move in (box.uncheck, lambda: cell.locator("select").first.select_option(label=other), box.check):
            move()
            page.tab.wait_for_function(
                "([img, before]) => img.src !== before && img.complete",
                arg=[picture.element_handle(), seen[-1][0]],
            )
            page.tab.wait_for_timeout(300)
            seen.append((picture.get_attribute("src"), text.inner_text()))
            assert output.bounding_box()["height"] == height, "the page jumps"
        assert len({src for src, _ in seen}) == len({words for _, words in seen}) == 4
        assert page.errors() == []
    assert lab.left == []


def test_the_sliders_of_sampling_and_the_chat_answer(lab):
    """Notebook 14 down to its sliders, and the chat: a line sent with Enter, one with the button, a command."""
    lab.left.clear()
    with lab.page() as page:
        page.open("14_generation.ipynb")
        cell = page.cell("draw_choice,")
        cell.locator(".cm-content").click()
        page.tab.click(".lm-MenuBar-item:has-text('Run')")
        page.tab.click(".lm-Menu-item[data-command='notebook:run-all-above']")
        cell.locator(".cm-content").click()
        page.tab.keyboard.press("Control+Enter")
        handles = cell.locator(".noUi-handle")
        handles.first.wait_for()  # the stored page has a picture alone
        page.tab.wait_for_function(IDLE)
        output, picture = cell.locator(".jp-OutputArea").first, cell.locator("img").first
        height = output.bounding_box()["height"]
        seen = [(picture.get_attribute("src"), output.inner_text())]
        # Temperature and top_p a step down, then top_k to 1: a step of it would cut off nothing that top_p has left.
        for place, key in ((0, "ArrowLeft"), (2, "ArrowLeft"), (1, "Home")):
            handles.nth(place).focus()
            page.tab.keyboard.press(key)
            page.tab.wait_for_function(
                "([img, before]) => img.src !== before && img.complete",
                arg=[picture.element_handle(), seen[-1][0]],
            )
            page.tab.wait_for_timeout(300)
            seen.append((picture.get_attribute("src"), output.inner_text()))
            assert output.bounding_box()["height"] == height, "the page jumps"
        assert len({src for src, _ in seen}) == len({words for _, words in seen}) == 4

        cell = page.cell("chat_box(chat")
        cell.locator(".cm-content").click()
        page.tab.keyboard.press("Control+Enter")
        field, said = cell.locator("input[type=text]").first, cell.locator(".course-chat").first
        field.wait_for()
        page.tab.wait_for_function(IDLE)
        height = said.bounding_box()["height"]
        for line, send in (
            ("The mill ", lambda: field.press("Enter")),
            ("The road ", cell.locator("button").first.click),
        ):
            field.fill(line)
            send()
            page.tab.wait_for_function(
                f"([cell, line]) => ({TALK}.split('> ' + line)[1] || '').trim().length > 10",
                arg=[cell.element_handle(), line.strip()],
            )
            page.tab.wait_for_function(IDLE)
            assert field.input_value() == "" and said.bounding_box()["height"] == height
        field.fill("/reset")
        field.press("Enter")
        page.tab.wait_for_function(f"([cell]) => !{TALK}.includes('The mill')", arg=[cell.element_handle()])
        assert page.errors() == []
    assert lab.left == []


def test_a_wrong_answer_a_right_one_and_none_get_their_messages(lab):
    from helpers.lesson.bank.nb00 import EXERCISES

    (exercise,) = EXERCISES
    check, stub = f"ex.{exercise.name}.check(", f"def {exercise.name}("
    with lab.page() as page:
        page.open("00_welcome_and_setup.ipynb")
        page.run_all()
        assert "not attempted" in page.output(check).lower()
        for source, words in ((exercise.wrong[0].code, "not yet"), (exercise.solution, "correct")):
            page.write(stub, source)
            page.run(stub)
            assert words in page.run(check).lower()
        assert page.errors() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_runs_over_the_edge_of_a_narrow_window(tmp_path, dark):
    """At 800 pixels the stored pages need no sideways scrolling, but for code and wide tables of their own."""
    notebooks = QUICK if dark else NOTEBOOKS  # the theme changes no width
    course = copy_of_the_course(tmp_path / "course", *notebooks)
    with Lab(course, tmp_path, dark=dark) as lab, lab.page(width=800) as page:
        for notebook in notebooks:
            page.open(notebook.name)
            page.tab.keyboard.press("Control+b")  # close the file list
            page.tab.wait_for_timeout(300)
            wide = page.tab.locator(
                ".jp-NotebookPanel:not(.lm-mod-hidden) :is(.jp-RenderedImage img, .jp-MarkdownOutput img)"
            ).evaluate_all(
                "all => all.filter(i => i.getBoundingClientRect().right > window.innerWidth).length"
            )
            assert wide == 0, notebook.stem
            stored = nbformat.read(notebook, as_version=4)
            pictures = sum(
                "image/png" in output.get("data", {})
                for cell in stored.cells
                for output in cell.get("outputs", [])
            )
            there = page.tab.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea img").count()
            assert there == pictures, f"{notebook.stem}: {there} of {pictures} stored pictures are shown"
            page.tab.keyboard.press("Control+b")
