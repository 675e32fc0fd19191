"""kill -9 of the node at random points while MCP clients have tasks: the same ids go on, and complete."""

import asyncio
import os
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp_by_hand import McpClient
from serving import Running

from mcp_interface.commands import AddServer
from mcp_interface.key import Publication
from mcp_interface.server import ServerSpec

ROUNDS = 200 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 4
TOOLS = Path(__file__).parents[1] / "conformance" / "tasks_server.py"
RIGHTS = ("mcp://tool/execute/tasks/**", "mcp://tool/read/tasks/**")
KEPT_S = 20.0
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A node with tools that are slow and that ask; one for all tests, because it is slow to start."""
    made = Running(tmp_path_factory.mktemp("node"), f"[mcp]\ntask_kept_s = {KEPT_S}\n")
    try:
        made.start()
        spec = ServerSpec(command=sys.executable, args=[str(TOOLS)])
        assert made.ask(AddServer(name="tasks", spec=spec)).state == "ready"
        made.publish(Publication(name="jobs", tools=["tasks/*"], bare_names=True))
        yield made
    finally:
        made.kill()


async def ready(server: Running, key: str) -> McpClient:
    """A client, once the tools are there: after a restart their server is connected beside everything else."""
    client = McpClient(f"{server.url}mcp/jobs", key)
    async with asyncio.timeout(PATIENCE_S):
        while not (said := await client.request("tools/list")).get("result", {}).get("tools"):
            assert "error" not in said, said
            await asyncio.sleep(0.05)
    return client


async def become(client: McpClient, task_id: str, *wanted: str) -> dict[str, Any]:
    """Ask about a task until it is one of these."""
    async with asyncio.timeout(PATIENCE_S):
        while (task := await client.task(task_id))["status"] not in wanted:
            assert task["status"] in {"working", "input_required"}, task
            await asyncio.sleep(0.05)
    return task


async def begin(client: McpClient, number: int, seconds: float, told: dict[str, str]) -> None:
    """Begin a slow and an asking task; whatever handle comes back is noted down."""

    async def slow() -> None:
        task = await client.call("slow_compute", seconds=seconds, label=f"slow {number}")
        told[task["taskId"]] = f"computed slow {number}"

    async def asking() -> None:
        task = await client.call("confirm_delete", filename=f"file {number}")
        told[task["taskId"]] = f"accept file {number}"

    await asyncio.gather(slow(), asking())


async def finish(client: McpClient, told: dict[str, str]) -> None:
    """Every task of which a client has the handle completes, questions still open answered now."""
    for task_id, expected in told.items():
        asking = expected.startswith("accept")
        task = await become(client, task_id, "completed", "input_required")
        if task["status"] == "input_required":
            assert asking, task
            await client.answer(task, {"confirm": True})
            task = await become(client, task_id, "completed")
        assert task["taskId"] == task_id
        assert task["result"]["content"][0]["text"] == expected, task


@pytest.mark.timeout(60 + ROUNDS * 30)
def test_every_task_whose_handle_was_returned_completes_after_kill_9(server: Running) -> None:
    entropy = random.Random(2026)
    finished = asked = 0

    async def one_round(number: int, told: dict[str, str]) -> None:
        client = await ready(server, key)
        work = asyncio.create_task(begin(client, number, entropy.random() * 0.5, told))
        if number % 2:  # now and then the handles are there for certain, else as it comes
            await asyncio.wait({work})
        await asyncio.sleep(entropy.random() * 0.5)
        server.kill()
        with suppress(httpx2.HTTPError):
            await work
        server.start()
        await finish(McpClient(f"{server.url}mcp/jobs", key), told)

    key = server.key("jobs", *RIGHTS)
    for number in range(ROUNDS):
        told: dict[str, str] = {}
        asyncio.run(one_round(number, told))
        finished += len(told)
        asked += sum(expected.startswith("accept") for expected in told.values())
    print(f"{ROUNDS} rounds: {finished} tasks completed under their ids, {asked} of them had a question open")
    assert finished >= ROUNDS and asked >= ROUNDS // 2


@pytest.mark.timeout(120)
def test_a_question_stays_answerable_through_two_deaths_under_the_same_key(server: Running) -> None:
    key = server.key("deaths", *RIGHTS)

    async def before() -> dict[str, Any]:
        client = await ready(server, key)
        made = await client.call("confirm_delete", filename="x")
        return await become(client, made["taskId"], "input_required")

    async def after(task: dict[str, Any]) -> None:
        client = McpClient(f"{server.url}mcp/jobs", key)
        found = await client.task(task["taskId"])
        assert found["inputRequests"] == task["inputRequests"]
        await client.answer(found, {"confirm": True})
        ended = await become(client, task["taskId"], "completed")
        assert ended["result"]["content"][0]["text"] == "accept x"

    task = asyncio.run(before())
    for _ in range(2):
        server.kill()
        server.start()
    asyncio.run(after(task))


@pytest.mark.timeout(120)
def test_another_principals_task_is_as_unknown_as_none(server: Running) -> None:
    keys = server.key("hers", *RIGHTS), server.key("strangers", *RIGHTS)

    async def scenario() -> None:
        theirs, stranger = [await ready(server, key) for key in keys]
        made = await theirs.call("confirm_delete", filename="x")
        task = await become(theirs, made["taskId"], "input_required")
        responses = {key: {"action": "accept", "content": {}} for key in task["inputRequests"]}
        for method, more in (
            ("tasks/get", {}),
            ("tasks/update", {"inputResponses": responses}),
            ("tasks/cancel", {}),
        ):
            told = [
                (await stranger.request(method, one, taskId=one, **more))["error"]
                for one in (made["taskId"], "exec_" + "0" * 32, "anything")
            ]
            assert told[0] == told[1] == told[2]
            assert told[0]["code"] == -32602
        assert (await theirs.task(made["taskId"]))["status"] == "input_required"

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_a_task_expires_for_mcp_clients_when_it_said_and_not_before(server: Running) -> None:
    key = server.key("late", *RIGHTS)

    async def scenario() -> None:
        client = await ready(server, key)
        made = await client.call("slow_compute", seconds=0.0)
        assert made["ttlMs"] is None, "while it runs it is kept"
        task = await become(client, made["taskId"], "completed")
        created = datetime.fromisoformat(task["createdAt"])
        until = created + timedelta(milliseconds=task["ttlMs"])
        rounded = timedelta(milliseconds=2)
        assert until - datetime.fromisoformat(task["lastUpdatedAt"]) >= timedelta(seconds=KEPT_S) - rounded
        while True:
            answer = await client.request("tasks/get", task["taskId"], taskId=task["taskId"])
            if "error" in answer:
                break
            assert datetime.now(UTC) < until + timedelta(seconds=30)
            await asyncio.sleep(0.2)
        assert datetime.now(UTC) >= until
        assert answer["error"]["message"] == "Failed to retrieve task: Task not found"

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_a_stream_tells_all_of_a_task_whenever_it_is_otherwise(server: Running) -> None:
    keys = server.key("listening", *RIGHTS), server.key("overhearing", *RIGHTS)

    async def scenario() -> None:
        client, stranger = [await ready(server, key) for key in keys]
        made = await client.call("confirm_delete", filename="x")
        task_id, told = made["taskId"], []
        async for message in client.listen(taskIds=[task_id, "another"]):
            if message["method"] == "notifications/subscriptions/acknowledged":
                assert message["params"]["notifications"]["taskIds"] == [task_id]
                continue
            assert message["method"] == "notifications/tasks"
            task = message["params"]
            told.append(task["status"])
            if task["status"] == "input_required":
                await client.answer(task, {"confirm": True})
            if task["status"] == "completed":
                break
        assert task["result"]["content"][0]["text"] == "accept x"
        assert "input_required" in told
        async for message in stranger.listen(taskIds=[task_id]):
            assert message["params"]["notifications"]["taskIds"] == []
            break
        silent = McpClient(f"{server.url}mcp/jobs", keys[0], declares=False)
        refused = await silent.request("subscriptions/listen", notifications={"taskIds": [task_id]})
        assert refused["error"]["code"] == -32021

    asyncio.run(scenario())
