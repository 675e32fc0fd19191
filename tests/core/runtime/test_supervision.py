"""What a supervisor promises when several things go wrong at the same moment."""

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from mcp_core.runtime import Actor, ActorGone, PoolActor, Ref
from mcp_core.runtime.loop import present_loop
from mcp_core.runtime.roll import ROLL
from mcp_core.runtime.supervisor import ChildSpec, Strategy, Supervisor
from mcp_core.runtime.system import System
from mcp_interface.clock import SystemClock
from mcp_interface.errors import CallerMistaken, LostRace, NodeUnavailable
from mcp_interface.testing import ManualClock, RecordingTelemetry, SeededEntropy

GROUPS: list[Strategy] = ["one_for_all", "rest_for_one"]


class Worker(Actor):
    """Notes what it lives through; does what it is told."""

    def __init__(self, log: list[str], name: str) -> None:
        super().__init__()
        self.log = log
        self.name = name
        self.count = 0
        log.append(f"{name}+")

    async def on_receive(self, message: Any) -> Any:
        match message:
            case "crash":
                raise RuntimeError("boom")
            case "stop":
                self.stop()
                return None
            case ("wait", gate):
                await gate.wait()
            case ("stay", gate):
                try:
                    await gate.wait()
                except asyncio.CancelledError:  # as code that swallows everything does
                    await gate.wait()
        self.count += 1
        return self.count

    async def on_stop(self) -> None:
        self.log.append(f"{self.name}-")


class Threaded(PoolActor):
    """Crashes on a thread of the pool."""

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            message.wait(10)
        if message == "crash":
            raise RuntimeError("boom")
        return message


class House:
    """A supervisor with children, on a clock that the test moves."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.told = RecordingTelemetry()
        self.log: list[str] = []
        self.top = self.supervisor(**options)

    def supervisor(self, **options: Any) -> Supervisor:
        return Supervisor(self.clock, SeededEntropy(), telemetry=self.told, **options)

    def start(self, name: str, under: Supervisor | None = None, **options: Any) -> Ref[Any]:
        make = options.pop("make", lambda: Worker(self.log, name))
        return (under or self.top).start(ChildSpec(name=name, make=make, **options))

    def names(self, event: str) -> list[Any]:
        """Whom such an event was about, one after another."""
        about = [heard.metadata for heard in self.told.heard if heard.name == event]
        return [names.get("actor", names.get("supervisor")) for names in about]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


def run(scenario: Any) -> None:
    async def limited() -> None:
        before = len(ROLL)
        async with asyncio.timeout(30):
            await scenario
        assert len(ROLL) == before, "an actor was left behind"

    asyncio.run(limited())


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


# -- several at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_busy_sibling_that_has_to_be_killed_comes_back_once(strategy: Strategy) -> None:
    async def scenario() -> None:
        house = House(strategy=strategy)
        first = house.start("a")
        busy = house.start("b", shutdown_s=0.02)
        busy.tell(("wait", asyncio.Event()))
        await asyncio.sleep(0)
        first.tell("crash")
        assert await busy.call("add", timeout=5) == 1
        assert house.log == ["a+", "b+", "a+", "b+"]
        assert [child.restarts for child in house.top.children()] == [1, 0]
        await house.top.close(1)

    run(scenario())


def test_a_sibling_that_crashes_while_it_should_end_is_not_waited_for() -> None:
    async def scenario() -> None:
        house = House(strategy="one_for_all")
        gate = asyncio.Event()
        first, second = house.start("a"), house.start("b")

        async def crash_later() -> None:
            await gate.wait()
            raise RuntimeError("boom")

        second._actor.on_receive = lambda message: crash_later()
        second.tell("anything")
        await asyncio.sleep(0)
        first.tell("crash")
        await asyncio.sleep(0.01)
        gate.set()
        async with asyncio.timeout(5):  # and not after `shutdown_s`
            assert await first.call("add") == 1
        assert [child.restarts for child in house.top.children()] == [1, 0]
        await house.top.close(1)

    run(scenario())


def test_whoever_is_marked_while_a_group_ends_is_ended_too() -> None:
    async def scenario() -> None:
        house = House(strategy="rest_for_one")
        gate = asyncio.Event()
        refs = {name: house.start(name) for name in "abc"}
        refs["c"].tell(("wait", gate))
        await asyncio.sleep(0)
        refs["b"].tell("crash")
        await asyncio.sleep(0.01)
        refs["a"].tell("crash")  # while c is still waited for
        await asyncio.sleep(0.01)
        gate.set()
        await until(lambda: house.clock.sleepers)
        house.clock.advance(1)
        assert [await refs[name].call("add") for name in "abc"] == [1, 1, 1]
        assert house.log == ["a+", "b+", "c+", "c-", "a+", "b+", "c+"]
        await house.top.close(1)

    run(scenario())


def test_a_temporary_child_ends_with_its_group_and_stays_away() -> None:
    async def scenario() -> None:
        house = House(strategy="one_for_all")
        first, second = house.start("a"), house.start("b", restart="temporary")
        first.tell("crash")
        assert await first.call("add") == 1
        assert not second.is_alive()
        assert house.log == ["a+", "b+", "b-", "a+"]
        third = house.start("c", restart="temporary")
        third.tell("crash")
        await until(lambda: not third.is_alive())
        assert await first.call("add") == 2, "the end of a temporary child is nobody else's matter"
        await house.top.close(1)

    run(scenario())


def test_a_group_whose_member_cannot_be_made_is_restarted_from_there() -> None:
    async def scenario() -> None:
        house = House(strategy="one_for_all")
        made = 0

        def make() -> Worker:
            nonlocal made
            made += 1
            if made == 2:
                raise RuntimeError("not now")
            return Worker(house.log, "b")

        refs = [house.start("a"), house.start("b", make=make), house.start("c")]
        refs[0].tell("crash")
        await until(lambda: house.clock.sleepers)
        house.clock.advance(1)
        assert [await ref.call("add") for ref in refs] == [1, 1, 1]
        assert house.log == ["a+", "b+", "c+", "c-", "b-", "a+", "a-", "a+", "b+", "c+"]
        await house.top.close(1)

    run(scenario())


def test_one_that_is_stopped_while_its_group_is_restarted_does_not_come_back() -> None:
    async def scenario() -> None:
        house = House(strategy="one_for_all")
        refs = {name: house.start(name) for name in "ab"}
        refs["a"].tell("crash")
        refs["a"].tell("crash")
        await until(lambda: house.clock.sleepers)
        asked = refs["b"].ask("add", block=False)
        await house.top.stop("b")
        with pytest.raises(ActorGone):
            await asked
        house.clock.advance(1)
        assert await refs["a"].call("add") == 1
        assert not refs["b"].is_alive()
        await house.top.close(1)

    run(scenario())


def test_one_that_is_woken_while_its_group_ends_begins_with_the_group() -> None:
    async def scenario() -> None:
        house = House(strategy="one_for_all")
        refs = {name: house.start(name) for name in "ab"}
        child = house.top.child("b")
        assert child is not None and child.rest()
        refs["a"].tell("crash")
        refs["a"].tell("crash")
        await until(lambda: house.clock.sleepers)
        asked = refs["b"].ask("add", block=False)
        await asyncio.sleep(0.01)
        assert not asked.done()
        house.clock.advance(1)
        assert await asked == 1
        await house.top.close(1)

    run(scenario())


# -- trees -----------------------------------------------------------------------------------------------------


def _tree(house: House) -> dict[str, Ref[Any]]:
    """Three levels: top (a, mid, z), mid (m, low), low (x, y); only low allows nothing."""
    refs = {"a": house.start("a")}
    mid = house.top.branch(house.supervisor(name="mid", strategy="one_for_one", max_restarts=1))
    refs["m"] = house.start("m", mid)
    low = mid.branch(house.supervisor(name="low", strategy="one_for_one", max_restarts=0))
    refs |= {name: house.start(name, low) for name in "xy"}
    refs["z"] = house.start("z")
    return refs


def test_a_supervisor_that_fails_is_restarted_in_order_behind_the_same_refs() -> None:
    async def scenario() -> None:
        house = House(name="top", strategy="one_for_one")
        given_up: list[BaseException] = []
        low = house.top.branch(house.supervisor(name="low", strategy="one_for_one", max_restarts=0))
        refs = {name: house.start(name, low, on_give_up=given_up.append) for name in "abc"}
        temporary = house.start("t", low, restart="temporary")
        assert [await ref.call("add") for ref in refs.values()] == [1, 1, 1]
        refs["b"].kill()
        assert [await refs[name].call("add") for name in "bca"] == [1, 1, 1]
        assert house.log == ["a+", "b+", "c+", "t+", "t-", "c-", "a-", "a+", "b+", "c+"]
        assert low.failures == 1 and not given_up and not temporary.is_alive()
        assert house.names("mcp.supervisor.escalated") == ["low"]
        assert [child.ref for child in low.children()] == list(refs.values())
        await house.top.close(1)

    run(scenario())


def test_a_failure_climbs_until_somebody_can_answer_it() -> None:
    async def scenario() -> None:
        house = House(name="top", strategy="one_for_one", max_restarts=1)
        refs = _tree(house)
        for _ in range(2):  # mid answers the first, top the second
            refs["x"].tell("crash")
            await refs["x"].call("add")
        assert house.names("mcp.supervisor.escalated") == ["low", "low", "mid"]
        assert [await refs[name].call("add") for name in "amxyz"] == [1, 1, 2, 1, 1]
        assert house.log.count("m+") == 2 and house.log.count("y+") == 3 and house.log.count("a+") == 1
        found = house.top.find("y")
        assert found is not None and found.ref is refs["y"] and house.top.find("nobody") is None
        await house.top.close(1)

    run(scenario())


def test_a_root_that_gives_up_ends_everything_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        told: list[BaseException] = []
        given_up: list[str] = []
        house = House(name="top", strategy="one_for_one", max_restarts=0, on_give_up=told.append)
        refs = _tree(house)
        house.start("w", on_give_up=lambda error: given_up.append(f"w: {error}"))
        refs["x"].tell("crash")
        assert await refs["x"].call("add") == 1
        refs["x"].tell("crash")
        await until(lambda: not any(ref.is_alive() for ref in refs.values()))
        for ref in refs.values():
            with pytest.raises(ActorGone):
                await ref.call("add")
        await house.top.close()
        assert [str(error) for error in told] == ["boom"] and given_up == ["w: boom"]
        assert house.names("mcp.supervisor.escalated") == ["low", "low", "mid", "top"]
        assert sorted(house.names("mcp.actor.given_up")) == ["a", "m", "w", "x", "y", "z"]
        assert "the supervisor 'top' has given up" in caplog.text
        with pytest.raises(NodeUnavailable):
            house.start("late")

    run(scenario())


def test_a_system_tells_its_program_that_the_tree_is_over() -> None:
    async def scenario() -> None:
        told: list[BaseException] = []
        clock = SystemClock()
        async with System(clock, SeededEntropy(), RecordingTelemetry(), on_give_up=told.append) as system:
            low = Supervisor(clock, SeededEntropy(), name="low", strategy="one_for_one", max_restarts=0)
            ref = system.tree.branch(low).start(ChildSpec(name="a", make=lambda: Worker([], "a")))
            async with asyncio.timeout(20):
                while not told:
                    ref.kill()
                    await asyncio.sleep(0.01)
            assert not system.tree.children() and system.tree.closed

    run(scenario())


def test_a_system_leaves_the_dead_letters_as_it_found_them() -> None:
    async def scenario() -> None:
        home = present_loop()
        before = home.dead_letter, PoolActor.pool.dead_letter
        async with System(SystemClock(), SeededEntropy(), RecordingTelemetry()) as system:
            assert home.dead_letter == system._undelivered
        assert (home.dead_letter, PoolActor.pool.dead_letter) == before

    run(scenario())


def test_a_dynamic_supervisor_gives_up_a_branch_and_nobody_else() -> None:
    async def scenario() -> None:
        house = House(name="top", max_restarts=0)
        other = house.start("other")
        low = house.top.branch(house.supervisor(name="low", strategy="one_for_all", max_restarts=0))
        refs = [house.start(name, low) for name in "ab"]
        refs[0].tell("crash")
        await until(lambda: not any(ref.is_alive() for ref in refs))
        assert await other.call("add") == 1
        assert house.top.branches() == [] and low.closed
        assert sorted(house.names("mcp.actor.given_up")) == ["a", "b"]
        again = house.top.branch(house.supervisor(name="low"))
        assert await house.start("a", again).call("add") == 1
        await house.top.close(1)

    run(scenario())


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_branch_is_restarted_with_its_group(strategy: Strategy) -> None:
    async def scenario() -> None:
        house = House(name="top", strategy=strategy)
        first = house.start("a")
        low = house.top.branch(house.supervisor(name="low", strategy="one_for_one"))
        refs = [house.start("b", low)]
        refs.append(house.start("c", low.branch(house.supervisor(name="deep"))))
        first.tell("crash")
        assert [await ref.call("add") for ref in (first, *refs)] == [1, 1, 1]
        assert house.log == ["a+", "b+", "c+", "c-", "b-", "a+", "b+", "c+"]
        await house.top.close(1)

    run(scenario())


def test_one_that_is_started_while_its_supervisor_is_restarted_begins_with_it() -> None:
    async def scenario() -> None:
        house = House(name="top", strategy="one_for_one")
        low = house.top.branch(house.supervisor(name="low", strategy="one_for_one", max_restarts=0))
        first = house.start("a", low)
        first.kill()
        assert low.down
        late = house.start("late", low)
        assert [await ref.call("add") for ref in (first, late)] == [1, 1]
        assert house.log == ["a+", "late+", "a+"]
        await house.top.close(1)

    run(scenario())


def test_a_tree_that_is_closed_while_it_fails_stays_closed() -> None:
    async def scenario() -> None:
        house = House(name="top", strategy="one_for_all")
        low = house.top.branch(house.supervisor(name="low", strategy="one_for_one", max_restarts=0))
        refs = [house.start("a"), house.start("b", low)]
        for _ in range(2):
            refs[1].tell("crash")
            await until(lambda: low.failures)
        asked = [ref.ask("add", block=False) for ref in refs]
        await house.top.close(1)
        house.clock.advance(100)
        await asyncio.sleep(0.01)
        assert not any(ref.is_alive() for ref in refs)
        assert all(future.done() for future in asked)
        assert house.top.children() == house.top.branches() == [] == low.children()

    run(scenario())


def test_a_handler_that_resists_does_not_keep_a_tree_from_ending() -> None:
    async def scenario() -> None:
        house = House(name="top", strategy="one_for_one")
        gate = asyncio.Event()
        ref = house.start("a")
        asked = ref.ask(("stay", gate), block=False)
        await asyncio.sleep(0)
        await house.top.close(0.02)
        with pytest.raises(ActorGone):
            await asked
        gate.set()

    run(scenario())


def test_a_place_in_the_tree_is_taken_once() -> None:
    async def scenario() -> None:
        house = House(name="top")
        low = house.top.branch(house.supervisor(name="low"))
        house.start("a")
        for name in ("low", "a"):
            with pytest.raises(LostRace):
                house.top.branch(house.supervisor(name=name))
        with pytest.raises(LostRace):
            house.start("low")
        with pytest.raises(LostRace):
            house.supervisor(name="elsewhere").branch(low)
        await low.close(1)
        assert house.top.branches() == []
        await house.top.close(1)

    run(scenario())
