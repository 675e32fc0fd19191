"""Where the tool calls of a node are found in its journal, and the latest of them at a glance.

A projection of the sessions' streams, shown every record at load and from then on. It holds a position for each
call and a summary without result for the latest; the result itself is always read from the journal, so that
there is one answer, before and after a restart. Knows nothing of calls that are not journaled.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from mcp_core.gateway.state import stream_of
from mcp_core.runtime.commit import Journal
from mcp_interface.errors import NotFound
from mcp_interface.events import ExecutionChanged, QuestionAnswered, QuestionAsked
from mcp_interface.execution import Execution, advance_execution, advance_questions
from mcp_interface.ids import ExecutionId, QuestionId
from mcp_interface.store import Record

KEPT: Final = 10_000
"""Ended calls whose summaries stay in memory; older ones are found by id, and in their sessions' events."""


class ExecutionIndex:
    """All journaled tool calls of one node.

    Args:
        journal: Holds the sessions' streams.
        kept: Summaries of ended calls that are held.
    """

    def __init__(self, journal: Journal, kept: int = KEPT) -> None:
        self._journal = journal
        self._kept = kept
        self._places: dict[ExecutionId, int] = {}
        """Position of each call's first record."""
        self._open: dict[ExecutionId, Execution] = {}
        self._ended: dict[ExecutionId, Execution] = {}
        """In the order in which they ended."""
        self._asked: dict[QuestionId, ExecutionId] = {}
        """Open questions, and for which call."""

    def heard(self, record: Record) -> Execution | None:
        """Move on by one record; the summary of the call that it is about, if any."""
        event = record.event
        if isinstance(event, QuestionAsked | QuestionAnswered):
            return self._questioned(record.stream, event)
        if not isinstance(event, ExecutionChanged) or record.stream != stream_of(event.session_id):
            return None  # a copy in a fork is not another call
        key = event.execution_id
        known = self._open.pop(key, None)
        if known is None and key in self._places:
            return None  # it is over
        self._places.setdefault(key, record.position)
        summary = msgspec.structs.replace(advance_execution(known, event), result=None)
        if not summary.over:
            self._open[key] = summary
            return summary
        for question in known.questions if known is not None else ():
            self._asked.pop(question, None)
        self._ended[key] = summary
        if len(self._ended) > self._kept:
            del self._ended[next(iter(self._ended))]
        return summary

    def _questioned(self, stream: str, event: QuestionAsked | QuestionAnswered) -> Execution | None:
        if isinstance(event, QuestionAsked):
            key = event.question.execution_id
            if stream == stream_of(event.question.session_id) and key in self._open:
                self._asked[event.question.id] = key
        else:
            key = self._asked.get(event.question_id, ExecutionId(""))
        known = self._open.get(key)
        if known is None or stream != stream_of(known.session_id):
            return None
        if isinstance(event, QuestionAnswered):
            del self._asked[event.question_id]
        self._open[key] = advance_questions(known, event)
        return self._open[key]

    def open(self, execution_id: ExecutionId) -> Execution | None:
        """The summary of a call that has not ended."""
        return self._open.get(execution_id)

    def summaries(self) -> Iterator[Execution]:
        """What is going on, and what ended lately."""
        yield from self._open.values()
        yield from self._ended.values()

    async def read(self, execution_id: ExecutionId, look: Callable[[Execution], None]) -> Execution:
        """A whole call with its result, as the journal has it.

        Args:
            execution_id: Which.
            look: Sees the call as it began, before anything else of it is read; raises if nobody may know of it.

        Raises:
            NotFound: No call of this id was ever journaled, or its session's events are gone.
        """
        first = await self._first(execution_id)
        page, execution = [first], None
        while page:
            for record in page:
                event = record.event
                if isinstance(event, ExecutionChanged) and event.execution_id == execution_id:
                    if execution is None:
                        look(advance_execution(None, event))
                    execution = advance_execution(execution, event)
                    if execution.over:
                        return execution
                elif isinstance(event, QuestionAsked | QuestionAnswered) and execution is not None:
                    execution = advance_questions(execution, event)
            page = await self._journal.read(first.stream, after=page[-1].version, limit=200)
        if execution is None:
            raise unknown(execution_id)
        return execution

    async def _first(self, execution_id: ExecutionId) -> Record:
        position = self._places.get(execution_id)
        if position is not None:
            for record in await self._journal.read_all(after=position - 1, limit=1):
                if record.position == position:
                    return record
        raise unknown(execution_id)


def unknown(execution_id: str) -> NotFound:
    """The error of an id that names nothing the asker may know of."""
    return NotFound(f"no execution {execution_id!r}", "list them with: umbrella executions list")
