"""kill -9 of the node at random moments under load: what was acknowledged is there, once."""

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flow.workload import (
    Acknowledged,
    add_slow_server,
    check,
    connect_slow_server,
    until_refused,
    watch,
    work,
)

from mcp_interface.commands import GetStatus, PostMessage, VerifyAudit

ROUNDS = 100 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 10
WORKERS = 4
KILLED = frozenset({"node_unavailable", "interrupted"})
"""What a client may hear of a node that was killed."""


@pytest.mark.timeout(60 + ROUNDS * 20)
def test_kill_9_loses_nothing_acknowledged_and_repeats_nothing(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    async def scenario() -> None:
        entropy = random.Random(2026)
        node, told = node_process(), Acknowledged()
        recovered = interrupted = 0
        for round_number in range(ROUNDS):
            await node.start()
            clients = [await node.client() for _ in range(WORKERS + 1)]
            if round_number == 0:
                await add_slow_server(clients[0])
            recovered += (await clients[0].request(GetStatus())).recovered
            interrupted = await check(clients[0], told)
            assert (await clients[0].request(VerifyAudit())).ok
            await connect_slow_server(clients[0])
            load = [
                asyncio.create_task(until_refused(work(client, tmp_path, told, entropy), KILLED))
                for client in clients[1:]
            ]
            load.append(asyncio.create_task(until_refused(watch(clients[0], told), KILLED)))
            await asyncio.sleep(0.05 + entropy.random() * 0.9)
            node.kill()
            await asyncio.gather(*load)
            for client in clients:
                await client.disconnect()
        await node.start()
        client = await node.client()
        interrupted = await check(client, told)
        report = await client.request(VerifyAudit())
        assert report.ok, report.problem
        assert told.total > ROUNDS * 5
        assert recovered > 0 and interrupted > 0
        session_id, _ = next(iter(told.messages.values()))
        await client.request(PostMessage(session_id=session_id, text="we go on"))
        await client.disconnect()
        print(
            f"{ROUNDS} rounds: {told.total} acknowledged, {len(told.seen)} records seen, "
            f"{interrupted} calls interrupted, {report.entries} audit entries"
        )

    asyncio.run(scenario())
