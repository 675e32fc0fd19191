"""What a package exports is what can be seen of it: sorted, complete, and nothing by accident."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_interface.codec import decode_json

SRC = Path(__file__).parents[2] / "packages"
PACKAGES = sorted(
    ".".join(file.parent.relative_to(src).parts)
    for src in SRC.glob("*/src")
    for file in src.rglob("__init__.py")
)
LATE_LOADING = {"TYPE_CHECKING", "Any", "import_module"}
"""What an `__init__` that loads its names late may need for itself."""


def order(name: str) -> tuple[int, list[tuple[bool, int, str]]]:
    """Constants, then classes, then the rest; numbers by their value. The linter sorts in the same way."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, [
        (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_are_sorted_and_can_be_had(package: str) -> None:
    module = importlib.import_module(package)
    exported = getattr(module, "__all__", [])
    assert exported == sorted(set(exported), key=order)
    for name in exported:
        assert not name.startswith("_")
        getattr(module, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_visible_by_accident(package: str) -> None:
    # In a fresh interpreter: a submodule that somebody else imported is visible too, and no accident.
    code = (
        "import importlib, json, sys, types\n"
        f"module = importlib.import_module({package!r})\n"
        "print(json.dumps([name for name, value in vars(module).items()"
        " if not name.startswith('_') and not isinstance(value, types.ModuleType)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    visible = set(decode_json(done.stdout, list[str])) - LATE_LOADING
    assert visible <= set(getattr(importlib.import_module(package), "__all__", []))


@pytest.mark.parametrize("package", PACKAGES)
def test_an_init_only_says_what_the_package_offers(package: str) -> None:
    [file] = SRC.glob(f"*/src/{package.replace('.', '/')}/__init__.py")
    docstring, *rest = ast.parse(file.read_text()).body
    assert isinstance(docstring, ast.Expr)
    for node in rest:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.If):
            continue
        if isinstance(node, ast.FunctionDef):
            assert node.name in {"__getattr__", "__dir__"}, f"{file}:{node.lineno}"
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        assert isinstance(target, ast.Name), f"{file}:{node.lineno}"
        assert target.id.startswith("_"), f"{file}:{node.lineno}"
