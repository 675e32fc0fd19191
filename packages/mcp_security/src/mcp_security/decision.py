"""The judgement itself: a right, who asks, for what, when; out comes a verdict. Pure, no I/O, no state.

Order of the questions: not revoked, not expired, the holder asks, same type and operation, path covered,
limits kept. The first "no" is the reason. What is asked for may itself be a pattern; it is allowed only if
all of it is.
"""

from collections.abc import Iterable
from copy import deepcopy
from datetime import datetime
from typing import Self

import msgspec

from mcp_interface.address import Resource, parse_resource
from mcp_interface.capability import Capability, Facts, Reason, Verdict
from mcp_interface.errors import InvalidRecord, NotPermitted
from mcp_interface.ids import PrincipalId
from mcp_security.addresses import keeps_local
from mcp_security.constraints import Question, Rules, compile_rules
from mcp_security.patterns import Paths


def within(inner: Resource, outer: Resource) -> bool:
    """Tell whether everything that `inner` names is also named by `outer`; exact, and so transitive.

    `/tmp/**` names `/tmp` and what is below, never `/tmpfoo`.
    A host near this machine is named by nothing but its own name: no wildcard reaches it, or becomes it when
    it is handed on.
    """
    return (
        inner.type == outer.type
        and inner.operation == outer.operation
        and _included(inner.type, Paths.of(inner.path), Paths.of(outer.path))
    )


def _included(type: str, inner: Paths, outer: Paths) -> bool:
    return outer.includes(inner) and (type != "api" or keeps_local(outer, inner))


class Right(msgspec.Struct, frozen=True):
    """A capability, read once, ready to judge with."""

    capability: Capability
    resource: Resource
    paths: Paths
    rules: Rules
    fault: tuple[Reason, str] | None = None
    """Why its limits cannot be kept, which denies; None when they can."""

    @classmethod
    def of(cls, capability: Capability) -> Self:
        """Read a recorded capability. One with limits that this kernel cannot keep becomes a right that denies."""
        resource = parse_resource(capability.resource_uri)
        rules = Rules()
        fault: tuple[Reason, str] | None = None
        try:
            rules = compile_rules(capability.constraints, resource.type)
        except NotPermitted as error:
            fault = ("unknown_constraint", error.message)
        except InvalidRecord as error:
            fault = ("constraint_violated", error.message)
        return cls(capability, resource, Paths.of(resource.path), rules, fault)

    @property
    def unlimited(self) -> bool:
        """Whether there is nothing to look at beyond holder, end, type, operation and path."""
        return self.fault is None and not self.rules.checks

    def covering(self, resource: Resource) -> str:
        """The root that an allowed action must stay beneath.

        Where limits cut holes into the pattern, it is the very thing that was judged: beneath the whole
        pattern a symbolic link could lead into a hole. What a request to an API is led to is judged again, by
        these limits, so there it is the pattern.
        """
        whole = not self.rules.checks or resource.type == "api"
        return self.capability.resource_uri if whole else resource.uri


def judge(
    right: Right,
    principal: PrincipalId,
    resource: Resource,
    now: datetime,
    *,
    facts: Facts = Facts(),
    revoked: bool = False,
    spent: bool = False,
) -> Verdict:
    """Decide whether one right allows one principal one thing.

    Args:
        right: What is held.
        principal: Who asks.
        resource: What for, concrete or pattern.
        now: The present instant, UTC.
        facts: What the arguments say.
        revoked: Whether it or an ancestor was taken back.
        spent: Whether its uses, or those of an ancestor, are used up.
    """
    refused = _refusal(right, principal, resource, now, facts, revoked, spent)
    if refused is None:
        return allowance(right, resource)
    return denial(principal, resource, *refused, right=right)


def allowance(right: Right, resource: Resource) -> Verdict:
    """Word an allow."""
    capability = right.capability
    return Verdict(
        allowed=True,
        reason="allowed",
        message=f"{capability.principal_id} may: {capability.id} covers {capability.resource_uri}",
        capability_id=capability.id,
        covering=right.covering(resource),
        limits=deepcopy(right.rules.limits),
    )


def denial(
    principal: PrincipalId, resource: Resource, reason: Reason, why: str, right: Right | None = None
) -> Verdict:
    """Word a refusal: what, why, and in `needed` the right that would help."""
    return Verdict(
        allowed=False,
        reason=reason,
        message=f"{principal} may not {resource.operation} {resource.uri}: {why}",
        capability_id=right.capability.id if right else None,
        covering=right.capability.resource_uri if right else None,
        needed=resource.uri,
    )


def nearness(right: Right, resource: Resource) -> tuple[bool, bool, bool, int]:
    """Order rights by how close they come to a resource: type, operation, covered, length of shared path."""
    if right.resource.type != resource.type:
        return False, False, False, 0
    paths = Paths.of(resource.path)
    same_operation = right.resource.operation == resource.operation
    return True, same_operation, _included(resource.type, paths, right.paths), right.paths.shared_with(paths)


def choose(judged: Iterable[tuple[Right, Verdict]], principal: PrincipalId, resource: Resource) -> Verdict:
    """Pick the verdict of several rights: one that allows, unlimited uses first; else the nearest refusal."""
    counted: Verdict | None = None
    nearest: tuple[tuple[bool, bool, bool, int], Verdict] | None = None
    for right, verdict in judged:
        if verdict.allowed and right.rules.max_uses is None and not right.rules.rates:
            return verdict
        if verdict.allowed:
            counted = counted or verdict
        elif counted is None:
            distance = nearness(right, resource)
            if distance[0] and (nearest is None or distance > nearest[0]):
                nearest = (distance, verdict)
    if counted is not None:
        return counted
    if nearest is not None:
        return nearest[1]
    return denial(principal, resource, "no_capability", f"it holds no capability for {resource.type}")


def _refusal(
    right: Right,
    principal: PrincipalId,
    resource: Resource,
    now: datetime,
    facts: Facts,
    revoked: bool,
    spent: bool,
) -> tuple[Reason, str] | None:
    capability = right.capability
    if revoked:
        return "capability_revoked", f"{capability.id} was revoked"
    if capability.expires_at is not None and now >= capability.expires_at:
        return "expired", f"{capability.id} expired at {capability.expires_at.isoformat()}"
    if principal != capability.principal_id:
        return "wrong_principal", f"{capability.id} belongs to somebody else"
    outside = _outside(right, resource, now, facts)
    if outside is None and spent:
        return "uses_exhausted", f"the uses of {capability.id} are used up"
    return outside


def _outside(right: Right, resource: Resource, now: datetime, facts: Facts) -> tuple[Reason, str] | None:
    """Why a right does not reach as far as an action, whoever asks."""
    capability = right.capability
    if right.resource.type != resource.type or right.resource.operation != resource.operation:
        return "resource_mismatch", f"{capability.id} is for {capability.resource_uri}"
    paths = Paths.of(resource.path)
    if not _included(resource.type, paths, right.paths):
        return "path_not_allowed", f"{capability.id} covers only {capability.resource_uri}"
    if right.fault is not None:
        return right.fault
    question = Question(resource, paths, facts, now)
    for check in right.rules.checks:
        problem = check(question)
        if problem is not None:
            return "constraint_violated", f"{capability.id}: {problem}"
    return None
