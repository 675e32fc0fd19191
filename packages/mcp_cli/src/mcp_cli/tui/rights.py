"""Rights on a screen of their own: who holds what until when, and taking one back."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import msgspec
from textual import work
from textual.binding import Binding, BindingType

from mcp_cli import presenters
from mcp_cli.sheet import Sheet
from mcp_cli.tui.ledger import Ledger
from mcp_cli.tui.palette import Palette
from mcp_interface.capability import Capability
from mcp_interface.clock import Clock
from mcp_interface.commands import ListCapabilities, RevokeCapability
from mcp_interface.errors import UmbrellaError

MOST = 1000


class RightsScreen(Ledger[Capability]):
    """Live rights of the node, oldest first.

    Args:
        request: Asks the node.
        palette: Colours.
        clock: For times as seen from now.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "revoke", show=False),
        Binding("y", "confirm", show=False),
    ]
    KEYS = "r take it back, with all derived from it  F5 anew  Esc back"

    def __init__(self, request: Callable[[Any], Awaitable[Any]], palette: Palette, clock: Clock) -> None:
        super().__init__(palette, self._page)
        self._request = request
        self._clock = clock
        self._ending: Capability | None = None

    async def _page(self) -> tuple[list[Capability], Sheet]:
        """The first thousand."""
        page = await self._request(ListCapabilities(limit=MOST))
        shown = presenters.capabilities(page, self._clock.now())
        more = f"rights, the first {MOST}" if page.cursor is not None else f"{len(page.items)} rights"
        return list(page.items), msgspec.structs.replace(shown, title=more)

    def action_revoke(self) -> None:
        """Ask whether the marked right is to end; only `y` does it, and only to that one."""
        self._ending = self.marked
        if self._ending is not None:
            held = f"{self._ending.id}, {self._ending.resource_uri} of {self._ending.principal_id}"
            self.note(f"take back {held}, and everything derived from it? y does it", self._palette.warn)

    def on_data_table_row_highlighted(self) -> None:
        """Another one is marked: nothing is about to end any more."""
        if self._ending is not None and self.marked != self._ending:
            self._ending = None
            self.note("", self._palette.dim)

    @work(group="revoking")
    async def action_confirm(self) -> None:
        """Take it back."""
        ending, self._ending = self._ending, None
        if ending is None:
            return
        try:
            ended = await self._request(RevokeCapability(capability_id=ending.id))
        except UmbrellaError as error:
            self.note(f"{error.message}; {error.remedy}", self._palette.bad)
            return
        self.note(f"revoked {ending.id}, with {max(0, len(ended) - 1)} derived from it", self._palette.ok)
        self.action_reload()
