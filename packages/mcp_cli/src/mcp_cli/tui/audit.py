"""The audit trail on a screen of its own: what was decided, newest first, and whether the record is whole."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import msgspec
from textual import work
from textual.binding import Binding, BindingType

from mcp_cli import presenters
from mcp_cli.sheet import Sheet
from mcp_cli.tui.ledger import Ledger
from mcp_cli.tui.palette import Palette
from mcp_interface.capability import AuditEntry
from mcp_interface.commands import ReadAudit, VerifyAudit
from mcp_interface.errors import UmbrellaError

PAGE = 200


class AuditScreen(Ledger[AuditEntry]):
    """Decisions of the node.

    Args:
        request: Asks the node.
        palette: Colours.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "denied", show=False),
        Binding("v", "verify", show=False),
        Binding("m", "older", show=False),
    ]
    KEYS = "d only what was refused  m older ones  v check the whole chain  F5 the newest  Esc back"

    def __init__(self, request: Callable[[Any], Awaitable[Any]], palette: Palette) -> None:
        super().__init__(palette, self._page)
        self._request = request
        self._denied = False
        self._cursor: str | None = None
        self._next: str | None = None

    async def _page(self) -> tuple[list[AuditEntry], Sheet]:
        """One page."""
        query = ReadAudit(limit=PAGE, denied_only=self._denied, cursor=self._cursor)
        page = await self._request(query)
        self._next, self._cursor = page.cursor, None
        what = "what was refused" if self._denied else "what was decided"
        return list(page.items), msgspec.structs.replace(
            presenters.audit(page), title=f"{what}, newest first"
        )

    def action_denied(self) -> None:
        """Show only what was refused, or everything again."""
        self._denied = not self._denied
        self.action_reload()

    def action_older(self) -> None:
        """Show the page before."""
        if self._next is None:
            self.note("there is nothing older", self._palette.dim)
            return
        self._cursor = self._next
        self.action_reload()

    @work(exclusive=True, group="verifying")
    async def action_verify(self) -> None:
        """Check the chain, which takes a while."""
        self.note("checking…", self._palette.dim)
        try:
            report = await self._request(VerifyAudit())
        except UmbrellaError as error:
            self.note(f"{error.message}; {error.remedy}", self._palette.bad)
            return
        if report.ok:
            self.note(f"the record is whole: {report.entries} entries", self._palette.ok)
        else:
            self.note(f"the record is broken: {report.problem}", self._palette.bad)
