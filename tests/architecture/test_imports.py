"""Imports point one way, and each package states every library that it imports."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGES = ("interface", "security", "persistence", "core", "web", "cli")


def test_the_walls_between_the_rooms_hold(root: Path) -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-logo"], cwd=root, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_states_what_it_imports(package: str, root: Path, modules: list[Path]) -> None:
    own = f"mcp_{package}"
    stated = stated_by(root / "packages" / own / "pyproject.toml")
    # Editable installs are not in the table that the installed files give.
    bring = packages_distributions() | {f"mcp_{name}": [f"mcp-umbrella-{name}"] for name in PACKAGES}
    missing: dict[str, str] = {}
    for module in modules:
        if own not in module.parts:
            continue
        for name in imported(ast.parse((root / module).read_text())):
            if name == own or name in sys.stdlib_module_names:
                continue
            brought_by = {normal(found) for found in bring.get(name, [name])}
            if not brought_by & stated:
                missing[str(module)] = name
    assert missing == {}, f"imported, but not in the dependencies of {own}"


def stated_by(file: Path) -> set[str]:
    project = tomllib.loads(file.read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    return {
        normal(match[0])
        for line in [*project["dependencies"], *(line for extra in extras for line in extra)]
        if (match := re.match(r"[A-Za-z0-9._-]+", line))
    }


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
