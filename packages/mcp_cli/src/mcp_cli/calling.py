"""One tool call, waited for: what the tool asks is put to whoever sits at the terminal."""

import asyncio
import contextlib
import sys
from typing import Final

import msgspec

from mcp_cli import waiting
from mcp_cli.interview import Interview, say
from mcp_cli.invocation import Invocation, Outcome
from mcp_cli.lines import Lines
from mcp_interface.client import Client
from mcp_interface.commands import CallOutcome
from mcp_interface.errors import Interrupted, NodeUnavailable, UmbrellaError
from mcp_interface.execution import CancelExecution, Execution, StartExecution
from mcp_interface.ids import ExecutionId

PATIENCE_S: Final = 3600.0
"""Seconds to wait for a call; a person may have to approve it first, or to answer. It goes on after them."""
LEAVE_S: Final = 5.0
"""Seconds to stop a call that nobody waits for any more."""


async def called(client: Client, wish: StartExecution, given: Invocation) -> Outcome:
    """Start a call and wait for what comes of it.

    Whoever leaves a shell does not want it any more; leaving a REPL stops nothing.

    Raises:
        Interrupted: The node died meanwhile.
        UmbrellaError: The call failed.
    """
    started = await client.request(wish)
    try:
        return _outcome(await _followed(client, started.id, given))
    except NodeUnavailable as error:
        raise Interrupted(
            f"the node died while {wish.server}/{wish.tool} was called",
            "it goes on after a restart if it waited for an answer or can be run again, else it is interrupted; "
            f"see: umbrella executions watch {started.id}",
        ) from error
    except asyncio.CancelledError:
        if given.runner is None:
            await asyncio.shield(_stop(client, started.id))
        raise


async def _followed(client: Client, key: ExecutionId, given: Invocation) -> Execution:
    """Wait for the end; what the tool asks is asked here, unless a REPL shows it."""
    if given.runner is not None:
        return await waiting.to_its_end(client, key, given.clock, limit=PATIENCE_S)
    interview = Interview(client, Lines(sys.stdin) if sys.stdin.isatty() else None, say)
    try:
        return await waiting.to_its_end(
            client, key, given.clock, limit=PATIENCE_S, looked=lambda _, questions: interview.only(questions)
        )
    finally:
        await interview.end()


async def _stop(client: Client, key: ExecutionId) -> None:
    """Who leaves does not want the call any more."""
    with contextlib.suppress(UmbrellaError):  # the node is gone, and may take it up again
        await client.request(CancelExecution(execution_id=key), timeout=LEAVE_S)


def _outcome(found: Execution) -> Outcome:
    outcome = waiting.ended(found)
    if found.result is None:
        return outcome
    began = found.started_at or found.accepted_at
    took = (found.ended_at or began) - began
    call = CallOutcome(
        execution_id=found.id,
        session_id=found.session_id,
        result=found.result,
        duration_ms=max(0.0, took.total_seconds() * 1000),
    )
    return msgspec.structs.replace(outcome, value=call)
