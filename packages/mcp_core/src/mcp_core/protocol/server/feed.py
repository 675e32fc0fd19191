"""What happens to the calls of one session, sorted by call.

A call's notices may come before its caller knows its id, so that the latest of unknown calls are kept for a while.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mcp_core.protocol.server.line import Line
from mcp_interface.client import Notice, ToolProgress, ToolSaid
from mcp_interface.errors import UmbrellaError
from mcp_interface.events import ExecutionChanged, QuestionAnswered, QuestionAsked
from mcp_interface.ids import ExecutionId, QuestionId, SessionId
from mcp_interface.store import Record

log = logging.getLogger(__name__)

QUEUE: Final = 1_024
"""Notices that wait for a call's reader; then what passes by is dropped."""
EARLY: Final = 256
"""Calls of which nobody has asked yet."""
EARLY_EACH: Final = 64


class Lost:
    """Something may have been missed: look at the call itself."""


Told = Notice | Lost
Queue = asyncio.Queue[Told]


class Feed:
    """Follows one session for all the calls in it.

    Args:
        line: To the node.
        session_id: Which session.
    """

    def __init__(self, line: Line, session_id: SessionId) -> None:
        self._line = line
        self.session_id = session_id
        self._readers: dict[ExecutionId, Queue] = {}
        self._early: OrderedDict[ExecutionId, list[Notice]] = OrderedDict()
        self._asked: OrderedDict[QuestionId, ExecutionId] = OrderedDict()
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"mcp: follow {session_id}")

    @contextmanager
    def attend(self, execution_id: ExecutionId) -> Iterator[Queue]:
        """Hear of one call, from what is remembered of it on."""
        queue: Queue = asyncio.Queue(QUEUE)
        for notice in self._early.pop(execution_id, ()):
            queue.put_nowait(notice)
        if self._task.done():
            queue.put_nowait(Lost())
        self._readers[execution_id] = queue
        try:
            yield queue
        finally:
            if self._readers.get(execution_id) is queue:
                del self._readers[execution_id]

    async def close(self) -> None:
        """Stop following; whoever still reads is told to look for themselves."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._tell_all()

    @property
    def ended(self) -> bool:
        """Whether it follows no longer."""
        return self._task.done()

    async def _run(self) -> None:
        try:
            async for notice in self._line.follow(self.session_id):
                if notice is None:
                    self._tell_all()
                else:
                    self._sort(notice)
        except UmbrellaError as error:
            log.info("%s is not followed any more: %s", self.session_id, error)
        finally:
            self._tell_all()

    def _tell_all(self) -> None:
        for queue in self._readers.values():
            _put(queue, Lost())

    def _sort(self, notice: Notice) -> None:
        execution_id = self._of(notice)
        if execution_id is None:
            return
        queue = self._readers.get(execution_id)
        if queue is not None:
            _put(queue, notice)
            return
        kept = self._early.setdefault(execution_id, [])
        kept.append(notice)
        del kept[:-EARLY_EACH]
        if len(self._early) > EARLY:
            self._early.popitem(last=False)

    def _of(self, notice: Notice) -> ExecutionId | None:
        if isinstance(notice, ToolProgress | ToolSaid):
            return notice.execution_id
        event = notice.event if isinstance(notice, Record) else None
        match event:
            case ExecutionChanged():
                return event.execution_id
            case QuestionAsked(question=question):
                self._asked[question.id] = question.execution_id
                if len(self._asked) > QUEUE:
                    self._asked.popitem(last=False)
                return question.execution_id
            case QuestionAnswered():
                return self._asked.pop(event.question_id, None)
        return None


def _put(queue: Queue, told: Told) -> None:
    """What passes by is dropped when a reader is behind; of what is remembered the reader is told to look."""
    if not queue.full():
        queue.put_nowait(told)
    elif isinstance(told, Record | Lost):
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(Lost())
