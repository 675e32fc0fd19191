"""Asks a node for the names that completion offers."""

from typing import Any, Final, TypeVar

from mcp_cli.completing import Known
from mcp_cli.grammar import prompt_word
from mcp_cli.naming import short
from mcp_cli.untrusted import compact_json, one_line
from mcp_interface.client import Client
from mcp_interface.commands import (
    Command,
    ListAgents,
    ListApprovals,
    ListCapabilities,
    ListServers,
    ListSessions,
    ListTools,
    Page,
)
from mcp_interface.errors import UmbrellaError
from mcp_interface.execution import ListExecutions, ListQuestions
from mcp_interface.reading import ListPrompts, ListResources, ListTemplates
from mcp_interface.tool import ToolInfo

T = TypeVar("T")

LINE: Final = 60
OFFERED: Final = 500
"""Resources and prompts that completion knows, at most."""
_EXAMPLES: Final[dict[str, Any]] = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}


async def gather(client: Client) -> Known:
    """Ask for everything that completion offers, a page of each."""
    servers = await client.request(ListServers())
    tools = await client.request(ListTools(limit=1000))
    sessions = await client.request(ListSessions(limit=50))
    agents = await client.request(ListAgents())
    approvals = await client.request(ListApprovals())
    capabilities = await client.request(ListCapabilities())
    questions = await _offered(client, ListQuestions(limit=50))
    executions = await _offered(client, ListExecutions(limit=50))
    prompts = await _offered(client, ListPrompts(limit=OFFERED))
    resources = await _offered(client, ListResources(limit=OFFERED))
    families = await _offered(client, ListTemplates(limit=OFFERED))
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
        questions={
            short(each.id): one_line(f"{each.server}.{each.tool} {each.inquiry.message}", LINE)
            for each in questions
        },
        executions={
            short(each.id): one_line(f"{each.server}.{each.tool}, {each.status.lower()}", LINE)
            for each in executions
        },
        prompts={prompt_word(each.server, each.name): each for each in prompts},
        resources={
            f"{each.server}:{each.uri}": one_line(each.title or each.name or each.description, LINE)
            for each in resources
        },
        families=families,
    )


async def _offered(client: Client, command: Command[Page[T]]) -> list[T]:
    """One page; a server that cannot say what it offers takes nothing else away."""
    try:
        return (await client.request(command)).items
    except UmbrellaError:
        return []


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
