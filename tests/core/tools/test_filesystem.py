"""The tools of the server `fs`, through the real gate."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_core.tools.filesystem import (
    CreateDirectory,
    DeleteFile,
    EditFile,
    ListDirectory,
    MoveFile,
    ReadFile,
    SearchFiles,
    WriteFile,
    filesystem_tools,
)
from mcp_interface.address import resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, WorldBroken
from mcp_interface.ids import new_id
from mcp_interface.testing.exams.tool import check_tool
from mcp_interface.tool import Tool, ToolContext, ToolResult
from mcp_security.validators.filesystem import FilesystemGate


def use(tool: Any, args: dict[str, Any], *coverings: str, limits: dict[str, Any] | None = None) -> ToolResult:
    """Run a tool with an allow of each pattern, all with these limits."""
    verdicts = [
        Verdict(allowed=True, reason="allowed", message="", covering=covering, limits=limits or {})
        for covering in coverings
    ]
    context = ToolContext(
        execution_id=new_id("exec", SystemEntropy()),
        principal_id=new_id("agent", SystemEntropy()),
        verdicts=verdicts,
    )
    tool.validate_args(args)
    result: ToolResult = asyncio.run(tool.execute(args, context))
    return result


def below(operation: str, folder: Path) -> str:
    return f"mcp://fs/{operation}{folder}/**"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def test_each_tool_passes_the_exam(folder: Path) -> None:
    (folder / "a.txt").write_text("hello")

    def maker(kind: Any) -> Any:
        @asynccontextmanager
        async def made() -> AsyncIterator[Tool]:
            yield kind(FilesystemGate())

        return made

    number = iter(range(100))
    relative = {"path": "a.txt"}
    file = {"path": str(folder / "a.txt")}
    bad = [{}, relative, {"path": f"{folder}/../x"}, {**file, "other": 1}, {"path": f"{folder}/*"}]
    for kind, good in (
        (ReadFile, file),
        (WriteFile, {**file, "content": "new"}),
        (ListDirectory, {"path": str(folder)}),
        (SearchFiles, {"path": str(folder), "text": "e"}),
        (EditFile, {**file, "old_text": "e", "new_text": "e"}),
    ):
        wrong = [{**good, **one} if one else one for one in bad]
        asyncio.run(check_tool(maker(kind), good=good, bad=wrong))

    # the exam calls twice: what cannot be done twice gets a gate that undoes it
    class Undoing(FilesystemGate):
        def rename(self, *arguments: Any, **options: Any) -> None:
            super().rename(*arguments, **options)
            os.rename(arguments[3], arguments[2])

        def unlink(self, covering: str, path: str) -> None:
            super().unlink(covering, path)
            Path(path).touch()

        def make_directory(self, covering: str, path: str) -> None:
            super().make_directory(covering, path)
            os.rename(path, f"{path}{next(number)}")

    def undone(kind: Any) -> Any:
        @asynccontextmanager
        async def made() -> AsyncIterator[Tool]:
            yield kind(Undoing())

        return made

    moved = {"path": file["path"], "new_path": f"{folder}/b.txt"}
    beside = [
        {**moved, "new_path": path} for path in ("b.txt", f"{folder}/../b", f"{folder}/b/", f"{folder}/*")
    ]
    asyncio.run(check_tool(undone(MoveFile), good=moved, bad=[*bad, *beside, file]))
    asyncio.run(check_tool(undone(DeleteFile), good=file, bad=bad))
    asyncio.run(check_tool(undone(CreateDirectory), good={"path": f"{folder}/d"}, bad=bad))


EXTRA = {
    "write_file": {"content": ""},
    "edit_file": {"old_text": "a", "new_text": "b"},
    "move_file": {"new_path": "/a/b"},
}
"""What a tool needs beside the path."""


@pytest.mark.parametrize(
    "path", ["a", "./a", "/a/../b", "/a//b", "/a/", "/", "", "/a/\0b", "/a/*", "/a/**", "~", "/" + "a" * 5000]
)
@pytest.mark.parametrize("tool", filesystem_tools(FilesystemGate()), ids=lambda tool: tool.info().name)
def test_a_path_that_is_not_plain_and_absolute_is_refused(tool, path) -> None:
    with pytest.raises(CallerMistaken):
        tool.validate_args({"path": path, **EXTRA.get(tool.info().name, {})})


@pytest.mark.parametrize(
    "wrong", [{"max_bytes": 0}, {"max_bytes": 1048577}, {"max_bytes": "9"}, {"depth": 1}]
)
def test_the_wrong_argument_is_named(wrong) -> None:
    with pytest.raises(CallerMistaken, match=next(iter(wrong))):
        ReadFile(FilesystemGate()).validate_args({"path": "/a/b", **wrong})


def test_the_right_is_on_the_very_path_and_says_how_much_is_written() -> None:
    def needs(tool: type, **more: Any) -> list[tuple[str, int | None]]:
        args = {"path": "/a/b", **more}
        found = tool(FilesystemGate()).needs(args)
        assert all(need.facts.arguments == args for need in found)
        return [(need.resource.uri, need.facts.size) for need in found]

    assert needs(ReadFile) == [("mcp://fs/read/a/b", 0)]
    assert needs(WriteFile, content="ö") == [("mcp://fs/write/a/b", 2)]
    assert needs(ListDirectory) == [("mcp://fs/list/a/b", 0)]
    assert needs(EditFile, old_text="a", new_text="", max_bytes=7) == [
        ("mcp://fs/write/a/b", 7), ("mcp://fs/read/a/b", 0)
    ]  # fmt: skip
    assert needs(SearchFiles) == [("mcp://fs/list/a/b/", 0)]
    assert needs(SearchFiles, text="x") == [("mcp://fs/list/a/b/", 0), ("mcp://fs/read/a/b/", 0)]
    assert needs(MoveFile, new_path="/c") == [
        ("mcp://fs/delete/a/b", None), ("mcp://fs/write/c", None), ("mcp://fs/read/a/b", None)
    ]  # fmt: skip
    assert needs(DeleteFile) == [("mcp://fs/delete/a/b", 0)]
    assert needs(CreateDirectory) == [("mcp://fs/write/a/b", 0)]


def test_only_what_reads_says_so() -> None:
    infos = {tool.info().name: tool.info() for tool in filesystem_tools(FilesystemGate())}
    assert [name for name, info in infos.items() if info.read_only] == [
        "read_file", "list_directory", "search_files"
    ]  # fmt: skip
    assert [name for name, info in infos.items() if not info.read_only and not info.destructive] == [
        "create_directory"
    ]
    # after a crash only these are called again without asking
    assert [name for name, info in infos.items() if info.idempotent] == [
        "read_file", "write_file", "list_directory", "search_files"
    ]  # fmt: skip
    assert {info.server for info in infos.values()} == {"fs"}


@pytest.mark.parametrize(
    ("limits", "max_bytes", "told"),
    [({"max_file_size": 9}, 5, "max_file_size 9"), ({"max_bytes": 9}, 10, "max_bytes 9")],
)
def test_a_file_larger_than_the_right_allows_is_not_read(folder: Path, limits, max_bytes, told) -> None:
    (folder / "a.txt").write_text("0123456789")
    args, covering = {"path": f"{folder}/a.txt", "max_bytes": max_bytes}, below("read", folder)
    with pytest.raises(NotPermitted, match=told):
        use(ReadFile(FilesystemGate()), args, covering, limits=limits)
    enough = dict.fromkeys(limits, 10)
    assert use(ReadFile(FilesystemGate()), args, covering, limits=enough).text.startswith("01234")
    part = {**args, "max_bytes": 9}
    assert use(ReadFile(FilesystemGate()), part, covering, limits={"max_bytes": 9}).text.startswith(
        "012345678"
    )


def test_a_diff_shows_nothing_of_a_file_larger_than_the_right_allows(folder: Path) -> None:
    path = f"{folder}/a.txt"
    Path(path).write_text("secret")
    coverings = below("write", folder), below("read", folder)
    for tool, args in (
        (WriteFile, {"path": path, "content": "", "show_diff": True}),
        (EditFile, {"path": path, "old_text": "s", "new_text": ""}),
    ):
        with pytest.raises(NotPermitted, match="max_file_size"):
            use(tool(FilesystemGate()), args, *coverings, limits={"max_file_size": 5})
    assert Path(path).read_text() == "secret"


def test_text_is_read(folder: Path) -> None:
    (folder / "a.txt").write_text("höllo\n")
    result = use(ReadFile(FilesystemGate()), {"path": f"{folder}/a.txt"}, below("read", folder))
    assert result.text == "höllo\n"
    assert result.structured == {
        "path": f"{folder}/a.txt", "size": 7, "truncated": False, "binary": False, "undecodable": False
    }  # fmt: skip


def test_a_long_file_is_cut_between_characters_and_says_so(folder: Path) -> None:
    (folder / "a.txt").write_text("ö" * 100)
    result = use(
        ReadFile(FilesystemGate()), {"path": f"{folder}/a.txt", "max_bytes": 7}, below("read", folder)
    )
    assert result.text == "ööö\n[cut after 7 of 200 bytes]"
    assert result.structured["truncated"]


def test_a_binary_file_is_described_not_shown(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"\x7fELF\0\0\0")
    result = use(ReadFile(FilesystemGate()), {"path": f"{folder}/a.bin"}, below("read", folder))
    assert result.text == f"{folder}/a.bin is a binary file of 7 bytes; it is not shown"
    assert result.structured["binary"]


def test_bytes_that_are_no_text_are_replaced_and_counted_as_such(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"caf\xe9 au lait")
    result = use(ReadFile(FilesystemGate()), {"path": f"{folder}/a.txt"}, below("read", folder))
    assert result.text == "caf\ufffd au lait"
    assert result.structured["undecodable"]


def test_an_empty_file_is_empty_text(folder: Path) -> None:
    (folder / "a.txt").touch()
    assert use(ReadFile(FilesystemGate()), {"path": f"{folder}/a.txt"}, below("read", folder)).text == ""


def test_a_file_is_written_and_replaced(folder: Path) -> None:
    tool, path = WriteFile(FilesystemGate()), f"{folder}/a.txt"
    assert (
        "wrote 10 bytes" in use(tool, {"path": path, "content": "long text\n"}, below("write", folder)).text
    )
    use(tool, {"path": path, "content": "ö\n"}, below("write", folder))
    assert Path(path).read_text() == "ö\n"


def test_the_difference_is_shown_to_who_may_read(folder: Path) -> None:
    tool, path = WriteFile(FilesystemGate()), f"{folder}/a.txt"
    Path(path).write_text("one\ntwo\nthree\n")
    args = {"path": path, "content": "one\n2\nthree\n", "show_diff": True}
    assert tool.needs(args) == [
        Need(resource("fs", "write", path), Facts(arguments=args, size=len("one\n2\nthree\n"))),
        Need(resource("fs", "read", path), Facts(arguments=args, size=0)),
    ]
    result = use(tool, args, below("write", folder), below("read", folder))
    assert "-two\n+2" in result.text
    assert "the same as before" in use(tool, args, below("write", folder), below("read", folder)).text


def test_the_right_to_write_alone_shows_nothing_of_the_old_text(folder: Path) -> None:
    tool, path = WriteFile(FilesystemGate()), f"{folder}/a.txt"
    Path(path).write_text("secret")
    with pytest.raises(NotPermitted):
        use(tool, {"path": path, "content": "", "show_diff": True}, below("write", folder))
    assert Path(path).read_text() == "secret"
    assert "secret" not in repr(use(tool, {"path": path, "content": ""}, below("write", folder)))


def test_a_long_difference_is_cut(folder: Path) -> None:
    tool, path = WriteFile(FilesystemGate()), f"{folder}/a.txt"
    content = "\n".join(str(number) for number in range(1000))
    result = use(
        tool,
        {"path": path, "content": content, "show_diff": True},
        below("write", folder),
        below("read", folder),
    )
    assert result.text.endswith("[cut after 200 lines]")
    assert len(result.text.splitlines()) < 210


def test_names_are_listed_with_kind_and_size(folder: Path) -> None:
    (folder / "b").mkdir()
    (folder / "a.txt").write_text("123")
    os.symlink("/etc", folder / "c")
    result = use(ListDirectory(FilesystemGate()), {"path": str(folder)}, below("list", folder))
    assert result.text == "a.txt  3\nb/\nc  (symlink)"
    assert result.structured["entries"][0] == {"name": "a.txt", "kind": "file", "size": 3}


def test_a_long_directory_is_cut_and_says_so(folder: Path) -> None:
    for number in range(5):
        (folder / f"f{number}").touch()
    tool = ListDirectory(FilesystemGate())
    result = use(tool, {"path": str(folder), "limit": 3}, below("list", folder))
    assert [entry["name"] for entry in result.structured["entries"]] == ["f0", "f1", "f2"]
    assert result.structured["truncated"]
    assert not use(tool, {"path": str(folder), "limit": 5}, below("list", folder)).structured["truncated"]


def test_an_empty_directory_says_so(folder: Path) -> None:
    result = use(ListDirectory(FilesystemGate()), {"path": str(folder)}, below("list", folder))
    assert result.text == "the directory is empty"


def test_without_an_allow_nothing_is_opened(folder: Path) -> None:
    (folder / "a.txt").write_text("x")
    with pytest.raises(NotPermitted, match="without the right"):
        use(ReadFile(FilesystemGate()), {"path": f"{folder}/a.txt"})


def test_a_link_out_of_the_granted_folder_is_not_followed(folder: Path) -> None:
    inside = folder / "inside"
    inside.mkdir()
    (folder / "secret").write_text("secret")
    os.symlink(folder / "secret", inside / "link")
    with pytest.raises(NotPermitted):
        use(ReadFile(FilesystemGate()), {"path": f"{inside}/link"}, below("read", inside))


def test_what_does_not_exist_is_not_found(folder: Path) -> None:
    with pytest.raises(NotFound):
        use(ReadFile(FilesystemGate()), {"path": f"{folder}/none"}, below("read", folder))


def test_a_full_disk_is_the_worlds_fault(folder: Path) -> None:
    class FullDisk(FilesystemGate):
        def replace_file(self, *arguments: Any) -> None:
            with open("/dev/full", "wb", buffering=0) as file:
                file.write(b"text")

    with pytest.raises(WorldBroken, match="No space left"):
        use(WriteFile(FullDisk()), {"path": f"{folder}/x", "content": "text"}, below("write", folder))


def test_half_a_surrogate_pair_is_refused_before_the_file_is_touched(folder: Path) -> None:
    (folder / "a.txt").write_text("old")
    with pytest.raises(CallerMistaken, match="content"):
        use(
            WriteFile(FilesystemGate()),
            {"path": f"{folder}/a.txt", "content": "\ud800"},
            below("write", folder),
        )
    assert (folder / "a.txt").read_text() == "old"


def test_a_name_cannot_pretend_to_be_several_lines(folder: Path) -> None:
    (folder / "a\nb\x1b[2K").touch()
    result = use(ListDirectory(FilesystemGate()), {"path": str(folder)}, below("list", folder))
    assert result.text == "a\ufffdb\ufffd[2K  0"
    assert result.structured["entries"][0]["name"] == "a\nb\x1b[2K"
