"""Servers that want somebody to log in first. How logins are made is not of this room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hosting import of, run, until
from mcp_core.protocol.doors import Doors
from mcp_core.protocol.oauth_rules import login_needed
from mcp_interface.errors import ServerUnavailable
from mcp_interface.server import ServerSpec


@asynccontextmanager
async def refusing(seen: list[str]) -> AsyncIterator[str]:
    """A server that lets nobody in, and notes what it was shown."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        seen.extend(line for line in head.splitlines() if line.startswith("authorization:"))
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n")
        writer.write(b"connection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


@pytest.mark.parametrize("kind", ["http", "sse"])
def test_a_server_that_lets_nobody_in_waits_for_a_login_and_says_what_helps(open_host, kind, news) -> None:
    async def work() -> None:
        async with refusing([]) as url, open_host(shut=ServerSpec(type=kind, url=url)) as host:
            await until(lambda: of(host, "shut").state == "login")
            assert "401" in of(host, "shut").error
            with pytest.raises(ServerUnavailable, match="wants a login") as caught:
                await host.call("shut", "any", {})
            assert caught.value.remedy == "log in: umbrella mcp login shut"

    run(work)
    assert "waiting" not in {status.state for status in news}


def test_the_host_shows_what_it_is_given_and_tries_again_once_a_login_is_made(open_host) -> None:
    import httpx2

    class Key(httpx2.Auth):
        key = ""

        def auth_flow(self, request):
            if not self.key:
                raise login_needed("shut")
            request.headers["authorization"] = f"Bearer {self.key}"
            yield request

    key, asked, seen = Key(), [], []

    def auth(name: str, spec: ServerSpec) -> httpx2.Auth:
        asked.append((name, spec.headers))
        return key

    async def work() -> None:
        async with refusing(seen) as url:
            spec = ServerSpec(url=url, headers={"x-a": "${A}"})
            async with open_host({"A": "b"}, doors=Doors(auth=auth), shut=spec) as host:
                await until(lambda: of(host, "shut").state == "login")
                assert seen == []  # nobody has asked the server yet
                key.key = "k"
                host.retry("shut")
                await until(lambda: bool(seen))

    run(work)
    assert asked[0] == ("shut", {"x-a": "b"})
    assert seen[0] == "authorization: bearer k"
