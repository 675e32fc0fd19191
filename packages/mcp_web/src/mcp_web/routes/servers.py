"""/api/servers: MCP servers and the state of their connections."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from mcp_interface.commands import AddServer, ListServers, Page, RemoveServer
from mcp_interface.server import ServerSpec, ServerStatus
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


class NewServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server in the field names of the common `mcpServers` JSON."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    spec: ServerSpec


@get("/servers", responses=PROBLEMS, summary="List servers, built-in ones first")
async def list_servers(
    caller: CallerDependency, limit: Limit = 200, cursor: Cursor = None
) -> Page[ServerStatus]:
    """With the state of each connection and why it is broken."""
    return await caller.ask(ListServers(limit=limit, cursor=cursor))


@post("/servers", responses=PROBLEMS, summary="Add or replace a server")
async def add_server(caller: CallerDependency, data: JSONBody[NewServer]) -> ServerStatus:
    """Answers after the first attempt to connect, successful or not."""
    return await caller.ask(AddServer(name=data.name, spec=data.spec), timeout=120.0)


@delete("/servers/{name:str}", responses=PROBLEMS, summary="Remove a server")
async def remove_server(caller: CallerDependency, name: FromPath[str]) -> None:
    """Disconnects and forgets it."""
    await caller.ask(RemoveServer(name=name))


ROUTES = [list_servers, add_server, remove_server]
