"""What becomes of a call whose process is gone, by how far it had come."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.agents.left import MOST_TOLD, Left, fate
from mcp_interface.approval import Answer, Approval
from mcp_interface.events import ToolCall
from mcp_interface.ids import ApprovalId, ExecutionId, PrincipalId, QuestionId, SessionId
from mcp_interface.question import Inquiry, Question, Response

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALL = ToolCall(server="s", tool="t", arguments={})
YES, NO = Response(action="accept", content={"n": 1}), Response(action="decline")
APPROVAL = Approval(
    id=ApprovalId("ask_1"),
    session_id=SessionId("session_1"),
    execution_id=ExecutionId("exec_1"),
    principal_id=PrincipalId("agent_1"),
    server="s",
    tool="t",
    arguments={},
    resource_uri="mcp://tool/execute/s/t",
    reason="no",
    fingerprint="00",
    asked_at=NOW,
    expires_at=NOW,
)


def question(number: int, *, again: bool = False, moment: int = 0) -> Question:
    return Question(
        id=QuestionId(f"question_{number}"),
        session_id=SessionId("session_1"),
        execution_id=ExecutionId("exec_1"),
        principal_id=PrincipalId("user_1"),
        server="s",
        tool="t",
        inquiry=Inquiry(key=str(number), kind="form", message=f"{number}?"),
        asked_at=NOW + timedelta(seconds=moment),
        expires_at=NOW + timedelta(days=1),
        again=again,
    )


SENT = '{"state": "s", "sent": true}'
STEPS = st.one_of(
    st.just(("started",)),
    st.tuples(st.just("kept"), st.sampled_from(["h1", "[]", '{"task": "t"}', SENT, '{"sent": true, "task": "t"}'])),
    st.tuples(st.just("asked"), st.integers(0, 3), st.booleans(), st.sampled_from(["", "h3"]), st.integers(0, 2)),
    st.tuples(st.just("answered"), st.integers(0, 3), st.sampled_from([YES, NO])),
    st.tuples(st.just("wants")),
    st.tuples(st.just("decided"), st.booleans()),
)  # fmt: skip


def moved(left: Left, step: tuple[object, ...]) -> Left:
    match step:
        case ("started",):
            return left.started()
        case ("kept", str(handle)):
            return left.kept(handle)
        case ("asked", int(number), bool(again), str(handle), int(moment)):
            return left.asked(question(number, again=again, moment=moment), handle)
        case ("answered", int(number), Response() as response):
            return left.answered(QuestionId(f"question_{number}"), response)
        case ("wants",):
            return left.wants(APPROVAL)
        case ("decided", bool(allow)):
            return left.decided(Answer(allow=allow))
    raise AssertionError(step)


@given(st.lists(STEPS, max_size=12), st.booleans(), st.booleans())
def test_what_had_begun_runs_again_only_where_it_is_harmless_or_a_person_says_so(
    steps: list[tuple[object, ...]], detached: bool, repeatable: bool
) -> None:
    left = Left()
    for step in steps:
        left = moved(left, step)
        assert len({each.id for each in left.open}) == len(left.open)
    call = msgspec.structs.replace(CALL, detached=detached, repeatable=repeatable)
    what = fate(call, left)
    if what == "repeat":
        assert not left.handle and (left.again == "accepted" or (detached and repeatable and left.began))
    if what == "begin":
        assert not left.began and (detached or left.approval is not None or left.allowed)
    assert (what == "resume") == bool(left.handle and (repeatable or left.handle != SENT))
    assert (what == "ask_again") == bool(left.open and not left.handle)
    if left.handle == SENT and not repeatable:
        assert what == "end"


def test_answers_of_one_moment_are_together_and_a_new_round_begins_without_them() -> None:
    left = Left().asked(question(0), "h").asked(question(1), "h").answered(question(0).id, YES)
    assert left.responses == {"0": YES} and [each.id for each in left.open] == [question(1).id]
    left = left.answered(question(1).id, NO).answered(question(1).id, YES)
    assert left.responses == {"0": YES, "1": NO} and left.handle == "h"
    left = left.asked(question(2, moment=5), "h")
    assert left.responses == {} and [told.response for told in left.told] == [YES, NO]


def test_a_call_whose_answers_were_sent_goes_on_behind_the_next_question() -> None:
    left = Left(began=True).asked(question(0), "h").answered(question(0).id, YES)
    assert fate(CALL, left) == "resume"
    assert fate(CALL, left.kept(SENT)) == "end"
    assert fate(CALL, left.kept(SENT).asked(question(1, moment=1), '{"state": "next"}')) == "resume"


def test_one_no_to_sending_it_again_is_a_no() -> None:
    left = Left(began=True).asked(question(0), "").asked(question(1), "")
    left = left.asked(question(0, again=True), "").asked(question(1, again=True), "")
    assert fate(CALL, left) == "ask_again"
    yes = left.answered(question(0).id, YES).answered(question(1).id, YES)
    assert fate(CALL, yes) == "repeat" and fate(CALL, yes.started()) == "end"
    for first, second in ((NO, YES), (YES, NO)):
        answered = left.answered(question(0).id, first).answered(question(1).id, second)
        assert fate(CALL, answered) == "end"


def test_a_right_that_is_asked_for_keeps_a_call_that_has_not_begun_and_a_no_does_not() -> None:
    asked = Left().wants(APPROVAL)
    assert fate(CALL, asked) == "begin" and fate(CALL, asked.decided(Answer(allow=True))) == "begin"
    assert fate(CALL, asked.decided(Answer(allow=False))) == "end"
    assert fate(CALL, asked.started()) == "end"
    assert Left().decided(Answer(allow=True)) == Left()


def test_what_is_kept_of_the_answers_is_bounded() -> None:
    left = Left()
    for number in range(MOST_TOLD + 5):
        left = left.asked(question(number), "").answered(question(number).id, YES)
    assert len(left.told) == MOST_TOLD and left.told[-1].inquiry.key == str(MOST_TOLD + 4)
