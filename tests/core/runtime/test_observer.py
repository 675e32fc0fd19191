"""A look at the actors: true, bounded, and nothing of it disturbs them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import TEST_S, Doer, Echo, PoolDoer
from mcp_core.runtime import Actor
from mcp_core.runtime.observer import CHUNK, SEEN, WATCHED, Observer, resident, state_of
from mcp_core.runtime.supervisor import ChildSpec
from mcp_core.runtime.system import System
from mcp_interface.clock import SystemClock
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, NotFound, TooMuch
from mcp_interface.ids import MessageId
from mcp_interface.observe import ActorOrder, ActorStatus, Branch, RuntimeStatus
from mcp_interface.testing import RecordingTelemetry, SeededEntropy

USER = "user_" + "a" * 32


def run(work: Callable[[System, Observer], Any]) -> Any:
    async def scenario() -> Any:
        clock = SystemClock()
        system = System(clock, SeededEntropy(), RecordingTelemetry(), stop_s=2.0)
        async with system, asyncio.timeout(TEST_S):
            return await work(system, Observer(system, clock, lambda name: f"Who is {name}"))

    return asyncio.run(scenario())


def spec(name: str, kind: Any = Doer) -> ChildSpec:
    return ChildSpec(name=name, make=kind)


def actor(status: RuntimeStatus, name: str) -> ActorStatus:
    return next(each for each in everybody(status.tree) if each.name == name)


def everybody(branch: Branch) -> list[ActorStatus]:
    return [*branch.actors, *(each for below in branch.branches for each in everybody(below))]


def test_the_tree_is_shown_as_it_is() -> None:
    async def work(system: System, observer: Observer) -> None:
        outer = system.branch("outer", "one_for_all")
        system.branch("inner")
        outer.start(spec("a"))
        system.tree.start(spec("top", Echo))
        pool = outer.start(spec("blocking", PoolDoer))
        await pool.call(lambda: 1)
        status = await observer.look()
        tree = status.tree
        assert (tree.name, tree.strategy, tree.total) == ("node", "one_for_one", 1)
        assert [(branch.name, branch.strategy, branch.total) for branch in tree.branches] == [
            ("outer", "one_for_all", 2),
            ("inner", "dynamic", 0),
        ]
        shown = actor(status, "a")
        assert (shown.type, shown.kind, shown.state, shown.about) == ("Doer", "loop", "idle", "Who is a")
        assert actor(status, "blocking").kind == "pool"
        assert status.threads >= 1
        assert status.actors >= 3
        assert status.memory == 0 or status.memory > 1_000_000
        assert resident() >= 0
        assert status.blocked is None
        assert status.uptime_s >= 0

    run(work)


def test_each_state_is_called_by_its_name() -> None:
    async def work(system: System, observer: Observer) -> None:
        ref = system.tree.start(spec("a"))

        async def state() -> str:
            return actor(await observer.look(), "a").state

        assert await state() == "idle"
        ref.tell(lambda: None)
        ref.tell(lambda: None)
        assert state_of(ref) == "ready"
        assert actor(await observer.look(), "a").mail == 2
        release, here = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            here.set()
            await release.wait()

        ref.tell(wait)
        await here.wait()
        status = await observer.look()
        assert actor(status, "a").state == "waiting"
        assert status.suspended >= 1
        seen = []
        release.set()
        await ref.call(lambda: seen.append(state_of(ref)))
        assert seen == ["busy"]
        await system.tree.stop("a")
        assert state_of(ref) == "ended"

    run(work)


def test_who_waits_for_whom_is_shown() -> None:
    async def work(system: System, observer: Observer) -> None:
        asked, asker = system.tree.start(spec("asked")), system.tree.start(spec("asker"))
        release = asyncio.Event()
        asker.tell(lambda: asked.call(release.wait))
        while state_of(asked) != "waiting":
            await asyncio.sleep(0)
        assert actor(await observer.look(), "asker").waits_for == ["asked"]
        release.set()
        await asker.call(lambda: None)
        assert actor(await observer.look(), "asker").waits_for == []

    run(work)


def test_two_looks_give_the_rate_of_each_actor_over_its_restarts() -> None:
    async def work(system: System, observer: Observer) -> None:
        ref = system.tree.start(spec("a"))
        first = await observer.look()
        for _ in range(300):
            await ref.call(lambda: None)
        ref.kill()
        for _ in range(10):
            await ref.call(lambda: None)
        second = await observer.look()
        assert actor(second, "a").handled - actor(first, "a").handled == 310
        assert second.uptime_s > first.uptime_s
        assert actor(second, "a").restarts == 1

    run(work)


@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    order=st.sampled_from(["mail", "handled", "restarts", "name"]),
    limit=st.integers(1, 15),
)
@settings(max_examples=25, deadline=None)
def test_the_first_of_any_order_are_shown_and_all_are_counted(
    counts: list[int], order: ActorOrder, limit: int
) -> None:
    async def work(system: System, observer: Observer) -> None:
        branch = system.branch("many")
        refs = [branch.start(spec(f"{place:02}", Echo)) for place in range(len(counts))]
        for count, ref in zip(counts, refs, strict=True):
            for _ in range(count):
                ref.tell("mail") if order == "mail" else await ref.call("x")
        shown = (await observer.look(order=order, limit=limit)).tree.branches[0]
        assert shown.total == len(counts)
        keys: dict[str, Callable[[int], Any]] = {
            "mail": lambda place: (-counts[place], place),
            "handled": lambda place: (-counts[place], place),
            "restarts": lambda place: place,
            "name": lambda place: place,
        }
        wanted = sorted(range(len(counts)), key=keys[order])[:limit]
        assert [each.name for each in shown.actors] == [f"{place:02}" for place in wanted]

    run(work)


def test_a_match_looks_at_name_type_and_what_people_call_it() -> None:
    async def work(system: System, observer: Observer) -> None:
        system.tree.start(spec("Harbor"))
        system.tree.start(spec("quay", Echo))

        async def found(match: str) -> list[str]:
            branch = (await observer.look(match=match, order="name")).tree
            assert branch.total == len(branch.actors)
            return [each.name for each in branch.actors]

        assert await found("HARB") == ["Harbor"]
        assert await found("echo") == ["quay"]
        assert await found("who is q") == ["quay"]
        assert await found("") == ["Harbor", "quay"]
        assert await found("nobody") == []

    run(work)


def test_a_look_at_very_many_lets_the_others_have_their_turns() -> None:
    async def work(system: System, observer: Observer) -> None:
        branch = system.branch("many")
        for place in range(3 * CHUNK):
            branch.start(spec(f"a{place}", Echo))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.ensure_future(count())
        status = await observer.look(limit=10)
        other.cancel()
        with suppress(asyncio.CancelledError):
            await other
        assert status.tree.branches[0].total == 3 * CHUNK
        assert len(status.tree.branches[0].actors) == 10
        assert turns >= 2

    run(work)


def test_memory_is_measured_when_asked_for() -> None:
    async def work(system: System, observer: Observer) -> None:
        ref = system.tree.start(spec("a", Echo))
        assert actor(await observer.look(), "a").memory is None
        before = actor(await observer.look(memory=True), "a").memory
        for place in range(1000):
            await ref.call(place)
        after = actor(await observer.look(memory=True), "a").memory
        assert before is not None
        assert after is not None
        assert after > before + 4000, "a list of a thousand"

    run(work)


# -- one actor's messages -------------------------------------------------------------------------------------


def envelope(payload: Any) -> Envelope:
    return Envelope(
        id=MessageId("msg_1"),
        to="mcp://agent/x",
        sender=USER,
        payload=payload,
        timestamp=datetime.now(UTC),
    )


def test_a_watched_actor_shows_each_message_with_sender_duration_and_outcome() -> None:
    async def work(system: System, observer: Observer) -> None:
        ref = system.tree.start(spec("a", Echo))
        await ref.call("before")
        observer.watch("a")
        observer.watch("a")  # again is harmless
        await ref.call(envelope("hello"))
        with pytest.raises(CallerMistaken):
            await ref.call(CallerMistaken("no"))
        with pytest.raises(KeyError):
            await ref.call(KeyError("x"))
        seen = observer.seen("a")
        assert [each.outcome for each in seen] == ["ok", "invalid_input", "KeyError"]
        assert seen[0].sender == USER
        assert "hello" in seen[0].message
        assert seen[1].sender == ""
        assert all(each.duration_s >= 0 for each in seen)
        assert actor(await observer.look(), "a").watched
        observer.unwatch("a")
        observer.unwatch("a")
        await ref.call("after")
        assert not actor(await observer.look(), "a").watched
        with pytest.raises(NotFound, match="not watched"):
            observer.seen("a")
        assert "on_receive" not in ref._actor.__dict__, "and it pays nothing any more"

    run(work)


def test_a_handler_that_waits_is_noted_when_it_ends_and_as_it_ends() -> None:
    async def work(system: System, observer: Observer) -> None:
        ref = system.tree.start(spec("a"))
        observer.watch("a")
        release = asyncio.Event()
        asking = asyncio.ensure_future(ref.call(release.wait))
        await asyncio.sleep(0.02)
        assert observer.seen("a") == []
        release.set()
        await asking
        forever = asyncio.ensure_future(ref.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        forever.cancel()
        await asyncio.gather(forever, return_exceptions=True)
        await ref.call(lambda: None)
        waited, cancelled, plain = observer.seen("a")
        assert waited.outcome == plain.outcome == "ok"
        assert waited.duration_s >= 0.015
        assert cancelled.outcome == "CancelledError"

    run(work)


def test_watching_survives_a_restart_and_works_on_the_pool() -> None:
    async def work(system: System, observer: Observer) -> None:
        ref = system.tree.start(spec("a", Echo))
        pool = system.tree.start(spec("p", PoolDoer))
        observer.watch("a")
        observer.watch("p")
        await ref.call(1)
        ref.tell(RuntimeError("crash"))
        await ref.call(2)
        assert [each.outcome for each in observer.seen("a")] == ["ok", "RuntimeError", "ok"]
        assert await pool.call(lambda: 7) == 7
        assert [each.outcome for each in observer.seen("p")] == ["ok"]

    run(work)


def test_so_many_messages_are_kept_the_latest_ones() -> None:
    async def work(system: System, observer: Observer) -> None:
        ref = system.tree.start(spec("a", Echo))
        observer.watch("a")
        for place in range(SEEN + 5):
            await ref.call(place)
        messages = [each.message for each in observer.seen("a")]
        assert messages == [str(place) for place in range(5, SEEN + 5)]

    run(work)


def test_so_many_can_be_watched_and_those_that_have_ended_make_room() -> None:
    async def work(system: System, observer: Observer) -> None:
        for place in range(WATCHED + 1):
            system.tree.start(spec(f"a{place}", Echo))
        for place in range(WATCHED):
            observer.watch(f"a{place}")
        with pytest.raises(TooMuch, match="stop watching"):
            observer.watch(f"a{WATCHED}")
        await system.tree.stop("a3")
        assert observer.seen("a3") == [], "what it received can be read until its place is needed"
        observer.watch(f"a{WATCHED}")
        with pytest.raises(NotFound):
            observer.seen("a3")
        with pytest.raises(NotFound, match="look at the tree"):
            observer.watch("nobody")

    run(work)


def test_an_actor_that_comes_under_the_name_of_one_that_has_ended_is_watched_anew() -> None:
    async def work(system: System, observer: Observer) -> None:
        system.tree.start(spec("a", Echo))
        observer.watch("a")
        await system.tree.stop("a")
        ref = system.tree.start(spec("a", Echo))
        assert not actor(await observer.look(), "a").watched
        observer.watch("a")
        await ref.call("hello")
        assert [each.message for each in observer.seen("a")] == ["'hello'"]

    run(work)


def test_one_that_works_beside_its_messages_is_busy() -> None:
    class Worker(Actor):
        working = True

        def may_rest(self) -> bool:
            if self.working is None:
                raise RuntimeError("cannot say")
            return not self.working

    async def scenario() -> None:
        ref = Worker.start()
        assert state_of(ref) == "busy"
        for working in (False, None):  # what cannot be told does not fail the look
            ref._actor.working = working
            assert state_of(ref) == "idle"
        ref.kill()

    asyncio.run(scenario())
