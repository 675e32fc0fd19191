"""Circles of waits are named when they begin; and nothing else is called one."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from actors import Doer, Echo, PlainDoer, PoolDoer, run, turns, until
from mcp_core.runtime import PoolActor, waits
from mcp_interface.errors import Deadlock


def chain(refs: list[Any], last: Callable[[], Any]) -> Callable[[], Any]:
    """Make each actor await the next one."""
    if not refs:
        return last
    return lambda: refs[0].call(chain(refs[1:], last))


@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("pause", [False, True])
def test_a_circle_is_named_at_once(count: int, pause: bool) -> None:
    async def test() -> None:
        refs = [Doer.start() for _ in range(count)]

        def step(at: int) -> Callable[[], Any]:
            async def ask() -> Any:
                if pause:
                    await asyncio.sleep(0)
                return await refs[(at + 1) % count].call(step(at + 1))

            return ask

        with pytest.raises(Deadlock) as raised:
            await refs[0].call(step(0))
        labels = {ref.label for ref in refs}
        assert set(raised.value.details["chain"]) == labels
        assert all(label in raised.value.message for label in labels)
        assert "tell instead of ask" in raised.value.remedy
        for ref in refs:
            assert await ref.call(lambda: "alive", timeout=5) == "alive"

    run(test)


def test_blocking_asks_in_a_circle_are_named_on_the_loop() -> None:
    async def test() -> None:
        one, two = Doer.start(), Doer.start()

        async def back() -> Any:
            await asyncio.sleep(0)
            return two.ask(lambda: None)

        with pytest.raises(Deadlock):
            await two.call(lambda: one.call(back))
        plain = PlainDoer.start()
        with pytest.raises(Deadlock):
            plain.ask(lambda: plain.ask(lambda: None))
        assert await plain.call(lambda: 1) == 1

    run(test)


def test_a_message_that_would_have_been_a_deadlock_is_not_handled_later() -> None:
    async def test() -> None:
        doer, handled = Doer.start(), []
        with pytest.raises(Deadlock):
            await doer.call(lambda: doer.call(lambda: handled.append(1)))
        assert await doer.call(lambda: "alive") == "alive"
        assert not handled

    run(test)


def test_circles_through_threads_of_the_pool_are_named() -> None:
    async def test() -> None:
        loop, one, two = Doer.start(), PoolDoer.start(), PoolDoer.start()
        with pytest.raises(Deadlock):
            await one.call(lambda: one.ask(lambda: None))
        with pytest.raises(Deadlock):
            await one.call(lambda: two.ask(lambda: one.ask(lambda: None)))
        with pytest.raises(Deadlock):
            await loop.call(lambda: one.call(lambda: loop.ask(lambda: None)))
        with pytest.raises(Deadlock):
            await loop.call(lambda: one.call(lambda: two.ask(lambda: loop.ask(lambda: None))))
        for ref in (loop, one, two):
            assert await ref.call(lambda: "alive") == "alive"

    run(test)


def test_a_circle_of_pool_actors_on_the_askers_own_stack_is_named() -> None:
    """From a plain thread idle pool actors answer on the asker's stack, each below the next."""
    one, two, three = (PoolDoer.start() for _ in range(3))
    with pytest.raises(Deadlock):
        one.ask(lambda: two.ask(lambda: one.ask(lambda: None)))
    with pytest.raises(Deadlock):
        one.ask(lambda: two.ask(lambda: three.ask(lambda: one.ask(lambda: None))))
    for ref in (one, two, three):
        ref.stop()
    assert not waits._waits


def test_it_is_named_on_a_thread_where_an_event_loop_ran_before() -> None:
    async def test() -> None:
        assert await Echo.start().call(1) == 1

    asyncio.run(test())
    one, two = PoolDoer.start(), PoolDoer.start()
    with pytest.raises(Deadlock):
        one.ask(lambda: two.ask(lambda: one.ask(lambda: None)))

    def inside() -> None:
        asyncio.run(test())
        with pytest.raises(Deadlock):
            one.ask(lambda: None)

    one.ask(inside)
    one.ask(inside, block=False).get(timeout=10)
    one.stop()
    two.stop()


@pytest.mark.parametrize("round", range(20))
def test_of_two_that_begin_at_once_on_two_threads_one_is_told(round: int) -> None:
    meeting = threading.Barrier(2)
    one, two = PoolDoer.start(), PoolDoer.start()

    def ask(other: Any) -> Any:
        meeting.wait(10)
        return other.ask(lambda: "fine", timeout=10)

    asked = [one.ask(lambda: ask(two), block=False), two.ask(lambda: ask(one), block=False)]
    outcomes: list[Any] = []
    for future in asked:
        try:
            outcomes.append(future.get(timeout=10))
        except Deadlock:
            outcomes.append("deadlock")
    assert "deadlock" in outcomes
    assert set(outcomes) <= {"deadlock", "fine"}
    one.stop()
    two.stop()


# -- none invented -----------------------------------------------------------------------------------------------


def test_a_background_task_of_a_handler_may_ask_its_own_actor() -> None:
    async def test() -> None:
        doer, other = Doer.start(), Doer.start()
        tasks: list[asyncio.Task[Any]] = []

        async def handler() -> str:
            tasks.append(asyncio.ensure_future(doer.call(lambda: "asked back")))
            tasks.append(asyncio.ensure_future(other.call(lambda: doer.call(lambda: "and round"))))
            await asyncio.sleep(0.002)
            return "answered"

        assert await doer.call(handler) == "answered"
        assert [await task for task in tasks] == ["asked back", "and round"]

    run(test)


def test_asking_an_idle_actor_again_and_again_and_back_after_its_answer() -> None:
    async def test() -> None:
        one, two = Doer.start(), Doer.start()

        async def several() -> list[int]:
            return [await two.call(lambda at=at: at) for at in range(50)]

        for _ in range(3):
            assert await one.call(several) == list(range(50))
            assert await two.call(lambda: one.call(lambda: 1)) == 1

    run(test)


def test_one_that_has_its_reply_waits_no_more_though_it_has_not_gone_on() -> None:
    """`two` answers `one` and at once, in the same turn, asks it."""

    async def test() -> None:
        one, back = Doer.start(), []

        class Eager(Doer):
            async def on_receive(self, message: Any) -> Any:
                return await one.call(lambda: "back") if message == "ask back" else message

        eager = Eager.start()

        async def ask_eager() -> Any:
            eager.tell("busy first")  # so that the others wait in its mailbox, one behind the other
            reply = eager.ask("answer", block=False)
            back.append(eager.ask("ask back", block=False))
            return await reply

        assert await one.call(ask_eager, timeout=5) == "answer"
        assert await back[0] == "back"

    run(test)


def test_a_gather_of_asks_back_and_forth_ends() -> None:
    async def test() -> None:
        refs = [Doer.start() for _ in range(4)]

        async def spread(at: int, depth: int) -> int:
            if depth == 0:
                return 1
            others = refs[at + 1 :]
            counts = await asyncio.gather(
                *(
                    other.call(lambda at=at, n=n: spread(at + 1 + n, depth - 1))
                    for n, other in enumerate(others)
                )
            )
            return 1 + sum(counts)

        assert await refs[0].call(lambda: spread(0, 3)) == 8

    run(test)


def test_a_wait_that_was_cancelled_counts_no_more() -> None:
    async def test() -> None:
        one, two = Doer.start(), Doer.start()

        async def wait_and_give_up() -> str:
            try:
                async with asyncio.timeout(0.001):
                    await two.call(lambda: asyncio.sleep(0.01))
            except TimeoutError:
                await asyncio.sleep(0.005)
            return "gave up"

        async def ask_back() -> Any:
            return await one.call(lambda: "back")

        asked = asyncio.ensure_future(one.call(wait_and_give_up))
        await asyncio.sleep(0.002)
        assert await two.call(ask_back) == "back"
        assert await asked == "gave up"

    run(test)


def test_the_waits_of_an_abandoned_handler_count_no_more() -> None:
    async def test() -> None:
        one, two = Doer.start(), Doer.start()
        gate = asyncio.Event()

        async def stubborn() -> None:
            while not gate.is_set():
                try:
                    await two.call(gate.wait)
                except asyncio.CancelledError:
                    continue

        revived: list[Any] = []

        def guard(ref: Any, exit: Any) -> bool:
            revived.append(exit.kind)
            ref._revive(Doer)
            return len(revived) == 1

        one._tied().guard = guard
        one.tell(stubborn)
        await turns()
        one.kill()
        await turns()
        one.abandon()
        assert revived == ["killed"]
        assert not any(future._target is two for future in waits._waits.get(one, ()))
        gate.set()
        assert await one.call(lambda: "new") == "new"

    run(test)


def test_crossed_asks_from_threads_outside_are_no_deadlock() -> None:
    one, two = PoolDoer.start(), PoolDoer.start()
    done: list[int] = []

    def outside(first: Any, second: Any) -> None:
        for _ in range(200):
            first.ask(lambda: second.ask(lambda: 1) if first is one else 1)
        done.append(1)

    threads = [threading.Thread(target=outside, args=args) for args in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(done) == 2
    one.stop()
    two.stop()


def test_a_chain_of_pool_actors_longer_than_the_pool_ends() -> None:
    class Link(PoolActor):
        def on_receive(self, message: list[Any]) -> int:
            return 1 + message[0].ask(message[1:], timeout=20) if message else 1

    refs = [Link.start() for _ in range(40)]
    assert refs[0].ask(refs[1:], timeout=20) == 40
    for ref in refs:
        ref.stop()
    assert not waits._waits


def test_no_wait_is_kept_of_those_that_ended() -> None:
    async def test() -> None:
        doer, echo = Doer.start(), Echo.start()
        for _ in range(20):
            await doer.call(lambda: echo.call(1))
        with pytest.raises(Deadlock):
            await doer.call(lambda: doer.call(lambda: 1))
        await until(lambda: not waits._waits)

    run(test)
