"""What is noticed about one live connection, by whoever notices it first.

The transport, a call or a notification says it here; the connection's owner task waits for it.
"""

import asyncio
from typing import Final

_LONGEST: Final = 500


class Watch:
    """Shared by one connection's owner, transport and calls; on one event loop.

    Args:
        mark: Unguessable text by which our own synthesized replies are told from the server's.
    """

    def __init__(self, mark: str) -> None:
        self.not_sent = f"not-sent:{mark}"
        """Error data of a request that certainly never reached the server."""
        self.cut = f"cut:{mark}"
        """Error data of a request whose answer was lost on the way."""
        self.broken = ""
        """Why the connection can no longer be used; empty while it can."""
        self.stale = False
        """Whether the tools must be listed again."""
        self.noise = ""
        """Last thing the server said that is not MCP."""
        self.woken = asyncio.Event()

    def broke(self, reason: str) -> None:
        """Say that the connection is dead; the first reason counts."""
        if not self.broken:
            self.broken = reason[:_LONGEST]
            self.woken.set()

    def changed(self) -> None:
        """Say that the tools may have changed, or that a look would show whether the server lives."""
        self.stale = True
        self.woken.set()

    def heard(self, noise: str) -> None:
        """Keep what was not understood, for the error message if nothing better comes."""
        self.noise = noise[:_LONGEST]
