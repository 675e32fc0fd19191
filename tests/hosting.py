"""What tests of the MCP host share: running, waiting, looking."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_core.protocol import Host
from mcp_interface.server import ServerStatus

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
