"""Groups that end and begin together, and failures that climb a tree of supervisors."""

import asyncio
from typing import Any

import pytest
from supervised import House, Worker, run, until

from mcp_core.runtime import ActorGone, PoolActor, Ref
from mcp_core.runtime.loop import present_loop
from mcp_core.runtime.supervisor import ChildSpec, Strategy, Supervisor
from mcp_core.runtime.system import System
from mcp_interface.clock import SystemClock
from mcp_interface.errors import LostRace, NodeUnavailable
from mcp_interface.testing import RecordingTelemetry, SeededEntropy

GROUPS: list[Strategy] = ["one_for_all", "rest_for_one"]


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
