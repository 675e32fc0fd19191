"""The exam of snapshots: a shortcut that never lies and may be lost."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from mcp_interface.errors import CallerMistaken
from mcp_interface.store import EventStore, Snapshot
from mcp_interface.testing.exams.asserting import refuses, within
from mcp_interface.testing.samples import a_message
from mcp_interface.testing.time import START

J = TypeVar("J", bound=EventStore)


async def check_snapshots(
    maker: Callable[[], AbstractAsyncContextManager[J]],
    *,
    reopen: Callable[[J], AbstractAsyncContextManager[J]] | None = None,
    damage: Callable[[J, str], Awaitable[None]] | None = None,
) -> None:
    """Examine the snapshots of an event store.

    Args:
        maker: Opens a store over a fresh, empty medium and closes it.
        reopen: As `check_journal`.
        damage: Breaks the stored bytes of the newest snapshot of a stream; None leaves damage unexamined.

    Raises:
        AssertionError: Names the broken promise.
    """
    for part in (_gives_the_newest, _refuses_the_future, _goes_with_its_stream, _gives_many):
        async with maker() as store:
            await within(part(store), f"check_snapshots.{part.__name__.strip('_')}")
    if reopen is not None:
        async with maker() as store:
            await within(_outlives_its_process(store, reopen), "check_snapshots.outlives_its_process")
    if damage is not None:
        async with maker() as store:
            await _prepare(store, "session:a", 2)
            await store.save_snapshot(_snapshot("session:a", 1))
            await store.save_snapshot(_snapshot("session:a", 2))
            await damage(store, "session:a")
            found = await store.load_snapshot("session:a")
            assert found == _snapshot("session:a", 1), f"a damaged snapshot is passed over, got {found}"


def _snapshot(stream: str, version: int, state: bytes | None = None) -> Snapshot:
    kept = f"state {version}".encode() if state is None else state
    return Snapshot(
        stream=stream,
        version=version,
        schema="exam/1",
        state=kept,
        taken_at=START,
        fingerprint=f"{version:016x}",
        position=version,
    )


async def _prepare(store: EventStore, stream: str, count: int) -> int:
    epoch = await store.claim()
    await store.append(stream, [a_message(number) for number in range(count)], expected=0, epoch=epoch)
    return epoch


async def _gives_the_newest(store: EventStore) -> None:
    assert await store.load_snapshot("session:a") is None, "an unknown stream has no snapshot"
    await _prepare(store, "session:a", 8)
    assert await store.load_snapshot("session:a") is None, "a stream begins without a snapshot"
    for version in (3, 8, 5):
        await store.save_snapshot(_snapshot("session:a", version))
    assert await store.load_snapshot("session:a") == _snapshot("session:a", 8), (
        "the highest version is newest"
    )
    await store.save_snapshot(_snapshot("session:a", 8))
    assert await store.load_snapshot("session:a") == _snapshot("session:a", 8), "saving again is harmless"
    info = await store.stream_info("session:a")
    assert info.snapshot_version == 8, f"stream_info knows the newest snapshot, said {info.snapshot_version}"
    assert len(await store.read("session:a")) == 8, "a snapshot takes no events away"
    await _prepare(store, "session:b", 1)
    assert await store.load_snapshot("session:b") is None, "snapshots belong to one stream"
    await store.save_snapshot(_snapshot("session:b", 1, state=b""))
    assert await store.load_snapshot("session:b") == _snapshot("session:b", 1, state=b""), "b'' is a state"


async def _refuses_the_future(store: EventStore) -> None:
    with refuses(CallerMistaken, what="a snapshot of an unknown stream"):
        await store.save_snapshot(_snapshot("session:a", 1))
    await _prepare(store, "session:a", 2)
    with refuses(CallerMistaken, what="a snapshot ahead of its stream"):
        await store.save_snapshot(_snapshot("session:a", 3))
    assert await store.load_snapshot("session:a") is None, "a refused snapshot leaves no trace"


async def _goes_with_its_stream(store: EventStore) -> None:
    epoch = await _prepare(store, "session:a", 2)
    await store.save_snapshot(_snapshot("session:a", 2))
    await store.delete_stream("session:a")
    assert await store.load_snapshot("session:a") is None, "deleting a stream deletes its snapshots"
    await store.append("session:a", [a_message(1)], expected=0, epoch=epoch)
    assert await store.load_snapshot("session:a") is None, "an old snapshot does not come back"


async def _gives_many(store: EventStore) -> None:
    assert await store.load_snapshots() == [], "an empty store has no snapshots"
    epoch = await store.claim()
    for name in ("session:c", "agent:a", "session:a", "session:bare", "session:b"):
        await store.append(name, [a_message(1), a_message(2)], expected=0, epoch=epoch)
    for name in ("session:c", "agent:a", "session:a", "session:b"):
        await store.save_snapshot(_snapshot(name, 1))
    await store.save_snapshot(_snapshot("session:a", 2))
    named = {snapshot.stream: snapshot for snapshot in await store.load_snapshots()}
    assert list(named) == ["agent:a", "session:a", "session:b", "session:c"], f"by name: {list(named)}"
    assert named["session:a"] == _snapshot("session:a", 2), "the newest of each"
    first = await store.load_snapshots("session:*", limit=2)
    assert len(first) == 2, f"two at most: {[snapshot.stream for snapshot in first]}"
    rest = await store.load_snapshots("session:*", after=first[-1].stream, limit=2)
    found = [snapshot.stream for snapshot in first + rest]
    assert found == ["session:a", "session:b", "session:c"], f"pages do not add up: {found}"
    await store.delete_stream("session:b")
    left = [snapshot.stream for snapshot in await store.load_snapshots("session:*")]
    assert left == ["session:a", "session:c"], f"a removed stream has none: {left}"


async def _outlives_its_process(store: J, reopen: Callable[[J], AbstractAsyncContextManager[J]]) -> None:
    await _prepare(store, "session:a", 3)
    await _prepare(store, "session:b", 3)
    for stream in ("session:a", "session:b"):
        await store.save_snapshot(_snapshot(stream, 2))
    async with reopen(store) as again:
        found = await again.load_snapshot("session:a")
        assert found == _snapshot("session:a", 2), "a snapshot is there after opening again"
        await again.save_snapshot(_snapshot("session:b", 1))
        found = await again.load_snapshot("session:b")
        assert found == _snapshot("session:b", 2), f"the highest version is newest, also from before: {found}"
        await again.save_snapshot(_snapshot("session:b", 3))
        found = await again.load_snapshot("session:b")
        assert found == _snapshot("session:b", 3), "the highest version is newest"
