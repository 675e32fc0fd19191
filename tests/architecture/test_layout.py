"""Everything is where a newcomer looks for it."""

import ast
from pathlib import Path

import pytest

PACKAGES = ("interface", "security", "persistence", "core", "web", "cli")
FOLDERS = {".ci", ".github", "packages", "tests"}
MEANS_NOTHING = {"utils", "util", "helpers", "helper", "common", "shared", "misc"}


def test_the_top_level_holds_the_known_folders_only(files: list[Path]) -> None:
    assert {file.parts[0] for file in files if len(file.parts) > 1} == FOLDERS


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_a_wheel_with_a_page_and_types(package: str, root: Path) -> None:
    folder = root / "packages" / f"mcp_{package}"
    assert (folder / "pyproject.toml").is_file()
    assert (folder / "src" / f"mcp_{package}" / "py.typed").is_file()
    assert len((folder / "README.md").read_text().split()) >= 20, "a README says what the package is for"


def test_every_module_says_what_it_is(root: Path, modules: list[Path]) -> None:
    silent = [str(file) for file in modules if not ast.get_docstring(ast.parse((root / file).read_text()))]
    assert silent == []


def test_no_module_has_a_name_that_means_nothing(files: list[Path]) -> None:
    assert [str(file) for file in files if {file.stem, *file.parts} & MEANS_NOTHING] == []


def test_no_lock_file_records_where_things_were_downloaded(files: list[Path]) -> None:
    assert not {"uv.lock", "poetry.lock", "yarn.lock", "pnpm-lock.yaml"} & {file.name for file in files}
