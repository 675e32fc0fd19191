"""What a supervisor promises when several things go wrong at the same moment."""

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest
from supervised import House, Threaded, Worker, run, until

from mcp_core.runtime import Actor, ActorGone
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.errors import CallerMistaken, LostRace, NodeUnavailable
from mcp_interface.testing import ManualClock, SeededEntropy

# -- callbacks that raise --------------------------------------------------------------------------------------


def test_a_callback_that_raises_does_not_keep_a_child_from_coming_back() -> None:
    async def scenario() -> None:
        def raising(*_: Any) -> None:
            raise RuntimeError("the callback is broken")

        house = House(max_restarts=1)
        ref = house.start("a", on_restart=raising, on_give_up=raising)
        ref.tell("crash")
        assert await ref.call("add") == 1
        ref.tell("crash")
        with pytest.raises(ActorGone):
            await ref.call("add")
        assert await house.start("a").call("add") == 1
        await house.top.close(1)

    run(scenario())


def test_one_that_raises_when_it_is_asked_to_rest_stays() -> None:
    class Restless(Worker):
        def may_rest(self) -> bool:
            raise RuntimeError("who asks?")

    async def scenario() -> None:
        house = House()
        ref = house.start("a", make=lambda: Restless(house.log, "a"))
        child = house.top.child("a")
        assert child is not None and not child.rest()
        assert await ref.call("add") == 1
        await house.top.close(1)

    run(scenario())


# -- the end ---------------------------------------------------------------------------------------------------


def test_two_of_one_name_never_run_at_the_same_time() -> None:
    async def scenario() -> None:
        house = House()
        gate = asyncio.Event()
        first = house.start("a")
        waiting = asyncio.create_task(first.call(("wait", gate)))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(house.top.stop("a"))
        await asyncio.sleep(0)
        second = house.start("a")
        with pytest.raises(LostRace):
            house.start("a")
        asked = second.ask("add", block=False)
        await asyncio.sleep(0.01)
        assert not asked.done()
        gate.set()
        assert await waiting == 1
        assert await asked == 1
        await stopping
        assert not first.is_alive() and house.log == ["a+", "a+", "a-"]
        await house.top.close(1)

    run(scenario())


def test_one_that_is_stopped_before_its_beginning_never_runs() -> None:
    async def scenario() -> None:
        house = House()
        gate = asyncio.Event()
        waiting = asyncio.create_task(house.start("a").call(("wait", gate)))
        await asyncio.sleep(0)
        stopping = [asyncio.create_task(house.top.stop("a"))]
        await asyncio.sleep(0)
        second = house.start("a")
        asked = second.ask("add", block=False)
        stopping.append(asyncio.create_task(house.top.stop("a")))
        await asyncio.sleep(0)
        with pytest.raises(ActorGone):
            await asked
        gate.set()
        await asyncio.gather(waiting, *stopping)
        assert house.top.children() == []

    run(scenario())


def test_an_ending_goes_on_when_whoever_wanted_it_is_cancelled() -> None:
    async def scenario() -> None:
        house = House()
        gate = asyncio.Event()
        ref = house.start("a")
        waiting = asyncio.create_task(ref.call(("wait", gate)))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(house.top.stop("a"))
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        gate.set()
        assert await waiting == 1
        await house.top.stop("a")  # waits for the same end
        assert not ref.is_alive()

    run(scenario())


def test_mail_is_worked_off_before_the_deadline_and_fails_after_it() -> None:
    async def scenario() -> None:
        house = House()
        prompt, slow = house.start("prompt"), house.start("slow")
        worked_off = [prompt.ask("add", block=False) for _ in range(3)]
        slow.tell(("wait", asyncio.Event()))
        left = [slow.ask("add", block=False) for _ in range(3)]
        await asyncio.gather(house.top.stop("prompt", 5), house.top.stop("slow", 0.02))
        assert [await future for future in worked_off] == [1, 2, 3]
        for future in left:
            with pytest.raises(ActorGone):
                await future

    run(scenario())


def test_a_stop_that_somebody_else_began_has_its_time() -> None:
    class Thorough(Worker):
        async def on_stop(self) -> None:
            await asyncio.sleep(1.2)  # longer than one that is killed may take
            await super().on_stop()

    async def scenario() -> None:
        house = House()
        ref = house.start("a", make=lambda: Thorough(house.log, "a"))
        ref.stop(block=False)
        await asyncio.sleep(0)
        await house.top.stop("a", 5)
        assert house.log == ["a+", "a-"]

    run(scenario())


def test_a_stop_during_the_pause_before_a_restart_is_the_end() -> None:
    async def scenario() -> None:
        house = House()
        ref = house.start("a")
        ref.tell("crash")
        ref.tell("crash")
        asked = ref.ask("add", block=False)
        await until(lambda: house.clock.sleepers)
        await house.top.stop("a")
        with pytest.raises(ActorGone):
            await asked
        house.clock.advance(100)
        await asyncio.sleep(0.01)
        assert house.log == ["a+", "a+"]

    run(scenario())


def test_a_closed_supervisor_starts_nobody() -> None:
    async def scenario() -> None:
        house = House()
        house.start("a")
        await house.top.close(1)
        await house.top.close(1)
        with pytest.raises(NodeUnavailable):
            house.start("a")
        with pytest.raises(NodeUnavailable):
            house.top.branch(house.supervisor(name="low"))

    run(scenario())


def test_a_child_is_started_on_its_supervisors_loop_only() -> None:
    async def scenario() -> None:
        house = House()
        with pytest.raises(CallerMistaken):
            await asyncio.to_thread(house.start, "a")
        assert house.top.children() == []

    run(scenario())


def test_windows_that_cannot_be_counted_are_refused() -> None:
    for options in ({"window_s": 0.0}, {"max_restarts": -1}):
        with pytest.raises(CallerMistaken):
            Supervisor(ManualClock(), SeededEntropy(), **options)  # type: ignore[arg-type]


# -- restarts --------------------------------------------------------------------------------------------------


def test_one_that_is_killed_again_before_it_is_back_is_counted_once() -> None:
    async def scenario() -> None:
        house = House(max_restarts=2)
        ref = house.start("a")
        ref.kill()
        ref.kill()
        await until(lambda: house.clock.sleepers)
        for _ in range(10):
            ref.kill()
        assert house.top.restarts("a") == 2
        house.clock.advance(1)
        assert await ref.call("add") == 1
        await house.top.close(1)

    run(scenario())


def test_the_first_restart_is_at_once_the_next_after_pauses_that_double() -> None:
    async def scenario() -> None:
        house = House(max_restarts=5)
        ref = house.start("a")
        for _ in range(4):
            ref.tell("crash")
            await asyncio.sleep(0.001)
            house.clock.advance(1)
        assert await ref.call("add") == 1
        house.clock.advance(60)
        ref.tell("crash")  # all others have left the window
        assert await ref.call("add") == 1
        pauses = [heard.measurements["pause_s"] for heard in house.told.heard]
        assert pauses[0] == pauses[4] == 0
        for pause, nominal in zip(pauses[1:4], (0.05, 0.1, 0.2), strict=True):
            assert 0.75 * nominal <= pause <= 1.25 * nominal
        await house.top.close(1)

    run(scenario())


def test_everything_that_is_killed_at_once_is_back() -> None:
    async def scenario() -> None:
        house = House()
        refs = [house.start(str(number)) for number in range(1000)]
        refs += [house.start(f"pool-{number}", make=Threaded) for number in range(20)]
        for ref in refs:
            ref.kill()
        assert (
            await asyncio.gather(*(ref.call("add", timeout=10) for ref in refs)) == [1] * 1000 + ["add"] * 20
        )
        assert sum(child.restarts for child in house.top.children()) == 1020
        await house.top.close(5)

    run(scenario())


def test_an_actor_on_a_pool_that_crashes_is_restarted_from_the_loop() -> None:
    async def scenario() -> None:
        house = House(max_restarts=1)
        ref = house.start("a", make=Threaded)
        ref.tell("crash")
        assert await ref.call("still there") == "still there"
        ref.tell("crash")
        with pytest.raises(ActorGone):
            await ref.call("still there")
        assert house.names("mcp.actor.given_up") == ["a"]

    run(scenario())


def test_a_child_that_stops_itself_comes_back_when_it_is_permanent() -> None:
    async def scenario() -> None:
        house = House()
        refs = {restart: house.start(restart, restart=restart) for restart in ("permanent", "transient")}
        for ref in refs.values():
            await ref.call("stop")
        assert await refs["permanent"].call("add") == 1
        await until(lambda: not refs["transient"].is_alive())
        assert [child.name for child in house.top.children()] == ["permanent"]
        await house.top.close(1)

    run(scenario())


def test_a_link_between_children_holds_through_restarts_and_ends_with_one() -> None:
    async def scenario() -> None:
        house = House(max_restarts=1)
        one, other = house.start("one"), house.start("other")
        one.link(other)
        one.tell("crash")
        assert await one.call("add") == 1
        assert house.top.restarts("other") == 0
        one.tell("crash")
        await until(lambda: not one.is_alive())
        assert await other.call("add") == 1
        assert house.top.restarts("other") == 1
        await house.top.close(1)

    run(scenario())


def test_a_supervised_agent_takes_less_than_a_kibibyte() -> None:
    class Stateful(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.state = {"count": 41}

    async def scenario() -> None:
        house = House()
        count = 2000
        for number in range(count):  # what all of them share is there
            house.start(f"warm-{number}", make=Stateful)
        await asyncio.sleep(0)
        gc.collect()
        tracemalloc.start()
        for number in range(count):
            house.start(f"agent-{number}", make=Stateful)
        await asyncio.sleep(0)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / count
        tracemalloc.stop()
        assert taken < 1024
        await house.top.close(1)

    run(scenario())


# -- sleep -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Worker, Threaded])
def test_one_that_is_killed_while_it_sleeps_is_there_for_its_mail(kind: Any) -> None:
    async def scenario() -> None:
        house = House()
        make = (lambda: Worker(house.log, "a")) if kind is Worker else Threaded
        ref = house.start("a", make=make)
        child = house.top.child("a")
        assert child is not None
        await until(child.rest)
        ref.kill()
        assert await ref.call(1, timeout=5) == 1
        await house.top.close(1)

    run(scenario())


def test_one_that_cannot_be_woken_at_first_is_tried_again() -> None:
    async def scenario() -> None:
        made = 0

        def make() -> Worker:
            nonlocal made
            made += 1
            if made == 2:
                raise RuntimeError("not now")
            return Worker([], "a")

        house = House()
        ref = house.start("a", make=make)
        child = house.top.child("a")
        assert child is not None and child.rest()
        asked = ref.ask("add", block=False)
        await until(lambda: house.clock.sleepers)
        house.clock.advance(1)
        assert await asked == 1
        assert house.names("mcp.actor.awakened") == []
        await house.top.close(1)

    run(scenario())
