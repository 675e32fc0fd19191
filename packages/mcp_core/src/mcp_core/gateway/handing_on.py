"""Whether somebody may hand on a right: judged and on record like the use of one, but no use of it.

Whoever gives a task needs each right that goes with it in a form that can be handed on. That it is limited is no
obstacle: whoever gets it is limited likewise. A right for so many uses loses none by it; they are for whoever uses it.

A right that is given for this is marked, and allows whoever hands it on no use. One that a person allowed once is for
the call that asked, and for no other.
"""

from typing import Any

import msgspec

from mcp_core.gateway.delegation import held_to_hand_on
from mcp_core.gateway.tool_book import AuditNotes
from mcp_interface.approval import HANDING_ON
from mcp_interface.capability import Context, Grant, GrantOptions, Need, SecurityKernel, Verdict
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import PrincipalId


async def judge_handing_on(
    kernel: SecurityKernel,
    audit: AuditNotes,
    principal: PrincipalId,
    need: Need,
    context: Context,
    given: Grant | None = None,
) -> Verdict:
    """The verdict on a need that asks for a right that can be handed on; on record when this returns.

    What was given for this very call is looked at as well: a right that is to be handed on once.

    As with the kernel's own judgements, a failure to record is a verdict `security_error`.
    """
    verdict = held_to_hand_on(kernel, principal, need.resource, need.depth, given) or Verdict(
        allowed=False,
        reason="no_capability",
        message=f"{principal} holds no right on {need.resource.uri} that it could hand on",
        needed=need.resource.uri,
    )
    details: dict[str, Any] = {"note": f"{context.note}, to hand it on"}
    if verdict.capability_id is not None:
        details["capability_id"] = verdict.capability_id
    try:
        entry = await audit.append(
            kind="access_allowed" if verdict.allowed else "access_denied",
            principal_id=principal,
            resource_uri=need.resource.uri,
            decision="allowed" if verdict.allowed else "denied",
            reason=verdict.reason,
            session_id=context.session_id,
            details=details,
        )
    except UmbrellaError as error:
        return msgspec.structs.replace(
            verdict, allowed=False, reason="security_error", message=f"it could not be recorded: {error}"
        )
    return msgspec.structs.replace(verdict, audit_seq=entry.seq)


def to_hand_on(options: GrantOptions, need: Need) -> GrantOptions:
    """The terms of a right that is given for a need.

    One that is to be handed on is not bound to the arguments with which it is handed on, nor to one use: those
    would bind whoever gets it. It keeps its end. It is marked, so that whoever hands it on cannot use it.
    """
    if not need.depth:
        return options
    kept = {
        name: limit for name, limit in options.constraints.items() if name not in {"max_uses", "arguments"}
    }
    marked = {**options.metadata, "for": HANDING_ON}
    return msgspec.structs.replace(options, delegation_depth=need.depth, constraints=kept, metadata=marked)
