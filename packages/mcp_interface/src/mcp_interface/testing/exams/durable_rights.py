"""The part of the kernel exam about what is kept: rights across processes, the audit trail, failing closed."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from mcp_interface.address import resource
from mcp_interface.capability import AuditEntry, Context, GrantOptions, SecurityKernel
from mcp_interface.errors import NotPermitted
from mcp_interface.testing.exams.asserting import refuses
from mcp_interface.testing.exams.bench import READ, Bench, check_verdict
from mcp_interface.testing.time import ManualClock

K = TypeVar("K", bound=SecurityKernel)


async def outlives_its_process(
    kernel: K, clock: ManualClock, reopen: Callable[[K], AbstractAsyncContextManager[K]]
) -> None:
    """Examine that rights, uses and families are kept by what a kernel leaves behind."""
    bench = Bench(kernel, clock)
    first, second, third = bench.agents
    root = await bench.root(bench.owner, "mcp://fs/read/data/**")
    child = await kernel.delegate(root.handle, bench.owner, first)
    gone = await kernel.delegate(root.handle, bench.owner, second)
    await kernel.revoke(gone.capability.id, bench.owner)
    counted = await kernel.request(third, READ, GrantOptions(constraints={"max_uses": 2}))
    await kernel.authorize(third, READ)
    seq = (await kernel.authorize(second, READ)).audit_seq or 0
    async with reopen(kernel) as again:
        live = [capability.id for capability in again.capabilities()]
        assert live == [root.capability.id, child.capability.id, counted.capability.id], "rights are kept"
        handle = again.handle_of(child.capability.id, first)  # a restart may mint handles anew
        check_verdict(again.validate(handle, first, READ), allowed=True)
        assert not again.validate(gone.handle, second, READ).allowed, "what was revoked stays revoked"
        after = await again.authorize(third, READ)
        check_verdict(after, allowed=True)
        assert (after.audit_seq or 0) > seq, "audit numbers rise across processes"
        assert not (await again.authorize(third, READ)).allowed, "a restart does not refill a counted right"
        ended = await again.revoke(root.capability.id, bench.owner)
        assert set(ended) == {root.capability.id, child.capability.id}, "the family is known across processes"


async def records_decisions(
    kernel: K, clock: ManualClock, entries: Callable[[K], Awaitable[Sequence[AuditEntry]]]
) -> None:
    """Examine that every decision is in the audit trail, and nothing else."""
    bench = Bench(kernel, clock)
    first = bench.agents[0]
    root = await bench.root(bench.owner, READ.uri)
    child = await kernel.delegate(root.handle, bench.owner, first)
    context = Context(session_id=bench.session_id)
    allowed = await kernel.authorize(first, READ, context)
    denied = await kernel.authorize(first, resource("fs", "write", "data/x"), context)
    before = len(await entries(kernel))
    kernel.validate(child.handle, first, READ)
    kernel.explain(first, READ)
    assert len(await entries(kernel)) == before, "validate and explain record nothing"
    await kernel.revoke(root.capability.id, bench.owner, "done")
    trail = list(await entries(kernel))
    numbers = [entry.seq for entry in trail]
    assert numbers == sorted(set(numbers)), f"audit numbers rise: {numbers}"
    for capability, decision in (
        (root.capability.id, "granted"),
        (child.capability.id, "granted"),
        (root.capability.id, "revoked"),
        (child.capability.id, "revoked"),
    ):
        found = [entry for entry in trail if (entry.capability_id, entry.decision) == (capability, decision)]
        assert found, f"nothing says that {capability} was {decision}"
    by_seq = {entry.seq: entry for entry in trail}
    for verdict, decision in ((allowed, "allowed"), (denied, "denied")):
        assert verdict.audit_seq in by_seq, f"nothing is recorded under {verdict.audit_seq}"
        entry = by_seq[verdict.audit_seq]
        assert (entry.decision, entry.principal_id) == (decision, first), f"wrong entry: {entry}"
        assert entry.session_id == bench.session_id, "the session is recorded"


async def fails_closed(kernel: K, clock: ManualClock, break_records: Callable[[K], None]) -> None:
    """Examine that nothing is allowed or granted while nothing can be recorded."""
    bench = Bench(kernel, clock)
    grant = await bench.root(bench.owner, READ.uri)
    break_records(kernel)
    check_verdict(await kernel.authorize(bench.owner, READ), allowed=False, reason="security_error")
    denied = await kernel.authorize(bench.agents[0], READ)
    assert not denied.allowed, "a denial that cannot be recorded is still a denial"
    with refuses(NotPermitted, what="a grant that cannot be recorded"):
        await kernel.request(bench.owner, READ)
    with refuses(NotPermitted, what="a delegation that cannot be recorded"):
        await kernel.delegate(grant.handle, bench.owner, bench.agents[0])
    live = [capability.id for capability in kernel.capabilities()]
    assert live == [grant.capability.id], "what could not be recorded was not given"
