"""The capability kernel: grants, narrows, judges, takes back; remembers by the stream "security".

Judging is in `decision`, what a grant looks like in `minting`, the state in `derivation`; here is the order in
which things become durable. Before a grant or a use takes effect it is audited and journaled; a revocation
takes effect at once and is then recorded; an allow is audited and judged once more before it is returned.
Whatever fails on the way, the answer is no. Production: `Kernel`; in memory: `mcp_interface.testing.FakeKernel`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Self

import msgspec

from mcp_interface.address import Resource
from mcp_interface.capability import (
    Capability,
    Context,
    Explanation,
    Grant,
    GrantOptions,
    Sealed,
    Verdict,
)
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import NotFound, NotPermitted, UmbrellaError
from mcp_interface.events import CapabilityGranted, CapabilityRevoked, CapabilityUsed, SecurityEvent
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, TraceId, is_principal, new_id
from mcp_interface.store import PAGE, EventStore
from mcp_interface.telemetry import Telemetry
from mcp_security import minting
from mcp_security.audit import AuditSink
from mcp_security.decision import choose, denial, judge, nearness
from mcp_security.derivation import Derivation, Node

STREAM: Final = "security"
HANDLE_BYTES: Final = 16
CONSIDERED: Final = 20
"""Most capabilities that an explanation lists."""
AUDIT_BATCH: Final = 500
"""Entries of one revocation that are handed to the audit at a time."""


class Kernel:
    """Implements `mcp_interface.capability.SecurityKernel`; made by `open`. One event loop, one writer."""

    def __init__(
        self,
        store: EventStore,
        epoch: int,
        audit: AuditSink,
        clock: Clock,
        entropy: Entropy,
        telemetry: Telemetry | None,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._audit = audit
        self._clock = clock
        self._entropy = entropy
        self._telemetry = telemetry
        self._tree = Derivation(lambda: Sealed(entropy.token(HANDLE_BYTES)))
        self._version = 0
        self._stale = False
        self._latest = clock.now()
        self._writing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        store: EventStore,
        epoch: int,
        audit: AuditSink,
        clock: Clock,
        entropy: Entropy,
        telemetry: Telemetry | None = None,
    ) -> Self:
        """Make a kernel and restore what the stream "security" remembers; handles are minted anew.

        Args:
            store: Where grants, uses and revocations are journaled.
            epoch: What `EventStore.claim` gave to the writer that this kernel writes for.
            audit: Where decisions are recorded.
            clock: Time for expiry.
            entropy: Randomness for ids and handles.
            telemetry: Who is told as things happen; None tells nobody.

        Raises:
            StorageCorrupt: The stream does not make sense; nothing is guessed.
            StorageUnavailable: Store or audit cannot be used.
        """
        kernel = cls(store, epoch, audit, clock, entropy, telemetry)
        await kernel._catch_up()
        await audit.append(
            kind="kernel_started",
            principal_id=SYSTEM,
            details={"version": kernel._version, "capabilities": len(kernel._tree)},
        )
        return kernel

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a kernel is never pickled: it holds secrets")

    # -- granting ----------------------------------------------------------------------------------------

    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        """Mint a root capability; see `SecurityKernel.request`.

        Raises:
            InvalidRecord: A rule of `Capability` or of a constraint does not hold.
            NotPermitted: The principal is an agent, a constraint is unknown, or it cannot be recorded.
        """
        async with self._refusals(principal, resource), self._writer():
            capability = minting.root(self._new_id(), principal, resource, options, self._now())
            return await self._mint(capability, "capability_granted", principal)

    async def delegate(
        self,
        handle: Sealed,
        holder: PrincipalId,
        to: PrincipalId,
        resource: Resource | None = None,
        options: GrantOptions = GrantOptions(),
    ) -> Grant:
        """Hand on a right, never a wider one; see `SecurityKernel.delegate`.

        Raises:
            InvalidRecord: A rule of `Capability` or of a constraint does not hold.
            NotPermitted: The parent does not hold, the depth is used up, the child would exceed the parent, a
                constraint is unknown, or it cannot be recorded.
        """
        async with self._refusals(holder, resource), self._writer():
            parent = self._tree.by_handle(handle)
            if parent is None:
                raise NotPermitted(
                    f"{holder} presents a handle that no capability has",
                    "present a handle that this kernel gave since its last start",
                    {"reason": "unknown_capability"},
                )
            capability = minting.child(self._new_id(), parent, holder, to, resource, options, self._now())
            return await self._mint(capability, "capability_delegated", holder)

    def _new_id(self) -> CapabilityId:
        return CapabilityId(new_id("cap", self._entropy))

    async def _mint(self, capability: Capability, kind: str, by: PrincipalId) -> Grant:
        await self._audit.append(
            kind=kind,
            principal_id=capability.principal_id,
            resource_uri=capability.resource_uri,
            capability_id=capability.id,
            decision="granted",
            details={
                "by": by,
                "parent": capability.parent_capability_id,
                "expires_at": capability.expires_at,
                "depth": capability.delegation_depth,
                "constraints": capability.constraints,
            },
        )
        await self._journal([CapabilityGranted(timestamp=capability.granted_at, capability=capability)])
        node = self._tree.get(capability.id)
        assert node is not None  # the event that was just applied made it
        if node.revoked:
            raise NotPermitted(
                f"{capability.parent_capability_id} was revoked while it was being handed on",
                "ask its holder",
                {"reason": "capability_revoked"},
            )
        self._tell(
            "mcp.capability.granted",
            capability_id=capability.id,
            principal_id=capability.principal_id,
            resource_uri=capability.resource_uri,
        )
        return Grant(capability, node.handle)

    # -- judging -----------------------------------------------------------------------------------------

    def validate(self, handle: Sealed, principal: PrincipalId, resource: Resource) -> Verdict:
        """Judge one handle against one resource; pure and unrecorded."""
        return self._decide(principal, resource, handle)

    async def authorize(
        self,
        principal: PrincipalId,
        resource: Resource,
        context: Context = Context(),
        handle: Sealed | None = None,
    ) -> Verdict:
        """Judge, record, and count a use; see `SecurityKernel.authorize`. Never raises: an error is a no."""
        try:
            verdict = await self._count_use(principal, resource, context, handle)
            verdict = await self._record(verdict, principal, resource, context)
            if verdict.allowed and not self._still_holds(verdict):
                # revoked or expired while the record was being written: the later truth counts, and is recorded
                later = self._decide(principal, resource, handle)
                if later.allowed:
                    later = denial(principal, resource, "capability_revoked", "it ended while it was judged")
                verdict = await self._record(later, principal, resource, context)
        except Exception as error:  # fail closed, whatever it is
            code = error.code if isinstance(error, UmbrellaError) else type(error).__name__
            verdict = Verdict(
                allowed=False,
                reason="security_error",
                needed=resource.uri,
                message=f"{principal} may not {resource.operation} {resource.uri}: "
                f"the decision could not be made or recorded ({code}); see umbrella doctor",
            )
        if verdict.allowed:
            self._tell(
                "mcp.capability.validated",
                principal_id=principal,
                resource_uri=resource.uri,
                capability_id=verdict.capability_id,
            )
        else:
            self._tell(
                "mcp.capability.denied",
                principal_id=principal,
                resource_uri=resource.uri,
                reason=verdict.reason,
            )
        return verdict

    def explain(self, principal: PrincipalId, resource: Resource) -> Explanation:
        """Say why, without recording a decision."""
        nodes = [node for node in self._candidates(principal) if node.right.resource.type == resource.type]
        nodes.sort(key=lambda node: nearness(node.right, resource), reverse=True)
        verdict = self._decide(principal, resource, None)
        nearest = self._tree.get(verdict.capability_id) if verdict.capability_id is not None else None
        return Explanation(
            principal_id=principal,
            resource_uri=resource.uri,
            verdict=verdict,
            considered=[node.right.capability for node in nodes[:CONSIDERED]],
            chain=[node.right.capability for node in nearest.lineage()] if nearest is not None else [],
        )

    def _decide(self, principal: PrincipalId, resource: Resource, handle: Sealed | None) -> Verdict:
        now = self._now()
        if handle is not None:
            node = self._tree.by_handle(handle)
            if node is None:
                return denial(principal, resource, "unknown_capability", "no capability has this handle")
            return self._judge(node, principal, resource, now)
        judged = (
            (node.right, self._judge(node, principal, resource, now)) for node in self._candidates(principal)
        )
        return choose(judged, principal, resource)

    def _candidates(self, principal: PrincipalId) -> list[Node]:
        return [*self._tree.held_by(principal, self._now()), *self._tree.recently_ended(principal)]

    def _judge(self, node: Node, principal: PrincipalId, resource: Resource, now: datetime) -> Verdict:
        return judge(node.right, principal, resource, now, revoked=node.revoked, spent=node.spent)

    async def _count_use(
        self, principal: PrincipalId, resource: Resource, context: Context, handle: Sealed | None
    ) -> Verdict:
        """Judge; if a counted right allows, journal the use under the lock before anybody else may judge it."""
        verdict = self._decide(principal, resource, handle)
        if not self._counted(verdict):
            return verdict
        async with self._writer():
            verdict = self._decide(principal, resource, handle)
            uses = [
                CapabilityUsed(timestamp=self._now(), capability_id=node.id, uses=node.uses + 1)
                for node in self._counted(verdict)
            ]
            if uses:
                await self._journal(uses, context.trace_id)
        return verdict

    def _counted(self, verdict: Verdict) -> list[Node]:
        node = self._tree.get(verdict.capability_id) if verdict.capability_id is not None else None
        return node.counted() if verdict.allowed and node is not None else []

    def _still_holds(self, verdict: Verdict) -> bool:
        node = self._tree.get(verdict.capability_id) if verdict.capability_id is not None else None
        return node is not None and node.live(self._now())

    async def _record(
        self, verdict: Verdict, principal: PrincipalId, resource: Resource, context: Context
    ) -> Verdict:
        entry = await self._audit.append(
            kind="access_allowed" if verdict.allowed else "access_denied",
            principal_id=principal,
            resource_uri=resource.uri,
            capability_id=verdict.capability_id,
            decision="allowed" if verdict.allowed else "denied",
            reason=verdict.reason,
            session_id=context.session_id,
            trace_id=context.trace_id,
            details={"note": context.note} if context.note else {},
        )
        return msgspec.structs.replace(verdict, audit_seq=entry.seq)

    # -- taking back -------------------------------------------------------------------------------------

    async def revoke(
        self, capability: CapabilityId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        """Take back a capability and everything derived from it; see `SecurityKernel.revoke`.

        It is judged as revoked at once. If recording fails, the error says so, it stays revoked in this
        process, and repeating the call records it.

        Raises:
            NotFound: No such capability.
            NotPermitted: `by` is neither its holder, nor holder of an ancestor, nor `system`.
            UmbrellaError: Store or audit refused; see above.
        """
        node = self._tree.get(capability)
        if node is None:
            raise NotFound(f"no capability {capability!r}", "see umbrella caps list")
        return await self._end([node], by, reason)

    async def revoke_all(
        self, principal: PrincipalId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        """Take back everything a principal holds, with everything derived from it; as `revoke` otherwise."""
        held = self._tree.held_by(principal, self._now())
        unrecorded = [
            node for node in self._tree.recently_ended(principal) if node.revoked and not node.recorded
        ]
        return await self._end([*held, *unrecorded], by, reason)

    async def _end(self, roots: Iterable[Node], by: PrincipalId, reason: str) -> list[CapabilityId]:
        roots = list(roots)
        for node in roots:
            if by != SYSTEM and all(by != above.right.capability.principal_id for above in node.lineage()):
                await self._refuse_revocation(node, by)
        for root in roots:
            for node in root.descent():
                self._tree.end(node)
        async with self._writer():
            # only now: a delegation that was being written may have added a child, and another revocation may
            # have recorded some of these
            ending = {node.id: node for root in roots for node in root.descent() if not node.recorded}
            if ending:
                await self._record_ends(list(ending.values()), by, reason)
        for capability_id in ending:
            self._tell("mcp.capability.revoked", {"count": 1}, capability_id=capability_id)
        return list(ending)

    async def _record_ends(self, nodes: list[Node], by: PrincipalId, reason: str) -> None:
        for start in range(0, len(nodes), AUDIT_BATCH):
            await asyncio.gather(
                *(
                    self._audit.append(
                        kind="capability_revoked",
                        principal_id=node.right.capability.principal_id,
                        resource_uri=node.right.capability.resource_uri,
                        capability_id=node.id,
                        decision="revoked",
                        reason=reason,
                        details={"by": by},
                    )
                    for node in nodes[start : start + AUDIT_BATCH]
                )
            )
        ids = [node.id for node in nodes]
        await self._journal(
            [CapabilityRevoked(timestamp=self._now(), capability_ids=ids, by=by, reason=reason)]
        )

    async def _refuse_revocation(self, node: Node, by: PrincipalId) -> None:
        await self._audit.append(
            kind="revocation_denied",
            principal_id=by,
            resource_uri=node.right.capability.resource_uri,
            capability_id=node.id,
            decision="denied",
            reason="wrong_principal",
        )
        raise NotPermitted(
            f"{by} may not take back {node.id}: it holds neither it nor what it came from",
            "ask its holder, or the node's owner",
            {"reason": "wrong_principal"},
        )

    # -- looking up --------------------------------------------------------------------------------------

    def held_by(self, principal: PrincipalId) -> Sequence[Capability]:
        """The principal's capabilities that are neither revoked nor expired, oldest first."""
        return [node.right.capability for node in self._tree.held_by(principal, self._now())]

    def capabilities(self) -> Sequence[Capability]:
        """Every live capability of the node, oldest first."""
        return [node.right.capability for node in self._tree.live(self._now())]

    def handle_of(self, capability: CapabilityId, principal: PrincipalId) -> Sealed:
        """The handle of a live capability, for the runtime that acts for its holder.

        Raises:
            NotFound: No live capability of that id belongs to the principal.
        """
        node = self._tree.get(capability)
        if node is None or node.right.capability.principal_id != principal or not node.live(self._now()):
            raise NotFound(f"{principal} holds no live capability {capability!r}", "see umbrella caps list")
        return node.handle

    # -- recording ---------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        """The present, never earlier than any instant seen: a clock set back revives nothing."""
        self._latest = max(self._latest, self._clock.now())
        return self._latest

    @asynccontextmanager
    async def _writer(self) -> AsyncIterator[None]:
        """Be the only one who decides and writes, on a state that agrees with the journal."""
        async with self._writing:
            if self._stale:
                await self._catch_up()
            yield

    async def _catch_up(self) -> None:
        while records := await self._store.read(STREAM, after=self._version, limit=PAGE):
            for record in records:
                self._tree.apply(record.event)
                self._version = record.version
                self._latest = max(self._latest, record.event.timestamp)
        self._stale = False

    async def _journal(self, events: Sequence[SecurityEvent], trace_id: TraceId | None = None) -> None:
        """Write, then apply. After any failure, or cancellation, the journal is read again before the next write."""
        self._stale = True
        records = await self._store.append(
            STREAM, events, expected=self._version, epoch=self._epoch, trace_id=trace_id
        )
        for event in events:
            self._tree.apply(event)
        self._version = records[-1].version
        self._stale = False

    @asynccontextmanager
    async def _refusals(self, principal: PrincipalId, resource: Resource | None) -> AsyncIterator[None]:
        """Record why a grant was refused; turn what is not a refusal of ours into one."""
        try:
            yield
        except NotPermitted as error:
            await self._record_refusal(principal, resource, error)
            raise
        except UmbrellaError as error:
            if error.code in {"invalid_record", "invalid_address", "invalid_input"}:
                await self._record_refusal(principal, resource, error)
                raise
            raise NotPermitted(
                f"the grant could not be recorded, so it was not made: {error.message}",
                error.remedy,
                {"reason": "security_error", "cause": error.code},
            ) from error

    async def _record_refusal(
        self, principal: PrincipalId, resource: Resource | None, error: UmbrellaError
    ) -> None:
        try:
            await self._audit.append(
                kind="capability_denied",
                principal_id=principal if is_principal(principal) else SYSTEM,
                resource_uri=None if resource is None else resource.uri,
                decision="denied",
                reason=str(error.details.get("reason") or error.details.get("rule") or error.code),
                details={"message": error.message},
            )
        except UmbrellaError as broken:
            raise NotPermitted(
                f"refused, and the refusal could not be recorded: {error.message}",
                broken.remedy,
                {"reason": "security_error", "cause": broken.code},
            ) from broken

    def _tell(self, name: str, measurements: Mapping[str, float] | None = None, /, **metadata: Any) -> None:
        if self._telemetry is not None:
            self._telemetry.emit(name, measurements or {}, metadata)
