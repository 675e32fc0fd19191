"""Clients of a node that does not react, and followers that lose interest."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from mcp_core.gateway.gateway import Gateway
from mcp_core.gateway.local import LocalClient
from mcp_core.gateway.remote import SocketClient
from mcp_core.gateway.tickets import Ticket
from mcp_core.runtime.bus import Bus
from mcp_interface.client import ClientInfo, Welcome
from mcp_interface.codec import encode_json
from mcp_interface.commands import PostMessage
from mcp_interface.errors import DeadlineExceeded, NodeUnavailable
from mcp_interface.ids import PrincipalId, SessionId, new_id
from mcp_interface.testing import MemoryStore, SeededEntropy

WELCOME = Welcome(
    principal_id=PrincipalId(new_id("user", SeededEntropy())), session_id=None, version="1", position=0
)
LARGE = PostMessage(session_id=SessionId("session"), text="x" * 2_000_000)


def with_deaf_node(folder: Path, use: Callable[[SocketClient], Awaitable[None]]) -> None:
    """A node that says welcome and reads nothing more."""

    async def scenario() -> None:
        over = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(encode_json(WELCOME) + b"\n")
            try:
                await over.wait()
            finally:
                writer.close()

        server = await asyncio.start_unix_server(serve, folder / "socket", limit=1000)
        client = SocketClient(folder / "socket")
        try:
            async with asyncio.timeout(10):
                await client.connect(ClientInfo(name="test"))
                await use(client)
        finally:
            await client.disconnect()
            over.set()
            server.close()
            await server.wait_closed()

    asyncio.run(scenario())


def test_the_deadline_of_a_request_holds_when_the_node_does_not_read(tmp_path: Path) -> None:
    async def use(client: SocketClient) -> None:
        with pytest.raises(DeadlineExceeded):
            await client.request(LARGE, timeout=0.2)

    with_deaf_node(tmp_path, use)


def test_a_request_can_be_cancelled_when_the_node_does_not_read(tmp_path: Path) -> None:
    async def use(client: SocketClient) -> None:
        asking = asyncio.create_task(client.request(LARGE, timeout=None))
        await asyncio.sleep(0.05)
        asking.cancel()
        done, _ = await asyncio.wait({asking}, timeout=2)
        assert done and asking.cancelled()

    with_deaf_node(tmp_path, use)


def test_a_follow_that_the_node_does_not_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_core.gateway.remote.SEND_TIMEOUT", 0.2)

    async def use(client: SocketClient) -> None:
        with pytest.raises(DeadlineExceeded):
            await client.request(LARGE, timeout=0.1)
        with pytest.raises(NodeUnavailable, match="does not read"):
            await anext(client.follow())

    with_deaf_node(tmp_path, use)


class Room:
    """As much of a gateway as following needs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def welcome(self, info: ClientInfo) -> tuple[Ticket, Welcome]:
        return Ticket(WELCOME.principal_id), WELCOME

    def follow(self, *arguments: Any) -> Any:
        return self._bus.follow(*arguments[1:])


def test_followers_that_are_cancelled_leave_no_reader_behind() -> None:
    async def scenario() -> None:
        bus = Bus(MemoryStore(), 0)
        client = LocalClient(cast("Gateway", Room(bus)))
        await client.connect(ClientInfo(name="test"))

        async def follow() -> None:
            async for _ in client.follow():
                pass

        before = asyncio.all_tasks()
        followers = [asyncio.create_task(follow()) for _ in range(20)]
        async with asyncio.timeout(5):
            while len(bus._readers) < len(followers):
                await asyncio.sleep(0)
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        assert not bus._readers
        assert asyncio.all_tasks() == before

    asyncio.run(scenario())


def test_leaving_ends_a_follow_at_once() -> None:
    async def scenario() -> None:
        bus = Bus(MemoryStore(), 0)
        client = LocalClient(cast("Gateway", Room(bus)))
        await client.connect(ClientInfo(name="test"))
        waiting = asyncio.ensure_future(anext(client.follow()))
        async with asyncio.timeout(5):
            while not bus._readers:
                await asyncio.sleep(0)
            await client.disconnect()
            with pytest.raises(NodeUnavailable, match="disconnected"):
                await waiting
        assert not bus._readers

    asyncio.run(scenario())
