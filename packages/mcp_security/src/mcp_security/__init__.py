"""mcp_security."""
