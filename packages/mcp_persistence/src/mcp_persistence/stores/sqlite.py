r"""The store in one SQLite file: the front of this package.

    caller -> SqliteStore -> Journal (queue, group commit) -> Ledger -> writing connection
                         \-> reading (checks every row)   -> reading connection

Readers have a connection of their own and wait for no writer. One process at a time is the rule (the node
holds a lock); two stores on one file stay correct through versions and epochs nevertheless. The store lives
on the event loop that opened it.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from mcp_interface.clock import Clock
from mcp_interface.codec import decode_disk, encode_disk
from mcp_interface.errors import (
    CallerMistaken,
    InvalidRecord,
    NotFound,
    StorageUnavailable,
)
from mcp_interface.events import Event
from mcp_interface.ids import TraceId
from mcp_interface.store import PAGE, Record, Snapshot, StreamInfo, Transaction
from mcp_interface.telemetry import Telemetry
from mcp_persistence import reading, snapshot
from mcp_persistence.highwater import HighWater
from mcp_persistence.journal import Journal, Outcome, Work
from mcp_persistence.ledger import MAX_VALUE, Entry, Ledger, encode_value
from mcp_persistence.names import (
    can_be_key,
    can_be_stream,
    check_glob,
    check_key,
    check_stream,
    cursor,
    is_exact,
    page,
)
from mcp_persistence.recovery import Verification
from mcp_persistence.stores.connection import Worker, connect, in_one_view
from mcp_persistence.stores.opening import open_connections

T = TypeVar("T")
VERIFY_DEADLINE: Final = 3600.0
"""Seconds for SQLite's own check of a whole file."""


class SqliteStore:
    """A `mcp_interface.store.Store` in one file. Made by `open`, ended by `close`."""

    def __init__(
        self,
        path: Path,
        writer: Worker,
        reader: Worker,
        water: HighWater,
        ledger: Ledger,
        clock: Clock,
        telemetry: Telemetry | None,
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._water = water
        self._ledger = ledger
        self._clock = clock
        self._telemetry = telemetry
        self._journal: Journal[Ledger] = Journal(self._commit, self._let_go)
        self._end: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, clock: Clock, telemetry: Telemetry | None = None) -> Self:
        """Open a journal, or begin one where there is none. The folder must exist; the file gets mode 0600.

        Args:
            path: The file; `<path>.head` beside it holds the high-water mark.
            clock: For the durations in telemetry.
            telemetry: Told of commits, snapshots and the recovery.

        Raises:
            StorageUnavailable: The folder is missing, or the disk refused.
            StorageCorrupt: The file is damaged, lacks what was acknowledged, or is not ours.
        """
        began = clock.monotonic()
        path = Path(path).absolute()
        opened = await open_connections(path)
        ledger = Ledger(opened.raw, opened.water)
        store = cls(path, opened.writer, opened.reader, opened.water, ledger, clock, telemetry)
        await asyncio.sleep(0)  # the writer task begins, so that it sees when the loop ends
        store._emit("recovery_complete", began, {"events": opened.meta.head}, {})
        return store

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self._path

    async def claim(self) -> int:
        """Become the writer; see `EventStore.claim`."""
        return await self._submit(Ledger.claim)

    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        expected: int,
        epoch: int,
        trace_id: TraceId | None = None,
    ) -> list[Record]:
        """Add events to one stream, all or none; see `EventStore.append`.

        Cancelling withdraws the events if no commit has begun with them.

        Raises:
            CallerMistaken: No events, a bad stream name, or an event that could not be read back.
            VersionConflict: The stream is elsewhere.
            StaleEpoch: Another writer has claimed the store.
            TooMuch: Too many writes wait already; nothing was stored.
            StorageUnavailable: The disk refused; whether the events are in is not known.
        """
        began = self._clock.monotonic()
        check_stream(stream)
        if not events:
            raise CallerMistaken(f"nothing to append to {stream!r}", "give at least one event")
        _encode("the trace id", trace_id)
        bodies = [_encode("an event", event) for event in events]
        size = sum(map(len, bodies))
        if size > MAX_VALUE:
            raise CallerMistaken(
                f"{size} bytes of events at once, {MAX_VALUE} are allowed", "append them in parts"
            )
        kept = [_readable(stream, body) for body in bodies]
        first_at, last_at = (event.timestamp.isoformat() for event in (kept[0], kept[-1]))
        entry = Entry(stream, bodies, expected, epoch, trace_id, first_at, last_at)
        position, version = await self._submit(lambda ledger: ledger.append(entry), size)
        self._emit("journal_write", began, {"events": len(events)}, {"stream": stream})
        return [
            Record(
                position=position + place,
                stream=stream,
                version=version + place,
                epoch=epoch,
                event=event,
                trace_id=trace_id,
            )
            for place, event in enumerate(kept, start=1)
        ]

    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Records of one stream; see `EventStore.read`."""
        if not can_be_stream(stream):
            return []
        return await self._look(reading.stream_page, stream, cursor(after), page(limit))

    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        """Records of all matching streams; see `EventStore.read_all`.

        The name of one stream is looked up; a glob looks at every event behind `after` until it has enough.
        """
        check_glob(streams)
        place, most = cursor(after), page(limit)
        if is_exact(streams):
            return await self._look(reading.stream_tail, streams, place, most)
        found: list[Record] = []
        while len(found) < most:
            records, reached = await self._look(reading.scan, place, most - len(found), streams)
            found += records
            if reached == place:
                break
            place = reached
        return found

    async def head(self) -> int:
        """Position of the last record; see `EventStore.head`."""
        return await self._look(reading.head)

    async def streams(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        """Matching streams by name; see `EventStore.streams`."""
        check_glob(pattern)
        return await self._look(reading.stream_names, pattern, after, page(limit))

    async def stream_info(self, stream: str) -> StreamInfo:
        """What is known of one stream; see `EventStore.stream_info`."""
        if not can_be_stream(stream):
            raise NotFound(f"no stream {stream[:200]!r}")
        return await self._look(reading.stream_info, stream)

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream and its snapshots; see `EventStore.delete_stream`."""
        if can_be_stream(stream):
            await self._submit(lambda ledger: ledger.delete_stream(stream))

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, the newest five of each stream; see `EventStore.save_snapshot`."""
        began = self._clock.monotonic()
        check_stream(snapshot.stream)
        body = _encode("the snapshot", snapshot)
        if len(body) > MAX_VALUE:
            raise CallerMistaken(
                f"a snapshot of {len(body)} bytes, {MAX_VALUE} are allowed", "keep less in the state"
            )
        await self._submit(
            lambda ledger: ledger.save_snapshot(snapshot.stream, snapshot.version, body), len(body)
        )
        self._emit("snapshot_saved", began, {"bytes": len(body)}, {"stream": snapshot.stream})

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest sound snapshot; see `EventStore.load_snapshot`."""
        if not can_be_stream(stream):
            return None
        began = self._clock.monotonic()
        found = await self._look(snapshot.load, stream)
        if found is None:
            return None
        self._emit("snapshot_loaded", began, {"bytes": found[1]}, {"stream": stream})
        return found[0]

    async def put(self, key: str, value: Any) -> None:
        """Set a key; see `KeyValueStore.put`.

        Raises:
            CallerMistaken: The key does not print, or the value is not JSON-compatible.
        """
        check_key(key)
        content = encode_value(key, value)
        await self._submit(lambda ledger: ledger.put(key, content), len(content))

    async def get(self, key: str) -> Any:
        """Read a key; see `KeyValueStore.get`."""
        if not can_be_key(key):
            raise NotFound(f"no key {key[:200]!r}")
        return await self._look(reading.value, key)

    async def delete(self, key: str) -> None:
        """Remove a key; see `KeyValueStore.delete`."""
        if can_be_key(key):
            await self._submit(lambda ledger: ledger.delete(key))

    async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[str]:
        """Matching keys, sorted; see `KeyValueStore.list_keys`."""
        check_glob(pattern)
        return await self._look(reading.key_names, pattern, after, page(limit))

    async def transaction(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent view; see `KeyValueStore.transaction`.

        It runs in the writer's thread and everybody waits for it: touch only the transaction, and be quick.
        """
        return await self._submit(lambda ledger: ledger.transact(work))

    async def verify(self) -> int:
        """Read everything again and follow the chain from the first event to the last.

        Returns:
            How many events there are.

        Raises:
            StorageCorrupt: Something is missing, changed or added; names the position where it shows.
        """
        self._check_open()
        worker = await connect(self._path, writable=False)
        verification = Verification()
        try:
            await worker.run(verification.begin)
            while await worker.run(verification.step):
                pass
            return await worker.run(verification.finish, VERIFY_DEADLINE)
        finally:
            await worker.end()

    async def close(self) -> None:
        """Finish what is queued and release the file; harmless when repeated."""
        if self._end is None:
            self._end = asyncio.create_task(self._release(), name="journal closing")
        await asyncio.shield(self._end)

    async def _release(self) -> None:
        await self._journal.close()
        await self._let_go()

    async def _let_go(self) -> None:
        """End both threads. Also when nobody called `close`: they would keep the process from ending."""
        for worker in (self._reader, self._writer):
            await worker.end()
        self._water.close()

    async def _commit(self, batch: Sequence[Work[Ledger, Any]]) -> Sequence[Outcome]:
        return await self._writer.run(lambda _: self._ledger.commit(batch))

    async def _submit(self, work: Work[Ledger, T], size: int = 0) -> T:
        return await self._journal.submit(work, size)

    async def _look(self, work: Callable[..., T], *args: Any) -> T:
        self._check_open()
        return await self._reader.run(in_one_view(work, *args))

    def _check_open(self) -> None:
        if self._end is not None:
            raise StorageUnavailable("the store is closed", "open it again")

    def _emit(self, name: str, began: float, measured: dict[str, float], about: dict[str, Any]) -> None:
        if self._telemetry is not None:
            measured["duration_s"] = self._clock.monotonic() - began
            self._telemetry.emit(f"mcp.persistence.{name}", measured, about)


def _encode(what: str, value: Any) -> bytes:
    try:
        return encode_disk(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CallerMistaken(f"{what} cannot be stored: {error}", "use plain data") from error


def _readable(stream: str, body: bytes) -> Event:
    """Read an event back before it is acknowledged: one that cannot be would wedge its stream for good."""
    try:
        event: Event = decode_disk(body, Event)
    except InvalidRecord as error:
        raise InvalidRecord(
            "malformed",
            f"an event for {stream!r} could not be read back: {error.message}",
            "give valid events",
        ) from error
    return event
