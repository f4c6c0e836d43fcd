"""The committed notebooks hold the outputs of one clean run of the cells that they show."""

import ast
import builtins
import re
from pathlib import Path

import nbformat
import pytest

from helpers.lesson.finding import course_notebooks
from helpers.lesson.saving import QUOTES_BOOK, WIDGET, code_cells, source_hash

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = [FOLDER / name for name in course_notebooks(FOLDER)]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def outputs(notebook):
    return [output for _, cell in code_cells(notebook) for output in cell.outputs]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 2
    assert any(QUOTES_BOOK in path.read_text(encoding="utf-8") for path in NOTEBOOKS)


def test_it_is_a_valid_notebook_for_the_python3_kernel(path, notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < 1_000_000


def test_its_outputs_are_those_of_the_cells_it_shows(notebook):
    assert [cell.execution_count for _, cell in code_cells(notebook)] == list(
        range(1, len(code_cells(notebook)) + 1)
    )
    assert notebook.metadata.course.source_hash == source_hash(notebook)


def test_it_stores_no_error_no_warning_and_no_widget(notebook):
    stored = outputs(notebook)
    assert stored and "widgets" not in notebook.metadata
    assert not [
        o
        for o in stored
        if o.output_type == "error" or o.get("name") == "stderr" or WIDGET in o.get("data", {})
    ]


def test_it_stores_pictures_with_a_text_for_who_cannot_see_them(notebook):
    pictures = [o for o in outputs(notebook) if "image/png" in o.get("data", {})]
    assert pictures and all(o.metadata["image/png"]["alt"] for o in pictures)


def test_it_stores_none_of_the_books_words(notebook):
    tagged = [cell for _, cell in code_cells(notebook) if QUOTES_BOOK in cell.metadata.get("tags", [])]
    assert not any(cell.outputs for cell in tagged)


def test_it_gives_no_new_meaning_to_a_builtin(notebook):
    for _, cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                assert not hasattr(builtins, node.id), f"{node.id} in {cell.source[:60]!r}"


def test_its_links_to_files_are_alive(path, notebook):
    for cell in notebook.cells:
        for target in LINK.findall(cell.source) if cell.cell_type == "markdown" else []:
            assert "://" in target or (path.parent / target).exists(), target
