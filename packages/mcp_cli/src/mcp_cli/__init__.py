"""mcp_cli."""
