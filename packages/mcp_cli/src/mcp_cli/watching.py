"""Tells a REPL how the journal is: what its opening found, when it stops taking writes, when it takes them again.

It asks the node every few seconds, because a journal that takes nothing cannot record that it does. A node
that is away is not asked, and never started for it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from mcp_cli.attachment import Attachment
from mcp_cli.presenters import found, unwritable
from mcp_cli.sheet import Prose, Shown
from mcp_interface.clock import Clock
from mcp_interface.commands import GetStatus, GetStorage
from mcp_interface.errors import StorageUnavailable, UmbrellaError

LOOK_S: Final = 2.0
ANSWER_S: Final = 10.0
"""Seconds that a node may take to say how its journal is."""


class StorageWatch:
    """What one REPL knows of the journal of its node."""

    def __init__(
        self,
        attachment: Attachment,
        clock: Clock,
        show: Callable[[Shown], None],
        changed: Callable[[], None],
    ) -> None:
        self._attachment = attachment
        self._clock = clock
        self._show = show
        self._changed = changed
        self._started: datetime | None = None
        """Which node was asked what its opening found."""
        self.refusing = ""
        """Why the journal takes nothing at the moment; empty when it does."""

    def refused(self, error: StorageUnavailable) -> None:
        """Note that a person was told of a refusal already."""
        self.refusing = self.refusing or error.message

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask once, and say what is news."""
        client = self._attachment.present
        if client is None:
            return
        try:
            report = await client.request(GetStorage(), ANSWER_S)
            started = (await client.request(GetStatus(), ANSWER_S)).started_at
        except UmbrellaError:
            return  # it is away, which the attachment tells
        if started != self._started:
            self._started = started
            if found(report):
                self._show(Prose(f"the journal, when the node started: {found(report)}", "warn"))
        why = unwritable(report)
        if why and not self.refusing:
            self._show(Prose(f"the journal takes nothing at the moment, reading goes on: {why}", "bad"))
        elif self.refusing and not why:
            self._show(Prose("the journal takes writes again; send again what was refused", "ok"))
        if why != self.refusing:
            self.refusing = why
            self._changed()
