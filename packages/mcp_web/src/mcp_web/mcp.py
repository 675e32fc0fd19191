"""/mcp and /mcp/<publication>: the node as an MCP server over Streamable HTTP, both eras.

The wall has judged Host and Origin. Here it is asked who comes; everything else is the translation's
(`mcp_core.Portal`, `mcp_core.HttpEndpoint`) and the node's to decide.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from litestar import Litestar, Request, Response, asgi, get
from litestar.types import Receive, Scope, Send

from mcp_core import Door, McpSettings
from mcp_interface.client import Client, Welcome
from mcp_interface.clock import Clock
from mcp_interface.codec import encode_json
from mcp_interface.errors import LoginRequired, NotFound, TooMuch, UmbrellaError
from mcp_web.boundary import header
from mcp_web.entrance import Entrance, Identity
from mcp_web.problem import MEDIA_TYPE, problem_of
from mcp_web.tokens import resource_of

if TYPE_CHECKING:
    from mcp_core import HttpEndpoint as Endpoint
    from mcp_core import Portal

log = logging.getLogger(__name__)

METADATA: Final = "/.well-known/oauth-protected-resource/mcp"
MAX_PORTALS: Final = 256
IDLE_S: Final = 900.0
LOOK_S: Final = 30.0
"""How often keys of open portals are looked at again."""


@dataclass
class _Seat:
    """One identity's portal within one virtual server."""

    identity: Identity
    portal: "Portal"
    used: float


class McpMount:
    """Everything behind `/mcp` of one web server.

    Args:
        door: The way to the node.
        entrance: Says who comes.
        seal: For what clients of the stateless era carry (`mcp_core.open_seal`).
        clock: Time.
        settings: Say how calls become tasks.
    """

    def __init__(
        self, door: Door, entrance: Entrance, seal: Any, clock: Clock, settings: McpSettings
    ) -> None:
        self._settings = settings
        self._door = door
        self._entrance = entrance
        self._seal = seal
        self._clock = clock
        self._seats: dict[tuple[str, str | None], _Seat] = {}
        self._endpoints: dict[str | None, Endpoint] = {}
        self._opening = asyncio.Lock()

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        publication = _publication_of(scope)
        try:
            async with self._admitted(scope, publication) as seat:
                endpoint = await self._endpoint(publication)
                found = await seat.portal.catalogue.publication()
                endpoint.tell("" if found is None else found.instructions)
                await endpoint.handle(scope, receive, send, seat.portal, seat.identity.owner)
        except LoginRequired as error:
            await _answer(send, scope, error, self._challenge(scope, publication, error))
        except UmbrellaError as error:
            await _answer(send, scope, error, {})

    def metadata(self, request_base: str, publication: str | None = None) -> dict[str, Any]:
        """What we are as a protected resource; each virtual server is one of its own.

        Source: RFC 9728, sections 2 and 3.3.
        """
        oauth = self._entrance.oauth
        told: dict[str, Any] = {
            "resource": resource_of(f"{request_base}/mcp", publication),
            "resource_name": "Umbrella",
            "bearer_methods_supported": ["header"],
        }
        if oauth is not None:
            told["authorization_servers"] = [oauth.issuer]
            if oauth.audience.startswith(("https://", "http://")):
                told["resource"] = resource_of(oauth.audience, publication)
        return told

    async def sweep(self) -> None:
        """Close portals that nobody uses and those whose key has ended; runs until it is cancelled."""
        while True:
            await self._clock.sleep(LOOK_S)
            before = self._clock.monotonic() - IDLE_S
            for place, seat in list(self._seats.items()):
                with suppress(UmbrellaError):  # the node is away; the next look tells
                    ended = not await self._entrance.still(seat.identity)
                    if self._seats.get(place) is not seat:
                        continue  # another sits there by now
                    if ended or (not seat.portal.busy and seat.used < before):
                        await self._drop(place)
            with suppress(UmbrellaError):
                await self._clear()

    async def close(self) -> None:
        """End everything; harmless when repeated."""
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        for seat in self._seats.values():
            seat.portal.listen.close()
        await asyncio.gather(*(endpoint.close() for endpoint in endpoints))
        for place in list(self._seats):
            await self._drop(place)

    async def _clear(self) -> None:
        """Close the endpoints of virtual servers that there are no more."""
        named = {name for name in self._endpoints if name is not None}
        if not named:
            return
        for name in named - await self._entrance.published():
            async with self._opening:
                endpoint = self._endpoints.pop(name, None)
            if endpoint is not None:
                await endpoint.close()

    @asynccontextmanager
    async def _admitted(self, scope: Mapping[str, Any], publication: str | None) -> AsyncIterator[_Seat]:
        """The seat of whoever sends a request, kept meanwhile, if there is such a virtual server for them.

        Raises:
            LoginRequired: Nobody who may come in.
            NotFound: There is none.
        """
        identity = await self._entrance.identify(scope, publication)
        seat = await self._seat(identity, publication)
        try:
            try:
                await seat.portal.catalogue.publication()
            except NotFound:  # nobody fills the seats with virtual servers that there are not
                await self._drop((identity.owner, publication))
                raise
            yield seat
        finally:
            seat.portal.busy -= 1
            seat.used = self._clock.monotonic()

    async def _seat(self, identity: Identity, publication: str | None) -> _Seat:
        """A seat that is busy by one more, so that nobody is shown out of it."""
        place = (identity.owner, publication)
        while place not in self._seats and len(self._seats) >= MAX_PORTALS:
            await self._make_room()
        seat = self._seats.get(place)
        if seat is None:
            seat = self._seats[place] = _Seat(
                identity, self._portal(identity, publication), self._clock.monotonic()
            )
        elif identity.ends_at > seat.identity.ends_at:
            seat.identity = identity
        seat.portal.busy += 1
        return seat

    def _portal(self, identity: Identity, publication: str | None) -> "Portal":
        import mcp_core  # its names load late: these bring the SDK, which takes a second

        async def connect() -> tuple[Client, Welcome]:
            client = self._door.client()
            return client, await client.connect(self._entrance.info(identity))

        return mcp_core.Portal(connect, identity.name, publication, self._clock, self._settings)

    async def _make_room(self) -> None:
        idle = [(seat.used, place) for place, seat in self._seats.items() if not seat.portal.busy]
        if not idle:
            raise TooMuch(f"{MAX_PORTALS} MCP clients are busy, the most there can be", "try again later")
        await self._drop(min(idle, key=lambda pair: pair[0])[1])

    async def _drop(self, place: tuple[str, str | None]) -> None:
        seat = self._seats.pop(place, None)
        if seat is not None:
            await seat.portal.close()

    async def _endpoint(self, publication: str | None) -> "Endpoint":
        import mcp_core

        async with self._opening:
            endpoint = self._endpoints.get(publication)
            if endpoint is None:
                endpoint = mcp_core.HttpEndpoint(self._seal)
                await endpoint.open()
                self._endpoints[publication] = endpoint
            return endpoint

    def _challenge(
        self, scope: Mapping[str, Any], publication: str | None, error: LoginRequired
    ) -> dict[str, str]:
        """How to come in.

        Source: RFC 6750, section 3; RFC 9728, section 5.1.
        """
        where = base_of(scope) + resource_of(METADATA, publication)
        parts = ['realm="umbrella"', f'resource_metadata="{where}"']
        if header(scope, "authorization") is not None:
            parts.insert(1, 'error="invalid_token"')
        return {"www-authenticate": f"Bearer {', '.join(parts)}"}


def base_of(scope: Mapping[str, Any]) -> str:
    """The origin under which a request reached us; the wall has judged the name in it."""
    return f"{scope.get('scheme', 'http')}://{header(scope, 'host') or 'localhost'}"


def _publication_of(scope: Mapping[str, Any]) -> str | None:
    path = str(scope["path"]).removeprefix("/mcp").strip("/")
    return path or None


async def _answer(send: Any, scope: Mapping[str, Any], error: UmbrellaError, headers: dict[str, str]) -> None:
    problem = problem_of(error, str(scope.get("state", {}).get("request_id", "")))
    head = [(b"content-type", MEDIA_TYPE.encode())]
    head += [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": head})
    await send({"type": "http.response.body", "body": encode_json(problem)})


def mount_of(app: Litestar) -> McpMount:
    """The mount of an application.

    Raises:
        NotFound: It has none.
    """
    mount: McpMount | None = app.state.get("mcp")
    if mount is None:
        raise NotFound("this server has no MCP endpoint", "run it with: umbrella serve")
    return mount


@asgi("/mcp", is_mount=True, copy_scope=True)
async def mcp_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    """Everything at and below /mcp."""
    await mount_of(scope["litestar_app"]).handle(scope, receive, send)


@get(
    [METADATA, f"{METADATA}/{{publication:str}}", "/.well-known/oauth-protected-resource"],
    include_in_schema=False,
)
async def resource_metadata(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What an OAuth client has to know to come in."""
    told = mount_of(request.app).metadata(base_of(request.scope), request.path_params.get("publication"))
    return Response(encode_json(told), media_type="application/json")


ROUTES: list[Any] = [mcp_endpoint, resource_metadata]
