"""Every client against the same exam: in the node's process, over its socket, and over a WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mcp_core import DataDir, Node, Settings, SocketClient
from mcp_interface.testing import check_client


class SocketDoor:
    """The way in from another process."""

    def __init__(self, node: Node) -> None:
        self.owner_token = node.owner_token
        self._socket = DataDir(node.settings.data_dir).socket

    def client(self) -> SocketClient:
        return SocketClient(self._socket)


def test_a_client_in_the_process_keeps_its_promises(tmp_path: Path) -> None:
    @asynccontextmanager
    async def maker() -> AsyncIterator[Node]:
        async with Node(Settings.load(tmp_path, {})) as node:
            yield node

    asyncio.run(check_client(maker))


def test_a_client_over_the_socket_keeps_its_promises(tmp_path: Path) -> None:
    @asynccontextmanager
    async def maker() -> AsyncIterator[SocketDoor]:
        async with Node(Settings.load(tmp_path, {})) as node:
            yield SocketDoor(node)

    asyncio.run(check_client(maker))
