"""Order, mailboxes and replies: each message is handled, or its asker gets an error, or it is a dead letter."""

import asyncio
import threading
from typing import Any

import pykka
import pytest
from pykka._envelope import Envelope

from actors import Doer, Echo, Letters, PlainDoer, PoolDoer, quiet, run, turns, until
from mcp_core.runtime import Actor, ActorGone, Future, PoolActor
from mcp_core.runtime.loop import present_loop
from mcp_interface.errors import CallerMistaken, DeadlineExceeded, TooMuch


class Slow(Actor):
    """Handles a message at each turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    async def on_receive(self, message: Any) -> Any:
        await asyncio.sleep(0)
        self.got.append(message)
        return message


def test_what_one_sends_another_arrives_in_order_however_it_is_sent() -> None:
    async def test() -> None:
        for kind in (Echo, Slow):
            ref = kind.start()
            actor = ref._actor
            replies = []
            for at in range(0, 300, 3):
                ref.tell(at)
                replies.append(ref.ask(at + 1, block=False))
                if at % 5 == 0:
                    await ref.call(at + 2)
                else:
                    await ref.send(at + 2)
            await ref.call(300)
            assert actor.got == list(range(301))
            assert [await reply for reply in replies] == list(range(1, 300, 3))

    run(test)


def test_urgent_mail_overtakes_and_keeps_its_own_order() -> None:
    async def test() -> None:
        slow = Slow.start()
        actor = slow._actor
        slow.tell("first")
        await turns(1)
        for at in range(5):
            slow.tell(at)
            slow.tell(f"urgent {at}", urgent=True)
        urgent = slow.ask("asked", block=False, urgent=True)
        await slow.call("last")
        assert actor.got[:1] == ["first"]
        assert [one for one in actor.got if isinstance(one, str)] == [
            "first",
            *(f"urgent {at}" for at in range(5)),
            "asked",
            "last",
        ]
        assert actor.got[-6:-1] == list(range(5))
        assert urgent.get() == "asked"

    run(test)


@pytest.mark.parametrize("kind", [Echo, Slow])
@pytest.mark.parametrize("urgents", [1, 2])
@pytest.mark.parametrize("plain", [1, 2, 20])
def test_plain_mail_that_comes_to_one_woken_by_an_urgent_message_is_handled(
    kind: Any, urgents: int, plain: int
) -> None:
    async def test() -> None:
        ref = kind.start()
        actor = ref._actor
        for at in range(urgents):
            ref.tell(f"urgent {at}", urgent=True)
        for at in range(plain):
            ref.tell(at)
        await until(lambda: len(actor.got) == urgents + plain)
        assert actor.got == [*(f"urgent {at}" for at in range(urgents)), *range(plain)]
        ref.tell("again")
        await until(lambda: actor.got[-1] == "again")

    run(test)


def test_an_actor_all_of_whose_askers_gave_up_handles_the_next_message() -> None:
    async def test() -> None:
        echo = Echo.start()
        actor = echo._actor
        for urgent in (False, True, False):
            echo.tell("first")
            await turns(2)
            echo.tell("awake")
            gone = [echo.ask(at, block=False, urgent=urgent) for at in range(3)]
            for one in gone:
                assert one.cancel()
            await quiet(present_loop())
            echo.tell("next")
            await until(lambda: actor.got[-1] == "next")
        assert all(isinstance(one, str) for one in actor.got)
        lone = Echo.start()
        lone.tell(0)
        await quiet(present_loop())
        present_loop().credit = 0
        assert lone.ask(1, block=False).cancel()
        await quiet(present_loop())
        assert await lone.call(2) == 2

    run(test)


def test_a_full_mailbox_turns_away_each_sender_in_its_own_way() -> None:
    class Small(Slow):
        mailbox_limit = 2

    async def test() -> None:
        letters = Letters(present_loop())
        small = Small.start()
        actor = small._actor
        small.tell("first")
        await turns(1)
        small.tell(1)
        small.tell(2)
        with pytest.raises(TooMuch, match=r"the mailbox of Small#\w+ is full \(2 messages\)"):
            small.tell(3)
        refused = small.ask(4, block=False)
        with pytest.raises(TooMuch):
            await refused
        with pytest.raises(TooMuch):
            await small.call(5)
        small.tell("urgent", urgent=True)
        await small.send(6)
        with pytest.raises(TooMuch):
            for at in range(7, 11):
                await small.send(at, timeout=-1)
        await until(lambda: not small.waiting)
        await small.call("last")
        assert actor.got[:5] == ["first", "urgent", 1, 2, 6]
        assert 3 not in actor.got and 4 not in actor.got and 5 not in actor.got
        assert not letters.all

    run(test)


def test_a_mailbox_that_drops_the_oldest_tells_its_asker_or_keeps_it_as_a_dead_letter() -> None:
    class Small(Slow):
        mailbox_limit = 2
        mailbox_policy = "drop_oldest"

    async def test() -> None:
        letters = Letters(present_loop())
        small = Small.start()
        actor = small._actor
        small.tell("first")
        await turns(1)
        small.tell("dropped")
        asked = small.ask("asked", block=False)
        small.tell(1)
        small.tell(2)
        with pytest.raises(TooMuch):
            await asked
        assert letters.messages == ["dropped"]
        await until(lambda: len(actor.got) == 3)
        assert actor.got == ["first", 1, 2]

    run(test)


@pytest.mark.parametrize("policy", ["reject", "drop_oldest"])
def test_a_full_actor_can_be_stopped_and_hears_of_an_end(policy: Any) -> None:
    class Small(Slow):
        mailbox_limit = 2
        mailbox_policy = policy
        traps_exits = True

    async def test() -> None:
        letters = Letters(present_loop())
        small, other = Small.start(), Echo.start()
        actor = small._actor
        other.monitor(small)
        small.tell("first")
        await turns(1)
        small.tell(1)
        small.tell(2)
        other.kill()
        stopped = small.stop(block=False)
        if policy == "drop_oldest":
            small.tell(3)
            small.tell(4)
        assert await stopped is True
        assert actor.got[0] == "first"
        assert [type(one).__name__ for one in actor.got].count("Down") == 1
        lost = {1, 2, 3, 4} - {one for one in actor.got if isinstance(one, int)}
        assert lost <= set(letters.messages) | {3, 4} if policy == "reject" else lost <= set(letters.messages)

    run(test)


def test_what_is_left_at_the_end_goes_back() -> None:
    async def test() -> None:
        letters = Letters(present_loop())
        slow = Slow.start()
        slow.tell("first")
        await turns(1)
        stopped = slow.stop(block=False)
        again = slow.stop(block=False)
        asked = slow.ask("asked", block=False)
        slow.tell("told")
        assert await stopped is True
        assert await again is True
        with pytest.raises(ActorGone, match="stopped before handling the message"):
            await asked
        assert letters.messages == ["told"]
        with pytest.raises(ActorGone):
            slow.tell("too late")
        with pytest.raises(pykka.ActorDeadError):
            await slow.call("too late")
        assert await slow.stop(block=False) is False

    run(test)


def test_a_message_sent_while_the_mail_goes_back_is_not_lost() -> None:
    async def test() -> None:
        home = present_loop()
        slow = Slow.start()
        outcome: list[str] = []

        def letter(ref: Any, message: Any, reason: str) -> None:
            try:
                ref.tell("from the dead letters")
            except ActorGone:
                outcome.append("gone")

        home.dead_letter = letter
        slow._tied().guard = lambda ref, exit: False
        slow.tell("first")
        slow.tell("second")
        slow.kill()
        assert outcome == ["gone", "gone"]
        assert slow.waiting == 0

    run(test)


def test_a_dead_letter_box_that_raises_hurts_nobody() -> None:
    async def test() -> None:
        home, ended = present_loop(), []

        def letter(ref: Any, message: Any, reason: str) -> None:
            raise RuntimeError("full")

        home.dead_letter = letter
        slow = Slow.start()
        slow.on_exit(lambda ref, exit: ended.append(exit.kind))
        slow.tell("first")
        asked = slow.ask("asked", block=False)
        slow.kill()
        with pytest.raises(ActorGone):
            await asked
        assert ended == ["killed"]
        assert await Echo.start().call(1) == 1

    run(test)


def test_a_reply_arrives_once_and_whoever_answers_second_is_late() -> None:
    async def test() -> None:
        letters = Letters(present_loop())
        echo = Echo.start()
        present_loop().credit = 0
        future, calls = echo.ask(1, block=False), []
        future.add_done_callback(lambda: calls.append(1))
        future.set("somebody else was first")
        assert await future == "somebody else was first"
        await turns()
        assert calls == [1]
        slow = Slow.start()
        future = slow.ask(2, block=False)
        future.set("first")
        await turns()
        assert future.get() == "first"
        assert letters.messages == [2]
        assert await slow.call(3) == 3

    run(test)


def test_a_callback_that_raises_does_not_stop_the_scheduler() -> None:
    def callback() -> None:
        raise RuntimeError("bad callback")

    async def test() -> None:
        echo, slow, home = Echo.start(), Slow.start(), present_loop()
        for ref in (echo, slow):
            home.credit = 0
            future = ref.ask(1, block=False)
            future.add_done_callback(callback)
            assert await future == 1
            assert await ref.call(2) == 2

    run(test)


def test_an_ask_by_a_pykka_actors_future_is_answered() -> None:
    async def test() -> None:
        for ref in (Echo.start(), PoolDoer.start()):
            future: Any = pykka.ThreadingFuture()
            message: Any = 5 if ref.actor_class is Echo else lambda: 5
            ref.actor_inbox.put(Envelope(message, reply_to=future))
            assert await asyncio.to_thread(future.get, timeout=10) == 5
            failed: Any = pykka.ThreadingFuture()
            bad: Any = ValueError("no") if ref.actor_class is Echo else lambda: int("no")
            ref.actor_inbox.put(Envelope(bad, reply_to=failed))
            with pytest.raises(ValueError, match="no"):
                await asyncio.to_thread(failed.get, timeout=10)

    run(test)


def test_asking_again_and_again_in_vain_leaves_nothing_in_the_future() -> None:
    async def test() -> None:
        slow = Slow.start()
        slow.tell("first")
        gate = asyncio.Event()
        doer = Doer.start()
        future = doer.ask(gate.wait, block=False)

        def ask() -> None:
            for _ in range(50):
                with pytest.raises(pykka.Timeout):
                    future.get(timeout=0.0001)

        await asyncio.to_thread(ask)
        for _ in range(50):
            waiter = asyncio.ensure_future(_wait(future))
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.wait([waiter])
        assert not future._callbacks
        gate.set()
        assert await future is True

    run(test)


async def _wait(future: Future) -> Any:
    return await future


def test_a_blocking_get_on_the_loop_is_refused_with_a_remedy_and_the_message_is_withdrawn() -> None:
    async def test() -> None:
        doer, handled, gate = Doer.start(), [], asyncio.Event()
        doer.tell(gate.wait)
        await turns(2)
        with pytest.raises(
            CallerMistaken, match="await the future, or move the blocking code into a PoolActor"
        ):
            doer.ask(lambda: handled.append(1))
        gate.set()
        await doer.call(lambda: None)
        assert not handled

    run(test)


def test_a_get_on_the_loop_works_off_the_mail_that_brings_the_reply() -> None:
    async def test() -> None:
        echo = Echo.start()
        for at in range(40):
            echo.tell(at)
        echo.tell("urgent", urgent=True)
        assert echo.ask(40) == 40
        assert echo._actor is None or echo._actor.got == ["urgent", *range(41)]
        future = echo.ask(41, block=False)
        echo.tell(42)
        assert future.get() == 41
        await turns()
        assert await echo.call(43) == 43

    run(test)


def test_a_chain_of_blocking_asks_on_the_loop_is_worked_off_however_deep() -> None:
    async def test() -> None:
        doers = [PlainDoer.start() for _ in range(60)]

        def step(at: int) -> int:
            return at if at == len(doers) else doers[at].ask(lambda: step(at + 1))

        assert step(0) == 60

    run(test)


def test_an_ask_with_a_timeout_from_a_thread_makes_a_late_reply_a_dead_letter() -> None:
    async def test() -> None:
        letters, doer = Letters(present_loop()), Doer.start()
        begun, gate = threading.Event(), asyncio.Event()

        async def slow() -> str:
            begun.set()
            await gate.wait()
            return "late"

        def ask() -> None:
            while not begun.is_set():  # one that gives up before its turn is not handled at all
                with pytest.raises(pykka.Timeout):
                    doer.ask(slow, timeout=0.01)

        await asyncio.to_thread(ask)
        gate.set()
        await until(lambda: letters.all)
        assert letters.messages == ["late"]

    run(test)


def test_send_from_many_waits_for_room_and_loses_nothing() -> None:
    class Small(Slow):
        mailbox_limit = 3

    async def test() -> None:
        small = Small.start()
        actor = small._actor

        async def sender(name: int) -> None:
            for at in range(20):
                await small.send((name, at))

        await asyncio.gather(*(sender(name) for name in range(5)))
        await until(lambda: not small.waiting)
        await small.call("last")
        for name in range(5):
            assert [one[1] for one in actor.got if one != "last" and one[0] == name] == list(range(20))

    run(test)


def test_a_full_pool_mailbox_keeps_on_start_and_stop() -> None:
    gate = threading.Event()

    class Small(PoolActor):
        mailbox_limit = 2
        mailbox_policy = "drop_oldest"

        def on_start(self) -> None:
            gate.wait(10)
            self.got: list[Any] = ["started"]

        def on_receive(self, message: Any) -> Any:
            self.got.append(message)
            return list(self.got)

    async def test() -> None:
        small = Small.start()
        for at in range(6):
            small.tell(at)
        asked = small.ask("last", block=False)
        gate.set()
        assert (await asked)[0] == "started"
        assert await small.stop(block=False) is True

    run(test)


def test_a_call_that_nobody_answers_fails_at_its_deadline() -> None:
    async def test() -> None:
        doer = Doer.start()
        with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.01 s"):
            await doer.call(lambda: asyncio.sleep(0.1), timeout=0.01)
        doer.kill()

    run(test)
