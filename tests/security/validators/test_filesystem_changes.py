"""Creating, replacing, renaming, removing and walking, each only within the right for it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mcp_interface.errors import CallerMistaken, LostRace, NotFound, NotPermitted, WorldBroken
from mcp_security import FilesystemGate
from mcp_security.validators import filesystem, openat2, replacement

GATE = FilesystemGate()
KILLS = 100 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 8


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f").write_text("inside")
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "f").write_text("SECRET")
    (root / "out").symlink_to("../outside")
    (root / "link").symlink_to("../outside/f")
    return root


def uri(operation: str, path: Path | str, tail: str = "/**") -> str:
    return f"mcp://fs/{operation}{path}{tail}"


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def changes(root: Path, name: str):
    """Every method that changes something, on one name."""
    write, delete, path = uri("write", root), uri("delete", root), f"{root}/{name}"
    return [
        lambda: os.close(GATE.create_file(write, path)),
        lambda: GATE.replace_file(write, path, b"x"),
        lambda: GATE.make_directory(write, path),
        lambda: GATE.unlink(delete, path),
        lambda: GATE.remove_directory(delete, path),
        lambda: GATE.rename(delete, write, path, f"{root}/new"),
        lambda: GATE.rename(delete, write, f"{root}/a/b/f", path),
        lambda: GATE.rename(delete, write, f"{root}/a/b/f", path, replace=True),
    ]


def test_a_file_is_created_once(root: Path) -> None:
    path = f"{root}/new"
    file = GATE.create_file(uri("write", root), path)
    os.write(file, b"text")
    assert not os.get_inheritable(file)
    os.close(file)
    assert Path(path).read_text() == "text"
    with pytest.raises(CallerMistaken, match="exists already"):
        GATE.create_file(uri("write", path, ""), path)
    assert Path(path).read_text() == "text"


def test_a_file_is_replaced_and_keeps_mode_owner_and_group(root: Path) -> None:
    target = root / "a/b/f"
    target.chmod(0o4640)
    if os.geteuid() == 0:
        os.chown(target, 1234, 2345)
    before = target.stat()
    GATE.replace_file(uri("write", target, ""), str(target), b"new")
    after = target.stat()
    assert target.read_text() == "new"
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_mode & 0o7777 == 0o640, "set-user-id does not pass to other content"
    assert names(target.parent) == ["f"]


def test_a_new_file_has_the_mode_that_the_umask_leaves(root: Path) -> None:
    mask = os.umask(0o027)
    try:
        GATE.replace_file(uri("write", root), f"{root}/new", b"")
    finally:
        os.umask(mask)
    assert (root / "new").stat().st_mode & 0o777 == 0o640


def test_an_access_list_is_kept(root: Path) -> None:
    entry = [(1, 6, -1), (2, 6, 1234), (4, 0, -1), (16, 6, -1), (32, 0, -1)]
    packed = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, who in entry
    )
    target = root / "a/b/f"
    try:
        os.setxattr(target, "system.posix_acl_access", packed)
    except OSError:
        pytest.skip("no access lists on this filesystem")
    GATE.replace_file(uri("write", root), str(target), b"new")
    assert os.getxattr(target, "system.posix_acl_access") == packed


def test_a_group_that_cannot_be_kept_stops_the_replacement(root: Path, monkeypatch) -> None:
    def refuse(*arguments) -> None:
        raise PermissionError

    target = root / "a/b/f"
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away first")
    os.chown(target, 1234, 2345)
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(WorldBroken, match="group"):
        GATE.replace_file(uri("write", root), str(target), b"new")
    assert target.read_text() == "inside"
    assert names(target.parent) == ["f"]


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_failure_at_any_step_leaves_the_old_content_and_nothing_else(
    root: Path, monkeypatch, step: str
) -> None:
    def fail(*arguments, **options) -> None:
        raise OSError(28, "No space left on device")

    before = descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(replacement.os, step, fail)
        with pytest.raises(WorldBroken, match="No space left"):
            GATE.replace_file(uri("write", root), f"{root}/a/b/f", b"new")
    assert (root / "a/b/f").read_text() == "inside"
    assert names(root / "a/b") == ["f"]
    assert descriptors() == before


def test_a_short_write_is_continued(root: Path, monkeypatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, bytes(data[:3])))
    GATE.replace_file(uri("write", root), f"{root}/new", b"a longer text")
    monkeypatch.undo()
    assert (root / "new").read_text() == "a longer text"


def test_what_changed_since_it_was_seen_is_not_replaced(root: Path) -> None:
    target = root / "a/b/f"
    seen = target.stat()
    GATE.replace_file(uri("write", root), str(target), b"first", seen)
    for _ in range(2):
        with pytest.raises(LostRace, match="changed"):
            GATE.replace_file(uri("write", root), str(target), b"second", seen)
        assert target.read_text() == "first"
        target.write_text("first")
    target.unlink()
    with pytest.raises(LostRace):
        GATE.replace_file(uri("write", root), str(target), b"second", seen)
    assert names(target.parent) == []


def test_left_over_names_are_stepped_over(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(replacement, "_numbers", iter(range(1000)))
    for number in range(3):
        (root / f".umbrella-{os.getpid()}-{number}").write_text("left over")
    GATE.replace_file(uri("write", root), f"{root}/new", b"x")
    monkeypatch.setattr(replacement, "_numbers", iter([0] * 1000))
    with pytest.raises(WorldBroken, match="left over"):
        GATE.replace_file(uri("write", root), f"{root}/new", b"y")
    assert (root / "new").read_text() == "x"


def test_a_file_that_is_being_written_is_out_of_reach(root: Path) -> None:
    (root / ".umbrella-1-0").write_text("half of a secret")
    for tail in ("/**", "/.umbrella-1-0", "/*"):
        with pytest.raises(CallerMistaken, match="being written"):
            GATE.open_file(uri("read", root, tail), f"{root}/.umbrella-1-0")
    for change in changes(root, ".umbrella-1-0"):
        with pytest.raises(CallerMistaken, match="being written"):
            change()
    assert [entry.name for entry in GATE.list_directory(uri("list", root), str(root), 9)] == [
        "a", "link", "out"
    ]  # fmt: skip
    assert ".umbrella-1-0" not in [entry.name for entry in GATE.walk(uri("list", root), str(root), 99)]


def test_no_name_that_is_changed_is_followed(root: Path) -> None:
    for name in ("link", "out/f", "out/new", "out"):
        for change in changes(root, name)[:3]:
            with pytest.raises((NotPermitted, CallerMistaken)):
                change()
    for change in changes(root, "link")[4:]:
        with pytest.raises((NotPermitted, CallerMistaken)):
            change()
    for change in (*changes(root, "out/f"), *changes(root, "out/new")):
        with pytest.raises(NotPermitted, match="RESOLVE_BENEATH"):
            change()
    assert names(root.parent / "outside") == ["f"]
    assert (root.parent / "outside/f").read_text() == "SECRET"
    GATE.unlink(uri("delete", root), f"{root}/link")
    assert not (root / "link").is_symlink()
    assert (root.parent / "outside/f").read_text() == "SECRET"


def test_a_linked_directory_within_the_grant_is_used_under_a_whole_subtree_only(root: Path) -> None:
    (root / "in").symlink_to("a/b")
    GATE.replace_file(uri("write", root), f"{root}/in/new", b"x")
    assert (root / "a/b/new").read_text() == "x"
    for covering in (uri("write", root, "/in/new"), uri("write", root, "/*/new")):
        with pytest.raises(NotPermitted, match="RESOLVE_NO_SYMLINKS"):
            GATE.replace_file(covering, f"{root}/in/new", b"y")
    assert (root / "a/b/new").read_text() == "x"


def test_with_an_exact_right_only_that_path_is_touched(root: Path) -> None:
    exact = uri("write", root, "/a/b/g")
    for change in (
        lambda: GATE.replace_file(exact, f"{root}/a/b/f", b"x"),
        lambda: GATE.create_file(exact, f"{root}/a/b/h"),
        lambda: GATE.make_directory(exact, f"{root}/a/b/g/h"),
        lambda: GATE.unlink(uri("delete", root, "/a/b/g"), f"{root}/a/b/f"),
        lambda: GATE.rename(uri("delete", root), exact, f"{root}/a/b/f", f"{root}/a/b/h"),
        lambda: GATE.rename(uri("delete", root, "/a/b/g"), exact, f"{root}/a/b/f", f"{root}/a/b/g"),
    ):
        with pytest.raises(NotPermitted, match="not covered"):
            change()
    assert names(root / "a/b") == ["f"]
    GATE.rename(uri("delete", root, "/a/b/f"), exact, f"{root}/a/b/f", f"{root}/a/b/g")
    assert names(root / "a/b") == ["g"]


@pytest.mark.parametrize("operation", ["read", "list", "delete", "execute"])
def test_the_right_to_something_else_writes_nothing(root: Path, operation: str) -> None:
    for change in (GATE.create_file, GATE.make_directory):
        with pytest.raises(NotPermitted):
            change(uri(operation, root), f"{root}/new")
    with pytest.raises(NotPermitted):
        GATE.replace_file(uri(operation, root), f"{root}/a/b/f", b"")
    if operation != "delete":
        for change in (GATE.unlink, GATE.remove_directory):
            with pytest.raises(NotPermitted):
                change(uri(operation, root), f"{root}/a/b/f")
    assert (root / "a/b/f").read_text() == "inside"


def test_a_file_is_moved_to_a_free_name(root: Path) -> None:
    delete, write = uri("delete", root), uri("write", root)
    (root / "g").write_text("other")
    with pytest.raises(CallerMistaken, match="exists already"):
        GATE.rename(delete, write, f"{root}/a/b/f", f"{root}/g")
    GATE.rename(delete, write, f"{root}/a/b/f", f"{root}/a/h")
    assert (root / "a/h").read_text() == "inside"
    GATE.rename(delete, write, f"{root}/a/h", f"{root}/g", replace=True)
    GATE.rename(delete, write, f"{root}/g", f"{root}/free", replace=True)
    assert (root / "free").read_text() == "inside"
    assert names(root / "a") == ["b"]


def test_only_files_are_moved(root: Path) -> None:
    delete, write = uri("delete", root), uri("write", root)
    os.mkfifo(root / "pipe")
    for name in ("a", "pipe", "link", "out"):
        with pytest.raises(CallerMistaken, match="regular"):
            GATE.rename(delete, write, f"{root}/{name}", f"{root}/new")
    for name in ("a", "pipe", "link"):
        with pytest.raises(CallerMistaken, match="regular"):
            GATE.rename(delete, write, f"{root}/a/b/f", f"{root}/{name}", replace=True)
    with pytest.raises(NotFound, match="/none"):
        GATE.rename(delete, write, f"{root}/none", f"{root}/new")
    assert names(root) == ["a", "link", "out", "pipe"]


@pytest.mark.parametrize("taken", [False, True])
def test_what_takes_the_files_place_while_it_is_moved_is_put_back(
    root: Path, monkeypatch, taken: bool
) -> None:
    look, move = filesystem._require_file, openat2.rename

    def swapped(directory: int, name: str, path: str) -> None:
        look(directory, name, path)
        (root / "f").rename(root / "kept")
        (root / "a").rename(root / "f")

    def moved(*arguments, **options) -> None:
        move(*arguments, **options)
        if taken:
            (root / "f").write_text("in its place again")

    (root / "f").write_text("file")
    monkeypatch.setattr(filesystem, "_require_file", swapped)
    monkeypatch.setattr(openat2, "rename", moved)
    with pytest.raises(LostRace, match="it is at .*/new" if taken else "it is back"):
        GATE.rename(uri("delete", root), uri("write", root), f"{root}/f", f"{root}/new")
    assert (root / ("new" if taken else "f") / "b/f").read_text() == "inside"
    assert names(root) == ["f", "kept", "link", *(["new"] if taken else []), "out"]


def test_to_another_filesystem_nothing_is_moved_and_no_link_is_blamed(root: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == root.stat().st_dev:
        pytest.skip("no second filesystem")
    with pytest.raises(CallerMistaken, match="filesystems"):
        GATE.rename(
            uri("delete", root), "mcp://fs/write/dev/shm/*", f"{root}/a/b/f", f"/dev/shm/{os.getpid()}-f"
        )
    assert (root / "a/b/f").read_text() == "inside"


def test_directories_are_made_and_removed_when_empty(root: Path) -> None:
    write, delete = uri("write", root), uri("delete", root)
    GATE.make_directory(write, f"{root}/d")
    with pytest.raises(CallerMistaken, match="exists already"):
        GATE.make_directory(write, f"{root}/d")
    with pytest.raises(NotFound):
        GATE.make_directory(write, f"{root}/none/d")
    with pytest.raises(CallerMistaken, match="is a directory"):
        GATE.unlink(delete, f"{root}/d")
    with pytest.raises(CallerMistaken, match="not empty"):
        GATE.remove_directory(delete, f"{root}/a")
    with pytest.raises(CallerMistaken, match="not a directory"):
        GATE.remove_directory(delete, f"{root}/a/b/f")
    GATE.remove_directory(delete, f"{root}/d")
    assert names(root) == ["a", "link", "out"]


def test_the_granted_directory_itself_may_be_made_and_removed_but_no_link_leads_to_it(root: Path) -> None:
    GATE.make_directory(uri("write", root / "d"), f"{root}/d")
    GATE.remove_directory(uri("delete", root / "d"), f"{root}/d")
    with pytest.raises(NotPermitted, match="RESOLVE_NO_SYMLINKS"):
        GATE.make_directory(uri("write", root / "out/d"), f"{root}/out/d")
    with pytest.raises(CallerMistaken, match="directory"):
        GATE.replace_file(uri("write", root), str(root), b"x")


def test_changing_leaves_no_descriptor_open(root: Path) -> None:
    os.mkfifo(root / "pipe")
    before = descriptors()
    for name in ("a/b/f", "link", "out/f", "pipe", "a", "none", "a/b/f/x", "none/x"):
        for change in changes(root, name):
            with suppress(CallerMistaken, NotPermitted, NotFound, LostRace):
                change()
    assert descriptors() == before


def test_a_pipe_with_a_reader_is_not_written_to(root: Path) -> None:
    os.mkfifo(root / "pipe")
    reader = os.open(root / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(CallerMistaken, match="not a regular file"):
            GATE.replace_file(uri("write", root), f"{root}/pipe", b"x")
    finally:
        os.close(reader)


def test_a_walk_sees_everything_below_in_order_and_follows_no_link(root: Path) -> None:
    (root / "a" / "z").write_text("123")
    (root / "a" / "in").symlink_to("b")
    (root / os.fsdecode(b"\xff")).mkdir()
    (root / os.fsdecode(b"\xff") / "g").touch()
    found = [(entry.name, entry.kind, entry.size) for entry in GATE.walk(uri("list", root), str(root), 99)]
    assert found == [
        ("a", "directory", 0), ("link", "symlink", 0), ("out", "symlink", 0), ("\ufffd", "directory", 0),
        ("a/b", "directory", 0), ("a/in", "symlink", 0), ("a/z", "file", 3), ("a/b/f", "file", 6),
        ("\ufffd/g", "file", 0),
    ]  # fmt: skip


def test_a_walk_is_bounded_and_may_be_left_early(root: Path) -> None:
    before = descriptors()
    assert len(list(GATE.walk(uri("list", root), str(root), 4))) == 4
    walk = GATE.walk(uri("list", root), str(root), 99)
    next(walk)
    walk.close()
    GATE.walk(uri("list", root), str(root), 99)
    assert descriptors() == before
    for limit in (0, 100_001):
        with pytest.raises(CallerMistaken):
            next(GATE.walk(uri("list", root), str(root), limit))


def test_a_walk_needs_the_right_to_everything_below(root: Path) -> None:
    for tail in ("", "/*", "/a"):
        with pytest.raises(NotPermitted, match="not covered"):
            next(GATE.walk(uri("list", root, tail), str(root), 9))
    with pytest.raises(NotPermitted, match="RESOLVE_BENEATH"):
        next(GATE.walk(uri("list", root), f"{root}/out", 9))
    with pytest.raises(CallerMistaken, match="not a directory"):
        next(GATE.walk(uri("list", root), f"{root}/a/b/f", 9))


def test_what_vanishes_during_a_walk_is_passed_over(root: Path) -> None:
    walk = GATE.walk(uri("list", root), str(root), 99)
    assert next(walk).name == "a"
    (root / "a").rename(root.parent / "outside" / "a")
    (root / "a").symlink_to("../outside")
    assert [entry.name for entry in walk] == ["link", "out"]


REPLACER = """
import os, sys
from mcp_security.validators.filesystem import FilesystemGate
parent = os.getppid()
gate, path = FilesystemGate(), sys.argv[1]
contents = [letter * 300_000 for letter in (b"a", b"b")]
print("writing", flush=True)
while os.getppid() == parent:  # not for ever, should the test be killed
    for content in contents:
        gate.replace_file(f"mcp://fs/write{path}", path, content)
"""


def test_a_writer_that_is_killed_leaves_the_old_content_or_the_new(root: Path) -> None:
    target = root / "a/b/f"
    target.write_text("a" * 300_000)
    before = target.stat().st_ino
    for number in range(KILLS):
        writer = subprocess.Popen([sys.executable, "-c", REPLACER, str(target)], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"writing\n"
        time.sleep(0.003 * (number % 10))
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        writer.stdout.close()
        content = target.read_bytes()
        assert content in {b"a" * 300_000, b"b" * 300_000}, f"a mix of {len(content)} bytes"
    assert target.stat().st_ino != before, "nothing was ever replaced"
    GATE.replace_file(uri("write", root), str(target), b"and it still works")
    assert target.read_bytes() == b"and it still works"
    assert [entry.name for entry in GATE.walk(uri("list", root), f"{root}/a/b", 999)] == ["f"]
