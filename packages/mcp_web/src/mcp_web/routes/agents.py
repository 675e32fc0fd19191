"""/api/agents: who lives on the node."""

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from mcp_interface.agent import AgentRecord, AgentType
from mcp_interface.commands import GetAgent, ListAgents, Page, SpawnAgent, StopAgent
from mcp_interface.ids import SessionId
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


class NewAgent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent begins with; rights are not among it."""

    type: AgentType = "worker"
    name: str = ""
    session_id: str | None = None
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


@post("/agents", responses=PROBLEMS, summary="Start an agent that holds nothing")
async def spawn_agent(caller: CallerDependency, data: JSONBody[NewAgent]) -> AgentRecord:
    """Its birth is durable when this answers."""
    within = SessionId(data.session_id) if data.session_id else None
    return await caller.ask(
        SpawnAgent(type=data.type, name=data.name, session_id=within, metadata=data.metadata)
    )


@get("/agents/{agent:str}", responses=PROBLEMS, summary="Show an agent")
async def get_agent(caller: CallerDependency, agent: FromPath[str]) -> AgentRecord:
    """By id or by unique name."""
    return await caller.ask(GetAgent(agent=agent))


@delete("/agents/{agent:str}", responses=PROBLEMS, summary="Stop an agent")
async def stop_agent(caller: CallerDependency, agent: FromPath[str]) -> None:
    """Its rights end with it, and everything derived from them."""
    await caller.ask(StopAgent(agent=agent))


ROUTES = [list_agents, spawn_agent, get_agent, stop_agent]
