"""What tests of the MCP host share: running, waiting, looking."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcp_core.protocol import Host
from mcp_interface.ids import ExecutionId, PrincipalId, SessionId
from mcp_interface.question import Inquiry, Response
from mcp_interface.server import ServerStatus
from mcp_interface.tool import ToolContext, ToolLog

Pids = Callable[[], set[int]]


def run(work: Any, seconds: float = 60.0) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await work()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def of(host: Host, name: str) -> ServerStatus:
    return next(status for status in host.statuses() if status.name == name)


def groups_alive(groups: set[int]) -> set[int]:
    """Process groups of which a process still runs; who only waits to be buried does not count."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                found.add(int(fields[2]))
    return found & groups


class Behind:
    """Who is behind a call: keeps what was told, and answers what is asked."""

    def __init__(
        self, answer: Callable[[Inquiry], Response] | None = None, session: str = "sess_1", **fields: Any
    ) -> None:
        self.progress: list[tuple[float, str]] = []
        self.lines: list[ToolLog] = []
        self.asked: list[Inquiry] = []
        self.handles: list[str] = []
        self.told = asyncio.Event()
        self._answer = answer
        self._session = session
        self._fields = fields

    def context(self) -> ToolContext:
        can = frozenset({"form", "url", "sampling", "roots"}) if self._answer else frozenset()
        return ToolContext(
            execution_id=ExecutionId("exec_1"),
            principal_id=PrincipalId("user_1"),
            session_id=SessionId(self._session),
            progress=self._progress,
            log=self.lines.append,
            ask=self._ask if self._answer else None,
            **{"answers": can, **self._fields},
        )

    async def _progress(self, share: float, message: str) -> None:
        self.progress.append((share, message))
        self.told.set()

    async def _ask(self, inquiries: Sequence[Inquiry], handle: str) -> dict[str, Response]:
        assert self._answer is not None
        self.asked += inquiries
        self.handles.append(handle)
        return {one.key: self._answer(one) for one in inquiries}
