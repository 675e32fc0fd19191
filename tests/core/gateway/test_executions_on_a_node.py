"""Tool calls as things of their own, on a real node with a real server: clients come and go, the node stops."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hosting import run
from mcp_core import DataDir, Node, Settings, SocketClient
from mcp_core.gateway.local import LocalClient
from mcp_interface.client import ClientInfo
from mcp_interface.commands import (
    AddServer,
    CallTool,
    ReadSession,
    SpawnAgent,
)
from mcp_interface.events import ExecutionChanged
from mcp_interface.execution import (
    CancelExecution,
    Execution,
    GetExecution,
    ListExecutions,
    StartExecution,
)
from mcp_interface.ids import ExecutionId
from mcp_interface.server import ServerSpec

SERVER = Path(__file__).parent / "servers" / "slow.py"
LONG = 45.0


@asynccontextmanager
async def opened(place: Path) -> AsyncIterator[Node]:
    async with Node(Settings.load(place / "node", {})) as node:
        yield node


async def client_of(node: Node) -> LocalClient:
    client = node.client()
    await client.connect(ClientInfo(name="test", token=node.owner_token))
    return client


async def socket_of(node: Node) -> SocketClient:
    client = SocketClient(DataDir(node.settings.data_dir).socket)
    await client.connect(ClientInfo(name="test", token=node.owner_token))
    return client


async def with_slow_server(node: Node) -> LocalClient:
    client = await client_of(node)
    spec = ServerSpec(command=sys.executable, args=[str(SERVER)])
    status = await client.request(AddServer(name="slow", spec=spec))
    assert status.state == "ready", status.error
    return client


def wait(mark: Path, **options: Any) -> StartExecution:
    return StartExecution(server="slow", tool="wait", arguments={"mark": str(mark)}, **options)


async def written(mark: Path, text: str) -> None:
    async with asyncio.timeout(LONG):
        while not (mark.exists() and mark.read_text() == text):
            await asyncio.sleep(0.01)


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(LONG):
        while not (found := await look()):
            await asyncio.sleep(0.01)
        return found


async def statuses(client: Any, execution: Execution) -> list[str]:
    page = await client.request(ReadSession(session_id=execution.session_id))
    return [
        record.event.status
        for record in page.items
        if isinstance(record.event, ExecutionChanged) and record.event.execution_id == execution.id
    ]


def test_a_client_leaves_and_another_one_fetches_the_result(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def work() -> None:
        async with opened(tmp_path) as node:
            mine = await with_slow_server(node)
            first = await socket_of(node)
            started = await first.request(wait(mark))
            assert started.status == "PENDING" and started.tool == "wait"
            await written(mark, "began")
            await first.disconnect()
            second = await socket_of(node)
            seen = await until(lambda: running(second, started.id))
            assert (seen.progress, seen.message) == (25.0, "a quarter")
            assert seen.started_at is not None and seen.result is None
            waiting = asyncio.create_task(
                second.request(GetExecution(execution_id=started.id, wait_s=LONG), LONG + 5)
            )
            Path(f"{mark}.go").touch()
            ended = await waiting
            assert ended.status == "SUCCESS" and ended.progress == 100.0
            assert ended.result is not None and ended.result.text == "waited for mark.go"
            assert ended.ended_at is not None and ended.error is None
            assert ended == await mine.request(GetExecution(execution_id=started.id))
            assert await statuses(mine, started) == ["queued", "started", "completed"]
            (listed,) = (await mine.request(ListExecutions(status="SUCCESS"))).items
            assert listed.id == started.id and listed.result is None
            await second.disconnect()
        async with opened(tmp_path) as node:
            after = await (await client_of(node)).request(GetExecution(execution_id=started.id))
            assert after == ended

    async def running(client: Any, key: ExecutionId) -> Any:
        found = await client.request(GetExecution(execution_id=key))
        return found if found.status == "RUNNING" and found.progress else None

    run(work, 240.0)


def test_a_cancel_reaches_the_server_and_is_journaled_as_cancelled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def work() -> None:
        async with opened(tmp_path) as node:
            client = await with_slow_server(node)
            started = await client.request(wait(mark))
            await written(mark, "began")
            other = await socket_of(node)
            stopped = await other.request(CancelExecution(execution_id=started.id))
            assert stopped.status == "CANCELLED", stopped
            assert stopped.error is not None and stopped.error.code == "interrupted"
            await written(mark, "cancelled")
            again = await other.request(CancelExecution(execution_id=started.id))
            assert again == stopped, "harmless when it is over"
            assert await statuses(client, started) == ["queued", "started", "failed"]
            await other.disconnect()

    run(work, 240.0)


def test_what_ends_badly_says_how(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(tmp_path) as node:
            client = await with_slow_server(node)
            broken = await client.request(StartExecution(server="slow", tool="fail"))
            ended = await client.request(GetExecution(execution_id=broken.id, wait_s=LONG))
            assert ended.status == "FAILED"
            assert ended.result is not None and ended.result.is_error and ended.error is None
            late = await client.request(wait(tmp_path / "late", timeout_ms=200))
            ended = await client.request(GetExecution(execution_id=late.id, wait_s=LONG))
            assert ended.status == "TIMEOUT" and ended.error is not None
            missing = await client.request(StartExecution(server="slow", tool="nothing"))
            ended = await client.request(GetExecution(execution_id=missing.id, wait_s=LONG))
            assert ended.status == "FAILED" and ended.started_at is None
            assert ended.error is not None and ended.error.code == "not_found"
            await client.request(SpawnAgent(name="weak"))
            denied = await client.request(wait(tmp_path / "denied", as_agent="weak"))
            ended = await client.request(GetExecution(execution_id=denied.id, wait_s=LONG))
            assert ended.status == "FAILED"
            assert ended.error is not None and ended.error.code == "denied"
            assert not (tmp_path / "denied").exists()

    run(work, 240.0)


def test_a_stop_of_the_node_interrupts_and_does_not_cancel(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def work() -> None:
        async with opened(tmp_path) as node:
            client = await with_slow_server(node)
            started = await client.request(wait(mark))
            called = asyncio.create_task(
                client.request(
                    CallTool(server="slow", tool="wait", arguments={"mark": str(tmp_path / "other")})
                )
            )
            await written(mark, "began")
            await written(tmp_path / "other", "began")
        await asyncio.gather(called, return_exceptions=True)
        async with opened(tmp_path) as node:
            client = await client_of(node)
            found = await client.request(GetExecution(execution_id=started.id))
            assert found.status == "INTERRUPTED" and found.error is not None
            assert "stopped" in found.error.message
            listed = (await client.request(ListExecutions())).items
            assert [each.status for each in listed] == ["INTERRUPTED", "INTERRUPTED"]
            assert not (await client.request(ListExecutions(status="RUNNING"))).items

    run(work, 240.0)
