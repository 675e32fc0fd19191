import asyncio
import pickle
from datetime import timedelta

import msgspec
import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import Capability, Context, Facts, GrantOptions, Sealed
from mcp_interface.errors import InvalidRecord, NotPermitted, StorageCorrupt, StorageUnavailable
from mcp_interface.events import CapabilityGranted, CapabilityUsed, SessionEnded
from mcp_interface.ids import SYSTEM, CapabilityId, new_id
from mcp_interface.telemetry import TABLE
from mcp_interface.testing import SeededEntropy

DATA = "mcp://fs/read/data/**"
X = parse_resource("mcp://fs/read/data/x")


def refused_for(caught: pytest.ExceptionInfo[NotPermitted]) -> str:
    return caught.value.details["reason"]


def test_an_agent_cannot_ask_for_a_right_itself(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            with pytest.raises(NotPermitted) as caught:
                await kernel.request(room.agents[0], X)
            assert "by delegation" in caught.value.message
            assert (await room.trail())[-1].kind == "capability_denied"
            assert kernel.capabilities() == []

    asyncio.run(scenario())


def test_a_fresh_agent_is_told_the_grant_that_would_help(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            verdict = await kernel.authorize(room.agents[0], X)
            assert (verdict.reason, verdict.needed) == ("no_capability", X.uri)
            root = await room.root(kernel, verdict.needed)
            await kernel.delegate(root.handle, room.owner, room.agents[0])
            assert (await kernel.authorize(room.agents[0], X)).allowed

    asyncio.run(scenario())


def test_a_child_path_that_is_a_prefix_of_the_parents_is_refused(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            parent = await room.root(kernel, "mcp://fs/read/tmp/project/**")
            for wider in ("**", "tmp", "tmp/", "tmp/**", "tmp/proj*/**", "tmp/project-evil/**", "t/**"):
                with pytest.raises(NotPermitted) as caught:
                    await kernel.delegate(
                        parent.handle, room.owner, room.agents[0], parse_resource(f"mcp://fs/read/{wider}")
                    )
                assert refused_for(caught) == "path_not_allowed"

    asyncio.run(scenario())


def test_a_childs_limit_never_overrides_its_parents(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            parent = await room.root(kernel, DATA, constraints={"max_uses": 100, "denied_paths": ["/data/s"]})
            child = await kernel.delegate(
                parent.handle,
                room.owner,
                room.agents[0],
                options=GrantOptions(constraints={"max_uses": 10**9, "denied_paths": ["/data/t"]}),
            )
            assert child.capability.constraints == {"max_uses": 100, "denied_paths": ["/data/s", "/data/t"]}

    asyncio.run(scenario())


def test_an_unknown_constraint_is_refused_at_mint_and_recorded(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            with pytest.raises(NotPermitted) as caught:
                await room.root(kernel, DATA, constraints={"moon": 1})
            assert refused_for(caught) == "unknown_constraint"
            parent = await room.root(kernel, DATA)
            with pytest.raises(NotPermitted):
                await kernel.delegate(
                    parent.handle, room.owner, room.agents[0], options=GrantOptions(constraints={"moon": 1})
                )
            with pytest.raises(InvalidRecord):
                await room.root(kernel, DATA, constraints={"allowed_paths": []})
            kinds = [entry.kind for entry in await room.trail()]
            assert kinds.count("capability_denied") == 3

    asyncio.run(scenario())


def test_siblings_draw_from_the_same_uses(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            parent = await room.root(kernel, DATA, constraints={"max_uses": 3})
            for agent in room.agents:
                await kernel.delegate(parent.handle, room.owner, agent)
            allowed = [(await kernel.authorize(agent, X)).allowed for agent in room.agents for _ in range(3)]
            assert sum(allowed) == 3
            assert not (await kernel.authorize(room.owner, X)).allowed

    asyncio.run(scenario())


def test_children_with_fewer_uses_of_their_own_still_draw_from_the_parents(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, constraints={"max_uses": 3})
            fewer = GrantOptions(constraints={"max_uses": 2})
            for agent in room.agents[:3]:
                await kernel.delegate(root.handle, room.owner, agent, options=fewer)
            allowed = [
                [(await kernel.authorize(agent, X)).allowed for _ in range(3)] for agent in room.agents[:3]
            ]
            assert allowed == [[True, True, False], [True, False, False], [False, False, False]]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("limits", "facts", "refused"),
    [
        ({"denied_paths": ["/data/secret"]}, Facts(), "mcp://fs/read/data/secret"),
        ({"allowed_extensions": [".txt"]}, Facts(), "mcp://fs/read/data/x"),
        ({"max_bytes": 10}, Facts(size=11), "mcp://fs/read/data/x"),
        ({"max_bytes": 10}, Facts(), "mcp://fs/read/data/x"),
        ({"not_before": "2100-01-01T00:00:00Z"}, Facts(), "mcp://fs/read/data/x"),
    ],
)
@pytest.mark.parametrize("inherited", [False, True])
def test_looking_by_handle_keeps_every_limit(room, limits, facts, refused, inherited: bool) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, constraints=limits if inherited else {})
            options = GrantOptions(constraints={} if inherited else limits)
            child = await kernel.delegate(root.handle, room.owner, room.agents[0], options=options)
            asked = parse_resource(refused)
            verdict = kernel.validate(child.handle, room.agents[0], asked, facts)
            assert (verdict.allowed, verdict.reason) == (False, "constraint_violated")

    asyncio.run(scenario())


@pytest.mark.parametrize("counted", [{"max_uses": 1}, {"rate_limit": {"count": 1, "per_s": 60}}])
def test_looking_by_handle_sees_that_nothing_is_left(room, counted) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA, constraints=counted)
            child = await kernel.delegate(root.handle, room.owner, room.agents[0])
            assert kernel.validate(child.handle, room.agents[0], X).allowed
            assert (await kernel.authorize(room.agents[0], X)).allowed
            assert not kernel.validate(child.handle, room.agents[0], X).allowed

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "elsewhere",
    [
        "mcp://fs/write/data/x",
        "mcp://db/read/data/x",
        "mcp://fs/read/datax",
        "mcp://fs/read/dat",
        "mcp://fs/read/**",
    ],
)
def test_looking_by_handle_reaches_no_further_than_the_right(room, elsewhere: str) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            for inside in ("data", "data/", "data/x/y"):
                asked = parse_resource(f"mcp://fs/read/{inside}")
                assert kernel.validate(root.handle, room.owner, asked).allowed
                assert not kernel.validate(root.handle, room.agents[0], asked).allowed
            assert not kernel.validate(root.handle, room.owner, parse_resource(elsewhere)).allowed

    asyncio.run(scenario())


def test_a_single_use_is_used_once_under_fifty_at_the_same_time(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA, constraints={"max_uses": 1})
            handles = [grant.handle if at % 2 else None for at in range(50)]
            verdicts = await asyncio.gather(
                *(kernel.authorize(room.agents[0], X, handle=handle) for handle in handles)
            )
            assert sum(verdict.allowed for verdict in verdicts) == 1
            assert {verdict.reason for verdict in verdicts} == {"allowed", "uses_exhausted"}
            assert len({verdict.audit_seq for verdict in verdicts}) == 50
        async with room.kernel() as kernel:
            assert (await kernel.authorize(room.agents[0], X)).reason == "uses_exhausted"

    asyncio.run(scenario())


def test_depth_is_used_up_and_can_be_lowered_not_raised(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            top = await room.root(kernel, DATA, constraints={"max_delegation_depth": 1})
            assert top.capability.delegation_depth == 1
            child = await kernel.delegate(top.handle, room.owner, room.agents[0])
            with pytest.raises(NotPermitted) as caught:
                await kernel.delegate(child.handle, room.agents[0], room.agents[1])
            assert refused_for(caught) == "delegation_depth_exhausted"
            wide = await room.root(kernel, DATA)
            with pytest.raises(NotPermitted):
                await kernel.delegate(
                    wide.handle, room.owner, room.agents[0], options=GrantOptions(delegation_depth=9)
                )

    asyncio.run(scenario())


def test_a_clock_that_is_set_back_revives_nothing(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.root(kernel, DATA, expires_in=timedelta(seconds=10))
            room.clock.advance(10)
            assert kernel.validate(grant.handle, room.owner, X).reason == "expired"
            room.clock._elapsed -= timedelta(seconds=9)
            assert kernel.validate(grant.handle, room.owner, X).reason == "expired"

    asyncio.run(scenario())


def test_a_handle_works_for_its_holder_only_and_its_use_by_another_is_recorded(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            thief = await kernel.authorize(room.agents[1], X, handle=grant.handle)
            assert (thief.allowed, thief.reason) == (False, "wrong_principal")
            with pytest.raises(NotPermitted):
                await kernel.delegate(grant.handle, room.agents[1], room.agents[1])
            last = (await room.trail())[-1]
            assert (last.kind, last.principal_id) == ("capability_denied", room.agents[1])
            assert kernel.validate(Sealed(b"\0" * 16), room.agents[0], X).reason == "unknown_capability"
            assert kernel.validate(Sealed(b""), room.agents[0], X).reason == "unknown_capability"

    asyncio.run(scenario())


def test_a_handle_never_shows(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            secret = grant.handle.reveal()
            assert len(secret) == 16
            with pytest.raises(NotPermitted) as caught:
                await kernel.delegate(Sealed(secret[:-1] + b"!"), room.owner, room.agents[0])
            shown = repr((kernel, vars(kernel), grant, caught.value, kernel.explain(room.agents[0], X)))
            shown += room.path.read_text() + repr(room.told)
            for form in (repr(secret)[2:-1], secret.hex()):
                assert form not in shown
            for thing in (kernel, grant, grant.handle, kernel._tree):
                with pytest.raises(TypeError):
                    pickle.dumps(thing)

    asyncio.run(scenario())


def test_a_copy_with_more_rights_changes_nothing(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, "mcp://fs/read/data/x", constraints={"max_uses": 1})
            forged = msgspec.structs.replace(grant.capability, resource_uri="mcp://fs/read/**")
            forged.constraints.clear()
            child = await kernel.delegate(grant.handle, room.agents[0], room.agents[1])
            assert child.capability.constraints == {"max_uses": 1}
            assert kernel.validate(
                grant.handle, room.agents[0], parse_resource("mcp://fs/read/b")
            ).reason == ("path_not_allowed")
            assert (await kernel.authorize(room.agents[0], X)).allowed
            assert not (await kernel.authorize(room.agents[0], X)).allowed

    asyncio.run(scenario())


def test_revocation_cascades_and_each_end_is_recorded(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            first = await kernel.delegate(root.handle, room.owner, room.agents[0])
            second = await kernel.delegate(first.handle, room.agents[0], room.agents[1])
            ended = await kernel.revoke(root.capability.id, room.owner, "enough; token=abc123")
            assert ended == [grant.capability.id for grant in (root, first, second)]
            revoked = [entry for entry in await room.trail() if entry.decision == "revoked"]
            assert [entry.capability_id for entry in revoked] == ended
            assert "abc123" not in room.path.read_text()
            assert await kernel.revoke(root.capability.id, room.owner) == []
            assert (await kernel.authorize(room.agents[1], X)).reason == "capability_revoked"

    asyncio.run(scenario())


def test_a_stranger_cannot_revoke_and_the_attempt_is_recorded(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            with pytest.raises(NotPermitted):
                await kernel.revoke(grant.capability.id, room.agents[1])
            with pytest.raises(NotPermitted):
                await kernel.revoke_all(room.agents[0], room.agents[1])
            refused = [(entry.kind, entry.resource_uri) for entry in (await room.trail())[-2:]]
            assert refused == [("revocation_denied", DATA)] * 2
            assert kernel.validate(grant.handle, room.agents[0], X).allowed

    asyncio.run(scenario())


def test_a_right_revoked_while_it_is_being_allowed_is_denied(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            verdict, _ = await asyncio.gather(
                kernel.authorize(room.agents[0], X), kernel.revoke(grant.capability.id, SYSTEM)
            )
            assert (verdict.allowed, verdict.reason) == (False, "capability_revoked")

    asyncio.run(scenario())


def test_a_right_that_expires_while_it_is_being_allowed_is_denied(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.given(kernel, DATA, expires_in=timedelta(seconds=5))
            append = room.log.append

            async def slow(**fields):
                entry = await append(**fields)
                room.clock.advance(5)
                return entry

            room.log.append = slow
            assert (await kernel.authorize(room.agents[0], X)).reason == "expired"
            assert [entry.decision for entry in await room.trail()][-2:] == ["allowed", "denied"]

    asyncio.run(scenario())


def test_another_right_does_not_stand_in_for_one_that_ended_meanwhile(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.given(kernel, DATA, expires_in=timedelta(seconds=5))
            await room.given(kernel, DATA)
            append = room.log.append

            async def slow(**fields):
                entry = await append(**fields)
                room.clock.advance(5)
                return entry

            room.log.append = slow
            verdict = await kernel.authorize(room.agents[0], X)
            assert not verdict.allowed
            room.log.append = append
            assert (await kernel.authorize(room.agents[0], X)).allowed

    asyncio.run(scenario())


def test_delegating_while_the_parent_is_revoked_leaves_no_live_child(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            for turn in range(2):
                root = await room.root(kernel, DATA)
                work = [
                    kernel.delegate(root.handle, room.owner, room.agents[0]),
                    kernel.revoke(root.capability.id, room.owner),
                ]
                await asyncio.gather(*(work if turn else reversed(work)), return_exceptions=True)
                assert kernel.held_by(room.agents[0]) == []
                assert not (await kernel.authorize(room.agents[0], X)).allowed

    asyncio.run(scenario())


def test_when_the_audit_is_broken_nothing_is_allowed_or_granted(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            room.audit_broken = True
            verdict = await kernel.authorize(room.agents[0], X)
            assert (verdict.allowed, verdict.reason, verdict.audit_seq) == (False, "security_error", None)
            with pytest.raises(NotPermitted) as caught:
                await room.root(kernel, DATA)
            assert refused_for(caught) == "security_error"
            with pytest.raises(NotPermitted):
                await kernel.delegate(grant.handle, room.agents[0], room.agents[1])
            with pytest.raises(NotPermitted, match="could not be recorded") as caught:
                await kernel.request(room.agents[0], X)
            assert refused_for(caught) == "security_error"
            with pytest.raises(StorageUnavailable):
                await kernel.revoke(grant.capability.id, SYSTEM)
            room.audit_broken = False
            assert (await kernel.authorize(room.agents[0], X)).reason == "capability_revoked"
            assert await kernel.revoke(grant.capability.id, SYSTEM) == [grant.capability.id]
        async with room.kernel() as kernel:
            assert kernel.held_by(room.agents[0]) == []

    asyncio.run(scenario())


def test_when_the_journal_is_broken_nothing_counted_is_allowed_and_nothing_granted(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.given(kernel, DATA, constraints={"max_uses": 1})
            room.store_broken = True
            assert (await kernel.authorize(room.agents[0], X)).reason == "security_error"
            with pytest.raises(NotPermitted) as caught:
                await room.root(kernel, DATA)
            assert refused_for(caught) == "security_error"
            room.store_broken = False
            assert (await kernel.authorize(room.agents[0], X)).allowed
            assert len(kernel.capabilities()) == 2

    asyncio.run(scenario())


def test_what_a_cancelled_grant_left_in_the_journal_is_read_again(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            written = asyncio.Event()
            append = room.store.append

            async def slow(*args, **fields):
                await append(*args, **fields)
                written.set()
                await asyncio.Event().wait()

            room.store.append = slow
            task = asyncio.create_task(room.root(kernel, DATA))
            async with asyncio.timeout(10):
                await written.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            room.store.append = append
            assert kernel.capabilities() == []
            await room.root(kernel, "mcp://fs/read/other")
            assert len(kernel.capabilities()) == 2

    asyncio.run(scenario())


def test_a_newer_writer_makes_the_older_kernel_deny(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            await room.given(kernel, DATA, constraints={"max_uses": 1})
            await room.store.claim()
            assert (await kernel.authorize(room.agents[0], X)).reason == "security_error"
            with pytest.raises(NotPermitted):
                await room.root(kernel, DATA)

    asyncio.run(scenario())


def test_rights_uses_and_ends_survive_a_restart_and_handles_do_not(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            kept = await room.given(kernel, DATA)
            gone = await room.given(kernel, "mcp://fs/write/data/**")
            counted = await room.given(kernel, "mcp://fs/list/data/**", constraints={"max_uses": 2})
            listing = parse_resource("mcp://fs/list/data/x")
            assert (await kernel.authorize(room.agents[0], listing)).allowed
            await kernel.revoke(gone.capability.id, room.owner)
            seq = room.log.head[0]
        async with room.kernel() as kernel:
            trail = await room.trail()
            assert trail[-1].kind == "kernel_started" and trail[-1].seq > seq
            held = [capability.id for capability in kernel.held_by(room.agents[0])]
            assert held == [kept.capability.id, counted.capability.id]
            assert kernel.validate(kept.handle, room.agents[0], X).reason == "unknown_capability"
            handle = kernel.handle_of(kept.capability.id, room.agents[0])
            assert kernel.validate(handle, room.agents[0], X).allowed
            assert (await kernel.authorize(room.agents[0], listing)).allowed
            assert not (await kernel.authorize(room.agents[0], listing)).allowed
            assert await kernel.revoke(gone.capability.id, room.owner) == []
            assert (await room.log.verify()).ok

    asyncio.run(scenario())


def test_more_than_a_page_of_history_is_restored(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await room.root(kernel, DATA)
            for _ in range(1010):
                await kernel.delegate(root.handle, room.owner, room.agents[0])
        async with room.kernel() as kernel:
            assert len(kernel.held_by(room.agents[0])) == 1010

    asyncio.run(scenario())


def test_a_journal_that_amplifies_is_refused_as_corrupt(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            child = (await room.given(kernel, DATA)).capability
        wider = msgspec.structs.replace(
            child, id=CapabilityId(new_id("cap", SeededEntropy(99))), resource_uri="mcp://fs/read/**"
        )
        orphan = msgspec.structs.replace(
            wider, parent_capability_id=CapabilityId(new_id("cap", SeededEntropy(98)))
        )
        unlimited = msgspec.structs.replace(wider, resource_uri=DATA, delegation_depth=10)
        stranger = CapabilityUsed(timestamp=room.clock.now(), capability_id=orphan.id, uses=1)
        bad = [
            *(
                CapabilityGranted(timestamp=room.clock.now(), capability=one)
                for one in (wider, orphan, child)
            ),
            CapabilityGranted(timestamp=room.clock.now(), capability=unlimited),
            stranger,
            SessionEnded(timestamp=room.clock.now()),
        ]
        version = (await room.store.stream_info("security")).version
        records = await room.store.read("security")
        for event in bad:
            room.store = type(room.store)()
            epoch = await room.store.claim()
            await room.store.append("security", [r.event for r in records], expected=0, epoch=epoch)
            await room.store.append("security", [event], expected=version, epoch=epoch)
            with pytest.raises(StorageCorrupt):
                async with room.kernel():
                    pass

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("constraints", "reason"),
    [({"weekdays": ["monday"]}, "unknown_constraint"), ({"max_uses": "many"}, "constraint_violated")],
)
def test_a_limit_written_by_a_newer_kernel_denies_here(room, constraints, reason) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            parent = (await room.root(kernel, DATA)).capability
        future = Capability(
            id=CapabilityId(new_id("cap", SeededEntropy(99))),
            resource_uri=DATA,
            principal_id=room.agents[0],
            granted_at=room.clock.now(),
            parent_capability_id=parent.id,
            delegation_depth=1,
            constraints=constraints,
        )
        await room.store.append(
            "security",
            [CapabilityGranted(timestamp=room.clock.now(), capability=future)],
            expected=1,
            epoch=await room.store.claim(),
        )
        async with room.kernel() as kernel:
            assert (await kernel.authorize(room.agents[0], X)).reason == reason
            handle = kernel.handle_of(future.id, room.agents[0])
            assert kernel.validate(handle, room.agents[0], X).reason == reason
            with pytest.raises(NotPermitted) as caught:
                await kernel.delegate(handle, room.agents[0], room.agents[1])
            assert refused_for(caught) == reason

    asyncio.run(scenario())


def test_what_happens_is_told_under_names_of_the_table(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            grant = await room.given(kernel, DATA)
            await kernel.authorize(room.agents[0], X, Context(note="why"))
            await kernel.authorize(room.agents[1], X)
            await kernel.revoke(grant.capability.id, room.owner)

    asyncio.run(scenario())
    assert [name for name, _ in room.told] == [
        "mcp.capability.granted",
        "mcp.capability.granted",
        "mcp.capability.validated",
        "mcp.capability.denied",
        "mcp.capability.revoked",
    ]
    for name, fields in room.told:
        assert set(fields) == {*TABLE[name].measurements, *TABLE[name].metadata}
