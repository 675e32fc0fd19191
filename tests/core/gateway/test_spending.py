"""What was spent adds up the same, however it is asked for; a fork pays for nothing again."""

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.gateway.conversations import AGENT, OWNER, conversations, fold
from mcp_core.gateway.forking import fork_of
from mcp_core.gateway.spending import OLDER, Spending
from mcp_interface.conversing import GetUsage
from mcp_interface.events import AgentJoined, AssistantMessage, SessionCreated
from mcp_interface.ids import MessageId, PrincipalId, SessionId, TurnId, new_id
from mcp_interface.provider import Usage
from mcp_interface.store import Record
from mcp_interface.testing import START, SeededEntropy

STRANGER = PrincipalId(new_id("user", SeededEntropy(3)))
ONE, TWO = (SessionId(new_id("session", SeededEntropy(seed))) for seed in (31, 32))


def heard(spending: Spending, session_id: SessionId, *events: Any) -> None:
    for number, event in enumerate(events, 1):
        stream = f"session:{session_id}"
        spending.heard(Record(position=number, stream=stream, version=number, epoch=1, event=event))


def created(session_id: SessionId, by: PrincipalId = OWNER) -> SessionCreated:
    return SessionCreated(timestamp=START, session_id=session_id, created_by=by)


def answer(model: str, cost: float | None, day: int = 0) -> AssistantMessage:
    return AssistantMessage(
        timestamp=START + timedelta(days=day),
        message_id=MessageId("msg_1"),
        turn_id=TurnId("turn_1"),
        agent_id=AGENT,
        text="",
        model=model,
        usage=Usage(input_tokens=10, output_tokens=1),
        cost=cost,
    )


def named(session_id: SessionId) -> str:
    return f"title of {session_id}"


def test_it_is_told_by_model_by_day_and_by_session_to_whoever_paid() -> None:
    spending = Spending()
    heard(spending, ONE, created(ONE), answer("a", 1.0), answer("b", 3.0, day=1), answer("", None, day=1))
    heard(spending, TWO, created(TWO), answer("a", 0.5, day=2))
    models = spending.report(OWNER, GetUsage(by="model"), named)
    assert [(row.key, row.spent.cost, row.spent.unpriced) for row in models] == [
        ("b", 3.0, 0),
        ("a", 1.5, 0),
        ("unknown", 0.0, 1),
    ]
    days = spending.report(OWNER, GetUsage(by="day"), named)
    assert [(row.key, row.spent.answers) for row in days] == [
        ("2026-01-03", 1),
        ("2026-01-02", 2),
        ("2026-01-01", 1),
    ]
    sessions = spending.report(OWNER, GetUsage(by="session"), named)
    assert [(row.key, row.title) for row in sessions] == [(ONE, named(ONE)), (TWO, named(TWO))]
    since = START + timedelta(days=1, hours=20)  # the whole of that day counts
    assert sum(row.spent.answers for row in spending.report(OWNER, GetUsage(since=since), named)) == 3
    [only] = spending.report(OWNER, GetUsage(session_id=TWO), named)
    assert only.spent.cost == 0.5
    assert spending.report(STRANGER, GetUsage(), named) == []


def test_of_many_sessions_the_oldest_are_added_up() -> None:
    spending = Spending(most=2)
    for number in range(5):
        session_id = SessionId(new_id("session", SeededEntropy(number)))
        heard(spending, session_id, created(session_id), answer("m", 1.0))
    rows = spending.report(OWNER, GetUsage(by="session"), named)
    assert sum(row.spent.cost for row in rows) == 5.0
    assert rows[0].title == OLDER and len(rows) <= 3


@given(conversations(), st.integers(0, 40))
def test_a_fork_pays_only_for_what_is_said_in_it(events: list[Any], more: int) -> None:
    spending = Spending()
    session_id = events[0].session_id
    heard(spending, session_id, *events)
    session = fold(events).session
    assert session is not None
    [*rows] = spending.report(OWNER, GetUsage(by="session"), named)
    ended = session.status == "terminated"
    assert ended or sum(row.spent.cost for row in rows) == session.spent.cost
    before = Counter({row.key: row.spent.answers for row in rows})
    records = [
        Record(position=place, stream="s", version=place, epoch=1, event=event)
        for place, event in enumerate(events, 1)
    ]
    made = fork_of(records, session_id=TWO, by=OWNER, now=START, title=None)
    joined = AgentJoined(timestamp=START, agent_id=AGENT)
    heard(spending, TWO, *made, joined, *[answer("m", 1.0)] * (more % 3))
    after = Counter(
        {row.key: row.spent.answers for row in spending.report(OWNER, GetUsage(by="session"), named)}
    )
    assert after - before == Counter({TWO: more % 3})
