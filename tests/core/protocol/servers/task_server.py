"""A server that answers calls with tasks, kept in files, so that it may die and come back. `... http PORT FOLDER`.

Beside the tasks the folder holds `calls`, a line for each call, and `seen`, a line for each request about a task. Files
that a test puts there: `slow` makes each look at a task take that many seconds, `gone` lets it forget all tasks.
"""

import asyncio
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    CallToolRequestParams,
    PaginatedRequestParams,
    RequestParams,
)

TASKS = "io.modelcontextprotocol/tasks"
Context = ServerRequestContext[Any, Any]
folder = Path(sys.argv[3])


class TaskParams(RequestParams):
    task_id: str


class AnswerParams(TaskParams):
    input_responses: dict[str, Any]


def note(file: str, line: str) -> None:
    with (folder / file).open("a") as writing:
        writing.write(f"{line}\n")


def save(task: dict[str, Any]) -> None:
    scratch = folder / f"{task['id']}.new"
    scratch.write_text(json.dumps(task))
    scratch.rename(folder / f"{task['id']}.json")


def load(ctx: Context, params: TaskParams) -> dict[str, Any]:
    note("seen", f"{ctx.method} {params.task_id}")
    if ctx.request.headers.get(MCP_NAME_HEADER) != params.task_id:
        raise MCPError(HEADER_MISMATCH, "Mcp-Name is not the task")
    file = folder / f"{params.task_id}.json"
    if (folder / "gone").exists() or not file.exists():
        raise MCPError(INVALID_PARAMS, "Failed to retrieve task: Task not found")
    task: dict[str, Any] = json.loads(file.read_text())
    return task


def said(words: str, *, failed: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}], "isError": failed}


def question(words: str) -> dict[str, Any]:
    fields = {"name": {"type": "string"}, "loud": {"type": "boolean", "default": True}}
    schema = {"type": "object", "properties": fields}
    params = {"mode": "form", "message": words, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def outcome(task: dict[str, Any]) -> dict[str, Any]:
    """How it is: what was answered, and how late it is, is all there is to know."""
    tool, args, answers = task["tool"], task["args"], task["answers"]
    if task["cancelled"]:
        return {"status": "cancelled"}
    wanted = {"ask": ["first"], "ask_twice": ["first"] if "first" not in answers else ["second"]}.get(
        tool, []
    )
    open_ones = {key: question(f"{key}?") for key in wanted if key not in answers}
    if open_ones:
        return {"status": "input_required", "inputRequests": open_ones}
    if time.time() < task["created"] + args.get("seconds", 0):
        return {"status": "working", "statusMessage": f"working on {tool}"}
    match tool:
        case "break":
            return {"status": "failed", "error": {"code": -32603, "message": "it broke"}}
        case "fail":
            return {"status": "completed", "result": said("it failed", failed=True)}
        case "shape":
            return {"status": "completed", "result": {**said("{}"), "structuredContent": {"n": "one"}}}
    told = [f"{key}={answer.get('content')}" for key, answer in answers.items()]
    return {"status": "completed", "result": said(" ".join(["done", args.get("label", ""), *told]).strip())}


async def get(ctx: Context, params: TaskParams) -> dict[str, Any]:
    if (folder / "slow").exists():
        await asyncio.sleep(float((folder / "slow").read_text()))
    task = load(ctx, params)
    head = {
        "taskId": task["id"],
        "createdAt": "2026-11-22T00:00:00Z",
        "lastUpdatedAt": "2026-11-22T00:00:00Z",
    }
    return {"resultType": "complete", **head, "ttlMs": None, "pollIntervalMs": 50, **outcome(task)}


async def update(ctx: Context, params: AnswerParams) -> dict[str, Any]:
    task = load(ctx, params)
    open_ones = outcome(task).get("inputRequests", {})
    task["answers"] |= {key: value for key, value in params.input_responses.items() if key in open_ones}
    save(task)
    return {"resultType": "complete"}


async def cancel(ctx: Context, params: TaskParams) -> dict[str, Any]:
    task = load(ctx, params)
    if outcome(task)["status"] not in {"completed", "failed"}:
        save({**task, "cancelled": True})
    return {"resultType": "complete"}


TOOLS = ("wait", "ask", "ask_twice", "break", "fail", "shape")
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def list_tools(ctx: Context, params: PaginatedRequestParams | None) -> dict[str, Any]:
    tools: list[dict[str, Any]] = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
    tools[-1]["outputSchema"] = NUMBER
    return {"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "private"}


async def call(ctx: Context, params: CallToolRequestParams) -> dict[str, Any]:
    known = ctx.session.client_capabilities
    if known is None or TASKS not in (known.extensions or {}):
        return {"resultType": "complete", **said("this client cannot wait")}
    task = {
        "id": uuid.uuid4().hex,
        "tool": params.name,
        "args": params.arguments or {},
        "answers": {},
        "cancelled": False,
        "created": time.time(),
    }
    save(task)
    note("calls", f"{params.name} {task['id']}")
    head = {"createdAt": "2026-11-22T00:00:00Z", "lastUpdatedAt": "2026-11-22T00:00:00Z", "ttlMs": None}
    return {"resultType": "task", "taskId": task["id"], "status": "working", **head}


def main() -> None:
    server: Server[Any] = Server("tasks", version="1.0.0")
    server.extensions[TASKS] = {}
    server.add_request_handler("tools/list", PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", CallToolRequestParams, call)
    server.add_request_handler("tasks/get", TaskParams, get)
    server.add_request_handler("tasks/update", AnswerParams, update)
    server.add_request_handler("tasks/cancel", TaskParams, cancel)
    app = server.streamable_http_app()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
