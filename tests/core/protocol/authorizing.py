"""An authorization server and an MCP server that wants its tokens, both real, over HTTP, in the test's process."""

import asyncio
import base64
import hashlib
import http.client
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from mcp_interface.server import Authorization, ServerSpec

Style = Literal["oauth", "oauth-path", "openid"]


class AuthorizationServer:
    """Says yes to everybody who opens its page; keeps books of what it gave and was asked.

    Args:
        style: Where it describes itself.
        life: Seconds of an access token.
    """

    def __init__(self, style: Style = "oauth", life: int = 3600) -> None:
        self.style = style
        self.life = life
        self.url = ""
        self.clients: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.refresh: dict[str, dict[str, str]] = {}
        self.spent: set[str] = set()
        self.given: list[str] = []
        """Every secret that ever left it."""
        self.asked: list[dict[str, str]] = []
        """Every token request and page, as it came."""
        self.claims: dict[str, Any] = {}
        """What its metadata says beside, or instead."""
        self.says_iss: str | None = None
        self.declines = ""
        self.broken = 0
        """Answer token requests with this status."""
        self.cuts_scopes = False

    @property
    def issuer(self) -> str:
        return self.url + ("/tenant" if self.style == "oauth-path" else "")

    def app(self) -> Starlette:
        described = {
            "oauth": "/.well-known/oauth-authorization-server",
            "oauth-path": "/.well-known/oauth-authorization-server/tenant",
            "openid": "/.well-known/openid-configuration",
        }[self.style]
        return Starlette(
            routes=[
                Route(described, self._describe),
                Route("/register", self._register, methods=["POST"]),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    def revoke(self) -> None:
        """Take everything back."""
        self.tokens.clear()
        self.refresh.clear()

    async def _describe(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "registration_endpoint": f"{self.url}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                "token_endpoint_auth_methods_supported": [
                    "none",
                    "client_secret_basic",
                    "client_secret_post",
                ],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
                **self.claims,
            }
        )

    async def _register(self, request: Request) -> Response:
        wish = await request.json()
        client = {**wish, "client_id": f"client-{len(self.clients)}", "token_endpoint_auth_method": "none"}
        self.clients[client["client_id"]] = client
        return JSONResponse(client, 201)

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        client = self.clients[asked["client_id"]]
        assert asked["redirect_uri"] in client["redirect_uris"]
        assert asked["code_challenge_method"] == "S256"
        back = {"state": asked["state"], "iss": self.says_iss or self.issuer}
        if self.declines:
            return RedirectResponse(
                f"{asked['redirect_uri']}?{urlencode({**back, 'error': self.declines})}", 302
            )
        code = self._secret()
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**back, 'code': code})}", 302)

    async def _token(self, request: Request) -> Response:
        form = {key: str(value) for key, value in (await request.form()).items()}
        self.asked.append(form)
        if self.broken:
            return JSONResponse({"error": "temporarily_unavailable"}, self.broken)
        if form["grant_type"] == "client_credentials":
            shown = request.headers.get("authorization", "")
            if shown != "Basic " + base64.b64encode(b"robot:hush").decode():
                return JSONResponse({"error": "invalid_client", "error_description": "who are you"}, 401)
            return self._give("robot", form.get("scope", "read"), form["resource"], refresh=False)
        if form["grant_type"] == "refresh_token":
            return self._renew(form)
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or asked["code_challenge"] != proof or asked["redirect_uri"] != form["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return self._give(form["client_id"], asked.get("scope", ""), form["resource"])

    def _renew(self, form: dict[str, str]) -> Response:
        token = form["refresh_token"]
        if token in self.spent:  # as RFC 9700 says: a token that comes twice was stolen
            self.revoke()
        kept = self.refresh.pop(token, None)
        self.spent.add(token)
        if kept is None:
            return JSONResponse({"error": "invalid_grant", "error_description": f"unknown {token}"[:7]}, 400)
        return self._give(kept["client"], kept["scope"], kept["resource"])

    def _give(self, client: str, scope: str, resource: str, *, refresh: bool = True) -> Response:
        if self.cuts_scopes:
            scope = "read"
        token, again = self._secret(), self._secret()
        self.tokens[token] = AccessToken(
            token=token, client_id=client, scopes=scope.split(), resource=resource, subject=client
        )
        answer = {"access_token": token, "token_type": "bearer", "expires_in": self.life, "scope": scope}
        if refresh:
            self.refresh[again] = {"client": client, "scope": scope, "resource": resource}
            answer["refresh_token"] = again
        return JSONResponse(answer)

    def _secret(self) -> str:
        self.given.append(secrets.token_urlsafe(24))
        return self.given[-1]

    async def verify_token(self, token: str) -> AccessToken | None:
        return self.tokens.get(token)


class ProtectedServer:
    """An MCP server that takes the tokens of one authorization server, meant for itself."""

    def __init__(self, authority: AuthorizationServer) -> None:
        self.authority = authority
        self.url = ""
        self.required = ["read"]
        self.wants: dict[str, str] = {}
        """Scope by the name of the tool that it takes beside."""
        self.seen: list[str] = []
        """The `Authorization` of each request."""

    @property
    def spec(self) -> ServerSpec:
        return ServerSpec(url=f"{self.url}/mcp")

    def with_auth(self, **auth: Any) -> ServerSpec:
        return ServerSpec(url=f"{self.url}/mcp", auth=Authorization(**auth))

    def app(self) -> Any:
        server = MCPServer(
            "guarded",
            token_verifier=self.authority,
            auth=AuthSettings(
                issuer_url=self.authority.issuer,  # type: ignore[arg-type]
                resource_server_url=f"{self.url}/mcp",  # type: ignore[arg-type]
                required_scopes=self.required,
                validate_token_resource=True,
            ),
        )

        @server.tool()
        def add(a: int, b: int) -> int:
            """Add."""
            return a + b

        @server.tool()
        async def rest(seconds: float) -> str:
            """Take a while."""
            await asyncio.sleep(seconds)
            return "rested"

        inner = server.streamable_http_app(json_response=True)

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["path"] != "/mcp":
                await inner(scope, receive, send)
                return
            shown = dict(scope["headers"]).get(b"authorization", b"").decode()
            self.seen.append(shown)
            body = await Request(scope, receive).body()
            token = self.authority.tokens.get(shown.removeprefix("Bearer "))
            for tool, scope_wanted in self.wants.items():
                if (
                    token is not None
                    and f'"name":"{tool}"'.encode() in body
                    and scope_wanted not in token.scopes
                ):
                    header = f'Bearer error="insufficient_scope", scope="{scope_wanted}"'
                    await Response(status_code=403, headers={"www-authenticate": header})(
                        scope, receive, send
                    )
                    return
            whole = {"type": "http.request", "body": body, "more_body": False}
            given = False

            async def replay() -> Any:
                nonlocal given
                if given:
                    return await receive()
                given = True
                return whole

            await inner(scope, replay, send)

        return guarded


@asynccontextmanager
async def served(make: Callable[[str], Any]) -> AsyncIterator[str]:
    """Serve an app, made when its URL is known, on a free port of the loopback; gives the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(
                make(url), log_level="critical", lifespan="on", ws="none", timeout_graceful_shutdown=1
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield url
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def guarded(authority: AuthorizationServer) -> AsyncIterator[ProtectedServer]:
    """Both servers, running."""
    protected = ProtectedServer(authority)

    def of_authority(url: str) -> Starlette:
        authority.url = url
        return authority.app()

    def of_protected(url: str) -> Any:
        protected.url = url
        return protected.app()

    async with served(of_authority), served(of_protected):
        yield protected


@contextmanager
def running() -> Iterator[ProtectedServer]:
    """Both servers on an event loop of their own, for tests that have none."""
    ready: list[ProtectedServer] = []
    started, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with guarded(AuthorizationServer()) as server:
            ready.append(server)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


async def visit(page: str) -> str:
    """Open the page as a person does, as far as where it leads back to; no library of ours sees it."""

    def browse() -> str:
        parts = urlsplit(page)
        browser = http.client.HTTPConnection(parts.netloc, timeout=20)
        try:
            browser.request("GET", f"{parts.path}?{parts.query}")
            response = browser.getresponse()
            assert response.status == 302, response.read()
            return response.headers["location"]
        finally:
            browser.close()

    return await asyncio.to_thread(browse)
