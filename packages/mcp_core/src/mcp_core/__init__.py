"""The node: actor runtime, sessions, gateway, agents, providers and the MCP host. This is its front door."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_core.daemon import DataDir
    from mcp_core.door import Door, open_door
    from mcp_core.gateway.remote import SocketClient
    from mcp_core.maintenance import inspect_storage, rebuild_storage, report_storage
    from mcp_core.node import Node
    from mcp_core.protocol.configuration import (
        Configuration,
        format_configuration,
        inputs_of,
        read_configuration,
    )
    from mcp_core.protocol.dialects import Place
    from mcp_core.protocol.expansion import references
    from mcp_core.protocol.plain_secrets import without_secrets
    from mcp_core.protocol.server.http import HttpEndpoint
    from mcp_core.protocol.server.portal import Portal
    from mcp_core.protocol.server.seal import open_seal
    from mcp_core.protocol.server.stdio import serve_stdio
    from mcp_core.settings import (
        PROJECT,
        AskSettings,
        BudgetSettings,
        McpSettings,
        ModelSettings,
        NodeConfig,
        OAuthSettings,
        ProjectConfig,
        Settings,
        UiSettings,
        UserConfig,
        read_config,
        read_entrance,
        user_file,
    )

__all__ = [
    "PROJECT",
    "AskSettings",
    "BudgetSettings",
    "Configuration",
    "DataDir",
    "Door",
    "HttpEndpoint",
    "McpSettings",
    "ModelSettings",
    "Node",
    "NodeConfig",
    "OAuthSettings",
    "Place",
    "Portal",
    "ProjectConfig",
    "Settings",
    "SocketClient",
    "UiSettings",
    "UserConfig",
    "format_configuration",
    "inputs_of",
    "inspect_storage",
    "open_door",
    "open_seal",
    "read_config",
    "read_configuration",
    "read_entrance",
    "rebuild_storage",
    "references",
    "report_storage",
    "serve_stdio",
    "user_file",
    "without_secrets",
]

_LATE = {
    "PROJECT": "mcp_core.settings",
    "AskSettings": "mcp_core.settings",
    "BudgetSettings": "mcp_core.settings",
    "Configuration": "mcp_core.protocol.configuration",
    "DataDir": "mcp_core.daemon",
    "Door": "mcp_core.door",
    "HttpEndpoint": "mcp_core.protocol.server.http",
    "McpSettings": "mcp_core.settings",
    "ModelSettings": "mcp_core.settings",
    "Node": "mcp_core.node",
    "NodeConfig": "mcp_core.settings",
    "OAuthSettings": "mcp_core.settings",
    "Place": "mcp_core.protocol.dialects",
    "Portal": "mcp_core.protocol.server.portal",
    "ProjectConfig": "mcp_core.settings",
    "Settings": "mcp_core.settings",
    "SocketClient": "mcp_core.gateway.remote",
    "UiSettings": "mcp_core.settings",
    "UserConfig": "mcp_core.settings",
    "format_configuration": "mcp_core.protocol.configuration",
    "inputs_of": "mcp_core.protocol.configuration",
    "inspect_storage": "mcp_core.maintenance",
    "open_door": "mcp_core.door",
    "open_seal": "mcp_core.protocol.server.seal",
    "read_config": "mcp_core.settings",
    "read_configuration": "mcp_core.protocol.configuration",
    "read_entrance": "mcp_core.settings",
    "rebuild_storage": "mcp_core.maintenance",
    "references": "mcp_core.protocol.expansion",
    "report_storage": "mcp_core.maintenance",
    "serve_stdio": "mcp_core.protocol.server.stdio",
    "user_file": "mcp_core.settings",
    "without_secrets": "mcp_core.protocol.plain_secrets",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
