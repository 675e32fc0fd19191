"""Our side of `bench_runtime`: what agents take that have nothing to do, and how long the collector stops them all."""

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turns import Figures

from mcp_core.runtime import Actor
from mcp_core.runtime.collection import settle_memory


class Bare(Actor):
    __slots__ = ()

    async def on_receive(self, message: Any) -> Any:
        return message


class Agent(Actor):
    """With the state of an agent: one dict with a few values."""

    __slots__ = ("state",)

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.state = {"id": number, "name": "worker", "done": 0, "note": None}

    async def on_receive(self, message: Any) -> Any:
        return self.state["done"]


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def idle(count: int) -> Figures:
    """Bytes by which the process grows for each."""

    async def main() -> Figures:
        settle_memory()
        keep: list[Any] = [None] * (2 * count)
        found = {}
        for at, (name, kind) in enumerate({"bare": Bare, "with agent state": Agent}.items()):
            before = resident()
            for number in range(count):
                keep[at * count + number] = kind.start()
            gc.collect()
            found[f"idle agent, {name}"] = (resident() - before) / count
        return found

    return asyncio.run(main())


def many(count: int) -> Figures:
    """So many agents with state in one process, and the collector's pauses while 1 % of them are replaced."""

    async def main() -> Figures:
        await asyncio.sleep(0)
        gc.set_threshold(20_000, 2, 50)
        began = time.perf_counter()
        refs = [Agent.start(number) for number in range(count)]
        started = time.perf_counter() - began
        found = {"seconds": started, "GiB": resident() / 2**30}
        gc.set_threshold(700, 10, 10)
        began = time.perf_counter()
        gc.collect()
        found["full look, before"] = 1000 * (time.perf_counter() - began)
        found["longest pause, before"] = await _churned(refs, True)
        began = time.perf_counter()
        settle_memory()
        found["settling"] = 1000 * (time.perf_counter() - began)
        found["longest pause, after"] = await _churned(refs, False)
        began, busy = time.perf_counter(), time.process_time()
        gc.collect()
        found["full look, after"] = 1000 * (time.perf_counter() - began)
        found["full look, after, CPU"] = 1000 * (time.process_time() - busy)
        assert all(ref.is_alive() for ref in refs)
        assert await refs[-1].call(1) == 0
        return found

    return asyncio.run(main())


async def _churned(refs: list[Any], until_full: bool) -> float:
    """Milliseconds of the collector's longest pause while 1 % end and as many are started.

    Args:
        refs: All that live.
        until_full: Whether to look at everything once, as the collector will do by itself after some more of it.
    """
    with pauses() as seen:
        step = 100
        for place in range(0, len(refs), step):
            refs[place].kill()
            refs[place] = Agent.start(place)
            if place % (1000 * step) == 0:
                await asyncio.sleep(0)
        if until_full:
            gc.collect()
        await asyncio.sleep(0)
    return 1000 * max(seen, default=0.0)


@contextmanager
def pauses() -> Iterator[list[float]]:
    """The seconds of each look of the collector."""
    seen: list[float] = []
    began = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            seen.append(time.perf_counter() - began)

    gc.callbacks.append(note)
    try:
        yield seen
    finally:
        gc.callbacks.remove(note)
