"""`python -m mcp_core` that dies by its own hand, at a given write behind a plan's draft; with tools that are counted.

A plan is titled `die N before`, `die N after` or `die N within`: the N-th write behind its draft is not reached,
is the last that is reached, or the N-th run of a tool of it does not come to its end.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_core.__main__ as shipped
from mcp_core.node import Node
from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts, Need
from mcp_interface.events import PlanDrafted, SessionCreated
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult, text_result


class Fate:
    """When this process dies."""

    def __init__(self) -> None:
        self.writes = self.runs = 0
        self.at = 0
        self.how = ""

    def drafted(self, title: str) -> None:
        """A plan says when."""
        word, *rest = title.split()
        if word == "die":
            self.at, self.how = int(rest[0]), rest[1]
            self.writes = self.runs = 0

    def meets(self, how: str, number: int) -> None:
        """Die if it is now."""
        if self.how == how and number == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class Counted:
    """A tool that leaves its mark when it begins and when it ends."""

    def __init__(self, name: str, marks: Path, fate: Fate, *, read_only: bool) -> None:
        self._info = ToolInfo(
            server="marks", name=name, parameters={"type": "object"}, read_only=read_only, open_world=False
        )
        self._marks = marks
        self._fate = fate

    def info(self) -> ToolInfo:
        return self._info

    def validate_args(self, args: dict[str, Any]) -> None:
        pass

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        return [Need(tool_resource("marks", self._info.name), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        self._leave(f"{args['mark']} begins")
        self._fate.runs += 1
        self._fate.meets("within", self._fate.runs)
        self._leave(f"{args['mark']} ends")
        return text_result(f"left {args['mark']}")

    def _leave(self, mark: str) -> None:
        with self._marks.open("a") as file:
            file.write(f"{mark}\n")


class PlanningNode(Node):
    """A node with the server `marks`: `once` may not be repeated, `look` may."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.fate = Fate()

    async def _break_ground(self, stack: AsyncExitStack) -> Any:
        ground = await super()._break_ground(stack)
        append, fate = ground.store.append, self.fate

        async def counted(stream: str, events: Any, **given: Any) -> Any:
            if any(isinstance(event, SessionCreated) for event in events):
                fate.how = ""  # the plan before is over
            fate.writes += 1
            fate.meets("before", fate.writes)
            records = await append(stream, events, **given)
            fate.meets("after", fate.writes)
            for event in events:
                if isinstance(event, PlanDrafted):
                    fate.drafted(event.plan.title)
            return records

        ground.store.append = counted
        return ground

    def _builtin(self, *given: Any) -> dict[str, Sequence[Tool]]:
        marks = Path(self.settings.data_dir) / "marks"
        tools = [
            Counted("once", marks, self.fate, read_only=False),
            Counted("look", marks, self.fate, read_only=True),
        ]
        return {**super()._builtin(*given), "marks": tools}


async def run(settings: Any) -> None:
    """As the shipped one."""
    async with PlanningNode(settings) as node:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.stop)
        await node.stopped()


if __name__ == "__main__":
    shipped.run = run  # type: ignore[assignment]  # the rest is the shipped process
    raise SystemExit(shipped.main())
