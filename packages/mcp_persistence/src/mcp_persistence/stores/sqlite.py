"""The journal in one SQLite file: group commit, a digest for every row, a chain over all events.

One store at a time: a lock on the high-water mark's file keeps every other one away, in this process too.
"""

import asyncio
from pathlib import Path
from typing import Self

from mcp_interface.clock import Clock
from mcp_interface.telemetry import Telemetry
from mcp_persistence.front import Front
from mcp_persistence.sqlite.highwater import HighWater
from mcp_persistence.sqlite.medium import SqliteMedium
from mcp_persistence.tiers.hot import EVENT_BYTES
from mcp_persistence.upcast import EventCodec


class SqliteJournal(Front):
    """A `mcp_interface.store.Store` in one file. Made by `open`, ended by `close`."""

    path: Path
    """The journal's file."""

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        telemetry: Telemetry | None = None,
        *,
        codec: EventCodec | None = None,
        hot_bytes: int = EVENT_BYTES,
    ) -> Self:
        """Open a journal, or begin one where there is none. The folder must exist; the file gets mode 0600.

        Args:
            path: The file; `<path>.head` beside it holds the high-water mark.
            clock: For the durations in telemetry, and the waits between attempts to heal.
            telemetry: Told of commits, snapshots and recoveries.
            codec: For events of your own; without it Umbrella's.
            hot_bytes: Bytes of recent events kept in memory, and as much again for snapshots.

        Raises:
            StorageUnavailable: The folder is missing, the disk refused, or another store has the journal open.
            StorageCorrupt: The file is damaged, lacks what was acknowledged, or is not ours.
        """
        began = clock.monotonic()
        path = Path(path).absolute()
        codec = codec or EventCodec()
        water = HighWater(path)

        async def reopen() -> SqliteMedium:
            medium = await SqliteMedium.open(path, water, codec)
            try:
                await medium.try_writing()
            except BaseException:
                await medium.release()
                raise
            return medium

        try:
            medium = await SqliteMedium.open(path, water, codec)
        except BaseException:
            water.close()
            raise
        store = cls(medium, reopen, clock, codec, telemetry, hot_bytes, water.close)
        store.path = path
        await asyncio.sleep(0)  # the writer task begins, so that it sees when the loop ends
        store._emit("recovery_complete", began, {"events": medium.head}, {})
        return store
