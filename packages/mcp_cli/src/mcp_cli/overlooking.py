"""Watches one call at the shell, through a way to the node that comes back by itself."""

import asyncio
import sys

from mcp_cli import executing, terminal, waiting
from mcp_cli.attachment import Attachment, DoorOpener, State
from mcp_cli.interview import Interview, say
from mcp_cli.invocation import Invocation, Outcome
from mcp_cli.lines import Lines
from mcp_interface.client import Notice
from mcp_interface.execution import Execution
from mcp_interface.ids import ExecutionId, SessionId
from mcp_interface.question import Question


async def watching_over(given: Invocation, key: ExecutionId) -> Outcome:
    """Watch through a way to the node that comes back by itself."""
    attachment = Attachment(DoorOpener(given), given.clock, _Nobody())
    running = asyncio.create_task(attachment.run())
    interview = Interview(attachment, Lines(sys.stdin) if sys.stdin.isatty() else None, say)
    watched = executing.Watched()

    def looked(found: Execution, questions: list[Question]) -> None:
        if line := watched.line(found):
            terminal.say(line)
        interview.only(questions)

    try:
        found = await waiting.to_its_end(
            attachment,
            key,
            given.clock,
            looked=looked,
            step=waiting.MOVED_S,
            away=lambda error: terminal.say(watched.away()),
        )
    finally:
        await interview.end()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return waiting.ended(found)


class _Nobody:
    """A listener who only wants to ask."""

    def noticed(self, session_id: SessionId | None, notice: Notice) -> None:
        pass

    def attached(self, state: State, detail: str) -> None:
        pass
