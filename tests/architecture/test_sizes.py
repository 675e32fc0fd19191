"""Modules and functions stay small enough to be read at once."""

import ast
from pathlib import Path

MODULE_LINES = 600
FUNCTION_LINES = 70

# May only shrink: whoever makes one of them smaller takes it out.
LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def test_no_module_is_too_long(root: Path, files: list[Path]) -> None:
    found = {
        str(file): length
        for file in files
        if file.suffix == ".py" and (length := len((root / file).read_text().splitlines())) > MODULE_LINES
    }
    assert found == LONG_MODULES


def test_no_function_is_too_long(root: Path, files: list[Path]) -> None:
    found = {}
    for file in files:
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse((root / file).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    found[f"{file}:{node.name}"] = length
    assert found == LONG_FUNCTIONS
