"""An MCP server over stdio with one tool, for the terminal test."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("echo")


@server.tool()
async def say(text: str) -> str:
    """Say it again."""
    return text


if __name__ == "__main__":
    server.run("stdio")
