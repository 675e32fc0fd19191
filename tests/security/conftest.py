"""One kernel's surroundings: clock, entropy, store and a real audit file, all of which survive a restart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import AuditEntry, Grant, GrantOptions
from mcp_interface.commands import ReadAudit
from mcp_interface.errors import StorageUnavailable
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.testing import ManualClock, MemoryStore, SeededEntropy
from mcp_security import AuditLog, Kernel


class Room:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.entropy = SeededEntropy()
        self.store = MemoryStore()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.audit_broken = False
        self.store_broken = False
        names = SeededEntropy(7)
        self.owner = PrincipalId(new_id("user", names))
        self.agents = [PrincipalId(new_id("agent", names)) for _ in range(4)]

    @asynccontextmanager
    async def kernel(self) -> AsyncIterator[Kernel]:
        self.log = await AuditLog.open(self.path, self.clock)
        try:
            kernel = await Kernel.open(self, await self.store.claim(), self, self.clock, self.entropy, self)
            yield kernel
            await kernel.close()
        finally:
            await self.log.close()

    async def root(self, kernel: Kernel, uri: str, **options: Any) -> Grant:
        return await kernel.request(self.owner, parse_resource(uri), GrantOptions(**options))

    async def given(self, kernel: Kernel, uri: str, **options: Any) -> Grant:
        """Something that the first agent holds, by delegation from the owner."""
        root = await self.root(kernel, uri)
        return await kernel.delegate(root.handle, self.owner, self.agents[0], options=GrantOptions(**options))

    async def trail(self) -> list[AuditEntry]:
        return list(reversed((await self.log.query(ReadAudit(limit=1000))).items))

    # the faces that the kernel sees: an audit, a store and a telemetry that can be broken

    async def append(self, stream: str = "", events: Any = None, **fields: Any) -> Any:
        if stream:
            if self.store_broken:
                raise StorageUnavailable("the disk is gone", "mend it")
            return await self.store.append(stream, events, **fields)
        if self.audit_broken:
            raise StorageUnavailable("the audit's disk is gone", "mend it")
        return await self.log.append(**fields)

    @property
    def head(self) -> tuple[int, str]:
        return self.log.head

    async def append_all(self, drafts: Any) -> Any:
        if self.audit_broken:
            raise StorageUnavailable("the audit's disk is gone", "mend it")
        return await self.log.append_all(drafts)

    async def load_snapshot(self, stream: str) -> Any:
        return await self.store.load_snapshot(stream)

    async def save_snapshot(self, snapshot: Any) -> None:
        await self.store.save_snapshot(snapshot)

    async def read(self, *args: Any, **fields: Any) -> Any:
        return await self.store.read(*args, **fields)

    def emit(self, name: str, measurements: Any, metadata: Any) -> None:
        self.told.append((name, {**measurements, **metadata}))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "audit.jsonl")
