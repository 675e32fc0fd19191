"""Stores that break a promise about decisions or to their keeper; each part of the exam finds its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from broken_fakes import assert_found, found_by, opening
from mcp_interface.errors import CallerMistaken, StaleEpoch, VersionConflict
from mcp_interface.store import Append, Decision, Record, StoreReport
from mcp_interface.testing import MemoryStore, check_store
from mcp_interface.testing.exams import deciding, keeping
from mcp_interface.testing.shelf import Made


def changed(decision: Decision, **fields: Any) -> Decision:
    return msgspec.structs.replace(decision, **fields)


class KeepsNoKeys(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        return await super().commit(changed(decision, puts={}), epoch=epoch)


class DeletesNoKeys(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        return await super().commit(changed(decision, deletes=[]), epoch=epoch)


class LosesTheRun(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        return await super().commit(changed(decision, correlation_id=None), epoch=epoch)


class AnswersByName(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        records = await super().commit(decision, epoch=epoch)
        return sorted(records, key=lambda record: (record.stream, record.version))


class WantsEvents(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        if not decision.appends:
            raise CallerMistaken("no events")
        return await super().commit(decision, epoch=epoch)


class WritesPieceByPiece(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        records: list[Record] = []
        for append in decision.appends:
            records += await super().commit(Decision(appends=[append]), epoch=epoch)
        for key, value in decision.puts.items():
            await self.put(key, value)
        return records


class PutsKeysFirst(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        for key, value in decision.puts.items():
            await self.put(key, value)
        return await super().commit(decision, epoch=epoch)


class TakesKeysInVain(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        try:
            return await super().commit(decision, epoch=epoch)
        except VersionConflict:
            if decision.key is not None:
                self._made[decision.key] = Made(b"", [])
            raise


class DecidesNothing(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        if not (decision.appends or decision.puts or decision.deletes):
            return []
        return await super().commit(decision, epoch=epoch)


class AppendsTwice(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        parts: dict[str, Append] = {}
        for append in decision.appends:
            first = parts.get(append.stream, append)
            events = [] if first is append else first.events
            parts[append.stream] = msgspec.structs.replace(first, events=[*events, *append.events])
        return await super().commit(changed(decision, appends=list(parts.values())), epoch=epoch)


class PutsAndDeletes(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        deletes = [key for key in decision.deletes if key not in decision.puts]
        return await super().commit(changed(decision, deletes=deletes), epoch=epoch)


class DeletesTwice(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        return await super().commit(changed(decision, deletes=list(set(decision.deletes))), epoch=epoch)


class FencesEventsAlone(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        return await super().commit(decision, epoch=epoch if decision.appends else self._epoch)


class LooksAtTheKeyFirst(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        if decision.key in self._made:
            epoch = self._epoch
        return await super().commit(decision, epoch=epoch)


class ForgetsTheKey(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        return await super().commit(changed(decision, key=None), epoch=epoch)


class PutsAgain(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        records = await super().commit(decision, epoch=epoch)
        for key, value in decision.puts.items():
            await self.put(key, value)
        return records


class TakesAnythingForAKey(MemoryStore):
    def _repeat(self, key: str, content: bytes) -> list[Record]:
        return super()._repeat(key, self._made[key].content)


class ForgetsKeysWithoutEvents(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        return await super().commit(
            changed(decision, key=decision.key if decision.appends else None), epoch=epoch
        )


class HasKeysPerStream(MemoryStore):
    async def append(self, stream: str, events: Any, **options: Any) -> list[Record]:
        if options.get("key") is not None:
            options["key"] = f"{stream} {options['key']}"
        return await super().append(stream, events, **options)


class LetsTheLastWin(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        actual = [len(await self.read(append.stream)) for append in decision.appends]
        appends = [
            msgspec.structs.replace(append, expected=where)
            for append, where in zip(decision.appends, actual, strict=True)
        ]
        return await super().commit(changed(decision, appends=appends), epoch=epoch)


class LooksForKeysTooEarly(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        known = decision.key in self._made
        await asyncio.sleep(0)
        if not known:
            self._made.pop(decision.key or "", None)
        return await super().commit(decision, epoch=epoch)


class DecidesInTwoSteps(MemoryStore):
    async def commit(self, decision: Decision, *, epoch: int) -> list[Record]:
        records = await super().commit(changed(decision, puts={}), epoch=epoch)
        for _ in range(3):
            await asyncio.sleep(0)
        await super().commit(changed(decision, appends=[], key=None), epoch=epoch)
        return records


class ReportsNothingWrong(MemoryStore):
    async def report(self) -> StoreReport:
        return msgspec.structs.replace(await super().report(), state="writable")


class GivesNoReason(MemoryStore):
    async def report(self) -> StoreReport:
        return msgspec.structs.replace(await super().report(), reason="")


class CountsTheDeleted(MemoryStore):
    async def report(self) -> StoreReport:
        return msgspec.structs.replace(await super().report(), streams=2)


class CountsPositions(MemoryStore):
    async def verify(self) -> int:
        await super().verify()
        return self._head


class VerifiesWhenClosed(MemoryStore):
    async def verify(self) -> int:
        return len(self._records)


class RebuildsWithoutSnapshots(MemoryStore):
    async def rebuild(self) -> None:
        await super().rebuild()
        for kept in self._streams.values():
            kept.snapshots.clear()


class RebuildsWithoutValues(MemoryStore):
    async def rebuild(self) -> None:
        await super().rebuild()
        self._values.pop("decided", None)


class RebuildsWithoutKeys(MemoryStore):
    async def rebuild(self) -> None:
        await super().rebuild()
        self._made.clear()


class RebuildsWithoutTheGap(MemoryStore):
    async def rebuild(self) -> None:
        await super().rebuild()
        self._head = max(self._records, default=0)


class RebuildsWithoutTheFence(MemoryStore):
    async def append(self, stream: str, events: Any, **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except StaleEpoch:
            return await super().append(stream, events, **{**options, "epoch": self._epoch})


FOUND = {
    "writes_all_at_once": [KeepsNoKeys, DeletesNoKeys, LosesTheRun, AnswersByName],
    "decides_about_a_part": [WantsEvents],
    "refuses_in_one_piece": [WritesPieceByPiece, PutsKeysFirst, TakesKeysInVain],
    "refuses_what_is_no_decision": [DecidesNothing, AppendsTwice, PutsAndDeletes, DeletesTwice],
    "fences_decisions": [FencesEventsAlone, LooksAtTheKeyFirst],
    "decides_once": [
        ForgetsTheKey,
        PutsAgain,
        TakesAnythingForAKey,
        ForgetsKeysWithoutEvents,
        HasKeysPerStream,
    ],
    "lets_one_of_many_decide": [LetsTheLastWin, LooksForKeysTooEarly],
    "withdraws_in_one_piece": [DecidesInTwoSteps],
    "reports": [ReportsNothingWrong, GivesNoReason, CountsTheDeleted],
    "verifies": [CountsPositions, VerifiesWhenClosed],
    "rebuilds": [
        RebuildsWithoutSnapshots,
        RebuildsWithoutValues,
        RebuildsWithoutKeys,
        RebuildsWithoutTheGap,
        RebuildsWithoutTheFence,
    ],
}
"""Which part of the exam finds which store."""
PARTS = {part.__name__.strip("_"): part for part in (*deciding.PARTS, *keeping.PARTS)}


@pytest.mark.parametrize(("part", "store"), [(part, store) for part in FOUND for store in FOUND[part]])
def test_the_part_finds(part: str, store: type[MemoryStore]) -> None:
    found_by(PARTS[part], store)


def test_every_part_can_fail() -> None:
    assert set(FOUND) == set(PARTS)


@pytest.mark.parametrize("store", [KeepsNoKeys, CountsPositions])
def test_check_store_has_these_parts(store: type[MemoryStore]) -> None:
    assert_found(check_store, store)


def test_check_store_finds_keys_that_are_forgotten_with_the_process() -> None:
    def forget(store: MemoryStore) -> MemoryStore:
        store._made.clear()
        return store

    assert_found(check_store, MemoryStore, reopen=opening(forget))


class StaysReadOnly(MemoryStore):
    state: Any = "writable"

    async def report(self) -> StoreReport:
        found = await super().report()
        return found if found.state == "closed" else msgspec.structs.replace(found, state=self.state)


def test_check_store_finds_a_store_that_comes_back_read_only() -> None:
    @asynccontextmanager
    async def reopen(store: StaysReadOnly) -> AsyncIterator[MemoryStore]:
        store.state = "read_only"
        yield store

    assert_found(check_store, StaysReadOnly, reopen=reopen)
