"""A client that does not read its socket, over a real node: nobody else waits, and it is cut off."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from mcp_core import DataDir, Node, Settings, SocketClient
from mcp_interface.backlog import Bounds
from mcp_interface.client import ClientInfo, Follow, Hello
from mcp_interface.codec import encode_json
from mcp_interface.commands import ChangeSession, CreateSession, EndSession
from mcp_interface.events import SessionEnded
from mcp_interface.store import Record


def test_a_socket_that_nobody_reads_delays_nobody_and_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.listener.WRITE_TIMEOUT", 0.2)
    monkeypatch.setattr("mcp_interface.backlog.USUAL_BOUNDS", Bounds(size=4 * 1024 * 1024))
    title = "x" * 100_000

    async def scenario() -> None:
        async with Node(Settings.load(tmp_path, {})) as node:
            path = DataDir(tmp_path).socket
            reader, stuck = await asyncio.open_unix_connection(path)
            stuck.write(encode_json(Hello(client=ClientInfo(name="stuck", token=node.owner_token))) + b"\n")
            stuck.write(encode_json(Follow(id=1)) + b"\n")
            stuck.transport.pause_reading()  # type: ignore[attr-defined]  # nothing is taken off the socket
            quick, writer = SocketClient(path), SocketClient(path)
            for client in (quick, writer):
                await client.connect(ClientInfo(name="test", token=node.owner_token))
            session = await writer.request(CreateSession())

            async def watch() -> list[int]:
                seen = []
                async for notice in quick.follow(session.id):
                    if isinstance(notice, Record):
                        seen.append(notice.version)
                        if isinstance(notice.event, SessionEnded):
                            break
                return seen

            watching = asyncio.create_task(watch())
            for _ in range(60):  # six megabytes
                await writer.request(ChangeSession(session_id=session.id, title=title))
            await writer.request(EndSession(session_id=session.id))
            seen = await watching
            assert seen == list(range(1, len(seen) + 1)) and len(seen) > 60
            await asyncio.sleep(
                0.5
            )  # on the loop on which the node's own deadline, begun earlier, is shorter
            stuck.transport.resume_reading()  # type: ignore[attr-defined]
            with contextlib.suppress(ConnectionError):
                await reader.read()  # to its end: the node has closed it
            await writer.disconnect()
            await quick.disconnect()
            stuck.close()

    async def bounded() -> None:
        async with asyncio.timeout(40):
            await scenario()

    asyncio.run(bounded())
