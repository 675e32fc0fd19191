"""Which tasks there are and how the conversations about them go: a projection of the sessions' streams.

It reads what `Sessions.load` reads and then what happens, and does nothing by itself. Of tasks that have ended it
keeps the latest; the journal has all.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from mcp_core.gateway.state import stream_of
from mcp_interface.clock import Instant
from mcp_interface.events import (
    AssistantMessage,
    SessionCreated,
    SessionEnded,
    TaskGiven,
    TaskMoved,
    TurnEnded,
    TurnStarted,
)
from mcp_interface.ids import SessionId, TaskId
from mcp_interface.store import Record
from mcp_interface.task import ENDED, Lineage, Task

KEPT: Final = 1000
"""Tasks that have ended and are still listed, the latest to end."""


class Talk:
    """How the conversation of a child session stands."""

    def __init__(self, lineage: Lineage, metadata: dict[str, Any]) -> None:
        self.lineage = lineage
        self.metadata = metadata
        self.words = ""
        """The last that its agent has said in its latest turn."""
        self.ended: TurnEnded | None = None
        """The end of its latest turn."""
        self.over = False
        """Whether the session has ended."""


class TaskIndex:
    """The tasks of one node.

    Args:
        kept: How many that have ended are listed.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._tasks: dict[TaskId, Task] = {}
        """In the order in which they were given."""
        self._over: dict[TaskId, None] = {}
        """Those that have ended, in the order of their ends."""
        self._open: dict[SessionId, dict[TaskId, None]] = {}
        self._talks: dict[SessionId, Talk] = {}
        """By child session that has not ended, or whose task has not."""
        self.on_news: Callable[[TaskId], None] = lambda task_id: None
        """Told when the conversation about a task has moved on."""

    def heard(self, record: Record) -> None:
        """Move on by one event of a session; harmless when repeated."""
        session_id = SessionId(record.stream.removeprefix("session:"))
        match record.event:
            case TaskGiven(task=task) if stream_of(task.session_id) == record.stream:
                self._given(task)
            case TaskMoved() as moved:
                self._moved(moved, session_id)
            case SessionCreated(lineage=Lineage() as lineage, forked_from=None, metadata=metadata):
                self._talks.setdefault(session_id, Talk(lineage, metadata))
            case SessionEnded(timestamp=when):
                self._session_over(session_id, when)
            case _:
                self._talked(session_id, record.event)

    def get(self, task_id: TaskId) -> Task | None:
        """One task; None: there is none, or it has ended long ago."""
        return self._tasks.get(task_id)

    def is_open(self, task_id: TaskId) -> bool:
        """Whether a task has been given and has not ended."""
        task = self._tasks.get(task_id)
        return task is not None and task.status not in ENDED

    def open(self, session_id: SessionId | None = None) -> list[Task]:
        """Tasks that have not ended, of one session or all, in the order in which they were given."""
        if session_id is not None:
            return [self._tasks[each] for each in self._open.get(session_id, {})]
        return [task for task in self._tasks.values() if task.status not in ENDED]

    def each(self) -> Iterator[Task]:
        """All that are listed, the latest given first; to be used up at once."""
        return reversed(self._tasks.values())

    def talk(self, session_id: SessionId) -> Talk | None:
        """The conversation of a child session; None for other sessions, and when nobody waits for it any more."""
        return self._talks.get(session_id)

    def left(self) -> list[SessionId]:
        """Child sessions that have not ended, though nothing is done in them: their task has ended, or never began."""
        return [
            each
            for each, talk in self._talks.items()
            if not talk.over and not self.is_open(talk.lineage.task_id)
        ]

    def _given(self, task: Task) -> None:
        if task.id not in self._tasks:
            self._tasks[task.id] = task
            self._open.setdefault(task.session_id, {})[task.id] = None

    def _moved(self, moved: TaskMoved, session_id: SessionId) -> None:
        task = self._tasks.get(moved.task_id)
        if task is None or task.status in ENDED or task.session_id != session_id:
            return
        changes: dict[str, Any] = {"status": moved.status}
        if moved.status == "running":
            known = {"agent_id": moved.agent_id, "child_id": moved.child_id}
            changes |= {name: value for name, value in known.items() if value is not None}
            changes["started_at"] = task.started_at or moved.timestamp
        elif moved.status in ENDED:
            changes |= {"ended_at": moved.timestamp, "result": moved.result, "error": moved.error}
        self._tasks[task.id] = msgspec.structs.replace(task, **changes)
        if moved.status in ENDED:
            self._closed(task)

    def _closed(self, task: Task) -> None:
        of_session = self._open[task.session_id]
        del of_session[task.id]
        if not of_session:
            del self._open[task.session_id]
        talk = None if task.child_id is None else self._talks.get(task.child_id)
        if task.child_id is not None and talk is not None and talk.over:
            del self._talks[task.child_id]
        self._over[task.id] = None
        if len(self._over) > self._kept:
            oldest = next(iter(self._over))
            del self._over[oldest], self._tasks[oldest]

    def _session_over(self, session_id: SessionId, when: Instant) -> None:
        """A session that has ended takes no event any more: what is open in it has ended with it."""
        for task in self.open(session_id):
            self._tasks[task.id] = msgspec.structs.replace(task, status="cancelled", ended_at=when)
            self._closed(task)
            self.on_news(task.id)
        talk = self._talks.get(session_id)
        if talk is not None:
            talk.over = True
            if not self.is_open(talk.lineage.task_id):
                del self._talks[session_id]
            self.on_news(talk.lineage.task_id)

    def _talked(self, session_id: SessionId, event: object) -> None:
        talk = self._talks.get(session_id)
        if talk is None:
            return
        match event:
            case TurnStarted():
                talk.words, talk.ended = "", None
            case AssistantMessage(text=text) if text:
                talk.words = text
            case TurnEnded():
                talk.ended = event
                self.on_news(talk.lineage.task_id)
