"""From what callers hand in to what the writer takes: names checked, events turned into bytes and read back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw

from mcp_interface.codec import encode_disk
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_interface.events import Event
from mcp_interface.ids import TraceId
from mcp_interface.store import Decision
from mcp_persistence.entry import MAX_ID, MAX_VALUE, NO_IDS, Ids, Run, encode_value, plain, time_of
from mcp_persistence.names import can_be_key, check_key, check_stream
from mcp_persistence.upcast import EventCodec


def encoded(
    codec: EventCodec, stream: str, events: Sequence[Event], expected: int, epoch: int
) -> tuple[Run, tuple[Event, ...]]:
    """Events for the end of a stream as bytes, and as they read back: nobody else holds these.

    Raises:
        CallerMistaken: A bad name or version, no events, or an event that is not data or cannot be read back.
    """
    if type(stream) is not str:
        stream = plain(stream)
    if type(expected) is not int:
        raise CallerMistaken(f"the expected version is {expected!r}", "give a whole number")
    check_stream(stream)
    if not events:
        raise CallerMistaken(f"nothing to append to {stream!r}", "give at least one event")
    try:
        # One event is what most appends have; a comprehension would cost as much again.
        bodies = (
            (Raw(codec.encode(events[0])),)
            if len(events) == 1
            else tuple(map(Raw, map(codec.encode, events)))
        )
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CallerMistaken(f"an event cannot be stored: {error}", "use plain data") from error
    try:
        # An event that could not be read back would wedge its stream for good.
        kept = (codec.decode(bodies[0]),) if len(bodies) == 1 else tuple(map(codec.decode, bodies))
    except InvalidRecord as error:
        raise InvalidRecord(
            "malformed",
            f"an event for {stream!r} could not be read back: {error.message}",
            "give valid events",
        ) from error
    first_at = _time(kept[0], bodies[0])
    last_at = first_at if len(kept) == 1 else _time(kept[-1], bodies[-1])
    return Run(stream, bodies, expected, first_at, last_at, epoch), kept


def ids_of(trace: TraceId | None, causation: str | None, correlation: str | None) -> Ids:
    """The ids of a decision, checked.

    Raises:
        CallerMistaken: One is no text, or too long.
    """
    if trace is None and causation is None and correlation is None:
        return NO_IDS
    return (
        None if trace is None else TraceId(_id(trace)),
        None if causation is None else _id(causation),
        None if correlation is None else _id(correlation),
    )


def changes_of(decision: Decision) -> dict[str, bytes | None]:
    """Keys that a decision sets or removes.

    Raises:
        CallerMistaken: A bad key or value, or a key that is named twice.
    """
    changes: dict[str, bytes | None] = {}
    for key, value in decision.puts.items():
        check_key(key := plain(key))
        changes[key] = encode_value(key, value)
    for key in map(plain, decision.deletes):
        if key in changes:
            raise CallerMistaken(f"a decision names the key {key[:60]!r} twice", "set it, or remove it once")
        if can_be_key(key):
            changes[key] = None
    return changes


def too_large(size: int) -> CallerMistaken:
    """What to raise for more than `MAX_VALUE` bytes at once."""
    return CallerMistaken(f"{size} bytes at once, {MAX_VALUE} are allowed", "write them in parts")


def encode(what: str, value: Any) -> bytes:
    """Turn a value into bytes.

    Raises:
        CallerMistaken: It is not data.
    """
    try:
        return encode_disk(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CallerMistaken(f"{what} cannot be stored: {error}", "use plain data") from error


def _id(text: str) -> str:
    if len(text := plain(text)) > MAX_ID:
        raise CallerMistaken(f"an id of {len(text)} characters, {MAX_ID} are allowed", "use a shorter one")
    encode("an id", text)
    return text


def _time(event: Event, body: Raw) -> datetime:
    at = getattr(event, "timestamp", None)  # somebody else's event need not have one
    return at if type(at) is datetime and at.tzinfo is not None else time_of(body)
