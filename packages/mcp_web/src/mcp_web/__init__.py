"""What people see in a browser, and what programs reach over HTTP: REST, one WebSocket, the dashboard.

Everything here is a translation: requests become commands for a node that is reached through the `Door` of
`mcp_core`, answers become JSON, errors become problems. Nothing is decided, remembered or judged in this
package. Below it stands the front of `mcp_core` and nothing else of it. The command is `mcp_web.serve:serve`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_web.app import make_app

__all__ = ["make_app"]


def __getattr__(name: str) -> Any:
    if name != "make_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mcp_web.app import make_app

    return make_app
