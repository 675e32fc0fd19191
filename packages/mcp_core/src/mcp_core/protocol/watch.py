"""What is noticed about one live connection, by whoever notices it first.

The transport, a call or a notification says it here; the connection's owner task waits for it.
"""

import asyncio
from typing import Final, Literal

from mcp_interface.errors import UmbrellaError

OfferKind = Literal["tools", "resources", "prompts"]
OFFER_KINDS: Final[tuple[OfferKind, ...]] = ("tools", "resources", "prompts")
MAX_UPDATES: Final = 1_000
"""Resources that are remembered as changed until somebody hears of it."""
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
        self.login = ""
        """Why somebody has to log in first; empty while nobody has to."""
        self.live = False
        """Whether the connection has come about."""
        self.useful = False
        """Whether anybody's request was answered on it."""
        self.caged = ""
        """What the server's process got of the machine, in words; empty when it is not in a cage."""
        self.stale: set[OfferKind] = set()
        """What must be listed again."""
        self.updated: dict[str, None] = {}
        """Resources that hold something else than before, oldest first."""
        self.noise = ""
        """Last thing the server said that is not MCP."""
        self.woken = asyncio.Event()
        self._mark = mark
        self._withheld: dict[str, UmbrellaError] = {}

    def withhold(self, error: UmbrellaError) -> str:
        """Keep why one request was not let through; gives the error data of the reply that stands for it."""
        mark = f"withheld:{self._mark}:{id(error):x}"
        self._withheld[mark] = error
        while len(self._withheld) > MAX_UPDATES:  # replies that nobody reads, as to notifications
            del self._withheld[next(iter(self._withheld))]
        return mark

    def withheld(self, data: object) -> UmbrellaError | None:
        """What was kept under this error data; None for data of any other kind."""
        return self._withheld.pop(data, None) if isinstance(data, str) else None

    def broke(self, reason: str) -> None:
        """Say that the connection is dead; the first reason counts."""
        if not self.broken:
            self.broken = reason[:_LONGEST]
            self.woken.set()

    def locked(self, reason: str) -> None:
        """Say that the server wants somebody to log in; the connection is of no use until then."""
        self.login = self.login or reason[:_LONGEST]
        self.broke(reason)

    def changed(self, kind: OfferKind = "tools") -> None:
        """Say that a list may have changed, or that a look would show whether the server lives."""
        self.stale.add(kind)
        self.woken.set()

    def touched(self, uri: str) -> None:
        """Say that a resource holds something else."""
        if len(self.updated) < MAX_UPDATES:
            self.updated[uri] = None
            self.woken.set()

    def heard(self, noise: str) -> None:
        """Keep what was not understood, for the error message if nothing better comes."""
        self.noise = noise[:_LONGEST]
