"""Servers by name."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from mcp_core.protocol import Host
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.errors import InvalidRecord, NodeUnavailable, NotFound
from mcp_interface.server import ServerSpec


def run(work: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


def test_importing_the_host_loads_neither_the_sdk_nor_the_schema_checker() -> None:
    code = (
        "import sys, mcp_core.protocol, mcp_core.tools;"
        "print([name for name in ('mcp', 'mcp_types', 'pydantic', 'httpx2', 'jsonschema') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["", "-x", "a/b", "../x", "x" * 64, "a b"])
def test_a_name_that_could_be_a_path_or_an_option_is_refused(tmp_path, name) -> None:
    async def work() -> None:
        host = Host(
            SystemClock(),
            SystemEntropy(),
            tmp_path,
            lambda status: None,
            Supervisor(SystemClock(), SystemEntropy()),
        )
        with pytest.raises(InvalidRecord) as caught:
            await host.add(name, ServerSpec(command="x"))
        assert caught.value.rule == "invalid_server_name"

    run(work)


def test_a_specification_that_names_nothing_is_refused(tmp_path) -> None:
    async def work() -> None:
        host = Host(
            SystemClock(),
            SystemEntropy(),
            tmp_path,
            lambda status: None,
            Supervisor(SystemClock(), SystemEntropy()),
        )
        with pytest.raises(InvalidRecord, match="either a command or a url"):
            await host.add("x", ServerSpec())
        assert host.statuses() == []

    run(work)


def test_servers_tools_and_statuses_are_listed_by_name(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(b=raw("plain"), a=raw("plain"), bad=ServerSpec(command="/no/such")) as host:
            assert [status.name for status in host.statuses()] == ["a", "b", "bad"]
            assert [(tool.server, tool.name) for tool in host.tools()] == [("a", "echo"), ("b", "echo")]
            assert (await host.find("a", "echo", 5.0)).server == "a"

    run(work)


def test_adding_a_name_again_replaces_the_server(open_host, raw, child_pids) -> None:
    async def work() -> None:
        before = child_pids()
        async with open_host(x=raw("toolless")) as host:
            old = child_pids() - before
            status = await host.add("x", raw("plain"))
            assert (status.state, status.tools, status.restarts) == ("ready", 1, 0)
            new = child_pids() - before
            assert len(new) == 1
            assert not old & new
            assert (await host.call("x", "echo", {"text": "new"})).text == "new"

    run(work)


def test_adding_one_name_from_two_places_at_once_leaves_one_server(open_host, raw, child_pids) -> None:
    async def work() -> None:
        before = child_pids()
        async with open_host(x=raw("plain")) as host:
            await asyncio.gather(*(host.add("x", raw("plain")) for _ in range(4)))
            assert (await host.call("x", "echo", {"text": "one"})).text == "one"
            assert len(child_pids() - before) == 1

    run(work)


def test_a_removed_server_is_gone_with_its_process(open_host, raw, child_pids, news) -> None:
    async def work() -> None:
        before = child_pids()
        async with open_host(x=raw("plain")) as host:
            await host.remove("x")
            assert child_pids() - before == set()
            assert host.statuses() == []
            for missing in (host.remove("x"), host.call("x", "echo", {})):
                with pytest.raises(NotFound):
                    await missing

    run(work)
    assert news[-1].state == "stopped"


def test_what_does_not_exist_is_answered_with_what_comes_close(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(server=raw("plain")) as host:
            with pytest.raises(NotFound, match="'server'"):
                await host.call("servr", "echo", {})
            with pytest.raises(NotFound, match="'echo'"):
                await host.find("server", "ecko", 5.0)
            with pytest.raises(NotFound):
                host.tools("other")

    run(work)


def test_every_change_is_told_in_order(open_host, raw, news) -> None:
    async def work() -> None:
        async with open_host(x=raw("plain")):
            pass

    run(work)
    assert [status.state for status in news] == ["ready", "stopped"]
    assert news[0].protocol == "2025-06-18"


def test_a_closed_host_takes_no_more_servers(open_host, raw) -> None:
    async def work() -> None:
        async with open_host() as host:
            await host.close()
            await host.close()
            with pytest.raises(NodeUnavailable):
                await host.add("x", raw("plain"))

    run(work)
