"""mcp_core."""
