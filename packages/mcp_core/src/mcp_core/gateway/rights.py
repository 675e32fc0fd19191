"""How a call comes by its rights: by what is held, by what its person names, by the profile of its session, by an answer."""

import asyncio
import shlex
from collections.abc import Callable
from datetime import timedelta
from weakref import WeakValueDictionary

import msgspec

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.asking import Approving, Yes
from mcp_core.gateway.delegation import (
    delegate_from_holdings,
    designate,
    is_to_hand_on_once,
    withdraw,
    without_heirs,
)
from mcp_core.gateway.handing_on import judge_handing_on, to_hand_on
from mcp_core.gateway.policy import Decision, decide
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.tool_book import AuditNotes
from mcp_interface.address import Resource
from mcp_interface.capability import Context, Grant, GrantOptions, Need, SecurityKernel, Verdict
from mcp_interface.errors import NotFound, NotPermitted
from mcp_interface.ids import ExecutionId, PrincipalId
from mcp_interface.session import Session
from mcp_interface.tool import Tool
from mcp_interface.trace import current_trace_id

BY_PROFILE = "profile "
"""How the metadata of a right begins that a session's profile gave, and takes back when it is changed."""
_THIS_CALL = GrantOptions(expires_in=timedelta(minutes=1), delegation_depth=0, constraints={"max_uses": 1})
"""Of what a person names by calling: it ends with the call, and by itself if the node does not live to see that."""


class Rights:
    """Obtains the rights of calls, one judgement at a time for each principal.

    Args:
        kernel: Judges.
        approving: Asks people.
        sessions: Say under which profile a call is made, and for whom.
        audit: Keeps what is judged beside the kernel.
        is_active: Whether a principal has not ended.
    """

    def __init__(
        self,
        kernel: SecurityKernel,
        approving: Approving,
        sessions: Sessions,
        audit: AuditNotes,
        is_active: Callable[[PrincipalId], bool],
    ) -> None:
        self._kernel = kernel
        self._approving = approving
        self._sessions = sessions
        self._audit = audit
        self.is_active = is_active
        self._locks: WeakValueDictionary[PrincipalId, asyncio.Lock] = WeakValueDictionary()
        self._named: dict[ExecutionId, list[Grant]] = {}
        self._to_hand_on: dict[ExecutionId, list[Grant]] = {}
        """What a person allowed a call to hand on, once."""

    async def give_back(self, execution_id: ExecutionId) -> None:
        """Withdraw what a person named for one call that has ended, or let it hand on once and it has not.

        What it has handed on ends with the task that it was for. Harmless when repeated.
        """
        named, once = self._named.pop(execution_id, []), self._to_hand_on.pop(execution_id, [])
        await withdraw(self._kernel, named + without_heirs(self._kernel, once))

    def require(self, request: ToolRequest, verdicts: list[Verdict]) -> None:
        """Return if what allowed a call still does: minutes may have passed since, over a question or a dead link.

        Raises:
            NotPermitted: A right has ended, or the agent; uses do not count, this call has had its own.
        """
        ended = "" if self.is_active(request.principal_id) else f"{request.principal_id} has ended"
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

    async def had(self, request: ToolRequest, need: Need) -> Verdict | None:
        """The allow of a call that an earlier process began, if the right that it had its use of still holds.

        Judged by what is true now, and on record; but its use is not counted a second time.
        """
        call = request.call
        if call is None or call.capability_id is None or not request.left.began:
            return None
        principal = request.principal_id
        try:
            handle = self._kernel.handle_of(call.capability_id, principal)
        except NotFound:
            return None
        verdict = self._kernel.validate(handle, principal, need.resource, need.facts)
        if not verdict.allowed and verdict.reason != "uses_exhausted":
            return None
        entry = await self._audit.append(
            kind="access_allowed",
            principal_id=principal,
            resource_uri=need.resource.uri,
            decision="allowed",
            reason="allowed",
            session_id=request.session_id,
            details={
                "note": f"{request.server}/{request.tool}",
                "capability_id": call.capability_id,
                "taken_up": request.execution_id,
                "allowed_by": call.audit_seq,
            },
        )
        return msgspec.structs.replace(
            verdict, allowed=True, reason="allowed", capability_id=call.capability_id, audit_seq=entry.seq
        )

    async def obtain(
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
        named = (
            None if need.depth else await designate(self._kernel, request.principal_id, needed, _THIS_CALL)
        )
        if named is not None:
            self._named.setdefault(execution_id, []).append(named)
        async with self._judging(request.principal_id):
            verdict = await self._judge(request.principal_id, need, context, named)
        if verdict.allowed:
            return verdict
        session = self._sessions.get(request.session_id)
        decision = decide(session, tool.info(), needed) if request.may_ask else Decision.DENY
        if decision is Decision.DENY or verdict.reason == "security_error":
            raise denial(request.principal_id, needed, verdict)
        if decision is Decision.GRANT:
            options = GrantOptions(
                delegation_depth=need.depth, metadata={"by": f"{BY_PROFILE}{session.profile}"}
            )
            yes = Yes(needed, options)
        else:
            yes = await self._approving.ask(request, execution_id, tool, need, verdict)
        if not self.is_active(request.principal_id):
            raise denial(request.principal_id, needed, verdict)
        in_person = decision is Decision.ASK  # who was asked has seen and named it; the profile has not
        return await self._grant(request, execution_id, need, context, session, yes, in_person)

    async def _grant(
        self,
        request: ToolRequest,
        execution_id: ExecutionId,
        need: Need,
        context: Context,
        session: Session,
        yes: Yes,
        in_person: bool,
    ) -> Verdict:
        """Hand over the missing right, or the wider one of a yes, and use it at once.

        At once, so that no call beside this one uses it up. One that is wider but does not cover what is missing,
        or would exceed what the person holds, comes to nothing: the kernel judges both.
        """
        principal, needed, options = request.principal_id, need.resource, to_hand_on(yes.options, need)
        async with self._judging(principal):
            grant = await delegate_from_holdings(
                self._kernel, session.created_by, principal, yes.resource, options, in_person=in_person
            )
            try:
                verdict = await self._judge(principal, need, context, grant)
                given = str(yes.options.metadata.get("by", "")).startswith(BY_PROFILE)
                changed = given and self._sessions.get(request.session_id).profile != session.profile
                if changed or not verdict.allowed:
                    raise denial(principal, needed, verdict)
            except BaseException:
                await withdraw(self._kernel, [grant])
                raise
        if is_to_hand_on_once(grant.capability):
            self._to_hand_on.setdefault(execution_id, []).append(grant)
        return verdict

    async def _judge(
        self, principal: PrincipalId, need: Need, context: Context, given: Grant | None
    ) -> Verdict:
        """Judge a use, or that a right may be handed on, which is none."""
        if need.depth:
            return await judge_handing_on(self._kernel, self._audit, principal, need, context, given)
        handle = None if given is None else given.handle
        return await self._kernel.authorize(principal, need.resource, context, handle, need.facts)

    def _judging(self, principal: PrincipalId) -> asyncio.Lock:
        """One judgement at a time for each principal; those of different ones share their disk syncs."""
        lock = self._locks.get(principal)
        if lock is None:
            lock = self._locks[principal] = asyncio.Lock()
        return lock


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
