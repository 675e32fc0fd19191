"""What the package shows, and the small things the contracts compute."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest

import mcp_interface
from mcp_interface import (
    AnyCommand,
    GetSession,
    ListSessions,
    NodeStatus,
    Page,
    Session,
    StopNode,
    ToolResult,
    result_type,
    text_result,
)
from mcp_interface import testing as kit

MODULES = [module.name for module in pkgutil.iter_modules(mcp_interface.__path__) if not module.ispkg]


def _defined(module: str) -> set[str]:
    tree = ast.parse(Path(importlib.import_module(f"mcp_interface.{module}").__file__ or "").read_text())
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
    return {name for name in names if not name.startswith("_") and len(name) > 1}


def test_every_public_name_is_shown_once() -> None:
    defined = [name for module in MODULES for name in _defined(module)]
    assert sorted(defined) == sorted(set(mcp_interface.__all__))
    assert len(mcp_interface.__all__) == len(set(mcp_interface.__all__))
    for name in mcp_interface.__all__:
        assert hasattr(mcp_interface, name)


@pytest.mark.parametrize("package", [mcp_interface, kit, kit.exams])
def test_names_are_listed_in_order(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    kinds = [(not name.isupper(), name[0].islower(), name) for name in names]
    assert kinds == sorted(kinds)


def test_the_package_imports_little() -> None:
    script = """
import sys
import mcp_interface
heavy = {"asyncio", "mcp_interface.testing", "pytest", "pykka", "mcp"} & set(sys.modules)
assert not heavy, heavy
import mcp_interface.testing
assert "pytest" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_every_command_declares_its_result() -> None:
    for command in get_args(AnyCommand):
        assert result_type(command) is not msgspec.UNSET
    assert result_type(GetSession) is Session
    assert result_type(ListSessions()) == Page[Session]
    assert result_type(StopNode()) is type(None)
    assert result_type(mcp_interface.GetStatus()) is NodeStatus


def test_commands_have_tags_of_their_own() -> None:
    tags = [command.__struct_config__.tag for command in get_args(AnyCommand)]
    assert len(set(tags)) == len(tags)
    assert all(command.__struct_config__.tag_field == "command" for command in get_args(AnyCommand))


def test_a_result_reads_as_text() -> None:
    assert text_result("hello").text == "hello"
    assert text_result("no", is_error=True).is_error
    mixed = ToolResult(
        content=[{"type": "text", "text": "a"}, {"type": "image", "data": ""}, {}, {"type": "text"}]
    )
    assert mixed.text == "a\n[image]\n[unknown]\n"
