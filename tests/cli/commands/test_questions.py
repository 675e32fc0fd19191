"""`umbrella questions …`, and how headless calls and line-mode REPLs deal with what tools ask."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcp_cli.main import cli

SERVER = Path(__file__).parents[2] / "desk_server.py"
PATIENCE_S = 30.0


@pytest.fixture
def desk(umbrella: Callable[..., Result]) -> None:
    added = umbrella("mcp", "add", "desk", "--", sys.executable, str(SERVER))
    assert added.exit_code == 0, added.stderr


def waiting(umbrella_json: Callable[..., Any], call: str) -> str:
    """Wait until a call asks; returns the id of its question."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        items = umbrella_json("questions", "list", "--execution", call)["items"]
        if items:
            return str(items[0]["id"])
        time.sleep(0.05)
    raise AssertionError("nothing was asked")


@pytest.mark.usefixtures("desk")
def test_a_question_is_listed_shown_refused_when_it_does_not_fit_and_answered(
    umbrella: Callable[..., Result], umbrella_json: Callable[..., Any]
) -> None:
    call = umbrella_json("call", "desk", "book", "--detach")["id"]
    question = waiting(umbrella_json, call)
    assert "Where do you want to go?" in umbrella("questions", "list").stdout
    shown = umbrella("questions", "show", question[:18]).stdout
    assert "City *" in shown and f"umbrella questions answer {question[:17]} --set city=…" in shown
    for words, what in (
        (["--set", "town=Bergen"], "'town'"),
        (["--set", "seats=9"], "'city'"),
        (["--set", "city=Bergen", "--set", "seats=9"], "'seats'"),
        ([], "what is the answer"),
    ):
        refused = umbrella("questions", "answer", question, *words)
        assert refused.exit_code == 2 and what in refused.stderr, refused.stderr
    assert umbrella("questions", "answer", question, "--decline", "--set", "city=x").exit_code == 2
    done = umbrella("questions", "answer", question, "--set", "city=Bergen", "--set", "window=yes")
    assert done.exit_code == 0 and "answered: desk.book" in done.stdout
    assert "booked 2 to Bergen at the window" in umbrella("executions", "watch", call).stdout
    gone = umbrella("questions", "answer", question, "--accept")
    assert gone.exit_code == 4


@pytest.mark.usefixtures("desk")
def test_a_call_without_a_terminal_says_how_to_answer_and_goes_on_when_somebody_does(
    umbrella: Callable[..., Result], umbrella_json: Callable[..., Any]
) -> None:
    called: list[Result] = []
    calling = threading.Thread(target=lambda: called.append(umbrella("call", "desk", "pay")))
    calling.start()
    end = time.monotonic() + PATIENCE_S
    while not (items := umbrella_json("questions", "list")["items"]):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert umbrella("questions", "answer", items[0]["id"], "--set", "x=1").exit_code == 2
    assert umbrella("questions", "answer", items[0]["id"], "--decline").exit_code == 0
    calling.join(PATIENCE_S)
    assert called[0].exit_code == 0 and "payment: decline" in called[0].stdout
    assert "a page of pay.example.org" in called[0].stderr
    assert "umbrella questions answer question_" in called[0].stderr


@pytest.mark.usefixtures("desk")
def test_a_call_at_a_terminal_asks_line_by_line(node_dir: Path) -> None:
    leader, follower = pty.openpty()
    program = "from mcp_cli.main import main; main()"
    words = ["--data-dir", str(node_dir), "call", "desk", "book"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        said = b""
        for wanted, line in ((b"City *", b"B\n"), (b"Seats", b"\n"), (b"window", b"yes\n"), (b"send this?", b"y\n"),
                             (b"too short", b"Bergen\n"), (b"Seats", b"3\n"), (b"window", b"\n"), (b"send this?", b"y\n")):  # fmt: skip
            while wanted not in said:
                piece = os.read(process.stderr.fileno(), 4096)
                assert piece, said.decode()
                said += piece
            said = said.partition(wanted)[2]
            os.write(leader, line)
        assert process.wait(PATIENCE_S) == 0
        assert b"booked 3 to Bergen at the window" in process.stdout.read()
    os.close(leader)
    os.close(follower)


@pytest.mark.usefixtures("desk")
def test_a_pipe_into_the_repl_answers_what_a_call_asks_and_mentions_nothing(
    node_dir: Path, tmp_path: Path
) -> None:
    lines = ["/call desk book {}", "/questions", "/answer", "/desk:greet Ann", "hello @desk:note://today"]
    done = CliRunner().invoke(
        cli, ["--data-dir", str(node_dir)], input="\n".join(lines) + "\n", catch_exceptions=False
    )
    assert "? desk.book asks:" in done.stderr and "/questions answer question_" in done.stderr
    assert "error: what is the answer to question_" in done.stdout
    assert "> Write a warm greeting to Ann, see @note://today" in done.stdout
    assert "> hello @desk:note://today\n" in done.stdout and "From @" not in done.stdout
    declined = CliRunner().invoke(cli, ["--data-dir", str(node_dir), "--format", "json", "questions", "list"])
    for item in json.loads(declined.stdout)["items"]:
        CliRunner().invoke(cli, ["--data-dir", str(node_dir), "questions", "answer", item["id"], "--cancel"])


def test_nothing_is_read_ahead_of_the_first_question() -> None:
    from mcp_cli.lines import Lines

    source = io.StringIO("one\n")
    Lines(source)
    assert source.tell() == 0
