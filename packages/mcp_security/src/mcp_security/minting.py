"""What a new capability looks like: from what is asked for and, for a child, from its parent. Pure."""

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

from mcp_interface.address import Resource
from mcp_interface.capability import DEFAULT_DEPTH, Capability, GrantOptions, Verdict
from mcp_interface.errors import InvalidRecord, NotPermitted, OurBug
from mcp_interface.ids import CapabilityId, PrincipalId, is_id
from mcp_security.constraints import merge, read
from mcp_security.decision import Right, denial, judge, within
from mcp_security.derivation import Node, attenuates


def root(
    id_: CapabilityId, principal: PrincipalId, resource: Resource, options: GrantOptions, now: datetime
) -> Capability:
    """Draft a root capability.

    Raises:
        NotPermitted: The principal is an agent, or a constraint is unknown.
        InvalidRecord: A rule of `Capability` or of a constraint does not hold.
    """
    if is_id("agent", principal):
        why = "an agent gets rights by delegation, not by asking"
        raise refused(denial(principal, resource, "no_capability", why))
    constraints = read(options.constraints, resource.type)
    depth = DEFAULT_DEPTH if options.delegation_depth is None else options.delegation_depth
    return _checked(
        Capability(
            id=id_,
            resource_uri=resource.uri,
            principal_id=principal,
            granted_at=now,
            expires_at=_expiry(options, now),
            delegation_depth=min(depth, constraints.get("max_delegation_depth", depth)),
            constraints=constraints,
            metadata=dict(options.metadata),
        )
    )


def child(
    id_: CapabilityId,
    parent: Node,
    holder: PrincipalId,
    to: PrincipalId,
    resource: Resource | None,
    options: GrantOptions,
    now: datetime,
) -> Capability:
    """Draft what `holder` hands on to `to`: at most the parent, at most what is asked for.

    Raises:
        NotPermitted: The parent does not hold, its depth is used up, the child would exceed it, or a
            constraint is unknown.
        InvalidRecord: A rule of `Capability` or of a constraint does not hold.
    """
    above = parent.right.capability
    wanted = parent.right.resource if resource is None else resource
    _require_covered(parent, holder, wanted, now)
    constraints = deepcopy(merge(parent.right.rules.limits, options.constraints, wanted.type))
    capability = _checked(
        Capability(
            id=id_,
            resource_uri=wanted.uri,
            principal_id=to,
            granted_at=now,
            expires_at=_expiry(options, now, above.expires_at),
            parent_capability_id=parent.id,
            delegation_depth=_depth(parent, options, constraints),
            constraints=constraints,
            metadata=dict(options.metadata),
        )
    )
    if not attenuates(Right.of(capability), parent.right):
        raise OurBug(f"a child of {parent.id} would have been wider than it", "report it")
    return capability


def refused(verdict: Verdict) -> NotPermitted:
    """Turn a refusal into the error that carries it."""
    details = {"reason": verdict.reason, "grant": verdict.needed or ""}
    return NotPermitted(verdict.message, details=details)


def _require_covered(parent: Node, holder: PrincipalId, wanted: Resource, now: datetime) -> None:
    right = parent.right
    verdict = judge(right, holder, right.resource, now, revoked=not parent.alive(), spent=parent.spent)
    # that limits cut holes into the whole pattern is no obstacle: the merge hands the holes on
    if not verdict.allowed and (verdict.reason != "constraint_violated" or right.fault is not None):
        raise refused(verdict)
    if not within(wanted, right.resource):
        why = f"{parent.id} covers only {right.capability.resource_uri}"
        raise refused(denial(holder, wanted, "path_not_allowed", why, right))


def _checked(capability: Capability) -> Capability:
    capability.validate()
    return capability


def _expiry(options: GrantOptions, now: datetime, above: datetime | None = None) -> datetime | None:
    try:
        ahead = None if options.expires_in is None else now + options.expires_in
    except OverflowError as error:
        raise InvalidRecord(
            "expires_in", "expires_in leads beyond the last year of the calendar", "leave it out for no end"
        ) from error
    if options.expires_at is not None and options.expires_at.tzinfo is None:
        raise InvalidRecord(
            "expires_at", "expires_at has no time zone", "give an instant, in UTC for example"
        )
    asked = [options.expires_at, ahead, above]
    return min((instant for instant in asked if instant is not None), default=None)


def _depth(parent: Node, options: GrantOptions, constraints: Mapping[str, Any]) -> int:
    left = parent.right.capability.delegation_depth - 1
    asked = left if options.delegation_depth is None else options.delegation_depth
    if left < 0 or asked > left:
        raise NotPermitted(
            f"{parent.id} can be handed on {left + 1} more times, which is not enough",
            "delegate from a capability nearer to the root, or ask for less depth",
            {"reason": "delegation_depth_exhausted"},
        )
    return min(asked, int(constraints.get("max_delegation_depth", asked)))
