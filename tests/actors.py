"""Actors for the tests of the runtime, and what these tests look at afterwards."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

from mcp_core.runtime import Actor, PoolActor, waits
from mcp_core.runtime.loop import Loop, present_loop

TEST_S = 20.0
"""Longer than any test here takes on a slow machine: what is not there by then never comes."""


class Echo(Actor):
    """Answers with what it was sent, at once, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        if isinstance(message, BaseException):
            raise message
        return message


class Doer(Actor):
    """Calls, and where need be awaits, what it is sent."""

    async def on_receive(self, message: Callable[[], Any]) -> Any:
        done = message()
        return await done if asyncio.iscoroutine(done) else done


class PlainDoer(Actor):
    """Calls what it is sent."""

    def on_receive(self, message: Callable[[], Any]) -> Any:
        return message()


class PoolDoer(PoolActor):
    """Calls what it is sent, on a thread of the pool."""

    def on_receive(self, message: Callable[[], Any]) -> Any:
        return message()


class Letters:
    """The dead letters of a scheduler."""

    def __init__(self, home: Any) -> None:
        self.all: list[tuple[Any, Any, str]] = []
        self._home, self._before = home, home.dead_letter
        home.dead_letter = lambda ref, message, reason: self.all.append((ref, message, reason))

    def close(self) -> None:
        """Let them go where they went before."""
        self._home.dead_letter = self._before

    @property
    def messages(self) -> list[Any]:
        return [message for _, message, _ in self.all]


def run(test: Callable[[], Awaitable[Any]]) -> Any:
    """Run a test on a loop of its own, and look that nothing is left of its actors."""

    async def main() -> Any:
        async with asyncio.timeout(TEST_S):
            done = await test()
            home = present_loop()
            await until(lambda: not home.suspended)
            await quiet(home)
            return done

    done = asyncio.run(main())
    gc.collect()
    assert not waits._waits
    assert not waits.owners
    assert not any(loop.is_closed() for loop in waits.homes)
    return done


async def quiet(home: Loop) -> None:
    """Wait until the scheduler has nothing to do."""
    while home.ready or home.urgent or home.scheduled or home._inbox or home._jobs:
        await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    """Give the loop some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is true."""
    while not condition():
        await asyncio.sleep(0.001)
