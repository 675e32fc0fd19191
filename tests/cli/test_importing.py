"""Conversations from elsewhere are read as they are, and what cannot be taken is named."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_cli.exporting import document
from mcp_cli.importing import CALLS, EMPTY, read
from mcp_cli.terminal import json_document
from mcp_interface.conversing import ImportedMessage
from mcp_interface.errors import CallerMistaken
from mcp_interface.events import AssistantMessage, SessionCreated, UserMessage
from mcp_interface.ids import AgentId, MessageId, PrincipalId, SessionId, TurnId
from mcp_interface.provider import ToolUse
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.testing import START

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
SAID = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), WORDS, MOMENTS), min_size=1, max_size=20)
SESSION = SessionId("session_" + "1" * 32)
OWNER = PrincipalId("user_" + "1" * 32)


def event(role: str, text: str, at: datetime, **more: Any) -> Any:
    key = MessageId("msg_" + "1" * 32)
    if role == "user":
        return UserMessage(timestamp=at, message_id=key, author=OWNER, text=text)
    return AssistantMessage(
        timestamp=at, message_id=key, turn_id=TurnId("turn_1"), agent_id=AgentId("agent_1"), text=text, **more
    )


def exported(events: list[Any], **session: Any) -> str:
    created = SessionCreated(timestamp=START, session_id=SESSION, created_by=OWNER)
    records = [
        Record(position=at, stream="session:x", version=at, epoch=1, event=each)
        for at, each in enumerate([created, *events], 1)
    ]
    kept = Session(id=SESSION, created_by=OWNER, created_at=START, updated_at=START, **session)
    return json_document(document(kept, records))


@settings(max_examples=40)
@given(SAID, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_was_exported_here_comes_back_word_for_word(said: Any, title: str) -> None:
    taken = read(exported([event(*each) for each in said], title=title))
    assert [(m.role, m.content, m.timestamp) for m in taken.messages] == said
    assert (taken.title, taken.left) == (title, [])


@settings(max_examples=40)
@given(SAID)
def test_a_list_of_messages_is_read_with_its_times(said: Any) -> None:
    items = [{"role": role, "content": text, "timestamp": at.isoformat()} for role, text, at in said]
    for told in (items, {"messages": items, "title": "t"}):
        assert [(m.role, m.content, m.timestamp) for m in read(json.dumps(told)).messages] == said


def test_what_cannot_be_taken_is_counted_and_named() -> None:
    step = event("assistant", "", START, tool_uses=[ToolUse(id="1", name="x", arguments={})])
    ours = read(
        exported([event("user", "go", START), step, event("assistant", " ", START)], system="be brief")
    )
    assert len(ours.messages) == 1
    assert ours.left == [f"{EMPTY}: 1", "words that its assistant was told beside the conversation: 1"]
    told = [
        {"role": "system", "content": "be nice"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url"}, "here"]},
        {"role": "assistant", "content": None, "tool_calls": [{}, {}]},
        {"role": "tool", "content": "x"},
        {"role": "assistant", "content": "", "timestamp": None},
        {"role": "assistant", "content": "done", "timestamp": 0},
    ]
    theirs = read(json.dumps(told))
    assert theirs.messages == [
        ImportedMessage(role="user", content="look\n\nhere"),
        ImportedMessage(role="assistant", content="done", timestamp=datetime(1970, 1, 1, tzinfo=UTC)),
    ]
    assert sorted(theirs.left) == sorted(
        [
            "messages of the role 'system': 1",
            "messages of the role 'tool': 1",
            "parts that are not text: 1",
            f"{CALLS}: 2",
            f"{EMPTY}: 1",
        ]
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("3", "no conversation"),
        ('{"messages": 3}', "no conversation"),
        ("[]", "no message with words"),
        ('[{"role": "user", "content": " "}]', "no message with words"),
        ('[{"content": "x"}]', "message 1 has no role"),
        ('["x"]', "message 1 has no role"),
        ('[{"role": "user", "content": 3}]', "content of message 1"),
        ('[{"role": "user", "content": "x", "timestamp": "yesterday"}]', "message 1 has a timestamp"),
        ('[{"role": "user", "content": "x", "timestamp": 1e300}]', "message 1 has a timestamp"),
        ('{"records": [3]}', "record 1 has no event"),
        ('{"records": [{"event": {"event": "message.user"}}]}', "record 1 has no text"),
    ],
)
def test_what_is_no_conversation_is_refused_by_its_place(text: str, told: str) -> None:
    with pytest.raises(CallerMistaken, match=told):
        read(text)


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "role",
                        "content",
                        "timestamp",
                        "records",
                        "messages",
                        "event",
                        "text",
                        "title",
                        "tool_calls",
                        "session",
                        "user",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(told: Any) -> None:
    with contextlib.suppress(CallerMistaken):
        assert read(json.dumps(told)).messages
