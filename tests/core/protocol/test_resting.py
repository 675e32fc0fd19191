"""Servers that are lazy or disabled, and specifications that change."""

import asyncio

import pytest

from hosting import Pids, of, run, until
from mcp_core.protocol import lifeline
from mcp_interface.errors import ServerUnavailable
from mcp_interface.server import ServerSpec


def lazy(spec: ServerSpec) -> ServerSpec:
    return ServerSpec(command=spec.command, args=spec.args, lazy=True)


def test_a_lazy_server_starts_when_it_is_needed_and_goes_back_to_rest(
    open_host, raw, child_pids: Pids, monkeypatch, news
) -> None:
    monkeypatch.setattr(lifeline, "IDLE_SECONDS", 0.4)

    async def work() -> None:
        before = child_pids()
        async with open_host(x=lazy(raw("plain"))) as host:
            assert of(host, "x").state == "resting"
            assert child_pids() == before
            for _ in range(2):
                assert (await host.call("x", "echo", {"text": "up"})).text == "up"
                assert of(host, "x").state == "ready"
                await until(lambda: of(host, "x").state == "resting")
                assert child_pids() == before
                assert [tool.name for tool in host.tools("x")] == ["echo"]  # known, though it rests
            assert of(host, "x").restarts == 0

    run(work)
    assert [status.state for status in news] == ["connecting", "ready", "resting"] * 2 + ["stopped"]


def test_a_lazy_server_does_not_rest_while_it_works_or_is_watched(open_host, old, monkeypatch) -> None:
    monkeypatch.setattr(lifeline, "IDLE_SECONDS", 0.3)

    async def work() -> None:
        async with open_host(x=lazy(old)) as host:
            held = asyncio.create_task(host.call("x", "hold", {}))
            await asyncio.sleep(1.0)
            assert of(host, "x").state == "ready"
            await host.call("x", "ask", {"kind": "roots"})
            await held
            await host.watch("x", "old://1", "user_1")
            await asyncio.sleep(1.0)
            assert of(host, "x").state == "ready"
            await host.unwatch("x", "old://1", "user_1")
            await until(lambda: of(host, "x").state == "resting")

    run(work)


def test_a_lazy_server_that_cannot_start_says_so_to_whoever_needs_it(open_host) -> None:
    async def work() -> None:
        async with open_host(x=ServerSpec(command="/no/such/program", lazy=True)) as host:
            assert of(host, "x").error == ""
            with pytest.raises(ServerUnavailable, match="/no/such/program"):
                await host.call("x", "echo", {})
            assert of(host, "x").state == "failed"

    run(work)


def test_a_disabled_server_rests_whoever_calls_and_says_what_helps(open_host, raw, child_pids: Pids) -> None:
    spec = raw("plain")

    async def work() -> None:
        before = child_pids()
        async with open_host(x=ServerSpec(command=spec.command, args=spec.args, disabled=True)) as host:
            with pytest.raises(ServerUnavailable, match="is disabled") as caught:
                await host.call("x", "echo", {})
            assert "disabled" in caught.value.remedy
            assert of(host, "x").state == "resting"
            assert child_pids() == before
            assert (await host.add("x", spec)).state == "ready"

    run(work)


def test_an_equal_specification_leaves_the_server_alone_and_a_changed_one_replaces_only_it(
    open_host, raw, child_pids: Pids
) -> None:
    async def work() -> None:
        before = child_pids()
        async with open_host(a=raw("plain")) as host:
            first = child_pids() - before
            await host.add("b", raw("plain"))
            second = child_pids() - before - first
            assert (await host.add("a", raw("plain"))).restarts == 0
            assert child_pids() - before == first | second
            await host.add("b", raw("toolless"))
            assert first <= child_pids()
            assert not second & child_pids()

    run(work)


def test_adding_a_failed_server_again_tries_it_at_once(open_host, tmp_path, raw) -> None:
    program = tmp_path / "server"
    spec = ServerSpec(command=str(program), args=raw("plain").args)

    async def work() -> None:
        async with open_host(x=spec) as host:
            assert of(host, "x").state == "failed"
            program.symlink_to(raw("plain").command)
            assert (await host.add("x", spec)).state == "ready"

    run(work)
