"""The fold of a session: whatever the order of events, what a model is shown is well-formed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.gateway.policy import Decision, decide
from mcp_core.gateway.state import SessionState, apply, summarize
from mcp_interface.address import parse_resource
from mcp_interface.codec import decode_disk, encode_disk
from mcp_interface.errors import Interrupted
from mcp_interface.events import (
    AssistantMessage,
    ExecutionChanged,
    SessionCreated,
    SessionEnded,
    ToolCall,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import AgentId, ExecutionId, MessageId, PrincipalId, SessionId, TurnId, new_id
from mcp_interface.provider import ToolUse
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.testing import START, SeededEntropy
from mcp_interface.tool import ToolInfo, text_result

ENTROPY = SeededEntropy(1)
SESSION = SessionId(new_id("session", ENTROPY))
OWNER = PrincipalId(new_id("user", ENTROPY))
AGENT = AgentId(new_id("agent", ENTROPY))


def created(**metadata: Any) -> SessionCreated:
    return SessionCreated(timestamp=START, session_id=SESSION, created_by=OWNER, metadata=metadata)


def said(text: str) -> UserMessage:
    return UserMessage(timestamp=START, message_id=MessageId("msg_1"), author=OWNER, text=text)


def answered(text: str, *uses: str) -> AssistantMessage:
    return AssistantMessage(
        timestamp=START,
        message_id=MessageId("msg_2"),
        turn_id=TurnId("turn_1"),
        agent_id=AGENT,
        text=text,
        tool_uses=[ToolUse(id=use, name="t", arguments={}) for use in uses],
    )


def execution(use: str, status: Any, **fields: Any) -> ExecutionChanged:
    return ExecutionChanged(
        timestamp=START,
        execution_id=ExecutionId(f"exec_{use}"),
        session_id=SESSION,
        principal_id=PrincipalId(AGENT),
        status=status,
        **fields,
    )


def started(use: str) -> ExecutionChanged:
    return execution(use, "started", call=ToolCall(server="s", tool="t", arguments={}, tool_use_id=use))


def begun() -> TurnStarted:
    return TurnStarted(timestamp=START, turn_id=TurnId("turn_1"), agent_id=AGENT)


def ended(status: Any = "completed") -> TurnEnded:
    return TurnEnded(timestamp=START, turn_id=TurnId("turn_1"), status=status)


def fold(*events: Any, epoch: int = 1) -> SessionState:
    state = SessionState()
    for number, event in enumerate(events, 1):
        apply(
            state,
            Record(position=number, stream=f"session:{SESSION}", version=number, epoch=epoch, event=event),
        )
    return state


def test_outputs_stand_right_behind_the_message_that_asked_for_them() -> None:
    state = fold(
        created(),
        said("go"),
        begun(),
        answered("", "a", "b"),
        started("a"),
        started("b"),
        said("meanwhile"),
        execution("b", "completed", result=text_result("B")),
        execution("a", "failed", error=Interrupted("gone", "look").body()),
    )
    assert [message.role for message in state.window] == ["user", "assistant", "tool", "user"]
    assert {output.tool_use_id: output.text for output in state.window[2].tool_outputs} == {
        "b": "B",
        "a": "gone. look",
    }
    assert not state.running


def test_calls_that_never_ran_are_answered_when_their_turn_ends() -> None:
    state = fold(created(), said("go"), begun(), answered("", "a"), ended("cancelled"))
    (output,) = state.window[-1].tool_outputs
    assert output.is_error and "cancelled" in output.text


def test_what_was_going_on_when_a_session_ended_can_still_come_to_its_end() -> None:
    over = SessionEnded(timestamp=START, reason="done")
    state = fold(created(), begun(), answered("", "a"), started("a"), over)
    assert state.stale(2)
    state = fold(
        created(),
        begun(),
        answered("", "a"),
        started("a"),
        over,
        execution("a", "completed", result=text_result("A")),
        ended(),
    )
    assert not state.stale(2)
    assert state.session is not None and state.session.status == "terminated"


def test_a_message_is_taken_up_by_the_turn_that_begins_or_reads_it() -> None:
    state = fold(created(), said("one"), begun(), said("two"))
    assert state.unanswered
    read = msgspec.structs.replace(answered("both"), heard=2)
    assert not fold(created(), said("one"), begun(), said("two"), read, ended()).unanswered
    assert fold(created(), said("one"), begun(), said("two"), answered("one"), ended()).unanswered


def test_what_an_older_epoch_left_open_is_stale_and_what_ours_has_open_is_not() -> None:
    assert fold(created(), begun(), epoch=1).stale(2)
    assert fold(created(), started("a"), epoch=1).stale(2)
    assert not fold(created(), begun(), started("a"), epoch=2).stale(2)
    assert not fold(created(), begun(), ended(), epoch=1).stale(2)


def test_a_stream_that_does_not_begin_properly_is_no_session() -> None:
    record = Record(position=1, stream="session:x", version=1, epoch=1, event=said("hi"))
    assert summarize(None, record) is None


events = st.lists(
    st.one_of(
        st.builds(said, st.text(max_size=5)),
        st.builds(answered, st.text(max_size=3), st.sampled_from("abc"), st.sampled_from("def")),
        st.just(begun()),
        st.sampled_from([ended(), ended("failed"), ended("interrupted")]),
        st.builds(started, st.sampled_from("abcdef")),
        st.builds(
            lambda use: execution(use, "completed", result=text_result(use)), st.sampled_from("abcdef")
        ),
    ),
    max_size=30,
)


@given(events)
def test_a_replay_through_a_snapshot_equals_the_live_state(history: list[Any]) -> None:
    live = fold(created(), *history)
    half = len(history) // 2
    restored = decode_disk(encode_disk(fold(created(), *history[:half])), SessionState)
    for number, event in enumerate(history[half:], half + 2):
        apply(restored, Record(position=number, stream="session:x", version=number, epoch=1, event=event))
    assert restored == live


@given(events)
def test_no_tool_output_stands_alone_and_none_is_given_twice(history: list[Any]) -> None:
    window = fold(created(), *history, ended()).window
    for index, message in enumerate(window):
        if message.role == "tool":
            asked = {use.id for use in window[index - 1].tool_uses}
            given_ids = [output.tool_use_id for output in message.tool_outputs]
            assert set(given_ids) <= asked and len(given_ids) == len(set(given_ids))


READ = ToolInfo(server="fs", name="read_file", read_only=True, destructive=False)
WRITE = ToolInfo(server="fs", name="write_file")


@pytest.mark.parametrize(
    ("profile", "tool", "uri", "decision"),
    [
        ("careful", READ, "mcp://fs/read/home/me/a", Decision.GRANT),
        ("careful", READ, "mcp://fs/read/home/me", Decision.GRANT),
        ("careful", READ, "mcp://fs/read/home/meow/a", Decision.ASK),
        ("careful", READ, "mcp://fs/read/etc/passwd", Decision.ASK),
        ("careful", WRITE, "mcp://fs/write/home/me/a", Decision.ASK),
        ("careful", READ, "mcp://tool/execute/git/log", Decision.GRANT),
        ("ask", READ, "mcp://fs/read/home/me/a", Decision.ASK),
        ("open", WRITE, "mcp://fs/write/etc/passwd", Decision.GRANT),
        ("locked", READ, "mcp://fs/read/home/me/a", Decision.DENY),
    ],
)
def test_the_profile_decides(profile: Any, tool: ToolInfo, uri: str, decision: Decision) -> None:
    session = msgspec.structs.replace(
        Session(id=SESSION, created_by=OWNER, created_at=START, updated_at=START),
        profile=profile,
        metadata={"cwd": "/home/me/"},
    )
    assert decide(session, tool, parse_resource(uri)) is decision


def test_without_a_known_folder_careful_asks_for_every_file() -> None:
    session = Session(id=SESSION, created_by=OWNER, created_at=START, updated_at=START)
    assert decide(session, READ, parse_resource("mcp://fs/read/home/me/a")) is Decision.ASK
