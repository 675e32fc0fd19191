"""Granting: a right is drafted, audited, journaled, and only then handed over; a bundle all or none.

What a draft looks like is in `minting`. A refusal is on record before whoever asked hears of it.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import msgspec

from mcp_interface.address import Resource
from mcp_interface.capability import Ask, Capability, Grant
from mcp_interface.clock import Entropy
from mcp_interface.errors import CallerMistaken, NotPermitted, UmbrellaError
from mcp_interface.events import CapabilityGranted
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, is_principal, new_id
from mcp_security import minting
from mcp_security.audit import AuditSink, Draft
from mcp_security.derivation import Node
from mcp_security.stream import SecurityStream

MAX_BUNDLE: Final = 100
"""Most rights of one bundle."""


class Granting:
    """Mints the capabilities of one kernel.

    Args:
        stream: The tree, and how it is written.
        audit: Where each grant and refusal is recorded.
        entropy: Randomness for ids.
        now: The present instant.
        tell: Told of each grant.
    """

    def __init__(
        self,
        stream: SecurityStream,
        audit: AuditSink,
        entropy: Entropy,
        now: Callable[[], datetime],
        tell: Callable[..., None],
    ) -> None:
        self._stream = stream
        self._audit = audit
        self._entropy = entropy
        self._now = now
        self._tell = tell

    async def request_all(self, principal: PrincipalId, asks: Sequence[Ask]) -> Sequence[Grant]:
        """Mint several root capabilities, all or none; see `SecurityKernel.request_all`.

        Raises:
            CallerMistaken: There are none, too many, or one names no resource.
            NotPermitted: As `request`; nothing was minted.
            InvalidRecord: As `request`.
        """
        _check_bundle(asks)
        async with self._refusals(principal, asks) as current, self._stream.writer():
            drafts = []
            for current.index, ask in enumerate(asks):
                if ask.resource is None:
                    raise CallerMistaken("a root grant names its resource", "say what it is for")
                drafts.append(minting.root(self._new_id(), principal, ask.resource, ask.options, self._now()))
            return await self._mint(drafts, "capability_granted", principal)

    async def delegate_all(
        self, holder: PrincipalId, to: PrincipalId, asks: Sequence[Ask]
    ) -> Sequence[Grant]:
        """Hand on several rights, all or none; see `SecurityKernel.delegate_all`.

        Raises:
            CallerMistaken: There are none, too many, or one names no parent.
            NotPermitted: As `delegate`; nothing was handed on, and `details["index"]` says which one failed.
            InvalidRecord: As `delegate`.
        """
        _check_bundle(asks)
        async with self._refusals(holder, asks) as current, self._stream.writer():
            drafts = []
            for current.index, ask in enumerate(asks):
                parent = self._parent(ask, holder)
                drafts.append(
                    minting.child(self._new_id(), parent, holder, to, ask.resource, ask.options, self._now())
                )
            return await self._mint(drafts, "capability_delegated", holder)

    def _parent(self, ask: Ask, holder: PrincipalId) -> Node:
        if ask.handle is None:
            raise CallerMistaken("a delegation names what it is derived from", "present the parent's handle")
        parent = self._stream.tree.find(ask.handle)
        if parent is None:
            raise NotPermitted(
                f"{holder} presents a handle that no capability has",
                "present a handle that this kernel gave since its last start",
                {"reason": "unknown_capability"},
            )
        return parent

    def _new_id(self) -> CapabilityId:
        return CapabilityId(new_id("cap", self._entropy))

    async def _mint(self, drafts: Sequence[Capability], kind: str, by: PrincipalId) -> list[Grant]:
        entries = await self._audit.append_all([_granting(capability, kind, by) for capability in drafts])
        await self._stream.append(
            [
                CapabilityGranted(timestamp=capability.granted_at, capability=capability, audit_seq=entry.seq)
                for capability, entry in zip(drafts, entries, strict=True)
            ]
        )
        grants = []
        for capability in drafts:
            node = self._stream.tree.get(capability.id)
            if node is None or not node.alive():
                raise NotPermitted(
                    f"{capability.parent_capability_id} was revoked while it was being handed on",
                    "ask its holder",
                    {"reason": "capability_revoked"},
                )
            grants.append(Grant(node.shown, node.handle))
        for capability in drafts:
            self._tell(
                "mcp.capability.granted",
                capability_id=capability.id,
                principal_id=capability.principal_id,
                resource_uri=capability.resource_uri,
            )
        return grants

    @asynccontextmanager
    async def _refusals(self, principal: PrincipalId, asks: Sequence[Ask]) -> AsyncIterator["_Current"]:
        """Record why a grant was refused; turn what is not a refusal of ours into one."""
        current = _Current()
        try:
            yield current
        except NotPermitted as error:
            error.details.setdefault("index", current.index)
            await self._record_refusal(principal, asks[current.index].resource, error)
            raise
        except UmbrellaError as error:
            if error.code in {"invalid_record", "invalid_address", "invalid_input"}:
                await self._record_refusal(principal, asks[current.index].resource, error)
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


class _Current(msgspec.Struct):
    """Which right of a bundle is being looked at; a refusal names it."""

    index: int = 0


def _check_bundle(asks: Sequence[Ask]) -> None:
    if not 1 <= len(asks) <= MAX_BUNDLE:
        raise CallerMistaken(
            f"a bundle of {len(asks)} rights", f"ask for one at least, for {MAX_BUNDLE} at most"
        )


def _granting(capability: Capability, kind: str, by: PrincipalId) -> Draft:
    return Draft(
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
