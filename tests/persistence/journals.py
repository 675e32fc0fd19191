"""A segment journal under test: opened, filled, read through, and waited for until it says how it is."""

import asyncio
from contextlib import asynccontextmanager

from mcp_interface.testing import ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal


def run(body):
    """Run a test's coroutine, for a minute at most."""

    async def bounded():
        async with asyncio.timeout(60):
            await body()

    asyncio.run(bounded())


@asynccontextmanager
async def opened(folder, clock=None, **options):
    """A journal in a folder, closed in the end."""
    store = await SegmentJournal.open(folder, clock or ManualClock(), **options)
    try:
        yield store
    finally:
        await store.close()


async def fill(store, stream="session:1", events=5):
    """Claim a store and begin a stream; gives the epoch."""
    epoch = await store.claim()
    for version in range(events):
        await store.append(stream, [a_message(version)], expected=version, epoch=epoch)
    return epoch


async def everything(store):
    """All records, page by page."""
    found = []
    while page := await store.read_all(after=found[-1].position if found else 0):
        found += page
    return found


async def turned(store, state, clock=None):
    """Wait until a store says that it is so; the clock moves on meanwhile."""
    for _ in range(2000):
        if (report := await store.report()).state == state:
            return report
        if clock is not None:
            clock.advance(60)
        await asyncio.sleep(0.005)
    raise AssertionError(f"it did not become {state}: {report}")
