"""The way of every tool call: judged, asked about if need be, journaled, run, journaled.

The order is the promise: a denial, the gate's too, is audited before the caller hears of it; an allow is audited and the
start is in the journal before the tool begins; the end is in the journal before the caller gets the result.
"""

import asyncio
import shlex
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.asking import Questions
from mcp_core.gateway.delegation import delegate_from_holdings, designate, withdraw
from mcp_core.gateway.policy import Decision, decide
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.tool_book import AuditNotes, ToolBook
from mcp_core.gateway.toolbox import RemoteTool, Toolbox
from mcp_interface.address import Resource
from mcp_interface.capability import Context, Grant, GrantOptions, Need, SecurityKernel, Verdict
from mcp_interface.client import Passing, ToolProgress
from mcp_interface.clock import Clock, Entropy
from mcp_interface.codec import encode_json
from mcp_interface.commands import CallOutcome
from mcp_interface.errors import (
    DeadlineExceeded,
    Interrupted,
    InvalidRecord,
    NotFound,
    NotPermitted,
    OurBug,
    UmbrellaError,
    WorldBroken,
)
from mcp_interface.events import ExecutionChanged, ToolCall
from mcp_interface.execution import REASON_CANCELLED
from mcp_interface.ids import ExecutionId, PrincipalId, new_id
from mcp_interface.session import Session, check_open
from mcp_interface.telemetry import Telemetry
from mcp_interface.tool import Tool, ToolContext, ToolResult
from mcp_interface.trace import current_trace_id

BY_PROFILE = "profile "
"""How the metadata of a right begins that a session's profile gave, and takes back when it is changed."""
_THIS_CALL = GrantOptions(expires_in=timedelta(minutes=1), delegation_depth=0, constraints={"max_uses": 1})
"""Of what a person names by calling: it ends with the call, and by itself if the node does not live to see that."""
MAX_RESULT = 4 * 1024 * 1024
"""Bytes of a result that are journaled and handed on; the frames that carry it hold 16 MiB."""


class Guard:
    """Runs tool calls on behalf of principals."""

    def __init__(
        self,
        kernel: SecurityKernel,
        questions: Questions,
        toolbox: Toolbox,
        book: ToolBook,
        audit: AuditNotes,
        sessions: Sessions,
        telemetry: Telemetry,
        clock: Clock,
        entropy: Entropy,
        publish: Callable[[Passing], None],
        call_timeout_s: float,
        is_active: Callable[[PrincipalId], bool],
    ) -> None:
        self._kernel = kernel
        self._questions = questions
        self._toolbox = toolbox
        self._book = book
        self._audit = audit
        self._sessions = sessions
        self._telemetry = telemetry
        self._clock = clock
        self._entropy = entropy
        self._publish = publish
        self._call_timeout = call_timeout_s
        self._is_active = is_active
        self._locks: WeakValueDictionary[PrincipalId, asyncio.Lock] = WeakValueDictionary()
        self._named: dict[ExecutionId, list[Grant]] = {}
        self._stopping = False

    def stop(self) -> None:
        """From now on a call that is cut off is so by the stop of the node: nobody has cancelled it."""
        self._stopping = True

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
            await withdraw(self._kernel, self._named.pop(execution_id, []))

    async def _run(self, request: ToolRequest, execution_id: ExecutionId) -> CallOutcome:
        call = ToolCall(
            server=request.server,
            tool=request.tool,
            arguments=request.arguments,
            tool_use_id=request.tool_use_id,
        )
        timeout = request.timeout_s or self._toolbox.timeout(request.server) or self._call_timeout
        request = msgspec.structs.replace(request, timeout_s=timeout)
        try:
            check_open(self._sessions.get(request.session_id))  # before anybody is asked or anything granted
            tool = await self._toolbox.find(request.server, request.tool, timeout)
            external = request.server not in self._toolbox.builtin
            if external:
                await self._book.check(tool.info(), request.principal_id, request.session_id)
            tool.validate_args(request.arguments)
            await self._questions.refuse_what_was_refused(request)
            verdicts = [
                await self._obtain(request, execution_id, tool, need)
                for need in tool.needs(request.arguments)
            ]
            if external and verdicts:
                await self._book.settle(tool.info(), request.principal_id, request.session_id)
            await self._questions.refuse_what_was_refused(request)
        except asyncio.CancelledError:
            error = not_begun(request, stopping=self._stopping)
            await asyncio.shield(self._note(request, execution_id, "failed", call=call, error=error))
            raise
        except UmbrellaError as error:
            await self._note(request, execution_id, "failed", call=call, error=error)
            raise
        if not verdicts:
            raise OurBug(f"{request.server}/{request.tool} names no right that it needs")
        granted = msgspec.structs.replace(
            call, capability_id=verdicts[0].capability_id, audit_seq=verdicts[0].audit_seq
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

        async def report(progress: float, message: str) -> None:
            self._publish(
                ToolProgress(
                    session_id=request.session_id,
                    execution_id=execution_id,
                    progress=min(100.0, max(0.0, progress)),
                    message=message,
                )
            )

        context = ToolContext(
            execution_id=execution_id,
            principal_id=request.principal_id,
            session_id=request.session_id,
            verdicts=verdicts,
            progress=report,
        )
        untold: ToolCall | None = call
        try:
            await self._note(request, execution_id, "started", call=call)
            untold = None
            self._telemetry.emit("mcp.tool.start", {}, names)
            result = await self._bounded(
                tool, request, context, partial(self._require_still, request, verdicts)
            )
        except asyncio.CancelledError:
            cut_off = self._cut_off(request)
            await asyncio.shield(self._note(request, execution_id, "failed", call=untold, error=cut_off))
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
            result = bounded(result)
            await self._note(request, execution_id, "completed", result=result)
        except InvalidRecord as error:
            broken = WorldBroken(
                f"{request.server}/{request.tool} answered with something that is not data: {error.message}",
                "it has taken effect; report it to whoever makes the server",
            )
            await self._note(request, execution_id, "failed", error=broken)
            raise broken from error
        return result

    def _require_still(self, request: ToolRequest, verdicts: list[Verdict]) -> None:
        """Return if what allowed a call still does: minutes may have passed since, over a question or a dead link.

        Raises:
            NotPermitted: A right has ended, or the agent; uses do not count, this call has had its own.
        """
        ended = "" if self._is_active(request.principal_id) else f"{request.principal_id} has ended"
        for verdict in verdicts:
            try:
                if verdict.capability_id is None:
                    raise NotFound("an allow names no right", "report it")
                self._kernel.handle_of(verdict.capability_id, request.principal_id)
            except NotFound:
                ended = ended or f"the right {verdict.capability_id} has ended"
        if ended:
            raise NotPermitted(
                f"{request.server}/{request.tool} was allowed, but {ended} before it began",
                "call it again, so that it is judged by what is held now",
                {"reason": "capability_revoked", "principal_id": request.principal_id},
            )

    async def _bounded(
        self, tool: Tool, request: ToolRequest, context: ToolContext, last_look: Callable[[], None]
    ) -> ToolResult:
        if isinstance(tool, RemoteTool):
            tool = tool.with_last_look(last_look)
        try:
            async with asyncio.timeout(request.timeout_s):
                last_look()  # and no wait before the tool has the call
                return await tool.execute(request.arguments, context)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{request.server}/{request.tool} did not end within {request.timeout_s} s",
                "give it more time with --timeout",
            ) from error
        except (UmbrellaError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise OurBug(f"{request.server}/{request.tool} failed unexpectedly: {error!r}"[:500]) from error

    async def _obtain(
        self, request: ToolRequest, execution_id: ExecutionId, tool: Tool, need: Need
    ) -> Verdict:
        """Return an allow, by what is held or by what profile or person add; or raise."""
        needed = need.resource
        context = Context(
            session_id=request.session_id,
            trace_id=current_trace_id(),
            note=f"{request.server}/{request.tool}",
        )
        # what a person calls by name is named by them; an agent's principal is never a person
        named = await designate(self._kernel, request.principal_id, needed, _THIS_CALL)
        if named is not None:
            self._named.setdefault(execution_id, []).append(named)
        handle = None if named is None else named.handle
        async with self._judging(request.principal_id):
            verdict = await self._kernel.authorize(request.principal_id, needed, context, handle, need.facts)
        if verdict.allowed:
            return verdict
        session = self._sessions.get(request.session_id)
        decision = decide(session, tool.info(), needed) if request.may_ask else Decision.DENY
        if decision is Decision.DENY or verdict.reason == "security_error":
            raise denial(request.principal_id, needed, verdict)
        if decision is Decision.GRANT:
            options = GrantOptions(delegation_depth=0, metadata={"by": f"{BY_PROFILE}{session.profile}"})
        else:
            options = await self._questions.ask(request, execution_id, tool, need, verdict)
        if not self._is_active(request.principal_id):
            raise denial(request.principal_id, needed, verdict)
        in_person = decision is Decision.ASK  # who was asked has seen and named it; the profile has not
        return await self._grant(request, need, context, session, options, in_person)

    async def _grant(
        self,
        request: ToolRequest,
        need: Need,
        context: Context,
        session: Session,
        options: GrantOptions,
        in_person: bool,
    ) -> Verdict:
        """Hand over the missing right and use it at once, so that no call beside this one uses it up."""
        principal, needed = request.principal_id, need.resource
        async with self._judging(principal):
            grant = await delegate_from_holdings(
                self._kernel, session.created_by, principal, needed, options, in_person=in_person
            )
            try:
                verdict = await self._kernel.authorize(principal, needed, context, grant.handle, need.facts)
                given = str(options.metadata.get("by", "")).startswith(BY_PROFILE)
                changed = given and self._sessions.get(request.session_id).profile != session.profile
                if changed or not verdict.allowed:
                    raise denial(principal, needed, verdict)
            except BaseException:
                await withdraw(self._kernel, [grant])
                raise
        return verdict

    def _judging(self, principal: PrincipalId) -> asyncio.Lock:
        """One judgement at a time for each principal; those of different ones share their disk syncs."""
        lock = self._locks.get(principal)
        if lock is None:
            lock = self._locks[principal] = asyncio.Lock()
        return lock

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


def not_begun(request: ToolRequest, *, stopping: bool) -> Interrupted:
    """The error of a call that was cut off before its tool had it, by somebody or by the stop of the node."""
    name = f"{request.server}/{request.tool}"
    if stopping:
        return Interrupted(f"the node stopped before {name} began", "it has had no effect; call it again")
    reason = {"reason": REASON_CANCELLED}
    return Interrupted(f"{name} was cancelled before it began", "it has had no effect", reason)


def bounded(result: ToolResult) -> ToolResult:
    """Cut a result that is too large to be kept, and say so in it.

    Raises:
        InvalidRecord: It is not data.
    """
    size = len(encode_json(result))
    if size <= MAX_RESULT:
        return result
    text = result.text.encode()[: MAX_RESULT // 4].decode(errors="ignore")
    note = f"[cut: the result had {size} bytes, at most {MAX_RESULT} are kept]"
    return msgspec.structs.replace(
        result, content=[{"type": "text", "text": text}, {"type": "text", "text": note}], structured=None
    )


def denial(principal: PrincipalId, needed: Resource, verdict: Verdict) -> NotPermitted:
    """The error of a denied access, with the exact grant that would allow it.

    Where only a limit stands in the way, a grant without it would be far more than was asked for.
    """
    grant = f"umbrella grant {principal} {shlex.quote(verdict.needed or needed.uri)}"
    limited = verdict.reason in {"constraint_violated", "uses_exhausted"}
    if limited:
        grant += " --uses 1"
    return NotPermitted(
        verdict.message,
        f"keep to the limit, or allow it once: {grant}" if limited else grant,
        {
            "reason": verdict.reason,
            "principal_id": principal,
            "resource_uri": needed.uri,
            "grant": grant,
            "nearest": verdict.covering,
            "audit_seq": verdict.audit_seq,
        },
    )
