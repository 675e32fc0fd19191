"""Stores that refuse writes for a while, as a full disk makes them: over memory, and under a whole node."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from mcp_core import Node
from mcp_interface.errors import StorageUnavailable
from mcp_interface.store import StoreReport
from mcp_interface.testing import MemoryStore

WRITES = ("append", "commit", "put", "delete", "transaction", "delete_stream", "save_snapshot")
REASON = "the disk is full: 0 bytes are left; it is tried again by itself"
REMEDY = "make room"


def refusal(*_: Any, **__: Any) -> Any:
    raise StorageUnavailable("the journal is read-only: the disk is full", REMEDY)


class RefusingStore(MemoryStore):
    """Refuses what `refuses` says: everything that writes, or appends that hold a certain kind of event."""

    refuses: tuple[type, ...] | bool = False
    keeps_it_all_the_same = False
    """Whether a refused append is in the store nevertheless, as after a failed sync."""

    def __init__(self) -> None:
        super().__init__()
        self.turned_away: list[type] = []

    async def append(self, stream: str, events: Any, **given: Any) -> Any:
        if self.refuses is True or (self.refuses and isinstance(events[0], self.refuses)):
            if self.keeps_it_all_the_same:
                await super().append(stream, events, **given)
            self.turned_away.append(type(events[0]))
            refusal()
        return await super().append(stream, events, **given)

    async def until_refused(self, kind: type) -> None:
        """Wait until an event of a kind was turned away."""
        async with asyncio.timeout(10):
            while kind not in self.turned_away:
                await asyncio.sleep(0.005)

    async def put(self, key: str, value: Any) -> None:
        if self.refuses is True:
            refusal()
        await super().put(key, value)


class RefusingNode(Node):
    """A real node over a real store that can be told to refuse, and to say what its opening found."""

    store: Any
    found = ""

    async def _break_ground(self, stack: AsyncExitStack) -> Any:
        ground = await super()._break_ground(stack)
        self.store = ground.store
        self._tell("writable", "")
        return ground

    def refuse(self) -> None:
        for name in WRITES:
            setattr(self.store, name, refusal)
        self._tell("read_only", REASON)

    def accept(self) -> None:
        for name in WRITES:
            delattr(self.store, name)
        self._tell("writable", "")

    def _tell(self, state: Any, reason: str) -> None:
        ask = type(self.store).report

        async def report() -> StoreReport:
            told: StoreReport = await ask(self.store)
            return msgspec.structs.replace(told, state=state, reason=reason, found=self.found)

        self.store.report = report


def flip(journal: Path, mark: bytes) -> int:
    """Change one bit of the first place where a mark stands in each file of a journal; how many files had one."""
    files = [journal] if journal.is_file() else sorted(file for file in journal.rglob("*") if file.is_file())
    hit = 0
    for file in files:
        place = file.read_bytes().find(mark)
        if place >= 0:
            with file.open("r+b") as opened:
                opened.seek(place)
                opened.write(bytes([mark[0] ^ 1]))
            hit += 1
    return hit
