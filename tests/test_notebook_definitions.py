"""What a notebook builds and what `helpers` holds under the same name are the same code.

A learner builds a function or a class in cells and imports it from helpers in the next notebook. So the last
definition in a notebook must be the helper's own, apart from docstrings, comments, layout and type hints. Earlier
definitions of the name in the same notebook are steps on the way and may differ.
"""

import ast
import difflib
from pathlib import Path

import nbformat
import pytest

from helpers.lesson.finding import course_notebooks

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = [FOLDER / name for name in course_notebooks(FOLDER)]
MODULES = (
    "tokenizer",
    "bpe",
    "batches",
    "bigram",
    "gpt",
    "training",
    "losses",
    "steps",
    "sampling",
    "timing",
    "optimizers",
    "normalization",
    "hugging_face",
    "cache",
    "memorisation",
    "lora",
    "questions",
    "answers",
)

# Notebook 16 writes parts anew under names that they had before (FeedForward): there they are those of this module.
ANEW = {"16": "modern"}

# {(notebook, name): reason} of definitions that differ from the helper's and are compared in another way: by shape,
# gradient and state_dict, in a test of their own. At most five.
EXCEPTIONS: dict[tuple[str, str], str] = {}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Bare(ast.NodeTransformer):
    """Takes docstrings and type hints out of a definition."""

    def _without_docstring(self, node):
        self.generic_visit(node)
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_ClassDef = _without_docstring

    def visit_FunctionDef(self, node):
        node.returns = None
        return self._without_docstring(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        if node.value is None:
            return ast.Expr(node.target)
        return ast.Assign([node.target], node.value)


def bare(node: Definition) -> str:
    """The code of a definition in one layout, without docstrings, comments and type hints."""
    copy = ast.parse(ast.unparse(node)).body[0]
    return ast.unparse(ast.fix_missing_locations(Bare().visit(copy)))


def definitions(source: str) -> list[Definition]:
    """The functions and classes at the top level of a piece of code."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in ast.parse(source).body if isinstance(node, kinds)]


def of_helpers(number: str = "") -> dict[str, tuple[str, str]]:
    """{public name: (module, code)} of all that the modules define, as it is in the notebook of this number."""
    found = {}
    for module in MODULES:
        for node in definitions((ROOT / "helpers" / f"{module}.py").read_text(encoding="utf-8")):
            if not node.name.startswith("_"):
                assert node.name not in found, f"{node.name} is defined in two modules of helpers"
                found[node.name] = (module, bare(node))
    if module := ANEW.get(number):
        anew = definitions((ROOT / "helpers" / f"{module}.py").read_text(encoding="utf-8"))
        found |= {node.name: (module, bare(node)) for node in anew}
    return found


def last_in_notebook(cells: list[str]) -> dict[str, str]:
    """{name: code} of the last definition of each name in these cells."""
    lines = (line for cell in cells for line in [*cell.splitlines(), ""])
    source = "\n".join("" if line.startswith(("%", "!")) else line for line in lines)
    return {node.name: bare(node) for node in definitions(source)}


def drift(cells: list[str], helpers: dict[str, tuple[str, str]]) -> dict[str, str]:
    """{name: difference} of the last definitions that are not the helper's."""
    found = {}
    for name, code in last_in_notebook(cells).items():
        if name in helpers and code != helpers[name][1]:
            module, theirs = helpers[name]
            lines = difflib.unified_diff(
                theirs.splitlines(),
                code.splitlines(),
                f"helpers/{module}.py",
                "the notebook",
                lineterm="",
                n=2,
            )
            found[name] = "\n".join(lines)
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_last_definition_in_a_notebook_is_that_of_helpers(path):
    notebook = nbformat.read(path, as_version=4)
    found = drift(
        [cell.source for cell in notebook.cells if cell.cell_type == "code"], of_helpers(path.stem[:2])
    )
    wrong = {name: text for name, text in found.items() if (path.stem, name) not in EXCEPTIONS}
    told = "\n\n".join(
        f"{name} differs (docstrings and type hints left out):\n{wrong[name]}" for name in wrong
    )
    assert not wrong, f"{path.name} ends with other code than helpers has.\n\n{told}"


def test_there_are_few_exceptions_and_each_is_still_needed():
    assert len(EXCEPTIONS) <= 5 and all(EXCEPTIONS.values())
    for stem, name in EXCEPTIONS:
        notebook = nbformat.read(FOLDER / f"{stem}.ipynb", as_version=4)
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        assert name in drift(cells, of_helpers(stem[:2])), f"{name} in {stem} is no exception any more"


# --- the comparison itself ---

HELPER = '''
def shift(ids: Tensor, by: int = 1) -> Tensor:
    """Move ids."""
    start: int = by  # a comment
    return ids[start:]


class Model:
    """Nothing yet."""

    size: int
'''
HELPERS = {node.name: ("toy", bare(node)) for node in definitions(HELPER)}


@pytest.mark.parametrize(
    "cells",
    [
        [HELPER],
        ["def shift(ids, by=1):\n    start = by\n    return ids[ start : ]", "class Model:\n    size: int"],
        [
            "%matplotlib inline\ndef shift(ids):\n    return ids",
            "x = 1",
            HELPER,
        ],  # a first step, then the real one
        ["def other():\n    def shift(ids):\n        pass", "shift = 3"],
        [],
    ],
    ids=["the same", "without hints", "taught in steps", "not at the top", "nothing"],
)
def test_layout_hints_docstrings_and_earlier_steps_do_not_count(cells):
    assert drift(cells, HELPERS) == {}


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        (["def shift(ids, by=2):\n    start = by\n    return ids[start:]"], "+def shift(ids, by=2):"),
        ([HELPER, "def shift(ids, by=1):\n    return ids"], "-    start = by"),
        (["class Model:\n    pass"], "-    size"),
        (["@decorated\n" + HELPER.strip()], "+@decorated"),
    ],
)
def test_other_code_is_shown_as_a_difference(cells, line):
    (text,) = drift(cells, HELPERS).values()
    assert line in text.splitlines() and "--- helpers/toy.py" in text
