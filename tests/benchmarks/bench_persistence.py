"""Durable events a second: SqliteStore against aiosqlite with one commit for each append.

    python tests/benchmarks/bench_persistence.py [FOLDER]

Both write the same encoded events to the same disk with synchronous=FULL in WAL mode, in turns, three times;
the figures are medians. FOLDER decides which disk; the temporary folder of the system unless given.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import aiosqlite

from mcp_interface.clock import SystemClock
from mcp_interface.codec import encode_disk
from mcp_interface.testing.samples import a_message
from mcp_persistence import SqliteStore

SECONDS = 2.0
TURNS = 3
TEXT = "plan the next step, search documents, call a tool, summarise the result " * 3
EVENTS = [a_message(number, TEXT) for number in range(256)]


class Load:
    """Appenders that run until time is up, and what they saw."""

    def __init__(self, appenders, append):
        self.appenders = appenders
        self.append = append
        self.waits = []

    async def run(self):
        end = time.perf_counter() + SECONDS
        begin = time.perf_counter()
        await asyncio.gather(*(self._appender(number, end) for number in range(self.appenders)))
        return len(self.waits) / (time.perf_counter() - begin)

    async def _appender(self, number, end):
        stream, version = f"session:session_{number:032x}", 0
        while (before := time.perf_counter()) < end:
            await self.append(stream, version, EVENTS[(number + version) % len(EVENTS)])
            self.waits.append(time.perf_counter() - before)
            version += 1

    @property
    def slowest_percent(self):
        return 1000 * (quantiles(self.waits, n=100)[98] if len(self.waits) > 1 else self.waits[0])


async def ours(folder, appenders):
    store = await SqliteStore.open(folder / "ours.db", SystemClock())
    epoch = await store.claim()

    async def append(stream, version, event):
        await store.append(stream, [event], expected=version, epoch=epoch)

    load = Load(appenders, append)
    rate = await load.run()
    assert await store.verify() == len(load.waits)
    await store.close()
    return rate, load.slowest_percent


async def peer(folder, appenders):
    async with aiosqlite.connect(folder / "peer.db") as db:
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute("PRAGMA synchronous = FULL")
        await db.execute(
            "CREATE TABLE events (stream TEXT, version INTEGER, body BLOB, UNIQUE (stream, version))"
        )
        one_at_a_time = asyncio.Lock()  # a transaction belongs to the connection, not to the task

        async def append(stream, version, event):
            body = encode_disk(event)
            async with one_at_a_time:
                await db.execute("INSERT INTO events VALUES (?, ?, ?)", (stream, version + 1, body))
                await db.commit()

        load = Load(appenders, append)
        rate = await load.run()
    return rate, load.slowest_percent


def once(engine, appenders, parent):
    with TemporaryDirectory(dir=parent) as folder:
        return asyncio.run(engine(Path(folder), appenders))


def show(name, unit, value, peer_value):
    line = {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "peer": "aiosqlite, one commit per append",
        "peer_value": round(peer_value, 2),
        "ratio": round(value / peer_value, 2),
    }
    print(json.dumps(line), flush=True)


def main(parent):
    for appenders in (1, 64, 1000):
        turns = [(once(ours, appenders, parent), once(peer, appenders, parent)) for _ in range(TURNS)]
        rates, waits = ([median(turn[side][what] for turn in turns) for side in (0, 1)] for what in (0, 1))
        show(f"durable events, {appenders} appenders", "events/s", *rates)
        show(f"acknowledged, 99 of 100, {appenders} appenders", "ms", *waits)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
