"""A server that takes calls and never answers: its deadline is its failure, and in the end it is left alone."""

import asyncio
import sys
from pathlib import Path

import pytest

from hosting import run
from mcp_core import Node, Settings
from mcp_core.gateway.toolbox import speaks_against
from mcp_interface.client import ClientInfo
from mcp_interface.commands import AddServer, CallTool
from mcp_interface.errors import CircuitOpen, DeadlineExceeded, ServerUnavailable, WorldBroken
from mcp_interface.server import ServerSpec

SERVER = Path(__file__).parent / "servers" / "slow.py"


def test_a_server_that_hangs_opens_its_breaker(tmp_path: Path) -> None:
    async def work() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            spec = ServerSpec(command=sys.executable, args=[str(SERVER)])
            await client.request(AddServer(name="slow", spec=spec))
            hangs = CallTool(
                server="slow", tool="wait", arguments={"mark": str(tmp_path / "mark")}, timeout_ms=200
            )
            for _ in range(3):
                with pytest.raises(DeadlineExceeded, match=r"did not answer 'wait' in 0\.\d+ s"):
                    await client.request(hangs)
            with pytest.raises(CircuitOpen, match="slow/wait"):
                await client.request(hangs)

    run(work)


def test_only_a_deadline_of_a_call_that_was_sent_speaks_against_its_tool() -> None:
    assert speaks_against(DeadlineExceeded("late", "", {"server": "slow", "tool": "wait"}))
    assert not speaks_against(DeadlineExceeded("not ready in time", "", {"server": "slow"}))
    assert speaks_against(WorldBroken("nonsense")) and not speaks_against(ServerUnavailable("away"))
    assert not speaks_against(asyncio.CancelledError())
