"""Servers that were never there, hang, lie or leave things behind."""

import asyncio
import os
import signal
import stat
import sys
import time
from pathlib import Path

import msgspec
import pytest

from hosting import Pids, groups_alive, of, run, until
from mcp_core.protocol import Connection
from mcp_core.protocol.doors import Doors
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    NotFound,
    OurBug,
    ServerUnavailable,
    UmbrellaError,
    WorldBroken,
)
from mcp_interface.ids import ExecutionId, PrincipalId
from mcp_interface.server import ServerSpec
from mcp_interface.testing.time import ManualClock, SeededEntropy
from mcp_interface.tool import ToolContext

SECRET = "s3cret-" * 6


def test_a_bad_command_is_a_status_with_the_reason_and_fails_calls_at_once(open_host) -> None:
    async def work() -> None:
        async with open_host(bad=ServerSpec(command="/no/such/program")) as host:
            status = of(host, "bad")
            assert status.state == "failed"
            assert "/no/such/program" in status.error
            began = time.monotonic()
            with pytest.raises(ServerUnavailable) as caught:
                await host.call("bad", "anything", {})
            assert time.monotonic() - began < 1.0
            assert "/no/such/program" in caught.value.message
            assert status.log_file in caught.value.message

    run(work)


def test_a_server_that_ends_at_once_shows_its_last_words(open_host) -> None:
    spec = ServerSpec(command=sys.executable, args=["-c", "raise SystemExit('wrong key')"])

    async def work() -> None:
        async with open_host(crash=spec) as host:
            assert of(host, "crash").state in {"waiting", "connecting"}
            assert "last words: wrong key" in of(host, "crash").error

    run(work)


def test_a_bad_url_is_a_status_with_the_reason(open_host) -> None:
    async def work() -> None:
        async with open_host(bad=ServerSpec(url="http://127.0.0.1:9/mcp")) as host:
            assert "cannot connect" in of(host, "bad").error
            with pytest.raises(ServerUnavailable, match="cannot connect"):
                await host.call("bad", "anything", {})

    run(work)


def test_a_url_that_is_no_mcp_server_names_the_http_status(open_host, everything_http) -> None:
    wrong = ServerSpec(url=everything_http.url.replace("/mcp", "/elsewhere"))

    async def work() -> None:
        async with open_host(wrong=wrong) as host:
            assert "HTTP 404" in of(host, "wrong").error

    run(work)


def test_a_variable_that_is_not_set_is_named(open_host) -> None:
    async def work() -> None:
        async with open_host({}, bad=ServerSpec(command="x", args=["${MISSING_KEY}"])) as host:
            assert of(host, "bad").state == "failed"
            assert "'MISSING_KEY'" in of(host, "bad").error

    run(work)


def test_the_value_of_a_variable_never_shows_in_an_error(open_host) -> None:
    spec = ServerSpec(command=sys.executable, args=["-c", "raise SystemExit('bad key ${KEY}')"])

    async def work() -> None:
        async with open_host({"KEY": "hunter22"}, bad=spec) as host:
            assert "bad key ${KEY}" in of(host, "bad").error
            assert "hunter22" not in repr(host.statuses())

    run(work)


class OneSecret:
    """A vault with one secret."""

    async def get(self, name: str) -> str:
        assert name == "k"
        return SECRET


def test_a_secret_is_in_nothing_that_its_server_says(open_host, raw, news) -> None:
    told: list[str] = []

    async def progress(share: float, message: str) -> None:
        told.append(message)

    async def work() -> None:
        spec = msgspec.structs.replace(raw("tells"), env={"TOK": "${secret:k}"})
        doors = Doors(vault=OneSecret())  # type: ignore[arg-type]
        async with open_host(doors=doors, x=spec) as host:
            assert of(host, "x").instructions == "connected with ${secret:k}"
            with pytest.raises(WorldBroken, match="401") as caught:
                await host.call("x", "echo", {"text": "fail"})
            assert SECRET not in repr(caught.value.body()) and "${secret:k}" in caught.value.message
            context = ToolContext(
                execution_id=ExecutionId("exec_1"),
                principal_id=PrincipalId("user_1"),
                progress=progress,
                log=lambda line: told.append(str(line.data)),
            )
            result = await host.call("x", "echo", {"text": "go"}, context=context)
            assert result.content[0]["text"] == "done with ${secret:k}"
            assert sorted(told) == ["using ${secret:k}", "with ${secret:k}"]
            assert SECRET not in repr(news)

    run(work)


def test_a_server_that_never_answers_a_call_costs_the_deadline_and_no_more(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(stuck=raw("stuck")) as host:
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded, match="did not answer 'echo'"):
                await host.call("stuck", "echo", {}, timeout=0.3)
            assert time.monotonic() - began < 2.0

    run(work)


def test_the_timeout_of_the_specification_counts_when_the_caller_gives_none(open_host, raw) -> None:
    spec = ServerSpec(command=raw("stuck").command, args=raw("stuck").args, timeout=200)

    async def work() -> None:
        async with open_host(stuck=spec) as host:
            with pytest.raises(DeadlineExceeded):
                await host.call("stuck", "echo", {})

    run(work)


def test_a_server_that_never_greets_makes_calls_late_not_stuck(open_host, raw, tmp_path) -> None:
    async def work() -> None:
        silent = raw("silent")
        connection = Connection(
            "silent", silent, clock=SystemClock(), entropy=SystemEntropy(), log_dir=tmp_path
        )
        connection.start()
        with pytest.raises(DeadlineExceeded, match="nothing was sent"):
            await connection.call("echo", {}, timeout=0.5)
        assert connection.status.state == "connecting"
        began = time.monotonic()
        await connection.stop()
        assert time.monotonic() - began < 5.0

    run(work)


def test_garbage_on_stdout_is_passed_over(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(noisy=raw("garbage")) as host:
            assert of(host, "noisy").state == "ready"
            assert (await host.call("noisy", "echo", {"text": "clear"})).text == "clear"

    run(work)


def test_a_line_without_end_ends_the_connection_not_the_memory(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(flood=raw("flood")) as host:
            assert "line longer than" in of(host, "flood").error

    run(work)


def test_a_result_that_is_not_mcp_is_the_servers_fault(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(odd=raw("nonsense")) as host:
            with pytest.raises(WorldBroken, match="does not follow the protocol"):
                await host.call("odd", "echo", {})
            assert of(host, "odd").state == "ready"

    run(work)


def test_an_error_of_the_server_keeps_its_code_and_message(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(no=raw("refuse")) as host:
            with pytest.raises(WorldBroken, match="-32050: not today") as caught:
                await host.call("no", "echo", {})
            assert caught.value.details["mcp_code"] == -32050

    run(work)


def test_a_failing_tool_is_a_result_not_an_exception(open_host, modern) -> None:
    async def work() -> None:
        async with open_host(exam=modern) as host:
            result = await host.call("exam", "fail", {})
            assert result.is_error
            assert "fail" in result.text

    run(work)


def test_a_server_without_tools_is_ready_and_has_none(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(bare=raw("toolless")) as host:
            assert of(host, "bare").state == "ready"
            assert host.tools("bare") == []

    run(work)


def test_an_endless_list_of_tools_is_cut(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(endless=raw("endless")) as host:
            assert len(host.tools("endless")) == 100

    run(work)


def test_wrong_arguments_are_named_before_anything_is_sent(open_host, git_server) -> None:
    async def work() -> None:
        async with open_host(git=git_server) as host:
            with pytest.raises(CallerMistaken, match="'repo_path'") as caught:
                await host.call("git", "git_status", {})
            assert caught.value.details["argument"] == "repo_path"
            with pytest.raises(CallerMistaken, match="'max_count'"):
                await host.call("git", "git_log", {"repo_path": "/", "max_count": "many"})

    run(work)


def test_an_unknown_tool_is_answered_with_those_that_come_close(open_host, git_server) -> None:
    async def work() -> None:
        async with open_host(git=git_server) as host:
            with pytest.raises(NotFound, match="git_log"):
                await host.call("git", "git_logs", {})

    run(work)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_cancelling_the_caller_cancels_the_call_on_the_server(
    open_host, modern, http_server, modern_script, tmp_path, transport
) -> None:
    spec = modern
    if transport == "http":
        server = http_server(modern_script)
        server.start()
        spec = server.spec
    marker = tmp_path / "marker"

    async def work() -> None:
        async with open_host(exam=spec) as host:
            call = asyncio.create_task(host.call("exam", "wait", {"marker": str(marker)}))
            await until(marker.exists)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await until(lambda: marker.read_text() == "cancelled")
            assert (await host.call("exam", "add", {"a": 1, "b": 2})).structured == {"result": 3}

    run(work)


def test_the_deadline_of_a_call_cancels_it_on_the_server(open_host, modern, tmp_path) -> None:
    marker = tmp_path / "marker"

    async def work() -> None:
        async with open_host(exam=modern) as host:
            with pytest.raises(DeadlineExceeded):
                await host.call("exam", "hang", {"marker": str(marker)}, timeout=2.0)
            await until(lambda: marker.read_text() == "cancelled")

    run(work)


def test_tools_that_an_older_server_announces_are_listed_again(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(grow=raw("grow")) as host:
            await host.call("grow", "echo", {})
            await until(lambda: len(host.tools("grow")) == 2)
            assert of(host, "grow").tools == 2

    run(work)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_tools_that_a_newer_server_announces_are_listed_again(
    open_host, modern, http_server, modern_script, transport
) -> None:
    spec = modern
    if transport == "http":
        server = http_server(modern_script)
        server.start()
        spec = server.spec

    async def work() -> None:
        async with open_host(exam=spec) as host:
            await host.call("exam", "grow", {"name": "fresh"})
            await until(lambda: "fresh" in {tool.name for tool in host.tools("exam")})

    run(work)


def test_closing_leaves_no_process_behind(
    open_host, git_server, everything_stdio, raw, child_pids: Pids
) -> None:
    async def work() -> None:
        before = child_pids()
        stubborn = ServerSpec(
            command="sh", args=["-c", f"trap '' TERM; {sys.executable} -c 'import time; time.sleep(99)'; cat"]
        )
        async with open_host(
            git=git_server, every=everything_stdio, silent=raw("toolless"), stuck=raw("stuck")
        ) as host:
            adding = asyncio.create_task(host.add("stubborn", stubborn))
            await until(lambda: len(child_pids() - before) >= 5)
            groups = child_pids() - before
            await host.close()
            adding.cancel()
        assert child_pids() - before == set()
        assert groups_alive(groups) == set()

    run(work)


def test_a_server_gets_a_minimal_environment_and_what_the_specification_names(
    open_host, modern, monkeypatch
) -> None:
    monkeypatch.setenv("UMBRELLA_TEST_SECRET", "do not pass on")
    spec = ServerSpec(command=modern.command, args=modern.args, env={"GIVEN": "${VALUE:-by default}"})

    async def work() -> None:
        async with open_host({}, exam=spec) as host:
            seen = (await host.call("exam", "environment", {})).structured
            assert seen["GIVEN"] == "by default"
            assert "UMBRELLA_TEST_SECRET" not in seen

    run(work)


def test_a_server_gets_the_settings_that_every_program_needs(open_host, modern, monkeypatch) -> None:
    carried = {"NODE_EXTRA_CA_CERTS": "/company.pem", "XDG_CACHE_HOME": "/cache", "LC_ALL": "C"}
    for name, value in carried.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    spec = ServerSpec(command=modern.command, args=modern.args, env={"LC_ALL": "C.UTF-8"})

    async def work() -> None:
        async with open_host({}, exam=spec) as host:
            seen = (await host.call("exam", "environment", {})).structured
            assert carried | {"LC_ALL": "C.UTF-8"} == {name: seen[name] for name in carried}
            assert "SSL_CERT_DIR" not in seen

    run(work)


def test_what_a_server_writes_to_stderr_lands_in_a_private_file(open_host, everything_stdio) -> None:
    async def work() -> None:
        async with open_host(every=everything_stdio) as host:
            log = Path(of(host, "every").log_file)
            assert log.name == "mcp-every.log"
            assert stat.S_IMODE(log.stat().st_mode) == 0o600
            assert "Starting default (STDIO) server" in log.read_text()

    run(work)


def test_run_can_be_owned_and_cancelled_by_a_supervisor(raw, tmp_path, child_pids: Pids) -> None:
    async def work() -> None:
        before = child_pids()
        connection = Connection(
            "raw", raw("toolless"), clock=SystemClock(), entropy=SystemEntropy(), log_dir=tmp_path
        )
        owner = asyncio.create_task(connection.run())
        assert (await connection.settled(10)).state == "ready"
        with pytest.raises(OurBug):
            await connection.run()
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
        assert connection.status.state == "stopped"
        assert child_pids() - before == set()
        with pytest.raises(ServerUnavailable, match="stopped"):
            await connection.call("echo", {})

    run(work)


def test_a_server_that_keeps_failing_is_given_up_until_a_call_asks(tmp_path) -> None:
    async def work() -> None:
        clock = ManualClock()
        states: list[str] = []
        connection = Connection(
            "crash",
            ServerSpec(command=sys.executable, args=["-c", ""]),
            clock=clock,
            entropy=SeededEntropy(),
            log_dir=tmp_path,
            on_change=lambda status: states.append(status.state),
        )
        connection.start()

        def failed() -> bool:
            if connection.status.state == "waiting" and clock.sleepers:
                clock.advance(31)
            return connection.status.state == "failed"

        await until(failed, 30.0)
        assert states.count("connecting") == 11  # the twelfth failure is the last
        with pytest.raises(UmbrellaError):
            await connection.call("echo", {})
        assert states.count("connecting") == 12
        await connection.stop()

    run(work)


def test_the_event_loop_of_the_web_server_serves_as_well(
    open_host, everything_stdio, raw, child_pids: Pids, tmp_path
) -> None:
    uvloop = pytest.importorskip("uvloop")
    marker = tmp_path / "calls"

    async def work() -> None:
        before = child_pids()
        async with asyncio.timeout(60), open_host(count=raw("count", str(marker))) as host:
            (pid,) = child_pids() - before
            os.kill(pid, signal.SIGSTOP)
            calls = [asyncio.create_task(host.call("count", "echo", {"text": str(n)})) for n in range(3)]
            await asyncio.sleep(1.0)
            os.kill(pid, signal.SIGKILL)
            assert [result.text for result in await asyncio.gather(*calls)] == ["0", "1", "2"]
            await host.add("every", everything_stdio)
            assert (await host.call("every", "echo", {"message": "hi"})).text == "Echo: hi"
        assert child_pids() - before == set()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


def test_a_request_longer_than_the_pipe_arrives_whole(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(x=raw("plain")) as host:
            text = "x" * 3_000_000
            assert (await host.call("x", "echo", {"text": text})).text == text

    run(work)
