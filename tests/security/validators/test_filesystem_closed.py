"""Directories that no right reaches: whatever covers them, by whatever name, nothing in them is read or changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_interface.errors import NotPermitted
from mcp_security import FilesystemGate

WIDE = "mcp://fs/{}/**"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with what is the node's in it, and three ways there."""
    home = tmp_path.resolve() / "home"
    (home / "node" / "logs").mkdir(parents=True)
    (home / "node" / "token").write_text("SECRET")
    (home / "node-notes").write_text("open")
    (home / "link").symlink_to("node")
    (home / "token").symlink_to("node/token")
    (home / "logs").symlink_to("node/logs")
    return home


@pytest.fixture
def gate(home: Path) -> FilesystemGate:
    return FilesystemGate(closed=[home / "node"])


def below(operation: str, home: Path) -> str:
    return f"mcp://fs/{operation}{home}/**"


@pytest.mark.parametrize("name", ["node/token", "link/token", "token"])
def test_nothing_in_it_is_read_by_any_name(gate: FilesystemGate, home: Path, name: str) -> None:
    for covering in (below("read", home), f"mcp://fs/read{home}/{name}", WIDE.format("read")):
        with pytest.raises(NotPermitted):
            gate.open_file(covering, f"{home}/{name}")


def test_the_reason_names_it(gate: FilesystemGate, home: Path) -> None:
    with pytest.raises(NotPermitted, match="belongs to the node itself") as caught:
        gate.open_file(below("read", home), f"{home}/link/token")
    assert caught.value.details["reason"] == "path_not_allowed"


@pytest.mark.parametrize("folder", ["node", "link", "node/logs", "logs"])
def test_nothing_in_it_is_changed(gate: FilesystemGate, home: Path, folder: str) -> None:
    write, delete, inside = below("write", home), below("delete", home), f"{home}/{folder}/new"
    changes: list[Callable[[], object]] = [
        lambda: gate.create_file(write, inside),
        lambda: gate.replace_file(write, inside, b"x"),
        lambda: gate.make_directory(write, inside),
        lambda: gate.unlink(delete, f"{home}/{folder}/token"),
        lambda: gate.rename(delete, write, f"{home}/node-notes", inside),
        lambda: gate.rename(delete, write, f"{home}/{folder}/token", f"{home}/taken"),
        lambda: gate.remove_directory(delete, f"{home}/{folder}/logs"),
    ]
    for change in changes:
        with pytest.raises(NotPermitted):
            change()
    assert sorted(os.listdir(home / "node")) == ["logs", "token"]
    assert (home / "node-notes").read_text() == "open"


def test_nothing_in_it_is_listed_and_a_walk_goes_around(gate: FilesystemGate, home: Path) -> None:
    for folder in ("node", "link", "logs"):
        with pytest.raises(NotPermitted):
            gate.list_directory(below("list", home), f"{home}/{folder}", 10)
    found = [entry.name for entry in gate.walk(below("list", home), str(home), 100)]
    assert found == ["link", "logs", "node", "node-notes", "token"]


def test_it_is_closed_by_its_real_path(home: Path) -> None:
    gate = FilesystemGate(closed=[home / "link"])
    with pytest.raises(NotPermitted):
        gate.open_file(below("read", home), f"{home}/node/token")


def test_a_neighbour_with_a_longer_name_stays_open(gate: FilesystemGate, home: Path) -> None:
    os.close(gate.open_file(below("read", home), f"{home}/node-notes"))


def test_refusing_leaves_no_descriptor_open(gate: FilesystemGate, home: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("token", "link/token"):
        with pytest.raises(NotPermitted):
            gate.open_file(below("read", home), f"{home}/{name}")
    with pytest.raises(NotPermitted):
        gate.unlink(below("delete", home), f"{home}/link/token")
    assert len(os.listdir("/proc/self/fd")) == before
