"""Reading a journal through, page by page, while the frames hold more than a page and change meanwhile."""

import asyncio
from datetime import datetime

import msgspec
import pytest

from mcp_interface.errors import StorageCorrupt
from mcp_interface.testing.samples import a_message
from mcp_persistence.upcast import EventCodec
from persistence.journals import everything, opened, run


async def interleaved(store, streams=6, runs=4, length=3):
    """Streams whose runs of events share frames; gives the epoch."""
    epoch = await store.claim()
    for begun in range(0, runs * length, length):
        events = [a_message(begun + number) for number in range(length)]
        appends = (
            store.append(f"{'ab'[n % 2]}:{n}", events, expected=begun, epoch=epoch) for n in range(streams)
        )
        await asyncio.gather(*appends)
    return epoch


@pytest.mark.parametrize("glob", ["*", "a:*", "b:[13]", "nothing:*", "a:2"])
def test_a_page_begins_and_ends_anywhere(tmp_path, glob):
    async def body():
        async with opened(tmp_path / "j", hot_bytes=0) as store:
            await interleaved(store)
            wanted = {info.stream for info in await store.streams(glob)}
            there = [record for record in await everything(store) if record.stream in wanted]
            for limit in (1, 2, 3, 7, 100):
                for after in range(0, await store.head() + 2):
                    expected = [record for record in there if record.position > after][:limit]
                    assert await store.read_all(after=after, limit=limit, streams=glob) == expected
                found = []
                while page := await store.read_all(
                    after=found[-1].position if found else 0, limit=limit, streams=glob
                ):
                    assert len(page) <= limit
                    found += page
                assert found == there

    run(body)


def test_a_stream_that_is_removed_between_two_pages_is_not_in_the_second(tmp_path):
    async def body():
        async with opened(tmp_path / "j", hot_bytes=0) as store:
            epoch = await interleaved(store)
            there = await everything(store)
            page = await store.read_all(limit=4)
            await store.delete_stream("b:5")
            await store.rebuild()
            await store.delete_stream("b:3")
            await store.append("b:5", [a_message(1)], expected=0, epoch=epoch)
            while more := await store.read_all(after=page[-1].position, limit=4):
                page += more
            old = [record for record in there if record.position <= 4 or record.stream not in ("b:3", "b:5")]
            assert page[:-1] == old
            assert (page[-1].stream, page[-1].version) == ("b:5", 1)

    run(body)


def test_two_who_read_at_different_places_do_not_disturb_each_other(tmp_path):
    async def body():
        async with opened(tmp_path / "j", hot_bytes=0) as store:
            await interleaved(store)
            there = await everything(store)
            found = {"*": [], "a:*": [], "b:*": []}
            for _ in range(len(there)):
                for glob, records in found.items():
                    after = records[-1].position if records else 0
                    records.extend(await store.read_all(after=after, limit=2, streams=glob))
            assert found["*"] == there
            assert found["a:*"] == [record for record in there if record.stream.startswith("a")]
            assert found["b:*"] == [record for record in there if record.stream.startswith("b")]

    run(body)


class Other(msgspec.Struct, frozen=True, tag="other", tag_field="event"):
    """All that another version knows of."""

    timestamp: datetime


def test_an_event_that_cannot_be_read_is_named_and_only_whoever_wants_it_is_told(tmp_path):
    async def body():
        async with opened(tmp_path / "j") as store:
            await interleaved(store)
        async with opened(tmp_path / "j", codec=EventCodec(Other)) as store:
            with pytest.raises(StorageCorrupt, match="at position 4 or just behind"):
                await store.read_all(streams="b:*")
            assert await store.read_all(streams="c:*") == []

    run(body)
