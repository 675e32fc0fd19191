"""Journals that break a promise about keys, subscriptions or cancelling; each part of the exam finds its own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from broken_fakes import assert_found, found_by, opening
from mcp_interface.errors import StorageUnavailable, VersionConflict
from mcp_interface.events import Event
from mcp_interface.store import PAGE, Record
from mcp_interface.testing import MemoryStore, check_journal
from mcp_interface.testing.exams import cancelling, repeating, subscribing
from mcp_interface.testing.shelf import Made


class KnowsNoKeys(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        return await super().append(stream, events, **{**options, "key": None})


class LooksAtTheVersionFirst(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        await super().append(stream, events, **{**options, "key": None})
        return await super().append(stream, events, **options)


class TakesAnyEventsForAKey(MemoryStore):
    def _repeat(self, key: str, content: bytes) -> list[Record]:
        return super()._repeat(key, self._made[key].content)


class LooksAtTheKeyFirst(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        if options.get("key") in self._made:
            options["epoch"] = self._epoch
        return await super().append(stream, events, **options)


class TakesKeysInVain(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except VersionConflict:
            self._made[options["key"]] = Made(b"", [])
            raise


class LooksForKeysTooEarly(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        known = options.get("key") in self._made
        await asyncio.sleep(0)
        if not known:
            self._made.pop(options.get("key", ""), None)
        return await super().append(stream, events, **options)


class SubscribesOnce(MemoryStore):
    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        for record in await self.read_all(after=after, streams=streams):
            yield record


class StartsOver(MemoryStore):
    def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        return super().subscribe(streams=streams)


class RepeatsTheLast(MemoryStore):
    def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        return super().subscribe(after=after - 1, streams=streams)


class SkipsWhatComesBetween(MemoryStore):
    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        while not self._closed:
            for record in await self.read_all(after=after, streams=streams):
                yield record
                await asyncio.sleep(0)
            after = self._head
            await self._changed.wait()


class DropsForSlowReaders(MemoryStore):
    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        while not self._closed:
            changed = self._changed
            for record in await self.read_all(after=max(after, self._head - 500), streams=streams):
                yield record
                after = record.position
            await changed.wait()


class SubscribesToEverything(MemoryStore):
    def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        return super().subscribe(after=after)


class StopsBehindAPageOfOthers(MemoryStore):
    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        page = await super().read_all(after=after, limit=limit)
        matching = await super().read_all(after=after, limit=limit, streams=streams)
        return [record for record in page if record in matching]

    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        while not self._closed:
            changed = self._changed
            for record in await self.read_all(after=after, streams=streams):
                yield record
                after = record.position
            await changed.wait()


class CannotBeLeft(MemoryStore):
    def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        class Endless:
            def __aiter__(self) -> Any:
                return self

            async def __anext__(self) -> Record:
                return await anext(records)

            async def aclose(self) -> None:
                return None

        records, endless = super().subscribe(after=after, streams=streams), Endless()
        return endless  # type: ignore[return-value]


class WritesAndRaises(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        records = await super().append(stream, events, **options)
        for _ in range(3):
            await asyncio.sleep(0)
        return records


class ComesThroughAfterwards(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        return await asyncio.shield(asyncio.ensure_future(self._later(stream, events, **options)))

    async def _later(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().append(stream, events, **options)


class SwallowsCancelling(ComesThroughAfterwards):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        writing = asyncio.ensure_future(self._later(stream, events, **options))
        while not writing.done():
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                self.cancelled()
        return writing.result()

    def cancelled(self) -> None:
        return None


class CancelsAnewAtOnce(SwallowsCancelling):
    def __init__(self) -> None:
        super().__init__()
        self.late: set[Any] = set()

    def cancelled(self) -> None:
        self.late.add(asyncio.current_task())

    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        records = await super().append(stream, events, **options)
        task = asyncio.current_task()
        if task in self.late and task is not None:
            self.late.remove(task)
            task.cancel()
            task.uncancel()
        return records


class CancelsTheWholeBatch(ComesThroughAfterwards):
    batch: Any = None

    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        if self.batch is None or self.batch.done():
            self.batch = asyncio.ensure_future(self._sync())
        await self.batch
        return await MemoryStore.append(self, stream, events, **options)

    async def _sync(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


FOUND = {
    "repeats_the_answer": [KnowsNoKeys, LooksAtTheVersionFirst],
    "refuses_other_events": [TakesAnyEventsForAKey],
    "refuses_bad_keys": [KnowsNoKeys],
    "looks_at_the_epoch_first": [LooksAtTheKeyFirst],
    "takes_no_key_in_vain": [TakesKeysInVain],
    "writes_once_for_many": [LooksForKeysTooEarly],
    "catches_up_then_lives": [SubscribesOnce, StartsOver],
    "resumes": [StartsOver, RepeatsTheLast],
    "keeps_up_with_many_writers": [SkipsWhatComesBetween],
    "waits_for_slow_readers": [DropsForSlowReaders],
    "follows_what_matches": [SubscribesToEverything, StopsBehindAPageOfOthers],
    "ends": [CannotBeLeft],
    "withdraws_or_goes_through": [WritesAndRaises, ComesThroughAfterwards, CancelsAnewAtOnce],
    "delivers_what_came_too_late": [SwallowsCancelling],
    "leaves_timeouts_usable": [WritesAndRaises, CancelsAnewAtOnce],
    "delivers_timeouts_that_came_too_late": [SwallowsCancelling],
    "survives_a_crowd": [CancelsTheWholeBatch],
}
"""Which part of the exam finds which store."""
PARTS = {part.__name__.strip("_"): part for part in (*repeating.PARTS, *subscribing.PARTS, *cancelling.PARTS)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribing, "LIVE", 0.3)
    monkeypatch.setattr(cancelling, "REMEMBERED", 0.1)


@pytest.mark.parametrize(("part", "store"), [(part, store) for part in FOUND for store in FOUND[part]])
def test_the_part_finds(part: str, store: type[MemoryStore]) -> None:
    found_by(PARTS[part], store)


def test_every_part_can_fail() -> None:
    assert set(FOUND) == set(PARTS)


@pytest.mark.parametrize("store", [KnowsNoKeys, SubscribesOnce, SwallowsCancelling])
def test_check_journal_has_these_parts(store: type[MemoryStore]) -> None:
    assert_found(check_journal, store)


class LosesTheCause(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        return await super().append(stream, events, **{**options, "causation_id": None})


class MixesUpWhatLedToIt(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        options["correlation_id"] = options.get("causation_id")
        return await super().append(stream, events, **options)


@pytest.mark.parametrize("store", [LosesTheCause, MixesUpWhatLedToIt])
def test_check_journal_finds_a_lost_cause(store: type[MemoryStore]) -> None:
    assert_found(check_journal, store)


def test_check_journal_finds_keys_that_are_forgotten_with_the_process() -> None:
    def forget(store: MemoryStore) -> MemoryStore:
        store._made.clear()
        return store

    assert_found(check_journal, MemoryStore, reopen=opening(forget))


class RefusesWhoWaits(MemoryStore):
    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        async for record in super().subscribe(after=after, streams=streams):
            yield record
        raise StorageUnavailable("the store is closed")


class LetsThemWait(MemoryStore):
    async def close(self) -> None:
        self._closed = True


@pytest.mark.parametrize("store", [RefusesWhoWaits, LetsThemWait])
def test_a_subscription_that_does_not_end_with_its_store_is_found(store: type[MemoryStore]) -> None:
    found_by(subscribing.ends_with_its_store, store)
