"""MCP servers that we did not write, through the whole path of the node."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_core import Node, Settings
from mcp_core.gateway.local import LocalClient
from mcp_interface.client import ClientInfo
from mcp_interface.commands import (
    AddServer,
    CallTool,
    GrantCapability,
    ListServers,
    ListTools,
    RemoveServer,
    RestartServer,
    SpawnAgent,
)
from mcp_interface.errors import CallerMistaken, Interrupted, NotFound, NotPermitted
from mcp_interface.server import ServerSpec

ROOT = Path(__file__).parents[2]


def with_node(tmp_path: Path, work: Callable[[LocalClient], Any]) -> None:
    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            await work(client)

    asyncio.run(scenario())


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A real git history; this repository's own where it is a checkout."""
    if (ROOT / ".git").exists():
        return ROOT
    place = tmp_path / "history"
    commit = [
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "commit",
        "--allow-empty",
        "-qm",
        "one",
    ]
    for command in (["git", "init", "-q", str(place)], [commit[0], "-C", str(place), *commit[1:]]):
        subprocess.run(command, check=True)
    return place


def test_an_agent_reads_this_history_only_after_a_grant(
    tmp_path: Path, git_server: ServerSpec, history: Path
) -> None:
    async def work(client: LocalClient) -> None:
        status = await client.request(AddServer(name="git", spec=git_server))
        assert status.state == "ready", status.error
        names = {tool.name for tool in (await client.request(ListTools(server="git"))).items}
        assert "git_log" in names
        await client.request(SpawnAgent(name="reader"))
        call = CallTool(
            server="git",
            tool="git_log",
            arguments={"repo_path": str(history), "max_count": 1},
            as_agent="reader",
        )
        with pytest.raises(NotPermitted) as denied:
            await client.request(call)
        _, _, agent, uri = denied.value.remedy.split()
        await client.request(GrantCapability(agent=agent, resource_uri=uri))
        head = subprocess.run(
            ["git", "-C", str(history), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        assert head.stdout.strip() in (await client.request(call)).result.text

    with_node(tmp_path, work)


@pytest.mark.parametrize("transport", ["everything_stdio", "everything_http"])
def test_everything_works_over_both_transports(
    tmp_path: Path, transport: str, request: pytest.FixtureRequest
) -> None:
    spec = request.getfixturevalue(transport)

    async def work(client: LocalClient) -> None:
        status = await client.request(AddServer(name="everything", spec=spec))
        assert status.state == "ready", status.error
        outcome = await client.request(
            CallTool(server="everything", tool="echo", arguments={"message": "hello"})
        )
        assert "hello" in outcome.result.text
        again = await client.request(RestartServer(name="everything"))
        assert (again.state, again.restarts) == ("ready", 0), again.error
        with pytest.raises(NotFound, match="everythin"):
            await client.request(RestartServer(name="everythin"))
        with pytest.raises(CallerMistaken, match="built in"):
            await client.request(RestartServer(name="fs"))
        await client.request(RemoveServer(name="everything"))

    with_node(tmp_path, work)


def kill_children(of: str) -> None:
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", of], capture_output=True, text=True, check=True
    )
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)


def test_a_killed_server_costs_one_typed_error_and_the_next_call_works(tmp_path: Path) -> None:
    script = Path(__file__).parent / "slow_server.py"

    async def work(client: LocalClient) -> None:
        await client.request(
            AddServer(name="slow", spec=ServerSpec(command=sys.executable, args=[str(script)]))
        )
        call = asyncio.create_task(
            client.request(CallTool(server="slow", tool="wait", arguments={"seconds": 20.0}))
        )
        await asyncio.sleep(0.5)
        kill_children("slow_server")
        with pytest.raises(Interrupted):
            await asyncio.wait_for(call, 10)
        outcome = await client.request(CallTool(server="slow", tool="wait", arguments={"seconds": 0.0}))
        assert "waited" in outcome.result.text

    with_node(tmp_path, work)


def test_a_call_that_only_reads_survives_the_death_of_its_server(
    tmp_path: Path, everything_stdio: ServerSpec
) -> None:
    async def work(client: LocalClient) -> None:
        await client.request(AddServer(name="everything", spec=everything_stdio))
        tools = (await client.request(ListTools(server="everything"))).items
        slow = next(tool for tool in tools if "long" in tool.name.lower())
        assert slow.idempotent
        call = asyncio.create_task(
            client.request(
                CallTool(server="everything", tool=slow.name, arguments={"duration": 2, "steps": 20})
            )
        )
        await asyncio.sleep(0.5)
        kill_children("everything")
        outcome = await asyncio.wait_for(call, 30)
        assert not outcome.result.is_error
        statuses = (await client.request(ListServers())).items
        assert next(status for status in statuses if status.name == "everything").restarts == 1

    with_node(tmp_path, work)
