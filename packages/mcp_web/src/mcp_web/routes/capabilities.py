"""/api/capabilities: rights, who holds them and why."""

from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from mcp_interface.capability import Capability, Explanation
from mcp_interface.commands import ExplainAccess, GrantCapability, ListCapabilities, Page, RevokeCapability
from mcp_interface.ids import CapabilityId
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


class NewGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A right to hand on; it is never wider than what the caller holds."""

    agent: str
    resource_uri: str
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None
    max_uses: Annotated[int, Meta(ge=1)] | None = None
    constraints: dict[str, Any] = {}
    """Further limits by name."""


@get("/capabilities", responses=PROBLEMS, summary="List live capabilities")
async def list_capabilities(
    caller: CallerDependency,
    principal: FromQuery[str | None] = None,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> Page[Capability]:
    """Of one holder or of all."""
    return await caller.ask(ListCapabilities(principal=principal, limit=limit, cursor=cursor))


@post("/capabilities", responses=PROBLEMS, summary="Grant an agent a right")
async def grant_capability(caller: CallerDependency, data: JSONBody[NewGrant]) -> Capability:
    """Durable and in the audit trail when this answers."""
    command = GrantCapability(
        agent=data.agent,
        resource_uri=data.resource_uri,
        expires_in_s=data.expires_in_s,
        max_uses=data.max_uses,
        constraints=data.constraints,
    )
    return await caller.ask(command)


@get("/capabilities/explain", responses=PROBLEMS, summary="Why may this principal do that, or why not")
async def explain_access(
    caller: CallerDependency, principal: FromQuery[str], resource_uri: FromQuery[str]
) -> Explanation:
    """Says so without recording a decision."""
    return await caller.ask(ExplainAccess(principal=principal, resource_uri=resource_uri))


@delete("/capabilities/{capability_id:str}", responses=PROBLEMS, summary="Revoke a capability")
async def revoke_capability(caller: CallerDependency, capability_id: FromPath[str]) -> None:
    """With everything that was derived from it."""
    await caller.ask(RevokeCapability(capability_id=CapabilityId(capability_id)))


ROUTES = [list_capabilities, grant_capability, explain_access, revoke_capability]
