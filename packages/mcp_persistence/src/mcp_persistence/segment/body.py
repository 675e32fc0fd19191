"""What is inside a frame: a list of items in MessagePack, described byte by byte in FORMAT.md.

An item is an array whose first element tells its kind. Streams are written as numbers that `Born` gives out,
so that an event costs a handful of bytes besides its own. Items take effect in order. Positions are counted
through: the events of a frame have the positions from its header's first one on.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_interface.ids import TraceId


class Events(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """Events of one stream, one version after another."""

    number: int
    version: int
    """Of the first."""
    bodies: Sequence[msgspec.Raw]


class Traced(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """The same, with the ids that were given along."""

    number: int
    version: int
    bodies: Sequence[msgspec.Raw]
    trace: str | None
    causation: str | None
    correlation: str | None


class Bundle(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """`Events` in one piece, for whoever reads many: an array of them that is not taken apart yet."""

    number: int
    version: int
    bodies: msgspec.Raw


class TracedBundle(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """`Traced` in one piece."""

    number: int
    version: int
    bodies: msgspec.Raw
    trace: TraceId | None
    causation: str | None
    correlation: str | None


class Claimed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """From here on this writer appends."""

    epoch: int


class Born(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """A stream gets its number; numbers count from one."""

    number: int
    stream: str


class Erased(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """A stream was removed with all that it held up to here."""

    number: int


class Put(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """A key was set."""

    key: str
    value: bytes


class Removed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """A key was taken out."""

    key: str


class Decided(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """The events of this frame behind `before` were written under an idempotency key."""

    key: str
    digest: bytes
    before: int
    count: int


class Gone(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """Positions whose events were removed before this journal was made from another one."""

    count: int


Rare = Claimed | Born | Erased | Put | Removed | Decided | Gone
Item = Events | Traced | Rare
BundledItem = Bundle | TracedBundle | Rare

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Item]).decode
_decode_bundled = msgspec.msgpack.Decoder(list[BundledItem]).decode
_WRITER: Final = "open the journal with the version that wrote it"


def pack(items: list[Item]) -> bytes:
    """Items as the body of a frame."""
    return _encode(items)


def unpack(body: bytes, position: int) -> list[Item]:
    """Items of a frame whose checksum was right.

    Raises:
        StorageCorrupt: A version of ours that knew more kinds of items wrote them; names the position.
    """
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _unknown(error, position) from error


def unpack_bundled(body: bytes, position: int) -> list[BundledItem]:
    """As `unpack`, with the events of each item in one piece."""
    try:
        return _decode_bundled(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _unknown(error, position) from error


def _unknown(error: Exception, position: int) -> StorageCorrupt:
    return StorageCorrupt(
        f"the frame at position {position} holds what this version does not know: {error}",
        _WRITER,
        {"position": position},
    )
