"""Broken stores that the exams find."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from broken_fakes import assert_found, opening
from mcp_interface.errors import (
    InvalidRecord,
    UmbrellaError,
    VersionConflict,
)
from mcp_interface.events import Event
from mcp_interface.ids import TraceId
from mcp_interface.store import PAGE, Record, Snapshot, Transaction
from mcp_interface.testing import (
    MemoryStore,
    check_journal,
    check_snapshots,
    check_store,
)


class AcceptsStaleEpoch(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        return await super().append(stream, events, **{**options, "epoch": self._epoch})


class IgnoresExpected(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except VersionConflict as error:
            return await super().append(stream, events, **{**options, "expected": error.details["actual"]})


class ForgetsAnEvent(MemoryStore):
    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        found = await super().read(stream, after=after, limit=limit)
        return [record for record in found if record.version != 3]


class Reorders(MemoryStore):
    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        found = await super().read_all(after=after, limit=limit, streams=streams)
        return sorted(found, key=lambda record: (record.stream, record.version))


class WritesHalfABatch(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        written: list[Record] = []
        for event in events or [None]:
            step = {**options, "expected": options["expected"] + len(written)}
            written += await super().append(stream, [event] if event else [], **step)
        return written


class ReadsWithoutBound(MemoryStore):
    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        found: list[Record] = []
        while page := await super().read(stream, after=after + len(found), limit=limit - len(found)):
            found += page
        return found


class StopsWithAnAppend(MemoryStore):
    """Gives no more than one append wrote, also when a little more is wanted and there."""

    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        records = await super().append(stream, events, **options)
        self.ends = [*getattr(self, "ends", []), records[-1].version]
        return records

    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        found = await super().read(stream, after=after, limit=limit)
        ends = [end for end in getattr(self, "ends", []) if end > after]
        return [record for record in found if record.version <= ends[0]] if ends and limit < 6 else found


class SkipsBadEvents(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except InvalidRecord:
            return []


class LosesTheTrace(MemoryStore):
    async def append(
        self, stream: str, events: Sequence[Event], *, trace_id: TraceId | None = None, **options: Any
    ) -> list[Record]:
        return await super().append(stream, events, **options)


class ReusesPositions(MemoryStore):
    async def delete_stream(self, stream: str) -> None:
        await super().delete_stream(stream)
        self._head = max(self._records, default=0)


class DeletesNothing(MemoryStore):
    async def delete_stream(self, stream: str) -> None:
        return None


class ForgetsWhereItIs(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except VersionConflict as error:
            raise VersionConflict(error.message) from error


class ListsOutOfOrder(MemoryStore):
    async def streams(self, *given: Any, **options: Any) -> list[Any]:
        return (await super().streams(*given, **options))[::-1]


class RaisesItsOwnErrors(MemoryStore):
    async def stream_info(self, stream: str) -> Any:
        if stream not in self._streams:
            raise KeyError(stream)
        return await super().stream_info(stream)


@pytest.mark.parametrize(
    "store",
    [
        AcceptsStaleEpoch,
        IgnoresExpected,
        ForgetsAnEvent,
        Reorders,
        WritesHalfABatch,
        ReadsWithoutBound,
        StopsWithAnAppend,
        SkipsBadEvents,
        LosesTheTrace,
        ReusesPositions,
        DeletesNothing,
        ForgetsWhereItIs,
        ListsOutOfOrder,
        RaisesItsOwnErrors,
    ],
)
def test_check_journal_finds(store: type[MemoryStore]) -> None:
    assert_found(check_journal, store)


def test_check_journal_finds_a_store_that_forgets_with_its_process() -> None:
    assert_found(check_journal, MemoryStore, reopen=opening(lambda old: MemoryStore()))


class LosesTheFingerprint(MemoryStore):
    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await super().save_snapshot(msgspec.structs.replace(snapshot, fingerprint=""))


class KeepsTheLastSaved(MemoryStore):
    async def load_snapshot(self, stream: str) -> Snapshot | None:
        return getattr(self, "last", None)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await super().save_snapshot(snapshot)
        self.last = snapshot


class TrustsTheFuture(MemoryStore):
    async def save_snapshot(self, snapshot: Snapshot) -> None:
        try:
            await super().save_snapshot(snapshot)
        except UmbrellaError:
            self._streams.clear()


class KeepsSnapshotsOfTheDead(MemoryStore):
    async def delete_stream(self, stream: str) -> None:
        snapshots = self._streams[stream].snapshots
        await super().delete_stream(stream)
        self._kept = snapshots

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        found = await super().load_snapshot(stream)
        kept = getattr(self, "_kept", {})
        return found or (msgspec.msgpack.decode(kept[2], type=Snapshot) if kept else None)


class GivesManyUnsorted(MemoryStore):
    async def load_snapshots(
        self, pattern: str = "*", *, after: str = "", limit: int = PAGE
    ) -> list[Snapshot]:
        return (await super().load_snapshots(pattern, after=after, limit=limit))[::-1]


class GivesTooMany(MemoryStore):
    async def load_snapshots(
        self, pattern: str = "*", *, after: str = "", limit: int = PAGE
    ) -> list[Snapshot]:
        return await super().load_snapshots(pattern, after=after)


@pytest.mark.parametrize(
    "store",
    [
        KeepsTheLastSaved,
        TrustsTheFuture,
        KeepsSnapshotsOfTheDead,
        LosesTheFingerprint,
        GivesManyUnsorted,
        GivesTooMany,
    ],
)
def test_check_snapshots_finds(store: type[MemoryStore]) -> None:
    assert_found(check_snapshots, store)


def test_check_snapshots_finds_lost_and_damaged_ones() -> None:
    async def damage(store: MemoryStore, stream: str) -> None:
        snapshots = store._streams[stream].snapshots
        snapshots[2] = snapshots[2].replace(b"state 2", b"state X")

    assert_found(check_snapshots, MemoryStore, damage=damage)
    assert_found(check_snapshots, MemoryStore, reopen=opening(lambda old: MemoryStore()))


class RemembersTheLastSaved(MemoryStore):
    """Keeps the newest in front of what is stored, and knows it only of those saved since it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.front: dict[str, Snapshot] = {}

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await super().save_snapshot(snapshot)
        before = self.front.get(snapshot.stream, snapshot)
        self.front[snapshot.stream] = max(before, snapshot, key=lambda kept: kept.version)

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        return self.front.get(stream) or await super().load_snapshot(stream)


def test_check_snapshots_finds_a_front_that_hides_what_was_stored_before() -> None:
    def reopen(store: RemembersTheLastSaved) -> RemembersTheLastSaved:
        store.front.clear()
        return store

    assert_found(check_snapshots, RemembersTheLastSaved, reopen=opening(reopen))


class TakesFalsyForMissing(MemoryStore):
    async def get(self, key: str) -> Any:
        return await super().get(key) or None


class NeverRollsBack(MemoryStore):
    async def transaction(self, work: Callable[[Transaction], Any]) -> Any:
        drafts: list[Any] = []

        def remember(draft: Any) -> Any:
            drafts.append(draft)
            return work(draft)

        try:
            return await super().transaction(remember)
        finally:
            self._values = drafts[0].values


class SwallowsErrors(MemoryStore):
    async def transaction(self, work: Callable[[Transaction], Any]) -> Any:
        try:
            return await super().transaction(work)
        except ZeroDivisionError:
            raise
        except Exception:
            return None


class LosesUpdates(MemoryStore):
    async def transaction(self, work: Callable[[Transaction], Any]) -> Any:
        before = dict(self._values)
        await asyncio.sleep(0)
        self._values = before
        return await super().transaction(work)


class SharesItsValues(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[str, Any] = {}

    async def put(self, key: str, value: Any) -> None:
        await super().put(key, value)
        self.shared[key] = value

    async def get(self, key: str) -> Any:
        await super().get(key)
        return self.shared.get(key)


class ListsWithoutBound(MemoryStore):
    async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[str]:
        found: list[str] = []
        while page := await super().list_keys(pattern, after=found[-1] if found else after):
            found += page
        return found[:limit]


class ReadsWhenClosed(MemoryStore):
    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    "store",
    [
        TakesFalsyForMissing,
        NeverRollsBack,
        SwallowsErrors,
        LosesUpdates,
        SharesItsValues,
        ListsWithoutBound,
        ReadsWhenClosed,
    ],
)
def test_check_store_finds(store: type[MemoryStore]) -> None:
    assert_found(check_store, store)


def test_check_store_finds_a_store_that_forgets_with_its_process() -> None:
    assert_found(check_store, MemoryStore, reopen=opening(lambda old: MemoryStore()))
