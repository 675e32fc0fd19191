"""Actors that nobody needs leave memory, and come back with the next message; those that must stay, stay."""

import asyncio
from collections.abc import Callable
from typing import Any

from actors import TEST_S
from mcp_core.runtime import Actor, Ref
from mcp_core.runtime.observer import state_of
from mcp_core.runtime.passivation import SWEEPS, Passivation
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.testing import ManualClock, RecordingTelemetry, SeededEntropy


class Kept(Actor):
    """Counts in a place of its own, as an actor does whose state is the journal's."""

    passivates = True

    def __init__(self, place: dict[str, int]) -> None:
        super().__init__()
        self.place = place
        self.place["born"] = self.place.get("born", 0) + 1
        self.busy = False

    def may_rest(self) -> bool:
        return not self.busy

    async def on_receive(self, message: Any) -> Any:
        if callable(message):
            return await message()
        if message == "busy":
            self.busy = True
        self.place["count"] = self.place.get("count", 0) + 1
        return self.place["count"]


class Fixed(Kept):
    passivates = False


class Scene:
    """A supervisor with one actor, and the sweeps over it."""

    def __init__(self, kind: type[Kept] = Kept) -> None:
        self.clock = ManualClock()
        self.telemetry = RecordingTelemetry()
        self.supervisor = Supervisor(self.clock, SeededEntropy(), name="agents", telemetry=self.telemetry)
        self.passivation = Passivation(self.supervisor, self.clock, 60.0)
        self.place: dict[str, int] = {}
        self.ref: Ref[Any] = self.supervisor.start(ChildSpec(name="ann", make=lambda: kind(self.place)))

    def sweeps(self, count: int) -> int:
        return sum(self.passivation.sweep() for _ in range(count))


def run(work: Callable[[Scene], Any], kind: type[Kept] = Kept) -> None:
    async def scenario() -> None:
        scene = Scene(kind)
        async with asyncio.timeout(TEST_S):
            await work(scene)
        await scene.supervisor.close(5)

    asyncio.run(scenario())


def test_an_actor_that_handles_nothing_leaves_memory_and_its_next_message_brings_it_back() -> None:
    async def work(scene: Scene) -> None:
        assert await scene.ref.call("one") == 1
        assert scene.sweeps(SWEEPS) == 0, "the first look only notes where it stands"
        assert scene.sweeps(1) == 1
        assert state_of(scene.ref) == "asleep"
        assert scene.ref._actor is None
        assert scene.ref.is_alive()
        assert await scene.ref.call("two") == 2
        assert scene.place["born"] == 2
        assert scene.ref.handled == 2
        names = [name for name in scene.telemetry.names() if name.startswith("mcp.actor.")]
        assert names == ["mcp.actor.passivated", "mcp.actor.awakened"]
        assert scene.supervisor.restarts("ann") == 0, "to sleep is not to crash"

    run(work)


def test_a_message_within_the_time_keeps_it() -> None:
    async def work(scene: Scene) -> None:
        for _ in range(3):
            assert scene.sweeps(SWEEPS) == 0
            await scene.ref.call("again")
        assert scene.place["born"] == 1

    run(work)


def test_what_has_work_or_mail_does_not_rest() -> None:
    async def work(scene: Scene) -> None:
        release = asyncio.Event()
        waiting = asyncio.ensure_future(scene.ref.call(release.wait))
        await asyncio.sleep(0)
        assert scene.sweeps(3 * SWEEPS) == 0, "its handler waits"
        release.set()
        await waiting
        scene.ref.tell("later")
        assert scene.sweeps(3 * SWEEPS) == 0, "it has mail"
        await scene.ref.call("busy")
        assert scene.sweeps(3 * SWEEPS) == 0, "it says so itself"

    run(work)


def test_what_is_nowhere_else_never_rests() -> None:
    async def work(scene: Scene) -> None:
        assert scene.sweeps(5 * SWEEPS) == 0
        assert scene.ref._actor is not None

    run(work, Fixed)


def test_the_sweeps_follow_the_clock_that_was_handed_in() -> None:
    async def work(scene: Scene) -> None:
        sweeping = asyncio.ensure_future(scene.passivation.run())
        for _ in range(SWEEPS):
            await _moved(scene.clock)
            assert state_of(scene.ref) == "idle"
        await _moved(scene.clock)
        assert state_of(scene.ref) == "asleep"
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)

    async def _moved(clock: ManualClock) -> None:
        while not clock.sleepers:
            await asyncio.sleep(0)
        clock.advance(60.0 / SWEEPS)
        while clock.sleepers == 0:
            await asyncio.sleep(0)

    run(work)


def test_many_messages_at_once_wake_it_once_and_none_is_lost() -> None:
    async def work(scene: Scene) -> None:
        scene.sweeps(SWEEPS + 1)
        counts = await asyncio.gather(*(scene.ref.call("x") for _ in range(50)))
        assert counts == list(range(1, 51))
        assert scene.place["born"] == 2

    run(work)


def test_a_sleeper_can_be_stopped_for_good() -> None:
    async def work(scene: Scene) -> None:
        scene.sweeps(SWEEPS + 1)
        await scene.supervisor.stop("ann")
        assert not scene.ref.is_alive()
        assert scene.place["born"] == 1

    run(work)
