"""Connections to servers that work, until they are killed."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from hosting import Behind, Pids, of, run, until
from mcp_interface.errors import (
    Interrupted,
    ServerUnavailable,
)


def test_a_server_of_the_newer_era_lists_and_runs_its_tools(open_host, git_server, tmp_path) -> None:
    async def work() -> None:
        async with open_host(git=git_server) as host:
            assert of(host, "git").state == "ready"
            assert of(host, "git").protocol == "2026-07-28"
            assert {"git_log", "git_status"} <= {tool.name for tool in host.tools("git")}
            result = await host.call("git", "git_status", {"repo_path": str(Path(__file__).parents[3])})
            assert not result.is_error
            assert "branch" in result.text

    run(work)


def test_a_server_of_the_older_era_lists_and_runs_its_tools(open_host, everything_stdio) -> None:
    async def work() -> None:
        async with open_host(every=everything_stdio) as host:
            assert of(host, "every").protocol == "2025-11-25"
            assert (await host.call("every", "echo", {"message": "hi"})).text == "Echo: hi"
            assert (await host.call("every", "get-sum", {"a": 2, "b": 40})).text.count("42") == 1

    run(work)


def test_streamable_http_of_the_older_era_works(open_host, everything_http) -> None:
    async def work() -> None:
        async with open_host(every=everything_http) as host:
            assert of(host, "every").protocol == "2025-11-25"
            assert of(host, "every").log_file == ""
            assert (await host.call("every", "echo", {"message": "hi"})).text == "Echo: hi"

    run(work)


def test_streamable_http_of_the_newer_era_works(open_host, http_server, modern_script) -> None:
    server = http_server(modern_script)
    server.start()

    async def work() -> None:
        async with open_host(exam=server.spec) as host:
            assert of(host, "exam").protocol == "2026-07-28"
            assert (await host.call("exam", "add", {"a": 1, "b": 2})).structured == {"result": 3}

    run(work)


def test_results_keep_the_names_of_the_wire(open_host, everything_stdio) -> None:
    async def work() -> None:
        async with open_host(every=everything_stdio) as host:
            image = await host.call("every", "get-tiny-image", {})
            block = next(block for block in image.content if block["type"] == "image")
            assert block["mimeType"] == "image/png"
            structured = await host.call("every", "get-structured-content", {"location": "New York"})
            assert structured.structured["temperature"] is not None
            links = await host.call("every", "get-resource-links", {"count": 2})
            assert [block["type"] for block in links.content].count("resource_link") == 2

    run(work)


def test_hints_become_the_properties_of_a_tool(open_host, modern) -> None:
    async def work() -> None:
        async with open_host(exam=modern) as host:
            add, wait, grow = [await host.find("exam", name, 5) for name in ("add", "wait", "grow")]
            assert (add.title, add.read_only, add.destructive, add.idempotent) == (
                "Add two",
                True,
                False,
                True,
            )
            assert (wait.read_only, wait.destructive, wait.idempotent) == (False, False, False)
            assert (grow.read_only, grow.destructive, grow.idempotent) == (False, True, False)
            assert add.required_capabilities == ["mcp://tool/execute/exam/add"]
            assert add.parameters["required"] == ["a", "b"]

    run(work)


def test_progress_is_told_as_percent(open_host, everything_stdio) -> None:
    behind = Behind()

    async def work() -> None:
        async with open_host(every=everything_stdio) as host:
            arguments = {"duration": 0.2, "steps": 4}
            await host.call("every", "trigger-long-running-operation", arguments, context=behind.context())

    run(work)
    assert [share for share, _ in behind.progress] == [25.0, 50.0, 75.0, 100.0]


def test_twenty_calls_at_once_each_get_their_own_answer(open_host, time_server, everything_http) -> None:
    async def work() -> None:
        async with open_host(clock=time_server, every=everything_http) as host:
            calls = [host.call("every", "echo", {"message": str(number)}) for number in range(20)]
            assert [answer.text for answer in await asyncio.gather(*calls)] == [
                f"Echo: {number}" for number in range(20)
            ]
            zones = ["UTC", "Asia/Tokyo"] * 10
            calls = [host.call("clock", "get_current_time", {"timezone": zone}) for zone in zones]
            answers = await asyncio.gather(*calls)
            assert all(zone in answer.text for zone, answer in zip(zones, answers, strict=True))

    run(work)


def test_a_server_killed_during_a_call_interrupts_it_and_the_next_call_works(
    open_host, modern, child_pids: Pids, tmp_path
) -> None:
    async def work() -> None:
        behind = Behind()
        before = child_pids()
        async with open_host(exam=modern) as host:
            (pid,) = child_pids() - before
            call = asyncio.create_task(
                host.call("exam", "wait", {"marker": str(tmp_path / "marker")}, context=behind.context())
            )
            await behind.told.wait()
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(Interrupted) as caught:
                await call
            assert "'exam'" in caught.value.message
            assert "'wait'" in caught.value.message
            assert caught.value.remedy
            assert (await host.call("exam", "add", {"a": 1, "b": 2})).structured == {"result": 3}
            assert of(host, "exam").restarts == 1

    run(work)


def test_a_call_that_only_reads_is_sent_once_more_when_its_server_dies(
    open_host, everything_stdio, child_pids: Pids
) -> None:
    async def work() -> None:
        behind = Behind()
        before = child_pids()
        async with open_host(every=everything_stdio) as host:
            (pid,) = child_pids() - before
            tool = "trigger-long-running-operation"
            assert (await host.find("every", tool, 5)).idempotent
            call = asyncio.create_task(
                host.call("every", tool, {"duration": 1, "steps": 10}, context=behind.context())
            )
            await behind.told.wait()
            os.kill(pid, signal.SIGKILL)
            assert "completed" in (await call).text
            assert of(host, "every").restarts == 1

    run(work)


def test_a_server_killed_while_idle_is_noticed_and_the_next_call_works(
    open_host, git_server, child_pids: Pids, news
) -> None:
    async def work() -> None:
        before = child_pids()
        async with open_host(git=git_server) as host:
            (pid,) = child_pids() - before
            os.kill(pid, signal.SIGKILL)
            await until(lambda: any(status.state == "waiting" for status in news), 1.0)
            repository = str(Path(__file__).parents[3])
            result = await host.call("git", "git_status", {"repo_path": repository})
            assert not result.is_error

    run(work)
    assert "signal 9" in next(status.error for status in news if status.state == "waiting")


def test_a_call_made_right_after_the_kill_is_sent_again_because_nobody_read_it(
    open_host, raw, child_pids: Pids, tmp_path
) -> None:
    marker = tmp_path / "calls"
    answers: list[str] = []

    async def work() -> None:
        before = child_pids()
        async with open_host(count=raw("count", str(marker))) as host:
            for _ in range(5):
                (pid,) = child_pids() - before
                os.kill(pid, signal.SIGSTOP)
                os.kill(pid, signal.SIGKILL)
                try:
                    answers.append((await host.call("count", "echo", {"text": "x"})).text)
                except (
                    Interrupted
                ):  # the pipe closed before it could be asked: it may have been read, for all we know
                    await host.call("count", "echo", {"text": "x"})

    run(work)
    assert answers and set(answers) == {"x"}
    assert marker.read_text() == "called\n" * 5  # never twice


def test_what_a_stopped_server_never_read_is_sent_to_its_successor(
    open_host, raw, child_pids: Pids, tmp_path
) -> None:
    marker = tmp_path / "calls"

    async def work() -> None:
        before = child_pids()
        async with open_host(count=raw("count", str(marker))) as host:
            (pid,) = child_pids() - before
            os.kill(pid, signal.SIGSTOP)
            calls = [asyncio.create_task(host.call("count", "echo", {"text": str(n)})) for n in range(3)]
            await asyncio.sleep(1.0)
            assert not any(call.done() for call in calls)
            os.kill(pid, signal.SIGKILL)
            assert [result.text for result in await asyncio.gather(*calls)] == ["0", "1", "2"]

    run(work)
    assert marker.read_text() == "called\n" * 3


def test_an_http_server_killed_and_started_again_serves_the_next_call(open_host, everything_process) -> None:
    everything_process.start()

    async def work() -> None:
        async with open_host(every=everything_process.spec) as host:
            everything_process.kill()
            await asyncio.to_thread(everything_process.start)
            assert (await host.call("every", "echo", {"message": "back"})).text == "Echo: back"
            assert of(host, "every").restarts == 1

    run(work)


def test_an_http_server_killed_during_a_call_interrupts_it_and_comes_back(
    open_host, everything_process
) -> None:
    everything_process.start()

    async def work() -> None:
        behind = Behind()
        async with open_host(every=everything_process.spec) as host:
            long = {"duration": 60, "steps": 600}
            call = asyncio.create_task(
                host.call("every", "trigger-long-running-operation", long, context=behind.context())
            )
            await behind.told.wait()
            everything_process.kill()
            with pytest.raises(Interrupted):  # it only reads, but there is nobody to read from
                await call
            assert not asyncio.current_task().cancelling()
            with pytest.raises(ServerUnavailable, match="cannot connect"):
                await host.call("every", "echo", {"message": "nobody there"})
            await asyncio.to_thread(everything_process.start)
            assert (await host.call("every", "echo", {"message": "back"})).text == "Echo: back"

    run(work)


def test_a_stateless_http_server_that_dies_does_not_cancel_its_callers(
    open_host, http_server, modern_script, tmp_path
) -> None:
    server = http_server(modern_script)
    server.start()

    async def work() -> None:
        async with open_host(exam=server.spec) as host:
            marker = tmp_path / "marker"
            calls = [
                asyncio.create_task(host.call("exam", "wait", {"marker": str(marker)})) for _ in range(3)
            ]
            await until(marker.exists)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.kill)
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [isinstance(outcome, Interrupted) for outcome in outcomes] == [True] * 3
            await asyncio.to_thread(server.start)
            assert (await host.call("exam", "add", {"a": 1, "b": 1})).structured == {"result": 2}

    run(work)
