"""What people would use instead of our actors in Python, each as its own manual shows it.

| Peer | Asked | Told | Spawned |
|---|---|---|---|
| pykka `ThreadingActor` | `ref.ask` in a handler, which blocks its thread | `ref.tell`, handled | `start` |
| autogen-core `SingleThreadedAgentRuntime` | `await self.send_message` in a handler | `await self.publish_message`, handled | the first message to a new key, answered |

autogen-core's telemetry and event log are as they are by default: no exporter, no handler. Both send an int where they
can; autogen-core wants a dataclass.
"""

import asyncio
import gc
import logging
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pykka
from runtime_memory import resident
from turns import Figures, Speed, rounds, waited

HAS_AUTOGEN = find_spec("autogen_core") is not None


# -- pykka -----------------------------------------------------------------------------------------------------


class Echo(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message


class Inside(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        work, *args = message
        return work(*args)


def _ask(ref: Any, count: int) -> None:
    for number in range(count):
        ref.ask(number)


def _tell(ref: Any, count: int) -> None:
    for number in range(count):
        ref.tell(number)
    ref.ask(0)


def _repeated(name: str, count: int, work: Any, ref: Any) -> Figures:
    work(ref, max(1, count // 10))
    speed = Speed(count)
    for _ in range(3):
        with speed:
            work(ref, count)
    return speed.figures(name)


def pykka_asks(scale: float) -> Figures:
    driver, target = Inside.start(), Echo.start()
    found = _repeated("ask", int(8_000 * scale), lambda ref, n: driver.ask((_ask, ref, n)), target)
    pykka.ActorRegistry.stop_all()
    return found


def pykka_tells(scale: float) -> Figures:
    driver, target, count = Inside.start(), Echo.start(), int(50_000 * scale)
    found = _repeated("tell, in the runtime", count, lambda ref, n: driver.ask((_tell, ref, n)), target)
    found |= _repeated("tell, from a thread", count, _tell, target)
    pykka.ActorRegistry.stop_all()
    return found


def pykka_spawns(scale: float) -> Figures:
    """With what each takes: the growth of the process, without the 8 MiB of address space for its stack."""
    count = int(2_000 * scale)
    Echo.start().stop()
    speed, before = Speed(count), resident()
    with speed:
        keep = [Echo.start() for _ in range(count)]
    found = {"idle agent": (resident() - before) / len(keep)}
    pykka.ActorRegistry.stop_all()
    return found | speed.figures("spawn")


class Flooder(pykka.ThreadingActor):
    use_daemon_thread = True
    on = True

    def on_receive(self, message: Any) -> Any:
        if Flooder.on:
            self.actor_ref.tell(message)
        return message


def pykka_flooded(count: int, most: float = 15.0) -> Figures:
    """As `runtime_waits.flooded` from a thread; for so many seconds at most, but not less than 10 asks."""
    target = Echo.start()
    for ref in [Flooder.start() for _ in range(100)]:
        ref.tell(0)
    waits: list[float] = []
    end = time.perf_counter() + most
    while len(waits) < count and (time.perf_counter() < end or len(waits) < 10):
        due = time.perf_counter() + 0.005
        time.sleep(0.005)
        target.ask(1)
        waits.append(time.perf_counter() - due)
    Flooder.on = False
    pykka.ActorRegistry.stop_all(timeout=30)
    return waited("ask", waits)


# -- autogen-core ----------------------------------------------------------------------------------------------


@dataclass
class Number:
    value: int


@dataclass
class News:
    value: int


@dataclass
class Job:
    what: str
    count: int


async def _autogen() -> Any:
    """A runtime with two types of agents: `echo`, and `driver` which runs a job inside its handler."""
    from autogen_core import (
        AgentId,
        MessageContext,
        RoutedAgent,
        SingleThreadedAgentRuntime,
        TopicId,
        TypeSubscription,
        message_handler,
    )

    # its decorator reads the annotations of what it decorates, where that was defined
    globals()["MessageContext"] = MessageContext

    class AutogenEcho(RoutedAgent):
        heard = 0

        def __init__(self) -> None:
            super().__init__("echo")

        @message_handler
        async def on_number(self, message: Number, ctx: MessageContext) -> Number:
            return message

        @message_handler
        async def on_news(self, message: News, ctx: MessageContext) -> None:
            AutogenEcho.heard += 1

    class AutogenDriver(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("driver")

        @message_handler
        async def on_job(self, message: Job, ctx: MessageContext) -> Number:
            if message.what == "ask":
                target = AgentId("echo", "0")
                for value in range(message.count):
                    await self.send_message(Number(value), target)
            else:
                goal, topic = AutogenEcho.heard + message.count, TopicId("news", "0")
                for value in range(message.count):
                    await self.publish_message(News(value), topic)
                while AutogenEcho.heard < goal:
                    await asyncio.sleep(0)
            return Number(0)

    runtime = SingleThreadedAgentRuntime()
    await AutogenEcho.register(runtime, "echo", AutogenEcho)
    await AutogenDriver.register(runtime, "driver", AutogenDriver)
    await runtime.add_subscription(TypeSubscription("news", "echo"))
    runtime.start()
    return runtime


def autogen(what: str, scale: float) -> Figures:
    """One of ask, tell and spawn."""
    logging.disable(logging.CRITICAL)  # it prepares a line of log for each message, whatever is done with it

    async def main() -> Figures:
        from autogen_core import AgentId

        runtime = await _autogen()
        driver = AgentId("driver", "0")
        if what != "spawn":
            count = int(2_000 * scale)

            async def run(number: int) -> None:
                await runtime.send_message(Job(what, number), driver)

            name = "ask" if what == "ask" else "tell, in the runtime"
            found = await rounds(name, count, run, times=3)
        else:
            count = int(4_000 * scale)
            found = await rounds("spawn", count, _spawned(runtime), times=3)
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            await _spawned(runtime)(count // 4)
            gc.collect()
            found["idle agent"] = (tracemalloc.get_traced_memory()[0] - before) / (count // 4)
        await runtime.stop()
        return found

    return asyncio.run(main())


def _spawned(runtime: Any) -> Callable[[int], Awaitable[None]]:
    from autogen_core import AgentId

    async def spawn(count: int) -> None:
        begun = len(runtime._instantiated_agents)
        for number in range(begun, begun + count):
            await runtime.send_message(Number(number), AgentId("echo", f"n{number}"))

    return spawn
