"""The web application: the wall, the routes and their errors, put together around one door.

Nothing is opened until the application starts, and everything that it opened is closed when it stops.
Production runs it under uvicorn (`serve`); tests drive it in process or over a real socket.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Litestar, Response, Router
from litestar.datastructures import MutableScopeHeaders, State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from mcp_core import Door, McpSettings, OAuthSettings, open_seal
from mcp_interface.capability import Sealed
from mcp_interface.clock import Clock, Entropy, SystemClock, SystemEntropy
from mcp_interface.codec import encode_json
from mcp_interface.errors import CallerMistaken, ErrorBody, OurBug, UmbrellaError
from mcp_web import mcp as mcp_routes
from mcp_web.auth import AnyRequest, provide_caller, require_login
from mcp_web.boundary import COOKIE, HEADERS, REQUEST_ID, Boundary
from mcp_web.clients import Clients
from mcp_web.entrance import Entrance
from mcp_web.mcp import McpMount
from mcp_web.problem import MEDIA_TYPE, Problem, code_of, problem_of
from mcp_web.routes import (
    agents,
    approvals,
    audit,
    capabilities,
    dashboard,
    executions,
    keys,
    login,
    node,
    oauth,
    prompts,
    questions,
    resources,
    servers,
    sessions,
)
from mcp_web.routes import metrics as metrics_routes
from mcp_web.routes import runtime as runtime_routes
from mcp_web.routes import storage as storage_routes
from mcp_web.routes import tools as tool_routes
from mcp_web.stream import stream

log = logging.getLogger(__name__)

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of the largest request body."""
DASHBOARD: Final = Path(__file__).parent / "dashboard"


PRIVATE: Final[list[Any]] = [
    *sessions.ROUTES,
    *agents.ROUTES,
    *servers.ROUTES,
    *tool_routes.ROUTES,
    *executions.ROUTES,
    *capabilities.ROUTES,
    *approvals.ROUTES,
    *questions.ROUTES,
    *keys.ROUTES,
    *audit.ROUTES,
    *storage_routes.ROUTES,
    *resources.ROUTES,
    *prompts.ROUTES,
    *runtime_routes.ROUTES,
    *node.PRIVATE,
    *login.PRIVATE,
    *oauth.PRIVATE,
]
"""Routes that need a login."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the MCP endpoint needs to know."""

    folder: Path
    """The data directory; the key of sealed states rests in it."""
    mcp: McpSettings
    oauth: OAuthSettings | None
    loopback: bool
    """Whether the server can be reached from this machine only."""


class WebApp(Litestar):
    """Litestar with the wall in front of its router, so that no response leaves without its headers."""

    boundary: Boundary

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Judge the request, then hand it to the routes."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        request_id = self.boundary.request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id

        async def dressed(message: Any) -> None:
            if message["type"] == "http.response.start":
                _dress(message, request_id, scope["path"])
            await send(message)

        error = self.boundary.refusal(scope)
        if error is None:
            await super().__call__(scope, receive, dressed)
        elif str(scope["type"]) == "websocket":
            close: Any = {"type": "websocket.close", "code": 1008, "reason": error.message[:100]}
            await send(close)
        else:
            problem = problem_of(error, request_id)
            head = [(b"content-type", MEDIA_TYPE.encode())]
            await dressed({"type": "http.response.start", "status": problem.status, "headers": head})
            await dressed({"type": "http.response.body", "body": encode_json(problem)})


def _dress(message: Any, request_id: str, path: str) -> None:
    headers = MutableScopeHeaders.from_message(message)
    headers[REQUEST_ID] = request_id
    for name, value in HEADERS.items():
        headers[name] = value
    if "cache-control" not in headers:
        headers["cache-control"] = "no-store" if path.startswith(("/api", "/mcp")) else "no-cache"


def make_app(
    door: Door,
    *,
    hosts: frozenset[str] = frozenset(),
    any_address: bool = False,
    assets: Path = DASHBOARD,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    entry: Entry | None = None,
) -> Litestar:
    """Make the application over a door that stays the caller's to close.

    Args:
        door: The way to the node.
        hosts: Host names to answer to, besides the loopback's.
        any_address: Answer to any literal IP address as well.
        assets: Folder of the built dashboard; a missing one gives a page that says how to build it.
        clock: Time; None is the machine's.
        entropy: Randomness; None is the machine's.
        entry: What the MCP endpoint needs to know; None: there is none.
    """
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    clients = Clients(door, clock)
    mount = None if entry is None else _mount(door, clients, entry, clock, entropy)
    api = Router(
        path="/api",
        route_handlers=PRIVATE,
        guards=[require_login],
        dependencies={"caller": Provide(provide_caller, sync_to_thread=False)},
        security=[{"cookie": []}, {"bearer": []}],
    )
    app = WebApp(
        route_handlers=[
            api,
            *login.PUBLIC,
            *oauth.PUBLIC,
            *node.PUBLIC,
            *metrics_routes.ROUTES,
            *mcp_routes.ROUTES,
            stream,
            *dashboard.ROUTES,
        ],
        lifespan=[_connections],
        state=State(
            {
                "clients": clients,
                "clock": clock,
                "mcp": mount,
                "pages": dashboard.Pages.load(assets),
                "health": node.HealthCache(clients, clock),
            }
        ),
        exception_handlers={
            UmbrellaError: _on_error,
            HTTPException: _on_http_error,
            RecursionError: _on_depth,
            Exception: _on_surprise,
        },
        type_encoders={Sealed: lambda _: None},
        openapi_config=_openapi(),
        request_max_body_size=MAX_BODY,
        logging_config=None,
    )
    app.boundary = Boundary(hosts, entropy, any_address=any_address)
    return app


def _mount(door: Door, clients: Clients, entry: Entry, clock: Clock, entropy: Entropy) -> McpMount:
    entrance = Entrance(door, clients, entry.mcp, entry.oauth, clock, loopback=entry.loopback)
    return McpMount(door, entrance, open_seal(entry.folder, entropy), clock, entry.mcp)


@asynccontextmanager
async def _connections(app: Litestar) -> AsyncIterator[None]:
    clients: Clients = app.state.clients
    mount: McpMount | None = app.state.mcp
    sweepers = [asyncio.create_task(clients.sweep(), name="web: close idle logins")]
    if mount is not None:
        sweepers.append(asyncio.create_task(mount.sweep(), name="web: close idle MCP clients"))
    try:
        yield
    finally:
        for sweeper in sweepers:
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
        if mount is not None:
            await mount.close()
        await clients.close()


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Umbrella",
        version=version("mcp-umbrella-web"),
        description="Every route is one command of the node; /api/ws carries the same commands as frames.",
        path="/api/openapi.json",
        render_plugins=[JsonRenderPlugin(path="/")],
        components=Components(
            security_schemes={
                "cookie": SecurityScheme(type="apiKey", security_scheme_in="cookie", name=COOKIE),
                "bearer": SecurityScheme(type="http", scheme="bearer"),
            }
        ),
    )


def _answer(request: AnyRequest, problem: Problem) -> Response[bytes]:
    headers = {"www-authenticate": 'Bearer realm="umbrella"'} if problem.status == 401 else {}
    return Response(encode_json(problem), media_type=MEDIA_TYPE, status_code=problem.status, headers=headers)


def _on_error(request: AnyRequest, error: UmbrellaError) -> Response[bytes]:
    return _answer(request, problem_of(error, _request_id(request)))


def _on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    status = error.status_code
    if status >= 500:
        return _on_surprise(request, error)
    faults = [item for item in error.extra if isinstance(item, dict)] if isinstance(error.extra, list) else []
    told = "; ".join(f"{item.get('key', 'body')}: {item.get('message', '')}" for item in faults)
    body = ErrorBody(
        code=code_of(status),
        message=told or (f"{request.method} {request.url.path}: {error.detail}"),
        remedy="see /api/openapi.json for what this server understands",
    )
    return _answer(request, problem_of(body, _request_id(request), status))


def _on_depth(request: AnyRequest, error: RecursionError) -> Response[bytes]:
    # the reader of bodies is all that goes as deep as somebody wishes; what the node computes fails over there
    mistake = CallerMistaken("the body is nested too deeply", "send flatter JSON")
    return _answer(request, problem_of(mistake, _request_id(request)))


def _on_surprise(request: AnyRequest, error: Exception) -> Response[bytes]:
    request_id = _request_id(request)
    log.error("request %s failed unexpectedly", request_id, exc_info=error)
    bug = OurBug(
        "something went wrong inside the web server", "look up the request id in its log and report it"
    )
    return _answer(request, problem_of(bug, request_id))


def _request_id(request: AnyRequest) -> str:
    return str(request.scope["state"].get("request_id", ""))
