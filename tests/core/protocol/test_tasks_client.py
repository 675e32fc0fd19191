"""Calls that their server works for as tasks: over lost connections and dead servers, and in another process."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from remote_tasks import TaskServer

from hosting import Behind, run
from mcp_core.protocol.doors import Doors
from mcp_interface.errors import Interrupted, WorldBroken
from mcp_interface.question import Inquiry, Response
from mcp_interface.tool import Resumption, ToolContext

ADA = Response(action="accept", content={"name": "Ada"})


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskServer]:
    made = TaskServer(tmp_path_factory.mktemp("tasks"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def server(process: TaskServer) -> TaskServer:
    """The server, which has seen nothing yet."""
    for file in process.folder.iterdir():
        file.unlink()
    return process


class Keeping(Behind):
    """Who is behind a call, with a memory that outlives it."""

    def __init__(self, answer: Callable[[Inquiry], Response] | None = None, **more: Any) -> None:
        super().__init__(answer)
        self.kept: list[str] = []
        self._more = {"keep": self._keep, **more}

    def context(self) -> ToolContext:
        return msgspec.structs.replace(super().context(), **self._more)

    async def _keep(self, handle: str) -> None:
        self.kept.append(handle)


def test_a_call_that_becomes_a_task_ends_with_the_result_of_the_task(open_host, server: TaskServer) -> None:
    behind = Keeping()

    async def work() -> None:
        async with open_host(far=server.spec) as host:
            arguments = {"seconds": 0.3, "label": "x"}
            assert (await host.call("far", "wait", arguments, context=behind.context())).text == "done x"

    run(work)
    (call,) = server.noted("calls")
    (kept,) = behind.kept
    assert json.loads(kept)["task"] == call.split()[1]
    assert "working on wait" in [message for _, message in behind.progress]


def test_a_task_goes_on_longer_than_a_call_may_take(open_host, server: TaskServer) -> None:
    async def work() -> None:
        async with open_host(far=server.spec) as host:
            found = await host.call("far", "wait", {"seconds": 1.0}, timeout=0.3, context=Keeping().context())
            assert found.text == "done"

    run(work)


def test_what_a_tool_says_of_its_failure_is_a_result_and_what_breaks_is_an_error(
    open_host, server: TaskServer
) -> None:
    async def work() -> None:
        async with open_host(far=server.spec) as host:
            failed = await host.call("far", "fail", {}, context=Keeping().context())
            assert (failed.text, failed.is_error) == ("it failed", True)
            with pytest.raises(WorldBroken, match="it broke") as broken:
                await host.call("far", "break", {}, context=Keeping().context())
            assert broken.value.details["mcp_code"] == -32603

    run(work)


def test_what_a_task_wants_to_know_is_asked_once_and_delivered(open_host, server: TaskServer) -> None:
    behind = Keeping(lambda _: ADA)

    async def work() -> None:
        async with open_host(far=server.spec) as host:
            found = await host.call("far", "ask_twice", {}, context=behind.context())
            words = "{'loud': True, 'name': 'Ada'}"
            assert found.text == f"done  first={words} second={words}"

    run(work)
    assert [one.message for one in behind.asked] == ["first?", "second?"]
    assert [json.loads(handle)["task"] for handle in behind.handles] == [
        json.loads(behind.kept[0])["task"]
    ] * 2


def test_the_death_of_the_connection_does_not_end_the_task(open_host, server: TaskServer) -> None:
    async def work() -> None:
        async with open_host(far=server.spec) as host:
            call = asyncio.create_task(
                host.call("far", "wait", {"seconds": 1.0, "label": "x"}, context=Keeping().context())
            )
            await server.polled(2)
            server.kill()
            await asyncio.sleep(0.3)
            assert not call.done()
            server.start()
            assert (await call).text == "done x"

    run(work)
    assert len(server.noted("calls")) == 1


def test_a_question_stays_with_its_person_while_the_server_is_away(open_host, server: TaskServer) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()
    questions: list[str] = []

    async def ask(inquiries, handle: str) -> dict[str, Response]:
        questions.extend(one.key for one in inquiries)
        asked.set()
        await answered.wait()
        return {one.key: ADA for one in inquiries}

    behind = Keeping(ask=ask, answers=frozenset({"form"}))

    async def work() -> None:
        async with open_host(far=server.spec) as host:
            call = asyncio.create_task(host.call("far", "ask", {}, context=behind.context()))
            await asked.wait()
            server.kill()
            await asyncio.sleep(0.3)
            answered.set()
            await asyncio.sleep(0.1)
            server.start()
            assert (await call).text.endswith("first={'loud': True, 'name': 'Ada'}")

    run(work)
    assert questions == ["first"]


def test_another_process_asks_about_the_task_instead_of_calling_again(open_host, server: TaskServer) -> None:
    first = Keeping()

    async def work() -> None:
        stopping = Doors(stopping=lambda: True)
        async with open_host(far=server.spec, doors=stopping) as host:
            arguments = {"seconds": 0.5, "label": "x"}
            call = asyncio.create_task(host.call("far", "wait", arguments, context=first.context()))
            await server.polled(1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        second = Keeping(resumption=Resumption(handle=first.kept[0]))
        async with open_host(far=server.spec) as host:
            found = await host.call("far", "wait", arguments, context=second.context())
            assert found.text == "done x"
        assert not second.kept  # it is durable already

    run(work)
    assert len(server.noted("calls")) == 1
    assert not [line for line in server.noted("seen") if line.startswith("tasks/cancel")]


def test_answers_that_another_process_was_given_are_delivered(open_host, server: TaskServer) -> None:
    async def asking(inquiries, handle: str) -> dict[str, Response]:
        handles.append(handle)
        await asyncio.Event().wait()
        raise AssertionError

    handles: list[str] = []

    async def work() -> None:
        first = Keeping(ask=asking, answers=frozenset({"form"}))
        async with open_host(far=server.spec, doors=Doors(stopping=lambda: True)) as host:
            call = asyncio.create_task(host.call("far", "ask", {}, context=first.context()))
            async with asyncio.timeout(20):
                while not handles:
                    await asyncio.sleep(0.02)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        second = Keeping(resumption=Resumption(handle=handles[0], responses={"first": ADA}))
        async with open_host(far=server.spec) as host:
            found = await host.call("far", "ask", {}, context=second.context())
            assert found.text == "done  first={'loud': True, 'name': 'Ada'}"

    run(work)
    assert len(server.noted("calls")) == 1


def test_whoever_cancels_the_call_cancels_the_task(open_host, server: TaskServer) -> None:
    async def work() -> None:
        async with open_host(far=server.spec) as host:
            call = asyncio.create_task(host.call("far", "wait", {"seconds": 60}, context=Keeping().context()))
            await server.polled(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    run(work)
    (call,) = server.noted("calls")
    assert f"tasks/cancel {call.split()[1]}" in server.noted("seen")


def test_a_task_that_its_server_forgot_is_an_interrupted_call(open_host, server: TaskServer) -> None:
    async def work() -> None:
        async with open_host(far=server.spec) as host:
            call = asyncio.create_task(host.call("far", "wait", {"seconds": 60}, context=Keeping().context()))
            await server.polled(1)
            (server.folder / "gone").touch()
            with pytest.raises(Interrupted, match="no longer knows it"):
                await call

    run(work)


def test_one_slow_poll_does_not_end_the_task(
    open_host, server: TaskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.protocol.following.POLL_S", 0.5)

    async def work() -> None:
        async with open_host(far=server.spec) as host:
            call = asyncio.create_task(
                host.call("far", "wait", {"seconds": 0.5, "label": "x"}, context=Keeping().context())
            )
            await server.polled(1)
            (server.folder / "slow").write_text("5")
            await asyncio.sleep(1.0)
            (server.folder / "slow").unlink()
            assert (await call).text == "done x"

    run(work)


def test_a_result_against_its_own_schema_is_no_result(open_host, server: TaskServer) -> None:
    async def work() -> None:
        async with open_host(far=server.spec) as host:
            with pytest.raises(Interrupted, match="output schema"):
                await host.call("far", "shape", {}, context=Keeping().context())

    run(work)


def test_a_server_that_was_taken_away_ends_the_wait(open_host, server: TaskServer) -> None:
    async def work() -> None:
        async with open_host(far=server.spec) as host:
            call = asyncio.create_task(host.call("far", "wait", {"seconds": 60}, context=Keeping().context()))
            await server.polled(1)
            await host.remove("far")
            with pytest.raises(Interrupted, match="cannot be asked about it"):
                await call

    run(work)
