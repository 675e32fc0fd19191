import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, WorldBroken
from mcp_security import FilesystemGate
from mcp_security.validators import openat2
from mcp_security.validators.places import covered

GATE = FilesystemGate()
NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"


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
    GATE.replace_file(covering, str(path), text.encode())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("tail", ["/**", "/", "/a/b/f", "/a/*/f", "/*/b/**"])
def test_a_covered_file_is_read(root: Path, tail: str) -> None:
    assert read(uri("read", root, tail), root / "a/b/f") == "inside"


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
        with pytest.raises(CallerMistaken):
            read(uri("read", root, "/**"), path)
    with pytest.raises(CallerMistaken, match="not a regular file"):
        GATE.open_file("mcp://fs/read/dev/**", "/dev/null")


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
        with suppress(CallerMistaken, NotPermitted, NotFound):
            os.close(GATE.open_file(uri("read", root, "/**"), str(root / name)))
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
    real, left = openat2._openat2, [times]

    def call(*arguments) -> int:
        if left[0] > 0:
            left[0] -= 1
            openat2.ctypes.set_errno(code)
            return -1
        return real(*arguments)

    return call


def test_a_system_that_cannot_open_beneath_opens_nothing(root: Path, monkeypatch) -> None:
    for absent in (failing(errno.ENOSYS), openat2._load("darwin", "syscall", None)):
        monkeypatch.setattr(openat2, "_openat2", absent)
        with pytest.raises(WorldBroken, match="openat2"):
            read(uri("read", root, "/**"), root / "a/b/f")
    monkeypatch.undo()
    monkeypatch.setattr(openat2, "_renameat2", openat2._load("linux", "no_such_call", None))
    with pytest.raises(WorldBroken, match="openat2"):
        GATE.rename(uri("delete", root, "/**"), uri("write", root, "/**"), f"{root}/a/b/f", f"{root}/g")


def test_the_system_may_ask_to_try_again_but_not_for_ever(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(openat2, "_openat2", failing(errno.EAGAIN, 5))
    assert read(uri("read", root, "/**"), root / "a/b/f") == "inside"
    monkeypatch.undo()
    monkeypatch.setattr(openat2, "_openat2", failing(errno.EAGAIN))
    with pytest.raises(WorldBroken, match="renamed"):
        read(uri("read", root, "/**"), root / "a/b/f")


def test_what_the_system_refuses_is_no_matter_of_grants(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(openat2, "_openat2", failing(errno.EACCES))
    with pytest.raises(WorldBroken, match="Permission denied"):
        read(uri("read", root, "/**"), root / "a/b/f")


def test_a_granted_directory_that_was_replaced_is_not_served_from_before(root: Path) -> None:
    covering = uri("read", root, "/**")
    assert read(covering, root / "a/b/f") == "inside"
    root.rename(root.parent / "moved")
    with pytest.raises(NotFound):
        read(covering, root / "a/b/f")
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f").write_text("another")
    assert read(covering, root / "a/b/f") == "another"
    (root.parent / "moved2").mkdir()
    root.rename(root.parent / "moved2" / "root")
    root.symlink_to(root.parent / "root_evil")
    with pytest.raises(NotPermitted, match="RESOLVE_NO_SYMLINKS"):
        read(covering, root / "f")


def test_spellings_of_one_name_are_different_names(root: Path) -> None:
    composed, decomposed, wide = "caf\u00e9", "cafe\u0301", "\uff46"
    (root / composed).write_text("composed")
    covering = uri("read", root, "/**")
    assert read(covering, root / composed) == "composed"
    for other in (decomposed, composed.upper(), composed.swapcase()):
        with pytest.raises(NotFound):
            read(covering, root / other)
        with pytest.raises(NotPermitted):
            read(uri("read", root / composed), root / other)
    with pytest.raises(NotPermitted):  # NFKC would make a plain f of it
        read(uri("read", root, "/a/b/f"), f"{root}/a/b/{wide}")
    with pytest.raises(NotPermitted):  # and a dot segment of this
        read(uri("read", root, "/a/**"), f"{root}/\u2025/secret")


SEGMENT = st.text(
    st.one_of(st.sampled_from("ab*./\0\n\ud800\u0301é .-"), st.characters()), max_size=4
) | st.sampled_from(["..", ".", "", "**", "a", "b", ".umbrella-x", "...", ".a"])
PATHS = st.lists(SEGMENT, max_size=6).map(lambda parts: "/" + "/".join(parts))


@given(
    PATHS, st.sampled_from(["mcp://fs/read/**", "mcp://fs/read/a/**", "mcp://fs/read/a/b", "mcp://fs/read/*"])
)
@example("/a/\u2028b", "mcp://fs/read/a/**")
@settings(max_examples=2_000 if NIGHTLY else 500)
def test_the_quick_look_at_a_path_says_yes_only_where_the_careful_one_does(path: str, covering: str) -> None:
    pattern = covered(covering, "read")
    if pattern.includes(path):
        assert pattern.place(path).path == path


@given(st.lists(st.text("abc.-_ é", min_size=1, max_size=5), min_size=1, max_size=5))
def test_the_quick_look_knows_ordinary_paths(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert covered("mcp://fs/read/**", "read").includes(path) == ({".", ".."}.isdisjoint(parts))
