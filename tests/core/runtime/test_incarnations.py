"""How another incarnation goes on behind the same ref, and how actors sleep."""

import asyncio
import threading
from typing import Any

import pytest
from pykka import ActorRegistry

from actors import Doer, Echo, PoolDoer, run, turns, until
from mcp_core.runtime import Actor, ActorGone, Exit, PoolActor
from mcp_core.runtime.life import ASLEEP


class Recorder(Actor):
    """Crashes when told to; its log outlives it."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    async def on_start(self) -> None:
        self.log.append("started")

    async def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        if message == "crash":
            raise ValueError(message)
        return message


class PoolRecorder(PoolActor):
    """The same on threads."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    def on_start(self) -> None:
        self.log.append("started")

    def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        if message == "crash":
            raise ValueError(message)
        return message


@pytest.mark.parametrize("kind", [Recorder, PoolRecorder])
@pytest.mark.parametrize("later", [False, True])
def test_a_new_incarnation_begins_before_the_mail_that_waited_in_order(kind: Any, later: bool) -> None:
    async def test() -> None:
        log: list[Any] = []
        exits: list[Exit] = []
        loop = asyncio.get_running_loop()

        def guard(ref: Any, exit: Exit) -> bool:
            exits.append(exit)
            make = lambda: kind(log)  # noqa: E731
            if later:
                loop.call_soon_threadsafe(lambda: ref._revive(make))
            else:
                ref._revive(make)
            return True

        ref = kind.start(log)
        urn = ref.actor_urn
        ref._tied().guard = guard
        for at in range(3):
            ref.tell(at)
        ref.tell("crash")
        asked = [ref.ask(at, block=False) for at in range(3, 40)]
        assert [await one for one in asked] == list(range(3, 40))
        assert log == ["started", 0, 1, 2, "crash", "started", *range(3, 40)]
        assert [exit.kind for exit in exits] == ["crashed"]
        assert ref.actor_urn == urn and ref.is_alive()
        assert ActorRegistry.get_by_urn(urn) is ref
        for _ in range(20):
            ref.tell("crash")
        assert await ref.call("last", timeout=10) == "last"
        assert log.count("started") == 22
        ref._ties.guard = None
        assert await ref.stop(block=False) is True

    run(test)


def test_a_killed_actor_that_will_be_restarted_takes_mail_meanwhile() -> None:
    async def test() -> None:
        log: list[Any] = []
        ref = Doer.start()
        ref._tied().guard = lambda ref, exit: ref._revive(lambda: Recorder(log)) or True
        ref.tell(lambda: asyncio.sleep(60))
        await turns()
        ref.kill()
        assert ref.is_alive()
        asked = ref.ask("asked", block=False)
        ref.tell("told")
        thread = threading.Thread(target=lambda: ref.tell("from a thread"))
        thread.start()
        thread.join(10)
        assert await asked == "asked"
        await until(lambda: len(log) == 4)
        assert log == ["started", "asked", "told", "from a thread"]

    run(test)


def test_a_guard_that_raises_lets_the_actor_end() -> None:
    async def test() -> None:
        ref, ended = Doer.start(), []

        def guard(ref: Any, exit: Any) -> bool:
            raise RuntimeError("no")

        ref._tied().guard = guard
        ref.on_exit(lambda ref, exit: ended.append(exit.kind))
        waiting = [ref.ask(lambda: int("no"), block=False)]
        ref.tell(lambda: int("no"))
        waiting.append(ref.ask(lambda: 1, block=False))
        with pytest.raises(ValueError):
            await waiting[0]
        with pytest.raises(ActorGone):
            await waiting[1]
        assert ended == ["crashed"]

    run(test)


def test_only_the_one_that_is_made_takes_the_ref_over() -> None:
    """Another that it starts first, or that another thread starts meanwhile, gets a ref of its own."""

    class Parent(Doer):
        def __init__(self) -> None:
            self.helper = Echo.start()
            super().__init__()

    class Slow(Doer):
        def __init__(self) -> None:
            entered.set()
            started.wait(10)
            super().__init__()

    entered, started = threading.Event(), threading.Event()

    async def test() -> None:
        ref = Doer.start()
        ref._tied().guard = lambda ref, exit: True
        ref.kill()
        ref._revive(Parent)
        assert ref._actor.actor_ref is ref
        assert type(ref._actor) is Parent
        assert ref._actor.helper is not ref
        assert await ref._actor.helper.call(1) == 1
        ref.kill()

        def meanwhile() -> None:
            entered.wait(10)
            others.append(PoolDoer.start())
            started.set()

        others: list[Any] = []
        thread = threading.Thread(target=meanwhile)
        thread.start()
        ref._revive(Slow)
        thread.join(10)
        assert others[0] is not ref
        assert type(ref._actor) is Slow and ref._actor.actor_ref is ref
        ref._ties.guard = None
        ref.kill()
        with pytest.raises(ActorGone):
            ref._revive(Doer)

    run(test)


@pytest.mark.parametrize("kind", [Doer, PoolDoer])
def test_one_that_is_asleep_comes_back_for_the_next_message(kind: Any) -> None:
    async def test() -> None:
        ref, woken = kind.start(), []
        loop = asyncio.get_running_loop()

        def wake(ref: Any) -> None:
            woken.append(1)
            loop.call_soon_threadsafe(lambda: ref._revive(kind))

        for _ in range(5):
            assert await ref.call(lambda: 1) == 1
            await until(lambda: ref._sleep(wake))
            assert ref._actor is None and ref._state == ASLEEP and ref.is_alive()
            asked = [ref.ask(lambda at=at: at, block=False) for at in range(3)]
            ref.tell(lambda: None)
            assert [await one for one in asked] == [0, 1, 2]
        assert len(woken) == 5
        ref.tell(lambda: None)
        assert await ref.stop(block=False) is True

    run(test)


def test_one_that_cannot_be_woken_returns_its_mail() -> None:
    async def test() -> None:
        ref = Doer.start()

        def wake(ref: Any) -> None:
            raise OSError("the journal is gone")

        assert ref._sleep(wake)
        with pytest.raises(ActorGone):
            await ref.call(lambda: 1)
        assert not ref.is_alive()

    run(test)


def test_a_pool_actor_that_falls_asleep_while_mail_comes_handles_it() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        ref, handled, stop = PoolDoer.start(), [], threading.Event()
        count = 300

        def wake(ref: Any) -> None:
            loop.call_soon_threadsafe(lambda: ref._revive(PoolDoer))

        def send() -> None:
            for at in range(count):
                ref.tell(lambda at=at: handled.append(at))
            stop.set()

        thread = threading.Thread(target=send)
        thread.start()
        while not stop.is_set():
            ref._sleep(wake)
            await asyncio.sleep(0)
        await until(lambda: len(handled) == count)
        assert handled == list(range(count))
        thread.join()
        assert await ref.call(lambda: "alive") == "alive"

    run(test)
