"""What actors cost in memory, and that nothing of them is left."""

import asyncio
import gc
import os
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from pykka import ActorRegistry

from actors import Doer, Echo, PoolDoer, quiet, run, turns, until
from mcp_core.runtime import Actor, waits
from mcp_core.runtime.loop import CARRIERS, SPARES, present_loop

BYTES = 320
"""What an idle actor may cost, its ref and its place in the registry included."""


class Bare(Actor):
    """An actor with nothing of its own."""

    __slots__ = ()

    def on_receive(self, message: Any) -> Any:
        return message


def test_an_idle_actor_costs_no_more_than_320_bytes() -> None:
    async def test() -> None:
        await Bare.start().call(1)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        refs = [Bare.start() for _ in range(100_000)]
        fresh = (tracemalloc.get_traced_memory()[0] - before) / len(refs)
        tracemalloc.stop()
        assert fresh <= BYTES
        for ref in refs:
            ref._die(waits)  # type: ignore[arg-type]  # the quickest end there is

    run(test)


def test_an_actor_that_has_worked_keeps_nothing_of_it() -> None:
    async def test() -> None:
        refs = [Doer.start() for _ in range(2_000)]
        for ref in refs:
            for _ in range(3):
                ref.tell(lambda: asyncio.sleep(0))
            ref.tell(lambda: None)
        await quiet(present_loop())
        await until(lambda: not present_loop().suspended and not any(ref.waiting for ref in refs))
        await quiet(present_loop())
        for ref in refs:
            assert ref._mail is None
            assert ref._ties is None
        assert len(present_loop().spare_queues) <= SPARES
        assert len(asyncio.all_tasks()) < CARRIERS + 40

    run(test)


@pytest.mark.parametrize("kind", [Echo, Doer, PoolDoer])
def test_nothing_is_left_of_ten_thousand_that_came_and_went(kind: Any) -> None:
    count = 10_000 if kind is not PoolDoer else 2_000

    async def test() -> None:
        message = 1 if kind is Echo else lambda: 1
        registered = len(ActorRegistry.get_all())
        kinds_before, files, threads = _counts(), _files(), threading.active_count()
        for start in range(0, count, 500):
            refs = [kind.start() for _ in range(500)]
            for ref in refs:
                ref.on_exit(lambda ref, exit: None)
            replies = [ref.ask(message, block=False) for ref in refs]
            ends = [ref.stop(block=False) if at % 2 else ref.kill() for at, ref in enumerate(refs)]
            for end in ends[1::2]:
                assert await end is True
            await until(lambda refs=refs: not any(ref._actor is not None for ref in refs))
            del refs, replies, ends, end
            await turns(2)
            assert start >= 0
        ref = None
        await until(lambda: _counts() == kinds_before)
        assert len(ActorRegistry.get_all()) == registered
        assert _files() == files
        assert threading.active_count() <= threads + (os.cpu_count() or 2) + 1
        assert ref is None
        assert not waits._waits
        assert not waits.owners
        assert not present_loop().suspended

    run(test)


def _counts() -> dict[str, int]:
    gc.collect()
    names = ("LoopRef", "PoolRef", "Echo", "Doer", "PoolDoer", "Future", "Ties", "Ask")
    counts = dict.fromkeys(names, 0)
    for one in gc.get_objects():
        name = type(one).__name__
        if name in counts and type(one).__module__.split(".")[0] in ("actors", "mcp_core"):
            counts[name] += 1
    return counts


def _files() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    return len(list(Path("/proc/self/fd").iterdir()))
