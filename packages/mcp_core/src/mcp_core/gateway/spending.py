"""What models have cost, by session, by model and by day: a projection of the sessions' streams.

Shown every record at load and from then on. Holds one row for each session, day and model; beyond a bound the oldest
sessions of a person are added up. What a fork carries over was paid where it was said, and is not counted again.
"""

from collections.abc import Callable
from datetime import UTC
from typing import Final, NamedTuple

import msgspec

from mcp_core.agents.budgeting import together, with_answer
from mcp_core.gateway.state import is_copied, summarize
from mcp_interface.budget import Spent
from mcp_interface.clock import Instant
from mcp_interface.conversing import GetUsage, UsageRow
from mcp_interface.events import AgentJoined, AssistantMessage, SessionCreated, SessionEnded, WindowCompacted
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.session import Session
from mcp_interface.store import Record

MOST_ROWS: Final = 20_000
"""Of one person; what was spent in sessions before is kept without their names."""
SHOWN: Final = 1_000
"""Rows of one answer."""
OLDER: Final = "older sessions"
UNKNOWN: Final = "unknown"
"""Name of a model that did not tell its own."""


class Place(NamedTuple):
    """What a row is about."""

    session_id: SessionId
    """Empty: of sessions whose rows were added up."""
    day: str
    model: str


class Spending:
    """Everything that was spent on one node.

    Args:
        most: Rows of one person.
    """

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._begun: dict[SessionId, Session] = {}
        """Sessions that have not ended, as they began."""
        self._rows: dict[PrincipalId, dict[Place, Spent]] = {}

    def heard(self, record: Record) -> None:
        """Move on by one record of a session."""
        session_id = SessionId(record.stream.removeprefix("session:"))
        event = record.event
        match event:
            case SessionCreated() | AgentJoined():
                begun = summarize(self._begun.get(session_id), record)
                if begun is not None:
                    self._begun[session_id] = begun
            case SessionEnded():
                self._begun.pop(session_id, None)
            case AssistantMessage(provider="imported"):
                pass  # nobody here has paid for it
            case AssistantMessage() | WindowCompacted():
                session = self._begun.get(session_id)
                if session is not None and not is_copied(session):
                    self._add(session, event)

    def _add(self, session: Session, event: AssistantMessage | WindowCompacted) -> None:
        rows = self._rows.setdefault(session.created_by, {})
        place = Place(session.id, day_of(event.timestamp), event.model or UNKNOWN)
        rows[place] = with_answer(rows.get(place, Spent()), event.usage, event.cost)
        if len(rows) > self._most:
            oldest = next((each for each in rows if each.session_id), None)
            if oldest is not None:
                whole = oldest._replace(session_id=SessionId(""))
                rows[whole] = together(rows.get(whole, Spent()), rows.pop(oldest))

    def report(self, who: PrincipalId, wanted: GetUsage, title: Callable[[SessionId], str]) -> list[UsageRow]:
        """What somebody's sessions have spent; at most `SHOWN` rows.

        Args:
            who: Whose sessions.
            wanted: By what, since when (the whole of that day counts), of which session.
            title: Of a session; empty when it is not known.
        """
        since = "" if wanted.since is None else day_of(wanted.since)
        found: dict[str, Spent] = {}
        for place, spent in self._rows.get(who, {}).items():
            if place.day < since or wanted.session_id not in (None, place.session_id):
                continue
            key = {"session": place.session_id, "model": place.model, "day": place.day}[wanted.by]
            found[key] = together(found.get(key, Spent()), spent)
        rows = [UsageRow(key=key, spent=spent) for key, spent in found.items()]
        if wanted.by == "day":
            rows.sort(key=lambda row: row.key, reverse=True)
        else:
            rows.sort(key=lambda row: (-row.spent.cost, -_tokens(row.spent), row.key))
        rows = rows[:SHOWN]
        if wanted.by != "session":
            return rows
        return [msgspec.structs.replace(row, title=_title(row.key, title)) for row in rows]


def day_of(moment: Instant) -> str:
    """The day of an instant in UTC, as 2026-11-22."""
    return moment.astimezone(UTC).date().isoformat()


def _title(key: str, title: Callable[[SessionId], str]) -> str:
    return title(SessionId(key)) if key else OLDER


def _tokens(spent: Spent) -> int:
    return spent.input_tokens + spent.output_tokens
