import asyncio
from typing import Any

import pytest

from mcp_core.runtime import Actor, ActorGone, Down, Ref
from mcp_core.runtime.supervisor import ChildSpec, Strategy, Supervisor
from mcp_interface.clock import SystemClock
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    LostRace,
    NotFound,
    StorageUnavailable,
    TooMuch,
)
from mcp_interface.testing import SeededEntropy


class Counter(Actor):
    """Counts; crashes and dawdles when told to."""

    def __init__(self, log: list[str], name: str = "") -> None:
        super().__init__()
        self.log = log
        self.name = name
        self.count = 0

    async def on_start(self) -> None:
        self.log.append(f"{self.name}started")

    async def on_receive(self, message: Any) -> Any:
        match message:
            case "add":
                self.count += 1
                return self.count
            case "refuse":
                raise CallerMistaken("no")
            case "crash":
                raise RuntimeError("boom")
            case ("sleep", seconds):
                await asyncio.sleep(seconds)
                return "slept"
        raise AssertionError(message)

    async def on_stop(self) -> None:
        self.log.append(f"{self.name}stopped")


class Small(Counter):
    mailbox_limit = 3


def _supervisor(**options: Any) -> Supervisor:
    return Supervisor(SystemClock(), SeededEntropy(), **options)


async def _with_counter(use: Any, kind: type[Counter] = Counter, **options: Any) -> list[str]:
    log: list[str] = []
    limits = {name: options.pop(name) for name in ("max_restarts", "window_s") if name in options}
    supervisor = _supervisor(**limits)
    ref = supervisor.start(ChildSpec(name="counter", make=lambda: kind(log), **options))
    try:
        await use(supervisor, ref, log)
    finally:
        await supervisor.close(5)
    return log


def test_an_ask_is_answered_and_messages_keep_their_order() -> None:
    async def use(_: Supervisor, ref: Ref[Any], __: list[str]) -> None:
        assert await asyncio.gather(*(ref.call("add") for _ in range(20))) == list(range(1, 21))

    assert asyncio.run(_with_counter(use)) == ["started", "stopped"]


def test_an_error_in_an_ask_goes_to_the_asker_and_the_actor_lives() -> None:
    async def use(_: Supervisor, ref: Ref[Any], __: list[str]) -> None:
        await ref.call("add")
        with pytest.raises(CallerMistaken):
            await ref.call("refuse")
        assert await ref.call("add") == 2

    asyncio.run(_with_counter(use))


def test_a_crash_is_answered_by_a_fresh_actor_behind_the_same_ref() -> None:
    async def use(supervisor: Supervisor, ref: Ref[Any], log: list[str]) -> None:
        await ref.call("add")
        ref.tell("crash")
        assert await ref.call("add") == 1
        assert log == ["started", "started"]
        assert supervisor.restarts("counter") == 1

    asyncio.run(_with_counter(use))


def test_mail_waits_for_the_new_incarnation_in_its_order() -> None:
    async def use(_: Supervisor, ref: Ref[Any], __: list[str]) -> None:
        ref.tell("crash")
        answers = [ref.ask("add", block=False) for _ in range(5)]
        assert [await answer for answer in answers] == [1, 2, 3, 4, 5]

    asyncio.run(_with_counter(use))


def test_a_child_that_crashes_too_often_is_given_up() -> None:
    given_up: list[BaseException] = []

    async def use(_: Supervisor, ref: Ref[Any], __: list[str]) -> None:
        async with asyncio.timeout(10):
            while not given_up:
                if ref.is_alive():
                    ref.tell("crash")
                await asyncio.sleep(0.005)
        with pytest.raises(NotFound):
            await ref.call("add")

    asyncio.run(_with_counter(use, max_restarts=2, on_give_up=given_up.append))
    assert isinstance(given_up[0], RuntimeError)


def test_a_deadline_ends_the_wait_but_not_the_work() -> None:
    async def use(_: Supervisor, ref: Ref[Any], __: list[str]) -> None:
        with pytest.raises(DeadlineExceeded):
            await ref.call(("sleep", 0.2), timeout=0.05)
        assert await ref.call("add", timeout=5) == 1

    asyncio.run(_with_counter(use))


def test_a_full_mailbox_refuses_but_takes_a_stop() -> None:
    async def use(supervisor: Supervisor, ref: Ref[Any], log: list[str]) -> None:
        sleeping = asyncio.create_task(ref.call(("sleep", 0.2)))
        await asyncio.sleep(0)
        with pytest.raises(TooMuch):
            for _ in range(10):
                ref.tell("add")
        await supervisor.stop("counter", 5)
        assert log == ["started", "stopped"]
        assert await sleeping == "slept"

    asyncio.run(_with_counter(use, Small))


def test_one_name_is_supervised_once() -> None:
    async def use(supervisor: Supervisor, _: Ref[Any], log: list[str]) -> None:
        with pytest.raises(LostRace):
            supervisor.start(ChildSpec(name="counter", make=lambda: Counter(log)))

    asyncio.run(_with_counter(use))


def test_a_planned_end_ends_a_transient_child_and_restarts_a_permanent_one() -> None:
    async def scenario() -> None:
        log: list[str] = []
        supervisor = _supervisor()
        for restart in ("permanent", "transient", "temporary"):
            supervisor.start(ChildSpec(name=restart, make=lambda: Counter(log), restart=restart))  # type: ignore[arg-type]
        refs = {child.spec.name: child.ref for child in supervisor.children()}
        for ref in refs.values():
            await ref.stop(block=False)
        await asyncio.sleep(0)
        assert {name for name, ref in refs.items() if ref.is_alive()} == {"permanent"}
        refs["permanent"].kill()
        assert await refs["permanent"].call("add") == 1
        await supervisor.close(1)

    asyncio.run(scenario())


def test_a_busy_child_is_killed_at_its_deadline_and_its_askers_are_told() -> None:
    async def scenario() -> None:
        log: list[str] = []
        supervisor = _supervisor()
        ref = supervisor.start(ChildSpec(name="counter", make=lambda: Counter(log)))
        asked = [asyncio.create_task(ref.call(("sleep", 60))), asyncio.create_task(ref.call("add"))]
        await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await supervisor.stop("counter", 0.05)
            told = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(error, Exception) for error in told)
        assert not ref.is_alive()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("strategy", "begun"),
    [("one_for_one", ["b"]), ("rest_for_one", ["b", "c"]), ("one_for_all", ["a", "b", "c"])],
)
def test_a_crash_restarts_whom_the_strategy_says_in_order(strategy: Strategy, begun: list[str]) -> None:
    async def scenario() -> None:
        log: list[str] = []
        supervisor = _supervisor(strategy=strategy)
        refs = [
            supervisor.start(ChildSpec(name=name, make=lambda name=name: Counter(log, name)))
            for name in "abc"
        ]
        assert [await ref.call("add") for ref in refs] == [1, 1, 1]
        log.clear()
        refs[1].tell("crash")
        counts = []
        async with asyncio.timeout(5):
            while [entry[0] for entry in log if entry.endswith("started")] != begun:
                await asyncio.sleep(0.001)
        counts = [await ref.call("add") for ref in refs]
        assert counts == [1 if name in begun else 2 for name in "abc"]
        ended = [entry[0] for entry in log if entry.endswith("stopped")]
        assert ended == [name for name in reversed(begun) if name != "b"]
        await supervisor.close(1)

    asyncio.run(scenario())


def test_children_end_in_the_reverse_of_their_order() -> None:
    async def scenario() -> None:
        log: list[str] = []
        supervisor = _supervisor(strategy="one_for_one")
        for name in "abc":
            supervisor.start(ChildSpec(name=name, make=lambda name=name: Counter(log, name)))
        await supervisor.close(1)
        assert log[-3:] == ["cstopped", "bstopped", "astopped"]

    asyncio.run(scenario())


def test_dynamic_children_end_at_once() -> None:
    class Slow(Counter):
        async def on_stop(self) -> None:
            await asyncio.sleep(0.3)
            await super().on_stop()

    async def scenario() -> None:
        log: list[str] = []
        supervisor = _supervisor()
        for number in range(10):
            supervisor.start(ChildSpec(name=f"agent_{number}", make=lambda: Slow(log)))
        async with asyncio.timeout(2):
            await supervisor.close(1)
        assert log.count("stopped") == 10

    asyncio.run(scenario())


def _failing(log: list[str], *failures: int) -> Any:
    """Make counters; making the given ones, counted from one, fails."""
    made = 0

    def make() -> Counter:
        nonlocal made
        made += 1
        if made in failures:
            raise RuntimeError("no more of these")
        return Counter(log)

    return make


def test_a_child_that_could_not_be_made_leaves_its_name_free() -> None:
    async def scenario() -> None:
        supervisor = _supervisor()
        spec = ChildSpec(name="counter", make=_failing([], 1))
        with pytest.raises(RuntimeError):
            supervisor.start(spec)
        assert await supervisor.start(spec).call("add") == 1
        await supervisor.close(5)

    asyncio.run(scenario())


def test_a_restart_that_cannot_be_made_is_tried_again() -> None:
    async def scenario() -> None:
        supervisor = _supervisor()
        ref = supervisor.start(ChildSpec(name="counter", make=_failing([], 2, 3)))
        ref.tell("crash")
        assert await ref.call("add", timeout=5) == 1
        assert supervisor.restarts("counter") == 3
        await supervisor.close(5)

    asyncio.run(scenario())


def test_a_child_that_cannot_be_made_again_is_given_up_for_that_reason() -> None:
    async def scenario() -> None:
        given_up: list[BaseException] = []
        supervisor = _supervisor(max_restarts=2)
        ref = supervisor.start(
            ChildSpec(name="counter", make=_failing([], *range(2, 10)), on_give_up=given_up.append)
        )
        ref.tell("crash")
        with pytest.raises(ActorGone):
            await ref.call("add", timeout=5)
        assert [str(error) for error in given_up] == ["no more of these"]

    asyncio.run(scenario())


class Unstartable(Actor):
    """Never gets beyond its start."""

    async def on_start(self) -> None:
        raise StorageUnavailable("the disk is gone", "look at the cable")


def test_who_asks_an_actor_that_cannot_start_is_told_why() -> None:
    async def scenario() -> None:
        supervisor = _supervisor(max_restarts=1)
        ref = supervisor.start(ChildSpec(name="actor", make=Unstartable))
        for _ in range(2):  # during the attempts, and when they are over
            with pytest.raises(StorageUnavailable, match="the disk is gone"):
                await ref.call("anything", timeout=5)
        await supervisor.close(5)

    asyncio.run(scenario())


def test_one_that_rests_leaves_memory_and_comes_back_with_the_next_message() -> None:
    async def use(supervisor: Supervisor, ref: Ref[Any], log: list[str]) -> None:
        assert await ref.call("add") == 1
        child = supervisor.child("counter")
        assert child is not None and child.rest()
        assert ref._actor is None and ref.is_alive()
        assert log == ["started"]
        assert await ref.call("add") == 1
        assert log == ["started", "started"]
        assert supervisor.restarts("counter") == 0

    asyncio.run(_with_counter(use))


class Watcher(Actor):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.seen.append(message)
        return self.seen


def test_a_monitor_hears_of_the_end_but_not_of_a_restart() -> None:
    async def use(supervisor: Supervisor, ref: Ref[Any], _: list[str]) -> None:
        watcher = Watcher.start()
        ref.monitor(watcher)
        ref.tell("crash")
        assert await ref.call("add") == 1
        await supervisor.stop("counter")
        seen = await watcher.call("what?")
        assert [type(each) for each in seen] == [Down, str]
        assert seen[0].ref is ref
        watcher.kill()

    asyncio.run(_with_counter(use))
