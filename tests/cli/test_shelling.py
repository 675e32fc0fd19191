"""What stands behind `!`, as a call of a tool."""

import os
from pathlib import Path

import pytest

from mcp_cli.shelling import arguments
from mcp_interface.errors import NotFound


def test_the_persons_shell_reads_the_line_by_its_real_name(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    given = arguments("echo $HOME | wc", link, "/bin/sh")
    assert given["program"] == os.path.realpath("/bin/sh")
    assert given["arguments"] == ["-c", "echo $HOME | wc"]
    assert given["cwd"] == os.path.realpath(tmp_path)


def test_a_shell_that_is_gone_is_replaced_and_none_at_all_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/no/such/shell")
    assert arguments("ls", tmp_path)["program"] == os.path.realpath("/bin/sh")
    monkeypatch.setattr("mcp_cli.shelling.PLAIN", "/no/sh")
    with pytest.raises(NotFound) as missing:
        arguments("ls", tmp_path)
    assert "SHELL" in missing.value.remedy
