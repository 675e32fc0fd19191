"""What the records of a store say about themselves."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest

from mcp_interface import (
    Append,
    Decision,
    GetStorage,
    InvalidRecord,
    RebuildStorage,
    Record,
    Snapshot,
    SnapshotPolicy,
    StorageCheck,
    StoreReport,
    VerifyStorage,
    decode_disk,
    decode_json,
    encode_disk,
    encode_json,
    result_type,
)
from mcp_interface.testing import MemoryStore
from mcp_interface.testing.samples import a_message

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("events", "seconds", "due"),
    [
        (0, 0.0, False),
        (0, 1e9, False),
        (1, 9.9, False),
        (1, 10.0, True),
        (4, 0.0, False),
        (5, 0.0, True),
        (6, 11.0, True),
    ],
)
def test_a_snapshot_is_due_by_count_or_by_time_but_never_of_nothing_new(
    events: int, seconds: float, due: bool
) -> None:
    assert SnapshotPolicy(events=5, seconds=10.0).is_due(events, seconds) is due


def test_a_snapshot_is_due_after_five_hundred_events_or_five_minutes() -> None:
    policy = SnapshotPolicy()
    assert [policy.is_due(499, 299.9), policy.is_due(500, 0), policy.is_due(1, 300)] == [False, True, True]


def test_a_report_travels_as_json() -> None:
    report = StoreReport(kind="segments", state="read_only", reason="the disk is full", head=7, streams=2)
    assert decode_json(encode_json(report), StoreReport) == report
    assert (report.found, report.size_bytes, report.segments, report.disk) == ("", 0, 0, "ok")
    with pytest.raises(InvalidRecord, match="state"):
        decode_json(encode_json(report).replace(b"read_only", b"asleep"), StoreReport)


def test_the_commands_of_storage_declare_what_they_give() -> None:
    assert result_type(GetStorage()) is StoreReport
    assert result_type(RebuildStorage()) is StoreReport
    assert result_type(VerifyStorage()) is StorageCheck
    assert StorageCheck(ok=True).events == 0


def test_an_older_record_and_snapshot_are_read_without_what_was_added_later() -> None:
    record = Record(position=1, stream="s", version=1, epoch=1, event=a_message(1))
    assert (record.causation_id, record.correlation_id) == (None, None)
    older = {name: value for name, value in msgspec.to_builtins(record).items() if not name.endswith("_id")}
    assert decode_disk(encode_disk(older), Record) == record
    snapshot = Snapshot(stream="s", version=1, schema="s/1", state=b"", taken_at=NOW)
    kept = {name: getattr(snapshot, name) for name in ("stream", "version", "schema", "state", "taken_at")}
    assert decode_disk(encode_disk(kept), Snapshot) == snapshot
    assert snapshot.fingerprint == ""


def test_an_event_that_could_not_be_read_back_is_not_taken() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        epoch = await store.claim()
        bad = msgspec.structs.replace(a_message(2), text=3)  # type: ignore[arg-type]
        events = [Append(stream="s", events=[a_message(1), bad], expected=0)]
        with pytest.raises(InvalidRecord, match="text"):
            await store.commit(Decision(appends=events, puts={"key": 1}), epoch=epoch)
        assert await store.head() == 0
        assert await store.streams() == []
        assert await store.list_keys() == []
        assert await store.verify() == 0

    asyncio.run(scenario())


def test_a_memory_store_says_what_became_of_the_events_of_a_known_key() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        epoch = await store.claim()
        decision = Decision(
            appends=[
                Append(stream="a", events=[a_message(1)], expected=0),
                Append(stream="b", events=[a_message(2)], expected=0),
            ],
            key="once",
        )
        first = await store.commit(decision, epoch=epoch)
        await store.delete_stream("a")
        assert await store.commit(decision, epoch=epoch) == first[1:]
        assert await store.read("a") == []

    asyncio.run(scenario())


def test_a_subscription_of_a_closed_memory_store_is_over() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        epoch = await store.claim()
        await store.append("a", [a_message(1)], expected=0, epoch=epoch)
        await store.close()
        async with aclosing(store.subscribe()) as records:
            assert [record async for record in records] == []

    asyncio.run(scenario())
