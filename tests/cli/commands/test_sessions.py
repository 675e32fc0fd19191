"""`umbrella sessions suspend, resume, fork, end` and their slash commands, against a real node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mcp_cli.commands.sessions import version_before
from mcp_cli.main import cli
from mcp_interface.errors import CallerMistaken
from mcp_interface.events import SessionEnded, UserMessage
from mcp_interface.ids import MessageId, PrincipalId
from mcp_interface.store import Record
from mcp_interface.testing import START

Json = Callable[..., Any]
Umbrella = Callable[..., Any]


def repl(node_dir: Path, text: str, *options: str) -> Any:
    return CliRunner().invoke(
        cli, ["--data-dir", str(node_dir), *options], input=text, catch_exceptions=False
    )


@pytest.fixture
def session(node_dir: Path) -> str:
    """A session in which two messages were said."""
    done = repl(node_dir, "first words\nsecond words\n/quit\n")
    return str(done.stderr.split("--resume ")[1].strip())


def test_a_session_is_suspended_and_resumed(umbrella: Umbrella, umbrella_json: Json, session: str) -> None:
    resting = umbrella_json("sessions", "suspend", session, "--reason", "lunch")
    assert (resting["id"], resting["status"]) == (session, "suspended")
    assert "suspended" in umbrella("sessions", "list").stdout
    assert "suspended: lunch" in umbrella("sessions", "show", session).stdout
    refused = umbrella("call", "fs", "list_directory", "--json", '{"path": "/"}', "--session", session)
    assert refused.exit_code == 1
    assert f"remedy: resume it: umbrella sessions resume {session}" in refused.stderr
    assert umbrella_json("sessions", "resume", session)["status"] == "active"
    assert umbrella("sessions", "end", session, "--cleanup", "graceful").exit_code == 0
    over = umbrella("sessions", "resume", session)
    assert over.exit_code == 1 and "has ended" in over.stderr


def test_a_session_is_forked_where_it_is_told(umbrella: Umbrella, umbrella_json: Json, session: str) -> None:
    whole = umbrella_json("sessions", "fork", session, "--title", "another way")
    assert whole["title"] == "another way" and whole["forked_from"]["session_id"] == session
    shown = umbrella("sessions", "show", whole["id"]).stdout
    assert f"a copy of {session}" in shown and "second words" in shown
    earlier = umbrella_json("sessions", "fork", session, "--back", "1")
    shown = umbrella("sessions", "show", earlier["id"]).stdout
    assert "first words" in shown and "second words" not in shown
    start = umbrella_json("sessions", "fork", session, "--at", "1")
    assert start["message_count"] == 0
    for words in (["--back", "9"], ["--at", "999"], ["--back", "1", "--at", "1"], ["--at", "0"]):
        result = umbrella("sessions", "fork", session, *words)
        assert result.exit_code == 2, result.output


def test_slash_commands_fork_and_suspend_what_is_on_the_screen(
    node_dir: Path, umbrella: Umbrella, session: str
) -> None:
    done = repl(node_dir, "/fork 1\n/suspend\nhello?\n/resume\n/quit\n", "--resume", session)
    made = done.stderr.split("--resume ")[1].strip()
    assert made != session
    assert f"a copy of {session}" in done.stdout
    assert "is suspended" in done.stdout and "resume it" in done.stdout
    assert done.stdout.index("! suspended") < done.stdout.index("! resumed")
    assert "second words" in umbrella("sessions", "show", session).stdout
    assert "second words" not in umbrella("sessions", "show", made).stdout


def test_opening_a_suspended_session_goes_on_with_it(
    node_dir: Path, umbrella: Umbrella, umbrella_json: Json, session: str
) -> None:
    umbrella("sessions", "suspend", session)
    done = repl(node_dir, "/quit\n", "--resume", session)
    assert "first words" in done.stdout
    listed = {item["id"]: item["status"] for item in umbrella_json("sessions", "list")["items"]}
    assert listed[session] == "active"


@pytest.mark.parametrize("words", ["/fork", "/suspend"])
def test_without_a_session_there_is_nothing_to_fork_or_suspend(node_dir: Path, words: str) -> None:
    assert "there is no session yet" in repl(node_dir, f"{words}\n").stdout


def test_going_back_counts_what_people_said() -> None:
    said = UserMessage(timestamp=START, message_id=MessageId("m"), author=PrincipalId("u"), text="x")
    events = [SessionEnded(timestamp=START), said, SessionEnded(timestamp=START), said]
    records = [
        Record(position=number, stream="s", version=number, epoch=1, event=event)
        for number, event in enumerate(events, 1)
    ]
    assert [version_before(records, back) for back in (1, 2)] == [3, 1]
    with pytest.raises(CallerMistaken, match="3 messages back, but there are 2"):
        version_before(records, 3)
