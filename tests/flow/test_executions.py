"""kill -9 of a node while calls run and wait: whoever was given an id learns what became of it."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_interface.commands import AddServer, ReadSession
from mcp_interface.events import ExecutionChanged
from mcp_interface.execution import CancelExecution, GetExecution, ListExecutions, StartExecution
from mcp_interface.server import ServerSpec

SLOW_SERVER = Path(__file__).parent / "slow_server.py"
AT_ONCE = 16
MORE_THAN_RUN_AT_ONCE = AT_ONCE + 2


def test_an_id_outlives_its_node(node_process: Callable[..., Any]) -> None:
    async def scenario() -> None:
        node = node_process()
        await node.start()
        client = await node.client()
        spec = ServerSpec(command=sys.executable, args=[str(SLOW_SERVER)])
        await client.request(AddServer(name="slow", spec=spec))
        quick = StartExecution(server="slow", tool="wait", arguments={"seconds": 0})
        done = await client.request(quick)
        result = await client.request(GetExecution(execution_id=done.id, wait_s=30))
        assert result.status == "SUCCESS"
        long = StartExecution(server="slow", tool="wait", arguments={"seconds": 3600})
        started = [await client.request(long) for _ in range(MORE_THAN_RUN_AT_ONCE)]
        async with asyncio.timeout(30):
            while (await client.request(GetExecution(execution_id=started[0].id))).status != "RUNNING":
                await asyncio.sleep(0.01)
        assert (await client.request(GetExecution(execution_id=started[-1].id))).status == "PENDING"
        node.kill()
        await client.disconnect()
        await node.start()
        client = await node.client()
        assert await client.request(GetExecution(execution_id=done.id)) == result
        ran, waited = started[:AT_ONCE], started[AT_ONCE:]
        for each in ran:
            found = await client.request(GetExecution(execution_id=each.id, wait_s=30))
            assert found.status == "INTERRUPTED" and found.ended_at is not None
        page = await client.request(ListExecutions(status="INTERRUPTED"))
        assert [each.id for each in page.items] == [each.id for each in reversed(ran)]
        for each in waited:  # what had only been accepted has had no effect, and begins
            async with asyncio.timeout(30):
                while (await client.request(GetExecution(execution_id=each.id))).status != "RUNNING":
                    await asyncio.sleep(0.01)
            assert (await client.request(CancelExecution(execution_id=each.id))).status == "CANCELLED"
        records = (await client.request(ReadSession(session_id=done.session_id, limit=1000))).items
        ends = [
            record.event.execution_id
            for record in records
            if isinstance(record.event, ExecutionChanged) and record.event.status in {"completed", "failed"}
        ]
        assert sorted(ends) == sorted([done.id, *(each.id for each in started)]), "each ends once"
        await client.disconnect()

    asyncio.run(scenario())
