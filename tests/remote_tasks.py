"""A server of others that answers calls with tasks, in a process that can be killed and started again."""

import asyncio
import sys
from pathlib import Path
from typing import Final

from conftest import HttpServer, free_port

SCRIPT: Final = Path(__file__).parent / "core" / "protocol" / "servers" / "task_server.py"


class TaskServer(HttpServer):
    """The server of `task_server.py`, and what it noted down."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        super().__init__([sys.executable, str(SCRIPT), "http", str(port), str(folder)], {}, port)
        self.folder = folder

    def noted(self, file: str) -> list[str]:
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []

    def polls(self) -> int:
        return sum(line.startswith("tasks/get") for line in self.noted("seen"))

    async def polled(self, times: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(20):
            while self.polls() < times:
                await asyncio.sleep(0.02)
