from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.copying import block as copied_block
from mcp_cli.copying import last_answer
from mcp_cli.exporting import markdown, plain_lines
from mcp_cli.passages import break_mark, may_change, result_text
from mcp_cli.transcript import (
    EMPTY,
    LOG_LINES,
    RECENT,
    Answered,
    Asked,
    Permission,
    Remark,
    Said,
    ToolCard,
    Transcript,
    TranscriptView,
    fold,
    told,
    verdict,
)
from mcp_interface.approval import Answer, Approval
from mcp_interface.client import Notice, ServerChanged, TextDelta, ToolProgress, ToolSaid
from mcp_interface.errors import ErrorBody, Interrupted, NotFound, NotPermitted
from mcp_interface.events import (
    AgentRestarted,
    ApprovalAnswered,
    ApprovalAsked,
    AssistantMessage,
    Event,
    ExecutionChanged,
    QuestionAnswered,
    QuestionAsked,
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
from mcp_interface.ids import (
    SYSTEM,
    AgentId,
    ApprovalId,
    CapabilityId,
    ExecutionId,
    MessageId,
    PrincipalId,
    QuestionId,
    SessionId,
    TurnId,
)
from mcp_interface.provider import Usage
from mcp_interface.question import Inquiry, Question, Response
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.tool import Preview, ToolLog, ToolResult, text_result

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = SessionId("session_" + "1" * 32)
TURN = TurnId("turn_" + "2" * 32)
AGENT = AgentId("agent_" + "3" * 32)
USER = PrincipalId("user_" + "4" * 32)
MESSAGE = MessageId("msg_" + "5" * 32)
EXECUTION = ExecutionId("exec_" + "6" * 32)
ASK = ApprovalId("ask_" + "7" * 32)

CALL = ToolCall(server="fs", tool="read_file", arguments={"path": "/tmp/x"}, tool_use_id="use")
APPROVAL = Approval(
    id=ASK,
    session_id=SESSION,
    execution_id=EXECUTION,
    principal_id=PrincipalId(AGENT),
    server="fs",
    tool="write_file",
    arguments={"path": "/tmp/x"},
    resource_uri="mcp://fs/write/tmp/x",
    reason="nothing held",
    fingerprint="00",
    asked_at=NOW,
    expires_at=NOW + timedelta(hours=1),
)


def records(*events: Event) -> list[Record]:
    return [
        Record(position=number, stream=f"session:{SESSION}", version=number, epoch=1, event=event)
        for number, event in enumerate(events, 1)
    ]


def picture(notices: Sequence[Notice]) -> Transcript:
    state = EMPTY
    for notice in notices:
        state = fold(state, notice)
    return state


def said(text: str = "hi") -> UserMessage:
    return UserMessage(timestamp=NOW, message_id=MESSAGE, author=USER, text=text)


def answer(text: str, **more: Any) -> AssistantMessage:
    return AssistantMessage(
        timestamp=NOW, message_id=MESSAGE, turn_id=TURN, agent_id=AGENT, text=text, model="m-1", **more
    )


def execution(status: Any, seconds: float = 0, **more: Any) -> ExecutionChanged:
    return ExecutionChanged(
        timestamp=NOW + timedelta(seconds=seconds),
        execution_id=EXECUTION,
        session_id=SESSION,
        principal_id=PrincipalId(AGENT),
        status=status,
        **more,
    )


def delta(text: str) -> TextDelta:
    return TextDelta(session_id=SESSION, turn_id=TURN, message_id=MESSAGE, text=text)


def test_streamed_words_are_replaced_by_the_final_message() -> None:
    state = picture([delta("Hel"), delta("lo")])
    assert next(block for block in state.blocks if isinstance(block, Answered)).text == "Hello"
    state = fold(state, records(answer("Hello there", usage=Usage(input_tokens=3, output_tokens=2)))[0])
    [block] = state.blocks
    assert isinstance(block, Answered)
    assert (block.text, block.open, block.model) == ("Hello there", False, "m-1")
    assert (state.input_tokens, state.output_tokens, state.answered_by) == (3, 2, "m-1")
    assert fold(state, delta("late")).blocks == state.blocks


def test_a_record_that_was_seen_before_changes_nothing() -> None:
    seen = records(said(), answer("yes"))
    once = picture(seen)
    assert picture([*seen, *seen]) == once
    assert [type(block) for block in once.blocks] == [Said, Answered]


def test_a_step_that_only_used_tools_leaves_no_empty_words() -> None:
    assert picture(records(answer(""))).blocks == ()


def test_a_tool_card_tells_how_the_call_went() -> None:
    running = picture(records(execution("started", call=CALL)))
    [card] = running.blocks
    assert isinstance(card, ToolCard)
    assert (card.state, card.server, card.tool, card.by_model) == ("running", "fs", "read_file", True)
    moved = fold(
        running, ToolProgress(session_id=SESSION, execution_id=EXECUTION, progress=40, message="half")
    )
    [card] = moved.blocks
    assert isinstance(card, ToolCard)
    assert (card.progress, card.message) == (40, "half")
    done = picture(
        records(execution("started", call=CALL), execution("completed", 2, result=text_result("text")))
    )
    [card] = done.blocks
    assert isinstance(card, ToolCard)
    assert (card.state, card.seconds) == ("done", 2.0)
    assert fold(done, ToolProgress(session_id=SESSION, execution_id=EXECUTION, progress=1)) == done


def test_a_denied_call_shows_the_reason_and_the_grant_that_would_help() -> None:
    error = NotPermitted("it may not", "umbrella grant agent mcp://fs/read/tmp/x").body()
    [card] = picture(records(execution("failed", call=CALL, error=error))).blocks
    assert isinstance(card, ToolCard)
    assert (card.state, card.seconds, card.arguments) == ("denied", None, {"path": "/tmp/x"})
    assert card.error == error


def test_a_call_that_the_node_did_not_survive_is_shown_as_interrupted() -> None:
    error = Interrupted("the node stopped", "look before calling it again").body()
    state = picture(records(execution("started", call=CALL), execution("failed", 1, error=error)))
    [card] = state.blocks
    assert isinstance(card, ToolCard)
    assert card.state == "interrupted"
    assert "look before calling it again" in plain_lines(state)


def test_an_interrupted_turn_is_shown_with_how_to_retry_and_its_half_words_as_cut() -> None:
    state = picture(
        [
            *records(said(), TurnStarted(timestamp=NOW, turn_id=TURN, agent_id=AGENT)),
            delta("I beg"),
        ]
    )
    assert state.working == TURN
    [_, _, end] = records(said(), said(), TurnEnded(timestamp=NOW, turn_id=TURN, status="interrupted"))
    state = fold(state, end)
    _, words, remark = state.blocks
    assert isinstance(words, Answered)
    assert words.cut
    assert not words.open
    assert isinstance(remark, Remark)
    assert "interrupted" in remark.text
    assert "/retry" in remark.remedy
    assert state.working is None


def test_a_failed_turn_says_what_to_do() -> None:
    error = ErrorBody(code="model_unavailable", message="no model", remedy="set OPENAI_API_KEY")
    [remark] = picture(records(TurnEnded(timestamp=NOW, turn_id=TURN, status="failed", error=error))).blocks
    remedy = "set OPENAI_API_KEY; then /retry answers once more"
    assert remark == Remark(tone="bad", text="no model", remedy=remedy)


def test_a_question_is_open_until_it_is_answered_and_the_first_answer_counts() -> None:
    asked = ApprovalAsked(timestamp=NOW, approval=APPROVAL)
    yes = ApprovalAnswered(
        timestamp=NOW, approval_id=ASK, answer=Answer(allow=True, remember="session"), by=USER
    )
    no = ApprovalAnswered(timestamp=NOW, approval_id=ASK, answer=Answer(allow=False), by=SYSTEM)
    assert picture(records(asked)).approvals == [APPROVAL]
    state = picture(records(asked, yes, no))
    assert state.approvals == []
    [question] = state.blocks
    assert isinstance(question, Permission)
    assert verdict(question) == "allowed for this session"
    [question] = picture(records(asked, no)).blocks
    assert isinstance(question, Permission)
    assert verdict(question) == "denied by the node"


def test_settings_and_the_end_of_a_session_are_told() -> None:
    state = picture(
        records(
            SessionCreated(timestamp=NOW, session_id=SESSION, created_by=USER, title="Fish"),
            SessionChanged(timestamp=NOW, profile="open", model="m-2", by=USER),
            SessionEnded(timestamp=NOW, reason="enough"),
        )
    )
    assert (state.session_id, state.title, state.profile, state.model, state.ended) == (
        SESSION,
        "Fish",
        "open",
        "m-2",
        True,
    )
    texts = [block.text for block in state.blocks if isinstance(block, Remark)]
    assert texts == ["profile is now open", "model is now m-2", "this session has ended: enough"]


NOTICES = st.lists(
    st.one_of(
        st.builds(said, st.text()),
        st.builds(answer, st.text()),
        st.sampled_from(
            [
                execution("started", call=CALL),
                execution("completed", 1, result=text_result("```\n````\nfence")),
                execution("failed", 1, error=Interrupted("gone").body()),
                TurnStarted(timestamp=NOW, turn_id=TURN, agent_id=AGENT),
                TurnEnded(timestamp=NOW, turn_id=TURN, status="cancelled"),
                TurnEnded(timestamp=NOW, turn_id=TURN, status="completed"),
                ApprovalAsked(timestamp=NOW, approval=APPROVAL),
                ApprovalAnswered(timestamp=NOW, approval_id=ASK, answer=Answer(allow=True), by=USER),
                SessionEnded(timestamp=NOW),
            ]
        ),
    ),
    max_size=12,
)
PASSING = st.one_of(
    st.builds(delta, st.text()),
    st.builds(
        lambda amount: ToolProgress(session_id=SESSION, execution_id=EXECUTION, progress=amount),
        st.floats(0, 100),
    ),
    st.just(ServerChanged(name="x", state="ready")),
)


@given(NOTICES, st.lists(st.tuples(st.integers(0, 12), PASSING), max_size=6))
def test_any_order_of_notices_gives_a_picture_that_can_be_written(
    events: list[Any], passing: list[tuple[int, Any]]
) -> None:
    notices: list[Notice] = list(records(*events))
    for place, notice in passing:
        notices.insert(place, notice)
    state = picture(notices)
    session = Session(id=SESSION, created_by=USER, created_at=NOW, updated_at=NOW)
    assert markdown(session, state).startswith("# Untitled session\n")
    plain_lines(state)


@given(NOTICES, st.integers(0, 12))
def test_following_on_after_a_break_gives_the_same_picture(events: list[Any], place: int) -> None:
    every = records(*events)
    whole = picture(every)
    view = TranscriptView()
    state = picture(every[:place])
    for record in [*every[max(0, place - 3) :]]:
        state = view.handle_event(record, state)
    assert state == whole


def test_a_tools_output_cannot_end_its_own_fence_in_an_export() -> None:
    state = picture(
        records(
            execution("started", call=CALL),
            execution("completed", result=text_result("```\n# Not a heading")),
        )
    )
    text = markdown(Session(id=SESSION, created_by=USER, created_at=NOW, updated_at=NOW), state)
    assert "````\n```\n# Not a heading\n````" in text


def test_a_suspended_session_says_so_until_it_is_resumed_and_a_fork_where_it_is_from() -> None:
    from mcp_interface.events import SessionResumed, SessionSuspended
    from mcp_interface.session import ForkPoint
    from mcp_interface.testing import START

    owner = PrincipalId("user_1")
    origin = ForkPoint(session_id=SessionId("session_0"), version=7)
    events = [
        SessionCreated(
            timestamp=START, session_id=SessionId("session_1"), created_by=owner, forked_from=origin
        ),
        SessionSuspended(timestamp=START, by=owner, reason="lunch"),
        SessionResumed(timestamp=START, by=owner),
    ]
    picture, suspended = EMPTY, []
    for number, event in enumerate(events, 1):
        record = Record(position=number, stream="s", version=number, epoch=1, event=event)
        picture = fold(picture, record)
        suspended.append(picture.suspended)
    assert suspended == [False, True, False]
    texts = [block.text for block in picture.blocks if isinstance(block, Remark)]
    assert texts == ["a copy of session_0 up to its event 7", "suspended: lunch", "resumed"]


def test_a_restarted_assistant_says_again_what_it_was_saying() -> None:
    from mcp_interface.testing import START

    delta = TextDelta(
        session_id=SessionId("session_1"), turn_id=TurnId("t"), message_id=MessageId("m"), text="half a sen"
    )
    event = AgentRestarted(timestamp=START, agent_id=AgentId("agent_1"), reason="killed", restarts=1)
    picture = fold(fold(EMPTY, delta), Record(position=1, stream="s", version=1, epoch=1, event=event))
    half, note = picture.blocks
    assert isinstance(half, Answered) and half.cut and not half.open
    assert isinstance(note, Remark) and note.text == "the assistant was restarted (killed) and goes on"


ASKED = Question(
    id=QuestionId("question_" + "8" * 32),
    session_id=SESSION,
    execution_id=EXECUTION,
    principal_id=USER,
    server="desk",
    tool="book",
    inquiry=Inquiry(key="trip", kind="form", message="Where to?"),
    asked_at=NOW,
    expires_at=NOW + timedelta(hours=1),
)


def reply(response: Response, by: PrincipalId = USER) -> QuestionAnswered:
    return QuestionAnswered(timestamp=NOW, question_id=ASKED.id, response=response, by=by)


def test_what_a_tool_asks_is_open_until_the_first_answer() -> None:
    asked = QuestionAsked(timestamp=NOW, question=ASKED)
    yes = reply(Response(action="accept", content={"city": "Bergen"}))
    assert picture(records(asked)).questions == [ASKED]
    state = picture(records(asked, yes, reply(Response(action="decline"))))
    assert state.questions == []
    [block] = state.blocks
    assert isinstance(block, Asked) and told(block) == "answered with city: Bergen"
    [block] = picture(records(asked, reply(Response(action="cancel"), SYSTEM))).blocks
    assert isinstance(block, Asked) and told(block) == "not answered in time"
    assert "? desk.book asks 'Where to?': answered with city: Bergen" in plain_lines(state)


def test_a_question_that_is_asked_again_replaces_itself_and_ends_with_its_call() -> None:
    again = Question(**{**{name: getattr(ASKED, name) for name in ASKED.__struct_fields__}, "again": True})
    asked = [QuestionAsked(timestamp=NOW, question=each) for each in (ASKED, again)]
    assert picture(records(*asked)).questions == [again]
    gone = picture(records(*asked, execution("failed", 1, error=Interrupted("gone").body())))
    assert gone.questions == []


def turn(status: Any, **more: Any) -> TurnEnded:
    return TurnEnded(timestamp=NOW, turn_id=TURN, status=status, **more)


def test_words_that_broke_off_stay_marked_until_somebody_asks_for_others() -> None:
    cut = records(said(), answer("I beg", stop="interrupted"), turn("failed"))
    state = picture(cut)
    words = state.blocks[1]
    assert isinstance(words, Answered) and words.cut and not words.open
    assert break_mark(words) == "broke off here; /retry answers once more"
    assert "(broke off here; /retry answers once more)" in plain_lines(state)
    again = picture(records(said(), answer("I beg", stop="interrupted"), RetryAsked(timestamp=NOW, by=USER)))
    words, remark = again.blocks[1:]
    assert isinstance(words, Answered) and break_mark(words) == "broke off here"
    assert isinstance(remark, Remark) and remark.text.startswith("once more")


def test_an_answer_that_the_models_limit_cut_says_so() -> None:
    [words] = picture(records(answer("So far", stop="length"))).blocks
    assert isinstance(words, Answered) and not words.cut
    assert "may not write more in one answer" in break_mark(words)
    [whole] = picture(records(answer("All of it"))).blocks
    assert isinstance(whole, Answered) and break_mark(whole) == ""


def test_a_summary_in_the_models_window_is_told_and_its_words_are_kept() -> None:
    event = WindowCompacted(
        timestamp=NOW, summary="They spoke\nof fish", replaced=12, usage=Usage(input_tokens=5), cost=0.5
    )
    state = picture(records(answer("x", usage=Usage(input_tokens=900, output_tokens=100), cost=0.25), event))
    remark = state.blocks[-1]
    assert isinstance(remark, Remark)
    assert "a summary in place of 12 older messages" in remark.text
    assert remark.more == "They spoke\nof fish"
    assert (state.cost, state.unpriced, state.input_tokens) == (0.75, 0, 905)
    assert state.in_window == 0, "how full the window is now is not known"
    text = markdown(Session(id=SESSION, created_by=USER, created_at=NOW, updated_at=NOW), state)
    assert "- cost: $0.75" in text and "> > of fish" in text
    assert picture(records(answer("x", usage=Usage(input_tokens=1)))).unpriced == 1


def test_several_agents_at_once_end_apart() -> None:
    other, helper = TurnId("turn_" + "9" * 32), AgentId("agent_" + "9" * 32)
    begun = records(
        TurnStarted(timestamp=NOW, turn_id=TURN, agent_id=AGENT),
        TurnStarted(timestamp=NOW, turn_id=other, agent_id=helper),
        AgentRestarted(timestamp=NOW, agent_id=helper, reason="killed", restarts=1),
        turn("completed"),
    )
    second = TextDelta(session_id=SESSION, turn_id=other, message_id=MessageId("m2"), text="two")
    state = picture([*begun[:2], delta("one"), second])
    assert state.working == other and [each.id for each in state.turns] == [TURN, other]
    state = fold(state, begun[2])
    assert [block.open for block in state.blocks if isinstance(block, Answered)] == [True, False]
    state = fold(state, begun[3])
    assert [each.id for each in state.turns] == [other]
    assert [block.cut for block in state.blocks if isinstance(block, Answered)] == [True, True]


def test_what_a_tool_says_is_kept_in_bounds_while_it_runs() -> None:
    begun = execution(
        "started", call=ToolCall(server="x", tool="y", arguments={}, capability_id=CapabilityId("cap_1"))
    )
    state = picture(records(begun))
    for number in range(LOG_LINES + 5):
        line = ToolLog(
            level="warning" if number % 2 else "info",
            data={"n": number} if number == 0 else f"{number}\x1b[2J",
        )
        state = fold(state, ToolSaid(session_id=SESSION, execution_id=EXECUTION, line=line))
    [card] = state.blocks
    assert isinstance(card, ToolCard) and card.capability_id == "cap_1"
    assert len(card.said) == LOG_LINES and card.said[-1] == "204" and card.said[0] == "warning: 5"
    done = picture(records(begun, execution("completed", 1, result=text_result("x"))))
    late = ToolSaid(session_id=SESSION, execution_id=EXECUTION, line=ToolLog(level="info", data="late"))
    assert fold(done, late) == done


def test_the_card_of_an_allowed_call_keeps_what_it_was_going_to_change() -> None:
    preview = Preview(summary="changes x", diff="@@ -1,1 +1,1 @@\n-a\n+b")
    approval = msgspec.structs.replace(APPROVAL, preview=preview, touches=[APPROVAL.resource_uri])
    asked = ApprovalAsked(timestamp=NOW, approval=approval)
    yes = ApprovalAnswered(timestamp=NOW, approval_id=ASK, answer=Answer(allow=True), by=USER)
    call = msgspec.structs.replace(CALL, capability_id=CapabilityId("cap_2"))
    state = picture(records(asked, yes, execution("started", call=call)))
    permission, card = state.blocks
    assert isinstance(permission, Permission) and permission.capability_id == "cap_2"
    assert isinstance(card, ToolCard) and card.preview == preview


@given(NOTICES, st.lists(st.tuples(st.integers(0, 12), PASSING), max_size=6))
def test_what_may_still_change_is_always_known(events: list[Any], passing: list[tuple[int, Any]]) -> None:
    notices: list[Notice] = list(records(*events))
    for place, notice in passing:
        notices.insert(place, notice)
    state = EMPTY
    for notice in notices:
        before, state = state, fold(state, notice)
        assert list(state.unsettled) == [n for n, block in enumerate(state.blocks) if may_change(block)]
        kept = [n for n, block in enumerate(before.blocks) if state.blocks[n] is not block]
        assert set(kept) <= set(before.unsettled) | set(
            range(max(0, len(before.blocks) - RECENT), len(before.blocks))
        )
    assert state.approvals == [
        b.approval for b in state.blocks if isinstance(b, Permission) and b.answer is None
    ]


def test_a_picture_is_named_with_its_size() -> None:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4) + (480).to_bytes(4)
    data = b64encode(head + bytes(3000)).decode()
    shot = ToolResult(
        content=[{"type": "image", "mimeType": "image/png", "data": data}, {"type": "text", "text": "a shot"}]
    )
    assert result_text(shot) == "[image png 640x480, 3.0 KB]\na shot"
    assert result_text(
        ToolResult(content=[{"type": "image", "mimeType": "image/png", "data": "?"}])
    ).startswith("[image png, ")
    assert result_text(ToolResult(structured={"a": 1})) == '{\n  "a": 1\n}'


def test_what_is_copied_is_the_text_alone() -> None:
    state = picture(records(said("why"), answer("Because **so**")))
    assert last_answer(state) == "Because **so**"
    assert copied_block(state, 2) == "why"
    with pytest.raises(NotFound, match="there are 2"):
        copied_block(state, 3)
    with pytest.raises(NotFound, match="has not answered"):
        last_answer(EMPTY)
