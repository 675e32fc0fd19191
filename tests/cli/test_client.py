"""The WebSocket client: over a bare WebSocket in front of the fake node, and against what `umbrella serve` opens."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from mcp_cli import WebSocketClient
from mcp_core import DataDir, SocketClient
from mcp_interface.client import (
    ClientFrame,
    ClientInfo,
    Failure,
    Follow,
    Happened,
    Hello,
    NodeFrame,
    PassedBy,
    Request,
    Result,
    Unfollow,
)
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import CreateLogin, GetStatus, RedeemLogin
from mcp_interface.errors import (
    CallerMistaken,
    LoginRequired,
    NodeUnavailable,
    OurBug,
    UmbrellaError,
)
from mcp_interface.store import Record
from mcp_interface.testing import FakeNode, check_client


class Entrance:
    """A way in over a WebSocket."""

    def __init__(self, url: str, owner_token: str) -> None:
        self.url = url
        self.owner_token = owner_token

    def client(self) -> WebSocketClient:
        return WebSocketClient(self.url)


class Bridge:
    """Serves the frames of one fake node over WebSockets."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    async def serve(self, socket: ServerConnection) -> None:
        client = self._node.client()
        hello: Any = await self._read(socket)
        assert isinstance(hello, Hello)
        try:
            await self._send(socket, await client.connect(hello.client))
        except UmbrellaError as error:
            await self._send(socket, Failure(id=0, error=error.body()))
            return
        work: dict[int, asyncio.Task[None]] = {}
        try:
            async for data in socket:
                frame: ClientFrame = decode_json(data, ClientFrame)
                if isinstance(frame, Request):
                    work[frame.id] = asyncio.create_task(self._request(socket, client, frame))
                elif isinstance(frame, Follow):
                    work[frame.id] = asyncio.create_task(self._follow(socket, client, frame))
                elif isinstance(frame, Unfollow) and frame.id in work:
                    work[frame.id].cancel()
        finally:
            for task in work.values():
                task.cancel()
            await asyncio.gather(*work.values(), return_exceptions=True)
            await client.disconnect()

    async def _request(self, socket: ServerConnection, client: Any, frame: Request) -> None:
        try:
            value = await client.request(frame.command, None)
            await self._send(socket, Result(id=frame.id, value=encode_json(value)))  # type: ignore[arg-type]
        except UmbrellaError as error:
            await self._send(socket, Failure(id=frame.id, error=error.body()))

    async def _follow(self, socket: ServerConnection, client: Any, frame: Follow) -> None:
        try:
            async for notice in client.follow(frame.session_id, frame.after):
                if isinstance(notice, Record):
                    await self._send(socket, Happened(id=frame.id, record=notice))
                else:
                    await self._send(socket, PassedBy(id=frame.id, passing=notice))
        except UmbrellaError as error:
            await self._send(socket, Failure(id=frame.id, error=error.body()))

    async def _read(self, socket: ServerConnection) -> ClientFrame:
        frame: ClientFrame = decode_json(await socket.recv(decode=False), ClientFrame)
        return frame

    async def _send(self, socket: ServerConnection, frame: NodeFrame | Any) -> None:
        import msgspec

        if isinstance(frame, Result):
            frame = msgspec.structs.replace(frame, value=msgspec.Raw(frame.value))
        await socket.send(encode_json(frame), text=True)


@asynccontextmanager
async def bridged(**options: Any) -> AsyncIterator[Entrance]:
    async with FakeNode(**options) as node, serve(Bridge(node).serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Entrance(f"ws://127.0.0.1:{port}/api/ws", node.owner_token)


def test_it_keeps_the_promises_of_a_client() -> None:
    asyncio.run(check_client(bridged))


def test_it_keeps_them_against_the_node_that_serve_opens(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from mcp_cli.main import main; main()", "--data-dir", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--format", "json", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "dumb"},
    ) as server:
        assert server.stdout is not None
        try:
            url = json.loads(server.stdout.readline())["url"]

            @asynccontextmanager
            async def maker() -> AsyncIterator[Entrance]:
                place = DataDir(tmp_path)
                owner = SocketClient(place.socket)
                await owner.connect(ClientInfo(name="test", token=place.read_token()))
                code = await owner.request(CreateLogin())
                key = await owner.request(RedeemLogin(code=code.code))
                await owner.disconnect()
                yield Entrance(url.replace("http://", "ws://") + "api/ws", key.key)

            asyncio.run(check_client(maker))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)


def test_nobody_at_the_address_is_said_with_the_address() -> None:
    async def scenario() -> None:
        with pytest.raises(NodeUnavailable, match=r"ws://127\.0\.0\.1:9/api/ws"):
            await WebSocketClient("ws://127.0.0.1:9/api/ws").connect(ClientInfo(name="test"))

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["http://x/api/ws", "ws://", "nonsense"])
def test_a_url_that_is_no_websockets_is_refused_at_once(url: str) -> None:
    with pytest.raises(CallerMistaken):
        WebSocketClient(url)


def test_a_wrong_token_is_refused_and_the_client_can_try_again() -> None:
    async def scenario() -> None:
        async with bridged() as entrance:
            client = entrance.client()
            with pytest.raises(LoginRequired):
                await client.connect(ClientInfo(name="test", token="wrong"))
            await client.connect(ClientInfo(name="test", token=entrance.owner_token))
            assert (await client.request(GetStatus())).pid == 0
            await client.disconnect()

    asyncio.run(scenario())


def test_a_node_that_begins_with_anything_else_is_not_trusted() -> None:
    async def odd(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(encode_json(Failure(id=7, error=OurBug("odd").body())), text=True)

    async def scenario() -> None:
        async with serve(odd, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(OurBug):
                await WebSocketClient(f"ws://127.0.0.1:{port}/").connect(ClientInfo(name="test"))

    asyncio.run(scenario())
