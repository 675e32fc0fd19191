"""Connections that need a login: their state, what calls are told, and how they go on when somebody has logged in."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from memory_vault import MemoryVault

from core.protocol.authorizing import AuthorizationServer, ProtectedServer, guarded, visit
from hosting import of, run, until
from mcp_core.protocol import Host
from mcp_core.protocol.doors import Doors
from mcp_core.protocol.oauth import OAuth
from mcp_core.protocol.oauth_rules import LoginNeeded
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.errors import ServerUnavailable
from mcp_interface.ids import PrincipalId
from mcp_interface.server import ServerStatus

ADA = PrincipalId("user_ada")
BACK = "http://127.0.0.1:4711/callback"


class Connected:
    """A host with one server that wants a login, and a person."""

    def __init__(self, host: Host, oauth: OAuth, server: ProtectedServer, news: list[ServerStatus]) -> None:
        self.host = host
        self.oauth = oauth
        self.server = server
        self.news = news

    async def log_in(self) -> None:
        page = await self.oauth.begin(ADA, "docs", self.server.spec, BACK)
        await self.oauth.finish(ADA, "docs", self.server.spec, await visit(page))
        await self.host.add("docs", self.server.spec)

    async def add(self) -> Any:
        return (await self.host.call("docs", "add", {"a": 1, "b": 2}, timeout=20.0)).structured


def with_host(
    tmp_path: Path, work: Callable[[Connected], Awaitable[None]], vault: MemoryVault | None = None
) -> None:
    async def whole() -> None:
        news: list[ServerStatus] = []
        clock, entropy = SystemClock(), SystemEntropy()
        oauth = OAuth(vault or MemoryVault(), clock)
        doors, tree = Doors(auth=partial(oauth.auth_for, ADA)), Supervisor(clock, entropy)
        host = Host(clock, entropy, tmp_path, news.append, tree, {}, doors=doors)
        async with guarded(AuthorizationServer()) as server:
            try:
                await work(Connected(host, oauth, server, news))
            finally:
                await host.close()
                await oauth.close()

    run(whole)


def test_a_server_that_wants_a_login_waits_for_it_and_then_goes_on(tmp_path: Path) -> None:
    async def work(there: Connected) -> None:
        status = await there.host.add("docs", there.server.spec)
        assert status.state == "login"
        with pytest.raises(ServerUnavailable, match="umbrella mcp login docs"):
            await there.add()
        asked = len(there.server.seen)
        await there.log_in()
        assert of(there.host, "docs").state == "ready"
        assert len(there.server.seen) > asked
        assert await there.add() == {"result": 3}

    with_host(tmp_path, work)


def test_a_login_that_was_taken_back_is_asked_for_again(tmp_path: Path) -> None:
    async def work(there: Connected) -> None:
        await there.host.add("docs", there.server.spec)
        await there.log_in()
        there.server.authority.revoke()
        with pytest.raises(ServerUnavailable, match="umbrella mcp login docs"):
            await there.add()
        await until(lambda: of(there.host, "docs").state == "login")
        await there.log_in()
        assert await there.add() == {"result": 3}

    with_host(tmp_path, work)


def test_a_tool_that_wants_more_says_so_and_leaves_the_others_alone(tmp_path: Path) -> None:
    async def work(there: Connected) -> None:
        await there.host.add("docs", there.server.spec)
        await there.log_in()
        there.server.wants["add"] = "write"
        with pytest.raises(LoginNeeded, match="write") as caught:
            await there.add()
        assert caught.value.details == {"server": "docs", "login": True, "wider": True, "scopes": ["write"]}
        assert of(there.host, "docs").state == "ready"
        assert (await there.host.call("docs", "rest", {"seconds": 0}, timeout=20.0)).text == "rested"
        await there.log_in()
        assert await there.add() == {"result": 3}

    with_host(tmp_path, work)


def test_no_status_shows_a_token(tmp_path: Path) -> None:
    vault = MemoryVault()

    async def work(there: Connected) -> None:
        await there.host.add("docs", there.server.spec)
        await there.log_in()
        await there.add()
        there.server.authority.revoke()
        with pytest.raises(ServerUnavailable) as caught:
            await there.add()
        await until(lambda: of(there.host, "docs").state == "login")
        said = repr(there.news) + repr(caught.value) + repr(caught.value.details)
        assert len(there.server.authority.given) >= 3
        assert not [secret for secret in there.server.authority.given if secret in said]

    with_host(tmp_path, work, vault)
