"""The WebSocket client against the exam of every client, over a real port and a real node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_cli.client import WebSocketClient
from mcp_core import Settings, open_door
from mcp_interface.backlog import Bounds
from mcp_interface.client import ClientInfo
from mcp_interface.commands import CreateLogin, RedeemLogin
from mcp_interface.execution import StartExecution
from mcp_interface.testing import check_client
from mcp_web import make_app
from mcp_web.serve import listen, make_server

CALL = StartExecution(server="fs", tool="list_directory", arguments={"path": str(Path(__file__).parent)})


class WebDoor:
    """The way in over TCP; what lets the owner in here is a login key."""

    def __init__(self, port: int, key: str) -> None:
        self.owner_token = key
        self._url = f"ws://127.0.0.1:{port}/api/ws"

    def client(self) -> WebSocketClient:
        return WebSocketClient(self._url)


def test_a_client_over_a_websocket_keeps_its_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_interface.backlog.USUAL_BOUNDS", Bounds(size=40 * 1024))

    @asynccontextmanager
    async def maker() -> AsyncIterator[WebDoor]:
        door = await open_door(Settings.load(tmp_path, {}), start=False, embed=True)
        owner = door.client()
        await owner.connect(ClientInfo(name="test", token=door.owner_token))
        code = await owner.request(CreateLogin())
        login = await owner.request(RedeemLogin(code=code.code))
        await owner.disconnect()
        started = asyncio.Event()
        listener = listen("127.0.0.1", 0)
        server = make_server(make_app(door), started.set)
        running = asyncio.create_task(server.serve([listener]))
        try:
            async with asyncio.timeout(30):
                await started.wait()
            yield WebDoor(listener.getsockname()[1], login.key)
        finally:
            server.should_exit = True
            await running
            listener.close()
            await door.close()

    asyncio.run(check_client(maker, overrun_by=100, call=CALL))
