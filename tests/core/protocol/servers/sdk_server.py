"""A server of the newer era made with the official SDK, over stdio or HTTP; over SSE it speaks the older one.

Usage: sdk_server.py stdio | sdk_server.py http PORT | sdk_server.py sse PORT
"""

import asyncio
import os
import sys
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("exam")


@server.tool(annotations=ToolAnnotations(title="Add two", read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@server.tool()
async def hang(marker: str) -> str:
    """Say nothing at all, for a minute."""
    file = Path(marker)
    file.write_text("began")
    try:
        await asyncio.sleep(60)
    except anyio.get_cancelled_exc_class():
        file.write_text("cancelled")
        raise
    return "waited"


@server.tool(annotations=ToolAnnotations(destructive_hint=False))
async def wait(marker: str, ctx: Context) -> str:
    """Write that it began, then that it was cancelled."""
    file = Path(marker)
    file.write_text("began")
    try:
        for step in range(600):
            await ctx.report_progress(step, 600, f"step {step}")
            await asyncio.sleep(0.1)
    except anyio.get_cancelled_exc_class():
        file.write_text("cancelled")
        raise
    return "waited"


@server.tool()
async def grow(name: str, ctx: Context) -> str:
    """Add a tool and tell the world."""
    server.add_tool(lambda: name, name=name, description="new")
    await ctx.notify_tools_changed()
    return "grown"


@server.tool()
def environment() -> dict[str, str]:
    """What this process was given."""
    return dict(os.environ)


@server.tool()
def fail() -> str:
    """Break."""
    raise ValueError("broken on purpose")


if sys.argv[1] == "stdio":
    server.run("stdio")
elif sys.argv[1] == "sse":
    server.run("sse", host="127.0.0.1", port=int(sys.argv[2]))
else:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
