"""/api/keys: secrets by which programs come in. /api/publications: the virtual servers that MCP clients find."""

from typing import Annotated

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from mcp_interface.access import CreateKey, Label, ListKeys, ListPublications, Publish, RevokeKey, Unpublish
from mcp_interface.commands import Page, Wish
from mcp_interface.ids import PrincipalId
from mcp_interface.key import ApiKey, NewKey, Publication
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


class WantedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made; without a principal, for a new one that holds nothing but what is granted here."""

    name: Label
    principal_id: str | None = None
    grants: Annotated[list[Wish], Meta(max_length=100)] = []
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a virtual server offers: globs over `server/name`."""

    tools: list[str] = []
    resources: list[str] = []
    prompts: list[str] = []
    principal_id: str | None = None
    bare_names: bool = False
    instructions: str = ""


@get("/keys", responses=PROBLEMS, summary="List the keys that work, oldest first")
async def list_keys(caller: CallerDependency, limit: Limit = 50, cursor: Cursor = None) -> Page[ApiKey]:
    """Without their secrets, which nobody keeps."""
    return await caller.ask(ListKeys(limit=limit, cursor=cursor))


@post("/keys", responses=PROBLEMS, summary="Make a key")
async def create_key(caller: CallerDependency, data: JSONBody[WantedKey]) -> NewKey:
    """This answer is the only place where its secret ever stands."""
    principal = None if data.principal_id is None else PrincipalId(data.principal_id)
    return await caller.ask(
        CreateKey(name=data.name, principal_id=principal, grants=data.grants, expires_in_s=data.expires_in_s)
    )


@delete("/keys/{key:str}", status_code=200, responses=PROBLEMS, summary="Make a key useless")
async def revoke_key(caller: CallerDependency, key: FromPath[str]) -> ApiKey:
    """At once; its principal keeps what it holds."""
    return await caller.ask(RevokeKey(key=key))


@get("/publications", responses=PROBLEMS, summary="List virtual servers, by name")
async def list_publications(
    caller: CallerDependency, limit: Limit = 200, cursor: Cursor = None
) -> Page[Publication]:
    """Those that you find."""
    return await caller.ask(ListPublications(limit=limit, cursor=cursor))


@put("/publications/{name:str}", responses=PROBLEMS, summary="Offer a virtual server, or replace it")
async def publish(caller: CallerDependency, name: FromPath[str], data: JSONBody[Selection]) -> Publication:
    """MCP clients find it under `/mcp/<name>`."""
    principal = None if data.principal_id is None else PrincipalId(data.principal_id)
    publication = Publication(
        name=name,
        tools=data.tools,
        resources=data.resources,
        prompts=data.prompts,
        principal_id=principal,
        bare_names=data.bare_names,
        instructions=data.instructions,
    )
    publication.validate()
    return await caller.ask(Publish(publication=publication))


@delete("/publications/{name:str}", responses=PROBLEMS, summary="Take a virtual server away")
async def unpublish(caller: CallerDependency, name: FromPath[str]) -> None:
    """What it offered stays where it is."""
    await caller.ask(Unpublish(name=name))


ROUTES = [list_keys, create_key, revoke_key, list_publications, publish, unpublish]
