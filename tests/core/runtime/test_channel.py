"""The at-least-once channel over a target that loses, repeats, dawdles, refuses and dies."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pykka
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.runtime.channel import EXPIRED, Channel, Delivery, Patience, verdict
from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.seen import Seen
from mcp_core.runtime.timers import Timers
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    NotFound,
    NotPermitted,
    ServerUnavailable,
    TooMuch,
    UmbrellaError,
)
from mcp_interface.testing import ManualClock, SeededEntropy


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(bounded())


async def settle(turns: int = 8) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


class Receiver:
    """What outlives its actors: what was handled, and the ids of it."""

    def __init__(self, remembered: int = 2) -> None:
        self.handled: list[Any] = []
        self.seen = Seen(most=remembered)

    async def take(self, delivery: Delivery) -> None:
        async def handle() -> None:
            self.handled.append(delivery.payload)

        await self.seen.once(delivery.id, handle)

    def restart(self) -> None:
        self.seen = Seen(self.seen.ids(), most=2)


class Flaky:
    """A target with a mailbox in order; what befalls each message is decided beforehand, later ones are fine."""

    def __init__(self, receiver: Receiver, fates: deque[str], name: str = "flaky") -> None:
        self.name = name
        self.receiver = receiver
        self.fates = fates
        self.mail: deque[Delivery] = deque()
        self.alive = True
        self.attempts: list[Delivery] = []

    def tell(self, message: Any) -> None:
        raise AssertionError("a channel wants answers")

    def is_alive(self) -> bool:
        return self.alive

    def on_exit(self, callback: Callable[[Any, Any], object]) -> Callable[[], object]:
        raise AssertionError("a channel looks for itself")

    def die(self) -> pykka.ActorDeadError:
        self.alive = False
        self.mail.clear()
        self.receiver.restart()
        return pykka.ActorDeadError(f"{self.name} not found")

    async def work_off(self) -> None:
        while self.mail:
            await self.receiver.take(self.mail.popleft())

    async def call(self, message: Any, *, timeout: float) -> Any:
        assert self.alive
        self.attempts.append(message)
        fate = self.fates.popleft() if self.fates else "fine"
        await asyncio.sleep(0)
        if fate in ("lost", "full", "dies"):
            if fate == "dies":
                raise self.die()
            raise TooMuch("full") if fate == "full" else DeadlineExceeded("no answer")
        if fate == "refuses":
            await self.work_off()
            raise CallerMistaken("that makes no sense")
        if fate == "raises":
            await self.work_off()
            raise RuntimeError("boom")
        self.mail.append(message)
        if fate == "dawdles":
            raise DeadlineExceeded("no answer yet")
        if fate == "twice":
            self.mail.append(message)
        await self.work_off()
        if fate == "answer lost":
            raise DeadlineExceeded("no answer")
        if fate == "dies after":
            raise self.die()
        return None


class House:
    """A channel and all it needs, on a clock that stands still."""

    def __init__(self, target: Any = None, **limits: Any) -> None:
        self.clock = ManualClock()
        self.letters = DeadLetters(self.clock)
        self.timers = Timers(self.clock, self.letters)
        self.settled: list[tuple[Delivery, str]] = []
        self.channel = Channel(
            "flaky",
            timers=self.timers,
            clock=self.clock,
            entropy=SeededEntropy(),
            letters=self.letters,
            target=target,
            patience=Patience(**limits),
            settled=lambda delivery, reason: self.settled.append((delivery, reason)),
        )

    async def advance(self, seconds: float) -> None:
        await settle()
        self.clock.advance(seconds)
        await settle()

    async def close(self) -> None:
        await self.channel.close()
        await self.timers.close()


FATES = st.lists(
    st.sampled_from(
        ["fine", "lost", "answer lost", "dawdles", "twice", "dies", "dies after", "raises", "refuses", "full"]
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(
    fates=FATES,
    messages=st.lists(st.sampled_from([None, None, None, 0.5, 20.0]), min_size=1, max_size=12),
    room=st.integers(1, 4),
    attempts=st.integers(1, 4),
    comes_back=st.sampled_from(["the same", "another"]),
)
def test_each_message_is_handled_once_and_in_order_or_is_a_dead_letter(
    fates: list[str], messages: list[float | None], room: int, attempts: int, comes_back: str
) -> None:
    async def scenario() -> None:
        receiver, left = Receiver(), deque(fates)
        target = Flaky(receiver, left)
        house = House(target, room=room, attempts=attempts, first_pause_s=0.1, longest_pause_s=5.0)
        sending = [
            asyncio.create_task(house.channel.send(number, id=f"m{number}", expires_in=time, timeout=1e6))
            for number, time in enumerate(messages)
        ]
        for _ in range(600):
            if len(house.settled) == len(messages):
                break
            assert len(house.channel) <= room
            await house.advance(1.0)
            if not target.alive and comes_back == "another":
                target = Flaky(receiver, left)
                house.channel.attach(target)
            target.alive = True
        assert await asyncio.gather(*sending) == [f"m{number}" for number in range(len(messages))]
        await target.work_off()

        fate = {delivery.payload: reason for delivery, reason in house.settled}
        assert len(fate) == len(house.settled) == len(messages), "each is settled once"
        assert receiver.handled == sorted(set(receiver.handled)), "once each, in order"
        assert {number for number, reason in fate.items() if not reason} <= set(receiver.handled)
        dead = [(letter.outline, letter.reason) for letter in house.letters.page()]
        assert len(dead) == sum(bool(reason) for reason in fate.values())
        assert all(1 <= delivery.attempt <= attempts for delivery, _ in house.settled)
        assert len(house.channel) == 0
        assert len(house.timers) == 0, "what is settled waits for nothing"
        await house.close()
        assert house.clock.sleepers == 0
        assert len(asyncio.all_tasks()) == 1

    run(scenario())


def test_a_target_that_is_away_keeps_its_queue_and_gets_it_when_it_comes() -> None:
    async def scenario() -> None:
        house, receiver = House(), Receiver()
        for number in range(5):
            house.channel.offer(number)
        await house.advance(10_000)
        assert len(house.channel) == 5 and house.clock.sleepers == 0, "nothing is tried on nobody"
        target = Flaky(receiver, deque())
        house.channel.attach(target)
        assert await house.channel.drain(1)
        assert receiver.handled == [0, 1, 2, 3, 4]
        house.channel.detach()
        house.channel.offer(5)
        await house.advance(10)
        assert receiver.handled[-1] == 4
        house.channel.attach(target)
        assert await house.channel.drain(1)
        assert receiver.handled[-1] == 5
        await house.close()

    run(scenario())


def test_waiting_for_a_target_costs_no_attempt_and_one_that_is_back_is_found_within_the_longest_pause() -> (
    None
):
    async def scenario() -> None:
        receiver = Receiver()
        target = Flaky(receiver, deque())
        target.alive = False
        house = House(target, attempts=1, longest_pause_s=5.0)
        house.channel.offer("hello")
        for _ in range(300):
            await house.advance(1)
        assert len(house.channel) == 1 and not target.attempts
        target.alive = True
        await house.advance(5.01)
        assert receiver.handled == ["hello"]
        await house.close()

    run(scenario())


def test_one_that_stays_away_is_looked_for_less_and_less_often() -> None:
    async def scenario() -> None:
        looks = 0

        class Away(Flaky):
            def is_alive(self) -> bool:
                nonlocal looks
                looks += 1
                return False

        house = House(Away(Receiver(), deque()), first_pause_s=0.05, longest_pause_s=30.0)
        house.channel.offer("hello")
        for _ in range(1200):
            await house.advance(0.1)
        assert 5 < looks < 20
        await house.close()

    run(scenario())


def test_a_new_target_is_tried_at_once_also_while_the_old_one_is_rested_from_or_still_busy() -> None:
    async def scenario() -> None:
        receiver = Receiver()
        house = House(Flaky(receiver, deque(["lost"] * 9)), first_pause_s=100.0, longest_pause_s=100.0)
        house.channel.offer(1)
        await settle()
        house.channel.attach(Flaky(receiver, deque()))
        await settle()
        assert receiver.handled == [1]

        answer = asyncio.get_running_loop().create_future()

        class Slow(Flaky):
            async def call(self, message: Any, *, timeout: float) -> Any:
                return await answer

        house.channel.attach(Slow(receiver, deque()))
        house.channel.offer(2)
        await settle()
        house.channel.attach(Flaky(receiver, deque()))
        answer.set_exception(DeadlineExceeded("no answer"))
        await settle()
        assert receiver.handled == [1, 2]
        await house.close()

    run(scenario())


def test_nobody_overtakes_who_waits_for_room() -> None:
    async def scenario() -> None:
        receiver = Receiver()
        house = House(room=1)
        refused: list[Any] = []

        def again(delivery: Delivery, reason: str) -> None:
            try:
                house.channel.offer("quick")
            except TooMuch:
                refused.append(delivery.payload)

        house.channel._settled = again
        house.channel.offer(0)
        sender = asyncio.create_task(house.channel.send(1))
        await settle()
        house.channel.attach(Flaky(receiver, deque(["fine", "lost", "lost"])))
        await settle()
        assert refused == [0]
        await sender
        house.channel._settled = None
        await house.close()

    run(scenario())


def test_attempts_are_counted_and_spaced_and_then_there_is_a_dead_letter() -> None:
    async def scenario() -> None:
        target = Flaky(Receiver(), deque(["lost"] * 4))
        house = House(target, attempts=4, first_pause_s=1.0, longest_pause_s=100.0)
        id = house.channel.offer({"do": "it"}, sender="agent_1")
        seen: list[float] = []
        for _ in range(200):
            before = len(target.attempts)
            await house.advance(0.1)
            if len(target.attempts) > before:
                seen.append(house.clock.monotonic())
        assert [delivery.attempt for delivery in target.attempts] == [1, 2, 3, 4]
        assert {delivery.id for delivery in target.attempts} == {id}
        gaps = [later - earlier for earlier, later in pairwise(seen)]
        assert all(0.7 * 2**n <= gap <= 1.3 * 2**n + 0.2 for n, gap in enumerate(gaps)), gaps
        [letter] = house.letters.page()
        assert (letter.to, letter.reason, letter.sender) == ("flaky", "timeout", "agent_1")
        await house.close()

    run(scenario())


def test_a_replayed_dead_letter_is_recognised_by_who_had_handled_it(sink: Any) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        house = House(Flaky(receiver, deque(["answer lost"])), attempts=1)
        house.channel.offer("hello")
        await settle()
        assert receiver.handled == ["hello"] and len(house.letters) == 1
        inbox = sink("flaky")
        house.letters.replay(1, lambda name: inbox)
        await receiver.take(inbox.got[0])
        assert receiver.handled == ["hello"]
        await house.close()

    run(scenario())


def test_time_runs_out_where_a_message_waits_but_an_answer_under_way_counts() -> None:
    async def scenario() -> None:
        house = House()
        house.channel.offer("first", expires_in=10)
        house.channel.offer("second")
        await house.advance(10)
        assert [(d.payload, reason) for d, reason in house.settled] == [("first", EXPIRED)]
        assert len(house.channel) == 1

        answer = asyncio.get_running_loop().create_future()

        class Slow(Flaky):
            async def call(self, message: Any, *, timeout: float) -> Any:
                return await answer

        house.channel.offer("third", expires_in=10)
        house.channel.attach(Flaky(Receiver(), deque()))
        await settle()
        house.channel.attach(Slow(Receiver(), deque()))
        house.channel.offer("fourth", expires_in=10)
        await house.advance(11)
        assert [d.payload for d, _ in house.settled] == ["first", "second", "third"]
        answer.set_result(None)
        await settle()
        assert [reason for _, reason in house.settled] == [EXPIRED, "", "", ""]
        with pytest.raises(CallerMistaken, match="would expire after -1 s"):
            house.channel.offer("past", expires_in=-1)
        await house.close()

    run(scenario())


def test_a_full_channel_refuses_who_offers_and_lets_wait_who_sends_in_turn() -> None:
    async def scenario() -> None:
        house, receiver = House(room=2, senders=3), Receiver()
        house.channel.offer(0)
        house.channel.offer(1)
        with pytest.raises(TooMuch, match="holds 2 messages, and 0 wait"):
            house.channel.offer("no")
        waiting = [asyncio.create_task(house.channel.send(number, timeout=60)) for number in (2, 3, 4)]
        await settle()
        with pytest.raises(TooMuch, match="and 3 wait"):
            await house.channel.send("no")
        waiting[1].cancel()
        await settle()
        late = asyncio.create_task(house.channel.send("late", timeout=5))
        await house.advance(5)
        with pytest.raises(DeadlineExceeded, match="no room within 5 s; nothing was sent"):
            await late
        house.channel.attach(Flaky(receiver, deque()))
        await settle(30)
        assert receiver.handled == [0, 1, 2, 4]
        assert [task.cancelled() for task in waiting] == [False, True, False]
        await house.close()

    run(scenario())


def test_closing_accounts_for_everything() -> None:
    async def scenario() -> None:
        never = asyncio.get_running_loop().create_future()

        class Hanging(Flaky):
            async def call(self, message: Any, *, timeout: float) -> Any:
                await never

        house = House(Hanging(Receiver(), deque()), room=2)
        house.channel.offer("under way")
        house.channel.offer("waits")
        sender = asyncio.create_task(house.channel.send("outside"))
        await settle()
        assert not await _drains(house)
        await house.channel.close("the node stops")
        assert [(d.payload, r) for d, r in house.settled] == [
            ("under way", "the node stops"),
            ("waits", "the node stops"),
        ]
        with pytest.raises(NotFound, match="channel to flaky is closed"):
            await sender
        with pytest.raises(NotFound, match="channel to flaky is closed"):
            house.channel.offer("more")
        await house.close()
        assert len(house.letters) == 2

    run(scenario())


async def _drains(house: House) -> bool:
    draining = asyncio.create_task(house.channel.drain(3))
    await house.advance(3)
    return await draining


@pytest.mark.parametrize(
    ("error", "first", "last"),
    [
        (DeadlineExceeded("x"), None, "timeout"),
        (ServerUnavailable("x"), None, "server_unavailable"),
        (pykka.ActorDeadError("x"), None, "not_found"),
        (RuntimeError("x"), None, "RuntimeError"),
        (CallerMistaken("x"), "invalid_input", "invalid_input"),
        (NotPermitted("x"), "denied", "denied"),
    ],
)
def test_what_cannot_be_helped_by_repeating_is_given_up_at_once(
    error: Exception, first: str | None, last: str
) -> None:
    assert verdict(error, 1, 3) == first
    assert verdict(error, 3, 3) == last


@pytest.mark.parametrize("limits", [{"attempts": 0}, {"room": 0}, {"ack_s": 0.0}, {"senders": -1}])
def test_limits_that_deliver_nothing_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken, match="cannot deliver anything"):
        Patience(**limits)


def test_an_idle_channel_is_no_task_and_no_timer() -> None:
    async def scenario() -> None:
        house = House(Flaky(Receiver(), deque()))
        house.channel.offer(1)
        await settle()
        assert len(house.timers) == 0 and len(asyncio.all_tasks()) == 1
        await house.close()

    run(scenario())


# -- the receiver's memory --------------------------------------------------------------------------------


@given(ids=st.lists(st.sampled_from("abcdef"), max_size=40), most=st.integers(1, 4))
def test_the_latest_ids_are_remembered_also_after_a_restart(ids: list[str], most: int) -> None:
    seen = Seen(most=most)
    for id in ids:
        seen.note(id)
    latest = list(dict.fromkeys(reversed(ids)))[:most]
    assert seen.ids() == latest[::-1] == Seen(seen.ids(), most=most).ids()
    assert all((id in seen) == (id in latest) for id in "abcdef")
    assert len(seen) == len(latest)


def test_only_what_was_done_counts_as_handled() -> None:
    async def scenario() -> None:
        seen, done = Seen(), 0

        async def fails() -> None:
            raise ServerUnavailable("gone")

        async def works() -> None:
            nonlocal done
            await asyncio.sleep(0)
            done += 1

        with pytest.raises(ServerUnavailable):
            await seen.once("m", fails)
        first = asyncio.create_task(seen.once("m", works))
        await asyncio.sleep(0)
        with pytest.raises(UmbrellaError, match="'m' is being handled"):
            await seen.once("m", works)
        assert await first
        assert not await seen.once("m", works)
        assert done == 1
        with pytest.raises(CallerMistaken):
            Seen(most=0)

    run(scenario())
