"""A tool that asks people things while it runs, in the ways in which servers do, and a store that can die."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import OurBug, StorageUnavailable
from mcp_interface.question import Inquiry, Response
from mcp_interface.testing import MemoryStore
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult, text_result

FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def form(key: str = "0", message: str = "a number?", schema: dict[str, Any] = FORM) -> dict[str, Any]:
    """An inquiry of `Asker`'s arguments."""
    return {"key": key, "kind": "form", "message": message, "schema": schema}


def said(number: int) -> Response:
    """The answer to `form`."""
    return Response(action="accept", content={"n": number})


class Asker:
    """Asks in rounds, says what it heard; `handles`, it can go on behind a round in another process.

    Args:
        name: Of the tool.
        handles: Whether it gives a handle with each question.
        read_only: Whether it says so.
        counted: A file to which each run adds a line; None counts in memory only.
    """

    def __init__(
        self,
        name: str = "ask",
        *,
        handles: bool = False,
        read_only: bool = False,
        counted: Path | None = None,
    ) -> None:
        self.name = name
        self.handles = handles
        self.read_only = read_only
        self.counted = counted
        self.runs = 0
        self.go = asyncio.Event()

    def info(self) -> ToolInfo:
        return ToolInfo(
            server="asks", name=self.name, parameters={"type": "object"}, read_only=self.read_only
        )

    def validate_args(self, args: dict[str, Any]) -> None:
        pass

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return [Need(tool_resource("asks", self.name), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self.runs += 1
        if self.counted is not None:
            with self.counted.open("a") as file:
                file.write(f"{context.execution_id}\n")
        rounds: list[list[dict[str, Any]]] = args.get("rounds", [])
        heard: list[dict[str, Any]] = []
        if context.resumption is not None:
            heard = json.loads(context.resumption.handle)
            if len(heard) < len(rounds):
                heard.append(_plain(context.resumption.responses))
        if context.ask is None:
            raise OurBug("nobody can be asked")
        for inquiries in rounds[len(heard) :]:
            handle = json.dumps(heard) if self.handles else ""
            heard.append(_plain(await context.ask([Inquiry(**each) for each in inquiries], handle)))
        if args.get("wait"):
            await self.go.wait()
        return text_result(json.dumps(heard))


def _plain(responses: dict[str, Response]) -> dict[str, Any]:
    return {key: [each.action, each.content] for key, each in responses.items()}


def heard(*numbers: int) -> str:
    """What `Asker` says when each round was one form and these were the answers."""
    return json.dumps([{"0": ["accept", {"n": number}]} for number in numbers])


class MortalStore:
    """A process's hold of a store: once `dead`, it takes nothing more, as after kill -9 of the process."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, *given: Any, **options: Any) -> Any:
        if self.dead:
            raise StorageUnavailable("the process is gone", "start another")
        return await self._store.append(*given, **options)
