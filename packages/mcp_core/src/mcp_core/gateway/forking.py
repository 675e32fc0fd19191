"""What a fork begins with. Pure: the records of one session in, the events of another out.

The events are copied, in one append, and not referred to: the fork stays whole when the session it came from
is deleted, has one writer as every stream, and is read, snapshotted and exported like any other. The price is
the room they take.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mcp_core.gateway.state import STEPS_TO
from mcp_interface.clock import Instant
from mcp_interface.errors import CallerMistaken, StorageCorrupt
from mcp_interface.events import (
    AgentJoined,
    ApprovalAnswered,
    ApprovalAsked,
    AssistantMessage,
    ExecutionChanged,
    QuestionAnswered,
    QuestionAsked,
    RetryAsked,
    SessionChanged,
    SessionCreated,
    SessionEvent,
    TaskGiven,
    TaskMoved,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.session import ForkPoint
from mcp_interface.store import Record

NODES_OWN: Final = "kind"
"""The key of a session's metadata in which the node says what it uses the session for."""


def cut(
    records: Sequence[Record], version: int | None = None, position: int | None = None
) -> Sequence[Record]:
    """The part of a session's records that a fork at this place carries over.

    Args:
        records: All of them, in order.
        version: Of the last event that is wanted.
        position: The last event that is wanted is the last one up to there.

    Raises:
        CallerMistaken: Both are given, or the session has no event there.
    """
    if version is not None and position is not None:
        raise CallerMistaken("a fork at a version and at a position", "give one of the two")
    last = records[-1].version if records else 0
    if version is not None and version > last:
        raise CallerMistaken(f"event {version} of a session that has {last}", f"fork it at 1 to {last}")
    kept = [
        record
        for record in records
        if (version is None or record.version <= version)
        and (position is None or record.position <= position)
    ]
    if not kept:
        raise CallerMistaken(f"the session has no event up to position {position}", "fork it at a later one")
    return kept


def fork_of(
    records: Sequence[Record], *, session_id: SessionId, by: PrincipalId, now: Instant, title: str | None
) -> list[SessionEvent]:
    """The events of a new session whose conversation is that of these records.

    What a model is shown is the same. What had begun and not ended is left out: the turn, tool calls,
    questions; so are the agents, whose rights are their own, the tasks, and the
    states that the session went through. A fork of a session about a task is a person's own session, and still locked.

    Args:
        records: The part that is carried over; the first is the session's creation.
        session_id: Of the new session.
        by: Whose it is.
        now: When it begins; what is copied keeps its time.
        title: None keeps the title that the session had at that point.

    Raises:
        StorageCorrupt: The records do not begin with a creation.
    """
    first = records[0].event
    if not isinstance(first, SessionCreated):
        raise StorageCorrupt(f"{records[0].stream} does not begin with its creation", "restore a backup")
    whence = ForkPoint(session_id=first.session_id, version=records[-1].version)
    created = msgspec.structs.replace(
        first,
        timestamp=now,
        session_id=session_id,
        created_by=by,
        metadata={key: value for key, value in first.metadata.items() if key != NODES_OWN},
        forked_from=whence,
        lineage=None,
    )
    events = [record.event for record in records[1:]]
    open_ids = _open(events)
    copied = [event for event in events if _is_carried(event, open_ids)]
    if title is not None:
        copied.append(SessionChanged(timestamp=now, title=title, by=by))
    if first.lineage is not None:  # whatever was set there, it meant nothing there
        copied.append(SessionChanged(timestamp=now, profile="locked", by=by))
    return [created, *copied]  # type: ignore[list-item]  # a session's stream holds session events only


def unanswered(events: Sequence[object]) -> list[str]:
    """What people have said in a session with these events that no turn has taken up."""
    words: list[str] = []
    heard = 0
    for event in events:
        match event:
            case UserMessage(text=text):
                words.append(text)
            case AssistantMessage():
                heard = max(heard, event.heard)
            case TurnStarted():
                heard = len(words)
            case RetryAsked():
                heard = min(heard, max(0, len(words) - 1))
    return words[heard:]


def _open(events: Sequence[object]) -> set[str]:
    """Ids of turns, calls and questions that begin in these events and do not end in them."""
    found: set[str] = set()
    for event in events:
        match event:
            case TurnStarted(turn_id=key) | ExecutionChanged(execution_id=key, status="queued" | "started"):
                found.add(key)
            case TurnEnded(turn_id=key) | ExecutionChanged(execution_id=key, status="completed" | "failed"):
                found.discard(key)
            case ApprovalAsked(approval=approval):
                found.add(approval.id)
            case ApprovalAnswered(approval_id=key):
                found.discard(key)
    # a question goes with its call
    asked = [event.question for event in events if isinstance(event, QuestionAsked)]
    return found | {question.id for question in asked if question.execution_id in found}


def _is_carried(event: object, open_ids: set[str]) -> bool:
    match event:
        case AgentJoined() | TaskGiven() | TaskMoved():
            return False
        case TurnStarted(turn_id=key) | ExecutionChanged(execution_id=key):
            return key not in open_ids
        case ApprovalAsked(approval=approval):
            return approval.id not in open_ids
        case QuestionAsked(question=question):
            return question.id not in open_ids
        case QuestionAnswered(question_id=key):
            return key not in open_ids
    return type(event) not in STEPS_TO
