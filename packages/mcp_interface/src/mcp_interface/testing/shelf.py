"""What a `MemoryStore` keeps, as encoded bytes, and the rules that it holds its callers to."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from mcp_interface.codec import decode_disk, decode_json, encode_disk, encode_json
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.store import PAGE, Decision, Record

MAX_NAME: Final = 200
"""Longest name of a stream and longest idempotency key, in characters."""
MAX_KEY: Final = 512
"""Longest name of a value, in characters."""


class Shelf(msgspec.Struct):
    """One history at rest."""

    positions: list[int] = []
    """Where its records are in the whole store, in order of version."""
    snapshots: dict[int, bytes] = {}


class Made(msgspec.Struct, frozen=True):
    """What was once done under an idempotency key."""

    content: bytes
    positions: list[int]


class Draft:
    """The `Transaction` of a memory store."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    def get(self, key: str) -> Any:
        """As `Transaction.get`."""
        return value_of(self.values, key)

    def put(self, key: str, value: Any) -> None:
        """As `Transaction.put`."""
        check_key(key)
        self.values[key] = encode_json(value)

    def delete(self, key: str) -> None:
        """As `Transaction.delete`."""
        self.values.pop(key, None)


def check_decision(decision: Decision) -> None:
    """Refuse what cannot be decided.

    Raises:
        CallerMistaken: Nothing in it, a stream or a key twice, or a bad name.
    """
    if not (decision.appends or decision.puts or decision.deletes):
        raise CallerMistaken("a decision without content", "give events, or keys to put or to delete")
    if decision.key is not None:
        _check_name(decision.key, "be an idempotency key")
    for append in decision.appends:
        _check_name(append.stream, "name a stream")
        if not append.events:
            raise CallerMistaken(f"nothing to append to {append.stream!r}", "give at least one event")
    for key in decision.puts:
        check_key(key)
    _check_once("stream", [append.stream for append in decision.appends])
    _check_once("key", [*decision.puts, *decision.deletes])


def content_of(decision: Decision) -> bytes:
    """What an idempotency key stands for: everything that is written, not where and by whom."""
    return encode_disk(
        (
            [(append.stream, list(append.events)) for append in decision.appends],
            sorted((key, encode_json(value)) for key, value in decision.puts.items()),
            sorted(decision.deletes),
        )
    )


def record_of(data: bytes) -> Record:
    """Read one record back."""
    record: Record = decode_disk(data, Record)
    return record


def value_of(values: dict[str, bytes], key: str) -> Any:
    """Read one key.

    Raises:
        NotFound: No such key.
    """
    if key not in values:
        raise NotFound(f"no key {key!r}")
    return decode_json(values[key], Any)


def matching(names: Iterable[str], pattern: str, after: str, limit: int) -> list[str]:
    """Names that match a glob, sorted, behind `after`."""
    found = sorted(name for name in names if name > after and fnmatchcase(name, pattern))
    return found[: bounded(limit)]


def bounded(limit: int) -> int:
    """How many things one read may give."""
    return min(max(limit, 0), PAGE)


def check_key(key: str) -> None:
    """Refuse what cannot name a value."""
    _check_name(key, "be a key", MAX_KEY)


def _check_name(name: str, purpose: str, most: int = MAX_NAME) -> None:
    if not name or len(name) > most or not name.isprintable():
        raise CallerMistaken(f"{name[:60]!r} cannot {purpose}", f"use 1 to {most} printable characters")


def _check_once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CallerMistaken(f"the {what} {name!r} twice in one decision", "decide once about each")
