"""The SDK's Streamable HTTP transport, guarded. Imports the SDK; imported late.

Unguarded, one failed request takes down the SDK's whole client and cancels its owner. Here every failure of
the transport is answered with a JSON-RPC error of the one request, and the watch is told.
"""

import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR

from mcp_core.protocol.oauth_rules import LoginNeeded
from mcp_core.protocol.watch import Watch
from mcp_interface.errors import ServerUnavailable, UmbrellaError
from mcp_interface.server import ServerSpec

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)  # servers of the older era still need them

MAX_BODY: Final = 32 * 1024 * 1024
MAX_ERROR_BODY: Final = 64 * 1024
_SESSION: Final = "mcp-session-id"
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0, read=900.0)
_PATIENT: Final = httpx2.Timeout(30.0, connect=10.0, read=None).as_dict()
_FAREWELL: Final = httpx2.Timeout(2.0).as_dict()
_UNREACHED: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_METHOD: Final = "mcp-method"
_LISTEN: Final = "subscriptions/listen"


@asynccontextmanager
async def http_transport(
    spec: ServerSpec, watch: Watch, auth: httpx2.Auth | None
) -> AsyncGenerator[TransportStreams]:
    """Talk Streamable HTTP to the server's URL with its headers."""
    async with (
        WatchedClient(watch, headers=spec.headers, auth=auth) as client,
        streamable_http_client(spec.url or "", http_client=client) as streams,
    ):
        yield streams


class WatchedClient(httpx2.AsyncClient):
    """Answers for the server when it cannot: every failure becomes a JSON-RPC error of one request."""

    def __init__(self, watch: Watch, **options: Any) -> None:
        super().__init__(timeout=_TIMEOUT, **options)
        self._watch = watch

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request; what would be an exception is an answer that says so."""
        if request.method == "DELETE":  # saying goodbye must not hold up the node's own end
            request.extensions = {**request.extensions, "timeout": _FAREWELL}
        elif request.method == "POST" and request.headers.get(_METHOD) != _LISTEN:
            # a person may be asked meanwhile; how long a call may take is for its own deadline to say
            request.extensions = {**request.extensions, "timeout": _PATIENT}
        try:
            response = await super().send(request, **options)
            if response.status_code >= 400:
                return await self._refusal(request, response)
            if response.headers.get("content-type", "").lower().startswith("application/json"):
                return _whole(request, response, await _body(response, MAX_BODY))
        except UmbrellaError as error:
            return self._no_login(request, error)
        except (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError, _TooLong) as error:
            return self._failed(request, error)
        return response

    def _failed(self, request: httpx2.Request, error: Exception) -> httpx2.Response:
        if isinstance(error, _UNREACHED):
            told = f"cannot connect: {_told(error)}"
            self._watch.broke(told)
            return _reply(request, 503, CONNECTION_CLOSED, told, self._watch.not_sent)
        self._watch.changed()
        return _reply(request, 502, CONNECTION_CLOSED, _told(error), self._watch.cut)

    def _no_login(self, request: httpx2.Request, error: UmbrellaError) -> httpx2.Response:
        """Whoever shows our login to the server has none to show, or does not get one renewed."""
        told = str(error)
        of_this_request = self._watch.live and error.details.get("wider") is True
        if isinstance(error, LoginNeeded) and not of_this_request:
            self._watch.locked(told)
            return _reply(request, 401, CONNECTION_CLOSED, told, self._watch.not_sent)
        if isinstance(error, ServerUnavailable) and not of_this_request:
            self._watch.broke(told)
            return _reply(request, 503, CONNECTION_CLOSED, told, self._watch.not_sent)
        return _reply(request, 403, INTERNAL_ERROR, told, self._watch.withhold(error))

    async def _refusal(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        content = await _body(response, MAX_ERROR_BODY)
        if request.method == "POST" and _SESSION in request.headers and _forgotten(response, content):
            told = "the server no longer knows our session"
            self._watch.broke(told)
            return _reply(request, response.status_code, CONNECTION_CLOSED, told, self._watch.not_sent)
        if response.status_code == 401:
            self._watch.locked(f"HTTP 401 {response.reason_phrase}: it wants a login".replace("  ", " "))
        if b'"jsonrpc"' in content:
            return _whole(request, response, content)
        told = f"HTTP {response.status_code} {response.reason_phrase}".strip()
        reply = _reply(request, response.status_code, INTERNAL_ERROR, told, None)
        if "www-authenticate" in response.headers:
            reply.headers["www-authenticate"] = response.headers["www-authenticate"]
        return reply


class _TooLong(Exception):
    """The body of an answer passes its limit."""


def _forgotten(response: httpx2.Response, content: bytes) -> bool:
    """404 by the specification; several servers say 400 with a word about the session."""
    return response.status_code == 404 or (response.status_code == 400 and b"session" in content.lower())


async def _body(response: httpx2.Response, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async for part in response.aiter_bytes():
            size += len(part)
            if size > limit:
                raise _TooLong(f"the answer is longer than {limit} bytes")
            parts.append(part)
    finally:
        await response.aclose()
    return b"".join(parts)


def _whole(request: httpx2.Request, response: httpx2.Response, content: bytes) -> httpx2.Response:
    headers = [
        (key, value)
        for key, value in response.headers.items()
        if key.lower() not in {"content-length", "content-encoding", "transfer-encoding"}
    ]
    return httpx2.Response(response.status_code, headers=headers, content=content, request=request)


def _reply(
    request: httpx2.Request, status: int, code: int, message: str, data: str | None
) -> httpx2.Response:
    error = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
