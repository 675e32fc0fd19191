"""Fingerprints that make a changed, missing or added row visible.

SQLite notices neither a flipped bit in its pages nor a write-ahead log that ends too early. So every row
carries a SHA-256 of its content; events are chained besides, each link over the one before; and the small
tables have a sum (exclusive or) of their rows' digests, kept in the single row of `Meta`. The sums and the
chain are not keyed: they find damage and careless edits, not somebody who recomputes all of them.
"""

from hashlib import sha256
from typing import Any, Final

import msgspec

ZERO: Final = bytes(32)
"""The chain before the first event, and the sum of no rows."""

_encode = msgspec.msgpack.Encoder().encode


def digest(*content: Any) -> bytes:
    """Fingerprint of a row's values; their types and borders count."""
    return sha256(_encode(content)).digest()


def link(previous: bytes, content: bytes) -> bytes:
    """Next link of the chain: over the previous link and the digest of the new event."""
    return sha256(previous + content).digest()


def toggle(total: bytes, *rows: bytes) -> bytes:
    """Put rows' digests into a sum, or take them out again."""
    mixed = int.from_bytes(total, "big")
    for row in rows:
        mixed ^= int.from_bytes(row, "big")
    return mixed.to_bytes(32, "big")


class Meta(msgspec.Struct, frozen=True):
    """What the store knows of itself; changes in the same transaction as what it describes."""

    epoch: int = 0
    """The writer that may append; zero before the first claim."""
    head: int = 0
    """Position of the last event ever written."""
    chain: bytes = ZERO
    """Link of that event."""
    commits: int = 0
    """Transactions so far; tells which of two states is the later one."""
    streams: bytes = ZERO
    """Sum over the table of streams."""
    keys: bytes = ZERO
    """Sum over the table of keys."""
    made: bytes = ZERO
    """Sum over the table of idempotency keys; since format 2, as is the next."""
    indexed: int = 0
    """Position up to which the tables of streams and places have come."""
