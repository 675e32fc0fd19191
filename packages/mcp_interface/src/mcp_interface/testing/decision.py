"""How the fake kernel decides: pure functions over what is held, the request and the present instant."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from mcp_interface.address import Resource, parse_resource
from mcp_interface.capability import Capability, Reason, Sealed, Verdict
from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import PrincipalId
from mcp_interface.testing.patterns import covers

MAX_USES: Final = "max_uses"

NEAREST: Final[tuple[Reason, ...]] = (
    "allowed",
    "uses_exhausted",
    "unknown_constraint",
    "expired",
    "capability_revoked",
    "path_not_allowed",
    "resource_mismatch",
)
"""Judgements of one's own capabilities, nearest to an allow first."""


class Held(msgspec.Struct):
    """What the kernel knows of one capability."""

    capability: Capability
    handle: Sealed
    parent: "Held | None"
    revoked: bool = False
    uses: int = 0

    def chain(self) -> "Iterator[Held]":
        """Itself and what it was derived from, up to the root."""
        held: Held | None = self
        while held is not None:
            yield held
            held = held.parent


def why_ended(held: Held, now: datetime) -> Reason | None:
    """Say why a capability no longer holds; None while it does."""
    if held.revoked:
        return "capability_revoked"
    expires = held.capability.expires_at
    return "expired" if expires is not None and expires <= now else None


def judge(held: Held, principal: PrincipalId, resource: Resource, now: datetime) -> Reason:
    """Judge one capability against one request; the first broken rule is the reason."""
    return (
        why_ended(held, now)
        or _why_elsewhere(held.capability, principal, resource)
        or _why_limited(held)
        or "allowed"
    )


def _why_elsewhere(capability: Capability, principal: PrincipalId, resource: Resource) -> Reason | None:
    if capability.principal_id != principal:
        return "wrong_principal"
    pattern = parse_resource(capability.resource_uri)
    if (pattern.type, pattern.operation) != (resource.type, resource.operation):
        return "resource_mismatch"
    return None if covers(pattern, resource) else "path_not_allowed"


def _why_limited(held: Held) -> Reason | None:
    if held.capability.constraints.keys() - {MAX_USES}:
        return "unknown_constraint"
    for link in held.chain():
        if link.uses >= link.capability.constraints.get(MAX_USES, link.uses + 1):
            return "uses_exhausted"
    return None


def narrow(parent: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Join the limits of a parent with further ones; the stricter wins.

    Raises:
        InvalidRecord: invalid_constraint.
    """
    joined = parent | asked
    uses = joined.get(MAX_USES, 1)
    if isinstance(uses, bool) or not isinstance(uses, int) or uses < 1:
        raise InvalidRecord("invalid_constraint", f"{MAX_USES} is {uses!r}", "give a whole number from 1")
    if MAX_USES in parent:
        joined[MAX_USES] = min(uses, parent[MAX_USES])
    return joined


def verdict_of(reason: Reason, held: Held | None, principal: PrincipalId, resource: Resource) -> Verdict:
    """Put a judgement into words."""
    allowed = reason == "allowed"
    return Verdict(
        allowed=allowed,
        reason=reason,
        message=f"{principal} {'may' if allowed else 'may not'} use {resource.uri}: {reason}",
        capability_id=None if held is None else held.capability.id,
        covering=held.capability.resource_uri if held is not None and allowed else None,
        needed=None if allowed else resource.uri,
    )
