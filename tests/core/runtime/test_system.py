"""What the actors of one node share: the tree, the names in it, and a place for what is not delivered."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from actors import TEST_S, Doer, Echo, PoolDoer
from mcp_core.runtime.observer import state_of
from mcp_core.runtime.passivation import SWEEPS
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_core.runtime.system import System
from mcp_interface.clock import SystemClock
from mcp_interface.errors import DeadlineExceeded, LostRace, TooMuch, WorldBroken
from mcp_interface.testing import ManualClock, RecordingTelemetry, SeededEntropy


def run(work: Callable[[System], Any], clock: Any = None) -> System:
    async def scenario() -> System:
        system = System(clock or SystemClock(), SeededEntropy(), RecordingTelemetry(), stop_s=2.0)
        async with system, asyncio.timeout(TEST_S):
            await work(system)
        return system

    return asyncio.run(scenario())


class Resting(Echo):
    passivates = True


def spec(name: str, kind: Any = Echo) -> ChildSpec:
    return ChildSpec(name=name, make=kind)


def test_an_actor_is_found_wherever_it_is_in_the_tree() -> None:
    async def work(system: System) -> None:
        branch = system.branch("agents")
        below = branch.branch(Supervisor(SystemClock(), SeededEntropy(), name="deep"))
        refs = {
            name: place.start(spec(name)) for name, place in [("a", system.tree), ("b", branch), ("c", below)]
        }
        for name, ref in refs.items():
            child = system.find(name)
            assert child is not None
            assert child.ref is ref
        assert system.find("d") is None
        with pytest.raises(LostRace):
            system.branch("agents")

    run(work)


def test_leaving_ends_every_actor_and_its_own_threads() -> None:
    refs: list[Any] = []

    async def work(system: System) -> None:
        branch = system.branch("agents", passive_after_s=60.0)
        refs.extend(
            [branch.start(spec("a")), system.tree.start(spec("b")), branch.start(spec("p", PoolDoer))]
        )
        await asyncio.sleep(0)

    system = run(work)
    assert [state_of(ref) for ref in refs] == ["ended"] * 3
    assert all(sweep.done() for sweep in system._sweeps)
    assert not system.watchdog._thread.is_alive()


def test_idle_children_of_a_passive_branch_leave_memory() -> None:
    clock = ManualClock()

    async def work(system: System) -> None:
        ref = system.branch("agents", passive_after_s=60.0).start(spec("a", Resting))
        stays = system.branch("others").start(spec("b", Resting))
        for _ in range(SWEEPS + 1):
            while not clock.sleepers:
                await asyncio.sleep(0)
            clock.advance(60.0 / SWEEPS)
            while not clock.sleepers:
                await asyncio.sleep(0)
        assert state_of(ref) == "asleep"
        assert state_of(stays) == "idle"
        assert await ref.call("hello") == "hello"

    run(work, clock)


def test_mail_of_an_actor_that_ends_is_kept_with_its_reason_and_can_be_sent_to_its_successor() -> None:
    async def work(system: System) -> None:
        ref = system.tree.start(ChildSpec(name="a", make=Echo, restart="temporary"))
        ref.tell("lost")
        ref.kill()
        (letter,) = system.letters.page()
        assert (letter.to, letter.outline, letter.kept) == ("a", "'lost'", True)
        assert letter.reason == "its receiver has ended"
        successor = system.tree.start(spec("a"))
        system.letters.replay(letter.number, lambda name: successor)
        await successor.call("then")
        assert successor._actor.got == ["lost", "then"]
        assert len(system.letters) == 0

    run(work)


def test_a_reply_that_comes_too_late_is_told_and_cannot_be_sent_to_whoever_gave_it() -> None:
    async def work(system: System) -> None:
        class Stubborn(Doer):
            interruptible = False

        ref = system.tree.start(spec("slow", Stubborn))
        release = asyncio.Event()

        async def answer() -> str:
            await release.wait()
            return "the answer"

        with pytest.raises(DeadlineExceeded):
            await ref.call(answer, timeout=0.01)
        release.set()
        await ref.call(lambda: None)
        (letter,) = system.letters.page()
        assert (letter.to, letter.outline, letter.kept) == ("slow", "'the answer'", False)
        with pytest.raises(TooMuch, match="or an answer"):
            system.letters.replay(letter.number, lambda name: ref)
        assert len(system.letters) == 1

    run(work)


def test_what_a_thread_of_the_pool_cannot_deliver_is_kept_on_the_loop() -> None:
    async def work(system: System) -> None:
        ref = system.tree.start(ChildSpec(name="p", make=PoolDoer, restart="temporary"))
        started, release = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def hold() -> None:
            loop.call_soon_threadsafe(started.set)
            release.wait(TEST_S)

        ref.tell(hold)
        await started.wait()
        ref.tell("lost")
        ref.kill()
        release.set()
        while not len(system.letters):
            await asyncio.sleep(0.005)
        assert [letter.to for letter in system.letters.page()] == ["p"]

    run(work)


def test_a_breaker_that_opens_is_told() -> None:
    async def work(system: System) -> None:
        breaker = system.breakers().of("far")

        async def fail() -> None:
            raise WorldBroken("away")

        for _ in range(3):
            with pytest.raises(WorldBroken):
                await breaker.run(fail)
        telemetry: Any = system._telemetry
        assert ("mcp.breaker.state", {}, {"state": "open", "target": "far"}) in [
            (heard.name, heard.measurements, heard.metadata) for heard in telemetry.heard
        ]

    run(work)


def test_a_supervisor_says_whether_it_would_answer_one_more_end() -> None:
    async def work(system: System) -> None:
        branch = system.branch("agents")
        ref = branch.start(spec("a"))
        child = system.find("a")
        assert child is not None
        for count in range(branch.max_restarts):
            assert branch.answers(child)
            ref.kill()
            while state_of(ref) == "down":
                await asyncio.sleep(0)
                clock.advance(0.1)  # the pauses before it comes back
            assert branch.restarts("a") == count + 1
        assert not branch.answers(child)
        clock.advance(branch.window_s + 1)
        assert branch.answers(child), "they are forgiven after a while"
        once = branch.start(ChildSpec(name="b", make=Echo, restart="temporary"))
        assert once.is_alive()
        fleeting = system.find("b")
        assert fleeting is not None
        assert not branch.answers(fleeting)

    clock = ManualClock()
    run(work, clock)
