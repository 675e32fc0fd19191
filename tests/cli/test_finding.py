"""Files of a project, found by some letters."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli import finding
from mcp_cli.finding import best, project_files, score
from mcp_interface.clock import SystemClock
from mcp_interface.testing import ManualClock

PATHS = st.text(st.sampled_from("abAB/._-ßİ"), max_size=20)


@given(PATHS, PATHS)
def test_letters_fit_whatever_holds_them_in_order(typed: str, text: str) -> None:
    rest = iter(text.lower())
    in_order = all(letter in rest for letter in typed.lower())
    assert (score(typed, text) is not None) == in_order


def test_the_beginning_of_a_name_comes_before_letters_that_are_only_in_order() -> None:
    paths = ["src/temporary/zap.py", "tests/test_app.py", "src/tui/app.py", "zebra.txt"]
    assert best("app", paths, 10)[:2] == ["src/tui/app.py", "tests/test_app.py"]
    assert best("srap", paths, 10) == ["src/tui/app.py", "src/temporary/zap.py"]
    assert best("tui py", paths, 10) == ["src/tui/app.py"]
    assert best("zzz", paths, 10) == []
    assert len(best("", paths, 2)) == 2


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")


def found(folder: Path) -> list[str]:
    return sorted(asyncio.run(project_files(folder, SystemClock())))


def test_what_git_ignores_is_not_found_and_the_settings_of_a_folder_run_nothing(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    write(tmp_path, "src/app.py", "made/out.bin", "new file.txt")
    (tmp_path / ".gitignore").write_text("made/\n")
    spy = tmp_path / "spy.sh"
    spy.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    spy.chmod(0o755)
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.fsmonitor", str(spy)], check=True)
    assert found(tmp_path) == [".gitignore", "new file.txt", "spy.sh", "src/app.py"]
    assert found(tmp_path / "src") == ["app.py"]
    assert not (tmp_path / "ran").exists()


def test_without_git_hidden_and_heavy_folders_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a/b.txt", ".secret/c.txt", "node_modules/d.js", ".hidden", "top.md", "line\nbreak")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert found(tmp_path) == ["a/b.txt", "top.md"]
    monkeypatch.setenv("PATH", "")
    assert found(tmp_path) == ["a/b.txt", "top.md"]
    assert found(tmp_path / "nowhere") == []


def test_the_walk_is_bounded_in_files_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, *(f"{folder}/{name}" for folder in "abc" for name in "123"))
    monkeypatch.setattr(finding, "MOST_FILES", 4)
    assert len(finding._walk(tmp_path, ManualClock(), 10.0)) == 4
    monkeypatch.setattr(finding, "MOST_FILES", 100)
    assert finding._walk(tmp_path, ManualClock(), float("-inf")) == [], "the folder itself holds none"
