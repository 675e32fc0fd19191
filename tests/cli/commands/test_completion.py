"""Shells complete our words, with what a running node knows, and are never kept waiting or talked to."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mcp_cli.commands import completion
from mcp_cli.invocation import Invocation
from mcp_cli.main import cli

PROGRAM = "from mcp_cli.main import main; main()"


def completed(words: str, data_dir: Path, shell: str = "bash") -> list[str]:
    """What the shell would be offered for the last of these words."""
    environ = {
        **os.environ,
        "_UMBRELLA_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "UMBRELLA_DATA_DIR": str(data_dir),
    }
    # the variable is named after the program
    program = "import sys; sys.argv[0] = 'umbrella'; " + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "", done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False)
    assert result.exit_code == 0
    assert "_UMBRELLA_COMPLETE" in result.stdout and "umbrella" in result.stdout


def test_bash_takes_the_script() -> None:
    script = CliRunner().invoke(cli, ["completion", "bash"]).stdout
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_and_options_are_completed(tmp_path: Path) -> None:
    assert completed("umbrella con", tmp_path) == ["config"]
    assert completed("umbrella sessions se", tmp_path) == ["search"]
    assert "--max-cost" in completed("umbrella ask --max", tmp_path)
    assert completed("umbrella ask --output st", tmp_path) == ["stream-json"]


def test_names_of_a_running_node_are_completed(umbrella_json: Any, node_dir: Path, tmp_path: Path) -> None:
    umbrella_json("agent", "spawn", "heron")
    made = umbrella_json("sessions", "import", str(said(tmp_path)))["session"]["id"]
    assert "heron" in completed("umbrella agent show h", node_dir)
    assert "fs" in completed("umbrella mcp tools ", node_dir)
    offered = completed("umbrella sessions show session_", node_dir)
    assert any(made.startswith(name) for name in offered)
    assert set(offered) == set(completed("umbrella ask --resume session_", node_dir))


def said(folder: Path) -> Path:
    file = folder / "said.json"
    file.write_text('[{"role": "user", "content": "hello"}]')
    return file


def test_without_a_node_there_are_no_names_and_not_a_word(tmp_path: Path) -> None:
    assert completed("umbrella sessions show ", tmp_path / "none") == []
    assert not (tmp_path / "none").exists(), "nothing is started by a Tab"


def test_a_node_that_does_not_answer_is_not_waited_for(
    node_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(client: Any) -> list[tuple[str, str]]:
        await asyncio.sleep(60)
        return [("late", "")]

    monkeypatch.setitem(completion.LISTS, "session", silent)
    began = time.monotonic()
    assert completion.names(Invocation(data_dir=node_dir), "session") == []
    assert time.monotonic() - began < 30
