"""The first block of a segment file, and the file's name.

For every version of the format the magic and the version stand in the first 12 bytes and a sum over the rest
of the block in its last 8: so a newer version can be told from damage.
"""

import re
import struct
from collections.abc import Callable
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment.frame import ZERO

MAGIC: Final = b"UmbrLog\n"
VERSION: Final = 1
BLOCK: Final = 4096
ID_BYTES: Final = 16

_START: Final = struct.Struct("<8sI")
_VERSION_1: Final = struct.Struct("<8sI16sQQQq32s")
_SUM: Final = struct.Struct("<Q")
_NAME: Final = re.compile(r"(\d{20})-(\d{20})\.seg")


class SegmentHeader(msgspec.Struct, frozen=True):
    """What a segment says of itself."""

    journal_id: bytes
    frame: int
    """Number of its first frame."""
    position: int
    """Position of its first event."""
    before: int
    """Number of the first frame of the segment before it; zero in the first."""
    at: int
    """When it was begun, in microseconds since 1970."""
    chain: bytes = ZERO
    """Chain of the frame before its first."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.position:020d}-{self.frame:020d}.seg"


def parse_name(name: str) -> tuple[int, int] | None:
    """First frame and first position of a segment by its file's name; None for any other file."""
    match = _NAME.fullmatch(name)
    return (int(match[2]), int(match[1])) if match else None


def encode(header: SegmentHeader) -> bytes:
    """Make the block."""
    fields = _VERSION_1.pack(
        MAGIC,
        VERSION,
        header.journal_id,
        header.frame,
        header.position,
        header.before,
        header.at,
        header.chain,
    )
    block = fields.ljust(BLOCK - _SUM.size, b"\0")
    return block + _SUM.pack(xxh3_64_intdigest(block))


def decode(block: bytes, path: str) -> SegmentHeader | None:
    """Read the block; None when it is damaged.

    Raises:
        StorageCorrupt: A newer version wrote it.
    """
    if len(block) != BLOCK or _SUM.unpack_from(block, BLOCK - _SUM.size)[0] != xxh3_64_intdigest(
        block[: -_SUM.size]
    ):
        return None
    magic, version = _START.unpack_from(block)
    if magic != MAGIC or version == 0:
        return None
    if version > VERSION:
        raise StorageCorrupt(
            f"{path} was written by a newer version (format {version}, known up to {VERSION})",
            "open it with that version; this file was left as it is",
            {"path": path, "format": version, "known": VERSION},
        )
    return READERS[version](block)


def _read_version_1(block: bytes) -> SegmentHeader:
    _, _, journal_id, frame, position, before, at, chain = _VERSION_1.unpack_from(block)
    return SegmentHeader(journal_id, frame, position, before, at, chain)


READERS: Final[dict[int, Callable[[bytes], SegmentHeader]]] = {1: _read_version_1}
"""Every version that can be opened; only ever added to."""
