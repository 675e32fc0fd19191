"""What a tool call costs, against the official SDK's bare client on an equal server, paired in one run.

Twice: through the host alone, and through all of a node: capability, audit, journal with its two syncs.

Usage: python bench_mcp_call.py [COMMAND [ARGS…] -- TOOL JSON]
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from mcp import Client, StdioServerParameters

from mcp_core import Node, Settings
from mcp_core.protocol import Host
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.client import ClientInfo
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.commands import AddServer, CallTool
from mcp_interface.server import ServerSpec

ROUNDS = 600
WARM = 100
SERVER = Path(__file__).parents[1] / "core/protocol/servers/sdk_server.py"

Call = Callable[[], Awaitable[object]]


async def main(command: list[str], tool: str, arguments: dict[str, object]) -> None:
    spec = ServerSpec(command=command[0], args=command[1:])
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        calls: dict[str, Call] = {
            "bare": await bare(stack, command, tool, arguments),
            "host": await through_the_host(stack, folder, spec, tool, arguments),
            "node": await through_a_node(stack, folder / "node", spec, tool, arguments),
        }
        times = await measured(calls)
    for name in ("host", "node"):
        for share, at in (("p50", 50), ("p99", 99)):
            value, peer = (statistics.quantiles(times[each], n=100)[at - 1] for each in (name, "bare"))
            show(f"mcp_call_{name}_{share}", value, peer)


async def bare(stack: AsyncExitStack, command: list[str], tool: str, arguments: dict[str, object]) -> Call:
    client = await stack.enter_async_context(
        Client(StdioServerParameters(command=command[0], args=command[1:]))
    )
    await client.list_tools()
    return lambda: client.call_tool(tool, arguments)


async def through_the_host(
    stack: AsyncExitStack, folder: Path, spec: ServerSpec, tool: str, arguments: dict[str, object]
) -> Call:
    clock, entropy = SystemClock(), SystemEntropy()
    host = Host(clock, entropy, folder, lambda status: None, Supervisor(clock, entropy))
    stack.push_async_callback(host.close)
    await host.add("bench", spec)
    return lambda: host.call("bench", tool, arguments)


async def through_a_node(
    stack: AsyncExitStack, folder: Path, spec: ServerSpec, tool: str, arguments: dict[str, object]
) -> Call:
    node = await stack.enter_async_context(Node(Settings.load(folder)))
    client = node.client()
    await client.connect(ClientInfo(name="bench", token=node.owner_token))
    await client.request(AddServer(name="bench", spec=spec))
    command = CallTool(server="bench", tool=tool, arguments=arguments)
    return lambda: client.request(command)


async def measured(calls: dict[str, Call]) -> dict[str, list[float]]:
    """Milliseconds of each call, taken in turns so that what disturbs one disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(ROUNDS + WARM):
        for name in names[number % 3 :] + names[: number % 3]:
            began = time.perf_counter()
            await calls[name]()
            if number >= WARM:
                times[name].append(1000 * (time.perf_counter() - began))
    return times


def show(name: str, value: float, peer: float) -> None:
    figure = {
        "name": name,
        "value": round(value, 3),
        "unit": "ms",
        "peer": "bare SDK client",
        "peer_value": round(peer, 3),
        "ratio": round(value / peer, 3),
    }
    print(json.dumps(figure))


if "--" in sys.argv:
    split = sys.argv.index("--")
    asyncio.run(main(sys.argv[1:split], sys.argv[split + 1], json.loads(sys.argv[split + 2])))
else:
    asyncio.run(main([sys.executable, str(SERVER), "stdio"], "add", {"a": 1, "b": 2}))
