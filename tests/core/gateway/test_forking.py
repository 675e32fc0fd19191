"""A fork shows a model what its parent showed at that event, whatever was going on there."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gateway.conversations import AGENT, OWNER, SESSION, conversations, fold, records_of
from mcp_core.gateway.forking import cut, fork_of
from mcp_core.gateway.state import apply
from mcp_interface.budget import Spent
from mcp_interface.errors import CallerMistaken, StorageCorrupt
from mcp_interface.events import (
    AgentJoined,
    SessionCreated,
    SessionEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import MessageId, SessionId, TurnId, new_id
from mcp_interface.session import ForkPoint
from mcp_interface.store import Record
from mcp_interface.testing import START, SeededEntropy

FORK = SessionId(new_id("session", SeededEntropy(11)))


def forked(records: Any, title: str | None = None) -> list[Any]:
    return fork_of(records, session_id=FORK, by=OWNER, now=START, title=title)


@settings(deadline=None)
@given(conversations())
def test_at_every_event_of_any_conversation_a_fork_equals_its_parent(events: list[Any]) -> None:
    records = records_of(events)
    for version in range(1, len(records) + 1):
        parent = fold(events[:version])
        made = forked(cut(records, version=version))
        child = fold(made)
        assert child.window == parent.window
        assert child.spoken == parent.spoken
        assert (child.turn, child.running, child.asked) == (None, {}, {})
        if parent.turn is None:
            assert child.heard == parent.heard
        assert parent.session is not None and child.session is not None
        assert (child.summarized, child.left_out) == (parent.summarized, parent.left_out)
        assert child.session.spent == Spent()  # it was paid in the parent
        copied = ("title", "profile", "model", "system", "strategy", "limits", "created_by")
        for name in (*copied, "message_count"):
            assert getattr(child.session, name) == getattr(parent.session, name)
        assert child.session.id == FORK and not child.session.agents and not child.session.busy
        assert child.session.status in {"initializing", "active"}
        assert child.session.forked_from == ForkPoint(session_id=SESSION, version=version)
        assert not any(isinstance(event, AgentJoined) for event in made)
        again = fold(forked(cut(records_of(made))))
        assert again.window == child.window  # a fork of a fork


@settings(deadline=None)
@given(conversations(), st.data())
def test_a_model_can_go_on_from_any_fork(events: list[Any], data: Any) -> None:
    version = data.draw(st.integers(1, len(events)))
    child = fold(forked(cut(records_of(events), version=version)))
    new = [
        UserMessage(timestamp=START, message_id=MessageId("msg_new"), author=OWNER, text="go on"),
        TurnStarted(timestamp=START, turn_id=TurnId("turn_new"), agent_id=AGENT),
    ]
    for number, event in enumerate(new, 10_000):
        apply(child, Record(position=number, stream="s", version=number, epoch=1, event=event))
    # every call that was asked for is answered, right behind the message that asked for it: vendors demand it
    for index, message in enumerate(child.window):
        if message.tool_uses:
            behind = child.window[index + 1]
            assert behind.role == "tool"
            assert {use.id for use in message.tool_uses} <= {out.tool_use_id for out in behind.tool_outputs}


@settings(deadline=None)
@given(conversations(), st.data())
def test_a_place_can_be_given_by_version_or_by_position(events: list[Any], data: Any) -> None:
    records = records_of(events, gap=3)
    version = data.draw(st.integers(1, len(events)))
    here = records[version - 1].position
    later = data.draw(st.integers(0, 2))
    assert cut(records, version=version) == cut(records, position=here + later)
    assert cut(records) == records


def test_a_place_that_a_session_does_not_have_is_refused() -> None:
    created = SessionCreated(timestamp=START, session_id=SESSION, created_by=OWNER)
    records = records_of([created], gap=5)
    with pytest.raises(CallerMistaken, match="event 2 of a session that has 1"):
        cut(records, version=2)
    with pytest.raises(CallerMistaken, match="no event up to position 4"):
        cut(records, position=4)
    with pytest.raises(CallerMistaken, match="at a version and at a position"):
        cut(records, version=1, position=5)
    with pytest.raises(StorageCorrupt):
        forked(records_of([SessionEnded(timestamp=START)]))


def test_a_fork_is_not_what_the_node_used_the_other_session_for() -> None:
    metadata = {"kind": "console", "cwd": "/srv"}
    created = SessionCreated(timestamp=START, session_id=SESSION, created_by=OWNER, metadata=metadata)
    (event,) = forked(records_of([created]))
    assert event.metadata == {"cwd": "/srv"}


def test_a_name_that_is_given_counts_more_than_any_that_is_copied() -> None:
    created = SessionCreated(timestamp=START, session_id=SESSION, created_by=OWNER, title="old")
    session = fold(forked(records_of([created]), "new")).session
    assert session is not None and session.title == "new"
