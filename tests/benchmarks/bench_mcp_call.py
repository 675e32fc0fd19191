"""What a tool call through the host costs, against the official SDK's bare client on an equal server.

Usage: python bench_mcp_call.py COMMAND [ARGS…] -- TOOL JSON
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mcp import Client, StdioServerParameters

from mcp_core.protocol import Host
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.server import ServerSpec

ROUNDS = 1_000
WARM = 100


async def main(command: list[str], tool: str, arguments: dict[str, object]) -> None:
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        clock, entropy = SystemClock(), SystemEntropy()
        host = Host(clock, entropy, Path(folder), lambda status: None, Supervisor(clock, entropy))
        await host.add("bench", ServerSpec(command=command[0], args=command[1:]))
        async with Client(StdioServerParameters(command=command[0], args=command[1:])) as client:
            await client.list_tools()
            for number in range(ROUNDS + WARM):
                pair = [
                    (ours, host.call("bench", tool, arguments)),
                    (bare, client.call_tool(tool, arguments)),
                ]
                for times, call in pair if number % 2 else reversed(pair):
                    began = time.perf_counter()
                    await call
                    if number >= WARM:
                        times.append(1000 * (time.perf_counter() - began))
        await host.close()
    for name, at in (("p50", 50), ("p99", 99)):
        value, peer = (statistics.quantiles(times, n=100)[at - 1] for times in (ours, bare))
        figure = {
            "name": f"mcp_call_{name}",
            "value": round(value, 3),
            "unit": "ms",
            "peer": "bare SDK client",
            "peer_value": round(peer, 3),
            "ratio": round(value / peer, 3),
        }
        print(json.dumps(figure))


split = sys.argv.index("--")
asyncio.run(main(sys.argv[1:split], sys.argv[split + 1], json.loads(sys.argv[split + 2])))
