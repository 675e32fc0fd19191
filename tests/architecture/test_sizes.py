"""Modules and functions stay small enough to be read at once."""

import ast
from pathlib import Path

MODULE_LINES = 600
FUNCTION_LINES = 70

# May only shrink: whoever makes one of them smaller takes it out.
LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def only_exports(text: str) -> bool:
    """Whether a module names what others define, and does nothing; such a list is as long as what it lists."""
    first, *rest = ast.parse(text).body
    return isinstance(first, ast.Expr) and all(
        isinstance(node, ast.ImportFrom)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in rest
    )


def test_no_module_is_too_long(root: Path, files: list[Path]) -> None:
    texts = {str(file): (root / file).read_text() for file in files if file.suffix == ".py"}
    lengths = {file: len(text.splitlines()) for file, text in texts.items()}
    found = {
        file: length
        for file, length in lengths.items()
        if length > MODULE_LINES and not (file.endswith("__init__.py") and only_exports(texts[file]))
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
