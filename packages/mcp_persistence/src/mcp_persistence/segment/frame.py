"""The frame: a header of 96 bytes, then the body, little endian. Pure functions over bytes.

Two sums guard it. The short one covers the header alone, so that a header can be believed, or refused,
without reading what it claims to be its body. The long one covers header and body. Both are seeded with the
journal's random id: bytes that somebody stores as a body cannot pass for a frame of this journal, even when a
torn write leaves them where a frame could begin. The chain is SHA-256 over all that the long sum covers,
which includes the chain of the frame before. FORMAT.md describes it byte by byte.
"""

import struct
from hashlib import sha256
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

MAGIC: Final = b"UFr1"
HEADER: Final = struct.Struct("<4sIQIIQQQqQ32s")
SIZE: Final = HEADER.size
MAX_BODY: Final = 1 << 30
"""Most bytes of one body."""
ZERO: Final = bytes(32)
"""The chain before the first frame."""

_SUMS: Final = struct.Struct("<4sIQ")
_COVERED: Final = struct.Struct("<IIQQQqQ32s")
_CHECK_FROM: Final = 8
_SUM_FROM: Final = 16
_32_BITS: Final = 0xFFFFFFFF


class Header(NamedTuple):
    """A header that has passed its own sum."""

    total: int
    """Bytes of header and body."""
    events: int
    number: int
    first: int
    epoch: int
    at: int
    durable: int
    previous: bytes
    sum: int


def seed_of(journal_id: bytes) -> int:
    """The seed of a journal's sums."""
    return int.from_bytes(journal_id[:8], "little")


def encode(
    body: bytes, *, seed: int, number: int, first: int, count: int, epoch: int, at: int, previous: bytes
) -> tuple[bytes, bytes, bytes]:
    """Frame a body.

    Returns:
        The sums, the content to write behind them, and the chain of the new frame.
    """
    content = _COVERED.pack(len(body), count, number, first, epoch, at, first - 1, previous) + body
    total = xxh3_64_intdigest(content, seed)
    covered = content[: SIZE - _SUM_FROM]
    check = xxh3_64_intdigest(total.to_bytes(8, "little") + covered, seed) & _32_BITS
    return _SUMS.pack(MAGIC, check, total), content, sha256(content).digest()


def decode_header(view: memoryview, offset: int, seed: int) -> Header | None:
    """Read the header at `offset`; None when there is no sound one. The view must reach that far."""
    magic, check, total, length, count, number, first, epoch, at, durable, previous = HEADER.unpack_from(
        view, offset
    )
    if magic != MAGIC:
        return None
    covered = view[offset + _CHECK_FROM : offset + SIZE]
    if check != xxh3_64_intdigest(covered, seed) & _32_BITS:
        return None
    return Header(SIZE + length, count, number, first, epoch, at, durable, previous, total)


def content_of(view: memoryview, offset: int, header: Header, seed: int) -> memoryview | None:
    """What the long sum covers; None when it is not as it was written, or the view ends before it."""
    content = view[offset + _SUM_FROM : offset + header.total]
    if len(content) != header.total - _SUM_FROM or xxh3_64_intdigest(content, seed) != header.sum:
        return None
    return content


def body_of(content: memoryview) -> bytes:
    """The body within what the long sum covers."""
    return bytes(content[SIZE - _SUM_FROM :])


def chain_of(content: memoryview) -> bytes:
    """The chain of a frame, from what the long sum covers."""
    return sha256(content).digest()
