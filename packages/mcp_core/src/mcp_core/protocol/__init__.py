"""The host side of MCP: connections to servers, their tools, their configuration.

The SDK is imported when the first connection is made, never by importing this package.
"""

from mcp_core.protocol.configuration import format_configuration, read_configuration
from mcp_core.protocol.connections import Connection
from mcp_core.protocol.expansion import Expanded, expand, references
from mcp_core.protocol.host import Host
from mcp_core.protocol.plain_secrets import without_secrets

__all__ = [
    "Connection",
    "Expanded",
    "Host",
    "expand",
    "format_configuration",
    "read_configuration",
    "references",
    "without_secrets",
]
