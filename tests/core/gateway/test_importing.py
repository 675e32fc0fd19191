"""Messages from elsewhere become a session like one that was held here."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gateway.conversations import AGENT, OWNER, SESSION, fold
from mcp_core.gateway.forking import unanswered
from mcp_core.gateway.importing import IMPORTED, MAX_IMPORT, check, events_of
from mcp_interface.conversing import ImportedMessage
from mcp_interface.errors import CallerMistaken, TooMuch
from mcp_interface.events import AssistantMessage, SessionCreated, TurnEnded, TurnStarted, UserMessage
from mcp_interface.ids import new_id
from mcp_interface.testing import START, SeededEntropy

MOMENTS = st.none() | st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
MESSAGES = st.lists(
    st.builds(
        ImportedMessage,
        role=st.sampled_from(["user", "assistant"]),
        content=st.text(min_size=1).filter(str.strip),
        timestamp=MOMENTS,
    ),
    min_size=1,
    max_size=30,
)


def events(messages: list[ImportedMessage]) -> list[Any]:
    entropy = SeededEntropy(5)
    return events_of(
        messages, author=OWNER, agent=AGENT, now=START, new=lambda prefix: new_id(prefix, entropy)
    )


@settings(deadline=None)
@given(MESSAGES)
def test_nothing_is_lost_or_changed_and_nothing_waits_for_an_answer(messages: list[ImportedMessage]) -> None:
    made = events(messages)
    created = SessionCreated(timestamp=START, session_id=SESSION, created_by=OWNER)
    state = fold([created, *made])
    assert [(each.role, each.text) for each in state.window] == [(m.role, m.content) for m in messages]
    assert not state.unanswered and not state.wanted and state.turn is None
    assert not unanswered(made)
    said = [each for each in made if isinstance(each, UserMessage | AssistantMessage)]
    for event, message in zip(said, messages, strict=True):
        assert event.timestamp == (START if message.timestamp is None else min(message.timestamp, START))
        assert not isinstance(event, AssistantMessage) or (event.provider, event.cost) == (IMPORTED, 0.0)
    assert state.session is not None and state.session.updated_at == START


@settings(deadline=None)
@given(MESSAGES)
def test_turns_begin_and_end_in_pairs_and_hold_what_the_model_said(messages: list[ImportedMessage]) -> None:
    turn = None
    for event in events(messages):
        match event:
            case TurnStarted():
                assert turn is None
                turn = event.turn_id
            case TurnEnded():
                assert turn == event.turn_id
                turn = None
            case AssistantMessage():
                assert turn == event.turn_id
            case UserMessage():
                assert turn is None
    assert turn is None


def test_a_last_word_that_nobody_answered_can_be_tried_again() -> None:
    *_, ended = events([ImportedMessage(role="user", content="and now?")])
    assert isinstance(ended, TurnEnded) and ended.status == "cancelled"


def test_what_is_empty_or_too_long_is_refused_by_its_number() -> None:
    with pytest.raises(CallerMistaken, match="message 2 of 2"):
        check([ImportedMessage(role="user", content="a"), ImportedMessage(role="user", content=" \n")])
    long = ImportedMessage(role="user", content="x" * (MAX_IMPORT // 2))
    with pytest.raises(TooMuch, match=str(MAX_IMPORT)):
        check([long, long])
    later = ImportedMessage(role="user", content="a", timestamp=START + timedelta(days=1))
    assert events([later])[0].timestamp == START
