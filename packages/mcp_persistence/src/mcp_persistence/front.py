r"""The front of every durable store: what callers see, whatever the medium.

    caller -> Front -> GroupCommit (queue, one sync for many) -> Medium.commit -> the disk
                   \-> HotTier (memory)  -> Medium reads (every byte checked)

A medium that refuses a write may hold anything behind the last acknowledged position. So the front turns
read-only, tells everybody who waits, and opens the medium anew, as after a crash, until that succeeds.
Lives on the event loop that opened it.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from mcp_interface.clock import Clock
from mcp_interface.errors import (
    CallerMistaken,
    InvalidRecord,
    NotFound,
    StaleEpoch,
    StorageCorrupt,
    StorageUnavailable,
    UmbrellaError,
)
from mcp_interface.events import Event
from mcp_interface.ids import TraceId
from mcp_interface.store import PAGE, Decision, Record, Snapshot, StoreReport, StreamInfo, Transaction
from mcp_interface.telemetry import Telemetry
from mcp_persistence.decoding import decoded, records
from mcp_persistence.encoding import changes_of, encode, encoded, ids_of, too_large
from mcp_persistence.entry import (
    MAX_VALUE,
    NO_IDS,
    Committed,
    Draft,
    Entry,
    Known,
    Refused,
    Run,
    encode_value,
    plain,
)
from mcp_persistence.group_commit import GroupCommit, Refusal, Work
from mcp_persistence.medium import Desk, Medium
from mcp_persistence.names import (
    can_be_key,
    can_be_stream,
    check_glob,
    check_idempotency_key,
    check_key,
    check_stream,
    cursor,
    page,
)
from mcp_persistence.tiers.hot import EVENT_BYTES, HotTier
from mcp_persistence.upcast import EventCodec

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_LOOK: Final = 1.0
"""Seconds until a medium that refused is tried again; doubles up to `LAST_LOOK`."""
LAST_LOOK: Final = 30.0
AGAIN: Final = f"it is tried again, at the latest every {LAST_LOOK:.0f} s"
WARNING: Final = 0.85
ERROR: Final = 0.95
"""Shares of the file system in use beyond which the disk is reported as such."""


class Front:
    """A `mcp_interface.store.Store` over a medium.

    Args:
        medium: What was opened first.
        reopen: Opens the medium anew.
        clock: For durations, and the waits between attempts to heal.
        codec: Turns events into bytes and back.
        telemetry: Told of commits, snapshots and recoveries.
        hot_bytes: Bound of the hot tier, once for events and once for snapshots.
        let_go: Called when the store is closed, after the medium was released.
    """

    def __init__(
        self,
        medium: Medium,
        reopen: Callable[[], Awaitable[Medium]],
        clock: Clock,
        codec: EventCodec,
        telemetry: Telemetry | None,
        hot_bytes: int = EVENT_BYTES,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self._medium = medium
        self._former: Medium | None = None
        self._reopen = reopen
        self._clock = clock
        self._codec = codec
        self._telemetry = telemetry
        self._let_go = let_go
        self._head = medium.head
        self._hot = HotTier(medium.head, hot_bytes)
        self._erasures = 0
        self._ahead: tuple[int, int, str, list[Record]] | None = None
        self._news = asyncio.Event()
        self._group = self._new_group()
        self._healing: asyncio.Task[None] | None = None
        self._trouble = ""
        self._end: asyncio.Task[None] | None = None

    async def claim(self) -> int:
        """Become the writer; see `EventStore.claim`."""
        return await self._group.submit(_claim)

    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        expected: int,
        epoch: int,
        key: str | None = None,
        trace_id: TraceId | None = None,
        causation_id: str | None = None,
        correlation_id: str | None = None,
    ) -> list[Record]:
        """Add events to one stream, all or none; see `EventStore.append`.

        Raises:
            CallerMistaken: No events, a bad stream name, an event that could not be read back, or a key that
                was used for other events.
            VersionConflict: The stream is elsewhere.
            StaleEpoch: Another writer has claimed the store.
            TooMuch: Too many writes wait already; nothing was stored.
            StorageUnavailable: The disk refused; whether the events are in is not known.
        """
        began = self._clock.monotonic() if self._telemetry is not None else 0.0
        run, kept = encoded(self._codec, stream, events, expected, epoch)
        del events  # while it waits, every garbage collection would have to look at it
        size = len(run.bodies[0]) if len(kept) == 1 else sum(map(len, run.bodies))
        if size > MAX_VALUE:
            raise too_large(size)
        work: Run | Entry = run
        ids = NO_IDS
        if trace_id is not None or causation_id is not None or correlation_id is not None or key is not None:
            ids = ids_of(trace_id, causation_id, correlation_id)
            if key is not None:
                check_idempotency_key(key := plain(key))
            work = Entry((run,), epoch, ids=ids, key=key)
        # as `GroupCommit.submit`, without a coroutine of its own: this is the hottest path of the house
        job = self._group.put(work, size)
        try:
            before = await job.future
        except asyncio.CancelledError:
            before = await self._group.too_late(job)
        if type(before) is not int:
            if type(before) is Refusal:
                del job  # as there
                raise before.error
            return await self._again(before)
        if self._telemetry is not None:
            self._emit("journal_write", began, {"events": len(kept)}, {"stream": run.stream})
        return records(run.stream, kept, before, expected, epoch, ids)

    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        """Make a decision durable as a whole; see `Store.commit`."""
        began = self._clock.monotonic()
        parts = [
            encoded(self._codec, part.stream, part.events, part.expected, epoch) for part in decision.appends
        ]
        runs = tuple(run for run, _ in parts)
        changes = changes_of(decision)
        if len({run.stream for run in runs}) < len(runs):
            raise CallerMistaken("a decision names one stream twice", "put its events into one append")
        if not runs and not changes:
            raise CallerMistaken("a decision without events and keys", "leave out the commit")
        key = None if decision.key is None else plain(decision.key)
        if key is not None:
            check_idempotency_key(key)
        if type(epoch) is not int:  # None is for writers of keys alone
            raise StaleEpoch(f"epoch {epoch!r} may not write", "claim the store")
        ids = ids_of(decision.trace_id, decision.causation_id, decision.correlation_id)
        entry = Entry(runs, epoch, changes, ids, key)
        size = sum(len(body) for run in runs for body in run.bodies)
        size += sum(len(content) for content in changes.values() if content is not None)
        before = await self._submit(entry, size)
        if isinstance(before, Known):
            return await self._again(before)
        found: list[Record] = []
        for run, kept in parts:
            found += records(run.stream, kept, before + len(found), run.expected, epoch, ids)
            self._emit("journal_write", began, {"events": len(kept)}, {"stream": run.stream})
        return found

    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Records of one stream; see `EventStore.read`."""
        self._check_open()
        place, most = cursor(after), page(limit)
        if not most or not can_be_stream(stream):
            return []
        rows = self._hot.stream(stream, place, most)
        if rows is None:
            rows = await self._look(lambda medium: medium.stream_page(stream, place, most))
        found = [record for row in rows for record in decoded(row, self._codec) if record.version > place]
        return found[:most]

    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        """Records of all matching streams; see `EventStore.read_all`.

        The name of one stream is looked up; a glob looks at every event behind `after` until it has enough.
        """
        check_glob(streams)
        self._check_open()
        found, _ = await self._scan(cursor(after), page(limit), streams)
        return found

    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        """Records behind `after`, then what comes; see `EventStore.subscribe`."""
        check_glob(streams)
        place = cursor(after)
        while self._end is None:
            # taken before looking: what is committed meanwhile sets this very event
            news = self._news
            try:
                found, place = await self._scan(place, PAGE, streams)
            except StorageUnavailable:
                if self._is_closed:
                    return
                raise
            for record in found:
                yield record
            if place >= self._head and self._end is None:
                await news.wait()

    async def head(self) -> int:
        """Position of the last record; see `EventStore.head`."""
        self._check_open()
        return self._head

    async def streams(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[StreamInfo]:
        """Matching streams by name; see `EventStore.streams`."""
        check_glob(pattern)
        return await self._look(lambda medium: medium.streams(pattern, after, page(limit)))

    async def stream_info(self, stream: str) -> StreamInfo:
        """What is known of one stream; see `EventStore.stream_info`."""
        if not can_be_stream(stream):
            raise NotFound(f"no stream {stream[:200]!r}")
        return await self._look(lambda medium: medium.stream_info(stream))

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream and its snapshots; see `EventStore.delete_stream`."""
        if can_be_stream(stream):
            name = plain(stream)
            await self._submit(lambda desk: desk.delete_stream(name))

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, the newest five of each stream; see `EventStore.save_snapshot`."""
        began = self._clock.monotonic()
        check_stream(snapshot.stream)
        body = encode("the snapshot", snapshot)
        if len(body) > MAX_VALUE:
            raise CallerMistaken(
                f"a snapshot of {len(body)} bytes, {MAX_VALUE} are allowed", "keep less in the state"
            )
        erasures = self._erasures
        newest = await self._look(lambda medium: medium.save_snapshot(snapshot, body))
        # unless it is old, or maybe of a stream that is gone
        if newest == snapshot.version and erasures == self._erasures:
            self._hot.keep_snapshot(snapshot)
        self._emit("snapshot_saved", began, {"bytes": len(body)}, {"stream": snapshot.stream})

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest sound snapshot, in its present shape; see `EventStore.load_snapshot`."""
        self._check_open()
        if not can_be_stream(stream):
            return None
        began = self._clock.monotonic()
        erasures = self._erasures
        found = self._hot.snapshot(stream)
        if found is None:
            found = await self._look(lambda medium: medium.load_snapshot(stream))
            if found is None:
                return None
            if erasures == self._erasures:
                self._hot.keep_snapshot(found)
        self._emit("snapshot_loaded", began, {"bytes": len(found.state)}, {"stream": stream})
        return self._fitted(found)

    async def load_snapshots(
        self, pattern: str = "*", *, after: str = "", limit: int = PAGE
    ) -> list[Snapshot]:
        """The newest sound snapshots of matching streams; see `EventStore.load_snapshots`."""
        check_glob(pattern)
        most = page(limit)
        found: list[Snapshot] = []
        while len(found) < most:
            behind, missing = after, most - len(found)
            fresh = await self._look(lambda medium: medium.load_snapshots(pattern, behind, missing))  # noqa: B023
            if not fresh:
                break
            after = fresh[-1].stream
            found += [fit for snapshot in fresh if (fit := self._fitted(snapshot)) is not None]
        return found

    async def put(self, key: str, value: Any) -> None:
        """Set a key; see `KeyValueStore.put`.

        Raises:
            CallerMistaken: The key does not print, or the value is not JSON-compatible.
        """
        check_key(key := plain(key))
        content = encode_value(key, value)
        await self._submit(Entry((), None, {key: content}), len(content))

    async def get(self, key: str) -> Any:
        """Read a key; see `KeyValueStore.get`."""
        if not can_be_key(key):
            raise NotFound(f"no key {key[:200]!r}")
        return await self._look(lambda medium: medium.value(key))

    async def delete(self, key: str) -> None:
        """Remove a key; see `KeyValueStore.delete`."""
        if can_be_key(key):
            await self._submit(Entry((), None, {plain(key): None}))

    async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[str]:
        """Matching keys, sorted; see `KeyValueStore.list_keys`."""
        check_glob(pattern)
        return await self._look(lambda medium: medium.key_names(pattern, after, page(limit)))

    async def transaction(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent view; see `KeyValueStore.transaction`.

        It runs in the writer's thread and everybody waits for it: touch only the transaction, and be quick.
        """

        def transact(desk: Desk) -> T:
            draft = Draft(desk)
            try:
                result = work(draft)
            except BaseException as error:
                raise Refused(error) from error
            size = sum(len(content) for content in draft.changes.values() if content is not None)
            if size > MAX_VALUE:
                raise too_large(size)
            if draft.changes:
                desk.decide(Entry((), None, draft.changes))
            return result

        return await self._submit(transact)

    async def report(self) -> StoreReport:
        """Say how the store is; see `Store.report`."""
        state: Literal["writable", "read_only", "closed"] = "writable"
        if self._end is not None:
            state = "closed"
        elif self._group.broken is not None:
            state = "read_only"
        medium = self._medium
        usage = None if self._end is not None else await medium.usage()
        used = _disk_used(medium.folder)
        return StoreReport(
            kind=medium.kind,
            state=state,
            reason={"read_only": f"{self._trouble}; {AGAIN}", "closed": "it was closed"}.get(state, ""),
            found=medium.found,
            head=self._head,
            streams=0 if usage is None else usage.streams,
            size_bytes=0 if usage is None else usage.size_bytes,
            segments=0 if usage is None else usage.segments,
            disk="error" if used > ERROR else "warning" if used > WARNING else "ok",
            disk_used=used,
        )

    async def verify(self) -> int:
        """Read everything again, from the first byte to the last; see `Store.verify`."""
        return await self._look(lambda medium: medium.verify())

    async def rebuild(self) -> None:
        """Make anew what is derived; see `Store.rebuild`."""
        await self._look(lambda medium: medium.rebuild())

    async def close(self) -> None:
        """Finish what is queued and release the medium; harmless when repeated."""
        if self._end is None:
            self._end = asyncio.create_task(self._finish(), name="journal closing")
        await asyncio.shield(self._end)

    async def _finish(self) -> None:
        if self._healing is not None:
            self._healing.cancel()
            await asyncio.wait({self._healing})
        await self._group.close()
        await self._release()

    async def _release(self) -> None:
        """Also when nobody called `close`: the medium's threads would keep the process from ending."""
        for medium in (self._former, self._medium):
            if medium is not None:
                await medium.release()
        let_go, self._let_go = self._let_go, _nothing  # once: a descriptor's number is soon somebody else's
        let_go()
        self._announce()

    def _new_group(self) -> GroupCommit[Any]:
        return GroupCommit(self._medium.commit, self._turn_read_only, self._release, self._take_in)

    def _take_in(self, done: Committed) -> Sequence[Any]:
        self._head = done.head
        if done.erased:
            self._hot.forget(done.erased)
            self._erasures += 1
            self._ahead = None
        if done.rows:
            self._hot.add(done.rows)
            self._announce()
        return done.outcomes

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _turn_read_only(self, error: UmbrellaError) -> None:
        self._trouble = error.message
        log.error("the journal is read-only: %s", error.message)
        self._healing = asyncio.get_running_loop().create_task(self._heal(), name="journal healing")

    async def _heal(self) -> None:
        wait = FIRST_LOOK
        while True:
            await self._clock.sleep(wait)
            try:
                fresh = await self._opened_again()
            except Exception as error:  # whatever it is: giving up would leave the store read-only for ever
                if not isinstance(error, UmbrellaError):
                    log.exception("the attempt to open the journal again failed")
                self._trouble = str(error)
                wait = min(2 * wait, LAST_LOOK)
                continue
            group = self._group
            self._former, self._medium = self._medium, fresh
            self._head = fresh.head
            self._hot.clear(fresh.head)
            self._erasures += 1
            self._ahead = None
            self._group = self._new_group()
            self._announce()
            log.warning("the journal is writable again: %s", fresh.found)
            await group.close()
            await self._former.release()
            self._former = None
            return

    async def _opened_again(self) -> Medium:
        fresh = await self._reopen()
        if fresh.head < self._head:
            await fresh.release()
            raise StorageCorrupt(
                f"the journal ends at position {fresh.head}, but {self._head} was acknowledged",
                "put back what was taken away",
                {"position": fresh.head + 1},
            )
        return fresh

    async def _submit(self, work: Work[Any, T], size: int = 0) -> T:
        if size > MAX_VALUE:
            raise too_large(size)
        return await self._group.submit(work, size)

    async def _look(self, work: Callable[[Medium], Awaitable[T]]) -> T:
        self._check_open()
        medium = self._medium
        try:
            return await work(medium)
        except UmbrellaError:
            if medium is self._medium or self._end is not None:
                raise
            return await work(self._medium)  # it was exchanged under our hands

    async def _scan(self, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
        """Records of matching streams behind `after`, and how far the search came."""
        found: list[Record] = []
        place = after
        erasures = self._erasures
        while len(found) < limit and place < self._head:
            fresh, reached = await self._some(place, limit - len(found), glob)
            found += fresh
            if reached <= place:
                break
            place = reached
        if len(found) <= limit:
            return found, place
        # The rest of the last frame: the next page begins with it, and frames are dear to decode.
        found, rest = found[:limit], found[limit:]
        if erasures == self._erasures:  # none of the rest was removed meanwhile
            self._ahead = (found[-1].position, place, glob, rest)
        return found, found[-1].position

    async def _some(self, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and (ahead[0], ahead[2]) == (after, glob):
            return ahead[3], ahead[1]
        hot = self._hot.after(after, limit, glob)
        if hot is None:
            return await self._look(lambda medium: medium.page(after, limit, glob))
        rows, reached = hot
        fresh = [record for row in rows for record in decoded(row, self._codec) if record.position > after]
        return fresh, reached if len(fresh) >= limit else self._head

    async def _again(self, known: Known) -> list[Record]:
        """The records of a decision that was made before."""
        found: list[Record] = []
        last = known.before + known.count
        place = known.before
        while place < last:
            records, reached = await self._scan(place, min(PAGE, last - place), "*")
            found += [record for record in records if record.position <= last]
            if reached <= place:
                break
            place = reached
        return found

    def _fitted(self, snapshot: Snapshot) -> Snapshot | None:
        try:
            return self._codec.snapshot(snapshot)
        except InvalidRecord as error:
            log.warning("a snapshot of %s is passed over: %s", snapshot.stream, error.message)
            return None

    @property
    def _is_closed(self) -> bool:
        return self._end is not None

    def _check_open(self) -> None:
        if self._end is not None:
            raise StorageUnavailable("the store is closed", "open it again")

    def _emit(self, name: str, began: float, measured: dict[str, float], about: dict[str, Any]) -> None:
        if self._telemetry is not None:
            measured["duration_s"] = self._clock.monotonic() - began
            self._telemetry.emit(f"mcp.persistence.{name}", measured, about)


def _nothing() -> None:
    return


def _claim(desk: Desk) -> int:
    return desk.claim()


def _disk_used(folder: Path) -> float:
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(folder)
        return usage.used / (usage.used + usage.free)  # as df counts: without what is kept back for root
    return 0.0
