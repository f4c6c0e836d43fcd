"""Every notebook runs from top to bottom in a copy of its own, on the built-in tales and on the book where it is."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.books import BOOK_PATH

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.notebook
@pytest.mark.parametrize("text", ["tales", "oz"])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_to_its_end(path, text, monkeypatch):
    if text == "oz" and not BOOK_PATH.is_file():
        pytest.skip("the Oz book is not in data/")
    monkeypatch.setenv("COURSE_TEXT", "tales" if text == "tales" else str(BOOK_PATH))
    notebook = nbformat.read(path, as_version=4)  # run in memory: the file stays as it is
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code if cell.source.strip())
    assert not [out for cell in code for out in cell.outputs if out.get("name") == "stderr"]
