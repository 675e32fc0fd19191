"""How values become bytes: MessagePack on disk, JSON on the wire and for people.

Both are lossless for every struct of this package, with one exception made on purpose: sealed values (a
capability's signature, a handle) reach the disk but are null in JSON. So are, for want of a word in JSON, floats
that are no numbers. Times are ISO 8601 in UTC. Unknown fields are ignored on reading, so that an older reader
survives a newer writer; missing ones take defaults.

Every struct of this package is serializable, by `to_external` and `from_external`; there is no second way.
What knows rules of its own beyond types is `Validatable`; reading does not check them, `validate` does.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec

from mcp_interface.capability import Sealed
from mcp_interface.errors import InvalidRecord

T = TypeVar("T")


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


# What msgspec lets through besides its own errors: texts that are no Unicode, nesting without end.
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
_UNENCODABLE = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)

_json = msgspec.json.Encoder(enc_hook=_hide)
_disk = msgspec.msgpack.Encoder(enc_hook=_keep)


# A decoder of the union of all events is dear to make, cheap to use.
_json_reader: Callable[[Any], Callable[[Any], Any]] = lru_cache(maxsize=256)(
    lambda kind: msgspec.json.Decoder(kind, dec_hook=_seal).decode
)
_disk_reader: Callable[[Any], Callable[[Any], Any]] = lru_cache(maxsize=256)(
    lambda kind: msgspec.msgpack.Decoder(kind, dec_hook=_seal).decode
)


def encode_json(value: Any) -> bytes:
    """Encode for the wire; sealed values become null.

    Raises:
        InvalidRecord: Rule `unencodable`: an object without a form outside, a lone surrogate, too deep nesting.
    """
    try:
        return _json.encode(value)
    except _UNENCODABLE as error:
        raise _unencodable(value, error) from error


def decode_json(data: bytes | str, kind: type[T] | Any) -> T:
    """Decode and check against a type.

    Raises:
        InvalidRecord: Rule `malformed`; the message names the path of the field.
    """
    try:
        value: T = _json_reader(kind)(data)
    except _UNREADABLE as error:
        raise InvalidRecord("malformed", f"not a valid {_name(kind)}: {error}") from error
    return value


def encode_disk(value: Any) -> bytes:
    """Encode for the journal; sealed values are kept.

    Raises:
        InvalidRecord: Rule `unencodable`: an object without a form outside, a lone surrogate,
            too deep nesting, an integer beyond 64 bits.
    """
    try:
        return _disk.encode(value)
    except _UNENCODABLE as error:
        raise _unencodable(value, error) from error


def decode_disk(data: bytes, kind: type[T] | Any) -> T:
    """Decode what `encode_disk` wrote.

    Raises:
        InvalidRecord: Rule `malformed`.
    """
    try:
        value: T = _disk_reader(kind)(data)
    except _UNREADABLE as error:
        raise InvalidRecord("malformed", f"not a valid {_name(kind)}: {error}") from error
    return value


def disk_decoder(kind: Any) -> Callable[[Any], Any]:
    """Reader of one type for whoever reads many: as `decode_disk`, but msgspec's errors come untranslated."""
    return _disk_reader(kind)


def to_external(value: Any) -> Any:
    """Turn any struct into JSON-compatible builtins; times become ISO 8601 text, sealed values None.

    Raises:
        InvalidRecord: Rule `unencodable`.
    """
    try:
        return msgspec.to_builtins(value, enc_hook=_hide)
    except _UNENCODABLE as error:
        raise _unencodable(value, error) from error


def from_external(data: Any, kind: type[T] | Any) -> T:
    """Build a value of `kind` from JSON-compatible builtins.

    Raises:
        InvalidRecord: Rule `malformed`.
    """
    try:
        return msgspec.convert(data, type=kind, dec_hook=_seal)
    except _UNREADABLE as error:
        raise InvalidRecord("malformed", f"not a valid {_name(kind)}: {error}") from error


@lru_cache(maxsize=256)
def fingerprint(kind: Any) -> str:
    """Name the shape of a type: 16 hex digits that change when a field, a type or a default does."""
    schema = msgspec.json.schema(kind, schema_hook=_opaque)
    for each in schema.get("$defs", {}).values():
        each.pop("description", None)  # a docstring is no shape
    return sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]


def _opaque(kind: type) -> dict[str, str]:
    return {"description": kind.__name__}


def _unencodable(value: Any, error: Exception) -> InvalidRecord:
    return InvalidRecord(
        "unencodable",
        f"a part of {type(value).__name__} is not data: {error}",
        "give plain JSON-compatible values",
    )


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
