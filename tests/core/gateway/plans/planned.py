"""A node whose owner lays plans out, and how they wait for what becomes of them."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp_core import Node, Settings
from mcp_core.gateway.local import LocalClient
from mcp_interface.client import ClientInfo
from mcp_interface.commands import CreateSession, ListAgents, ListCapabilities, ReadSession
from mcp_interface.ids import PlanId, PrincipalId, SessionId
from mcp_interface.plan import PLAN_ENDED, CommandStep, Plan, ToolStep, Work
from mcp_interface.planning import DraftPlan, GetPlan, Step

LONG = 30.0


class Owner:
    """The owner of a node, in one session of theirs."""

    def __init__(self, node: Node, client: LocalClient, session_id: SessionId, who: PrincipalId) -> None:
        self.node, self.client, self.session_id, self.who = node, client, session_id, who

    async def draft(self, *works: Work, title: str = "a plan") -> Plan:
        steps = [Step(work=work) for work in works]
        return await self.client.request(DraftPlan(session_id=self.session_id, title=title, steps=steps))

    async def get(self, plan_id: PlanId) -> Plan:
        return await self.client.request(GetPlan(plan_id=plan_id))

    async def until(self, plan_id: PlanId, wanted: Callable[[Plan], bool]) -> Plan:
        async with asyncio.timeout(LONG):
            while not wanted(plan := await self.get(plan_id)):
                await asyncio.sleep(0.02)
        return plan

    async def over(self, plan_id: PlanId) -> Plan:
        return await self.until(plan_id, lambda plan: plan.status in PLAN_ENDED)

    async def waits(self, plan_id: PlanId) -> Plan:
        return await self.until(plan_id, lambda plan: bool(plan.waits) or plan.status in PLAN_ENDED)

    async def events(self) -> list[Any]:
        page = await self.client.request(ReadSession(session_id=self.session_id, limit=1000))
        return [record.event for record in page.items]

    async def agents(self) -> list[Any]:
        """Living agents that were made for plans."""
        found = (await self.client.request(ListAgents())).items
        return [agent for agent in found if "plan" in agent.metadata]

    async def nobody_left(self) -> None:
        """Wait until no plan's agent lives, and make sure that no right of one is left."""
        async with asyncio.timeout(LONG):
            while await self.agents():
                await asyncio.sleep(0.02)
        held = (await self.client.request(ListCapabilities(limit=1000))).items
        assert not [each for each in held if str(each.metadata.get("by", "")).startswith("plan ")]


@asynccontextmanager
async def owned(folder: Path, kind: type[Node] = Node, **settings: Any) -> AsyncIterator[Owner]:
    async with kind(Settings(data_dir=folder / "node", **settings)) as node:
        client = node.client()
        who = (await client.connect(ClientInfo(name="owner", token=node.owner_token))).principal_id
        session = await client.request(CreateSession(title="planning", metadata={"cwd": str(folder)}))
        yield Owner(node, client, session.id, who)


def write(path: Path, text: str) -> ToolStep:
    return ToolStep(server="fs", tool="write_file", arguments={"path": str(path), "content": text})


def read(path: Path) -> ToolStep:
    return ToolStep(server="fs", tool="read_file", arguments={"path": str(path)})


def run(program: str, *arguments: str) -> CommandStep:
    """A command by the name of its program, which is given by its real path as the gate wants it."""
    found = shutil.which(program)
    return CommandStep(command=[os.path.realpath(found) if found else program, *arguments])
