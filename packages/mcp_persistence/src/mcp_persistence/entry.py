"""What goes to the writer: decisions whose events and values are bytes already."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Protocol

import msgspec

from mcp_interface.codec import decode_json, encode_json
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import TraceId
from mcp_persistence.names import can_be_key, check_key

MAX_VALUE: Final = 64 << 20
"""Largest value of a key, and largest sum of events of one decision, in bytes."""

MAX_ID: Final = 1000
"""Longest trace, causation or correlation id, in characters."""
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of events that have none."""

Ids = tuple[TraceId | None, str | None, str | None]
"""Trace, causation, correlation."""
NO_IDS: Final[Ids] = (None, None, None)


class Run(msgspec.Struct, frozen=True, gc=False):
    """Encoded events for the end of one stream: a part of a decision, or all of it, as most are.

    Then it is also the piece of work that has itself judged, and nothing else is made for it.
    """

    stream: str
    bodies: tuple[msgspec.Raw, ...]
    """As they go into a frame: so this tuple is the only one that is ever made of them."""
    expected: int
    first_at: datetime
    """Time of the first event."""
    last_at: datetime
    epoch: int
    """Of the writer."""

    def __call__(self, desk: "Decides") -> "int | Known":
        """Have a desk judge and write it, as a decision of its own."""
        return desk.decide(Entry((self,), self.epoch))


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One decision on its way in; also the piece of work that has it judged."""

    runs: tuple[Run, ...]
    epoch: int | None
    """None: whoever it is may write; only keys are changed."""
    changes: dict[str, bytes | None] = {}
    """Keys to set to encoded values, or to remove."""
    ids: Ids = NO_IDS
    key: str | None = None

    @property
    def count(self) -> int:
        """How many events it holds."""
        return sum(len(run.bodies) for run in self.runs)

    def __call__(self, desk: "Decides") -> "int | Known":
        """Have a desk judge and write it."""
        return desk.decide(self)

    @property
    def digest(self) -> bytes:
        """Fingerprint of what is written, by which a repeated idempotency key is judged; 16 bytes."""
        runs = [(run.stream, list(map(bytes, run.bodies))) for run in self.runs]
        return sha256(msgspec.msgpack.encode((runs, self.changes), order="sorted")).digest()[:16]


class Known(msgspec.Struct, frozen=True):
    """The answer to a decision that was made before."""

    before: int
    """Position before its first event."""
    count: int


class Decides(Protocol):
    """Where decisions are judged."""

    def decide(self, entry: Entry) -> int | Known:
        """Write it, or give what was written for it before."""
        ...


class Row(msgspec.Struct, frozen=True, gc=False):
    """Encoded events as stored, in one stream one after another; positions and versions rise by one."""

    position: int
    """Of the first."""
    stream: str
    version: int
    """Of the first."""
    epoch: int
    bodies: Sequence[bytes | msgspec.Raw]
    ids: Ids


class Committed(msgspec.Struct, frozen=True):
    """What a batch came to."""

    outcomes: list[Any]
    head: int
    """Position of the last durable event."""
    rows: list[Row]
    """What is new, by position."""
    erased: list[str] = []
    """Streams that were removed."""


class Refused(Exception):
    """Carries what a caller's own function raised out of the batch and back to that caller."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class Keys(Protocol):
    """Where a transaction reads."""

    def value(self, key: str) -> Any:
        """The value of a key; raises `NotFound`."""
        ...


class Draft:
    """A `Transaction`: reads through, keeps writes until the work has succeeded."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.changes: dict[str, bytes | None] = {}

    def get(self, key: str) -> Any:
        """Read a key, own writes first."""
        if can_be_key(key) and key not in self.changes:
            return self._keys.value(key)
        content = self.changes.get(key)
        if content is None:
            raise NotFound(f"no key {key[:200]!r}")
        return decode_json(content, Any)

    def put(self, key: str, value: Any) -> None:
        """Set a key, on commit."""
        check_key(key := plain(key))
        self.changes[key] = encode_value(key, value)

    def delete(self, key: str) -> None:
        """Remove a key, on commit."""
        if can_be_key(key):
            self.changes[plain(key)] = None


class _Stamp(msgspec.Struct):
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)] = NEVER


_stamp = msgspec.msgpack.Decoder(_Stamp).decode


def time_of(body: bytes | msgspec.Raw) -> datetime:
    """When an encoded event happened; `NEVER` for one of somebody else's that does not say."""
    try:
        return _stamp(body).timestamp
    except (msgspec.MsgspecError, UnicodeError):
        return NEVER


def plain(text: str) -> str:
    """A text without a class of its own, such as that of an enumeration, which could not be encoded.

    Raises:
        CallerMistaken: It is no text.
    """
    if not isinstance(text, str):
        raise CallerMistaken(f"{text!r:.60} is no text", "give a text")
    return str(text)


def encode_value(key: str, value: Any) -> bytes:
    """Turn a value into bytes.

    Raises:
        CallerMistaken: It is not JSON-compatible, or larger than `MAX_VALUE`.
    """
    try:
        content = encode_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CallerMistaken(f"the value of {key!r} is not JSON-compatible: {error}") from error
    if len(content) > MAX_VALUE:
        raise CallerMistaken(
            f"the value of {key!r} has {len(content)} bytes, {MAX_VALUE} are allowed", "split it up"
        )
    return content
