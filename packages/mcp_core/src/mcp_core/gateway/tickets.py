"""Who was let in, and by what: a connection is good only as long as that is."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar
from weakref import WeakSet

from mcp_interface.clock import Instant
from mcp_interface.errors import LoginRequired
from mcp_interface.ids import KeyId, PrincipalId

T = TypeVar("T")


class Ticket:
    """One connection's right to be there.

    Args:
        principal_id: For whom it speaks.
        source: Of the key or login by which it came in; empty: by the node's own token, which never ends.
        key_id: When that was an API key.
        expires_at: When it ends by itself.
    """

    def __init__(
        self,
        principal_id: PrincipalId,
        source: str = "",
        key_id: KeyId | None = None,
        expires_at: Instant | None = None,
    ) -> None:
        self.principal_id = principal_id
        self.source = source
        self.key_id = key_id
        self.expires_at = expires_at
        self.over = False
        """Whether it was taken back."""
        self._waits: set[asyncio.Timeout] = set()

    def end(self) -> None:
        """Take it back, and end what waits by it."""
        self.over = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(asyncio.get_running_loop().time())

    async def waiting(self, work: Awaitable[T], seconds: float | None) -> T:
        """Wait for something, but no longer than until this ends.

        Raises:
            TimeoutError: It ended, or the seconds are over.
        """
        async with asyncio.timeout(seconds) as wait:
            self._waits.add(wait)
            try:
                return await work
            finally:
                self._waits.discard(wait)


def ended() -> LoginRequired:
    """What somebody is told whose ticket has ended."""
    return LoginRequired(
        "the key or login of this connection was revoked or has expired", "connect again with one that works"
    )


class Tickets:
    """Those that are out and may be taken back."""

    def __init__(self) -> None:
        self._out: dict[str, WeakSet[Ticket]] = {}
        self.ended = 0
        """How often a source was ended."""

    def issue(
        self, principal: PrincipalId, source: str, key_id: KeyId | None, expires_at: Instant | None
    ) -> Ticket:
        """Give one out."""
        ticket = Ticket(principal, source, key_id, expires_at)
        for name in [name for name, tickets in self._out.items() if not tickets]:
            del self._out[name]
        self._out.setdefault(source, WeakSet()).add(ticket)
        return ticket

    def end(self, source: str) -> None:
        """Take back all that came of one key or login."""
        self.ended += 1
        for ticket in list(self._out.pop(source, ())):
            ticket.end()
