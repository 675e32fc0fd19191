import asyncio
from pathlib import Path
from typing import Any

from mcp_core.protocol.connections import Connection
from mcp_core.protocol.host import Host
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.server import ServerSpec


def test_a_connection_whose_own_loop_dies_is_replaced_under_its_name(
    tmp_path: Path, time_server: ServerSpec, monkeypatch: Any
) -> None:
    breaking: list[str] = []
    honest = Connection._wait_for_next

    async def broken_once(self: Connection, *args: Any) -> None:
        if not breaking:
            breaking.append("now")
            raise RuntimeError("a bug of ours")
        await honest(self, *args)

    monkeypatch.setattr(Connection, "_wait_for_next", broken_once)

    async def scenario() -> None:
        clock, entropy = SystemClock(), SystemEntropy()
        supervisor = Supervisor(clock, entropy)
        host = Host(clock, entropy, tmp_path, lambda status: None, supervisor)
        await host.add("time", ServerSpec(command="no-such-command"))
        async with asyncio.timeout(10):
            while supervisor.restarts("server:time") == 0:
                await asyncio.sleep(0.01)
        status = await host.add("time", time_server)
        assert status.state == "ready", status.error
        await host.close()

    asyncio.run(scenario())
