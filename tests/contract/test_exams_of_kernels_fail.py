"""Broken kernels that the exams find."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from broken_fakes import assert_found, opening
from mcp_interface.address import Resource
from mcp_interface.capability import Ask, Grant, GrantOptions, Sealed, Verdict
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import (
    CallerMistaken,
)
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId
from mcp_interface.testing import (
    FakeKernel,
    check_kernel,
)


class LetsAChildExceed(FakeKernel):
    async def delegate(
        self,
        handle: Sealed,
        holder: PrincipalId,
        to: PrincipalId,
        resource: Resource | None = None,
        options: GrantOptions = GrantOptions(),
    ) -> Grant:
        grant = await super().delegate(handle, holder, to, None, options)
        if resource is None:
            return grant
        wider = msgspec.structs.replace(grant.capability, resource_uri=resource.uri)
        self._held[wider.id].capability = wider
        return Grant(wider, grant.handle)


class AllowsByDefault(FakeKernel):
    async def authorize(self, principal: PrincipalId, resource: Resource, *given: Any, **o: Any) -> Verdict:
        verdict = await super().authorize(principal, resource, *given, **o)
        return msgspec.structs.replace(verdict, allowed=True, reason="allowed")


class ComparesText(FakeKernel):
    def validate(self, handle: Sealed, principal: PrincipalId, resource: Resource) -> Verdict:
        verdict = super().validate(handle, principal, resource)
        held = self._by_handle.get(handle)
        prefix = held.capability.resource_uri.rstrip("*/") if held else "nothing"
        if verdict.reason == "path_not_allowed" and resource.uri.startswith(prefix):
            return msgspec.structs.replace(
                verdict, allowed=True, reason="allowed", covering=prefix, needed=None
            )
        return verdict


class AsksNobodysName(FakeKernel):
    def validate(self, handle: Sealed, principal: PrincipalId, resource: Resource) -> Verdict:
        held = self._by_handle.get(handle)
        return super().validate(handle, held.capability.principal_id if held else principal, resource)


class NeverExpires(FakeKernel):
    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        return await super().request(
            principal, resource, msgspec.structs.replace(options, expires_in=None, expires_at=None)
        )


class ExpiresLate(FakeKernel):
    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        class Late:
            def __getattr__(self, name: str) -> Any:
                return getattr(clock, name)

            def now(self) -> Any:
                return clock.now() - timedelta(microseconds=1)

        super().__init__(Late(), entropy)


class CountsNothing(FakeKernel):
    async def authorize(self, *given: Any, **options: Any) -> Verdict:
        verdict = await super().authorize(*given, **options)
        for held in self._held.values():
            held.uses = 0
        return verdict


class CountsLooks(FakeKernel):
    def validate(self, handle: Sealed, principal: PrincipalId, resource: Resource) -> Verdict:
        verdict = super().validate(handle, principal, resource)
        if verdict.allowed:
            self._by_handle[handle].uses += 1
        return verdict


class IgnoresUnknownLimits(FakeKernel):
    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        known = {name: value for name, value in options.constraints.items() if name == "max_uses"}
        return await super().request(principal, resource, msgspec.structs.replace(options, constraints=known))


class SparesTheChildren(FakeKernel):
    def _end(self, targets: Any, by: PrincipalId, reason: str) -> list[CapabilityId]:
        for held in self._held.values():
            held.parent = None
        return super()._end(targets, by, reason)


class ListensToStrangers(FakeKernel):
    async def revoke(
        self, capability: CapabilityId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        return await super().revoke(capability, SYSTEM, reason)


class RefillsChildren(FakeKernel):
    async def delegate(self, *given: Any, **options: Any) -> Grant:
        grant = await super().delegate(*given, **options)
        self._held[grant.capability.id].parent = None
        return grant


class HandsOnForEver(FakeKernel):
    async def delegate(self, handle: Sealed, *given: Any, **options: Any) -> Grant:
        held = self._by_handle.get(handle)
        if held is not None:
            held.capability = msgspec.structs.replace(held.capability, delegation_depth=5)
        return await super().delegate(handle, *given, **options)


class GivesHalfABundle(FakeKernel):
    async def delegate_all(
        self, holder: PrincipalId, to: PrincipalId, asks: Sequence[Ask]
    ) -> Sequence[Grant]:
        grants = []
        for ask in asks:
            if ask.handle is None:
                raise CallerMistaken("no parent")
            grants.append(await self.delegate(ask.handle, holder, to, ask.resource, options=ask.options))
        return grants


class RecordsNothing(FakeKernel):
    async def authorize(self, *given: Any, **options: Any) -> Verdict:
        return msgspec.structs.replace(await super().authorize(*given, **options), audit_seq=None)


@pytest.mark.parametrize(
    "kernel",
    [
        LetsAChildExceed,
        AllowsByDefault,
        ComparesText,
        AsksNobodysName,
        NeverExpires,
        ExpiresLate,
        CountsNothing,
        CountsLooks,
        IgnoresUnknownLimits,
        SparesTheChildren,
        ListensToStrangers,
        RefillsChildren,
        HandsOnForEver,
        GivesHalfABundle,
        RecordsNothing,
    ],
)
def test_check_kernel_finds(kernel: type[FakeKernel]) -> None:
    assert_found(check_kernel, kernel)


class AuditsTwice(FakeKernel):
    def explain(self, principal: PrincipalId, resource: Resource) -> Any:
        self._record("explained", principal, "noted")
        return super().explain(principal, resource)


def test_check_kernel_finds_what_is_kept_badly() -> None:
    async def nothing(kernel: FakeKernel) -> list[Any]:
        return []

    async def entries(kernel: FakeKernel) -> list[Any]:
        return list(kernel.audit)

    assert_found(check_kernel, FakeKernel, entries=nothing)
    assert_found(check_kernel, AuditsTwice, entries=entries)
    assert_found(check_kernel, FakeKernel, break_records=lambda kernel: None)
    assert_found(check_kernel, FakeKernel, reopen=opening(lambda old: FakeKernel()))


class DecidesOtherwise(FakeKernel):
    """Not broken: what cannot be judged may be refused at once, and a depth beyond the parent's cut down."""

    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        if options.constraints.keys() - {"max_uses"}:
            raise CallerMistaken("unknown constraint")
        return await super().request(principal, resource, options)

    async def delegate(self, *given: Any, options: GrantOptions = GrantOptions()) -> Grant:
        if options.delegation_depth == 9:
            options = msgspec.structs.replace(options, delegation_depth=None)
        return await super().delegate(*given, options=options)


def test_check_kernel_leaves_open_what_the_contract_leaves_open() -> None:
    asyncio.run(check_kernel(opening(DecidesOtherwise)))
