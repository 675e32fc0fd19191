"""How a missing right becomes a question to a person, and the answer a right, a no, or a no for good."""

import asyncio
from datetime import timedelta

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.tool_book import ToolBook, said_no
from mcp_core.gateway.toolbox import Toolbox
from mcp_interface.address import Resource
from mcp_interface.approval import Answer, Approval, ApprovalDesk
from mcp_interface.capability import GrantOptions, Need, Verdict
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import NotPermitted
from mcp_interface.events import ApprovalAnswered, ApprovalAsked
from mcp_interface.ids import SYSTEM, ApprovalId, ExecutionId, PrincipalId, SessionId, is_id, new_id
from mcp_interface.tool import Tool

FIND_S = 60.0
"""Seconds in which a tool's server has to say what the tool is, once a person has answered."""


class Questions:
    """Asks people about calls, and remembers what they never want to be asked again.

    A yes is bound to who asked, to the tool as it was defined then, and to the arguments; a "never" to the
    call alone, see `ToolBook`.
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

    async def refuse_what_was_refused(self, request: ToolRequest) -> None:
        """Return unless an agent does what its person said "never" to; what a person calls is not refused.

        Raises:
            NotPermitted: It does; carries the reason that was given, and is on record.
        """
        if is_id("agent", request.principal_id):
            await self._book.require_not_refused(
                self._person(request),
                request.principal_id,
                request.server,
                request.tool,
                request.arguments,
                request.session_id,
            )

    async def ask(
        self, request: ToolRequest, execution_id: ExecutionId, tool: Tool, need: Need, verdict: Verdict
    ) -> GrantOptions:
        """Ask, wait, and return the terms of the right that the answer gives.

        Raises:
            NotPermitted: The answer is no, nobody answered in time, or the tool has changed meanwhile. Or no
                yes could be bound to these arguments; then nobody is asked.
        """
        approval = self._approval(request, execution_id, tool, need.resource, verdict)
        self._desk.terms(approval, Answer(allow=True))
        self._desk.open(approval)
        try:
            await self._sessions.add(
                request.session_id, ApprovalAsked(timestamp=approval.asked_at, approval=approval)
            )
        except BaseException:
            self._desk.answer(approval.id, Answer(allow=False, reason="it could not be recorded"), SYSTEM)
            raise
        answer = await self._answer(request, approval)
        if not answer.allow:
            for_good = answer.remember == "always"
            details = {"resource_uri": need.resource.uri}
            raise said_no(request.server, request.tool, answer.reason, details, for_good=for_good)
        # an equal question may have been open, and answered with "never"
        await self.refuse_what_was_refused(request)
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

    def _person(self, request: ToolRequest) -> PrincipalId:
        return self._sessions.get(request.session_id).created_by

    async def _answer(self, request: ToolRequest, approval: Approval) -> Answer:
        """Wait for the answer; it is in the journal, and a "never" remembered, when this returns."""
        try:
            answer, by = await self._desk.wait(approval.id)
        except asyncio.CancelledError:
            withdrawn = Answer(allow=False, reason="the call was cancelled")
            await asyncio.shield(self._record(approval.session_id, approval.id, withdrawn, SYSTEM))
            raise
        try:
            if not answer.allow and answer.remember == "always":
                person, reason = self._person(request), answer.reason
                await self._book.remember(person, request.server, request.tool, request.arguments, reason, by)
        finally:
            await self._record(approval.session_id, approval.id, answer, by)
        return answer

    async def _record(
        self, session_id: SessionId, approval_id: ApprovalId, answer: Answer, by: PrincipalId
    ) -> None:
        event = ApprovalAnswered(timestamp=self._clock.now(), approval_id=approval_id, answer=answer, by=by)
        await self._sessions.add(session_id, event)
