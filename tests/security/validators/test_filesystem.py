import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, WorldBroken
from mcp_security import FilesystemGate
from mcp_security.validators import filesystem

GATE = FilesystemGate()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f").write_text("inside")
    (root.parent / "secret").write_text("SECRET")
    (root.parent / "root_evil").mkdir()
    (root.parent / "root_evil" / "f").write_text("SECRET")
    return root


def uri(operation: str, path: Path | str, tail: str = "") -> str:
    return f"mcp://fs/{operation}{path}{tail}"


def read(covering: str, path: Path | str) -> str:
    with os.fdopen(GATE.open_file(covering, str(path))) as file:
        return file.read()


def write(covering: str, path: Path | str, text: str) -> None:
    with os.fdopen(GATE.open_file(covering, str(path), write=True), "w") as file:
        file.write(text)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("tail", ["/**", "/", "/a/b/f", "/a/*/f", "/*/b/**"])
def test_a_covered_file_is_read(root: Path, tail: str) -> None:
    assert read(uri("read", root, tail), root / "a/b/f") == "inside"


def test_a_file_is_created_and_emptied(root: Path) -> None:
    target = root / "a" / "new"
    write(uri("write", root, "/**"), target, "a longer text")
    write(uri("write", target), target, "short")
    assert target.read_text() == "short"


@pytest.mark.parametrize(
    "path",
    [
        "relative", "", "{root}/../secret", "{root}/./a", "{root}//a/b/f", "{root}/a/b/f/", "{root}/a\x00b",
        "{root}/a\nb", "{root}/\ud800", "/", "//", "{root}/a/b/f/.",
    ],
)  # fmt: skip
def test_a_path_that_is_not_canonical_is_refused_not_repaired(root: Path, path: str) -> None:
    with pytest.raises(CallerMistaken):
        GATE.open_file("mcp://fs/read/**", path.replace("{root}", str(root)))


@pytest.mark.parametrize(
    ("covering", "path"),
    [
        ("mcp://fs/read{root}/**", "{root}_evil/f"),
        ("mcp://fs/read{root}/a", "{root}/a/b/f"),
        ("mcp://fs/read{root}/a/*", "{root}/a/b/f"),
        ("mcp://fs/write{root}/**", "{root}/a/b/f"),
        ("mcp://shell/execute{root}/**", "{root}/a/b/f"),
    ],
)
def test_what_is_not_covered_is_refused(root: Path, covering: str, path: str) -> None:
    with pytest.raises(NotPermitted):
        GATE.open_file(covering.replace("{root}", str(root)), path.replace("{root}", str(root)))


@pytest.mark.parametrize(
    "target", ["../secret", "/etc/passwd", "/proc/self/root/etc/passwd", "a/../../secret"]
)
def test_a_link_that_leads_outside_is_refused_with_the_rule(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    with pytest.raises(NotPermitted, match="RESOLVE_BENEATH"):
        read(uri("read", root, "/**"), root / "link")
    with pytest.raises(NotPermitted, match="RESOLVE"):
        write(uri("write", root, "/**"), root / "link", "x")
    assert (root.parent / "secret").read_text() == "SECRET"


def test_a_linked_directory_that_leads_outside_is_refused(root: Path) -> None:
    (root / "out").symlink_to(root.parent)
    for operation in (
        lambda: read(uri("read", root, "/**"), root / "out/secret"),
        lambda: write(uri("write", root, "/**"), root / "out/new", "x"),
        lambda: GATE.list_directory(uri("list", root, "/**"), str(root / "out"), 10),
    ):
        with pytest.raises(NotPermitted, match="RESOLVE_BENEATH"):
            operation()
    assert not (root.parent / "new").exists()


def test_a_link_is_followed_where_everything_beneath_is_granted(root: Path) -> None:
    (root / "inside").symlink_to("a/b")
    assert read(uri("read", root, "/**"), root / "inside/f") == "inside"


@pytest.mark.parametrize("tail", ["/x/f", "/*/f", "/x/*"])
def test_under_an_exact_path_or_a_glob_no_link_is_followed(root: Path, tail: str) -> None:
    (root / "x").symlink_to("a/b")
    with pytest.raises(NotPermitted, match="RESOLVE_NO_SYMLINKS"):
        read(uri("read", root, tail), root / "x/f")


def test_a_granted_directory_that_is_itself_a_link_is_refused_and_the_real_one_named(root: Path) -> None:
    (root / "docs").symlink_to(root.parent / "root_evil")
    with pytest.raises(NotPermitted) as caught:
        read(uri("read", root, "/docs/**"), root / "docs/f")
    assert str(root.parent / "root_evil") in caught.value.remedy


def test_a_loop_of_links_is_refused(root: Path) -> None:
    (root / "loop").symlink_to("loop")
    with pytest.raises(NotPermitted):
        read(uri("read", root, "/**"), root / "loop")


def test_only_regular_files_are_opened_and_a_pipe_does_not_block(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for path in (root / "pipe", root / "a"):
        for covering, flag in ((uri("read", root, "/**"), False), (uri("write", root, "/**"), True)):
            with pytest.raises(CallerMistaken):
                GATE.open_file(covering, str(path), write=flag)
    with pytest.raises(CallerMistaken, match="not a regular file"):
        GATE.open_file("mcp://fs/read/dev/**", "/dev/null")
    with pytest.raises(CallerMistaken):
        GATE.open_file(uri("write", root, "/**"), str(root), write=True)


def test_a_pipe_with_a_reader_is_not_written_to(root: Path) -> None:
    os.mkfifo(root / "pipe")
    reader = os.open(root / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(CallerMistaken, match="not a regular file"):
            GATE.open_file(uri("write", root, "/**"), str(root / "pipe"), write=True)
    finally:
        os.close(reader)


def test_missing_things_are_not_found(root: Path) -> None:
    for operation in (
        lambda: read(uri("read", root, "/**"), root / "none"),
        lambda: write(uri("write", root, "/**"), root / "none/new", "x"),
        lambda: GATE.list_directory(uri("list", root, "/**"), str(root / "none"), 1),
        lambda: read(uri("read", root, "/none/**"), root / "none/x"),
    ):
        with pytest.raises(NotFound):
            operation()
    with pytest.raises(CallerMistaken, match="not a directory"):
        read(uri("read", root, "/**"), root / "a/b/f/x")
    with pytest.raises(CallerMistaken, match="too long"):
        read(uri("read", root, "/**"), root / ("x" * 300))


def test_a_directory_is_listed_in_order_and_bounded(root: Path) -> None:
    (root / "z").write_text("123")
    (root / "link").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"\xff")).touch()
    found = GATE.list_directory(uri("list", root, "/**"), str(root), 100)
    assert [(entry.name, entry.kind, entry.size) for entry in found] == [
        ("a", "directory", 0),
        ("link", "symlink", 0),
        ("pipe", "other", 0),
        ("z", "file", 3),
        ("\ufffd", "file", 0),
    ]
    assert [entry.name for entry in GATE.list_directory(uri("list", root), str(root), 2)] == ["a", "link"]
    for limit in (0, -1, 10_001):
        with pytest.raises(CallerMistaken):
            GATE.list_directory(uri("list", root), str(root), limit)
    with pytest.raises(CallerMistaken):
        GATE.list_directory(uri("list", root, "/**"), str(root / "z"), 1)


def test_a_file_called_star_is_a_file(root: Path) -> None:
    (root / "*").write_text("star")
    assert read(uri("read", root, "/**"), root / "*") == "star"


def test_no_descriptor_is_left_open(root: Path) -> None:
    (root / "link").symlink_to("../secret")
    os.mkfifo(root / "pipe")
    before = descriptors()
    for name in ("a/b/f", "link", "pipe", "a", "none", "a/b/f/x"):
        for covering, flag in ((uri("read", root, "/**"), False), (uri("write", root, "/**"), True)):
            try:
                os.close(GATE.open_file(covering, str(root / name), write=flag))
            except (CallerMistaken, NotPermitted, NotFound):
                continue
    GATE.list_directory(uri("list", root), str(root), 10)
    assert descriptors() == before


def test_descriptors_are_not_inherited(root: Path) -> None:
    file = GATE.open_file(uri("read", root, "/**"), str(root / "a/b/f"))
    try:
        assert not os.get_inheritable(file)
        assert os.get_blocking(file)
    finally:
        os.close(file)


def failing(code: int, times: int = 10**9):
    real, left = filesystem._syscall(), [times]

    def call(*arguments) -> int:
        if left[0] > 0:
            left[0] -= 1
            filesystem.ctypes.set_errno(code)
            return -1
        return real(*arguments)

    return lambda: call


def test_a_system_that_cannot_open_beneath_opens_nothing(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(filesystem, "_syscall", failing(errno.ENOSYS))
    with pytest.raises(WorldBroken, match="openat2"):
        read(uri("read", root, "/**"), root / "a/b/f")
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(WorldBroken, match="openat2"):
        read(uri("read", root, "/**"), root / "a/b/f")


def test_the_system_may_ask_to_try_again_but_not_for_ever(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(filesystem, "_syscall", failing(errno.EAGAIN, 5))
    assert read(uri("read", root, "/**"), root / "a/b/f") == "inside"
    monkeypatch.undo()
    monkeypatch.setattr(filesystem, "_syscall", failing(errno.EAGAIN))
    with pytest.raises(WorldBroken, match="renamed"):
        read(uri("read", root, "/**"), root / "a/b/f")


def test_what_the_system_refuses_is_no_matter_of_grants(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(filesystem, "_syscall", failing(errno.EACCES))
    with pytest.raises(WorldBroken, match="Permission denied"):
        read(uri("read", root, "/**"), root / "a/b/f")


SWAPPER = """
import ctypes, os, sys
real, link = (os.fsencode(name) for name in sys.argv[1:])
rename = ctypes.CDLL(None).renameat2
print("swapping", flush=True)
while True:
    rename(-100, real, -100, link, 2)
"""


def test_a_race_of_swapped_links_never_leaks(root: Path) -> None:
    (root / "x").mkdir()
    (root / "x" / "f").write_text("inside")
    (root / "swap").symlink_to("../root_evil")
    swapper = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(root / "x"), str(root / "swap")], stdout=subprocess.PIPE
    )
    try:
        assert swapper.stdout.readline() == b"swapping\n"
        seen = {"inside": 0, "refused": 0}
        for turn in range(100_000):
            if turn >= 6000 and all(seen.values()):
                break
            covering = uri("read", root, "/**" if turn % 2 else "/x/f")
            try:
                text = read(covering, root / "x/f")
            except (NotPermitted, WorldBroken):
                text = "refused"
            seen[text] += 1  # a leak would be a KeyError
            try:
                write(uri("write", root, "/**"), root / "x/w", "w")
            except (NotPermitted, WorldBroken):
                continue
        assert all(seen.values()), seen
        assert not (root.parent / "root_evil" / "w").exists()
        assert (root.parent / "root_evil" / "f").read_text() == "SECRET"
    finally:
        swapper.kill()
        swapper.wait(10)
        swapper.stdout.close()
