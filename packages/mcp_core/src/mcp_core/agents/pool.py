"""Turns for tasks: so many of one session run at once, others wait in the order in which they came.

A place in the pool is taken at once, without waiting for anything, so that whoever finds no room hears it before
anything was begun. Used from one event loop; knows neither tasks nor sessions but by their ids.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec

from mcp_interface.errors import DeadlineExceeded, TooMuch
from mcp_interface.ids import SessionId, TaskId

AT_ONCE: Final = 3
"""Tasks of one session that run at the same time."""
QUEUED: Final = 32
"""Tasks of one session that wait for that."""


class PoolStatus(msgspec.Struct, frozen=True):
    """How full the pool is for one session."""

    running: int
    queued: int


class _Lane:
    """The tasks of one session."""

    def __init__(self) -> None:
        self.running: set[TaskId] = set()
        self.queue: deque[TaskId] = deque()


class Pool:
    """Gives turns.

    Args:
        at_once: How many of one session have one at the same time.
        queued: How many more of it may wait.
    """

    def __init__(self, at_once: int = AT_ONCE, queued: int = QUEUED) -> None:
        self._at_once = at_once
        self._queued = queued
        self._lanes: dict[SessionId, _Lane] = {}
        self._place: dict[TaskId, SessionId] = {}
        self._turns: dict[TaskId, asyncio.Event] = {}

    def enter(self, session_id: SessionId, task_id: TaskId, *, runs: bool = False) -> None:
        """Take a place, and a turn where one is free; harmless when repeated.

        Args:
            session_id: Whose turns they are.
            task_id: For whom.
            runs: It has begun in an earlier process and gets a turn beyond any bound.

        Raises:
            TooMuch: As many wait as may.
        """
        if task_id in self._place:
            return
        lane = self._lanes.get(session_id) or _Lane()
        free = len(lane.running) < self._at_once and not lane.queue
        if not (runs or free) and len(lane.queue) >= self._queued:
            full = self.status(session_id)
            raise TooMuch(
                f"{session_id} has {full.running} running tasks and {full.queued} that wait",
                "wait for some to end, or cancel one: umbrella task cancel ID",
                {"bound": "queued_tasks", "most": self._queued},
            )
        self._lanes[session_id] = lane
        self._place[task_id] = session_id
        self._turns[task_id] = asyncio.Event()
        if runs or free:
            self._give_turn(lane, task_id)
        else:
            lane.queue.append(task_id)

    async def turn(self, task_id: TaskId, seconds: float) -> None:
        """Wait for the turn of a task that has a place.

        Raises:
            DeadlineExceeded: It did not come within so many seconds.
        """
        turn = self._turns[task_id]
        if turn.is_set():
            return
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await turn.wait()
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{task_id} has waited too long for its turn", "give it again when less is going on"
            ) from error

    def leave(self, task_id: TaskId) -> None:
        """Give place and turn back, to the one that has waited longest; harmless when repeated."""
        session_id = self._place.pop(task_id, None)
        if session_id is None:
            return
        lane = self._lanes[session_id]
        del self._turns[task_id]
        lane.running.discard(task_id)
        if task_id in lane.queue:
            lane.queue.remove(task_id)
        while lane.queue and len(lane.running) < self._at_once:
            self._give_turn(lane, lane.queue.popleft())
        if not lane.running:
            del self._lanes[session_id]

    def status(self, session_id: SessionId) -> PoolStatus:
        """How full it is for one session."""
        lane = self._lanes.get(session_id) or _Lane()
        return PoolStatus(running=len(lane.running), queued=len(lane.queue))

    def _give_turn(self, lane: _Lane, task_id: TaskId) -> None:
        lane.running.add(task_id)
        self._turns[task_id].set()
