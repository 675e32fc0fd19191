"""Supervised actors that note what they live through, on a clock that the test moves."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from mcp_core.runtime import Actor, PoolActor, Ref
from mcp_core.runtime.roll import ROLL
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.testing import ManualClock, RecordingTelemetry, SeededEntropy


class Worker(Actor):
    """Notes what it lives through; does what it is told."""

    def __init__(self, log: list[str], name: str) -> None:
        super().__init__()
        self.log = log
        self.name = name
        self.count = 0
        log.append(f"{name}+")

    async def on_receive(self, message: Any) -> Any:
        match message:
            case "crash":
                raise RuntimeError("boom")
            case "stop":
                self.stop()
                return None
            case ("wait", gate):
                await gate.wait()
            case ("stay", gate):
                try:
                    await gate.wait()
                except asyncio.CancelledError:  # as code that swallows everything does
                    await gate.wait()
        self.count += 1
        return self.count

    async def on_stop(self) -> None:
        self.log.append(f"{self.name}-")


class Threaded(PoolActor):
    """Crashes on a thread of the pool."""

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            message.wait(10)
        if message == "crash":
            raise RuntimeError("boom")
        return message


class House:
    """A supervisor with children, on a clock that the test moves."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.told = RecordingTelemetry()
        self.log: list[str] = []
        self.top = self.supervisor(**options)

    def supervisor(self, **options: Any) -> Supervisor:
        return Supervisor(self.clock, SeededEntropy(), telemetry=self.told, **options)

    def start(self, name: str, under: Supervisor | None = None, **options: Any) -> Ref[Any]:
        make = options.pop("make", lambda: Worker(self.log, name))
        return (under or self.top).start(ChildSpec(name=name, make=make, **options))

    def names(self, event: str) -> list[Any]:
        """Whom such an event was about, one after another."""
        about = [heard.metadata for heard in self.told.heard if heard.name == event]
        return [names.get("actor", names.get("supervisor")) for names in about]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


def run(scenario: Any) -> None:
    async def limited() -> None:
        before = len(ROLL)
        async with asyncio.timeout(30):
            await scenario
        assert len(ROLL) == before, "an actor was left behind"

    asyncio.run(limited())
