import asyncio
from typing import Any

import pytest

from mcp_core.runtime.actor import Actor
from mcp_core.runtime.ref import Ref
from mcp_core.runtime.supervisor import LONGEST_PAUSE, ChildSpec, Supervisor, pause
from mcp_interface.clock import SystemClock
from mcp_interface.errors import CallerMistaken, DeadlineExceeded, LostRace, NotFound, TooMuch
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
    monkeypatch.setattr("mcp_core.runtime.actor.MAILBOX", 3)

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
