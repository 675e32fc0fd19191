"""A node in a process of its own, to be killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcp_core import DataDir, SocketClient
from mcp_core.daemon import answers
from mcp_interface.client import ClientInfo

START_SECONDS = 30


class NodeProcess:
    """`python -m mcp_core` over one data directory."""

    def __init__(self, data_dir: Path, environ: dict[str, str]) -> None:
        self.place = DataDir(data_dir)
        self._environ = environ
        self.clients: list[SocketClient] = []
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return [sys.executable, "-m", "mcp_core", "--data-dir", str(self.place.root)]

    async def start(self) -> None:
        self.place.make()
        with self.place.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env={**os.environ, **self._environ}
            )
        async with asyncio.timeout(START_SECONDS):
            while not await answers(self.place):
                assert self.process.poll() is None, self.place.log.read_text()
                await asyncio.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    async def client(self) -> SocketClient:
        client = SocketClient(self.place.socket)
        await client.connect(ClientInfo(name="test", token=self.place.read_token()))
        self.clients.append(client)
        return client

    async def let_go(self) -> None:
        """Close every client that was made here."""
        while self.clients:
            await self.clients.pop().disconnect()


@pytest.fixture
def node_process(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    made: list[NodeProcess] = []

    def make(environ: dict[str, str] | None = None, data_dir: Path | None = None) -> NodeProcess:
        made.append(NodeProcess(data_dir or tmp_path / "node", environ or {}))
        return made[-1]

    yield make
    for node in made:
        node.kill()
