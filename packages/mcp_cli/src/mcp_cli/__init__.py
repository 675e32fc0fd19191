"""The `umbrella` command: REPL, headless commands, and a client over WebSocket."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_cli.client import WebSocketClient

__all__ = ["WebSocketClient"]


def __getattr__(name: str) -> Any:
    if name == "WebSocketClient":
        from mcp_cli.client import WebSocketClient

        return WebSocketClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
