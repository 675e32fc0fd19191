"""Our side of `bench_runtime`: how long an ask takes while others keep the runtime busy.

An ask is due some milliseconds after the one before was answered. What is counted begins when it is due: who asks has
to get its turn too, and that is part of the wait. `in the loop` asks from a coroutine beside the actors, `from a
thread` as a program outside of the runtime does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from turns import Figures, waited

from mcp_core.runtime import Actor, PoolActor
from mcp_core.runtime.collection import settle_memory

PAUSE = 0.005
FLOOD = object()


class Flooder(Actor):
    """Tells itself to go on, for ever; answers everything else."""

    on = True

    def on_receive(self, message: Any) -> Any:
        if message is FLOOD and Flooder.on:
            self._actor_ref.tell(message)
        return message


class Patient(Actor):
    async def on_receive(self, message: Any) -> Any:
        return message


async def in_loop(
    ask: Callable[[], Awaitable[Any]], count: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    waits = []
    for _ in range(count):
        due = clock() + PAUSE
        await asyncio.sleep(PAUSE)
        await ask()
        waits.append(clock() - due)
    return waits


async def by_processor(ask: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """The same, where all clocks go by the time this process had the processor: as if nobody else wanted it.

    Only while the loop is never idle: a process that sleeps does not get older.
    """
    loop = asyncio.get_running_loop()
    usual, loop.time = loop.time, time.process_time  # type: ignore[method-assign]
    try:
        return await in_loop(ask, count, time.process_time)
    finally:
        loop.time = usual  # type: ignore[method-assign]


def in_thread(ask: Callable[[], Any], count: int) -> list[float]:
    waits = []
    for _ in range(count):
        due = time.perf_counter() + PAUSE
        time.sleep(PAUSE)
        ask()
        waits.append(time.perf_counter() - due)
    return waits


def flooded(count: int) -> Figures:
    """An idle actor is asked while 100 others flood themselves."""

    async def main() -> Figures:
        settle_memory()
        target = Patient.start()
        refs = [Flooder.start() for _ in range(100)]
        found = waited("nobody floods", await in_loop(lambda: target.call(1), count))
        for ref in refs:
            ref.tell(FLOOD)
        await asyncio.sleep(0.1)
        found |= waited("in the loop", await in_loop(lambda: target.call(1), count))
        found |= waited("in the loop, CPU", await by_processor(lambda: target.call(1), count))
        seen = await asyncio.to_thread(in_thread, lambda: target.ask(1, timeout=30), count)
        Flooder.on = False
        return found | waited("from a thread", seen)

    return asyncio.run(main())


def busy(count: int) -> Figures:
    """One of 10,000 that flood themselves is asked: by the way with urgent mail, and by the usual one."""

    async def main() -> Figures:
        settle_memory()
        refs = [Flooder.start() for _ in range(10_000)]
        for ref in refs:
            ref.tell(FLOOD)
        await asyncio.sleep(0.5)
        target = refs[len(refs) // 2]
        found = waited("urgent, in the loop", await in_loop(lambda: target.call(1, urgent=True), count))
        seen = await by_processor(lambda: target.call(1, urgent=True), count)
        found |= waited("urgent, in the loop, CPU", seen)
        seen = await asyncio.to_thread(in_thread, lambda: target.ask(1, timeout=30, urgent=True), count)
        found |= waited("urgent, from a thread", seen)
        found |= waited("usual, in the loop", await in_loop(lambda: target.call(1), max(20, count // 20)))
        Flooder.on = False
        return found

    return asyncio.run(main())


# -- a tool that blocks ----------------------------------------------------------------------------------------


class Waiting:
    """A tool that waits for something outside of the process, 50 ms at a time, without an end."""

    on = True

    def on_receive(self, message: Any) -> Any:
        time.sleep(0.05)
        if Waiting.on:
            self._actor_ref.tell(message)  # type: ignore[attr-defined]
        return message


class Computing:
    """A tool that computes for 50 ms at a time in Python, and so holds the interpreter."""

    on = True

    def on_receive(self, message: Any) -> Any:
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            sum(range(100))
        if Computing.on:
            self._actor_ref.tell(message)  # type: ignore[attr-defined]
        return message


class WaitingInPool(Waiting, PoolActor):
    pass


class ComputingInPool(Computing, PoolActor):
    pass


class WaitingInLoop(Waiting, Actor):
    pass


def beside_a_tool(title: str, count: int) -> Figures:
    """An idle actor is asked while another one's tool blocks."""
    tools: dict[str, Any] = {
        "no tool": None,
        "tool that waits, in the pool": WaitingInPool,
        "tool that computes, in the pool": ComputingInPool,
        "tool that waits, in the loop": WaitingInLoop,
    }

    async def main() -> Figures:
        settle_memory()
        target = Patient.start()
        if tools[title] is not None:
            tools[title].start().tell(0)
        await asyncio.sleep(0.1)
        # on the loop itself each wait is most of a second: fewer will do
        number = max(10, count // 20) if title == TOOLS[-1] else count
        found = waited("others", await in_loop(lambda: target.call(1), number))
        Waiting.on = Computing.on = False
        return found

    return asyncio.run(main())


TOOLS = (
    "no tool",
    "tool that waits, in the pool",
    "tool that computes, in the pool",
    "tool that waits, in the loop",
)
