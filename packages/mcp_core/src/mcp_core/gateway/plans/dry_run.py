"""What the steps of a plan would meet if they ran now. Nothing is done, used up or put on record."""

import asyncio
from contextlib import suppress
from typing import Final

from mcp_core.gateway.plans.drafting import Call, Drafting, call_of
from mcp_core.gateway.tool_book import ToolBook, call_fingerprint
from mcp_interface.capability import SecurityKernel
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import ExecutionId
from mcp_interface.plan import DryStep, Plan
from mcp_interface.session import Session
from mcp_interface.tool import Preview, Previews, Tool, ToolContext

PREVIEW_S: Final = 2.0
"""Seconds that a tool has to tell what a step would change."""


class DryRuns:
    """Looks at plans without touching anything.

    Args:
        kernel: Explains what a person may do, which is never recorded.
        drafting: Finds the tools of steps.
        book: Knows what a person said "never" to, and which tools have changed.
    """

    def __init__(self, kernel: SecurityKernel, drafting: Drafting, book: ToolBook) -> None:
        self._kernel = kernel
        self._drafting = drafting
        self._book = book

    async def run(self, plan: Plan, session: Session) -> list[DryStep]:
        """One answer for each step; previews show only what the person of the session may read."""
        return [await self._step(call_of(step.work, session), session) for step in plan.steps]

    async def _step(self, call: Call | None, session: Session) -> DryStep:
        if call is None:
            return DryStep(allowed=True, why="it needs no right")
        person = session.created_by
        try:
            tool = await self._drafting.tool(call, person)
            tool.validate_args(call.arguments)
            needs = tool.needs(call.arguments)
        except UmbrellaError as error:
            return DryStep(allowed=False, why="it cannot be judged", problem=_words(error))
        if self._drafting.is_external(call) and not self._book.holds(tool.info()):
            return DryStep(
                allowed=False,
                why=f"{call.server}/{call.tool} is not the tool that it was when it was allowed",
            )
        if self._book.refusal(person, call_fingerprint(call.server, call.tool, call.arguments)) is not None:
            return DryStep(allowed=False, why="this very call was refused for good")
        verdicts = [self._kernel.explain(person, need.resource, need.facts).verdict for need in needs]
        refused = next((verdict for verdict in verdicts if not verdict.allowed), None)
        if refused is not None:
            return DryStep(allowed=False, why=refused.message)
        why = ", ".join(dict.fromkeys(verdict.covering or "" for verdict in verdicts))
        return DryStep(allowed=True, why=why, preview=await _preview(tool, call, session))


async def _preview(tool: Tool, call: Call, session: Session) -> Preview | None:
    """What a tool says that it would change; None where it cannot, or takes too long over it."""
    if not isinstance(tool, Previews):
        return None
    context = ToolContext(
        execution_id=ExecutionId(""), principal_id=session.created_by, session_id=session.id
    )
    with suppress(UmbrellaError, TimeoutError):
        async with asyncio.timeout(PREVIEW_S):
            return await tool.preview(call.arguments, context)
    return None


def _words(error: UmbrellaError) -> str:
    return f"{error.message}. {error.remedy}" if error.remedy else error.message
