import asyncio
from typing import Any

import pytest

from mcp_core.runtime.actor import Actor
from mcp_core.runtime.ref import Ref
from mcp_core.runtime.supervisor import LONGEST_PAUSE, ChildSpec, Supervisor, pause
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

    def __init__(self, loop: asyncio.AbstractEventLoop, log: list[str]) -> None:
        super().__init__(loop)
        self.log = log
        self.count = 0

    async def started(self) -> None:
        self.log.append("started")

    async def receive(self, message: Any) -> Any:
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
        return await super().receive(message)

    async def stopped(self) -> None:
        self.log.append("stopped")


async def _with_counter(use: Any, **options: Any) -> list[str]:
    log: list[str] = []
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(SystemClock(), SeededEntropy())
    ref = supervisor.start(ChildSpec(name="counter", make=lambda: Counter(loop, log), **options))
    try:
        await use(supervisor, ref, log)
    finally:
        await supervisor.close(5)
    return log


def test_an_ask_is_answered_and_messages_keep_their_order() -> None:
    async def use(_: Supervisor, ref: Ref, __: list[str]) -> None:
        assert await asyncio.gather(*(ref.ask("add") for _ in range(20))) == list(range(1, 21))

    assert asyncio.run(_with_counter(use)) == ["started", "stopped"]


def test_an_error_in_an_ask_goes_to_the_asker_and_the_actor_lives() -> None:
    async def use(_: Supervisor, ref: Ref, __: list[str]) -> None:
        await ref.ask("add")
        with pytest.raises(CallerMistaken):
            await ref.ask("refuse")
        assert await ref.ask("add") == 2

    asyncio.run(_with_counter(use))


def test_a_crash_is_answered_by_a_fresh_actor_behind_the_same_ref() -> None:
    async def use(supervisor: Supervisor, ref: Ref, log: list[str]) -> None:
        await ref.ask("add")
        ref.tell("crash")
        async with asyncio.timeout(5):
            while log.count("started") < 2:
                await asyncio.sleep(0.005)
        assert await ref.ask("add") == 1
        assert supervisor.restarts("counter") == 1

    asyncio.run(_with_counter(use))


def test_an_ask_during_a_restart_waits_for_the_new_incarnation() -> None:
    async def use(_: Supervisor, ref: Ref, __: list[str]) -> None:
        ref.tell("crash")
        answers = []
        for _ in range(3):
            try:
                answers.append(await ref.ask("add", timeout=5))
            except NotFound:  # the crash was handled between our message and its turn
                await asyncio.sleep(0.01)
        assert answers and answers[-1] == len(answers)

    asyncio.run(_with_counter(use))


def test_a_child_that_crashes_too_often_is_given_up() -> None:
    given_up: list[BaseException] = []

    async def use(_: Supervisor, ref: Ref, __: list[str]) -> None:
        async with asyncio.timeout(10):
            while not given_up:
                if ref.is_alive:
                    ref.tell("crash")
                await asyncio.sleep(0.005)
        with pytest.raises(NotFound, match="has ended"):
            await ref.ask("add")

    asyncio.run(_with_counter(use, max_restarts=2, on_give_up=given_up.append))
    assert isinstance(given_up[0], RuntimeError)


def test_a_deadline_ends_the_wait_but_not_the_work() -> None:
    async def use(_: Supervisor, ref: Ref, __: list[str]) -> None:
        with pytest.raises(DeadlineExceeded):
            await ref.ask(("sleep", 0.2), timeout=0.05)
        assert await ref.ask("add", timeout=5) == 1

    asyncio.run(_with_counter(use))


def test_a_full_mailbox_refuses_instead_of_blocking_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_core.runtime.ref.MAILBOX", 3)

    async def use(_: Supervisor, ref: Ref, __: list[str]) -> None:
        sleeping = asyncio.create_task(ref.ask(("sleep", 0.3)))
        with pytest.raises(TooMuch):
            for _ in range(10):
                ref.tell("add")
                await asyncio.sleep(0)
        await sleeping

    asyncio.run(_with_counter(use))


def test_one_name_is_supervised_once() -> None:
    async def use(supervisor: Supervisor, _: Ref, log: list[str]) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(LostRace):
            supervisor.start(ChildSpec(name="counter", make=lambda: Counter(loop, log)))

    asyncio.run(_with_counter(use))


def test_pauses_double_within_bounds() -> None:
    longest = [pause(restarts, 1.0) for restarts in range(12)]
    assert longest == sorted(longest)
    assert longest[1] == 2 * longest[0]
    assert longest[-1] == LONGEST_PAUSE
    assert all(pause(n, 0.0) == pause(n, 1.0) / 2 for n in range(5))


def test_a_full_mailbox_still_takes_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_core.runtime.ref.MAILBOX", 3)

    async def use(supervisor: Supervisor, ref: Ref, log: list[str]) -> None:
        sleeping = asyncio.create_task(ref.ask(("sleep", 0.2)))
        with pytest.raises(TooMuch):
            while True:
                ref.tell("add")
                await asyncio.sleep(0)
        await supervisor.stop("counter", 5)
        assert log == ["started", "stopped"]
        assert await sleeping == "slept"

    asyncio.run(_with_counter(use))


class Slow(Actor):
    """Takes its time to stop, and says when."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, log: list[str], seconds: float) -> None:
        super().__init__(loop)
        self.name, self.log, self.seconds = name, log, seconds

    async def stopped(self) -> None:
        await asyncio.sleep(self.seconds)
        self.log.append(self.name)


def _slow(supervisor: Supervisor, log: list[str], **seconds: float) -> None:
    loop = asyncio.get_running_loop()
    for name, value in seconds.items():
        supervisor.start(ChildSpec(name=name, make=lambda n=name, s=value: Slow(loop, n, log, s)))


def test_a_group_ends_at_once_and_leaves_the_others_running() -> None:
    async def scenario() -> None:
        log: list[str] = []
        supervisor = Supervisor(SystemClock(), SeededEntropy())
        _slow(supervisor, log, **{f"agent_{number}": 0.3 for number in range(10)}, server=0)
        async with asyncio.timeout(2):
            await supervisor.close(1, "agent_")
        assert sorted(log) == [f"agent_{number}" for number in range(10)]
        await supervisor.close(1)
        assert log[-1] == "server"

    asyncio.run(scenario())


def test_a_group_has_one_deadline_however_many_are_stuck() -> None:
    async def scenario() -> None:
        log: list[str] = []
        supervisor = Supervisor(SystemClock(), SeededEntropy())
        _slow(supervisor, log, stuck=1, stuck_too=1, quick=0)
        began = asyncio.get_running_loop().time()
        await supervisor.close(0.2)
        assert asyncio.get_running_loop().time() - began < 0.9
        assert log == ["quick"]
        async with asyncio.timeout(5):
            while len(log) < 3:  # the loop must not end under them
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def _failing(log: list[str], loop: asyncio.AbstractEventLoop, *failures: int) -> Any:
    """Make counters; making the given ones, counted from one, fails."""
    made = 0

    def make() -> Counter:
        nonlocal made
        made += 1
        if made in failures:
            raise RuntimeError("can't start new thread")
        return Counter(loop, log)

    return make


def test_a_child_that_could_not_be_made_leaves_its_name_free() -> None:
    async def scenario() -> None:
        supervisor = Supervisor(SystemClock(), SeededEntropy())
        spec = ChildSpec(name="counter", make=_failing([], asyncio.get_running_loop(), 1))
        with pytest.raises(RuntimeError):
            supervisor.start(spec)
        assert await supervisor.start(spec).ask("add") == 1
        await supervisor.close(5)

    asyncio.run(scenario())


def test_a_restart_that_cannot_be_made_is_tried_again() -> None:
    async def scenario() -> None:
        supervisor = Supervisor(SystemClock(), SeededEntropy())
        make = _failing([], asyncio.get_running_loop(), 2, 3)
        ref = supervisor.start(ChildSpec(name="counter", make=make))
        ref.tell("crash")
        async with asyncio.timeout(5):
            while supervisor.restarts("counter") < 3:
                await asyncio.sleep(0.005)
        assert await ref.ask("add", timeout=5) == 1
        await supervisor.close(5)

    asyncio.run(scenario())


def test_a_child_that_cannot_be_made_again_is_given_up_for_that_reason() -> None:
    async def scenario() -> None:
        given_up: list[BaseException] = []
        supervisor = Supervisor(SystemClock(), SeededEntropy())
        make = _failing([], asyncio.get_running_loop(), *range(2, 10))
        ref = supervisor.start(
            ChildSpec(name="counter", make=make, max_restarts=2, on_give_up=given_up.append)
        )
        ref.tell("crash")
        async with asyncio.timeout(5):
            while not given_up:
                await asyncio.sleep(0.005)
        with pytest.raises(NotFound, match="has ended"):
            await ref.ask("add", timeout=5)

    asyncio.run(scenario())


class Unstartable(Actor):
    """Never gets beyond its start."""

    async def started(self) -> None:
        raise StorageUnavailable("the disk is gone", "look at the cable")


def test_who_asks_an_actor_that_cannot_start_is_told_why() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        supervisor = Supervisor(SystemClock(), SeededEntropy())
        ref = supervisor.start(ChildSpec(name="actor", make=lambda: Unstartable(loop), max_restarts=1))
        for _ in range(2):  # during the attempts, and when they are over
            with pytest.raises(StorageUnavailable, match="the disk is gone"):
                await ref.ask("anything", timeout=5)
        await supervisor.close(5)

    asyncio.run(scenario())
