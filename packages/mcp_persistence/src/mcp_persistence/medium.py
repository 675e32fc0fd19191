"""What a front needs of a medium, and a medium of the desk at which its batches are judged."""

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mcp_interface.errors import UmbrellaError
from mcp_interface.store import Record, Snapshot, StreamInfo
from mcp_persistence.entry import Committed, Entry, Keys, Known, Refused, Row
from mcp_persistence.group_commit import Refusal, Work


class Desk(Keys, Protocol):
    """Where the pieces of one batch are judged and written, in the writer's thread."""

    def claim(self) -> int:
        """Take the next epoch."""
        ...

    def decide(self, entry: Entry) -> int | Known:
        """Write a decision, all or none; gives the position before its first event.

        Raises:
            StaleEpoch, VersionConflict, CallerMistaken: As `Store.commit`; nothing was written.
        """
        ...

    def delete_stream(self, stream: str) -> None:
        """Remove a stream."""
        ...


class Usage(msgspec.Struct, frozen=True):
    """What a medium takes."""

    streams: int
    size_bytes: int
    segments: int = 0


class Medium(Protocol):
    """One opened journal on a disk. Every method raises `StorageUnavailable` or `StorageCorrupt`."""

    kind: str
    folder: Path
    found: str
    """One line: what the opening found and did."""
    head: int
    """Position of the last event, as found at the opening."""

    def commit(self, batch: Sequence[Work[Any, Any]]) -> Awaitable[Committed]:
        """Do a batch and make it durable; raising means that what reached the disk is not known."""
        ...

    async def stream_page(self, stream: str, after: int, limit: int) -> list[Row]:
        """Rows that hold versions > `after` of a stream, enough for `limit` events."""
        ...

    async def page(self, after: int, limit: int, glob: str) -> tuple[list[Record], int]:
        """Records of matching streams with positions > `after`, and the position up to which the search came.

        Not more than about `limit` of them, but whole frames.
        """
        ...

    async def streams(self, pattern: str, after: str, limit: int) -> list[StreamInfo]:
        """As `EventStore.streams`."""
        ...

    async def stream_info(self, stream: str) -> StreamInfo:
        """As `EventStore.stream_info`."""
        ...

    async def save_snapshot(self, snapshot: Snapshot, body: bytes) -> int:
        """As `EventStore.save_snapshot`; gives the version of the newest one."""
        ...

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """As `EventStore.load_snapshot`."""
        ...

    async def load_snapshots(self, pattern: str, after: str, limit: int) -> list[Snapshot]:
        """As `EventStore.load_snapshots`."""
        ...

    async def value(self, key: str) -> Any:
        """As `KeyValueStore.get`."""
        ...

    async def key_names(self, pattern: str, after: str, limit: int) -> list[str]:
        """As `KeyValueStore.list_keys`."""
        ...

    async def verify(self) -> int:
        """As `Store.verify`."""
        ...

    async def rebuild(self) -> None:
        """As `Store.rebuild`."""
        ...

    async def usage(self) -> Usage:
        """What it takes."""
        ...

    async def release(self) -> None:
        """Let go of the disk and end all threads; harmless when repeated."""
        ...


def judge(desk: Any, batch: Sequence[Work[Any, Any]]) -> list[Any]:
    """Do each piece of a batch on its own: its result, or a `Refusal` that concerns its caller alone."""
    outcomes: list[Any] = []
    for work in batch:
        try:
            outcomes.append(work(desk))
        except Refused as error:
            outcomes.append(Refusal(error.cause))
        except UmbrellaError as error:
            outcomes.append(Refusal(error))
    return outcomes
