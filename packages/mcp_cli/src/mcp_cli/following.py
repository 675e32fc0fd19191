"""A follow that is closed when its block is left, on whatever kind of client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp_interface.client import Client, Notice
from mcp_interface.ids import SessionId


@asynccontextmanager
async def following(
    client: Client, session_id: SessionId | None = None, after: int = 0
) -> AsyncIterator[AsyncIterator[Notice]]:
    """Follow as `Client.follow`; leaving the block tells the node at once that nobody listens."""
    notices = client.follow(session_id, after)
    try:
        yield notices
    finally:
        close = getattr(notices, "aclose", None)  # an iterator need not be a generator
        if close is not None:
            await close()
