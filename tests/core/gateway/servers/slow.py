"""An MCP server over stdio whose tool takes as long as its caller likes, and leaves marks of what became of it.

The mark is a file: `began`, then `done` or `cancelled`. The tool ends when a file of the mark's name and `.go` is there.
"""

import asyncio
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("slow")


@server.tool()
async def wait(mark: str, ctx: Context) -> str:
    """Wait until told to go on."""
    file, go = Path(mark), Path(f"{mark}.go")
    file.write_text("began")
    await ctx.report_progress(1, 4, "a quarter")
    try:
        while not go.exists():
            await asyncio.sleep(0.01)
    except anyio.get_cancelled_exc_class():
        file.write_text("cancelled")
        raise
    file.write_text("done")
    return f"waited for {go.name}"


@server.tool()
async def fail() -> str:
    """Break."""
    raise ValueError("broken on purpose")


server.run("stdio")
