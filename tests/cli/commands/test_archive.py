"""Searching, renaming, bringing in, and what it all cost, against a real node."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Json = Callable[..., Any]
Umbrella = Callable[..., Any]
SAID = [
    {"role": "user", "content": "where is the heron?", "timestamp": "2026-01-02T10:00:00Z"},
    {"role": "assistant", "content": "By the\n\nwater.\x1b[31m", "timestamp": "2026-01-02T10:00:05Z"},
    {"role": "system", "content": "be brief"},
]


@pytest.fixture
def brought(tmp_path: Path, umbrella_json: Json) -> Any:
    file = tmp_path / "said.json"
    file.write_text(json.dumps(SAID))
    return umbrella_json("sessions", "import", str(file), "--title", "a walk")


def messages(umbrella_json: Json, session: str) -> list[Any]:
    records = umbrella_json("sessions", "export", session, "--as", "json")["records"]
    kinds = {"message.user": "user", "message.assistant": "assistant"}
    events = [record["event"] for record in records]
    return [(kinds[e["event"]], e["text"], e["timestamp"]) for e in events if e["event"] in kinds]


def test_export_and_import_give_the_same_messages(
    umbrella_json: Json, umbrella: Umbrella, brought: Any, tmp_path: Path
) -> None:
    assert brought["left_out"] == ["messages of the role 'system': 1"] and brought["messages"] == 2
    assert brought["session"]["metadata"]["source"] == "said.json"
    first = brought["session"]["id"]
    file = tmp_path / "again.json"
    umbrella_json("sessions", "export", first, "--as", "json", "--output", str(file))
    again = umbrella_json("sessions", "import", str(file))
    assert again["session"]["title"] == "a walk" and again["session"]["id"] != first
    assert messages(umbrella_json, again["session"]["id"]) == messages(umbrella_json, first)
    shown = umbrella("sessions", "show", first).stdout
    assert "where is the heron?" in shown and "\x1b" not in shown
    through_a_pipe = umbrella("sessions", "import", "-", stdin=json.dumps(SAID[:1]))
    assert through_a_pipe.exit_code == 0, through_a_pipe.stderr


def test_what_was_said_is_found_with_its_place(umbrella_json: Json, umbrella: Umbrella, brought: Any) -> None:
    session = brought["session"]["id"]
    deadline = time.monotonic() + 20
    while not (found := umbrella_json("sessions", "search", "heron", "--session", session)["items"]):
        assert time.monotonic() < deadline
    [hit] = found
    assert (hit["title"], hit["role"]) == ("a walk", "user")
    copy = umbrella_json("sessions", "fork", session, "--at", str(hit["version"]))
    assert messages(umbrella_json, copy["id"])[-1][1] == "where is the heron?"
    shown = umbrella("sessions", "search", "wat", "--session", session).stdout
    assert "By the *water*" in shown and "\x1b" not in shown
    page = umbrella_json("sessions", "search", "the", "--session", session, "--limit", "1")
    rest = umbrella_json("sessions", "search", "the", "--session", session, "--cursor", page["cursor"])
    assert len(page["items"]) == len(rest["items"]) == 1 and rest["items"] != page["items"]
    assert "nothing that was said" in umbrella("sessions", "search", "wombat").stdout
    assert umbrella("sessions", "search", "…").exit_code == 2


def test_a_session_gets_another_title(umbrella_json: Json, umbrella: Umbrella, brought: Any) -> None:
    session = brought["session"]["id"]
    assert umbrella_json("sessions", "rename", session, "the", "grey", "heron")["title"] == "the grey heron"
    assert umbrella_json("sessions", "show", "the grey heron")["session"]["id"] == session
    assert umbrella("sessions", "rename", session, " ").exit_code == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "not JSON"), ("[]", "no message with words"), ('[{"content": "x"}]', "message 1 has no role")],
)
def test_a_file_that_is_no_conversation_begins_nothing(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path, text: str, told: str
) -> None:
    before = len(umbrella_json("sessions", "list", "--all")["items"])
    (tmp_path / "x.json").write_text(text)
    refused = umbrella("sessions", "import", str(tmp_path / "x.json"))
    assert refused.exit_code == 2 and told in refused.stderr
    assert umbrella("sessions", "import", str(tmp_path / "absent.json")).exit_code == 2
    assert len(umbrella_json("sessions", "list", "--all")["items"]) == before


def test_the_same_words_do_it_in_the_repl(umbrella: Umbrella, brought: Any) -> None:
    done = umbrella("--plain", stdin="/search heron\n/usage\n/config\n/quit\n")
    assert done.exit_code == 0, done.stderr
    assert "*heron*" in done.stdout and "ask.output" in done.stdout
