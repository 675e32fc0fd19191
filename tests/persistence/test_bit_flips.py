"""Two hundred single flipped bits: each is reported, or harms nothing; wrong data is never returned."""

import asyncio
import random
import shutil
from collections import Counter

import pytest

from mcp_interface.errors import StorageCorrupt, StorageUnavailable
from mcp_interface.store import Snapshot
from mcp_interface.testing import START, ManualClock
from mcp_interface.testing.samples import a_message
from mcp_persistence import SqliteJournal

FLIPS = 200


async def fill(store):
    epoch = await store.claim()
    for round_ in range(6):
        for name in range(12):
            events = [a_message(number) for number in range(5)]
            await store.append(f"session:{name}", events, expected=5 * round_, epoch=epoch)
    for name in (3, 7):
        await store.delete_stream(f"session:{name}")
    for key in range(40):
        await store.put(f"key:{key}", {"number": key, "text": "x" * key})
    for version in (10, 20, 30):
        state = f"state {version}".encode()
        await store.save_snapshot(
            Snapshot(stream="session:0", version=version, schema="1", state=state, taken_at=START)
        )


def questions(store):
    """Everything that can be asked, by name."""
    asked = {
        "all": store.read_all,
        "glob": lambda: store.read_all(streams="session:1*", after=100),
        "streams": store.streams,
        "keys": store.list_keys,
        "head": store.head,
        "verify": store.verify,
    }
    for name in range(12):
        asked[f"read {name}"] = lambda name=name: store.read(f"session:{name}", after=7)
        asked[f"tail {name}"] = lambda name=name: store.read_all(streams=f"session:{name}", after=150)
    for key in range(40):
        asked[f"get {key}"] = lambda key=key: store.get(f"key:{key}")
    return asked


async def answers(store):
    return {name: await ask() for name, ask in questions(store).items()}


async def outcome(path, expected, snapshots):
    """Open and ask everything: `refused`, `reported` or `harmless`; fails on a wrong answer."""
    try:
        store = await SqliteJournal.open(path, ManualClock())
    except (StorageCorrupt, StorageUnavailable):
        return "refused"
    found = "harmless"
    try:
        for name, ask in questions(store).items():
            try:
                answer = await ask()
            except (StorageCorrupt, StorageUnavailable):
                found = "reported"
            else:
                assert answer == expected[name], f"{name} is silently wrong"
        try:
            assert await store.load_snapshot("session:0") in snapshots, "a damaged snapshot was believed"
        except (StorageCorrupt, StorageUnavailable):
            found = "reported"
    finally:
        await store.close()
    return found


@pytest.mark.parametrize("live_log", [False, True], ids=["in the database", "in the write-ahead log"])
def test_a_flipped_bit_is_reported_or_harmless_but_never_believed(tmp_path, flip, live_log):
    chance = random.Random(7)
    whole = tmp_path / "whole"

    async def prepare():
        """Keep the files as they are: while open the log holds everything, after closing the database does."""
        source = tmp_path / "source"
        source.mkdir()
        store = await SqliteJournal.open(source / "journal.db", ManualClock())
        await fill(store)
        expected = await answers(store)
        snapshots = [None, await store.load_snapshot("session:0")]
        if live_log:
            shutil.copytree(source, whole)
        await store.close()
        if not live_log:
            shutil.copytree(source, whole)
        return expected, snapshots

    async def body():
        expected, (none, newest) = await prepare()
        older = [
            Snapshot(
                stream="session:0", version=each, schema="1", state=f"state {each}".encode(), taken_at=START
            )
            for each in (10, 20)
        ]
        counts = Counter()
        for number in range(FLIPS):
            copy = tmp_path / f"copy{number}"
            shutil.copytree(whole, copy, ignore=shutil.ignore_patterns("*-shm"))
            file = copy / ("journal.db-wal" if live_log else "journal.db")
            flip(file, chance.randrange(file.stat().st_size * 8))
            counts[await outcome(copy / "journal.db", expected, [none, newest, *older])] += 1
            shutil.rmtree(copy)
        print(dict(counts))
        assert counts["refused"] + counts["reported"] > FLIPS / 4, "too few to believe the test"

    asyncio.run(body())
