"""Old shapes of events and snapshots, read as present ones.

A tag never changes its meaning. A field with a default may be added under the same tag; any other change is a
new tag (`session.created`, then `session.created@2`), and an upcaster turns the data of the old shape into
that of the next. Chains do the rest: an event of any age goes through one upcaster after the other until it
has a tag of today. Snapshots go the same way by their `schema`. Nothing on the disk is rewritten.

Present events never come here: they are decoded in one pass, and only what that decoder refuses is looked at
closely. This module knows nothing of files.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, get_args

import msgspec

from mcp_interface.codec import decode_disk, disk_decoder, encode_disk
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_interface.events import Event
from mcp_interface.store import Snapshot

Change = Callable[[dict[str, Any]], dict[str, Any]]


class Upcaster(msgspec.Struct, frozen=True):
    """One step from a shape to the next."""

    into: str
    """Tag, or schema, of the next shape."""
    change: Change
    """Turns fields into fields, without the tag. They are as MessagePack has them: texts, numbers, lists, bytes
    for sealed values, and `datetime` for times. It may keep and alter what it is given, and must depend on
    nothing else: the same old event is read many times."""
    fingerprint: str = ""
    """For a snapshot: `codec.fingerprint` of the next shape, by which its reader trusts it. Without it the
    reader replays."""


class Upcasters:
    """The chains.

    Args:
        events: The step from each old tag.
        snapshots: The step from each old schema.

    Raises:
        CallerMistaken: A chain comes back to where it was, or a shape has no name.
    """

    def __init__(
        self,
        events: Mapping[str, Upcaster] | None = None,
        snapshots: Mapping[str, Upcaster] | None = None,
    ) -> None:
        self.events: Final = dict(events or {})
        self.snapshots: Final = dict(snapshots or {})
        for steps in (self.events, self.snapshots):
            for name in steps:
                _end(name, steps)


OURS: Final = Upcasters()
"""Those of Umbrella's own events and states. No shape of them has been replaced yet."""


class EventCodec:
    """Events to bytes and back, whatever their age. Safe to share between threads.

    Args:
        kind: What the events are: a tagged struct, or a union of them.
        upcasters: How older shapes become those; Umbrella's own events bring theirs along.

    Raises:
        CallerMistaken: A kind without a tag, a chain that ends at no present tag, or one that begins at a
            present tag and would never be used.
    """

    def __init__(self, kind: Any = Event, upcasters: Upcasters | None = None) -> None:
        if upcasters is None:
            upcasters = OURS if kind is Event else Upcasters()
        self.kind: Final = kind
        self._field, self._present = _tags(kind)
        self._steps = upcasters
        for tag in upcasters.events:
            if tag in self._present:
                raise CallerMistaken(
                    f"there is an upcaster for {tag!r}, which is a present event",
                    "give the new shape a tag of its own",
                )
            end = _end(tag, upcasters.events)
            if end not in self._present:
                raise CallerMistaken(
                    f"the upcasters from {tag!r} end at {end!r}, which is no present event",
                    "add the step that leads on from it",
                )
        self._decode = disk_decoder(kind)
        self._decode_all = disk_decoder(list[kind])

    def encode(self, event: Any) -> bytes:
        """Encode an event for the disk; sealed values are kept.

        Raises:
            InvalidRecord: Rule `unencodable`, as `codec.encode_disk`.
        """
        return encode_disk(event)

    def decode(self, body: bytes | msgspec.Raw | memoryview) -> Any:
        """Read an event of any shape that was ever written.

        Raises:
            InvalidRecord: Rule `malformed`: it is no event. `unknown_event`: its tag is unknown here; the
                remedy says which version reads it. `upcast_failed`: an upcaster gave up, or gave no event.
        """
        try:
            return self._decode(body)
        except Exception:  # whatever the reason: the slow way finds it, and the right words
            return self._decode_old(bytes(body))

    def decode_all(self, bodies: msgspec.Raw) -> list[Any]:
        """Read an array of events in one pass; see `decode`."""
        try:
            events: list[Any] = self._decode_all(bodies)
        except Exception:  # as there; one old event makes only its own neighbours slow
            return [self.decode(body) for body in separate(bodies)]
        return events

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Bring a snapshot of an old schema up to the present one; any other is returned as it is.

        Raises:
            InvalidRecord: `malformed`: its state is no map of fields. `upcast_failed`: as `decode`.
        """
        if snapshot.schema not in self._steps.snapshots:
            return snapshot
        state: Any = decode_disk(snapshot.state, Any)
        if not isinstance(state, dict):
            raise InvalidRecord("malformed", f"the state of schema {snapshot.schema!r} is no map of fields")
        schema, fingerprint, state = _climb(snapshot.schema, state, self._steps.snapshots)
        return msgspec.structs.replace(
            snapshot, schema=schema, state=_encode(snapshot.schema, schema, state), fingerprint=fingerprint
        )

    def _decode_old(self, body: bytes) -> Any:
        data: Any = None
        with suppress(InvalidRecord):
            data = decode_disk(body, Any)
        tag = data.pop(self._field, None) if isinstance(data, dict) else None
        if not isinstance(tag, str) or tag in self._present:
            return decode_disk(body, self.kind)  # raises, and names what is wrong
        if tag not in self._steps.events:
            raise _unknown(tag, self._present | self._steps.events.keys())
        present, _, data = _climb(tag, data, self._steps.events)
        try:
            return decode_disk(_encode(tag, present, {**data, self._field: present}), self.kind)
        except InvalidRecord as error:
            raise _failed(tag, present, error.message) from error


separate: Final[Callable[[msgspec.Raw], list[msgspec.Raw]]] = msgspec.msgpack.Decoder(
    list[msgspec.Raw]
).decode
"""Takes an array of events apart without reading them."""


def _climb(name: str, data: dict[str, Any], steps: dict[str, Upcaster]) -> tuple[str, str, dict[str, Any]]:
    fingerprint = ""
    while step := steps.get(name):
        try:
            data = step.change(data)
        except Exception as error:
            raise _failed(name, step.into, repr(error)) from error
        if not isinstance(data, dict):
            raise _failed(name, step.into, f"it gave {type(data).__name__}, not a dict of fields")
        name, fingerprint = step.into, step.fingerprint
    return name, fingerprint, data


def _end(name: str, steps: dict[str, Upcaster]) -> str:
    seen = [name]
    while step := steps.get(seen[-1]):
        if not step.into or step.into in seen:
            raise CallerMistaken(
                f"the upcasters {' -> '.join([*seen, step.into or '(no name)'])} lead nowhere",
                "let each chain end at a present shape",
            )
        seen.append(step.into)
    return seen[-1]


def _tags(kind: Any) -> tuple[str, frozenset[str]]:
    configs = [getattr(each, "__struct_config__", None) for each in get_args(kind) or (kind,)]
    fields = {getattr(config, "tag_field", None) for config in configs}
    tags: list[Any] = [getattr(config, "tag", None) for config in configs]
    field = fields.pop()
    if field is None or fields or not all(isinstance(tag, str) for tag in tags):
        raise CallerMistaken(
            f"{kind} cannot be told from what it will be later: an event has no tag",
            "give a msgspec struct with a text for its tag, or a union of such",
        )
    return field, frozenset(tags)


def _encode(name: str, into: str, data: dict[str, Any]) -> bytes:
    try:
        return encode_disk(data)
    except InvalidRecord as error:
        raise _failed(name, into, error.message) from error


def _failed(name: str, into: str, why: str) -> InvalidRecord:
    return InvalidRecord(
        "upcast_failed",
        f"{name!r} could not be read as {into!r}: {why}",
        "mend the upcaster, or open it with the version that wrote it",
        {"tag": name, "into": into},
    )


def _unknown(tag: str, known: frozenset[str]) -> InvalidRecord:
    """Say in which direction the version lies that reads it."""
    shape, number = _split(tag)
    numbers = [other for name, other in map(_split, known) if name == shape]
    shown = tag[:200]
    if numbers and number < max(numbers):
        message = f"the event {shown!r} is older than what this version can read"
        remedy = "open it with an older version that still reads it"
    elif numbers:
        message = f"the event {shown!r} is newer than this version, which knows it up to @{max(numbers)}"
        remedy = "open it with the version that wrote it, or a later one"
    else:
        message = f"the event {shown!r} is unknown to this version"
        remedy = "open it with the version that wrote it, or a later one"
    return InvalidRecord("unknown_event", message, remedy, {"tag": shown})


def _split(tag: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.+)@([1-9][0-9]{0,8})", tag, re.DOTALL)
    return (found[1], int(found[2])) if found else (tag, 1)
