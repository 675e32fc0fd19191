"""The capability kernel: grants, narrows, judges, takes back; remembers by the stream "security".

Judging is in `decision`, the state in `derivation`, its journal in `stream`, giving in `granting`, taking back in
`revocation`; here they come together, and an access is judged, recorded and counted. Before a grant or a use
takes effect it is audited and journaled; a revocation takes effect at once and is then recorded; an allow is
audited and judged once more before it is returned. Whatever fails on the way, the answer is no.
Production: `Kernel`; in memory: `mcp_interface.testing.FakeKernel`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self

import msgspec

from mcp_interface.address import Resource
from mcp_interface.approval import HANDING_ON
from mcp_interface.capability import (
    Ask,
    Capability,
    Context,
    Explanation,
    Facts,
    Grant,
    GrantOptions,
    Sealed,
    Verdict,
)
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import NotFound, UmbrellaError
from mcp_interface.events import CapabilityUsed
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId
from mcp_interface.store import EventStore
from mcp_interface.telemetry import Telemetry
from mcp_security.audit import AuditSink
from mcp_security.decision import choose, denial, judge, nearness
from mcp_security.derivation import Handle, Node
from mcp_security.granting import Granting
from mcp_security.revocation import Revocation
from mcp_security.stream import SecurityStream

HANDLE_BYTES: Final = 16
CONSIDERED: Final = 20
"""Most capabilities that an explanation lists."""
CLOCK_LAG_S: Final = 1.0
"""How late `validate` may notice that the wall clock was set forward; without that, an end is seen exactly."""
_UNSTATED: Final = Facts()


class Kernel:
    """Implements `mcp_interface.capability.SecurityKernel`; made by `open`.

    One event loop, one writer; `validate` may be called from any thread.
    """

    def __init__(
        self,
        stream: SecurityStream,
        audit: AuditSink,
        clock: Clock,
        entropy: Entropy,
        telemetry: Telemetry | None,
    ) -> None:
        self._stream = stream
        self._tree = stream.tree
        self._audit = audit
        self._clock = clock
        self._monotonic = clock.monotonic
        self._telemetry = telemetry
        self._granting = Granting(stream, audit, entropy, stream.now, self._tell)
        self._revocation = Revocation(stream, audit, stream.now, self._tell)

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
            clock: Time for expiry and rates.
            entropy: Randomness for ids and handles.
            telemetry: Who is told as things happen; None tells nobody.

        Raises:
            StorageCorrupt: The stream does not make sense; nothing is guessed.
            StorageUnavailable: Store or audit cannot be used.
        """
        stream = SecurityStream(store, epoch, lambda: entropy.token(HANDLE_BYTES), clock)
        await stream.load()
        kernel = cls(stream, audit, clock, entropy, telemetry)
        ends_at, names = audit.head[0], stream.tree.audit_seq
        if ends_at < names:
            # the trail may have been moved away by hand after damage, so this is evidence and no refusal
            await audit.append(
                kind="audit_behind_journal",
                principal_id=SYSTEM,
                details={"trail_ends_at": ends_at, "journal_names": names},
            )
        await audit.append(
            kind="kernel_started",
            principal_id=SYSTEM,
            details={"version": stream.version, "capabilities": len(stream.tree)},
        )
        kernel._revocation.resume()
        return kernel

    async def close(self) -> None:
        """Put on record what revocations left behind, and keep a snapshot; harmless when repeated."""
        await self._revocation.settled()
        async with self._stream.writer():
            await self._stream.save()

    async def settled(self) -> None:
        """Wait until the end of everything that was revoked is on record."""
        await self._revocation.settled()

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
        return (await self.request_all(principal, [Ask(resource=resource, options=options)]))[0]

    async def request_all(self, principal: PrincipalId, asks: Sequence[Ask]) -> Sequence[Grant]:
        """Mint several root capabilities, all or none; see `SecurityKernel.request_all`.

        Raises:
            CallerMistaken: There are none, too many, or one names no resource.
            NotPermitted: As `request`; nothing was minted.
            InvalidRecord: As `request`.
        """
        return await self._granting.request_all(principal, asks)

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
        ask = Ask(handle=handle, resource=resource, options=options)
        return (await self.delegate_all(holder, to, [ask]))[0]

    async def delegate_all(
        self, holder: PrincipalId, to: PrincipalId, asks: Sequence[Ask]
    ) -> Sequence[Grant]:
        """Hand on several rights, all or none; see `SecurityKernel.delegate_all`.

        Raises:
            CallerMistaken: There are none, too many, or one names no parent.
            NotPermitted: As `delegate`; nothing was handed on.
            InvalidRecord: As `delegate`.
        """
        return await self._granting.delegate_all(holder, to, asks)

    # -- judging -----------------------------------------------------------------------------------------

    def validate(
        self, handle: Sealed, principal: PrincipalId, resource: Resource, facts: Facts = _UNSTATED
    ) -> Verdict:
        """Judge one handle against one resource; pure and unrecorded. Safe from any thread."""
        node = handle.node if handle.__class__ is Handle else self._tree.find(handle)
        # The short way answers only what the whole truth below would allow as well.
        if (
            node is not None
            and node.allow is not None
            and node.home is self._tree
            and principal == node.principal
            and resource.operation == node.operation
            and resource.type == node.type
            and (resource.path.startswith(node.prefix) or resource.path == node.exact)
            and (node.expires is None or self._monotonic() < node.sure_until or self._in_time(node))
            and (node.seen == node.family.epoch or node.alive())
        ):
            allow: Verdict = node.allow
            return allow
        if node is None or node.home is not self._tree:
            return denial(principal, resource, "unknown_capability", "no capability has this handle")
        return self._judge(node, principal, resource, self._stream.now(), facts)

    async def authorize(
        self,
        principal: PrincipalId,
        resource: Resource,
        context: Context = Context(),
        handle: Sealed | None = None,
        facts: Facts = _UNSTATED,
    ) -> Verdict:
        """Judge, record, and count a use; see `SecurityKernel.authorize`. Never raises: an error is a no."""
        try:
            verdict = await self._count_use(principal, resource, context, handle, facts)
            verdict = await self._record(verdict, principal, resource, context)
            if verdict.allowed and not self._still_holds(verdict):
                # revoked or expired while the record was being written: the later truth counts, and is recorded
                later = self._decide(principal, resource, handle, facts)
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
        self._tell(
            "mcp.capability.validated" if verdict.allowed else "mcp.capability.denied",
            principal_id=principal,
            resource_uri=resource.uri,
            **({"capability_id": verdict.capability_id} if verdict.allowed else {"reason": verdict.reason}),
        )
        return verdict

    def explain(self, principal: PrincipalId, resource: Resource, facts: Facts = _UNSTATED) -> Explanation:
        """Say why, without recording a decision."""
        nodes = [node for node in self._candidates(principal) if node.type == resource.type]
        nodes.sort(key=lambda node: nearness(node.right, resource), reverse=True)
        verdict = self._decide(principal, resource, None, facts)
        nearest = next((node for node in nodes if node.id == verdict.capability_id), None)
        return Explanation(
            principal_id=principal,
            resource_uri=resource.uri,
            verdict=verdict,
            considered=[node.shown for node in nodes[:CONSIDERED]],
            chain=[node.shown for node in nearest.lineage()] if nearest is not None else [],
        )

    def _in_time(self, node: Node) -> bool:
        """Read the clock whether a right still holds, and note for how long that need not be done again."""
        elapsed = self._monotonic()  # before the wall clock: what passes between the two is on the safe side
        left = (
            (node.expires - self._stream.now()).total_seconds() if node.expires is not None else CLOCK_LAG_S
        )
        node.sure_until = elapsed + min(left, CLOCK_LAG_S) if left > 0 else float("-inf")
        return left > 0

    def _decide(
        self, principal: PrincipalId, resource: Resource, handle: Sealed | None, facts: Facts
    ) -> Verdict:
        now = self._stream.now()
        if handle is not None:
            node = self._tree.find(handle)
            if node is None:
                return denial(principal, resource, "unknown_capability", "no capability has this handle")
            return self._judge(node, principal, resource, now, facts)
        judged = (
            (node.right, self._judge(node, principal, resource, now, facts))
            for node in self._candidates(principal)
            if node.right.capability.metadata.get("for") != HANDING_ON
        )
        return choose(judged, principal, resource)

    def _candidates(self, principal: PrincipalId) -> list[Node]:
        tree = self._tree
        return [*tree.held_by(principal, self._stream.now()), *tree.recently_ended(principal)]

    def _judge(
        self, node: Node, principal: PrincipalId, resource: Resource, now: datetime, facts: Facts
    ) -> Verdict:
        verdict = judge(
            node.right, principal, resource, now, facts=facts, revoked=not node.alive(), spent=node.spent
        )
        if verdict.allowed and node.buckets:
            elapsed = self._clock.monotonic()
            wait = max(bucket.wait(elapsed) for bucket in node.buckets)
            if wait > 0:
                why = f"the rate_limit of {node.id} is reached; it allows the next in {wait:.3g} s"
                return denial(principal, resource, "constraint_violated", why, node.right)
        return verdict

    async def _count_use(
        self,
        principal: PrincipalId,
        resource: Resource,
        context: Context,
        handle: Sealed | None,
        facts: Facts,
    ) -> Verdict:
        """Judge; if a counted right allows, journal the use under the lock before anybody else may judge it."""
        verdict = self._decide(principal, resource, handle, facts)
        node = self._allowing(verdict)
        if node is None or not node.counted:
            self._draw(node)
            return verdict
        async with self._stream.writer():
            verdict = self._decide(principal, resource, handle, facts)
            node = self._allowing(verdict)
            self._draw(node)
            if node is not None and node.counted:
                now = self._stream.now()
                uses = [
                    CapabilityUsed(timestamp=now, capability_id=each.id, uses=each.uses + 1)
                    for each in node.counted
                ]
                await self._stream.append(uses, context.trace_id)
        return verdict

    def _draw(self, node: Node | None) -> None:
        """Use one of each rate; nothing is awaited between the judgement and this."""
        if node is not None:
            elapsed = self._clock.monotonic()
            for bucket in node.buckets:
                bucket.take(elapsed)

    def _allowing(self, verdict: Verdict) -> Node | None:
        if not verdict.allowed or verdict.capability_id is None:
            return None
        return self._tree.get(verdict.capability_id)

    def _still_holds(self, verdict: Verdict) -> bool:
        node = self._allowing(verdict)
        return node is not None and node.live(self._stream.now())

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
        tree = self._tree
        node = tree.get(capability)
        if node is None:
            if tree.has_ended(capability):
                return []
            raise NotFound(f"no capability {capability!r}", "see umbrella caps list")
        return await self._revocation.end([node], by, reason)

    async def revoke_all(
        self, principal: PrincipalId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        """Take back everything a principal holds, with everything derived from it; as `revoke` otherwise."""
        tree = self._tree
        held = tree.held_by(principal, self._stream.now())  # first: it puts aside what has ended
        unrecorded = [
            node for node in tree.recently_ended(principal) if node.taken_back and not node.recorded
        ]
        return await self._revocation.end([*held, *unrecorded], by, reason)

    # -- looking up --------------------------------------------------------------------------------------

    def held_by(self, principal: PrincipalId) -> Sequence[Capability]:
        """The principal's capabilities that are neither revoked nor expired, oldest first."""
        return [node.shown for node in self._tree.held_by(principal, self._stream.now())]

    def capabilities(self) -> Sequence[Capability]:
        """Every live capability of the node, oldest first."""
        return [node.shown for node in self._tree.live(self._stream.now())]

    def handle_of(self, capability: CapabilityId, principal: PrincipalId) -> Sealed:
        """The handle of a live capability, for the runtime that acts for its holder.

        Raises:
            NotFound: No live capability of that id belongs to the principal.
        """
        node = self._tree.get(capability)
        if node is None or node.principal != principal or not node.live(self._stream.now()):
            raise NotFound(f"{principal} holds no live capability {capability!r}", "see umbrella caps list")
        return node.handle

    # -- recording ---------------------------------------------------------------------------------------

    def _tell(self, name: str, measurements: Mapping[str, float] | None = None, /, **metadata: Any) -> None:
        if self._telemetry is not None:
            self._telemetry.emit(name, measurements or {}, metadata)
