"""/api/agents: who lives on the node."""

from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from mcp_interface.agent import AgentRecord, AgentType
from mcp_interface.commands import GetAgent, ListAgents, Page, SpawnAgent, StopAgent, Wish
from mcp_interface.ids import SessionId
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


class Right(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A right that a new agent begins with; a misspelt limit is refused and never ignored."""

    resource_uri: str
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None
    constraints: dict[str, Any] = {}


class NewAgent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent begins with; it holds the rights that are named here and no others."""

    type: AgentType = "worker"
    name: str = ""
    session_id: str | None = None
    parent: str | None = None
    """The agent, by id or name, whose rights are handed on; without one, the caller's."""
    grants: Annotated[list[Right], Meta(max_length=100)] = []
    metadata: dict[str, Any] = {}


@get("/agents", responses=PROBLEMS, summary="List agents, oldest first")
async def list_agents(
    caller: CallerDependency,
    session_id: FromQuery[str | None] = None,
    stopped: FromQuery[bool] = False,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> Page[AgentRecord]:
    """`stopped=true` also lists those that have ended."""
    within = SessionId(session_id) if session_id else None
    return await caller.ask(ListAgents(session_id=within, stopped=stopped, limit=limit, cursor=cursor))


@post("/agents", responses=PROBLEMS, summary="Start an agent with the rights that are handed to it")
async def spawn_agent(caller: CallerDependency, data: JSONBody[NewAgent]) -> AgentRecord:
    """All of them or it does not start; its birth is durable when this answers."""
    command = SpawnAgent(
        type=data.type,
        name=data.name,
        session_id=None if data.session_id is None else SessionId(data.session_id),
        parent=data.parent,
        grants=[
            Wish(
                resource_uri=right.resource_uri,
                expires_in_s=right.expires_in_s,
                constraints=right.constraints,
            )
            for right in data.grants
        ],
        metadata=data.metadata,
    )
    return await caller.ask(command)


@get("/agents/{agent:str}", responses=PROBLEMS, summary="Show an agent")
async def get_agent(caller: CallerDependency, agent: FromPath[str]) -> AgentRecord:
    """By id or by unique name."""
    return await caller.ask(GetAgent(agent=agent))


@delete("/agents/{agent:str}", responses=PROBLEMS, summary="Stop an agent")
async def stop_agent(caller: CallerDependency, agent: FromPath[str]) -> None:
    """Its rights end with it, and everything derived from them."""
    await caller.ask(StopAgent(agent=agent))


ROUTES = [list_agents, spawn_agent, get_agent, stop_agent]
