"""Editing, moving, deleting and creating, through the real gate."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.tools.filesystem import CreateDirectory, DeleteFile, EditFile, MoveFile, WriteFile
from mcp_interface.capability import Verdict
from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import CallerMistaken, LostRace, NotFound, NotPermitted
from mcp_interface.ids import new_id
from mcp_interface.tool import ToolContext, ToolResult
from mcp_security.validators.filesystem import FilesystemGate

GATE = FilesystemGate()


def use(tool: Any, args: dict[str, Any], folder: Path, covering: str | None = None) -> ToolResult:
    """Run a tool with an allow for everything in the folder."""
    tool.validate_args(args)
    verdicts = [
        Verdict(
            allowed=True,
            reason="allowed",
            message="",
            covering=covering or f"mcp://fs/{need.resource.operation}{folder}/**",
        )
        for need in tool.needs(args)
    ]
    context = ToolContext(
        execution_id=new_id("exec", SystemEntropy()),
        principal_id=new_id("agent", SystemEntropy()),
        verdicts=verdicts,
    )
    result: ToolResult = asyncio.run(tool.execute(args, context))
    return result


def edit(folder: Path, old: str, new: str, **more: Any) -> ToolResult:
    args = {"path": f"{folder}/a.txt", "old_text": old, "new_text": new, **more}
    return use(EditFile(GATE), args, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    return tmp_path.resolve()


def test_an_exact_text_is_replaced_and_the_change_is_shown(folder: Path) -> None:
    result = edit(folder, "two", "2")
    assert (folder / "a.txt").read_text() == "one\n2\nthree\n"
    assert "-two\n+2" in result.text
    assert result.structured["size"] == 12
    assert result.structured["diff"] in result.text


@pytest.mark.parametrize(("content", "old"), [("two\ntwo\n", "two"), ("aaa", "aa")])
def test_a_text_that_occurs_more_than_once_is_not_replaced_unless_all_are_meant(
    folder: Path, content: str, old: str
) -> None:
    (folder / "a.txt").write_text(content)
    with pytest.raises(CallerMistaken, match="more than once"):
        edit(folder, old, "x")
    assert (folder / "a.txt").read_text() == content
    edit(folder, old, "x", all=True)
    assert (folder / "a.txt").read_text() == content.replace(old, "x")


@pytest.mark.parametrize("old", ["Two", "two ", "tvvo", "two\r\n"])
def test_a_text_that_does_not_occur_exactly_changes_nothing(folder: Path, old: str) -> None:
    before = (folder / "a.txt").stat()
    with pytest.raises(CallerMistaken, match="does not occur"):
        edit(folder, old, "2")
    assert (folder / "a.txt").stat().st_ino == before.st_ino


def test_line_ends_that_may_be_why_are_named(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    with pytest.raises(CallerMistaken, match="CR LF"):
        edit(folder, "one\ntwo", "x")
    edit(folder, "one\r\ntwo", "x")
    assert (folder / "a.txt").read_bytes() == b"x\r\n"


def test_composed_and_decomposed_text_are_not_the_same(folder: Path) -> None:
    (folder / "a.txt").write_text("cafe\u0301")
    with pytest.raises(CallerMistaken, match="does not occur"):
        edit(folder, "caf\u00e9", "x")


def test_bytes_that_are_not_named_are_not_touched(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xff\xfe one \r\n two \r \xe9\n")
    edit(folder, "two", "2")
    assert (folder / "a.txt").read_bytes() == b"\xff\xfe one \r\n 2 \r \xe9\n"


@given(
    st.text("ab\né", max_size=12),
    st.text("ab\né", min_size=1, max_size=3),
    st.text("abx", max_size=3),
    st.booleans(),
)
def test_an_edit_is_what_replacing_text_means(
    tmp_path_factory: pytest.TempPathFactory, content: str, old: str, new: str, all: bool
) -> None:
    folder = tmp_path_factory.getbasetemp().resolve()
    (folder / "a.txt").write_text(content)
    occurrences = sum(content.startswith(old, at) for at in range(len(content)))
    if occurrences == 0 or (occurrences > 1 and not all):
        with pytest.raises(CallerMistaken):
            edit(folder, old, new, all=all)
        new = old
    else:
        edit(folder, old, new, all=all)
    assert (folder / "a.txt").read_text() == content.replace(old, new)


def test_a_file_does_not_grow_beyond_what_was_stated(folder: Path) -> None:
    for old, new, most in (("two", "2", 13), ("two", "2" * 9, 19), ("t", "t" * 9, 20)):
        with pytest.raises(CallerMistaken, match="more than"):
            edit(folder, old, new, all=True, max_bytes=most)
    assert (folder / "a.txt").read_text() == "one\ntwo\nthree\n"
    edit(folder, "two", "2" * 9, max_bytes=20)


def test_nothing_is_created_by_an_edit(folder: Path) -> None:
    with pytest.raises(NotFound):
        use(EditFile(GATE), {"path": f"{folder}/none", "old_text": "a", "new_text": "b"}, folder)
    assert os.listdir(folder) == ["a.txt"]


def test_an_edit_needs_both_rights(folder: Path) -> None:
    args = {"path": f"{folder}/a.txt", "old_text": "one", "new_text": "1"}
    for operation in ("read", "write"):
        with pytest.raises(NotPermitted):
            use(EditFile(GATE), args, folder, f"mcp://fs/{operation}{folder}/**")
    assert (folder / "a.txt").read_text() == "one\ntwo\nthree\n"


def test_what_another_wrote_meanwhile_is_not_lost(folder: Path) -> None:
    class Slow(FilesystemGate):
        def replace_file(self, covering: str, path: str, data: bytes, seen: Any = None) -> None:
            if seen is not None:
                super().replace_file(covering, path, b"from another\n")
            super().replace_file(covering, path, data, seen)

    with pytest.raises(LostRace, match="changed"):
        args = {"path": f"{folder}/a.txt", "old_text": "one", "new_text": "1"}
        use(EditFile(Slow()), args, folder)
    assert (folder / "a.txt").read_text() == "from another\n"


def test_half_a_surrogate_pair_in_an_edit_is_refused(folder: Path) -> None:
    for change in ({"old_text": "\ud800"}, {"new_text": "\ud800"}):
        with pytest.raises(CallerMistaken, match=next(iter(change))):
            edit(folder, change.get("old_text", "one"), change.get("new_text", "1"))


def test_readers_see_the_old_text_or_the_new_while_it_is_written(folder: Path) -> None:
    texts = ["a" * 50_000, "b" * 50_000]
    path = folder / "a.txt"
    path.write_text(texts[0])

    def write(number: int) -> None:
        use(WriteFile(GATE), {"path": str(path), "content": texts[number % 2]}, folder)

    with ThreadPoolExecutor(2) as writers:
        done = [writers.submit(write, number) for number in range(30)]
        seen = set()
        while not all(one.done() for one in done):
            seen.add(path.read_text())
        for one in done:
            one.result()
    assert seen <= set(texts)
    assert os.listdir(folder) == ["a.txt"]


def test_a_file_is_moved_and_replaces_another_only_when_told(folder: Path) -> None:
    (folder / "d").mkdir()
    (folder / "d" / "b.txt").write_text("other")
    args = {"path": f"{folder}/a.txt", "new_path": f"{folder}/d/b.txt"}
    with pytest.raises(CallerMistaken, match="exists already"):
        use(MoveFile(GATE), args, folder)
    result = use(MoveFile(GATE), {**args, "overwrite": True}, folder)
    assert result.text == f"moved {folder}/a.txt to {folder}/d/b.txt"
    assert (folder / "d/b.txt").read_text() == "one\ntwo\nthree\n"
    assert os.listdir(folder) == ["d"]
    with pytest.raises(CallerMistaken, match="regular"):
        use(MoveFile(GATE), {"path": f"{folder}/d", "new_path": f"{folder}/e"}, folder)


def test_a_file_is_deleted_and_a_directory_is_not(folder: Path) -> None:
    (folder / "d").mkdir()
    assert use(DeleteFile(GATE), {"path": f"{folder}/a.txt"}, folder).text == f"deleted {folder}/a.txt"
    with pytest.raises(NotFound):
        use(DeleteFile(GATE), {"path": f"{folder}/a.txt"}, folder)
    with pytest.raises(CallerMistaken, match="directory"):
        use(DeleteFile(GATE), {"path": f"{folder}/d"}, folder)
    assert os.listdir(folder) == ["d"]


def test_a_directory_is_created_once(folder: Path) -> None:
    args = {"path": f"{folder}/d"}
    assert use(CreateDirectory(GATE), args, folder).text == f"created {folder}/d/"
    assert (folder / "d").is_dir()
    with pytest.raises(CallerMistaken, match="exists already"):
        use(CreateDirectory(GATE), args, folder)


@pytest.mark.parametrize("kind", [DeleteFile, CreateDirectory, MoveFile])
def test_with_the_right_to_something_else_nothing_is_changed(folder: Path, kind: Any) -> None:
    extra = {"new_path": f"{folder}/b.txt"} if kind is MoveFile else {}
    for operation in ("read", "list", "execute"):
        with pytest.raises(NotPermitted):
            use(kind(GATE), {"path": f"{folder}/a.txt", **extra}, folder, f"mcp://fs/{operation}{folder}/**")
    assert os.listdir(folder) == ["a.txt"]


def test_what_cannot_be_compared_is_said_so(folder: Path) -> None:
    path = folder / "a.txt"
    path.write_bytes(b"\0one\n")
    assert "not compared: too long, or binary" in edit(folder, "one", "1").text
    path.write_text("x\n" * 6_000 + "one\n")
    assert "not compared: more than 5000 lines" in edit(folder, "one", "1").text
    path.write_bytes(b"one\r\n")
    assert "only line ends differ" in edit(folder, "one\r\n", "one\n").text
