"""The committed notebooks hold the outputs of one clean run of the cells that they show."""

import ast
import builtins
import re
from pathlib import Path

import nbformat
import pytest

from helpers.lesson import course
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


def test_its_first_page_tells_the_minutes_that_the_tables_tell(path, notebook):
    minutes = re.findall(r"about (\d+) minutes", notebook.cells[0].source)
    assert minutes == [str(course.notebook(path.stem[:2]).minutes)]


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


def test_it_stores_no_process_that_broke_off(notebook):
    """Some cells show a command that refuses something. None shows one that was torn away, as 13 once did."""
    said = "".join(str(output.get("text", "")) for output in outputs(notebook))
    assert not re.findall(r"terminate called|ChildFailedError|Segmentation fault|core dumped", said)


def test_it_stores_pictures_with_a_text_for_who_cannot_see_them(notebook):
    pictures = [o for o in outputs(notebook) if "image/png" in o.get("data", {})]
    assert pictures and all(o.metadata["image/png"]["alt"] for o in pictures)


def test_the_text_of_a_picture_stands_under_it_as_its_caption(notebook):
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                caption = f"*{output.metadata['image/png']['alt']}*"
                below = notebook.cells[number + 1]
                assert below.cell_type == "markdown" and caption in below.source, caption


def test_it_stores_none_of_the_books_words(notebook):
    tagged = [cell for _, cell in code_cells(notebook) if QUOTES_BOOK in cell.metadata.get("tags", [])]
    assert not any(cell.outputs for cell in tagged)


def test_no_output_shares_a_line_of_text_with_the_book(notebook, oz):
    """Nor does any cell: 40 characters in a row, blanks apart, are no accident."""
    length, book = 40, " ".join(oz.split())
    spans = {book[i : i + length] for i in range(len(book) - length)}
    shown = [cell.source for cell in notebook.cells]
    for output in outputs(notebook):
        shown += [
            output.get("text", ""),
            *(str(v) for k, v in output.get("data", {}).items() if "png" not in k),
        ]
    for text in (" ".join(each.split()) for each in shown):
        quoted = next(
            (text[i : i + length] for i in range(len(text) - length) if text[i : i + length] in spans), ""
        )
        assert not quoted, quoted


def test_every_section_of_the_lecture_shows_something_that_ran(notebook):
    """Between a section's heading and the next heading stands a cell with an output."""
    marks = [n for n, cell in enumerate(notebook.cells) if "course_section" in cell.metadata]
    ends = [n for n, cell in enumerate(notebook.cells) if cell.source.startswith(("## ", "# "))]
    assert marks
    for mark in marks:
        assert notebook.cells[mark].source.startswith("## ")
        end = min((n for n in ends if n > mark), default=len(notebook.cells))
        ran = [cell for cell in notebook.cells[mark:end] if cell.cell_type == "code"]
        shown = [cell for cell in ran if cell.outputs or QUOTES_BOOK in cell.metadata.get("tags", [])]
        number = notebook.cells[mark].metadata["course_section"]
        assert shown or number in (1, 71, 72), f"section {number}"


def test_it_gives_no_new_meaning_to_a_builtin(notebook):
    for _, cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            names = [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [each.asname or each.name for each in node.names]
            elif isinstance(node, ast.arg):
                names = [node.arg]
            for name in names:
                assert name.startswith("__") or not hasattr(builtins, name), f"{name} in {cell.source[:60]!r}"


def test_its_links_to_files_are_alive(path, notebook):
    for cell in notebook.cells:
        for target in LINK.findall(cell.source) if cell.cell_type == "markdown" else []:
            assert "://" in target or (path.parent / target).exists(), target
