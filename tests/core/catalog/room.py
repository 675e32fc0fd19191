"""The catalog over in-memory contracts and the real gates, as the node opens it."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from mcp_core.catalog.opening import Opened, open_catalog
from mcp_core.catalog.sources import Sources
from mcp_core.gateway.handlers.catalog import CatalogCommands
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import Journal
from mcp_interface.address import parse_resource
from mcp_interface.capability import GrantOptions
from mcp_interface.catalog import Item
from mcp_interface.cataloging import CreateItem
from mcp_interface.client import Passing
from mcp_interface.commands import Command
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.testing import FakeKernel, ManualClock, MemoryBlobs, MemoryStore, SeededEntropy
from mcp_security import FilesystemGate
from mcp_security.validators.api import ApiGate

OWNER, FRIEND, STRANGER = (PrincipalId(new_id("user", SeededEntropy(seed))) for seed in (21, 22, 23))


class Room:
    """One catalog that can be opened again over what it keeps."""

    def __init__(self, folder: Path, web: ApiGate | None = None, *, people_publish: bool = True) -> None:
        self.people_publish = people_publish
        self.folder = folder
        self.web = web or ApiGate()
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.blobs = MemoryBlobs()
        self.kernel = FakeKernel(self.clock, SeededEntropy(5))
        self.told: list[Passing] = []
        self.opened: Opened
        self.handlers: dict[type, Any]

    async def open(self) -> None:
        """Open, or open again as after a crash: nothing was closed."""
        self.bus = Bus(self.store, await self.store.head())
        self.journal = Journal(self.store, await self.store.claim(), self.bus)
        self.opened = await open_catalog(
            self.journal,
            self.store,
            self.blobs,
            Sources(self.kernel, FilesystemGate(), self.web),
            self.folder,
            self.folder / "skills",
            OWNER,
            self.clock,
            self.told.append,
            self.kernel,
        )
        for who in (FRIEND, STRANGER):
            if self.people_publish and not self.kernel.held_by(who):
                await self.grant(who, "mcp://tool/execute/catalog/publish")
        self.handlers = CatalogCommands(self.opened.resources, self.opened.prompts).handlers()

    def set_clock_back(self, seconds: float) -> None:
        """As a person or a time server does it."""
        earlier = self.clock.now() - timedelta(seconds=seconds)
        self.clock.now = lambda: earlier  # type: ignore[method-assign]

    async def ask(self, who: PrincipalId, command: Command[Any]) -> Any:
        return await self.handlers[type(command)](who, command)

    async def grant(self, who: PrincipalId, uri: str, **constraints: Any) -> Any:
        options = GrantOptions(constraints=constraints)
        return await self.kernel.request(who, parse_resource(uri), options)

    async def text(self, who: PrincipalId, uri: str, text: str = "text", **more: Any) -> Item:
        item: Item = await self.ask(who, CreateItem(uri=uri, kind="text", name="n", text=text, **more))
        return item

    async def read(self, who: PrincipalId, uri: str) -> Any:
        [contents] = await self.opened.offering.read(who, uri)
        return contents.blob if contents.text is None else contents.text


@asynccontextmanager
async def room(web: ApiGate | None = None, *, people_publish: bool = True) -> AsyncIterator[Room]:
    with tempfile.TemporaryDirectory() as folder:
        made = Room(Path(folder), web, people_publish=people_publish)
        await made.open()
        yield made
