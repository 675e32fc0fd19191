"""Programs of actors under thousands of interleavings, each looked at against a simple model.

The laws: what one sends another begins in the order it was sent, urgent mail apart; an actor handles one message at a
time; each ask is answered exactly once; each message begins, or its asker gets an error, or it is a dead letter;
handlers that await each other in a circle are told, and nobody else is; and when all is done nothing is left.
"""

import asyncio
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from interleavings import World
from mcp_core.runtime import Actor, ActorGone, waits
from mcp_core.runtime.life import DEAD, IDLE
from mcp_interface.errors import DeadlineExceeded, Deadlock, Interrupted, TooMuch

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
PROGRAMS, SEEDS = (2_000, 8) if NIGHTLY else (150, 4)
ACTORS = 4
SHORT_S = 0.03
LONG_S = 1_000.0
"""Longer than all that a program can sleep: a call that takes so long waits for something that never comes."""

# A program is what some senders outside do, a step is a word and what it needs, and steps that send carry the steps
# that the receiver takes when it handles the message.
ALONE = {"pause": 4, "sleep": 4, "crash": 1, "spawn": 1, "kill": 1, "stop": 1}
"""Steps that send nothing, with how often they come."""
SENDING = ["tell", "tell", "call", "call", "ask", "short", "give up", "background"]
DEPTH = 3


def step_alone(random: Random) -> Any:
    word = random.choices(list(ALONE), list(ALONE.values()))[0]
    if word == "sleep":
        return (word, random.choice([0, 0.001, 0.002, 0.01, 0.05]))
    return (word, random.randrange(ACTORS)) if word in ("kill", "stop") else (word,)


def step_sending(random: Random, depth: int) -> Any:
    word = random.choice(SENDING)
    to = random.randrange(ACTORS)
    steps = [
        step_sending(random, depth - 1) if depth and random.randrange(2) else step_alone(random)
        for _ in range(random.randrange(4))
    ]
    urgent, far = random.randrange(3) == 0, random.randrange(3) == 0
    more = {"tell": (urgent, far), "call": (urgent,), "ask": (far,)}
    return (word, to, steps, *more.get(word, ()))


def senders_outside(random: Random) -> Any:
    return [
        [step_sending(random, DEPTH) for _ in range(random.randrange(1, 5))]
        for _ in range(random.randrange(1, 4))
    ]


class Model:
    """What happened, and what may."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refs: list[Any] = []
        self.number = 0
        self.sent: dict[int, tuple[Any, Any, bool]] = {}
        """Message by number: sender, receiver, urgent."""
        self.outcome: defaultdict[int, list[str]] = defaultdict(list)
        self.begun: list[tuple[Any, int]] = []
        self.running: dict[Any, int] = {}
        self.open: dict[int, tuple[Any, Any]] = {}
        """Who awaits whose answer in its own task now, by the message that is not done yet."""
        self.wrong: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self) -> Any:
        ref = Scripted.start(self)
        self.refs.append(ref)
        return ref

    def dead_letter(self, ref: Any, message: Any, reason: str) -> None:
        if isinstance(message, tuple) and message[0] == "message":
            self.outcome[message[1]].append("dead letter")

    def message(self, sender: Any, to: Any, steps: Any, urgent: bool = False) -> Any:
        self.number += 1
        self.sent[self.number] = (sender, to, urgent)
        return ("message", self.number, steps)

    async def steps(self, me: Any, steps: Any) -> None:
        for step in steps:
            await getattr(self, f"_{step[0].replace(' ', '_')}")(me, *step[1:])

    async def _pause(self, me: Any) -> None:
        await asyncio.sleep(0)

    async def _sleep(self, me: Any, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _crash(self, me: Any) -> None:
        raise ValueError("crash")

    async def _spawn(self, me: Any) -> None:
        self.start().tell(("message", 0, []))

    async def _stop(self, me: Any, to: int) -> None:
        self.refs[to].stop(block=False)

    async def _kill(self, me: Any, to: int) -> None:
        self.refs[to].kill()

    async def _tell(self, me: Any, to: int, steps: Any, urgent: bool, far: bool) -> None:
        ref = self.refs[to]
        # What comes through another thread is another sender's: it has an order of its own.
        message = self.message((me, far), ref, steps, urgent)
        try:
            if far:
                self.world.outside(ref.tell, message, urgent=urgent)
            else:
                ref.tell(message, urgent=urgent)
        except ActorGone:
            self.outcome[message[1]].append("refused")

    async def _call(self, me: Any, to: int, steps: Any, urgent: bool) -> None:
        ref = self.refs[to]
        message = self.message((me, False), ref, steps, urgent)
        await self._answer(me, ref, message[1], lambda: ref.call(message, timeout=LONG_S, urgent=urgent))

    async def _short(self, me: Any, to: int, steps: Any) -> None:
        ref = self.refs[to]
        message = self.message((me, False), ref, steps)
        await self._answer(me, ref, message[1], lambda: ref.call(message, timeout=SHORT_S), short=True)

    async def _ask(self, me: Any, to: int, steps: Any, far: bool) -> None:
        ref = self.refs[to]
        message = self.message((me, far), ref, steps)
        send = partial(self.world.outside, ref.ask) if far else ref.ask
        future = send(message, block=False)
        answers: list[int] = []
        future.add_done_callback(lambda: answers.append(1))

        async def wait() -> Any:
            try:
                await asyncio.sleep(0)
                return await future
            except BaseException:
                future.cancel()
                raise

        await self._answer(me, ref, message[1], wait)
        if len(answers) > 1:
            self.wrong.append(f"{message[1]} was answered {len(answers)} times")

    async def _give_up(self, me: Any, to: int, steps: Any) -> None:
        ref = self.refs[to]
        message = self.message((me, False), ref, steps)
        task = asyncio.ensure_future(
            self._answer(None, ref, message[1], lambda: ref.call(message, timeout=LONG_S), short=True)
        )
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    async def _background(self, me: Any, to: int, steps: Any) -> None:
        ref = self.refs[to]

        async def work() -> None:
            message = self.message((object(), False), ref, steps)
            await self._answer(
                None, ref, message[1], lambda: ref.call(message, timeout=SHORT_S * 3), short=True
            )

        self.tasks.append(asyncio.ensure_future(work()))

    async def _answer(self, me: Any, ref: Any, number: int, call: Any, short: bool = False) -> None:
        self.open[number] = (me, ref)
        try:
            value = await call()
            if value != number:
                self.wrong.append(f"{number} was answered with {value}")
            self.outcome[number].append("answered")
        except Deadlock as error:
            self.outcome[number].append("error")
            # one that was passed on by an actor on the way has named its own circle, as it was then
            if getattr(error, "seen", False):
                return
            error.seen = True  # type: ignore[attr-defined]
            labels = {ref.label: ref for ref in self.refs}
            circle = [labels[label] for label in error.details["chain"]]
            for one, other in zip(circle, [*circle[1:], circle[0]], strict=True):
                if (one, other) not in self.open.values():
                    self.wrong.append(f"{one.label} did not wait for {other.label}: {error}")
        except DeadlineExceeded:
            self.outcome[number].append("error")
            if not short:
                self.wrong.append(f"{number} was never answered: a deadlock was missed, or a wake-up lost")
        except (ActorGone, Interrupted, TooMuch, ValueError):
            self.outcome[number].append("error")
        except asyncio.CancelledError:
            self.outcome[number].append("given up")
            raise
        finally:
            self.open.pop(number, None)

    # -- at the end ----------------------------------------------------------------------------------------------

    def judge(self) -> None:
        assert not self.wrong, self.wrong
        begun = Counter(number for _, number in self.begun)
        assert max(begun.values(), default=1) == 1, "a message was handled twice"
        for number, (_, _, _) in self.sent.items():
            outcomes = self.outcome[number]
            asked = [one for one in outcomes if one in ("answered", "error", "given up")]
            assert len(asked) <= 1, f"{number} has {asked}"
            assert begun[number] or outcomes, f"{number} was lost in silence"
            assert not (begun[number] and set(outcomes) & {"dead letter", "refused"}), f"{number} {outcomes}"
        last: dict[Any, int] = {}
        for ref, number in self.begun:
            sender, to, urgent = self.sent[number]
            assert to is ref
            lane = (sender, ref, urgent)
            assert last.get(lane, 0) < number, f"{number} overtook {last[lane]}"
            last[lane] = number


class Scripted(Actor):
    """Does what its messages say, and says what it does."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def on_receive(self, message: Any) -> Any:
        _, number, steps = message
        if number == 0:
            return number
        self._begin(number)
        if not steps:  # half of the handlers are plain functions
            self._end(number)
            return number
        return self._work(number, steps)

    def _begin(self, number: int) -> None:
        ref, model = self.actor_ref, self.model
        if ref in model.running:
            model.wrong.append(f"{number} began while {model.running[ref]} was handled")
        model.running[ref] = number
        model.begun.append((ref, number))

    async def _work(self, number: int, steps: Any) -> int:
        ref = self.actor_ref
        try:
            await self.model.steps(ref, steps)
        finally:
            self._end(number)
        return number

    def _end(self, number: int) -> None:
        del self.model.running[self.actor_ref]
        self.model.open.pop(number, None)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """The programs crash on purpose, by the thousand."""
    log = logging.getLogger("pykka")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


def play(senders: Any, seed: int) -> Model:
    """Run a program under a seed and judge it."""
    world = World(seed)
    model = Model(world)

    async def program() -> None:
        world.home.dead_letter = model.dead_letter
        for _ in range(ACTORS):
            model.start()

        async def sender(steps: Any) -> None:
            await model.steps(object(), steps)

        async with asyncio.TaskGroup() as group:
            for steps in senders:
                group.create_task(sender(steps))
        while True:
            await asyncio.sleep(1)
            home = world.home
            if not (home.suspended or home.ready or home.urgent or home._inbox) and all(
                task.done() for task in model.tasks
            ):
                break
            assert asyncio.get_running_loop().time() < LONG_S * 5, "it never ends"
        await asyncio.gather(*model.tasks, return_exceptions=True)
        for ref in model.refs:
            assert ref._state in (IDLE, DEAD)
            assert ref.waiting == 0
            assert ref._state == IDLE or ref._actor is None
        assert not home.stack
        assert not model.running
        assert len(home._spares) <= 30

    world.run(program())
    model.judge()
    assert not waits._waits
    assert not waits.owners
    return model


@settings(max_examples=PROGRAMS, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(0, 2**32))
def test_the_laws_hold_for_every_program_under_every_interleaving(random: Random, seed: int) -> None:
    senders = senders_outside(random)
    note(f"senders = {senders!r}")
    for more in range(SEEDS):
        play(senders, seed + more)


FIXED = [
    [("call", 0, [("call", 1, [("call", 2, [("pause",), ("call", 0, [], False)], False)], False)], False)],
    [("tell", 1, [("call", 0, [("sleep", 0.001)], False), ("call", 2, [], False)], False, True)] * 3,
    [("ask", 2, [("tell", 0, [], True, False), ("call", 1, [("crash",)], True)], True), ("kill", 2)],
    [("short", 3, [("sleep", 0.05)]), ("give up", 3, [("sleep", 0.05)]), ("call", 3, [], False), ("stop", 3)],
]


@pytest.mark.parametrize("round", range(40 if NIGHTLY else 1))
def test_one_program_under_many_interleavings(round: int) -> None:
    outcomes = set()
    for seed in range(round * 400, round * 400 + 400):
        model = play(FIXED, seed)
        outcomes.add(tuple(number for _, number in model.begun))
    assert len(outcomes) > 20, "the seeds do not shuffle"


def test_the_same_seed_gives_the_same_run() -> None:
    for seed in range(20):
        one, other = play(FIXED, seed), play(FIXED, seed)
        assert [number for _, number in one.begun] == [number for _, number in other.begun]
        assert one.outcome == other.outcome
