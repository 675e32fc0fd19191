"""The part of the store exam about its keeper's questions: how it is, whether it is sound, made anew."""

from typing import Any, Final

from mcp_interface.errors import CallerMistaken, StaleEpoch, StorageUnavailable
from mcp_interface.store import Append, Decision, Snapshot, Store, StoreReport
from mcp_interface.testing.exams.appending import check_numbers, messages, read_everything, write
from mcp_interface.testing.exams.asserting import refuses
from mcp_interface.testing.time import START


async def _reports(store: Store) -> None:
    blank = await store.report()
    _check_report(blank, "writable", head=0, streams=0)
    assert not blank.reason, f"nothing is wrong, but: {blank.reason}"
    epoch = await store.claim()
    await write(store, "session:a", 3, epoch)
    await write(store, "session:b", 2, epoch)
    await store.delete_stream("session:b")
    filled = await store.report()
    _check_report(filled, "writable", head=5, streams=1)
    assert filled.kind == blank.kind, "a store stays of its kind"
    await store.close()
    closed = await store.report()
    _check_report(closed, "closed", head=5, streams=closed.streams)
    assert closed.reason, "a report says why a store is not writable"


async def _verifies(store: Store) -> None:
    assert await store.verify() == 0, "an empty store is sound"
    epoch = await store.claim()
    await _fill(store, epoch)
    assert await store.verify() == 7, "verify gives the number of events"
    await store.delete_stream("session:gone")
    assert await store.verify() == 5, "a deleted stream's events are not counted"
    check_numbers(await write(store, "session:a", 1, epoch, expected=3), "session:a", 4)
    assert await store.verify() == 6, "a store that was verified is written on"
    await store.close()
    with refuses(StorageUnavailable, what="verifying a closed store"):
        await store.verify()


async def _rebuilds(store: Store) -> None:
    await store.rebuild()
    assert await store.head() == 0, "an empty store is made anew"
    old = await store.claim()
    epoch = await store.claim()
    await _fill(store, epoch)
    await store.delete_stream("session:gone")
    before = await _everything(store)
    for _ in range(2):
        await store.rebuild()
        after = await _everything(store)
        for name, expected in before.items():
            assert after[name] == expected, f"{name} changed: {after[name]}, was {expected}"
    with refuses(StaleEpoch, what="an old epoch after a rebuild"):
        await write(store, "session:a", 1, old, expected=3)
    decided = await store.commit(_decision(), epoch=epoch)
    assert decided == (await read_everything(store))[3:5], "idempotency keys are known after a rebuild"
    with refuses(CallerMistaken, what="a used key with other events after a rebuild"):
        await write(store, "session:a", 1, epoch, expected=3, key="decided")
    more = await write(store, "session:a", 1, epoch, expected=3)
    check_numbers(more, "session:a", 4)
    assert more[0].position == 8, "positions go on after a rebuild"
    await store.close()
    with refuses(StorageUnavailable, what="rebuilding a closed store"):
        await store.rebuild()


PARTS: Final = (_reports, _verifies, _rebuilds)
"""Each needs an empty store of its own."""


async def _fill(store: Store, epoch: int) -> None:
    """Seven events, two of them in `session:gone`; snapshots; keys."""
    await write(store, "session:a", 3, epoch)
    await store.commit(_decision(), epoch=epoch)
    await write(store, "session:gone", 2, epoch)
    for version in (1, 2):
        await store.save_snapshot(
            Snapshot(stream="session:a", version=version, schema="exam/1", state=b"state", taken_at=START)
        )
    await store.put("put", [0, None])
    await store.put("gone", 1)
    await store.delete("gone")
    await store.transaction(lambda draft: draft.put("by transaction", False))


def _decision() -> Decision:
    append = Append(stream="agent:a", events=messages(2), expected=0)
    return Decision(appends=[append], puts={"decided": {"a": 1}}, key="decided", causation_id="msg")


async def _everything(store: Store) -> dict[str, Any]:
    """Whatever can be read from a store."""
    keys = await store.list_keys()
    streams = await store.streams()
    return {
        "the head": await store.head(),
        "the history": await read_everything(store),
        "the list of streams": streams,
        "the records of streams": [await store.read(info.stream) for info in streams],
        "the snapshots": [await store.load_snapshot(info.stream) for info in streams],
        "the values": [(key, await store.get(key)) for key in keys],
        "the number of events": await store.verify(),
    }


def _check_report(report: StoreReport, state: str, *, head: int, streams: int) -> None:
    assert report.state == state, f"a store that is {state} says so: {report}"
    assert (report.head, report.streams) == (head, streams), f"head {head}, streams {streams}: {report}"
    assert report.kind in ("segments", "sqlite", "memory"), f"kinds are named: {report}"
    assert report.size_bytes >= 0, f"a size is not negative: {report}"
    assert report.segments >= 0, f"a number of segments is not negative: {report}"
    assert 0 <= report.disk_used <= 1, f"a share is from 0 to 1: {report}"
    assert "\n" not in report.found, f"what the last opening found is one line: {report}"
