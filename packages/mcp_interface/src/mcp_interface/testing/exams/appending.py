"""What the exams of stores write, and how they check what they read."""

from collections.abc import Sequence
from typing import Any

from mcp_interface.events import Event
from mcp_interface.store import EventStore, Record
from mcp_interface.testing.samples import a_message


def messages(count: int, first: int = 1) -> list[Event]:
    """Make so many events, each different; the same numbers give the same ones."""
    return [a_message(number) for number in range(first, first + count)]


async def write(
    store: EventStore, stream: str, count: int, epoch: int, expected: int = 0, **options: Any
) -> list[Record]:
    """Append events whose numbers are their versions; options as `EventStore.append`."""
    events = messages(count, expected + 1)
    return await store.append(stream, events, expected=expected, epoch=epoch, **options)


def check_numbers(records: Sequence[Record], stream: str, first: int) -> None:
    """Assert that these are the events that `write` wrote, from version `first` on."""
    for place, record in enumerate(records):
        assert record.stream == stream, f"a record of {stream!r} says {record.stream!r}"
        assert record.version == first + place, f"version {record.version} in place of {first + place}"
        assert record.event == a_message(first + place), f"version {record.version} is not what was written"
    positions = [record.position for record in records]
    assert positions == sorted(set(positions)), f"positions do not rise: {positions}"


async def read_everything(store: EventStore) -> list[Record]:
    """All records of a store, page by page."""
    found: list[Record] = []
    while page := await store.read_all(after=found[-1].position if found else 0):
        found += page
    return found
