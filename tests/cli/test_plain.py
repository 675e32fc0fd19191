"""The line-mode REPL, fed from a pipe, against a real node."""

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mcp_cli.attachment import DoorOpener
from mcp_cli.grammar import Order, parse
from mcp_cli.invocation import Invocation, Job, Outcome
from mcp_cli.main import cli
from mcp_cli.plain import PlainFace
from mcp_cli.repl import Repl
from mcp_interface.errors import NodeUnavailable, UmbrellaError


def repl(node_dir: Path, text: str, *options: str) -> Result:
    return CliRunner().invoke(
        cli, ["--data-dir", str(node_dir), *options], input=text, catch_exceptions=False
    )


def test_commands_and_their_results_are_printed_in_order(node_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("x")
    done = repl(
        node_dir, f'/profile ask\n/call fs list_directory {{"path": "{tmp_path}"}}\n/status\n/quit\n/help\n'
    )
    assert done.exit_code == 0, done.stderr
    profile, card, status = (
        done.stdout.find(text) for text in ("profile ask", "* fs.list_directory", "journal")
    )
    assert 0 <= profile < card < status
    assert "here.txt" in done.stdout
    assert "conversation" not in done.stdout, "nothing is read after /quit"
    assert "--resume session_" in done.stderr


def test_a_message_without_a_model_is_answered_with_what_to_set(node_dir: Path) -> None:
    done = repl(node_dir, "hello\n/history\n")
    assert "> hello" in done.stdout
    assert "OPENAI_API_KEY" in done.stdout


def test_a_mistake_is_told_with_its_remedy(node_dir: Path) -> None:
    done = repl(
        node_dir,
        "/tols\n/mcp add x\n/agent show nobody-here\n/call fs read_file {\n/resume nothing-like-it\n",
    )
    assert "did you mean /tools?" in done.stdout
    assert done.stdout.count("error: ") == 5
    assert done.stdout.count("remedy: ") == 5


def test_every_local_command_does_its_work(node_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "export.md"
    lines = [
        "/help",
        "/help profile",
        "/model",
        "/model m-9",
        "/profile",
        "/cancel",
        "/history",
        "/new",
        "/clear",
    ]
    lines += ["hello", f"/export md {path}", "/model m-8", "/profile locked", "/sessions", "/mcp add --help"]
    done = repl(node_dir, "\n".join(lines) + "\n")
    assert "error" not in done.stdout, done.stdout
    assert path.read_text().startswith("# hello")
    for text in (
        "keys",
        "may do nothing, and may not ask",
        "no model",
        "the next session uses m-9",
        "Usage:",
    ):
        assert text in done.stdout
    assert "model is now m-8" in done.stdout
    assert "profile is now locked" in done.stdout


def test_an_earlier_session_is_shown_when_it_is_resumed(node_dir: Path) -> None:
    first = repl(node_dir, "remember the fish\n")
    identifier = first.stderr.split("--resume ")[1].strip()
    assert "> remember the fish" in repl(node_dir, "", "--resume", identifier).stdout
    assert "> remember the fish" in repl(node_dir, "", "--continue").stdout


def test_who_resumes_what_does_not_exist_is_told_and_nothing_is_read(node_dir: Path) -> None:
    done = repl(node_dir, "this is for another session\n", "--plain", "--resume", "nothing-like-it")
    assert done.exit_code == 4
    assert "no session is called" in done.stderr and "> this" not in done.stdout


def test_a_pipe_into_the_command_itself_is_read_to_its_end(node_dir: Path) -> None:
    program = "from mcp_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--data-dir", str(node_dir)],
        input="/status\n",
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert "journal" in done.stdout
    assert done.stderr == ""


def test_a_call_that_its_node_did_not_survive_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone() -> Outcome:
        raise NodeUnavailable("the node is gone", "connect again")

    async def work() -> None:
        invocation = Invocation()
        repl = Repl(DoorOpener(invocation), invocation, PlainFace(io.StringIO()))
        order = parse("/call fs read_file {}")
        assert isinstance(order, Order)

        async def never(error: UmbrellaError) -> bool:
            raise AssertionError("nobody waits for a card")

        monkeypatch.setattr(repl, "_has_card", never)
        with pytest.raises(NodeUnavailable):
            await repl._do(Job(work=lambda client: gone()), gone(), order)

    asyncio.run(work())
