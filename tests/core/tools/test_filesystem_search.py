"""Finding files by name and text, through the real gate."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from mcp_core.tools.filesystem import SearchFiles, searching
from mcp_interface.capability import Verdict
from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.ids import new_id
from mcp_interface.tool import ToolContext, ToolResult
from mcp_security.validators.filesystem import FilesystemGate


def search(folder: Path, limits: dict[str, Any] | None = None, tail: str = "/**", **args: Any) -> ToolResult:
    tool = SearchFiles(FilesystemGate())
    args = {"path": str(folder), **args}
    tool.validate_args(args)
    verdicts = [
        Verdict(
            allowed=True,
            reason="allowed",
            message="",
            covering=f"mcp://fs/{need.resource.operation}{folder}{tail}",
            limits=limits or {},
        )
        for need in tool.needs(args)
    ]
    context = ToolContext(
        execution_id=new_id("exec", SystemEntropy()),
        principal_id=new_id("agent", SystemEntropy()),
        verdicts=verdicts,
    )
    return asyncio.run(tool.execute(args, context))


def paths(result: ToolResult) -> list[str]:
    return [match["path"] for match in result.structured["matches"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "folder"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.py").write_text("import os\nneedle = 1\n")
    (folder / "b.txt").write_text("nothing\n")
    (folder / "sub" / "c.py").write_text("x\r\n  a needle and a needle\r\nneedle")
    (folder / "sub" / "deep" / "d.PY").write_text("Needle")
    (tmp_path / "secret.py").write_text("needle outside")
    (folder / "link.py").symlink_to(tmp_path.resolve() / "secret.py")
    (folder / "up").symlink_to("..")
    return folder


def test_names_are_found_at_any_depth_with_their_paths(folder: Path) -> None:
    result = search(folder, name="*.py")
    assert result.text == "a.py  21\nlink.py  (symlink)\nsub/c.py  34"
    assert paths(result) == ["a.py", "link.py", "sub/c.py"]
    assert not result.structured["truncated"]
    assert paths(search(folder, name="d*")) == ["sub/deep", "sub/deep/d.PY"]
    assert paths(search(folder, name="[ab].*")) == ["a.py", "b.txt"]


def test_lines_are_found_by_their_text_once_each(folder: Path) -> None:
    result = search(folder, text="needle")
    assert result.text == "a.py:2: needle = 1\nsub/c.py:2:   a needle and a needle\nsub/c.py:3: needle"
    assert result.structured["matches"][1] == {
        "path": "sub/c.py", "line": 2, "text": "  a needle and a needle"
    }  # fmt: skip
    assert paths(search(folder, text="needle", name="a*")) == ["a.py"]


def test_no_link_is_followed_out_of_the_directory(folder: Path) -> None:
    assert "outside" not in search(folder, text="outside").text
    assert not any(path.startswith("up/") for path in paths(search(folder)))


def test_nothing_is_said_so(folder: Path) -> None:
    assert search(folder, name="none").text == "nothing was found"
    assert search(folder, text="none such text").structured["matches"] == []


def test_more_matches_than_asked_for_are_cut_and_said_so(folder: Path) -> None:
    result = search(folder, name="*.py", limit=2)
    assert result.text.endswith("[cut after 2 matches; there may be more]")
    assert len(paths(result)) == 2
    assert result.structured["truncated"]
    assert not search(folder, name="*.py", limit=3).structured["truncated"]
    assert len(paths(search(folder, text="needle", limit=1))) == 1


def test_what_cannot_be_searched_is_counted(folder: Path, monkeypatch) -> None:
    (folder / "binary").write_bytes(b"needle\0")
    (folder / os.fsdecode(b"\xff")).write_text("needle")
    monkeypatch.setattr(searching, "MAX_FILE", 40)
    (folder / "large").write_text("needle" * 10)
    result = search(folder, text="needle")
    assert "[3 files not searched: too large, binary, or not readable]" in result.text
    assert set(paths(result)) == {"a.py", "sub/c.py"}


@pytest.mark.parametrize("key", ["max_file_size", "max_bytes"])
def test_a_file_larger_than_the_right_allows_is_not_searched(folder: Path, key: str) -> None:
    result = search(folder, {key: 30}, text="needle")
    assert paths(result) == ["a.py"]
    assert result.structured["skipped"] == 1


def test_the_work_is_bounded_and_says_so(folder: Path, monkeypatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(searching, "MAX_WALKED", 3)
        result = search(folder)
        assert len(paths(result)) == 3
        assert "[cut after 3 names" in result.text
    monkeypatch.setattr(searching, "MAX_SEARCHED", 25)
    result = search(folder, text="needle")
    assert paths(result) == ["a.py"]
    assert "MiB of text" in result.text


def test_of_a_long_line_the_part_around_the_match_is_shown(folder: Path) -> None:
    (folder / "long").write_text("x" * 10_000 + "pin" + "y" * 10_000)
    [match] = search(folder, text="pin").structured["matches"]
    assert "xpiny" in match["text"]
    assert len(match["text"]) == 300


def test_a_name_cannot_pretend_to_be_another_match(folder: Path) -> None:
    (folder / "z\nb.txt:1: fake").write_text("needle")
    assert "z\ufffdb.txt:1: fake:1: needle" not in search(folder, name="*.txt").text
    lines = search(folder, name="z*").text.splitlines()
    assert lines == ["z\ufffdb.txt:1: fake  6"]


def test_the_right_must_reach_everything_below(folder: Path) -> None:
    for tail in ("", "/*", "/sub/**"):
        with pytest.raises(NotPermitted, match="not covered"):
            search(folder, tail=tail)
    with pytest.raises(NotFound):
        search(folder / "none")


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": 501}, {"name": ""}, {"text": ""}, {"text": "x" * 1001}, {"text": "\ud800"}],
)
def test_wrong_arguments_are_named(folder: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken, match=next(iter(wrong))):
        SearchFiles(FilesystemGate()).validate_args({"path": str(folder), **wrong})


def test_no_glob_makes_it_slow(folder: Path) -> None:
    (folder / ("a" * 200)).touch()
    began = time.process_time()
    assert paths(search(folder, name="*a" * 100 + "*b")) == []
    assert time.process_time() - began < 20, "exponential, not merely a busy machine"


def test_no_descriptor_is_left_open(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for args in ({"text": "needle"}, {"limit": 1}, {"text": "needle", "limit": 1}):
        search(folder, **args)
    assert len(os.listdir("/proc/self/fd")) == before
