"""A call that a server of others works for as a task: kill -9 of our node, and the same execution completes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from remote_tasks import TaskServer

from mcp_interface.commands import AddServer
from mcp_interface.execution import AnswerQuestion, GetExecution, ListQuestions, StartExecution
from mcp_interface.question import Response


@pytest.mark.timeout(120)
def test_a_remote_task_survives_the_death_of_our_node_and_of_the_connection(
    node_process: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    server = TaskServer(folder)

    async def scenario() -> None:
        node = node_process()
        await node.start()
        client = await node.client()
        status = await client.request(AddServer(name="far", spec=server.spec))
        assert status.state == "ready", status.error
        waits = StartExecution(server="far", tool="wait", arguments={"seconds": 3.0, "label": "x"})
        waiting = await client.request(waits)
        asking = await client.request(StartExecution(server="far", tool="ask"))
        while not (await client.request(GetExecution(execution_id=asking.id, wait_s=20))).questions:
            await asyncio.sleep(0.05)
        await server.polled(4)
        node.kill()
        server.kill()
        await node.let_go()
        server.start()
        await node.start()
        client = await node.client()
        (question,) = (await client.request(ListQuestions(execution_id=asking.id))).items
        answer = Response(action="accept", content={"name": "Ada"})
        await client.request(AnswerQuestion(question_id=question.id, response=answer))
        for started, expected in ((waiting, "done x"), (asking, "done  first={'loud': True, 'name': 'Ada'}")):
            ended = await client.request(GetExecution(execution_id=started.id, wait_s=60), timeout=70)
            assert ended.status == "SUCCESS", ended
            assert ended.result is not None and ended.result.text == expected
        await node.let_go()

    server.start()
    try:
        asyncio.run(scenario())
    finally:
        server.kill()
    assert len(server.noted("calls")) == 2, "nothing was called twice"
