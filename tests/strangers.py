"""A node with somebody who has a key and no right at all."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from mcp_core import Node, Settings
from mcp_interface.access import (
    CreateKey,
    Publish,
)
from mcp_interface.cataloging import (
    CreateItem,
    CreatePrompt,
)
from mcp_interface.client import Client, ClientInfo
from mcp_interface.commands import (
    AddServer,
    CallTool,
    CreateSession,
    GrantCapability,
    SpawnAgent,
)
from mcp_interface.ids import PrincipalId, SessionId, TaskId
from mcp_interface.key import Publication
from mcp_interface.plan import ToolStep
from mcp_interface.planning import DraftPlan, Step
from mcp_interface.server import ServerSpec
from mcp_interface.team import GiveTask

ITEM: Final = "note:private"
PROMPT: Final = "private"
SECRET: Final = "a-secret-in-a-header"


class Owned:
    """What the owner of the node has, by its ids."""

    session: SessionId
    agent: str
    execution: Any
    plan: Any
    task: TaskId
    capability: Any
    owner: PrincipalId
    key: str
    secret: str


async def with_a_stranger(
    folder: Path, work: Callable[[Owned, Client, Client, PrincipalId], Awaitable[None]]
) -> None:
    """Run `work` on a node whose owner has something of everything, beside somebody who has a key."""
    async with asyncio.timeout(90), Node(Settings(data_dir=folder)) as node:
        owner, stranger, has = node.client(), node.client(), Owned()
        has.owner = (await owner.connect(ClientInfo(name="owner", token=node.owner_token))).principal_id
        has.session = (await owner.request(CreateSession(title="hers"))).id
        has.agent = (await owner.request(SpawnAgent(name="ann", session_id=has.session))).id
        grant = GrantCapability(agent=has.agent, resource_uri="mcp://fs/read/etc/**")
        has.capability = (await owner.request(grant)).id
        call = CallTool(server="fs", tool="read_file", arguments={"path": "/etc/hostname"})
        has.execution = (await owner.request(call)).execution_id
        has.task = (await owner.request(GiveTask(session_id=has.session, goal=SECRET))).id
        step = Step(work=ToolStep(server="fs", tool="read_file", arguments={"path": "/etc/hostname"}))
        has.plan = (await owner.request(DraftPlan(session_id=has.session, title="hers", steps=[step]))).id
        spec = ServerSpec(url="http://127.0.0.1:9/mcp", headers={"X-Place": "${SECRET_PLACE}"}, disabled=True)
        await owner.request(AddServer(name="hidden", spec=spec))
        await owner.request(CreateItem(uri=ITEM, kind="text", name="private", text=SECRET))
        await owner.request(CreatePrompt(name=PROMPT, template=SECRET))
        await owner.request(
            Publish(publication=Publication(name="hers", tools=["fs/*"], principal_id=has.owner))
        )
        made = await owner.request(CreateKey(name="stranger"))
        has.key, has.secret = made.key.id, made.secret
        welcome = await stranger.connect(ClientInfo(name="stranger", token=made.secret))
        assert welcome.principal_id == made.key.principal_id
        await work(has, owner, stranger, welcome.principal_id)
