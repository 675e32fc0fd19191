"""Every client against the same exam: in the node's process, over its socket, and over a WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_core import DataDir, Node, Settings, SocketClient
from mcp_interface.backlog import Bounds
from mcp_interface.execution import StartExecution
from mcp_interface.testing import check_client

NARROW = [Bounds(records=40), Bounds(size=40 * 1024)]
"""Bounds that a hundred kilobytes overrun, by their number or by their size."""
CALL = StartExecution(server="fs", tool="list_directory", arguments={"path": str(Path(__file__).parent)})


class SocketDoor:
    """The way in from another process."""

    def __init__(self, node: Node) -> None:
        self.owner_token = node.owner_token
        self._socket = DataDir(node.settings.data_dir).socket

    def client(self) -> SocketClient:
        return SocketClient(self._socket)


@pytest.mark.parametrize("bounds", NARROW, ids=["records", "bytes"])
def test_a_client_in_the_process_keeps_its_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounds: Bounds
) -> None:
    monkeypatch.setattr("mcp_interface.backlog.USUAL_BOUNDS", bounds)

    @asynccontextmanager
    async def maker() -> AsyncIterator[Node]:
        async with Node(Settings.load(tmp_path, {})) as node:
            yield node

    asyncio.run(check_client(maker, overrun_by=100, call=CALL))


@pytest.mark.parametrize("bounds", NARROW, ids=["records", "bytes"])
def test_a_client_over_the_socket_keeps_its_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounds: Bounds
) -> None:
    monkeypatch.setattr("mcp_interface.backlog.USUAL_BOUNDS", bounds)

    @asynccontextmanager
    async def maker() -> AsyncIterator[SocketDoor]:
        async with Node(Settings.load(tmp_path, {})) as node:
            yield SocketDoor(node)

    asyncio.run(check_client(maker, overrun_by=100, call=CALL))
