"""The part of the journal exam about back-pressure: a full queue says so, and keeps what it took."""

import asyncio

from mcp_interface.errors import TooMuch
from mcp_interface.store import EventStore
from mcp_interface.testing.exams.appending import check_numbers, read_everything, write


async def bounds_its_queue(store: EventStore, waiting: int) -> None:
    """Examine a store in which so many writes may wait, and no more."""
    epoch = await store.claim()
    tries = [write(store, f"session:{number}", 1, epoch) for number in range(waiting * 2)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    taken = [outcome for outcome in outcomes if isinstance(outcome, list)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, TooMuch)]
    assert len(taken) + len(refused) == len(outcomes), "writes at once are taken, or refused with TooMuch"
    assert len(taken) >= waiting, f"{waiting} writes may wait, {len(taken)} were taken"
    assert refused, f"{len(outcomes)} writes at once were taken, {waiting} may wait"
    stored = await read_everything(store)
    wanted = sorted((records[0] for records in taken), key=lambda record: record.position)
    kept = stored == wanted
    assert kept, f"{len(taken)} writes were taken, {len(stored)} are stored; each as it was acknowledged"
    check_numbers(await write(store, "agent:a", 1, epoch), "agent:a", 1)
