"""The way of every tool call: judged, asked about if need be, journaled, run, journaled.

The order is the promise: a denial, the gate's too, is audited before the caller hears of it; an allow is audited and the
start is in the journal before the tool begins; the end is in the journal before the caller gets the result.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.asking import Approving
from mcp_core.gateway.oversize import set_aside
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.rights import Rights
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.talking import Aside, Talk
from mcp_core.gateway.tool_book import AuditNotes, ToolBook
from mcp_core.gateway.toolbox import RemoteTool, Toolbox
from mcp_interface.capability import SecurityKernel, Verdict
from mcp_interface.client import Passing
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import CallOutcome
from mcp_interface.errors import (
    DeadlineExceeded,
    Interrupted,
    InvalidRecord,
    NotPermitted,
    OurBug,
    UmbrellaError,
    WorldBroken,
)
from mcp_interface.events import ExecutionChanged, ToolCall
from mcp_interface.execution import REASON_CANCELLED
from mcp_interface.ids import ExecutionId, PrincipalId, new_id
from mcp_interface.session import check_open
from mcp_interface.telemetry import Telemetry
from mcp_interface.tool import Tool, ToolResult

LATE_S = 5.0
"""Seconds that an MCP server's connection has to let go of a call at its deadline, before the guard cuts it off."""


class Guard:
    """Runs tool calls on behalf of principals."""

    def __init__(
        self,
        kernel: SecurityKernel,
        approving: Approving,
        questions: OpenQuestions,
        toolbox: Toolbox,
        book: ToolBook,
        audit: AuditNotes,
        sessions: Sessions,
        telemetry: Telemetry,
        clock: Clock,
        entropy: Entropy,
        publish: Callable[[Passing], None],
        aside: Aside,
        keep_whole: Callable[[PrincipalId, bytes, str], Awaitable[str]],
        call_timeout_s: float,
        is_active: Callable[[PrincipalId], bool],
    ) -> None:
        self._kernel = kernel
        self._approving = approving
        self._questions = questions
        self._toolbox = toolbox
        self._book = book
        self._audit = audit
        self._sessions = sessions
        self._telemetry = telemetry
        self._clock = clock
        self._entropy = entropy
        self._publish = publish
        self._aside = aside
        self._keep_whole = keep_whole
        self._call_timeout = call_timeout_s
        self._rights = Rights(kernel, approving, sessions, audit, is_active)
        self._stopping = False

    def stop(self) -> None:
        """From now on a call that is cut off is so by the stop of the node: nobody has cancelled it."""
        self._stopping = True
        self._approving.stop()
        self._questions.stop()

    def reopen(self, execution_id: ExecutionId, request: ToolRequest) -> None:
        """Let people answer what a call had asked them in an earlier process."""
        self._approving.reopen(execution_id, request)
        self._questions.reopen(execution_id, request)

    async def recall(self, execution_id: ExecutionId, request: ToolRequest) -> ToolRequest:
        """Wait until people have answered what a call had asked them in an earlier process; it takes no turn for that.

        Raises:
            Interrupted: Nobody wants it to be sent again; it is in the journal.
            UmbrellaError: As `OpenQuestions.recall`; it is in the journal.
        """
        left = request.left
        try:
            responses = await self._questions.recall(execution_id, request)
            if left.open and not left.handle:
                state = await self._sessions.state(request.session_id)
                running = state.running.get(execution_id)
                if running is not None and running.left.again == "declined":
                    raise self._not_again(request)
        except asyncio.CancelledError:
            await self._end_cut_off(request, execution_id, self._cut_off(request))
            raise
        except UmbrellaError as error:
            await self._note(request, execution_id, "failed", error=error)
            raise
        again = "accepted" if left.open and not left.handle else left.again
        left = msgspec.structs.replace(left, open=[], responses=responses, again=again)
        return msgspec.structs.replace(request, left=left)

    async def let_go(self, execution_id: ExecutionId) -> None:
        """Withdraw what is still asked for a call that has ended."""
        await self._approving.let_go(execution_id)
        await self._questions.withdraw(execution_id=execution_id)

    async def run(self, request: ToolRequest) -> CallOutcome:
        """Run one tool call through the whole path.

        Raises:
            NotFound: No such server or tool.
            CallerMistaken: The arguments do not fit.
            NotPermitted: A right is missing; the remedy is the grant that would help. Or the tool is not what it
                was, or a person said no.
            Interrupted: The server died, or the call was cancelled, while it ran.
            UmbrellaError: Whatever else went wrong; it is in the journal too.
        """
        execution_id = request.execution_id or ExecutionId(new_id("exec", self._entropy))
        try:
            return await self._run(request, execution_id)
        finally:
            await self._rights.give_back(execution_id)
            await self.let_go(execution_id)

    async def _run(self, request: ToolRequest, execution_id: ExecutionId) -> CallOutcome:
        call = request.noted()
        timeout = request.timeout_s or self._toolbox.timeout(request.server) or self._call_timeout
        request = msgspec.structs.replace(request, timeout_s=timeout)
        try:
            session = self._sessions.get(request.session_id)
            check_open(session)  # before anybody is asked or anything granted
            tool = await self._toolbox.find(request.server, request.tool, timeout, session.created_by)
            external = request.server not in self._toolbox.builtin
            if external:
                await self._book.check(tool.info(), request.principal_id, request.session_id)
            tool.validate_args(request.arguments)
            self._require_repeatable(request, tool)
            await self._approving.refuse_what_was_refused(request)
            verdicts: list[Verdict] = []
            for need in tool.needs(request.arguments):
                had = None if verdicts else await self._rights.had(request, need)
                verdicts.append(had or await self._rights.obtain(request, execution_id, tool, need))
            if external and verdicts:
                await self._book.settle(tool.info(), request.principal_id, request.session_id)
            await self._approving.refuse_what_was_refused(request)
        except asyncio.CancelledError:
            began = request.left.began
            error = self._cut_off(request) if began else not_begun(request, stopping=self._stopping)
            await self._end_cut_off(request, execution_id, error, call)
            raise
        except UmbrellaError as error:
            await self._note(request, execution_id, "failed", call=call, error=error)
            raise
        if not verdicts:
            raise OurBug(f"{request.server}/{request.tool} names no right that it needs")
        granted = msgspec.structs.replace(
            call,
            capability_id=verdicts[0].capability_id,
            audit_seq=verdicts[0].audit_seq,
            repeatable=is_repeatable(tool),
        )
        return await self._execute(request, execution_id, tool, granted, verdicts)

    async def _execute(
        self,
        request: ToolRequest,
        execution_id: ExecutionId,
        tool: Tool,
        call: ToolCall,
        verdicts: list[Verdict],
    ) -> CallOutcome:
        names = {
            "server": request.server,
            "tool": request.tool,
            "principal_id": request.principal_id,
            "execution_id": execution_id,
        }
        began = self._clock.monotonic()

        talk = Talk(
            request,
            execution_id,
            self._questions,
            self._sessions,
            self._publish,
            self._clock,
            self._aside,
            partial(self._judge_anew, request, execution_id, tool, verdicts),
        )
        untold: ToolCall | None = call
        try:
            await self._note(request, execution_id, "started", call=call)
            untold = None
            self._telemetry.emit("mcp.tool.start", {}, names)
            result = await self._bounded(
                tool, request, talk, verdicts, partial(self._rights.require, request, verdicts)
            )
        except asyncio.CancelledError:
            await self._end_cut_off(request, execution_id, self._cut_off(request), untold)
            raise
        except UmbrellaError as error:
            duration = self._clock.monotonic() - began
            self._telemetry.emit(
                "mcp.tool.exception", {"duration_s": duration}, {**names, "code": error.code}
            )
            await self._note(request, execution_id, "failed", call=untold, error=error)
            if isinstance(error, NotPermitted):
                await self._note_refusal(request, tool, call, error)
            raise
        duration = self._clock.monotonic() - began
        self._telemetry.emit("mcp.tool.stop", {"duration_s": duration}, names)
        # shielded: what has come to its end is journaled so, also when it is cancelled in this moment
        result = await asyncio.shield(self._keep(request, execution_id, result))
        return CallOutcome(
            execution_id=execution_id,
            session_id=request.session_id,
            result=result,
            duration_ms=round(duration * 1000, 3),
            capability_id=verdicts[0].capability_id,
        )

    def _cut_off(self, request: ToolRequest) -> Interrupted:
        name = f"{request.server}/{request.tool}"
        if self._stopping:
            return Interrupted(
                f"the node stopped while {name} was running",
                "it may or may not have taken effect; look before calling it again",
            )
        reason = {"reason": REASON_CANCELLED}
        return Interrupted(f"{name} was cancelled", "it may have taken effect already", reason)

    def _not_again(self, request: ToolRequest) -> Interrupted:
        return Interrupted(
            f"{request.server}/{request.tool} was asking when the node stopped, and nobody wants it sent again",
            "it may or may not have taken effect; look before calling it again",
        )

    async def _end_cut_off(
        self,
        request: ToolRequest,
        execution_id: ExecutionId,
        error: Interrupted,
        call: ToolCall | None = None,
    ) -> None:
        """Record the end of a call that was cut off, unless the node stops and the next process takes it up."""
        await asyncio.shield(asyncio.ensure_future(self._end_unless_left(request, execution_id, error, call)))

    async def _end_unless_left(
        self, request: ToolRequest, execution_id: ExecutionId, error: Interrupted, call: ToolCall | None
    ) -> None:
        if self._stopping:
            with suppress(UmbrellaError):
                state = await self._sessions.state(request.session_id)
                running = state.running.get(execution_id)
                if state.takes_up and running is not None and running.goes_on:
                    return
        await self._note(request, execution_id, "failed", call=call, error=error)

    async def _note_refusal(
        self, request: ToolRequest, tool: Tool, call: ToolCall, error: NotPermitted
    ) -> None:
        """Put on record that a gate refused what had been allowed: a link led away, an address was not public."""
        await self._audit.append(
            kind="access_denied",
            principal_id=request.principal_id,
            resource_uri=tool.needs(request.arguments)[0].resource.uri,
            decision="denied",
            reason=str(error.details.get("reason", "denied")),
            session_id=request.session_id,
            details={
                "note": f"{request.server}/{request.tool}",
                "allowed_by": call.audit_seq,
                "refused_by": "gate",
                "why": error.message[:500],
            },
        )

    async def _keep(self, request: ToolRequest, execution_id: ExecutionId, result: ToolResult) -> ToolResult:
        """Record the end of a call that gave a result; answers the result as recorded."""
        try:
            whose = partial(self._keep_whole, self._sessions.get(request.session_id).created_by)
            result = await set_aside(result, whose, f"{request.server}/{request.tool}")
            await self._note(request, execution_id, "completed", result=result)
        except InvalidRecord as error:
            broken = WorldBroken(
                f"{request.server}/{request.tool} answered with something that is not data: {error.message}",
                "it has taken effect; report it to whoever makes the server",
            )
            await self._note(request, execution_id, "failed", error=broken)
            raise broken from error
        return result

    async def _bounded(
        self,
        tool: Tool,
        request: ToolRequest,
        talk: Talk,
        verdicts: list[Verdict],
        last_look: Callable[[], None],
    ) -> ToolResult:
        seconds = request.timeout_s
        if isinstance(tool, RemoteTool):
            tool = tool.with_last_look(last_look)
            if seconds is not None:  # its own deadline is first: what it cuts off counts against the server
                seconds += LATE_S
        talk.seconds = seconds
        try:
            async with asyncio.timeout(seconds) as talk.deadline:
                last_look()  # and no wait before the tool has the call
                try:
                    return await tool.execute(request.arguments, talk.context(verdicts))
                finally:
                    talk.end()
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{request.server}/{request.tool} did not end within {request.timeout_s} s",
                "give it more time with --timeout",
            ) from error
        except (UmbrellaError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise OurBug(f"{request.server}/{request.tool} failed unexpectedly: {error!r}"[:500]) from error

    async def _judge_anew(
        self, request: ToolRequest, execution_id: ExecutionId, tool: Tool, verdicts: list[Verdict]
    ) -> None:
        """Return if a call may go on behind an answer, which may have come after hours; what has ended is obtained anew.

        Raises:
            NotPermitted: It may not.
        """
        try:
            self._rights.require(request, verdicts)
        except NotPermitted:
            if not self._rights.is_active(request.principal_id):
                raise
            needs = tool.needs(request.arguments)
            # in place: the tool's own last look is at these
            verdicts[:] = [await self._rights.obtain(request, execution_id, tool, need) for need in needs]

    def _require_repeatable(self, request: ToolRequest, tool: Tool) -> None:
        """Return unless a call had begun, or its answers were sent, and that is harmless to do again no more.

        Raises:
            Interrupted: It had, and its tool is defined otherwise now.
        """
        left = request.left
        by_itself = left.began and left.again != "accepted" and (not left.handle or left.sent)
        if by_itself and not is_repeatable(tool):
            raise Interrupted(
                f"the node stopped while {request.server}/{request.tool} was running, which cannot be run again "
                "as it is defined now",
                "it may or may not have taken effect; look before calling it again",
            )

    async def _note(
        self,
        request: ToolRequest,
        execution_id: ExecutionId,
        status: Any,
        *,
        call: ToolCall | None = None,
        result: ToolResult | None = None,
        error: UmbrellaError | None = None,
    ) -> None:
        event = ExecutionChanged(
            timestamp=self._clock.now(),
            execution_id=execution_id,
            session_id=request.session_id,
            principal_id=request.principal_id,
            status=status,
            call=call,
            result=result,
            error=None if error is None else error.body(),
        )
        event.validate()
        await self._sessions.add(request.session_id, event)


def is_repeatable(tool: Tool) -> bool:
    """Whether a call of a tool can be run a second time without harm, by what the tool says of itself."""
    info = tool.info()
    return info.read_only or info.idempotent


def not_begun(request: ToolRequest, *, stopping: bool) -> Interrupted:
    """The error of a call that was cut off before its tool had it, by somebody or by the stop of the node."""
    name = f"{request.server}/{request.tool}"
    if stopping:
        return Interrupted(f"the node stopped before {name} began", "it has had no effect; call it again")
    reason = {"reason": REASON_CANCELLED}
    return Interrupted(f"{name} was cancelled before it began", "it has had no effect", reason)
