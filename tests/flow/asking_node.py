"""`python -m mcp_core` with tools of its own that ask people, for a test that kills it."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asking import Asker

import mcp_core.__main__ as shipped
from mcp_core.node import Node
from mcp_interface.tool import Tool


class AskingNode(Node):
    """A node with the server `asks`: `ask` gives no handle, `resume` gives one, `look` only reads."""

    def _builtin(self, *given: Any) -> dict[str, Sequence[Tool]]:
        runs = Path(self.settings.data_dir) / "runs"
        asks = [
            Asker("ask", counted=runs),
            Asker("resume", handles=True, counted=runs),
            Asker("look", read_only=True, counted=runs),
        ]
        return {**super()._builtin(*given), "asks": asks}


async def run(settings: Any) -> None:
    """As the shipped one."""
    async with AskingNode(settings) as node:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.stop)
        await node.stopped()


if __name__ == "__main__":
    shipped.run = run  # type: ignore[assignment]  # the rest is the shipped process
    raise SystemExit(shipped.main())
