"""An MCP client of the newer era by hand: one request at a time, nothing remembered in between."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2

VERSION: Final = "2026-07-28"
TASKS: Final = "io.modelcontextprotocol/tasks"


class McpClient:
    """Speaks the newer era by hand, one request at a time.

    Args:
        url: Of the virtual server.
        key: Whose; None shows nothing.
        declares: Whether it can wait for tasks.
    """

    def __init__(self, url: str, key: str | None = None, *, declares: bool = True) -> None:
        self._url = url
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}
        capabilities: dict[str, Any] = {"elicitation": {}}
        if declares:
            capabilities["extensions"] = {TASKS: {}}
        self._meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        }

    async def request(self, method: str, name: str = "", /, **params: Any) -> dict[str, Any]:
        """The whole answer, a result or an error.

        Raises:
            httpx2.HTTPError: The server is not there.
        """
        headers, body = self._message(method, name, params)
        async with httpx2.AsyncClient(timeout=60) as client:
            answer = await client.post(self._url, headers=headers, json=body)
        if "text/event-stream" in answer.headers.get("content-type", ""):
            last = [line for line in answer.text.splitlines() if line.startswith("data:")][-1]
            return dict(json.loads(last.removeprefix("data:")))
        return dict(answer.json())

    async def listen(self, **notifications: Any) -> AsyncIterator[dict[str, Any]]:
        """What a subscriptions/listen stream says, for as long as somebody reads it."""
        headers, body = self._message("subscriptions/listen", "", {"notifications": notifications})
        async with (
            httpx2.AsyncClient(timeout=60) as client,
            client.stream("POST", self._url, headers=headers, json=body) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    yield dict(json.loads(line.removeprefix("data:")))

    def _message(
        self, method: str, name: str, params: dict[str, Any]
    ) -> tuple[dict[str, str], dict[str, Any]]:
        headers = {
            **self._headers,
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
            "mcp-name": name,
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": self._meta}}
        return headers, body

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tools/call."""
        answer = await self.request("tools/call", tool, name=tool, arguments=arguments)
        assert "result" in answer, answer
        return dict(answer["result"])

    async def task(self, task_id: str) -> dict[str, Any]:
        """A task as it is."""
        answer = await self.request("tasks/get", task_id, taskId=task_id)
        assert "result" in answer, answer
        return dict(answer["result"])

    async def answer(self, task: dict[str, Any], content: dict[str, Any]) -> None:
        """Answer everything that a task wants to know."""
        responses = {key: {"action": "accept", "content": content} for key in task["inputRequests"]}
        told = await self.request(
            "tasks/update", task["taskId"], taskId=task["taskId"], inputResponses=responses
        )
        assert told["result"]["resultType"] == "complete", told
