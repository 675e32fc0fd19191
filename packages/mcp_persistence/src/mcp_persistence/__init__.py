"""mcp_persistence."""
