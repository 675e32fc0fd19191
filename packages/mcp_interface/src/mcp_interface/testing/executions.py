"""The tool calls of the fake node: one tool, `fake.echo`, which gives back its arguments at once."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from mcp_interface.clock import Clock, Entropy
from mcp_interface.codec import encode_json
from mcp_interface.commands import Command, CreateSession, Page
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.events import ExecutionChanged, ToolCall
from mcp_interface.execution import (
    CancelExecution,
    Execution,
    GetExecution,
    ListExecutions,
    StartExecution,
    advance_execution,
)
from mcp_interface.ids import ExecutionId, PrincipalId, new_id
from mcp_interface.testing.sessions import FakeSessions
from mcp_interface.tool import text_result


class FakeExecutions:
    """Answers the commands about tool calls of one person.

    Args:
        sessions: Where the calls are recorded.
        owner: Whose calls they are.
        clock: Stamps the events.
        entropy: Makes ids.
    """

    def __init__(self, sessions: FakeSessions, owner: PrincipalId, clock: Clock, entropy: Entropy) -> None:
        self._sessions = sessions
        self._owner = owner
        self._clock = clock
        self._entropy = entropy
        self._known: dict[ExecutionId, Execution] = {}
        """In the order in which they began."""
        self._handlers: dict[type, Callable[[Any], Awaitable[Any]]] = {
            StartExecution: self._start,
            GetExecution: self._get,
            ListExecutions: self._list,
            CancelExecution: self._get,  # whatever it is, it is over
        }

    def answers(self, command: Command[Any]) -> bool:
        """Whether a command is about tool calls."""
        return type(command) in self._handlers

    async def answer(self, command: Command[Any]) -> Any:
        """Do what a command asks.

        Raises:
            NotFound: The session or the execution is not known here.
            CallerMistaken: A cursor was made up.
            WrongState: The session begins nothing any more.
        """
        return await self._handlers[type(command)](command)

    async def _start(self, command: StartExecution) -> Execution:
        session_id = command.session_id
        if session_id is None:
            session_id = (await self._sessions.answer(CreateSession(title="command line"))).id
        queued = ExecutionChanged(
            timestamp=self._clock.now(),
            execution_id=ExecutionId(new_id("exec", self._entropy)),
            session_id=session_id,
            principal_id=self._owner,
            status="queued",
            call=ToolCall(server=command.server, tool=command.tool, arguments=command.arguments),
        )
        events = [queued, *self._run(queued, command)]
        await self._sessions.add(session_id, events)
        accepted = execution = advance_execution(None, queued)
        for event in events[1:]:
            execution = advance_execution(execution, event)
        self._known[execution.id] = execution
        return accepted

    def _run(self, queued: ExecutionChanged, command: StartExecution) -> list[ExecutionChanged]:
        replace = msgspec.structs.replace
        if (command.server, command.tool) != ("fake", "echo"):
            error = NotFound(f"no tool {command.server}/{command.tool}", "call fake/echo").body()
            return [replace(queued, status="failed", error=error)]
        result = text_result(encode_json(command.arguments).decode())
        return [
            replace(queued, status="started"),
            replace(queued, status="completed", call=None, result=result),
        ]

    async def _get(self, command: GetExecution | CancelExecution) -> Execution:
        found = self._known.get(command.execution_id)
        if found is None:
            raise NotFound(f"no execution {command.execution_id!r}", "list the executions")
        return found

    async def _list(self, command: ListExecutions) -> Page[Execution]:
        if command.session_id is not None:
            self._sessions.get(command.session_id)
        cursor = command.cursor or "0"
        if not cursor.isdecimal():
            raise CallerMistaken(f"{cursor[:40]!r} is not a cursor", "pass a page's cursor unchanged")
        found = [
            msgspec.structs.replace(each, result=None)
            for each in reversed(self._known.values())
            if command.session_id in {None, each.session_id} and command.status in {None, each.status}
        ]
        start, end = int(cursor), int(cursor) + command.limit
        return Page(items=found[start:end], cursor=str(end) if end < len(found) else None)
