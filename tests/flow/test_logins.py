"""A login to a server through the whole node: asked for, made, kept over a kill, in no file in the clear."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.protocol.authorizing import AuthorizationServer, ProtectedServer, guarded, visit
from mcp_core import Node, Settings
from mcp_interface.client import ClientInfo
from mcp_interface.commands import AddServer, CallTool, ListServers, RemoveServer
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, ServerUnavailable
from mcp_interface.secret import FinishLogin, ListSecrets, LoginServer
from mcp_interface.server import ServerStatus

BACK = "http://127.0.0.1:4711/callback"
CALL = CallTool(server="docs", tool="add", arguments={"a": 1, "b": 2})


def bounded(work: Callable[[], Any]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(100):
            await work()

    asyncio.run(whole())


async def log_in(client: Any) -> None:
    page = await client.request(LoginServer(name="docs", redirect_url=BACK))
    await client.request(FinishLogin(name="docs", callback_url=await visit(page)))


async def status(client: Any) -> ServerStatus:
    page = await client.request(ListServers())
    return next(each for each in page.items if each.name == "docs")


def files(place: Path) -> bytes:
    return b"".join(file.read_bytes() for file in place.rglob("*") if file.is_file())


def test_a_login_outlives_the_node_and_leaves_no_secret_in_a_file(
    tmp_path: Path, node_process: Callable[..., Any]
) -> None:
    async def work() -> None:
        async with guarded(AuthorizationServer()) as server:
            node = node_process()
            await node.start()
            client = await node.client()
            added = await client.request(AddServer(name="docs", spec=server.spec))
            assert added.state == "login" and "umbrella mcp login docs" in added.error
            with pytest.raises(ServerUnavailable, match="umbrella mcp login docs"):
                await client.request(CALL)
            await log_in(client)
            assert (await status(client)).state == "ready"
            assert (await client.request(CALL)).result.structured == {"result": 3}
            pages = len(server.authority.codes) + len(server.authority.asked)
            await node.let_go()
            node.kill()
            await node.start()
            client = await node.client()
            assert (await client.request(CALL)).result.structured == {"result": 3}
            assert len(server.authority.codes) + len(server.authority.asked) == pages, (
                "nobody was asked again"
            )
            await node.let_go()
            kept = files(tmp_path / "node")
            assert len(kept) > 1000
            assert not [secret for secret in server.authority.given if secret.encode() in kept]

    bounded(work)


def test_a_login_is_the_owner_s_and_goes_with_the_server(tmp_path: Path) -> None:
    async def work() -> None:
        async with (
            guarded(AuthorizationServer()) as server,
            Node(Settings.load(tmp_path / "node", {})) as node,
        ):
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            with pytest.raises(NotFound, match="no server 'docs'"):
                await client.request(LoginServer(name="docs", redirect_url=BACK))
            await client.request(AddServer(name="docs", spec=server.spec))
            with pytest.raises(CallerMistaken, match="listen in"):
                await client.request(LoginServer(name="docs", redirect_url="http://evil.example/"))
            with pytest.raises(NotFound, match="no login"):
                await client.request(FinishLogin(name="docs", callback_url=f"{BACK}?code=a&state=b"))
            page = await client.request(LoginServer(name="docs", redirect_url=BACK))
            mine = await visit(page)
            with pytest.raises(NotPermitted, match="another login"):
                await client.request(FinishLogin(name="docs", callback_url=mine.replace("state=", "state=x")))
            await client.request(FinishLogin(name="docs", callback_url=mine))
            assert (await client.request(CALL)).result.structured == {"result": 3}
            await client.request(RemoveServer(name="docs"))
            await check_forgotten(client, server)

    bounded(work)


async def check_forgotten(client: Any, server: ProtectedServer) -> None:
    secrets = await client.request(ListSecrets())
    assert not [each for each in secrets.items if each.name.startswith("oauth/")]
    again = await client.request(AddServer(name="docs", spec=server.spec))
    assert again.state == "login"
