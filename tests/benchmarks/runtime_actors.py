"""Our side of `bench_runtime`: how fast actors are asked, told, made and brought back.

Every function is one turn in a process of its own. Actors speak with actors: what is counted runs inside a handler,
unless its name says otherwise. What is sent is an int and what is answered is that int.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from turns import Figures, Speed, rounds, waited

from mcp_core.runtime import Actor
from mcp_core.runtime.collection import settle_memory
from mcp_core.runtime.registry import LocalRegistry
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.clock import SystemClock, SystemEntropy

BURST = 5_000
"""Messages that are told before the receiver gets its turn: half of a mailbox."""


class Echo(Actor):
    async def on_receive(self, message: Any) -> Any:
        return message


class PlainEcho(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


class Inside(Actor):
    """Runs the coroutine function it is told, as its handler."""

    async def on_receive(self, message: Any) -> Any:
        work, *args = message
        return await work(*args)


# -- asks ------------------------------------------------------------------------------------------------------


async def _call(ref: Any, count: int) -> None:
    call = ref.call
    for number in range(count):
        await call(number)


async def _ask_blocking(ref: Any, count: int) -> None:
    ask = ref.ask
    for number in range(count):
        ask(number)


async def _call_busy(ref: Any, count: int) -> None:
    """Each target has a message already, so that none of these is answered on the stack."""
    tell, call = ref.tell, ref.call
    for number in range(count):
        tell(number)
        await call(number)


def asks(scale: float) -> Figures:
    async def main() -> Figures:
        settle_memory()
        driver, count, found = Inside.start(), int(200_000 * scale), {}
        ways: list[tuple[str, type[Actor], Callable[..., Any]]] = [
            ("await call, async handler", Echo, _call),
            ("await call, plain handler", PlainEcho, _call),
            ("ask on the stack, plain handler", PlainEcho, _ask_blocking),
            ("await call through the mailbox", Echo, _call_busy),
        ]
        for name, kind, work in ways:
            target = kind.start()

            async def run(n: int, work: Any = work, target: Any = target) -> None:
                await driver.call((work, target, n), timeout=60.0)

            found |= await rounds(name, count // 8 if work is _call_busy else count, run)
        return found

    return asyncio.run(main())


# -- tells -----------------------------------------------------------------------------------------------------


async def _tell(ref: Any, count: int) -> None:
    tell = ref.tell
    for begun in range(0, count, BURST):
        for number in range(begun, min(begun + BURST, count)):
            tell(number)
        while ref.waiting:
            await asyncio.sleep(0)


def tells(scale: float) -> Figures:
    """Sent and handled. From a thread, the receiver's mailbox has room for all: no policy is measured."""

    class Roomy(PlainEcho):
        mailbox_limit = 1 << 30

    async def from_thread(count: int) -> None:
        ref = Roomy.start()

        def send() -> None:
            tell = ref.tell
            for number in range(count):
                tell(number)
            ref.ask(0)

        await asyncio.to_thread(send)

    async def main() -> Figures:
        settle_memory()
        driver, ref, count = Inside.start(), PlainEcho.start(), int(300_000 * scale)
        found = await rounds(
            "tell, in the runtime", count, lambda n: driver.call((_tell, ref, n), timeout=60.0)
        )
        return found | await rounds("tell, from a thread", count, from_thread)

    return asyncio.run(main())


# -- spawning --------------------------------------------------------------------------------------------------


def spawns(scale: float) -> Figures:
    """All that were started are alive at the end."""

    async def main() -> Figures:
        found: Figures = {}
        count = int(200_000 * scale)
        for name in ("spawn, Python's own collector", "spawn"):
            speed = Speed(count)
            for _ in range(3):
                with speed:
                    start = Echo.start
                    keep = [start() for _ in range(count)]
                await _end(keep)
            found |= speed.figures(name)
            settle_memory()
        return found | await _supervised(count // 4)

    return asyncio.run(main())


async def _supervised(count: int) -> Figures:
    """Children of a supervisor, each with a name, metadata and a monitor; keeper and registry hear of their ends."""
    speed, watcher = Speed(count), PlainEcho.start()
    for turn in range(3):
        keeper = Supervisor(SystemClock(), SystemEntropy())
        registry: LocalRegistry[Any] = LocalRegistry()
        with speed:
            for number in range(count):
                name = f"agent-{turn}-{number}"
                ref = keeper.start(ChildSpec(name=name, make=Echo, restart="temporary"))
                registry.register(name, ref, {"type": "worker"})
                ref.monitor(watcher)
        assert len(registry) == len(keeper.children()) == count
        await _end([child.ref for child in keeper.children()])
        assert not keeper.children() and not len(registry)
    return speed.figures("spawn, supervised, registered, monitored")


async def _end(refs: list[Any]) -> None:
    for begun in range(0, len(refs), 1000):
        for ref in refs[begun : begun + 1000]:
            ref.kill()
        await asyncio.sleep(0)
    refs.clear()


# -- restarts --------------------------------------------------------------------------------------------------


class Fragile(Actor):
    """Crashes on being told None; answers from the state it was given."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self.state = state

    async def on_receive(self, message: int | None) -> int:
        if message is None:
            raise RuntimeError("as told")
        return int(self.state["count"]) + message


def restarts(scale: float) -> Figures:
    """From the telling of what crashes it to the answer of the next incarnation, whose state is in memory.

    Each child crashes once, which is answered without a pause. The log is off: to write a traceback costs more than
    everything else.
    """
    logging.disable(logging.CRITICAL)
    delays: list[float] = []

    async def crash(refs: list[Any]) -> None:
        for ref in refs:
            began = time.perf_counter()
            ref.tell(None)
            assert await ref.call(1) == 42
            delays.append(time.perf_counter() - began)

    async def main() -> Figures:
        count, keeper = int(20_000 * scale), Supervisor(SystemClock(), SystemEntropy())
        speed, driver = Speed(count), Inside.start()
        for turn in range(3):
            names = [f"{turn}-{number}" for number in range(count)]
            refs = [keeper.start(ChildSpec(name=name, make=_fragile)) for name in names]
            settle_memory()
            with speed:
                await driver.call((crash, refs), timeout=60.0)
            assert all(keeper.restarts(name) == 1 for name in names)
        return speed.figures("restart") | waited("restart", delays)

    return asyncio.run(main())


def _fragile() -> Fragile:
    return Fragile({"count": 41})
