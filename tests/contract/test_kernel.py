"""Every security kernel sits the same exam; the real one over each store, restarted from real files."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.capability import AuditEntry
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import ReadAudit
from mcp_interface.errors import StorageUnavailable
from mcp_interface.store import Store
from mcp_interface.testing import FakeKernel, MemoryStore, check_kernel
from mcp_persistence import SqliteJournal
from mcp_security import AuditLog, Kernel
from mcp_security.audit import Draft


class Room:
    """What one kernel under examination leaves behind: a journal and an audit file."""

    def __init__(self, folder: Path, open_store: Callable[[Path, Clock], Awaitable[Store]]) -> None:
        folder.mkdir()
        self.folder = folder
        self.open_store = open_store
        self.broken = False

    async def start(self, clock: Clock, entropy: Entropy) -> Kernel:
        self.clock, self.entropy = clock, entropy
        self.log = await AuditLog.open(self.folder / "audit.jsonl", clock)
        self.store = await self.open_store(self.folder / "journal.db", clock)
        return await Kernel.open(self.store, await self.store.claim(), self, clock, entropy)

    async def stop(self) -> None:
        await self.log.close()
        await self.store.close()

    @property
    def head(self) -> tuple[int, str]:
        return self.log.head

    async def append(self, **fields: Any) -> AuditEntry:
        return (await self.append_all([Draft(**fields)]))[0]

    async def append_all(self, drafts: Sequence[Draft]) -> list[AuditEntry]:
        if self.broken:
            raise StorageUnavailable("the disk is gone", "mend it")
        return await self.log.append_all(drafts)


def in_memory() -> Callable[[Path, Clock], Awaitable[Store]]:
    stores: dict[Path, MemoryStore] = {}

    class Kept(MemoryStore):
        async def close(self) -> None:
            """Outlives the kernel, as a file would."""

    async def open_store(path: Path, clock: Clock) -> Store:
        return stores.setdefault(path, Kept())

    return open_store


@pytest.mark.parametrize("open_store", [in_memory(), SqliteJournal.open], ids=["memory", "sqlite"])
def test_the_kernel_passes_the_exam(tmp_path: Path, open_store: Any) -> None:
    rooms: dict[Kernel, Room] = {}
    numbers = count()

    @asynccontextmanager
    async def maker(clock: Clock, entropy: Entropy) -> AsyncIterator[Kernel]:
        room = Room(tmp_path / str(next(numbers)), open_store)
        kernel = await room.start(clock, entropy)
        rooms[kernel] = room
        try:
            yield kernel
        finally:
            await room.stop()

    @asynccontextmanager
    async def reopen(kernel: Kernel) -> AsyncIterator[Kernel]:
        room = rooms[kernel]
        await room.stop()
        yield await room.start(room.clock, room.entropy)

    async def entries(kernel: Kernel) -> list[AuditEntry]:
        return list(reversed((await rooms[kernel].log.query(ReadAudit(limit=1000))).items))

    def break_records(kernel: Kernel) -> None:
        rooms[kernel].broken = True

    asyncio.run(check_kernel(maker, reopen=reopen, entries=entries, break_records=break_records))


def test_the_fake_kernel_passes_the_exam() -> None:
    @asynccontextmanager
    async def maker(clock: Clock, entropy: Entropy) -> AsyncIterator[FakeKernel]:
        yield FakeKernel(clock, entropy)

    asyncio.run(check_kernel(maker))
