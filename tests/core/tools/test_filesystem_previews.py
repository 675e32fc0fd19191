"""What a person is shown of a call to `fs`, through the real gate: no more than they may read themselves."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from mcp_core.tools.filesystem import CreateDirectory, DeleteFile, EditFile, MoveFile, ReadFile, WriteFile
from mcp_core.tools.filesystem.looking import LONGEST_LINE, MAX_CHARACTERS, MAX_LINES
from mcp_interface.address import parse_resource
from mcp_interface.capability import Need, Verdict
from mcp_interface.clock import SystemEntropy
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.tool import Preview, Previews, ToolContext
from mcp_security.decision import within
from mcp_security.validators.filesystem import FilesystemGate

PERSON = PrincipalId(new_id("user", SystemEntropy()))
SECRET = "the secret of the house"


class Eyes:
    """The rights of one person."""

    def __init__(self, *patterns: str, limits: dict[str, Any] | None = None) -> None:
        self.patterns = patterns
        self.limits = limits or {}
        self.asked: list[Need] = []

    def __call__(self, person: PrincipalId, need: Need) -> Verdict:
        assert person == PERSON
        self.asked.append(need)
        for pattern in self.patterns:
            if within(need.resource, parse_resource(pattern)):
                return Verdict(
                    allowed=True, reason="allowed", message="", covering=pattern, limits=self.limits
                )
        return Verdict(allowed=False, reason="path_not_allowed", message=SECRET)


def preview(kind: Any, args: dict[str, Any], sees: Any) -> Preview | None:
    tool = kind(FilesystemGate(), sees)
    assert isinstance(tool, Previews)
    tool.validate_args(args)
    context = ToolContext(execution_id=new_id("exec", SystemEntropy()), principal_id=PERSON)
    found: Preview | None = asyncio.run(tool.preview(args, context))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    return tmp_path.resolve()


@pytest.fixture
def all_of_it(folder: Path) -> Eyes:
    return Eyes(f"mcp://fs/read{folder}/**")


def test_a_new_text_is_compared_with_the_old_one(folder: Path, all_of_it: Eyes) -> None:
    found = preview(WriteFile, {"path": f"{folder}/a.txt", "content": "one\n2\nthree"}, all_of_it)
    assert found is not None
    assert found.summary == f"changes {folder}/a.txt: 2 lines added, 2 removed; 14 to 11 bytes"
    assert found.diff.split("\n") == [
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "-three",
        "+2",
        "+three",
        "\\ no newline at the end",
    ]
    assert found.cut == 0
    assert (folder / "a.txt").read_text() == "one\ntwo\nthree\n"


def test_an_edit_is_shown_as_what_comes_of_it(folder: Path, all_of_it: Eyes) -> None:
    edit = {"path": f"{folder}/a.txt", "old_text": "two", "new_text": "2"}
    found = preview(EditFile, edit, all_of_it)
    assert found is not None and found.diff.split("\n") == ["@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"]
    found = preview(EditFile, {**edit, "old_text": "four"}, all_of_it)
    assert found is not None and found.summary.startswith("changes nothing") and not found.diff


def test_what_is_deleted_is_shown(folder: Path, all_of_it: Eyes) -> None:
    found = preview(DeleteFile, {"path": f"{folder}/a.txt"}, all_of_it)
    assert found is not None and found.diff.split("\n") == ["@@ -1,3 +0,0 @@", "-one", "-two", "-three"]
    found = preview(DeleteFile, {"path": f"{folder}/b.txt"}, all_of_it)
    assert found is not None and "nothing" in found.summary
    (folder / "a.txt").write_bytes(b"\0\1")
    found = preview(DeleteFile, {"path": f"{folder}/a.txt"}, all_of_it)
    assert found is not None and "binary" in found.summary and not found.diff


def test_a_move_says_what_is_in_its_way(folder: Path, all_of_it: Eyes) -> None:
    move = {"path": f"{folder}/a.txt", "new_path": f"{folder}/b.txt"}
    found = preview(MoveFile, move, all_of_it)
    assert found is not None and found.summary.endswith("where nothing is yet")
    (folder / "b.txt").write_text("12345")
    found = preview(MoveFile, move, all_of_it)
    assert found is not None and found.summary.endswith("which is refused, as there is 5 bytes")
    found = preview(MoveFile, {**move, "overwrite": True}, all_of_it)
    assert found is not None and found.summary.endswith("in place of 5 bytes")
    half = Eyes(f"mcp://fs/read{folder}/a.txt")
    assert preview(MoveFile, {**move, "overwrite": True}, half) is None


def test_what_is_new_or_no_text_is_one_line(folder: Path, all_of_it: Eyes) -> None:
    found = preview(WriteFile, {"path": f"{folder}/new.txt", "content": "hello"}, all_of_it)
    assert found == Preview(summary=f"makes a new file {folder}/new.txt of 5 bytes")
    for old in (b"\0old", b"\xff\xfe", b"x" * (1024 * 1024 + 1)):
        (folder / "a.txt").write_bytes(old)
        found = preview(WriteFile, {"path": f"{folder}/a.txt", "content": "hello"}, all_of_it)
        assert found is not None and "not compared" in found.summary and not found.diff
    found = preview(CreateDirectory, {"path": f"{folder}/sub"}, None)
    assert found == Preview(summary=f"makes a new directory {folder}/sub")
    assert not (folder / "sub").exists()


def test_what_only_reads_has_no_preview() -> None:
    assert not isinstance(ReadFile(FilesystemGate()), Previews)


def test_a_long_difference_is_cut_and_says_by_how_much(folder: Path, all_of_it: Eyes) -> None:
    content = "".join(f"{number}\n" for number in range(5_000))
    found = preview(WriteFile, {"path": f"{folder}/a.txt", "content": content}, all_of_it)
    assert found is not None
    shown = found.diff.split("\n")
    assert len(shown) == MAX_LINES
    assert len(shown) + found.cut == 1 + 3 + 5_000
    wide = "\n".join("x" * 2_000 + str(number) for number in range(300))
    found = preview(WriteFile, {"path": f"{folder}/a.txt", "content": wide}, all_of_it)
    assert found is not None and len(found.diff) <= MAX_CHARACTERS and found.cut > 0
    line = next(each for each in found.diff.split("\n") if each.startswith("+"))
    assert line.endswith(f"… and {2_000 + 2 - LONGEST_LINE} more characters")


def test_other_ends_of_lines_are_seen(folder: Path, all_of_it: Eyes) -> None:
    found = preview(WriteFile, {"path": f"{folder}/a.txt", "content": "one\r\ntwo\u2028three\n"}, all_of_it)
    assert found is not None and "+one\r" in found.diff.split("\n")
    assert "+two\u2028three" in found.diff.split("\n")


CHANGES = [
    (WriteFile, {"content": "x"}),
    (EditFile, {"old_text": "secret", "new_text": "x"}),
    (DeleteFile, {}),
    (MoveFile, {"new_path": "/nowhere/b"}),
]


@pytest.mark.parametrize(("kind", "extra"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_without_the_persons_own_right_nothing_is_shown_nor_whether_there_is_a_file(
    folder: Path, kind: Any, extra: dict[str, Any]
) -> None:
    (folder / "a.txt").write_text(SECRET)
    for sees in (None, Eyes(), Eyes(f"mcp://fs/write{folder}/**"), Eyes(f"mcp://fs/read{folder}/b.txt")):
        for name in ("a.txt", "missing.txt"):
            assert preview(kind, {"path": f"{folder}/{name}", **extra}, sees) is None


@pytest.mark.parametrize(("kind", "extra"), CHANGES[:3], ids=lambda value: getattr(value, "__name__", ""))
def test_no_link_is_followed_not_even_one_that_the_right_allows(
    folder: Path, kind: Any, extra: dict[str, Any]
) -> None:
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "secret.txt").write_text(SECRET)
    (folder / "link.txt").symlink_to(hidden / "secret.txt")
    (folder / "relative.txt").symlink_to("hidden/secret.txt")
    (folder / "below").symlink_to(hidden)
    for path in ("link.txt", "relative.txt", "below/secret.txt"):
        for pattern in (f"mcp://fs/read{folder}/**", f"mcp://fs/read{folder}/{path}", "mcp://fs/read/**"):
            try:
                found = preview(kind, {"path": f"{folder}/{path}", **extra}, Eyes(pattern))
            except Exception as error:  # what fails is left out of the question
                assert SECRET not in str(error)
            else:
                assert found is None


def test_no_directory_pipe_or_device_is_read(folder: Path, all_of_it: Eyes) -> None:
    os.mkfifo(folder / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(Exception, match=r"regular|directory"):
            path = f"{folder}/{name}".rstrip("/")
            preview(WriteFile, {"path": path, "content": "x"}, Eyes(f"mcp://fs/read{folder.parent}/**"))


@pytest.mark.parametrize("limits", [{"max_uses": 3}, {"rate_limit": [{"count": 1, "per_s": 60}]}])
def test_a_right_that_counts_its_uses_is_not_used_for_a_look(folder: Path, limits: dict[str, Any]) -> None:
    sees = Eyes(f"mcp://fs/read{folder}/**", limits=limits)
    assert preview(WriteFile, {"path": f"{folder}/a.txt", "content": "x"}, sees) is None
    assert sees.asked


def test_the_limits_of_the_persons_right_are_kept(folder: Path) -> None:
    sees = Eyes(f"mcp://fs/read{folder}/**", limits={"max_file_size": 5})
    with pytest.raises(Exception, match="max_file_size"):
        preview(WriteFile, {"path": f"{folder}/a.txt", "content": "x"}, sees)
    (folder / "a.txt").write_text("1234")
    assert preview(WriteFile, {"path": f"{folder}/a.txt", "content": "x"}, sees) is not None
