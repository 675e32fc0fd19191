"""The node: actor runtime, sessions, gateway, agents, providers and the MCP host. This is its front door."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_core.daemon import DataDir
    from mcp_core.door import Door, open_door
    from mcp_core.gateway.remote import SocketClient
    from mcp_core.maintenance import inspect_storage, rebuild_storage, report_storage
    from mcp_core.node import Node
    from mcp_core.protocol.configuration import (
        format_configuration,
        read_configuration,
        without_secrets,
    )
    from mcp_core.protocol.expansion import references
    from mcp_core.settings import Settings

__all__ = [
    "DataDir",
    "Door",
    "Node",
    "Settings",
    "SocketClient",
    "format_configuration",
    "inspect_storage",
    "open_door",
    "read_configuration",
    "rebuild_storage",
    "references",
    "report_storage",
    "without_secrets",
]

_LATE = {
    "DataDir": "mcp_core.daemon",
    "Door": "mcp_core.door",
    "Node": "mcp_core.node",
    "Settings": "mcp_core.settings",
    "SocketClient": "mcp_core.gateway.remote",
    "format_configuration": "mcp_core.protocol.configuration",
    "inspect_storage": "mcp_core.maintenance",
    "open_door": "mcp_core.door",
    "read_configuration": "mcp_core.protocol.configuration",
    "rebuild_storage": "mcp_core.maintenance",
    "references": "mcp_core.protocol.expansion",
    "report_storage": "mcp_core.maintenance",
    "without_secrets": "mcp_core.protocol.configuration",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
