"""From rows of encoded events to records."""

from collections.abc import Sequence

from mcp_interface.errors import InvalidRecord, StorageCorrupt
from mcp_interface.events import Event
from mcp_interface.store import Record
from mcp_persistence.entry import NO_IDS, Ids, Row
from mcp_persistence.upcast import EventCodec


def decoded(row: Row, codec: EventCodec) -> list[Record]:
    """Records of a row.

    Raises:
        StorageCorrupt: This version cannot read an event of it; says which one can.
    """
    decode = codec.decode
    try:
        events = [decode(body) for body in row.bodies]
    except InvalidRecord as error:
        raise unreadable(error, row.stream, row.position) from error
    return records(row.stream, events, row.position - 1, row.version - 1, row.epoch, row.ids)


def unreadable(error: InvalidRecord, stream: str, position: int) -> StorageCorrupt:
    """What to raise for events, at `position` or just behind, whose checksums are right."""
    return StorageCorrupt(
        f"an event of {stream!r}, at position {position} or just behind, cannot be read: {error.message}",
        error.remedy or "open the store with the version that wrote it",
        {"position": position, "stream": stream},
    )


def records(
    stream: str, events: Sequence[Event], position: int, version: int, epoch: int, ids: Ids
) -> list[Record]:
    """Events as records; the first one stands behind `position` and `version`."""
    if ids is NO_IDS and len(events) == 1:  # what most appends give
        return [
            Record(position=position + 1, stream=stream, version=version + 1, epoch=epoch, event=events[0])
        ]
    if ids is NO_IDS:
        return [
            Record(
                position=position + place, stream=stream, version=version + place, epoch=epoch, event=event
            )
            for place, event in enumerate(events, start=1)
        ]
    trace_id, causation_id, correlation_id = ids
    return [
        Record(
            position=position + place,
            stream=stream,
            version=version + place,
            epoch=epoch,
            event=event,
            trace_id=trace_id,
            causation_id=causation_id,
            correlation_id=correlation_id,
        )
        for place, event in enumerate(events, start=1)
    ]
