"""mcp_web."""
