"""Every case that cases.py lists is held by tests that exist."""

import ast
from pathlib import Path

import pytest
from cases import CASES

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("number", sorted(CASES))
def test_the_case_has_a_test(number):
    assert CASES[number]
    for place in CASES[number]:
        file, name = place.split("::")
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in functions, place
