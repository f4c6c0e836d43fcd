"""Single cells of a notebook, run on small data: what the tests of notebooks 10 to 12 share."""

import contextlib
import io
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"


class NotebookCells:
    """The code cells of a notebook, such as "10_gpt", found by words that stand in one of them only."""

    def __init__(self, stem: str):
        notebook = nbformat.read(FOLDER / f"{stem}.ipynb", as_version=4)
        self.sources = [c.source for c in notebook.cells if c.cell_type == "code"]

    def cell(self, words: str) -> str:
        """The only code cell with these words in it."""
        (found,) = (source for source in self.sources if words in source)
        return found

    def run(self, words: str, names: dict) -> str:
        """Run that cell with these variables; returns what it printed."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(self.cell(words), names)
        return printed.getvalue()


class Explored:
    """Stands where the slider would be: keeps what the notebook gives to it."""

    def __call__(self, draw, caption, *, start=None, **controls):
        self.draw, self.start, self.controls = draw, start, controls
