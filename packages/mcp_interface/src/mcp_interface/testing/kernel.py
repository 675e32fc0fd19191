"""A `SecurityKernel` in memory: simple enough to be read at one sitting, honest enough to judge by.

It keeps every rule of the contract and forgets everything with the process. The only constraint it knows is
`max_uses`; a use of a capability is also a use of everything it was derived from, so that handing a counted
right on never multiplies it.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from mcp_interface.address import Resource, parse_resource
from mcp_interface.capability import (
    DEFAULT_DEPTH,
    Ask,
    AuditEntry,
    Capability,
    Context,
    Explanation,
    Facts,
    Grant,
    GrantOptions,
    Sealed,
    Verdict,
)
from mcp_interface.clock import Clock, Entropy, SystemClock, SystemEntropy
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, StorageUnavailable
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, new_id
from mcp_interface.testing.decision import NEAREST, Held, judge, narrow, verdict_of, why_ended

HANDLE_BYTES: Final = 16

T = TypeVar("T")


class FakeKernel:
    """An honest kernel without a journal.

    Args:
        clock: Decides what has expired.
        entropy: Makes ids and handles.
    """

    def __init__(self, clock: Clock | None = None, entropy: Entropy | None = None) -> None:
        self._clock = clock or SystemClock()
        self._entropy = entropy or SystemEntropy()
        self._held: dict[CapabilityId, Held] = {}
        self._by_handle: dict[Sealed, Held] = {}
        self.audit: list[AuditEntry] = []
        """Everything recorded so far, oldest first."""
        self.audit_broken = False
        """Set it to see what happens when nothing can be recorded."""

    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        """Mint a root capability; see `SecurityKernel.request`."""
        depth = DEFAULT_DEPTH if options.delegation_depth is None else options.delegation_depth
        return self._mint(principal, resource, options, depth, None)

    async def request_all(self, principal: PrincipalId, asks: Sequence[Ask]) -> Sequence[Grant]:
        """Mint several root capabilities, all or none; see `SecurityKernel.request_all`."""
        return await self._all_or_none(
            [partial(self.request, principal, _named(ask.resource), ask.options) for ask in asks]
        )

    async def delegate_all(
        self, holder: PrincipalId, to: PrincipalId, asks: Sequence[Ask]
    ) -> Sequence[Grant]:
        """Hand on several rights, all or none; see `SecurityKernel.delegate_all`."""
        return await self._all_or_none(
            [
                partial(self.delegate, _named(ask.handle), holder, to, ask.resource, options=ask.options)
                for ask in asks
            ]
        )

    async def _all_or_none(self, steps: Sequence[Callable[[], Awaitable[Grant]]]) -> Sequence[Grant]:
        grants: list[Grant] = []
        try:
            for step in steps:
                grants.append(await step())
        except BaseException:
            for grant in grants:  # nobody saw them: they never were
                del self._held[grant.capability.id], self._by_handle[grant.handle]
            raise
        return grants

    async def delegate(
        self,
        handle: Sealed,
        holder: PrincipalId,
        to: PrincipalId,
        resource: Resource | None = None,
        options: GrantOptions = GrantOptions(),
    ) -> Grant:
        """Hand on a right, never a wider one; see `SecurityKernel.delegate`."""
        parent = self._by_handle.get(handle)
        if parent is None:
            raise NotPermitted("no capability has this handle", "", {"reason": "unknown_capability"})
        whole = parse_resource(parent.capability.resource_uri)
        narrowed = whole if resource is None else resource
        reason = judge(parent, holder, narrowed, self._clock.now())
        if reason != "allowed":
            raise NotPermitted(f"{holder} cannot hand on {narrowed.uri}: {reason}", "", {"reason": reason})
        deepest = parent.capability.delegation_depth - 1
        depth = deepest if options.delegation_depth is None else options.delegation_depth
        if depth > deepest or deepest < 0:
            raise NotPermitted(
                f"{parent.capability.id} cannot be handed on so deep", "ask its holder's parent"
            )
        return self._mint(to, narrowed, options, depth, parent)

    def validate(
        self, handle: Sealed, principal: PrincipalId, resource: Resource, facts: Facts = Facts()
    ) -> Verdict:
        """Judge one handle, purely; see `SecurityKernel.validate`."""
        held = self._by_handle.get(handle)
        if held is None:
            return verdict_of("unknown_capability", None, principal, resource)
        return verdict_of(judge(held, principal, resource, self._clock.now()), held, principal, resource)

    async def authorize(
        self,
        principal: PrincipalId,
        resource: Resource,
        context: Context = Context(),
        handle: Sealed | None = None,
        facts: Facts = Facts(),
    ) -> Verdict:
        """Judge and record; see `SecurityKernel.authorize`."""
        verdict = (
            self._best(principal, resource)[0]
            if handle is None
            else self.validate(handle, principal, resource)
        )
        try:
            seq = self._record(
                "access_allowed" if verdict.allowed else "access_denied",
                principal,
                "allowed" if verdict.allowed else "denied",
                resource_uri=resource.uri,
                capability_id=verdict.capability_id,
                reason=verdict.reason,
                session_id=context.session_id,
                trace_id=context.trace_id,
            )
        except StorageUnavailable:
            return verdict_of("security_error", None, principal, resource)
        if verdict.allowed and verdict.capability_id is not None:
            for held in self._held[verdict.capability_id].chain():
                held.uses += 1
        return msgspec.structs.replace(verdict, audit_seq=seq)

    async def revoke(
        self, capability: CapabilityId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        """Take back a capability and its descendants; see `SecurityKernel.revoke`."""
        target = self._held.get(capability)
        if target is None:
            raise NotFound(f"no capability {capability!r}")
        if by != SYSTEM and all(held.capability.principal_id != by for held in target.chain()):
            raise NotPermitted(f"{by} may not take back {capability}", "ask its holder")
        return self._end([target], by, reason)

    async def revoke_all(
        self, principal: PrincipalId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        """Take back everything a principal holds; see `SecurityKernel.revoke_all`."""
        return self._end(
            [held for held in self._held.values() if held.capability.principal_id == principal], by, reason
        )

    def held_by(self, principal: PrincipalId) -> Sequence[Capability]:
        """Live capabilities of one principal; see `SecurityKernel.held_by`."""
        return [capability for capability in self.capabilities() if capability.principal_id == principal]

    def capabilities(self) -> Sequence[Capability]:
        """Every live capability; see `SecurityKernel.capabilities`."""
        return [held.capability for held in self._held.values() if why_ended(held, self._clock.now()) is None]

    def handle_of(self, capability: CapabilityId, principal: PrincipalId) -> Sealed:
        """The handle of a live capability; see `SecurityKernel.handle_of`."""
        held = self._held.get(capability)
        if (
            held is None
            or held.capability.principal_id != principal
            or why_ended(held, self._clock.now()) is not None
        ):
            raise NotFound(f"{principal} holds no live capability {capability!r}")
        return held.handle

    def explain(self, principal: PrincipalId, resource: Resource, facts: Facts = Facts()) -> Explanation:
        """Say why, without recording; see `SecurityKernel.explain`."""
        verdict, considered = self._best(principal, resource)
        return Explanation(
            principal_id=principal,
            resource_uri=resource.uri,
            verdict=verdict,
            considered=[held.capability for held in considered],
            chain=[held.capability for held in considered[0].chain()] if considered else [],
        )

    def _best(self, principal: PrincipalId, resource: Resource) -> tuple[Verdict, list[Held]]:
        judged = [
            (judge(held, principal, resource, self._clock.now()), held)
            for held in self._held.values()
            if held.capability.principal_id == principal
            and parse_resource(held.capability.resource_uri).type == resource.type
        ]
        judged.sort(key=lambda pair: NEAREST.index(pair[0]))
        if not judged:
            return verdict_of("no_capability", None, principal, resource), []
        reason, nearest = judged[0]
        return verdict_of(reason, nearest, principal, resource), [held for _, held in judged]

    def _mint(
        self,
        principal: PrincipalId,
        resource: Resource,
        options: GrantOptions,
        depth: int,
        parent: Held | None,
    ) -> Grant:
        capability = Capability(
            id=CapabilityId(new_id("cap", self._entropy)),
            resource_uri=resource.uri,
            principal_id=principal,
            granted_at=self._clock.now(),
            expires_at=self._expiry(options, parent),
            parent_capability_id=None if parent is None else parent.capability.id,
            delegation_depth=depth,
            constraints=narrow({} if parent is None else parent.capability.constraints, options.constraints),
            metadata=dict(options.metadata),
        )
        capability.validate()
        held = Held(capability, Sealed(self._entropy.token(HANDLE_BYTES)), parent)
        try:
            self._record(
                "capability_granted" if parent is None else "capability_delegated",
                principal,
                "granted",
                resource_uri=capability.resource_uri,
                capability_id=capability.id,
            )
        except StorageUnavailable as error:
            raise NotPermitted("the grant cannot be recorded, so it is not given", error.remedy) from error
        self._held[capability.id] = self._by_handle[held.handle] = held
        return Grant(capability, held.handle)

    def _expiry(self, options: GrantOptions, parent: Held | None) -> datetime | None:
        asked = [
            options.expires_at,
            None if options.expires_in is None else self._clock.now() + options.expires_in,
            None if parent is None else parent.capability.expires_at,
        ]
        return min((expiry for expiry in asked if expiry is not None), default=None)

    def _end(self, targets: Sequence[Held], by: PrincipalId, reason: str) -> list[CapabilityId]:
        chosen = [id(target) for target in targets]
        ended = [
            held
            for held in self._held.values()
            if not held.revoked and any(id(link) in chosen for link in held.chain())
        ]
        for held in ended:
            held.revoked = True
            self._record(
                "capability_revoked",
                by,
                "revoked",
                resource_uri=held.capability.resource_uri,
                capability_id=held.capability.id,
                reason=reason,
            )
        return [held.capability.id for held in ended]

    def _record(self, kind: str, principal: PrincipalId, decision: Any, **fields: Any) -> int:
        if self.audit_broken:
            raise StorageUnavailable("the audit cannot be written", "mend the audit")
        entry = AuditEntry(
            seq=len(self.audit) + 1,
            time=self._clock.now(),
            kind=kind,
            principal_id=principal,
            decision=decision,
            **fields,
        )
        self.audit.append(entry)
        return entry.seq


def _named(given: T | None) -> T:
    if given is None:
        raise CallerMistaken("a bundle asks for something without saying what", "name resource and handle")
    return given
