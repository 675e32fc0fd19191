"""Journals whose queue has no honest bound, found by the exam."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from broken_fakes import found_by, opening
from mcp_interface.errors import StorageUnavailable, TooMuch
from mcp_interface.events import Event
from mcp_interface.store import Record
from mcp_interface.testing import MemoryStore, check_journal
from mcp_interface.testing.exams.crowding import bounds_its_queue


class Bounded(MemoryStore):
    waiting = 0

    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        if self.waiting >= 50:
            return await self.crowded(stream, events, **options)
        self.waiting += 1
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            self.waiting -= 1
        return await super().append(stream, events, **options)

    async def crowded(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        raise TooMuch("50 writes wait")


class RefusesAndWrites(Bounded):
    async def crowded(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        await MemoryStore.append(self, stream, events, **options)
        raise TooMuch("50 writes wait")


class RefusesInAnotherWay(Bounded):
    async def crowded(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        raise StorageUnavailable("50 writes wait")


class RefusesTooEarly(Bounded):
    waiting = 10


class ForgetsWhoWaits(Bounded):
    async def crowded(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        return await MemoryStore.append(MemoryStore(), stream, events, **{**options, "epoch": 0})


class StaysFull(Bounded):
    async def crowded(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        self.waiting = 100
        raise TooMuch("50 writes wait")


def test_check_journal_knows_bounded_queues() -> None:
    asyncio.run(check_journal(opening(Bounded), waiting=50))


@pytest.mark.parametrize(
    "store",
    [MemoryStore, RefusesAndWrites, RefusesInAnotherWay, RefusesTooEarly, ForgetsWhoWaits, StaysFull],
)
def test_a_queue_without_an_honest_bound_is_found(store: type[MemoryStore]) -> None:
    async def part(fake: MemoryStore) -> None:
        await bounds_its_queue(fake, 50)

    found_by(part, store)
