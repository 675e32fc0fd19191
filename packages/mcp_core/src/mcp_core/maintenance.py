"""The journal of a data directory on which no node runs: look at it, read it back, rebuild what is derived.

A node does not start on a damaged journal; this is how a person learns then what is wrong. It takes the
directory's lock, so that no node starts meanwhile, and opens the journal the way a node does: a torn tail is
cut off and told, damage is left as it is. Besides `node` the only module that names concrete persistence.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from mcp_core.daemon import DataDir, check_journal_is_there
from mcp_core.gateway.handlers.storage import damage, verified
from mcp_interface.clock import Clock, SystemClock
from mcp_interface.commands import StorageCheck
from mcp_interface.errors import NotFound, StorageCorrupt
from mcp_interface.store import Store, StoreReport


async def report_storage(data_dir: Path, clock: Clock | None = None) -> StoreReport:
    """Say how a resting journal is.

    Raises:
        NotFound: There is no journal, and never was one.
        LostRace: A node runs there.
        StorageCorrupt: It is damaged, or was taken away; `inspect_storage` gives that as an answer.
        StorageUnavailable: The disk refused.
    """
    async with _resting(data_dir, clock) as store:
        return await store.report()


async def inspect_storage(data_dir: Path, clock: Clock | None = None) -> StorageCheck:
    """Read a resting journal back; damage is an answer, also one that keeps a node from starting.

    Returns:
        The outcome; what opening found and did is in `details["found"]`.

    Raises:
        NotFound, LostRace, StorageUnavailable: As `report_storage`.
    """
    journal = DataDir(data_dir).journal
    try:
        async with _resting(data_dir, clock) as store:
            found = (await store.report()).found
            check = await verified(store, journal)
    except StorageCorrupt as error:
        return damage(error, journal)
    return msgspec.structs.replace(check, details={**check.details, "found": found}) if found else check


async def rebuild_storage(data_dir: Path, clock: Clock | None = None) -> StoreReport:
    """Make anew what is derived from a resting journal.

    Raises:
        NotFound, LostRace, StorageCorrupt, StorageUnavailable: As `report_storage`.
    """
    async with _resting(data_dir, clock) as store:
        await store.rebuild()
        return await store.report()


@asynccontextmanager
async def _resting(data_dir: Path, clock: Clock | None) -> AsyncIterator[Store]:
    place = DataDir(data_dir)
    # Asked before the lock is taken: looking must not leave a data directory behind.
    check_journal_is_there(place)
    if not (place.journal.exists() or place.old_journal.exists()):
        raise NotFound(f"there is no journal in {place.root}", "name its folder with --data-dir")
    with place.lock():
        store = await _open(place, clock or SystemClock())
        try:
            yield store
        finally:
            await store.close()


async def _open(place: DataDir, clock: Clock) -> Store:
    from mcp_persistence import open_journal

    return await open_journal(place.journal, clock, before=place.old_journal)
