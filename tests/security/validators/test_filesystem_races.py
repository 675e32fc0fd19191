"""Another process swaps links for files and directories all the time; nothing of it ever leaks out or in."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mcp_interface.errors import CallerMistaken, LostRace, NotFound, NotPermitted, WorldBroken
from mcp_security import FilesystemGate

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
TRIES = 1_000_000 if NIGHTLY else 5_000
GATE = FilesystemGate()
SECRET = "SECRET"

pytestmark = pytest.mark.timeout(3_600 if NIGHTLY else 120)

SWAPPER = """
import ctypes, os, sys
one, other = (os.fsencode(name) for name in sys.argv[2:])
flags = int(sys.argv[1])
rename = ctypes.CDLL(None).renameat2
parent = os.getppid()
print("swapping", flush=True)
while os.getppid() == parent:  # not for ever, should the test be killed
    rename(-100, one, -100, other, flags)
    if not flags:
        rename(-100, other, -100, one, flags)
"""
EXCHANGE, MOVE = "2", "0"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a filesystem: a million durable changes of a disk take an hour."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path)).resolve()
    root = place / "root"
    (root / "x").mkdir(parents=True)
    (root / "x" / "f").write_text("inside")
    (place / "evil" / "x").mkdir(parents=True)
    for name in ("f", "v", "x/f"):
        (place / "evil" / name).write_text(SECRET)
    yield root
    shutil.rmtree(place)


@contextmanager
def swapping(flags: str, one: Path, other: Path) -> Iterator[None]:
    command = [sys.executable, "-I", "-S", "-c", SWAPPER, flags, str(one), str(other)]
    swapper = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert swapper.stdout.readline() == b"swapping\n"
        yield
    finally:
        swapper.kill()
        swapper.wait(10)
        swapper.stdout.close()


def drive(attempt: Callable[[int], str], *outcomes: str) -> None:
    """Try so often, and on until each outcome was seen; a leak is an outcome that is not expected."""
    seen = dict.fromkeys(outcomes, 0)
    for turn in range(TRIES * 40):
        if turn >= TRIES and all(seen.values()):
            break
        try:
            outcome = attempt(turn)
        except (NotPermitted, NotFound, WorldBroken, LostRace):
            outcome = "refused"
        assert outcome in seen, f"try {turn}: {outcome}"
        seen[outcome] += 1
    assert all(seen.values()), seen


def uri(operation: str, root: Path, tail: str = "/**") -> str:
    return f"mcp://fs/{operation}{root}{tail}"


def read(covering: str, path: Path | str) -> str:
    file = GATE.open_file(covering, str(path))
    try:
        return os.read(file, 100).decode()
    finally:
        os.close(file)


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_ino, path.read_text() if path.is_file() else "")
        for path in folder.rglob("*")
    }


@pytest.fixture
def swapped(root: Path) -> Iterator[int]:
    """`x` is a directory inside and a link to one outside, in turns; gives the inner one's descriptor."""
    (root / "swap").symlink_to("../evil")
    before = snapshot(root.parent / "evil")
    inside = os.open(root / "x", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with swapping(EXCHANGE, root / "x", root / "swap"):
            yield inside
        assert snapshot(root.parent / "evil") == before, "something outside was changed"
    finally:
        os.close(inside)


def make(directory: int, name: str) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o666, dir_fd=directory))


def test_the_race_is_real_for_who_checks_a_path_and_then_opens_it(root: Path, swapped: int) -> None:
    def attempt(turn: int) -> str:
        try:
            if not os.path.realpath(root / "x/f").startswith(f"{root}/"):
                return "refused"
            return (root / "x/f").read_text()
        except OSError:
            return "refused"

    drive(attempt, "inside", "refused", SECRET)


def test_opening(root: Path, swapped: int) -> None:
    coverings = [uri("read", root), uri("read", root, "/x/f"), uri("read", root, "/*/f")]
    drive(lambda turn: read(coverings[turn % 3], root / "x/f"), "inside", "refused")


def test_creating(root: Path, swapped: int) -> None:
    coverings = [uri("write", root), uri("write", root, "/x/new"), uri("write", root, "/x/*")]

    def attempt(turn: int) -> str:
        os.close(GATE.create_file(coverings[turn % 3], f"{root}/x/new"))
        os.unlink("new", dir_fd=swapped)
        return "inside"

    drive(attempt, "inside", "refused")


def test_making_and_removing_directories(root: Path, swapped: int) -> None:
    write, delete = uri("write", root), uri("delete", root)

    def attempt(turn: int) -> str:
        try:
            GATE.make_directory(write, f"{root}/x/d")
        except CallerMistaken:  # still there: removing it was refused
            GATE.remove_directory(delete, f"{root}/x/d")
        return "inside"

    drive(attempt, "inside", "refused")


def test_replacing(root: Path, swapped: int) -> None:
    write = uri("write", root)

    def attempt(turn: int) -> str:
        GATE.replace_file(write, f"{root}/x/v", b"x")
        return "inside"

    drive(attempt, "inside", "refused")


def test_unlinking(root: Path, swapped: int) -> None:
    delete = uri("delete", root)

    def attempt(turn: int) -> str:
        make(swapped, "v")
        GATE.unlink(delete, f"{root}/x/v")
        return "inside"

    drive(attempt, "inside", "refused")


def test_renaming_into(root: Path, swapped: int) -> None:
    delete, write, top = uri("delete", root), uri("write", root), os.open(root, os.O_RDONLY)

    def attempt(turn: int) -> str:
        make(top, "s")
        GATE.rename(delete, write, f"{root}/s", f"{root}/x/new")
        os.unlink("new", dir_fd=swapped)
        return "inside"

    try:
        drive(attempt, "inside", "refused")
    finally:
        os.close(top)


def test_renaming_out_of(root: Path, swapped: int) -> None:
    delete, write = uri("delete", root), uri("write", root)

    def attempt(turn: int) -> str:
        make(swapped, "v")
        GATE.rename(delete, write, f"{root}/x/v", f"{root}/t", replace=True)
        return "inside" if (root / "t").read_text() != SECRET else SECRET

    drive(attempt, "inside", "refused")


def test_listing_and_walking(root: Path, swapped: int) -> None:
    covering = uri("list", root)

    def attempt(turn: int) -> str:
        if turn % 2:
            found = [entry.name for entry in GATE.list_directory(covering, f"{root}/x", 9)]
            return "inside" if found == ["f"] else SECRET
        names = {entry.name for entry in GATE.walk(covering, str(root), 99)}
        return "inside" if names <= {"x", "swap", "x/f", "swap/f"} else SECRET

    drive(attempt, "inside", "refused")


def test_the_last_name_swapped_for_a_link_is_not_read(root: Path) -> None:
    (root / "f").write_text("inside")
    (root / "swap").symlink_to("../evil/f")
    with swapping(EXCHANGE, root / "f", root / "swap"):
        drive(lambda turn: read(uri("read", root), root / "f"), "inside", "refused")


def test_the_last_name_swapped_for_a_link_is_not_written_through(root: Path) -> None:
    before = snapshot(root.parent / "evil")

    def attempt(turn: int) -> str:
        # the link itself may be what is replaced, so there has to be a new one
        if not (root / "f").is_symlink() and not (root / "swap").is_symlink():
            with suppress(OSError):
                (root / "swap").unlink(missing_ok=True)
                (root / "swap").symlink_to("../evil/f")
        GATE.replace_file(uri("write", root), f"{root}/f", b"inside")
        return "inside"

    with swapping(EXCHANGE, root / "f", root / "swap"):
        drive(attempt, "inside", "refused")
    assert snapshot(root.parent / "evil") == before


def test_the_granted_directory_swapped_for_a_link(root: Path) -> None:
    (root.parent / "swap").symlink_to("evil")
    with swapping(EXCHANGE, root, root.parent / "swap"):
        drive(lambda turn: read(uri("read", root), root / "x/f"), "inside", "refused")


def test_a_directory_with_a_link_upwards_carried_out_of_the_grant(root: Path) -> None:
    (root / "secret").write_text("inside")
    (root.parent / "secret").write_text(SECRET)
    (root / "x" / "up").symlink_to("..")
    with swapping(MOVE, root / "x", root.parent / "x"):
        drive(lambda turn: read(uri("read", root), root / "x/up/secret"), "inside", "refused")


def test_a_file_swapped_for_a_directory_is_not_moved(root: Path) -> None:
    (root / "m").write_text("file")
    (root / "swap").mkdir()
    (root / "swap" / "hidden").touch()

    def attempt(turn: int) -> str:
        try:
            GATE.rename(uri("delete", root), uri("write", root), f"{root}/m", f"{root}/x/m")
        except CallerMistaken:
            return "refused"
        assert (root / "x/m").is_file()
        (root / "x/m").rename(root / "m")
        return "moved"

    with swapping(EXCHANGE, root / "m", root / "swap"):
        drive(attempt, "moved", "refused")
