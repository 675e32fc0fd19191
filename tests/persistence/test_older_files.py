"""Files that earlier versions wrote are opened, and hold what they held."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from mcp_interface.clock import SystemClock
from mcp_interface.errors import StaleEpoch
from mcp_persistence import SqliteJournal
from persistence.fixtures.contents import contents, still_says
from persistence.fixtures.samples import AT, EVENTS, TRACE

FIXTURE = Path(__file__).with_name("fixtures") / "sqlite-1"
HELD = json.loads((FIXTURE / "holds.json").read_text())
EARLIER = EVENTS[-1]


@pytest.fixture
def copy(tmp_path):
    """A copy of the file of format 1: opening may rewrite it."""
    for name in ("journal.db", "journal.db.head"):
        shutil.copy(FIXTURE / name, tmp_path / name)
    return tmp_path / "journal.db"


def in_store(path, work):
    async def scenario():
        store = await SqliteJournal.open(path, SystemClock())
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(scenario())


def test_a_sqlite_file_of_format_1_holds_exactly_what_it_held(copy):
    then = {key: HELD[key] for key in ("head", "records", "sealed", "streams", "snapshots", "keys")}
    for _ in range(2):  # also after whatever the first opening made of it
        now = in_store(copy, contents)
        assert still_says(now, then)
        assert set(now["keys"]) == set(then["keys"])
        assert set(now["sealed"]) == set(then["sealed"])
        assert in_store(copy, lambda store: store.verify()) == HELD["events"]


def test_holes_in_its_positions_stay_holes(copy):
    positions = [record["position"] for record in HELD["records"]]
    holes = set(range(1, HELD["head"] + 1)) - set(positions)
    assert holes and HELD["head"] in holes

    async def goes_on(store):
        epoch = await store.claim()
        assert epoch == HELD["claims"] + 1
        with pytest.raises(StaleEpoch):
            await store.append("session:new", [EARLIER], expected=0, epoch=HELD["claims"])
        for stream in ("session:new", "session:doomed"):
            (record,) = await store.append(stream, [EARLIER], expected=0, epoch=epoch, trace_id=TRACE)
            assert record.version == 1
            positions.append(record.position)
        return [record.position for record in await store.read_all()]

    assert in_store(copy, goes_on) == positions
    assert positions[-2:] == [HELD["head"] + 1, HELD["head"] + 2]


def test_a_stream_of_it_is_continued_where_it_ended(copy):
    async def goes_on(store):
        epoch = await store.claim()
        info = await store.stream_info("security")
        await store.append("security", [EARLIER], expected=info.version, epoch=epoch)
        return await store.read("security", after=info.version - 1)

    last, new = in_store(copy, goes_on)
    assert (new.version, new.event, last.event.timestamp > AT) == (last.version + 1, EARLIER, True)
