"""Our MCP server over Streamable HTTP, as an ASGI application for one virtual server.

Whoever mounts it has checked Host, Origin and who comes, and hands over the portal of that principal. A session of the
handshake era belongs to the name under which it was opened; for anybody else it does not exist.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, AuthorizationContext
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from mcp_core.protocol.server.portal import Portal
from mcp_core.protocol.server.seal import Seal
from mcp_core.protocol.server.server import IN_HAND, Context, make_server
from mcp_interface.errors import NodeUnavailable, TooMuch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PORTAL: Final = "umbrella.portal"
MAX_BODY: Final = 4 * 1024 * 1024
MAX_SESSIONS: Final = 1_000
MAX_SESSIONS_EACH: Final = 32
"""Of one owner, so that nobody takes them all."""
IDLE_S: Final = 1_800.0
STOP_S: Final = 5.0


class _Sessions(StreamableHTTPSessionManager):
    """The SDK's sessions, bounded for each owner too."""

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        # the one place where the SDK opens a session, under its lock: counted anywhere else, two could come at once
        mine = sum(owner == requestor for owner in self._session_owners.values())
        if mine >= MAX_SESSIONS_EACH:
            raise TooMuch(
                f"{mine} MCP sessions of yours are open, the most there can be",
                "end some with DELETE, or let them rest for half an hour",
            )
        return super()._admit_session(requestor)


class HttpEndpoint:
    """One virtual server over HTTP; runs from `open` to `close`.

    Args:
        seal: For what clients of the stateless era carry.
        instructions: What clients are told about it.
    """

    def __init__(self, seal: Seal, instructions: str = "") -> None:
        self._server = make_server(_portal_of, seal, instructions)
        self._manager = _Sessions(
            self._server,
            # Host and Origin were judged in front of this, by the same rules as for everything else
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=MAX_BODY,
            session_idle_timeout=IDLE_S,
            max_sessions=MAX_SESSIONS,
        )
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to serve.

        Raises:
            NodeUnavailable: It could not begin.
        """
        ready = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(ready), name="mcp: http endpoint")
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not ready.is_set():
            raise NodeUnavailable("the MCP endpoint did not begin", "look into the log")

    def tell(self, instructions: str) -> None:
        """Say from now on what clients are told about it."""
        self._server.instructions = instructions or None

    async def handle(self, scope: Scope, receive: Receive, send: Send, portal: Portal, owner: str) -> None:
        """Answer one request.

        Args:
            scope: Of the request.
            receive: Of the request.
            send: Of the request.
            portal: Of whoever sends it.
            owner: Tells who that is; a session goes on for the same one only.

        Raises:
            TooMuch: This owner has too many sessions.
            NodeUnavailable: It was closed meanwhile.
            UmbrellaError: What the node said.
        """
        token = AccessToken(token="", client_id=owner, scopes=[])
        # RFC 9110, 5.5: white space around a value is no part of it; the HTTP parser leaves some of it in
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        inner = {**scope, "headers": headers, PORTAL: portal, "user": AuthenticatedUser(token)}
        mark = IN_HAND.set(portal)
        try:
            if scope["method"] == "POST":
                await portal.catalogue.warm()
            if self._stop.is_set():
                raise NodeUnavailable("this MCP endpoint is being closed", "ask again")
            await self._manager.handle_request(inner, receive, send)
        finally:
            IN_HAND.reset(mark)

    async def close(self) -> None:
        """End every session and stream; bounded, and harmless when repeated."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, ready: asyncio.Event) -> None:
        # the manager's cancel scope belongs to the task that enters it, which a request's would not outlive
        async with self._manager.run():
            ready.set()
            await self._stop.wait()


def _portal_of(ctx: Context) -> Portal:
    request = ctx.request
    if request is None:
        raise NodeUnavailable("a request came without its door", "report it")
    portal: Portal = request.scope[PORTAL]
    return portal
