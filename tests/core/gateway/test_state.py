"""The fold of a session: whatever the order of events, what a model is shown is well-formed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.gateway.policy import Decision, decide
from mcp_core.gateway.state import BROKE_OFF, SessionState, apply, check_allowed, summarize
from mcp_interface.address import parse_resource
from mcp_interface.budget import Budget, Spent
from mcp_interface.codec import decode_disk, encode_disk
from mcp_interface.errors import Interrupted, WrongState
from mcp_interface.events import (
    AssistantMessage,
    ExecutionChanged,
    RetryAsked,
    SessionChanged,
    SessionCreated,
    SessionEnded,
    ToolCall,
    TurnEnded,
    TurnStarted,
    UserMessage,
    WindowCompacted,
)
from mcp_interface.ids import AgentId, ExecutionId, MessageId, PrincipalId, SessionId, TurnId, new_id
from mcp_interface.provider import ToolUse, Usage
from mcp_interface.session import Limits, Session
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


def compacted(replaced: int, summary: str = "they talked") -> WindowCompacted:
    return WindowCompacted(timestamp=START, summary=summary, replaced=replaced, cost=0.5)


def retried() -> RetryAsked:
    return RetryAsked(timestamp=START, by=OWNER)


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
        st.builds(compacted, st.integers(1, 4)),
        st.just(retried()),
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


def test_words_that_broke_off_are_marked_for_the_model() -> None:
    broken = msgspec.structs.replace(answered("forty-"), stop="interrupted")
    state = fold(created(), said("go"), begun(), broken, ended("failed"))
    assert state.window[-1].text == f"forty-\n\n{BROKE_OFF}"
    assert state.cut and not state.unanswered


def test_an_answer_that_was_cut_at_its_length_goes_on_once() -> None:
    cut = msgspec.structs.replace(answered("one"), stop="length")
    state = fold(created(), said("go"), begun(), cut)
    assert state.turn is not None and (state.turn.answered, state.turn.cuts) == (False, 1)
    state = fold(created(), said("go"), begun(), cut, cut)
    assert state.turn is not None and (state.turn.answered, state.turn.cuts) == (True, 2)
    calls = msgspec.structs.replace(answered("", "a"), stop="length")
    state = fold(created(), said("go"), begun(), cut, calls)
    assert state.turn is not None and (state.turn.answered, state.turn.cuts) == (False, 0)


def test_what_a_model_had_not_read_stands_behind_its_answer() -> None:
    early = msgspec.structs.replace(answered("to one", "a"), heard=1)
    state = fold(
        created(),
        said("one"),
        begun(),
        said("two"),
        said("three"),
        early,
        execution("a", "completed", call=ToolCall(server="", tool="t", arguments={}, tool_use_id="a"),
                  result=text_result("A")),
    )  # fmt: skip
    assert [each.text for each in state.window if each.role != "tool"] == ["one", "to one", "two", "three"]
    assert [each.role for each in state.window] == ["user", "assistant", "tool", "user", "user"]
    old = answered("to one")  # an earlier release did not say what had been read
    assert [each.text for each in fold(created(), said("one"), begun(), said("two"), old).window] == [
        "one",
        "two",
        "to one",
    ]


def test_a_message_whose_turn_was_cut_is_answered_once_more_without_the_cut_words() -> None:
    broken = msgspec.structs.replace(answered("half"), stop="interrupted")
    history = [
        created(),
        said("go"),
        begun(),
        answered("first", "a"),
        started("a"),
        execution("a", "completed", result=text_result("A")),
        broken,
        ended("cancelled"),
    ]
    state = fold(*history, retried())
    assert [each.role for each in state.window] == ["user", "assistant", "tool"]  # what tools did is done
    assert state.unanswered and not state.cut
    assert not fold(*history, retried(), begun()).unanswered


@pytest.mark.parametrize(
    "history",
    [
        [created()],
        [created(), said("go")],
        [created(), said("go"), begun()],
        [created(), said("go"), begun(), answered("done"), ended()],
        [created(), said("go"), begun(), ended("failed"), said("more")],
        [created(), said("go"), begun(), ended("failed"), retried()],
    ],
)
def test_what_was_not_cut_is_not_tried_again(history: list[Any]) -> None:
    with pytest.raises(WrongState, match="nothing to try again"):
        check_allowed(fold(*history), [retried()])
    check_allowed(fold(created(), said("go"), begun(), ended("interrupted")), [retried()])


def test_a_summary_stands_for_the_older_part() -> None:
    talk = [created(), said("one"), answered("1"), said("two"), answered("2"), said("three")]
    state = fold(*talk, compacted(2))
    assert [each.role for each in state.window] == ["user", "user", "assistant", "user"]
    assert "they talked" in state.window[0].text and "summary" in state.window[0].text
    assert (state.summarized, state.left_out) == (True, 2)
    again = fold(*talk, compacted(2), compacted(3, "they went on"))
    assert "they went on" in again.window[0].text and "they talked" not in again.window[0].text
    assert [each.text for each in again.window[1:]] == ["three"]
    assert again.left_out == 4
    assert again.session is not None and again.session.spent.cost == 1.0
    for wrong in (0, 1, 7):
        with pytest.raises(WrongState, match="to summarise"):
            check_allowed(state, [compacted(wrong)])


def test_the_last_words_of_a_person_outlive_a_summary_of_everything_before_the_last_step() -> None:
    talk = [created(), said("do it"), begun(), answered("", "a"), answered("", "b")]
    done = [execution(use, "completed", call=ToolCall(server="", tool="t", arguments={}, tool_use_id=use),
                      result=text_result(use)) for use in "ab"]  # fmt: skip
    state = fold(*talk, *done, compacted(3))
    assert [each.role for each in state.window] == ["user", "user", "assistant", "tool"]
    assert state.window[1].text == "do it"
    assert state.left_out == 2


def test_settings_and_what_was_spent_are_seen_in_the_list() -> None:
    change = SessionChanged(
        timestamp=START, system="be kind", strategy="sliding", budget=Budget(max_cost=2.0), by=OWNER
    )
    paid = msgspec.structs.replace(answered("x"), usage=Usage(input_tokens=5, output_tokens=2), cost=0.25)
    session = fold(created(), change, said("hi"), paid).session
    assert session is not None
    assert (session.system, session.strategy) == ("be kind", "sliding")
    assert session.limits == Limits(budget=Budget(max_cost=2.0))
    assert session.spent == Spent(answers=1, input_tokens=5, output_tokens=2, cost=0.25)


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
