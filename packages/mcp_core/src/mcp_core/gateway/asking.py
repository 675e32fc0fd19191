"""How a missing right becomes a question to a person, and the answer a right, a no, or a no for good.

The question outlives the process: the next one asks it on, under the same id, and the call goes on behind it. What a
tool itself wants to know is another matter, see `questions`.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

import msgspec

from mcp_core.agents.left import Allowed
from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.showing import Showing
from mcp_core.gateway.tool_book import ToolBook, said_no
from mcp_core.gateway.toolbox import Toolbox
from mcp_interface.address import Resource, parse_resource
from mcp_interface.approval import Answer, Approval, ApprovalDesk
from mcp_interface.capability import GrantOptions, Need, Verdict
from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.errors import NotPermitted, UmbrellaError
from mcp_interface.events import ApprovalAnswered, ApprovalAsked, ExecutionChanged, SessionEvent
from mcp_interface.ids import SYSTEM, ApprovalId, ExecutionId, PrincipalId, SessionId, is_id, new_id
from mcp_interface.tool import Tool

log = logging.getLogger(__name__)

FIND_S = 60.0
"""Seconds in which a tool's server has to say what the tool is, once a person has answered."""


class _Asked(NamedTuple):
    """An open question, and what sees to its answer."""

    approval: Approval
    answer: asyncio.Task[Answer]


class _Given(NamedTuple):
    """A yes to a call that has not ended."""

    allowed: Allowed
    since: Instant
    """When it was given; of an earlier process: when it was asked for, which is before."""

    @property
    def ends(self) -> Instant | None:
        """When it is one no more, if the person said so."""
        seconds = self.allowed.answer.expires_in_s
        return None if seconds is None else self.since + timedelta(seconds=seconds)

    def holds(self, needed: Resource, now: Instant) -> bool:
        """Whether it is still one to this right."""
        asked = self.allowed.approval
        in_time = now < asked.expires_at and (self.ends is None or now < self.ends)
        return in_time and asked.resource_uri == needed.uri


class Yes(NamedTuple):
    """What a yes turns into."""

    resource: Resource
    """The very right that was missing, or the wider pattern that the person chose."""
    options: GrantOptions


class Approving:
    """Asks people about rights, and remembers what they never want to be asked again.

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
        showing: Showing,
    ) -> None:
        self._showing = showing
        self._desk = desk
        self._toolbox = toolbox
        self._sessions = sessions
        self._book = book
        self._clock = clock
        self._entropy = entropy
        self._timeout = timedelta(seconds=timeout_s)
        self._waiting: dict[ApprovalId, asyncio.Task[Answer]] = {}
        """What sees to the answer of each open question."""
        self._reopened: dict[ExecutionId, _Asked] = {}
        """What calls of an earlier process wait for; it may be answered before they are brought here."""
        self._allowed: dict[ExecutionId, list[_Given]] = {}
        """Each yes to a call that has not ended; it serves the same call again while its time lasts."""
        self._stopping = False

    def stop(self) -> None:
        """The node is about to stop: what is open stays so, for the next process."""
        self._stopping = True

    async def close(self) -> None:
        """Wait for nothing any more."""
        self.stop()
        for task in self._waiting.values():
            task.cancel()
        await asyncio.gather(*self._waiting.values(), return_exceptions=True)
        await self._showing.close()

    def reopen(self, execution_id: ExecutionId, request: ToolRequest) -> None:
        """Let what a person was being asked in an earlier process be answered in this one."""
        self._allowed[execution_id] = [_Given(each, each.approval.asked_at) for each in request.left.allowed]
        approval = request.left.approval
        if approval is not None:
            self._desk.open(approval)
            self._reopened[execution_id] = _Asked(approval, self._attend(request, approval))

    async def answer(self, approval_id: ApprovalId, answer: Answer, by: PrincipalId) -> None:
        """Take a person's answer; it is in the journal when this returns.

        Raises:
            NotFound: The question is not open (any more).
            CallerMistaken: It names a pattern or an end that this answer cannot have; the question stays open.
            StorageUnavailable: It could not be journaled yet; it counts, and the session owes it.
        """
        self._desk.answer(approval_id, answer, by)
        seeing_to_it = self._waiting.get(approval_id)
        if seeing_to_it is not None:
            await asyncio.shield(seeing_to_it)

    async def let_go(self, execution_id: ExecutionId) -> None:
        """Forget a call that has ended, and withdraw what is still asked for it; at a stop it stays open."""
        self._allowed.pop(execution_id, None)
        asked = self._reopened.pop(execution_id, None)
        if asked is not None and not self._stopping:
            await self._withdraw(asked.approval)

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
    ) -> Yes:
        """Ask, wait, and return the right that the answer gives, with its terms.

        What this very call was allowed before is not asked again while that question's time lasts.

        Raises:
            NotPermitted: The answer is no, nobody answered in time, or the tool has changed meanwhile. Or no
                yes could be bound to these arguments; then nobody is asked.
        """
        known = self._known(execution_id, need.resource)
        if known is None:
            asked = self._reopened.pop(execution_id, None)
            if asked is not None and asked.approval.resource_uri != need.resource.uri:
                await self._withdraw(asked.approval)
                asked = None
            asked = asked or await self._open(request, execution_id, tool, need, verdict)
            approval, answer = asked.approval, await self._answer_to(asked)
        else:
            approval, answer = known.allowed.approval, known.allowed.answer
        if not answer.allow:
            for_good = answer.remember == "always"
            details = {"resource_uri": need.resource.uri}
            raise said_no(request.server, request.tool, answer.reason, details, for_good=for_good)
        answered_at = self._clock.now()
        # an equal question may have been open, and answered with "never"
        await self.refuse_what_was_refused(request)
        now_offered = await self._toolbox.find(
            request.server, request.tool, FIND_S, self._sessions.get(request.session_id).created_by
        )
        if self._desk.fingerprint(now_offered.info(), request.arguments) != approval.fingerprint:
            raise NotPermitted(
                f"{request.server}/{request.tool} has changed since a person was asked about it",
                "call it again, so that the person sees what it is now",
                {"reason": "changed", "resource_uri": need.resource.uri},
            )
        if known is None:
            known = _Given(Allowed(approval=approval, answer=answer), answered_at)
            self._allowed.setdefault(execution_id, []).append(known)
        options = self._desk.terms(approval, answer)
        if known.ends is not None:  # counted from the answer, also where the right is given a second time
            options = msgspec.structs.replace(options, expires_in=None, expires_at=known.ends)
        return Yes(parse_resource(answer.resource_uri or approval.resource_uri), options)

    def _known(self, execution_id: ExecutionId, needed: Resource) -> _Given | None:
        now = self._clock.now()
        given = self._allowed.get(execution_id, ())
        return next((each for each in given if each.holds(needed, now)), None)

    async def _open(
        self, request: ToolRequest, execution_id: ExecutionId, tool: Tool, need: Need, verdict: Verdict
    ) -> "_Asked":
        """Make a question durable, with its call, so that both outlive the process; then it is seen to."""
        approval = await self._approval(request, execution_id, tool, need, verdict)
        self._desk.terms(approval, Answer(allow=True))
        self._desk.open(approval)
        asked: list[SessionEvent] = [ApprovalAsked(timestamp=approval.asked_at, approval=approval)]
        if not request.detached and request.call is None:  # else it is in the journal
            queued = ExecutionChanged(
                timestamp=approval.asked_at,
                execution_id=execution_id,
                session_id=request.session_id,
                principal_id=request.principal_id,
                status="queued",
                call=request.noted(),
            )
            asked.insert(0, queued)
        try:
            await self._sessions.add(request.session_id, *asked)
        except BaseException:
            self._desk.answer(approval.id, Answer(allow=False, reason="it could not be recorded"), SYSTEM)
            raise
        return _Asked(approval, self._attend(request, approval))

    def is_durable(self, approval_id: ApprovalId) -> bool:
        """Whether a question is in the journal, so that it outlives the process."""
        return approval_id in self._waiting

    def _attend(self, request: ToolRequest, approval: Approval) -> asyncio.Task[Answer]:
        task = asyncio.get_running_loop().create_task(self._answer(request, approval))
        self._waiting[approval.id] = task
        task.add_done_callback(lambda done: self._attended(approval.id, done))
        return task

    def _attended(self, approval_id: ApprovalId, done: asyncio.Task[Answer]) -> None:
        self._waiting.pop(approval_id, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("the answer to %s could not be recorded yet: %s", approval_id, error)

    async def _answer_to(self, asked: "_Asked") -> Answer:
        try:
            return await asyncio.shield(asked.answer)
        except asyncio.CancelledError:
            if not self._stopping:
                await asyncio.shield(self._withdraw(asked.approval))
            raise

    async def _withdraw(self, approval: Approval) -> None:
        with suppress(UmbrellaError):  # answered in this moment; or the session owes it
            await self.answer(approval.id, Answer(allow=False, reason="the call was cancelled"), SYSTEM)

    async def _approval(
        self,
        request: ToolRequest,
        execution_id: ExecutionId,
        tool: Tool,
        need: Need,
        verdict: Verdict,
    ) -> Approval:
        needed = need.resource
        now = (
            self._clock.now()
        )  # before the look at what it would change, which is not older than the question
        shown = await self._showing.of(request, tool, needed)
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
            effect=shown.effect,
            touches=shown.touches,
            agent_name=shown.agent_name,
            preview=shown.preview,
            precedent=shown.precedent,
            # what an agent may hand on is never more than it asked for
            suggestions=[] if need.depth else shown.suggestions,
            hands_on=bool(need.depth),
        )

    def _person(self, request: ToolRequest) -> PrincipalId:
        return self._sessions.get(request.session_id).created_by

    async def _answer(self, request: ToolRequest, approval: Approval) -> Answer:
        """Wait for the answer; it is in the journal, and a "never" remembered, when this returns."""
        answer, by = await self._desk.wait(approval.id)
        try:
            if not answer.allow and answer.remember == "always":
                person, reason = self._person(request), answer.reason
                await self._book.remember(person, request.server, request.tool, request.arguments, reason, by)
        finally:
            await self._record(approval.session_id, approval.id, answer, by)
        if not answer.allow:
            await self._book.note_no(approval, by, answer.reason)
        return answer

    async def _record(
        self, session_id: SessionId, approval_id: ApprovalId, answer: Answer, by: PrincipalId
    ) -> None:
        event = ApprovalAnswered(timestamp=self._clock.now(), approval_id=approval_id, answer=answer, by=by)
        await self._sessions.add(session_id, event)
