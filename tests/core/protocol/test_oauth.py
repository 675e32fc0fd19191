"""Logins by OAuth against a real authorization server and a real MCP server, through real HTTP."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec
import pytest
from memory_vault import MemoryVault

from core.protocol.authorizing import AuthorizationServer, ProtectedServer, Style, guarded, visit
from hosting import run
from mcp_core.protocol.expansion import resolve
from mcp_core.protocol.oauth import OAuth
from mcp_core.protocol.oauth_rules import LoginNeeded
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    NotPermitted,
    ServerUnavailable,
    StorageUnavailable,
    UmbrellaError,
    WrongState,
)
from mcp_interface.ids import PrincipalId
from mcp_interface.server import ServerSpec
from mcp_interface.testing import ManualClock

ADA, BOB = PrincipalId("user_ada"), PrincipalId("user_bob")
BACK = "http://127.0.0.1:4711/callback"


class Desk:
    """An OAuth client over a vault, and a person at a browser."""

    def __init__(self, server: ProtectedServer) -> None:
        self.server = server
        self.spec = server.spec
        self.vault = MemoryVault()
        self.clock = ManualClock()
        self.oauth = OAuth(self.vault, self.clock)

    async def restart(self) -> None:
        await self.oauth.close()
        self.oauth = OAuth(self.vault, self.clock)

    async def log_in(self, person: PrincipalId = ADA, name: str = "docs") -> str:
        page = await self.oauth.begin(person, name, self.spec, BACK)
        await self.oauth.finish(person, name, self.spec, await visit(page))
        return page

    async def call(
        self, person: PrincipalId = ADA, tool: str = "add", name: str = "docs", **arguments: Any
    ) -> Any:
        arguments = arguments or {"a": 1, "b": 2}
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": meta},
        }
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": tool,
        }
        auth = self.oauth.auth_for(person, name, self.spec)
        async with httpx2.AsyncClient(auth=auth) as client:
            response = await client.post(self.spec.url or "", json=body, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()["result"]["structuredContent"]["result"]

    def kept(self, person: PrincipalId = ADA, name: str = "docs") -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.vault.secrets[f"oauth/{person}/{name}"])
        return found


def with_desk(work: Callable[[Desk], Any], style: Style = "oauth", life: int = 3600) -> None:
    async def whole() -> None:
        async with guarded(AuthorizationServer(style, life)) as server:
            desk = Desk(server)
            await work(desk)
            await desk.oauth.close()

    run(whole)


@pytest.mark.parametrize("style", ["oauth", "oauth-path", "openid"])
def test_a_person_logs_in_and_the_server_answers(style: Style) -> None:
    async def work(desk: Desk) -> None:
        with pytest.raises(LoginNeeded, match="umbrella mcp login docs") as caught:
            await desk.call()
        assert caught.value.details["login"] is True
        await desk.log_in()
        assert await desk.call() == 3
        assert desk.server.seen[-1].startswith("Bearer ")
        asked = desk.server.authority.asked
        assert all(request["resource"] == f"{desk.server.url}/mcp" for request in asked), (
            "meant for this server only"
        )

    with_desk(work, style)


def test_a_token_for_another_resource_is_worth_nothing() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        for token in desk.server.authority.tokens.values():
            token.resource = "https://elsewhere.example/mcp"
        desk.server.authority.refresh.clear()
        with pytest.raises(LoginNeeded):
            await desk.call()

    with_desk(work)


def test_a_token_is_renewed_before_it_ends_and_a_restart_keeps_the_login() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        first = desk.kept()["access_token"]
        await desk.restart()
        assert await desk.call() == 3
        assert desk.server.seen[-1] == f"Bearer {first}", "nothing was asked for anew"
        desk.clock.advance(3590)
        await desk.restart()
        assert await desk.call() == 3
        second = desk.kept()
        assert second["access_token"] != first
        assert desk.server.seen[-1] == f"Bearer {second['access_token']}"
        assert second["refresh_token"] in desk.server.authority.refresh

    with_desk(work)


def test_a_token_that_the_server_takes_no_more_is_renewed_without_a_person() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        desk.server.authority.tokens.clear()
        assert await desk.call() == 3

    with_desk(work)


def test_a_revoked_login_asks_for_a_person_again_and_keeps_the_registration() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        desk.server.authority.revoke()
        with pytest.raises(LoginNeeded):
            await desk.call()
        assert "refresh_token" not in desk.kept()
        await desk.log_in()
        assert await desk.call() == 3
        assert len(desk.server.authority.clients) == 1

    with_desk(work)


def test_many_calls_at_once_spend_a_refresh_token_once() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        for moment in (3590, 3600):
            desk.clock.advance(moment)
            assert await asyncio.gather(*(desk.call() for _ in range(8))) == [3] * 8
        desk.server.authority.tokens.clear()  # and once more, where each is refused by the server
        assert await asyncio.gather(*(desk.call() for _ in range(8))) == [3] * 8
        renewals = [form for form in desk.server.authority.asked if form.get("grant_type") == "refresh_token"]
        assert len(renewals) == 3
        assert desk.kept()["refresh_token"] in desk.server.authority.refresh

    with_desk(work)


def test_whoever_is_cancelled_while_a_token_is_renewed_loses_none() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        desk.clock.advance(3590)
        before = desk.kept()["refresh_token"]
        calling = asyncio.create_task(desk.call())
        while before not in desk.server.authority.spent:
            await asyncio.sleep(0)
        calling.cancel()
        await asyncio.wait({calling})
        assert await desk.call() == 3
        assert desk.kept()["refresh_token"] in desk.server.authority.refresh

    with_desk(work)


def test_a_slow_call_holds_up_no_other() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        slow = asyncio.create_task(desk.call(tool="rest", seconds=30))
        assert await desk.call() == 3
        assert not slow.done()
        slow.cancel()
        await asyncio.wait({slow})

    with_desk(work)


def test_an_authorization_server_that_is_down_costs_no_login() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        desk.server.authority.broken = 503
        desk.clock.advance(3585)
        assert await desk.call() == 3, "the token is good for a little longer"
        desk.clock.advance(60)
        with pytest.raises(ServerUnavailable, match="temporarily_unavailable") as caught:
            await desk.call()
        assert not isinstance(caught.value, LoginNeeded)
        desk.server.authority.broken = 0
        assert await desk.call() == 3

    with_desk(work)


def test_a_full_disk_loses_no_token() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        desk.clock.advance(3590)
        desk.vault.full = True
        with pytest.raises(StorageUnavailable):
            await desk.call()
        desk.vault.full = False
        assert await desk.call() == 3
        assert desk.kept()["refresh_token"] in desk.server.authority.refresh

    with_desk(work)


def test_more_is_asked_for_when_a_tool_wants_more_and_what_was_granted_stays() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        desk.server.wants["add"] = "write"
        with pytest.raises(LoginNeeded, match="write") as caught:
            await desk.call()
        assert caught.value.details["scopes"] == ["write"]
        page = await desk.log_in()
        assert "scope=read+write" in page
        assert await desk.call() == 3

    with_desk(work)


def test_more_is_asked_for_once_only() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        desk.server.wants["add"] = "write"
        desk.server.authority.cuts_scopes = True
        with pytest.raises(LoginNeeded):
            await desk.call()
        await desk.log_in()
        for _ in range(3):
            with pytest.raises(NotPermitted, match="write was granted") as caught:
                await desk.call()
            assert not isinstance(caught.value, LoginNeeded)

    with_desk(work)


def test_two_people_have_two_tokens() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in(ADA)
        with pytest.raises(LoginNeeded):
            await desk.call(BOB)
        await desk.log_in(BOB)
        assert await desk.call(ADA) == await desk.call(BOB) == 3
        assert desk.kept(ADA)["access_token"] != desk.kept(BOB)["access_token"]
        assert desk.server.seen[-2:] == [f"Bearer {desk.kept(who)['access_token']}" for who in (ADA, BOB)]

    with_desk(work)


def test_another_server_under_the_same_name_is_shown_nothing() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        async with guarded(AuthorizationServer()) as stranger:
            desk.spec = stranger.spec
            with pytest.raises(LoginNeeded):
                await desk.call()
            assert set(stranger.seen) == {""}

    with_desk(work)


def test_a_callback_of_another_login_is_refused_and_leaves_the_login_open() -> None:
    async def work(desk: Desk) -> None:
        page = await desk.oauth.begin(ADA, "docs", desk.spec, BACK)
        mine = await visit(page)
        for wrong in (f"{BACK}?code=x&state=forged", mine.replace("state=", "state=x")):
            with pytest.raises(NotPermitted, match="another login"):
                await desk.oauth.finish(ADA, "docs", desk.spec, wrong)
        with pytest.raises(NotFound, match="no login"):
            await desk.oauth.finish(BOB, "docs", desk.spec, mine)
        for nonsense in ("", "http://[", BACK, f"{BACK}?state=a&state=b&code=c"):
            with pytest.raises(CallerMistaken):
                await desk.oauth.finish(ADA, "docs", desk.spec, nonsense)
        await desk.oauth.finish(ADA, "docs", desk.spec, mine)
        assert await desk.call() == 3
        with pytest.raises(NotFound):
            await desk.oauth.finish(ADA, "docs", desk.spec, mine)

    with_desk(work)


def test_an_answer_of_another_issuer_is_refused() -> None:
    async def work(desk: Desk) -> None:
        desk.server.authority.says_iss = "https://evil.example"
        page = await desk.oauth.begin(ADA, "docs", desk.spec, BACK)
        with pytest.raises(NotPermitted, match="iss mismatch"):
            await desk.oauth.finish(ADA, "docs", desk.spec, await visit(page))
        assert not desk.vault.secrets

    with_desk(work)


def test_metadata_of_another_issuer_is_refused() -> None:
    async def work(desk: Desk) -> None:
        desk.server.authority.claims["issuer"] = "https://evil.example"
        with pytest.raises(NotPermitted, match="issuer mismatch"):
            await desk.oauth.begin(ADA, "docs", desk.spec, BACK)

    with_desk(work)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"code_challenge_methods_supported": ["plain"]}, "PKCE"),
        ({"token_endpoint": "http://evil.example/token"}, "not encrypted"),
        ({"registration_endpoint": "http://user:pass@127.0.0.1:1/"}, "no address"),
        ({"registration_endpoint": "http://127.0.0.1:1/register"}, "cannot be reached"),
        ({"token_endpoint": "nonsense"}, "does not register us"),
    ],
)
def test_a_login_at_an_address_that_is_not_safe_is_refused(claims: dict[str, Any], said: str) -> None:
    async def work(desk: Desk) -> None:
        desk.server.authority.claims |= claims
        with pytest.raises(UmbrellaError, match=said):
            await desk.log_in()
        assert not desk.vault.secrets

    with_desk(work)


def test_a_declined_login_ends_and_another_can_begin() -> None:
    async def work(desk: Desk) -> None:
        desk.server.authority.declines = "access_denied"
        with pytest.raises(NotPermitted, match="access_denied"):
            await desk.log_in()
        desk.server.authority.declines = ""
        await desk.log_in()
        assert await desk.call() == 3

    with_desk(work)


def test_a_login_that_is_begun_again_replaces_the_first() -> None:
    async def work(desk: Desk) -> None:
        first = await desk.oauth.begin(ADA, "docs", desk.spec, BACK)
        second = await desk.oauth.begin(ADA, "docs", desk.spec, BACK)
        with pytest.raises(NotPermitted):
            await desk.oauth.finish(ADA, "docs", desk.spec, await visit(first))
        await desk.oauth.finish(ADA, "docs", desk.spec, await visit(second))
        assert await desk.call() == 3

    with_desk(work)


def test_an_abandoned_login_leaves_the_old_one_as_it_is() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in()
        before = desk.kept()
        await desk.oauth.begin(ADA, "docs", desk.spec, "http://127.0.0.1:5000/other")
        assert await desk.call() == 3
        assert desk.kept() == before

    with_desk(work)


@pytest.mark.parametrize(
    "url",
    ["http://evil.example/cb", "javascript:alert(1)", "", "https://", "http://127.0.0.1:x/", f"{BACK}#f"],
)
def test_a_login_leads_back_to_a_safe_place_only(url: str) -> None:
    async def work(desk: Desk) -> None:
        with pytest.raises(CallerMistaken):
            await desk.oauth.begin(ADA, "docs", desk.spec, url)

    with_desk(work)


def test_a_robot_needs_no_person() -> None:
    async def work(desk: Desk) -> None:
        desk.vault.secrets["robot"] = "hush"
        desk.spec = desk.server.with_auth(
            grant="client_credentials", client_id="robot", client_secret="${secret:robot}", scopes=["read"]
        )
        assert await desk.call() == 3
        desk.clock.advance(4000)
        await desk.restart()
        assert await desk.call() == 3
        desk.server.wants["add"] = "write"
        assert await desk.call() == 3, "more is asked for without a person, too"
        desk.server.wants["add"] = "never"
        desk.server.authority.cuts_scopes = True
        with pytest.raises(NotPermitted):
            await desk.call()
        with pytest.raises(WrongState):
            await desk.oauth.begin(ADA, "docs", desk.spec, BACK)

    with_desk(work)


def test_a_robot_with_the_wrong_secret_is_told_so() -> None:
    async def work(desk: Desk) -> None:
        desk.vault.secrets["robot"] = "wrong secret"
        desk.spec = desk.server.with_auth(
            grant="client_credentials", client_id="robot", client_secret="${secret:robot}"
        )
        with pytest.raises(ServerUnavailable, match="invalid_client") as caught:
            await desk.call()
        assert "wrong secret" not in str(caught.value)

    with_desk(work)


def test_a_client_is_shown_to_its_own_authorization_server_only() -> None:
    async def work(desk: Desk) -> None:
        desk.vault.secrets["robot"] = "hush"
        wish: dict[str, Any] = {
            "grant": "client_credentials",
            "client_id": "robot",
            "client_secret": "${secret:robot}",
        }
        desk.spec = desk.server.with_auth(issuer="https://login.example", **wish)
        with pytest.raises(NotPermitted, match="our client belongs there"):
            await desk.call()
        assert not desk.server.authority.asked, "the secret went nowhere"
        desk.spec = desk.server.with_auth(issuer=desk.server.authority.issuer, **wish)
        assert await desk.call() == 3

    with_desk(work)


def test_a_person_uses_a_client_that_was_registered_before() -> None:
    async def work(desk: Desk) -> None:
        desk.server.authority.clients["mine"] = {"redirect_uris": [BACK]}
        desk.spec = desk.server.with_auth(client_id="mine", scopes=["read", "extra"])
        assert "scope=extra+read" in await desk.log_in()
        assert await desk.call() == 3
        assert list(desk.server.authority.clients) == ["mine"]

    with_desk(work)


def test_a_document_about_the_client_stands_for_a_registration() -> None:
    async def work(desk: Desk) -> None:
        document = "https://umbrella.example/client.json"
        desk.server.authority.claims["client_id_metadata_document_supported"] = True
        desk.server.authority.clients[document] = {"redirect_uris": [BACK]}
        desk.spec = desk.server.with_auth(client_metadata_url=document)
        await desk.log_in()
        assert await desk.call() == 3
        assert desk.kept()["client"]["client_id"] == document

    with_desk(work)


def test_a_person_s_login_cannot_be_named_as_a_secret() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in(BOB)
        stolen = ServerSpec(url=desk.spec.url, headers={"x-token": "${secret:oauth/user_bob/docs}"})
        with pytest.raises(ServerUnavailable, match="no secret"):
            await resolve(stolen, {}, desk.vault)
        desk.spec = desk.server.with_auth(
            grant="client_credentials", client_id="robot", client_secret="${secret:oauth/user_bob/docs}"
        )
        with pytest.raises(CallerMistaken, match="reference"):
            await desk.call()

    with_desk(work)


def test_forgetting_a_server_forgets_everybody_s_login() -> None:
    async def work(desk: Desk) -> None:
        await desk.log_in(ADA)
        await desk.log_in(BOB)
        await desk.log_in(ADA, name="more-docs")
        await desk.restart()
        await desk.oauth.forget("docs")
        assert desk.vault.names() == ["oauth/user_ada/more-docs"]
        with pytest.raises(LoginNeeded):
            await desk.call(ADA)

    with_desk(work)


def test_a_record_that_cannot_be_read_is_mended_by_a_login() -> None:
    async def work(desk: Desk) -> None:
        desk.vault.secrets["oauth/user_ada/docs"] = '{"url": 7, "access_token": "tell-nobody"}'
        with pytest.raises(UmbrellaError, match="umbrella mcp login docs") as caught:
            await desk.call()
        assert "tell-nobody" not in str(caught.value)
        await desk.log_in()
        assert await desk.call() == 3

    with_desk(work)


def test_no_secret_shows_in_logs_or_errors(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def work(desk: Desk) -> None:
        authority = desk.server.authority

        async def suffer(deed: Any) -> None:
            with pytest.raises(UmbrellaError) as caught:
                await deed
            said.append(str(caught.value) + repr(caught.value.details) + repr(caught.value.__cause__))

        await suffer(desk.call())
        await desk.log_in()
        desk.clock.advance(3599)
        await desk.call()
        authority.broken = 500
        desk.clock.advance(3601)
        await suffer(desk.call())
        authority.broken = 0
        authority.revoke()
        await suffer(desk.call())
        authority.says_iss = "https://evil.example"
        await suffer(desk.log_in())
        said.append(repr(desk.oauth.auth_for(ADA, "docs", desk.spec)))
        secrets = [
            *authority.given,
            *(form["code_verifier"] for form in authority.asked if "code_verifier" in form),
        ]
        assert len(secrets) > 5
        for secret in secrets:
            assert not any(secret in text for text in [*said, caplog.text])

    with_desk(work)


def test_a_server_without_a_url_or_with_a_header_of_its_own_is_left_alone() -> None:
    async def work(desk: Desk) -> None:
        own = ServerSpec(url=desk.spec.url, headers={"authorization": "Bearer mine"})
        assert desk.oauth.auth_for(ADA, "docs", own) is None
        assert desk.oauth.auth_for(ADA, "docs", ServerSpec(command="x")) is None
        with pytest.raises(CallerMistaken, match="not one to log in to"):
            await desk.oauth.begin(ADA, "docs", own, BACK)

    with_desk(work)
