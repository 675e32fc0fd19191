"""The tools that the conformance suite wants for tasks, over stdio; that they are long they say, tasks are made in front of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams, PaginatedRequestParams

Context = ServerRequestContext[Any, Any]
Answers = dict[str, Any]
Work = Callable[[dict[str, Any], Answers], Awaitable[dict[str, Any]]]


def said(words: str, *, failed: bool = False) -> dict[str, Any]:
    return {"resultType": "complete", "content": [{"type": "text", "text": words}], "isError": failed}


def asks(**messages: str) -> dict[str, Any]:
    fields = {"name": {"type": "string"}, "confirm": {"type": "boolean"}}
    requests = {
        key: {
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": message,
                "requestedSchema": {"type": "object", "properties": fields},
            },
        }
        for key, message in messages.items()
    }
    return {"resultType": "input_required", "inputRequests": requests}


async def greet(args: dict[str, Any], given: Answers) -> dict[str, Any]:
    return said(f"Hello, {args['name']}!")


async def slow_compute(args: dict[str, Any], given: Answers) -> dict[str, Any]:
    await asyncio.sleep(args.get("seconds", 0))
    return said(f"computed {args.get('label', '')}")


async def failing_job(args: dict[str, Any], given: Answers) -> dict[str, Any]:
    await asyncio.sleep(0.5)
    return said("the job has failed", failed=True)


async def protocol_error_job(args: dict[str, Any], given: Answers) -> dict[str, Any]:
    raise MCPError(INTERNAL_ERROR, "the job broke the protocol")


async def confirm_delete(args: dict[str, Any], given: Answers) -> dict[str, Any]:
    if "confirm" not in given:
        return asks(confirm=f"Delete {args['filename']}?")
    return said(f"{given['confirm']['action']} {args['filename']}")


async def multi_input(args: dict[str, Any], given: Answers) -> dict[str, Any]:
    if not {"one", "two"} <= set(given):
        return asks(one="What is your name?", two="Are you sure?")
    return said(" ".join(given[key]["content"]["name"] for key in ("one", "two")))


async def with_task(args: dict[str, Any], given: Answers) -> dict[str, Any]:
    if "user_name" not in given:
        return asks(user_name="What is your name?")
    await asyncio.sleep(0.2)
    return said(f"Hello, {given['user_name']['content']['name']}!")


def takes(**properties: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}


TOOLS: dict[str, tuple[str, dict[str, Any], Work]] = {
    "greet": ("forbidden", takes(name="string"), greet),
    "slow_compute": ("optional", takes(seconds="number", label="string"), slow_compute),
    "failing_job": ("required", takes(), failing_job),
    "protocol_error_job": ("optional", takes(), protocol_error_job),
    "confirm_delete": ("optional", takes(filename="string"), confirm_delete),
    "multi_input": ("optional", takes(), multi_input),
    "test_tool_with_task": ("required", takes(), with_task),
}


async def list_tools(ctx: Context, params: PaginatedRequestParams | None) -> dict[str, Any]:
    return {
        "resultType": "complete",
        "tools": [
            {
                "name": name,
                "inputSchema": schema,
                "annotations": {"readOnlyHint": True},
                "_meta": {"io.modelcontextprotocol/tasks": {"taskSupport": support}},
            }
            for name, (support, schema, _) in TOOLS.items()
        ],
        "ttlMs": 0,
        "cacheScope": "private",
    }


async def call_tool(ctx: Context, params: CallToolRequestParams) -> dict[str, Any]:
    if params.name not in TOOLS:
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
    given = {
        key: each.model_dump(mode="json", by_alias=True, exclude_none=True)
        for key, each in (params.input_responses or {}).items()
    }
    return await TOOLS[params.name][2](params.arguments or {}, given)


async def main() -> None:
    server: Server[Any] = Server("tasks", version="1.0.0")
    server.add_request_handler("tools/list", PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", CallToolRequestParams, call_tool)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main)
