"""What the events of a tool call add up to."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface import (
    Execution,
    ExecutionChanged,
    Inquiry,
    InvalidRecord,
    Question,
    QuestionAnswered,
    QuestionAsked,
    Response,
    ToolCall,
    advance_execution,
    advance_questions,
    text_result,
)
from mcp_interface.errors import CODES, ErrorBody
from mcp_interface.ids import ExecutionId, PrincipalId, QuestionId, SessionId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
E = ExecutionId("exec_" + "1" * 32)
S = SessionId("session_" + "2" * 32)
U = PrincipalId("user_" + "3" * 32)
CALL = ToolCall(server="git", tool="log", arguments={})


def event(status: str, second: int = 0, **fields: object) -> ExecutionChanged:
    made = ExecutionChanged(
        timestamp=NOW + timedelta(seconds=second),
        execution_id=E,
        session_id=S,
        principal_id=U,
        status=status,  # type: ignore[arg-type]  # one of the literals
        **fields,  # type: ignore[arg-type]
    )
    made.validate()
    return made


def failed(code: str, **details: str) -> ExecutionChanged:
    return event("failed", 9, error=ErrorBody(code=code, message="no", details=details))


EVENTS = st.one_of(
    st.just(event("queued", 1, call=CALL)),
    st.just(event("started", 2, call=CALL)),
    st.floats(0, 100).map(lambda share: event("progress", 3, progress=share, message="so far")),
    st.booleans().map(lambda bad: event("completed", 8, result=text_result("x", is_error=bad))),
    st.sampled_from(sorted(CODES)).map(failed),
    st.just(failed("interrupted", reason="cancelled")),
)


@given(st.lists(EVENTS, min_size=1, max_size=8))
def test_whatever_happens_the_record_is_sound_and_an_end_is_final(events: list[ExecutionChanged]) -> None:
    execution: Execution | None = None
    for each in events:
        before = execution
        execution = advance_execution(execution, each)
        execution.validate()
        assert before is None or not before.over or execution == before
        assert advance_execution(execution, each) == execution, "told twice is told once"
    assert execution is not None
    assert execution.over == any(each.status in {"completed", "failed"} for each in events)
    assert execution.accepted_at == events[0].timestamp


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (event("queued", call=CALL), "PENDING"),
        (event("started", call=CALL), "RUNNING"),
        (event("completed", result=text_result("x")), "SUCCESS"),
        (event("completed", result=text_result("x", is_error=True)), "FAILED"),
        (failed("denied"), "FAILED"),
        (failed("timeout"), "TIMEOUT"),
        (failed("interrupted"), "INTERRUPTED"),
        (failed("interrupted", reason="cancelled"), "CANCELLED"),
        (failed("denied", reason="cancelled"), "FAILED"),
    ],
)
def test_the_state_says_how_it_ended(last: ExecutionChanged, status: str) -> None:
    assert advance_execution(None, last).status == status


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"id": "exec_1"}, "invalid_execution_id"),
        ({"principal_id": "nobody"}, "invalid_principal_id"),
        ({"progress": 101.0}, "invalid_progress"),
        ({"status": "SUCCESS"}, "ended_without_end"),
        ({"ended_at": NOW}, "ended_without_end"),
        (
            {
                "status": "FAILED",
                "ended_at": NOW,
                "result": text_result("x"),
                "error": ErrorBody(code="denied", message="no"),
            },
            "result_and_error",
        ),
    ],
)
def test_a_record_that_breaks_a_rule_names_it(changes: dict[str, object], rule: str) -> None:
    fields: dict[str, object] = {
        "id": E, "session_id": S, "principal_id": U, "server": "git", "tool": "log", "accepted_at": NOW
    }  # fmt: skip
    with pytest.raises(InvalidRecord) as caught:
        Execution(**{**fields, **changes}).validate()  # type: ignore[arg-type]
    assert caught.value.rule == rule


def question(key: str, execution_id: ExecutionId = E) -> QuestionAsked:
    asked = Question(
        id=QuestionId(key),
        session_id=S,
        execution_id=execution_id,
        principal_id=U,
        server="git",
        tool="log",
        inquiry=Inquiry(key="which", kind="form"),
        asked_at=NOW,
        expires_at=NOW + timedelta(days=1),
    )
    return QuestionAsked(timestamp=NOW, question=asked)


def answer(key: str) -> QuestionAnswered:
    return QuestionAnswered(
        timestamp=NOW, question_id=QuestionId(key), response=Response(action="decline"), by=U
    )


def test_the_questions_of_a_call_are_those_that_are_open() -> None:
    execution = advance_execution(None, event("started", call=CALL))
    other = ExecutionId("exec_" + "9" * 32)
    for each, left in (
        (question("q1"), ["q1"]),
        (question("q1"), ["q1"]),
        (question("q2"), ["q1", "q2"]),
        (question("q3", other), ["q1", "q2"]),
        (answer("q1"), ["q2"]),
        (answer("q3"), ["q2"]),
    ):
        execution = advance_questions(execution, each)
        execution.validate()
        assert execution.questions == left
    ended = advance_execution(execution, event("completed", 8, result=text_result("x")))
    assert ended.questions == [] and advance_questions(ended, question("q4")) == ended
    assert advance_execution(execution, failed("interrupted")).questions == []
