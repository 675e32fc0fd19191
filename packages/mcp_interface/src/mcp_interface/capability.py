"""Who may do what: the capability struct and the contract of the security kernel.

A capability's *id* is public and grants nothing; its *handle* is the secret. The kernel keeps the record,
judges against the stored record only, and never trusts a caller's copy. Production: `mcp_security.Kernel`;
in memory: `testing.FakeKernel`.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Literal, Protocol

import msgspec

from mcp_interface.address import Resource, parse_resource
from mcp_interface.clock import Instant
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_interface.ids import CapabilityId, PrincipalId, SessionId, TraceId, is_id, is_principal

DEFAULT_DEPTH: Final = 3
MAX_DEPTH: Final = 1000


class Sealed:
    """Bytes that never show: not in repr, not in JSON, not in a pickle.

    The disk codec keeps them; the JSON codec writes null.
    """

    __slots__ = ("_bytes",)

    def __init__(self, value: bytes) -> None:
        self._bytes = value

    def reveal(self) -> bytes:
        """Return the bytes; for the code that must compare or store them."""
        return self._bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash((Sealed, self._bytes))

    def __repr__(self) -> str:
        return "Sealed(…)"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a sealed value is never pickled")


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """One right of one holder, as the kernel records it."""

    id: CapabilityId
    resource_uri: str
    """A resource or pattern, canonical form."""
    principal_id: PrincipalId
    granted_at: Instant
    expires_at: Instant | None = None
    """First instant at which it no longer holds; None is no end."""
    parent_capability_id: CapabilityId | None = None
    delegation_depth: int = DEFAULT_DEPTH
    """How many more times it can be handed on, 0 to `MAX_DEPTH`."""
    constraints: dict[str, Any] = {}
    """Limits by name; a name the kernel does not know denies."""
    signature: Sealed | None = None
    """Proof for other kernels; kept on disk, never in JSON."""
    metadata: dict[str, Any] = {}

    def validate(self) -> None:
        """Check the record's own rules.

        Raises:
            InvalidRecord: With the first broken rule: invalid_capability_id, invalid_resource_uri,
                invalid_principal_id, expires_before_granted, invalid_delegation_depth.
        """
        if not is_id("cap", self.id):
            raise InvalidRecord("invalid_capability_id", f"{self.id!r} is not a capability id")
        try:
            parse_resource(self.resource_uri)
        except CallerMistaken as error:
            raise InvalidRecord("invalid_resource_uri", error.message, error.remedy) from error
        if not is_principal(self.principal_id):
            raise InvalidRecord("invalid_principal_id", f"{self.principal_id!r} cannot hold capabilities")
        if self.expires_at is not None and self.expires_at <= self.granted_at:
            raise InvalidRecord("expires_before_granted", f"{self.id} would end before it begins")
        if not 0 <= self.delegation_depth <= MAX_DEPTH:
            raise InvalidRecord(
                "invalid_delegation_depth", f"depth {self.delegation_depth} is not within 0 to {MAX_DEPTH}"
            )


class GrantOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a request or delegation asks for beyond the resource."""

    expires_in: timedelta | None = None
    expires_at: Instant | None = None
    """The earlier of both wins."""
    delegation_depth: int | None = None
    """None: the default for a root grant, one less than the parent's for a delegation."""
    constraints: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One right of a bundle."""

    resource: Resource | None = None
    """None keeps the parent's; a request for a root names it."""
    options: GrantOptions = GrantOptions()
    handle: Sealed | None = None
    """The parent's secret, for a delegation."""


class Grant(msgspec.Struct, frozen=True):
    """A new capability together with the secret that its holder presents."""

    capability: Capability
    handle: Sealed


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the arguments of an action say, for the limits that bite on them.

    None is "not stated", and a limit on what is not stated denies.
    """

    arguments: dict[str, Any] | None = None
    """Of a tool call, as JSON data."""
    argv: tuple[str, ...] | None = None
    """Of a command, without the program itself."""
    statement: str | None = None
    """Kind of an SQL statement in lower case: select, insert, update, delete, create, drop, …"""
    size: int | None = None
    """Bytes that will be written or sent."""


class Need(msgspec.Struct, frozen=True):
    """A right that an action needs: on what, and what its arguments say."""

    resource: Resource
    facts: Facts = Facts()
    depth: int = 0
    """How often at least the right has to be one that can be handed on."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is attempted; recorded with the decision, never judged."""

    session_id: SessionId | None = None
    trace_id: TraceId | None = None
    note: str = ""


Reason = Literal[
    "allowed",
    "no_capability",
    "unknown_capability",
    "capability_revoked",
    "expired",
    "wrong_principal",
    "resource_mismatch",
    "path_not_allowed",
    "constraint_violated",
    "unknown_constraint",
    "uses_exhausted",
    "security_error",
]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one judgement; a value, not an exception."""

    allowed: bool
    reason: Reason
    message: str
    """One sentence for a person."""
    capability_id: CapabilityId | None = None
    """Which capability allowed it, or came nearest."""
    covering: str | None = None
    """Resource pattern of that capability: the root that an allowed action must stay beneath."""
    limits: dict[str, Any] = {}
    """Constraints of that capability, for what only the doer can keep, such as the size of an answer."""
    needed: str | None = None
    """The resource URI of a grant that would allow it; None when allowed."""
    audit_seq: int | None = None
    """Number of the audit entry; None from `validate`, which records nothing."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a principal may or may not do something, in one screen."""

    principal_id: PrincipalId
    resource_uri: str
    verdict: Verdict
    considered: list[Capability]
    """Capabilities of the principal for the same type, nearest first."""
    chain: list[Capability]
    """The nearest one and its ancestors, up to the root grant."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit trail."""

    seq: int
    time: Instant
    kind: str
    """capability_granted, capability_delegated, capability_revoked, access_allowed, access_denied, …"""
    principal_id: PrincipalId
    resource_uri: str | None = None
    capability_id: CapabilityId | None = None
    decision: Literal["allowed", "denied", "granted", "revoked", "noted"] = "noted"
    reason: str = ""
    session_id: SessionId | None = None
    trace_id: TraceId | None = None
    details: dict[str, Any] = {}
    previous: str = ""
    """Hash of the entry before, hex; empty for the first."""
    hash: str = ""
    """Hash over all the fields above, hex."""


class SecurityKernel(Protocol):
    """Grants, narrows, judges and takes back. Default deny; any error inside means deny.

    Grants, denials and revocations are on disk before the coroutine returns; so is the record of an allow.
    """

    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        """Mint a root capability. For the owner of the node; agents get theirs by delegation.

        Raises:
            InvalidRecord: A rule of `Capability` does not hold.
            NotPermitted: Policy refuses, or the audit cannot be written.
        """
        ...

    async def request_all(self, principal: PrincipalId, asks: Sequence[Ask]) -> Sequence[Grant]:
        """Mint several root capabilities, all or none; as `request` otherwise."""
        ...

    async def delegate(
        self,
        handle: Sealed,
        holder: PrincipalId,
        to: PrincipalId,
        resource: Resource | None = None,
        options: GrantOptions = GrantOptions(),
    ) -> Grant:
        """Hand on a right, never a wider one.

        Args:
            handle: The parent's secret.
            holder: Who delegates; must be the parent's principal.
            to: Who receives.
            resource: A narrower resource; None keeps the parent's.
            options: Further narrowing; expiry becomes the earlier of both.

        Raises:
            NotPermitted: The parent does not hold, the depth is used up, or the child would exceed it.
        """
        ...

    async def delegate_all(
        self, holder: PrincipalId, to: PrincipalId, asks: Sequence[Ask]
    ) -> Sequence[Grant]:
        """Hand on several rights, all or none; as `delegate` otherwise."""
        ...

    def validate(
        self, handle: Sealed, principal: PrincipalId, resource: Resource, facts: Facts = Facts()
    ) -> Verdict:
        """Judge one handle against one concrete resource; pure and unrecorded."""
        ...

    async def authorize(
        self,
        principal: PrincipalId,
        resource: Resource,
        context: Context = Context(),
        handle: Sealed | None = None,
        facts: Facts = Facts(),
    ) -> Verdict:
        """Judge and record before the effect; without a handle, by what the principal holds.

        Counts a use of the capability that allowed it. Never raises for a denial: a failure to record is a
        verdict `security_error`.
        """
        ...

    async def revoke(
        self, capability: CapabilityId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        """Take back a capability and everything derived from it; at once, and harmless when repeated.

        However many were derived, nothing of them is allowed from the call on; their ends are put on record
        one by one behind it.

        Returns:
            The ids that ended now, the named one first; at most 1,000 of them.

        Raises:
            NotFound: No such capability.
            NotPermitted: `by` is neither its holder, nor holder of an ancestor, nor `system`.
        """
        ...

    async def revoke_all(
        self, principal: PrincipalId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        """Take back everything a principal holds, as when it dies."""
        ...

    def held_by(self, principal: PrincipalId) -> Sequence[Capability]:
        """The principal's capabilities that are neither revoked nor expired, oldest first."""
        ...

    def capabilities(self) -> Sequence[Capability]:
        """Every live capability of the node, oldest first."""
        ...

    def handle_of(self, capability: CapabilityId, principal: PrincipalId) -> Sealed:
        """The handle of a live capability, for the runtime that acts for its holder.

        Raises:
            NotFound: No live capability of that id belongs to the principal.
        """
        ...

    def explain(self, principal: PrincipalId, resource: Resource, facts: Facts = Facts()) -> Explanation:
        """Say why, without recording a decision."""
        ...
