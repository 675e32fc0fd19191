"""Actors used from threads, from coroutines of other loops, from the pool and back."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any
from unittest.mock import patch

import pykka
import pytest

from actors import TEST_S, Doer, Echo, Letters, PlainDoer, PoolDoer, quiet, run, turns, until
from mcp_core.runtime import Actor, ActorGone, PoolActor
from mcp_core.runtime import loop as scheduler
from mcp_core.runtime import pool as pools
from mcp_core.runtime.loop import Loop, present_loop
from mcp_core.runtime.pool import Pool
from mcp_interface.errors import CallerMistaken, DeadlineExceeded, TooMuch


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(work), TEST_S)


async def in_other_loop(work: Callable[[], Any]) -> Any:
    return await in_thread(lambda: asyncio.run(work()))


@pytest.mark.parametrize("kind", [Doer, PlainDoer, PoolDoer])
def test_every_way_to_send_works_from_a_thread(kind: Any) -> None:
    async def test() -> None:
        ref, got = kind.start(), []

        def work() -> None:
            ref.tell(lambda: got.append(1))
            assert ref.ask(lambda: got.append(2) or "answer") == "answer"
            assert ref.ask(lambda: 3, block=False).get(timeout=10) == 3
            assert ref.ask(lambda: 4, timeout=10) == 4
            assert ref.ask(lambda: 5, timeout=10, urgent=True) == 5
            with pytest.raises(ValueError):
                ref.ask(lambda: int("no"))
            assert ref.proxy().actor_urn.get(timeout=10) == ref.actor_urn
            assert ref.stop(timeout=10) is True
            with pytest.raises(pykka.ActorDeadError):
                ref.ask(lambda: 1)
            with pytest.raises(ActorGone):
                ref.tell(lambda: 1)
            assert ref.stop(timeout=10) is False

        await in_thread(work)
        assert got == [1, 2]

    run(test)


@pytest.mark.parametrize("kind", [Doer, PlainDoer, PoolDoer])
def test_every_way_to_send_works_from_a_coroutine_of_another_loop(kind: Any) -> None:
    async def test() -> None:
        ref, got = kind.start(), []

        async def work() -> None:
            ref.tell(lambda: got.append(1))
            assert await ref.call(lambda: got.append(2) or "answer") == "answer"
            assert await ref.ask(lambda: 3, block=False) == 3
            await ref.send(lambda: got.append(4))
            mine = Doer.start()
            assert await mine.call(lambda: ref.call(lambda: 5)) == 5
            with pytest.raises(ValueError):
                await ref.call(lambda: int("no"))
            assert await ref.stop(block=False) is True
            with pytest.raises(ActorGone):
                await ref.call(lambda: 1)

        await in_other_loop(work)
        assert got == [1, 2, 4]

    run(test)


def test_from_the_pool_to_the_loop_and_back() -> None:
    async def test() -> None:
        loop, pool, other = Doer.start(), PoolDoer.start(), PoolDoer.start()
        assert await pool.call(lambda: loop.ask(lambda: "loop")) == "loop"
        assert await loop.call(lambda: pool.call(lambda: "pool")) == "pool"
        assert (
            await loop.call(lambda: pool.call(lambda: other.ask(lambda: Echo.start().ask("deep")))) == "deep"
        )
        back = Doer.start()
        assert await pool.call(lambda: loop.ask(lambda: other.call(lambda: back.ask(lambda: 7)))) == 7
        home = loop._home
        assert back._home is home
        with pytest.raises(CallerMistaken):
            await loop.call(lambda: pool.ask(lambda: 1))

    run(test)


def test_cancelling_and_killing_from_a_thread_reach_the_handler() -> None:
    async def test() -> None:
        doer, ended = Doer.start(), []

        async def handler() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(1)

        def cancel() -> None:
            future = doer.ask(handler, block=False)
            while not doer._home.suspended:
                pass
            assert future.cancel()
            with pytest.raises(asyncio.CancelledError):
                future.get(timeout=1)

        await in_thread(cancel)
        await until(lambda: ended)
        assert await doer.call(lambda: "alive") == "alive"
        doer.tell(handler)
        await turns()
        await in_thread(doer.kill)
        await until(lambda: len(ended) == 2)
        stuck = Doer.start()
        stuck.tell(handler)
        await turns()
        await in_thread(stuck.abandon)
        await until(lambda: not stuck.is_alive())

    run(test)


@pytest.mark.parametrize("kind", [Echo, PoolActor])
def test_what_each_thread_sends_arrives_in_its_order_and_nothing_is_lost(
    kind: Any, threads: ThreadPoolExecutor
) -> None:
    senders, count = 6, 500

    class Keeper(kind):  # type: ignore[misc]
        mailbox_limit = senders * count

        def __init__(self) -> None:
            super().__init__()
            self.got: list[Any] = []

        def on_receive(self, message: Any) -> Any:
            self.got.append(message)
            return message

    async def test() -> None:
        ref = Keeper.start()
        actor = ref._actor

        def send(name: int) -> int:
            for at in range(count):
                if at % 50 == 0:
                    assert ref.ask((name, at), timeout=TEST_S) == (name, at)
                elif at % 7 == 0:
                    ref.ask((name, at), block=False)
                else:
                    ref.tell((name, at))
            return name

        sending = [threads.submit(send, name) for name in range(senders)]
        await until(lambda: all(one.done() for one in sending))
        assert sorted(one.result() for one in sending) == list(range(senders))
        await until(lambda: len(actor.got) == senders * count)
        for name in range(senders):
            assert [at for who, at in actor.got if who == name] == list(range(count))

    run(test)


def test_each_reply_that_races_with_a_deadline_is_delivered_or_a_dead_letter() -> None:
    count = 400

    async def test() -> None:
        letters, echo, got, late = Letters(present_loop()), Doer.start(), [], []

        async def work() -> None:
            for at in range(count):

                async def handler(at: int = at) -> int:
                    await asyncio.sleep(0.0005)
                    return at

                try:
                    got.append(await echo.call(handler, timeout=0.0008))
                except DeadlineExceeded:
                    late.append(at)

        await in_other_loop(work)
        await quiet(present_loop())
        assert await echo.call(lambda: "alive") == "alive"
        assert len(got) + len(late) == count
        assert set(letters.messages) <= set(late)
        assert not set(letters.messages) & set(got)

    run(test)


def test_threads_that_send_too_fast_wait_and_coroutines_are_turned_away() -> None:
    async def test() -> None:
        class Patient(Echo):
            mailbox_limit = 100_000

        echo = Patient.start()
        actor = echo._actor

        async def flood() -> int:
            sent = 0
            with pytest.raises(TooMuch, match="messages from other threads wait for this event loop"):
                while True:
                    echo.tell(sent)
                    sent += 1
            with pytest.raises(TooMuch):
                await echo.call("too much")
            return sent

        with patch.object(scheduler, "INBOX", 50):
            outcome: list[int] = []
            thread = threading.Thread(target=lambda: outcome.append(asyncio.run(flood())))
            thread.start()
            thread.join()  # so the loop cannot take anything in meanwhile
            await until(lambda: len(actor.got) == outcome[0])
            assert outcome[0] == 51
            sender = threading.Thread(target=lambda: [echo.tell("more") for _ in range(3_000)])
            sender.start()
            await until(lambda: len(actor.got) == outcome[0] + 3_000)
            sender.join()

    run(test)


@pytest.fixture
def usual_switching() -> Iterator[None]:
    """Threads take turns as Python lets them by itself, until a loop of actors changes it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("usual_switching")
def test_a_thread_is_answered_while_a_hundred_actors_flood_themselves() -> None:
    class Flooder(Actor):
        on = True

        def on_receive(self, message: Any) -> None:
            if Flooder.on:
                self.actor_ref.tell(message)

    async def test() -> None:
        echo, answers = Echo.start(), []

        def ask() -> None:
            for number in range(200):
                sleep(0.001)  # so it has to come in from outside each time
                answers.append(echo.ask(number, timeout=TEST_S))
                if not Flooder.on:
                    return

        for _ in range(100):
            Flooder.start().tell("on and on")
        try:
            await in_thread(ask)  # takes a second; where the loop does not let others in, minutes
        finally:
            Flooder.on = False
        assert answers == list(range(200))

    run(test)


def test_a_job_from_another_thread_that_raises_stops_nothing() -> None:
    async def test() -> None:
        home, echo, done = present_loop(), Echo.start(), []

        def work() -> None:
            home.run_there(lambda: int("no"))
            home.run_there(lambda: done.append(1))
            assert echo.ask(1, timeout=10) == 1

        await in_thread(work)
        assert done == [1]
        assert await echo.call(2) == 2

    run(test)


def test_many_threads_that_need_the_background_loop_start_it_once(threads: ThreadPoolExecutor) -> None:
    with patch.object(scheduler, "_background", Loop()):
        meeting = threading.Barrier(8)

        def work(at: int) -> Any:
            meeting.wait(10)
            return Echo.start().ask(at, timeout=10)

        before = [thread.name for thread in threading.enumerate()].count("actors")
        for round in range(3):
            assert sorted(threads.map(work, range(8))) == list(range(8))
            assert [thread.name for thread in threading.enumerate()].count("actors") == before + 1, round


def test_a_pool_refuses_more_blocked_handlers_than_it_can_stand_in_for() -> None:
    with patch.object(pools, "EXTRA", 3):

        class Link(PoolActor):
            pool = Pool(1)

            def on_receive(self, message: list[Any]) -> int:
                return 1 + message[0].ask(message[1:], timeout=10) if message else 1

        refs = [Link.start() for _ in range(12)]
        assert refs[0].ask(refs[1:4], timeout=10) == 4
        with pytest.raises(TooMuch, match="already wait for others"):
            refs[0].ask(refs[1:], timeout=10)
        assert refs[0].ask(refs[1:4], timeout=10) == 4
        for ref in refs:
            ref.stop()


def test_a_pool_actor_cannot_await_and_says_so() -> None:
    class Mistaken(PoolActor):
        async def on_receive(self, message: Any) -> Any:
            return message

    ref = Mistaken.start()
    with pytest.raises(CallerMistaken, match="derive it from Actor"):
        ref.ask(1)
    ref.stop()


def test_a_cancellation_raised_on_a_thread_of_the_pool_fails_the_ask_alone() -> None:
    bystander, ref = PoolDoer.start(), PoolDoer.start()

    def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(Exception, match="was cancelled before it answered"):
        ref.ask(cancelled)
    assert ref.ask(lambda: 1) == 1
    assert bystander.ask(lambda: 1) == 1
    ref.stop()
    bystander.stop()


def test_a_pool_actor_may_run_an_event_loop_of_its_own() -> None:
    pool, other = PoolDoer.start(), PoolDoer.start()

    async def main() -> Any:
        return await Echo.start().call("inside")

    for _ in range(3):
        assert pool.ask(lambda: asyncio.run(main())) == "inside"
        assert pool.ask(lambda: (asyncio.run(main()), other.ask(lambda: 1, timeout=10))) == ("inside", 1)
        assert pool.ask(lambda: asyncio.run(main()), block=False).get(timeout=10) == "inside"
    pool.stop()
    other.stop()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks that begin at once are new in Python 3.12")
def test_tasks_that_begin_at_once_are_not_taken_for_the_handler() -> None:
    class Slow(Actor):
        async def on_receive(self, message: Any) -> Any:
            await asyncio.sleep(0)
            return message

    async def test() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        doer, slow = Doer.start(), Slow.start()

        async def handler() -> Any:
            task = asyncio.create_task(doer.call(lambda: "asked back"))
            assert await slow.call(1) == 1
            return task

        task = await doer.call(handler)
        assert await task == "asked back"
        async with asyncio.timeout(5):
            assert await doer.call(lambda: asyncio.sleep(0.001, "slept")) == "slept"

    run(test)
