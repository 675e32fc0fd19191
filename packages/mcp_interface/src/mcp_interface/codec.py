"""How values become bytes: MessagePack on disk, JSON on the wire and for people.

Both are lossless for every struct of this package, with one exception made on purpose: sealed values (a
capability's signature, a handle) reach the disk but are null in JSON. Times are ISO 8601 in UTC. Unknown
fields are ignored on reading, so that an older reader survives a newer writer; missing ones take defaults.
"""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import msgspec

from mcp_interface.capability import Sealed
from mcp_interface.errors import InvalidRecord

T = TypeVar("T")


class Serializable(Protocol):
    """Can leave the process as a JSON-compatible mapping and come back equal, sealed fields apart."""

    def to_external(self) -> Mapping[str, Any]:
        """Return plain data with ISO 8601 times."""
        ...

    @classmethod
    def from_external(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from plain data; raises `InvalidRecord` naming the field."""
        ...


class Validatable(Protocol):
    """Knows its own rules."""

    def validate(self) -> None:
        """Return, or raise `InvalidRecord` with the first broken rule."""
        ...


def _hide(value: Any) -> None:
    if isinstance(value, Sealed):
        return
    raise TypeError(f"{type(value).__name__} cannot be encoded")


def _keep(value: Any) -> bytes:
    if isinstance(value, Sealed):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} cannot be encoded")


def _seal(kind: type, value: Any) -> Any:
    if kind is Sealed and isinstance(value, bytes):
        return Sealed(value)
    raise TypeError(f"{kind.__name__} cannot be decoded from {type(value).__name__}")


_json = msgspec.json.Encoder(enc_hook=_hide)
_disk = msgspec.msgpack.Encoder(enc_hook=_keep)


def encode_json(value: Any) -> bytes:
    """Encode for the wire; sealed values become null."""
    return _json.encode(value)


def decode_json(data: bytes | str, kind: type[T] | Any) -> T:
    """Decode and check against a type.

    Raises:
        InvalidRecord: Rule `malformed`; the message names the path of the field.
    """
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_seal)
    except msgspec.MsgspecError as error:
        raise InvalidRecord("malformed", f"not a valid {_name(kind)}: {error}") from error


def encode_disk(value: Any) -> bytes:
    """Encode for the journal; sealed values are kept."""
    return _disk.encode(value)


def decode_disk(data: bytes, kind: type[T] | Any) -> T:
    """Decode what `encode_disk` wrote.

    Raises:
        InvalidRecord: Rule `malformed`.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=_seal)
    except msgspec.MsgspecError as error:
        raise InvalidRecord("malformed", f"not a valid {_name(kind)}: {error}") from error


def to_external(value: Any) -> Any:
    """Turn any struct into JSON-compatible builtins."""
    return msgspec.to_builtins(value, enc_hook=_hide)


def from_external(data: Any, kind: type[T] | Any) -> T:
    """Build a value of `kind` from JSON-compatible builtins.

    Raises:
        InvalidRecord: Rule `malformed`.
    """
    try:
        return msgspec.convert(data, type=kind, dec_hook=_seal)
    except msgspec.MsgspecError as error:
        raise InvalidRecord("malformed", f"not a valid {_name(kind)}: {error}") from error


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
