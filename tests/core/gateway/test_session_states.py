"""The states of a session: one table, held by the journal's keeper whatever comes."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gateway.conversations import OWNER, SESSION, conversations, fold
from mcp_core.gateway.state import begins, check_allowed, ends
from mcp_interface.errors import WrongState
from mcp_interface.events import (
    SessionChanged,
    SessionCreated,
    SessionEnded,
    SessionEnding,
    SessionResumed,
    SessionSuspended,
    UserMessage,
)
from mcp_interface.ids import MessageId
from mcp_interface.session import SESSION_STEPS, SessionStatus, check_step
from mcp_interface.testing import START

STATUSES = get_args(SessionStatus)
CREATED = SessionCreated(timestamp=START, session_id=SESSION, created_by=OWNER)
SAID = UserMessage(timestamp=START, message_id=MessageId("msg_1"), author=OWNER, text="hello")
RENAMED = SessionChanged(timestamp=START, title="new", by=OWNER)
SUSPENDED = SessionSuspended(timestamp=START, by=OWNER)
RESUMED = SessionResumed(timestamp=START, by=OWNER)
ENDING = SessionEnding(timestamp=START, by=OWNER)
ENDED = SessionEnded(timestamp=START)


def test_the_table_has_exactly_the_steps_that_are_promised() -> None:
    assert set(SESSION_STEPS) == set(STATUSES)
    steps = {(one, other) for one, others in SESSION_STEPS.items() for other in others}
    assert steps == {
        ("initializing", "active"),
        ("active", "suspended"),
        ("suspended", "active"),
        ("active", "terminating"),
        ("terminating", "terminated"),
        # whatever is not over can fail, and what failed can be read again
        *((status, "error") for status in STATUSES if status not in {"terminated", "error"}),
        ("error", "active"),
        # and whatever is not over can be ended
        *((status, "terminating") for status in ("initializing", "suspended", "error")),
    }


@settings(deadline=None)
@given(st.sampled_from(STATUSES), st.sampled_from(STATUSES))
def test_a_step_outside_the_table_is_a_typed_error(status: Any, wanted: Any) -> None:
    if wanted in SESSION_STEPS[status]:
        check_step(SESSION, status, wanted)
        return
    with pytest.raises(WrongState) as told:
        check_step(SESSION, status, wanted)
    assert told.value.details == {"status": status}
    assert SESSION in told.value.message and told.value.remedy


@settings(deadline=None)
@given(st.lists(st.sampled_from(STATUSES), max_size=12))
def test_nothing_follows_an_end(path: list[Any]) -> None:
    status: Any = "terminated"
    for wanted in path:
        with pytest.raises(WrongState):
            check_step(SESSION, status, wanted)


@pytest.mark.parametrize(
    ("before", "event", "status"),
    [
        ([CREATED, SAID, SUSPENDED], SAID, "suspended"),
        ([CREATED, SAID, SUSPENDED], SUSPENDED, "suspended"),
        ([CREATED, SAID], RESUMED, "active"),
        ([CREATED, SAID, ENDING], SAID, "terminating"),
        ([CREATED, SAID, ENDING], RESUMED, "terminating"),
        ([CREATED, SAID, ENDING, ENDED], RENAMED, "terminated"),
        ([CREATED, SAID], ENDED, "active"),
        ([CREATED], SUSPENDED, "initializing"),
    ],
)
def test_what_a_state_does_not_allow_is_not_journaled(before: Any, event: Any, status: str) -> None:
    with pytest.raises(WrongState) as told:
        check_allowed(fold(before), [event])
    assert told.value.details == {"status": status}


def test_one_append_may_take_several_steps() -> None:
    check_allowed(fold([CREATED, SAID]), [ENDING, ENDED])
    check_allowed(fold([CREATED, SAID, SUSPENDED]), [RENAMED, RESUMED, SAID])
    with pytest.raises(WrongState):
        check_allowed(fold([CREATED, SAID]), [SUSPENDED, SAID])


def test_an_older_journal_ends_sessions_in_one_step() -> None:
    session = fold([CREATED, SAID, ENDED]).session
    assert session is not None and session.status == "terminated"


@settings(deadline=None)
@given(conversations())
def test_in_a_session_that_is_closed_nothing_begins_and_all_can_end(events: list[Any]) -> None:
    status: str = "initializing"
    for count, event in enumerate(events[1:], 1):
        before = fold(events[:count])
        if status in {"suspended", "terminating"}:
            assert not begins(event)
        if status == "terminated":
            assert ends(before, event)
        after = fold(events[: count + 1]).session
        assert after is not None
        if after.status != status:
            check_step(SESSION, status, after.status)  # type: ignore[arg-type]  # one of the statuses
        status = after.status
