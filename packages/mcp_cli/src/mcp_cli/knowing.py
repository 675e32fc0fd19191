"""Asks a node for the names that completion offers."""

from typing import Any, Final

from mcp_cli.grammar import Known
from mcp_cli.naming import short
from mcp_cli.untrusted import compact_json, one_line
from mcp_interface.client import Client
from mcp_interface.commands import (
    ListAgents,
    ListApprovals,
    ListCapabilities,
    ListServers,
    ListSessions,
    ListTools,
)
from mcp_interface.tool import ToolInfo

LINE: Final = 60
_EXAMPLES: Final[dict[str, Any]] = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}


async def gather(client: Client) -> Known:
    """Ask for servers, tools, sessions, agents, open questions and capabilities, a page of each."""
    servers = await client.request(ListServers())
    tools = await client.request(ListTools(limit=1000))
    sessions = await client.request(ListSessions(limit=50))
    agents = await client.request(ListAgents())
    approvals = await client.request(ListApprovals())
    capabilities = await client.request(ListCapabilities())
    by_server: dict[str, dict[str, str]] = {}
    for tool in tools.items:
        by_server.setdefault(tool.server, {})[tool.name] = one_line(tool.description, LINE)
    return Known(
        servers={server.name: f"{server.state}, {server.tools} tools" for server in servers.items},
        tools=by_server,
        templates={f"{tool.server} {tool.name}": template(tool) for tool in tools.items},
        sessions={short(session.id): one_line(session.title, LINE) for session in sessions.items},
        agents={agent.name or short(agent.id): f"{agent.type}, {short(agent.id)}" for agent in agents.items},
        approvals={short(question.id): f"{question.server}.{question.tool}" for question in approvals.items},
        capabilities={
            short(capability.id): one_line(f"{short(capability.principal_id)} {capability.resource_uri}")
            for capability in reversed(capabilities.items)
        },
    )


def template(tool: ToolInfo) -> str:
    """Write the arguments that a tool needs as a JSON object to fill in."""
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return "{}"
    filled = {str(name): _example(properties.get(name)) for name in required}
    return compact_json(filled)


def _example(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return ""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    return schema.get("default", _EXAMPLES.get(kind, "") if isinstance(kind, str) else "")
