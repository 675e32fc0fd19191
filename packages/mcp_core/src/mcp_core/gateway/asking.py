"""How a missing right becomes a question to a person, and the answer a right, a no, or a no for good."""

import asyncio
from datetime import timedelta

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.tool_book import ToolBook
from mcp_core.gateway.toolbox import Toolbox
from mcp_interface.address import Resource
from mcp_interface.approval import Answer, Approval, ApprovalDesk
from mcp_interface.capability import GrantOptions, Need, Verdict
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import NotPermitted
from mcp_interface.events import ApprovalAnswered, ApprovalAsked
from mcp_interface.ids import SYSTEM, ApprovalId, ExecutionId, PrincipalId, SessionId, new_id
from mcp_interface.tool import Tool

FIND_S = 60.0
"""Seconds in which a tool's server has to say what the tool is, once a person has answered."""


class Questions:
    """Asks people about calls, and remembers what they never want to be asked again.

    An answer is bound to who asked, to the tool as it was defined then, and to the arguments.
    """

    def __init__(
        self,
        desk: ApprovalDesk,
        toolbox: Toolbox,
        sessions: Sessions,
        book: ToolBook,
        clock: Clock,
        entropy: Entropy,
        timeout_s: float,
    ) -> None:
        self._desk = desk
        self._toolbox = toolbox
        self._sessions = sessions
        self._book = book
        self._clock = clock
        self._entropy = entropy
        self._timeout = timedelta(seconds=timeout_s)

    def refuse_what_was_refused(self, request: ToolRequest, tool: Tool, needed: Resource) -> None:
        """Return unless a person said "never" to this very question.

        Raises:
            NotPermitted: They did; carries their reason.
        """
        question = self._desk.fingerprint(tool.info(), request.arguments)
        known = self._book.refusal(request.principal_id, question)
        if known is not None:
            raise _no(request, needed, known.reason, for_good=True)

    async def ask(
        self, request: ToolRequest, execution_id: ExecutionId, tool: Tool, need: Need, verdict: Verdict
    ) -> GrantOptions:
        """Ask, wait, and return the terms of the right that the answer gives.

        Raises:
            NotPermitted: The answer is no, nobody answered in time, or the tool has changed meanwhile.
        """
        approval = self._approval(request, execution_id, tool, need.resource, verdict)
        self._desk.open(approval)
        try:
            await self._sessions.add(
                request.session_id, ApprovalAsked(timestamp=approval.asked_at, approval=approval)
            )
        except BaseException:
            self._desk.answer(approval.id, Answer(allow=False, reason="it could not be recorded"), SYSTEM)
            raise
        answer, by = await self._answer(approval)
        if not answer.allow:
            if answer.remember == "always":
                await self._book.remember(
                    request.principal_id,
                    tool.info(),
                    request.arguments,
                    approval.fingerprint,
                    answer.reason,
                    by,
                )
            raise _no(request, need.resource, answer.reason, for_good=answer.remember == "always")
        now_offered = await self._toolbox.find(request.server, request.tool, FIND_S)
        if self._desk.fingerprint(now_offered.info(), request.arguments) != approval.fingerprint:
            raise NotPermitted(
                f"{request.server}/{request.tool} has changed since a person was asked about it",
                "call it again, so that the person sees what it is now",
                {"reason": "changed", "resource_uri": need.resource.uri},
            )
        return self._desk.terms(approval, answer)

    def _approval(
        self,
        request: ToolRequest,
        execution_id: ExecutionId,
        tool: Tool,
        needed: Resource,
        verdict: Verdict,
    ) -> Approval:
        now = self._clock.now()
        return Approval(
            id=ApprovalId(new_id("ask", self._entropy)),
            session_id=request.session_id,
            execution_id=execution_id,
            principal_id=request.principal_id,
            server=request.server,
            tool=request.tool,
            arguments=request.arguments,
            resource_uri=needed.uri,
            reason=verdict.message,
            fingerprint=self._desk.fingerprint(tool.info(), request.arguments),
            asked_at=now,
            expires_at=now + self._timeout,
        )

    async def _answer(self, approval: Approval) -> tuple[Answer, PrincipalId]:
        """Wait for the answer; it is in the journal when this returns."""
        try:
            answer, by = await self._desk.wait(approval.id)
        except asyncio.CancelledError:
            withdrawn = Answer(allow=False, reason="the call was cancelled")
            await asyncio.shield(self._record(approval.session_id, approval.id, withdrawn, SYSTEM))
            raise
        await self._record(approval.session_id, approval.id, answer, by)
        return answer, by

    async def _record(
        self, session_id: SessionId, approval_id: ApprovalId, answer: Answer, by: PrincipalId
    ) -> None:
        event = ApprovalAnswered(timestamp=self._clock.now(), approval_id=approval_id, answer=answer, by=by)
        await self._sessions.add(session_id, event)


def _no(request: ToolRequest, needed: Resource, reason: str, *, for_good: bool) -> NotPermitted:
    why = f": {reason}" if reason else ""
    said = "said never" if for_good else "said no"
    return NotPermitted(
        f"a person {said} to {request.server}/{request.tool} with these arguments{why}",
        "do something else" if for_good else "do something else, or ask again with a better reason",
        {"reason": "refused", "resource_uri": needed.uri},
    )
