"""One run of the SDK's OAuth flow, step by step, with our own hands on every request. Imports the SDK; imported late.

The SDK knows the protocol: discovery, registration, PKCE, `iss`, resource indicators. It speaks through whoever
sends its requests, which is us: we look at every address first, bound every answer, and keep what an authorization
server says in its errors out of logs. Knows nothing of vaults or people.
"""

from typing import Any, Final

import httpx2
import msgspec
from mcp.client.auth import OAuthFlowError, OAuthRegistrationError, OAuthTokenError
from mcp.client.auth.utils import issuers_match
from mcp.shared.auth import (
    OAuthMetadata,
    ProtectedResourceMetadata,
)

from mcp_core.protocol.oauth_client import Callback, Draft, Redirect, provider
from mcp_core.protocol.oauth_record import Held
from mcp_core.protocol.oauth_rules import Challenge, challenge, require_endpoint
from mcp_interface.errors import NotPermitted, ServerUnavailable
from mcp_interface.server import Authorization, ServerSpec

MAX_ANSWER: Final = 1024 * 1024
"""Bytes of whatever an authorization server answers."""
VERSION: Final = "2025-11-25"
"""Under which a login is begun when no request of ours was refused before."""
_TIMEOUT: Final = httpx2.Timeout(20.0, connect=10.0)
_PAST: Final = 1.0
_POST: Final = "client_secret_post"


class TokensRefused(NotPermitted):
    """The authorization server takes what we hold no more."""


class _Token(msgspec.Struct):
    """The shape that a token answer must have; said here so that no value shows in an error."""

    access_token: str
    token_type: str
    expires_in: float | str | None = None
    scope: str | None = None
    refresh_token: str | None = None


class _Server(msgspec.Struct):
    """What decides how we show who we are."""

    issuer: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str] | None = None
    code_challenge_methods_supported: list[str] | None = None


async def ask(name: str, spec: ServerSpec) -> Challenge:
    """Hear from a server how it wants to be logged in to, by a request that it should refuse.

    One that lets us in may still have a login; then it is looked for at its usual places.

    Raises:
        ServerUnavailable: It does not answer.
    """
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "umbrella", "version": "0"},
        },
    }
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        **spec.headers,
    }
    try:
        async with (
            httpx2.AsyncClient(timeout=_TIMEOUT) as client,
            client.stream("POST", spec.url or "", json=hello, headers=headers) as response,
        ):
            header = response.headers.get("www-authenticate", "")
            return challenge(response.status_code, header, VERSION) or Challenge(401, version=VERSION)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise ServerUnavailable(
            f"server {name!r} cannot be reached: {str(error) or type(error).__name__}",
            "mend the server or its entry",
            {"server": name},
        ) from None


class Run:
    """One run of the flow for one server.

    Args:
        name: The server's name here, for errors.
        spec: How to log in; its references resolved.
        held: What is kept so far.
        redirect: Told the page that a person has to open; None where nobody is asked.
        callback: Waits for what comes back from it.
        return_to: Where the page leads back to.
    """

    def __init__(
        self,
        name: str,
        spec: Authorization,
        held: Held,
        *,
        redirect: Redirect | None = None,
        callback: Callback | None = None,
        return_to: str = "",
    ) -> None:
        self._name = name
        self._spec = spec
        self._draft = Draft(held)
        self._url = held.url
        self._provider = provider(spec, self._draft, held.url, redirect, callback, return_to)
        context = self._provider.context
        if held.server is not None:
            context.oauth_metadata = OAuthMetadata.model_validate(held.server)
        if held.resource is not None:
            context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(held.resource)
            context.auth_server_url = str(context.protected_resource_metadata.authorization_servers[0])
        self.expires_in: float | None = None
        """Seconds that the new access token lives; None: it was not said."""

    async def renew(self) -> Held:
        """Exchange the refresh token.

        Raises:
            TokensRefused: It is worth nothing any more.
            ServerUnavailable: The authorization server does not answer; the token may still be good.
        """
        self._provider.context.token_expiry_time = _PAST
        return await self._through(None, self._draft.held.version)

    async def obtain(self, said: Challenge) -> Held:
        """Go through the whole flow, as an answer of the server demands.

        Raises:
            NotPermitted: Something about the servers' answers is not as it must be.
            ServerUnavailable: The authorization server refused or does not answer.
        """
        if self._draft.tokens is not None and not said.widens:
            self._draft.tokens = None  # it did not let us in
        return await self._through(said, said.version or VERSION)

    async def _through(self, said: Challenge | None, version: str) -> Held:
        request = httpx2.Request("POST", self._url, headers={"mcp-protocol-version": version or VERSION})
        flow = self._provider.async_auth_flow(request)
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT) as client:
                outgoing = await anext(flow)
                while not self._draft.fresh:
                    if outgoing is not request:
                        reply = await self._send(client, outgoing)
                    elif said is not None:
                        reply = _as_answered(said, self._scopes(said), request)
                    else:
                        raise TokensRefused(f"server {self._name!r} gave no refresh token", "log in again")
                    outgoing = await flow.asend(reply)
        except (OAuthFlowError, OAuthRegistrationError, OAuthTokenError) as error:
            raise NotPermitted(
                f"the login to server {self._name!r} was broken off: {str(error)[:500]}",
                "ask the server's authors",
            ) from None
        except httpx2.TransportError as error:
            raise ServerUnavailable(
                f"the authorization server of {self._name!r} cannot be reached: {str(error) or type(error).__name__}",
                "try again later",
                {"server": self._name},
            ) from None
        except (
            ValueError,
            httpx2.InvalidURL,
            StopAsyncIteration,
        ):  # pydantic's among them; its text holds values
            raise ServerUnavailable(
                f"what the servers of {self._name!r} say about logging in cannot be used",
                "ask the server's authors",
            ) from None
        finally:
            await flow.aclose()
        return self._held(version)

    def _scopes(self, said: Challenge) -> frozenset[str] | None:
        configured = frozenset(self._spec.scopes)
        if not configured:
            return said.scopes
        return configured | (said.scopes or frozenset()) if said.widens else configured

    async def _send(self, client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        require_endpoint(str(request.url), self._url)
        response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        content = b""
        try:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > MAX_ANSWER:
                    raise ServerUnavailable(
                        f"the authorization server of {self._name!r} says more than anybody reads"
                    )
        finally:
            await response.aclose()
        if request.method == "POST":
            self._judge(request, response.status_code, content)
        elif response.status_code == 200:
            self._adapt(content)
        kept = [(k, v) for k, v in response.headers.items() if k.lower() not in _RECODED]
        bounded = httpx2.Response(response.status_code, headers=kept, content=content, request=request)
        bounded.next_request = response.next_request
        return bounded

    def _judge(self, request: httpx2.Request, status: int, content: bytes) -> None:
        """Refuse what the SDK would repeat word by word in its own errors."""
        registering = "json" in request.headers.get("content-type", "")
        if status in (200, 201):
            if not registering:
                self._note_life(content)
            return
        if 300 <= status < 400:
            return
        what = "does not register us" if registering else "gives no token"
        told = f"the authorization server of {self._name!r} {what}: {_error_of(status, content)}"
        if registering:
            raise ServerUnavailable(
                told, "register a client there and give its client_id", {"server": self._name}
            )
        if status in (400, 401, 403):
            raise TokensRefused(
                told, f"log in again: umbrella mcp login {self._name}", {"server": self._name}
            )
        raise ServerUnavailable(told, "try again later", {"server": self._name})

    def _note_life(self, content: bytes) -> None:
        try:
            token = msgspec.json.decode(content, type=_Token)
            self.expires_in = None if token.expires_in is None else float(token.expires_in)
        except (ValueError, RecursionError):
            raise ServerUnavailable(
                f"what the authorization server of {self._name!r} gives is no token",
                "ask the server's authors",
            ) from None

    def _adapt(self, content: bytes) -> None:
        """Read an authorization server's metadata before the SDK does, and act on what the SDK leaves to us."""
        try:
            server = msgspec.json.decode(content, type=_Server)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return  # another document; what it should have been, the SDK knows
        wanted = self._spec.issuer or (self._draft.held.issuer if self._spec.client_id else "")
        if wanted and not issuers_match(server.issuer, wanted):
            raise NotPermitted(
                f"server {self._name!r} now logs in at {server.issuer[:200]!r}, not at {wanted!r}; our client belongs there",
                "if that is right, say so in the server's auth.issuer",
            )
        methods = server.code_challenge_methods_supported
        if self._spec.grant == "authorization_code" and "S256" not in (methods or ()):
            raise NotPermitted(
                f"the authorization server of {self._name!r} does not protect logins by PKCE",
                "ask its authors for S256",
            )
        client = self._provider.context.client_info
        if client is not None and client.client_secret and self._spec.client_id:
            offered = server.token_endpoint_auth_methods_supported or ["client_secret_basic"]
            if "client_secret_basic" not in offered and _POST in offered:
                client.token_endpoint_auth_method = _POST

    def _held(self, version: str) -> Held:
        context = self._provider.context
        tokens = self._draft.tokens
        if tokens is None:
            raise ServerUnavailable(f"the authorization server of {self._name!r} gave nothing")
        return Held(
            url=self._url,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token or "",
            scope=tokens.scope or "",
            asked=context.client_metadata.scope or self._draft.held.asked,
            client=_plain(self._draft.client),
            server=_plain(context.oauth_metadata),
            resource=_plain(context.protected_resource_metadata),
            version=version,
        )


_RECODED: Final = frozenset({"content-length", "content-encoding", "transfer-encoding"})


def _plain(model: Any) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json", exclude_none=True)


def _error_of(status: int, content: bytes) -> str:
    """OAuth's own words for an error; nothing else of the body."""

    class Said(msgspec.Struct):
        error: str = ""
        error_description: str = ""

    try:
        said = msgspec.json.decode(content, type=Said)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        said = Said()
    words = f"{said.error} {said.error_description}".strip()
    return "".join(c if c.isprintable() else " " for c in words[:300]) or f"HTTP {status}"


def _as_answered(said: Challenge, scopes: frozenset[str] | None, request: httpx2.Request) -> httpx2.Response:
    fields = {
        "error": "insufficient_scope" if said.widens else "",
        "resource_metadata": said.metadata_url,
        "scope": " ".join(sorted(scopes or ())),
    }
    header = "Bearer " + ", ".join(f'{key}="{value}"' for key, value in fields.items() if value)
    return httpx2.Response(said.status, headers={"www-authenticate": header}, request=request)
