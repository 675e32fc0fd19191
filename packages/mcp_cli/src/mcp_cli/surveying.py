"""Learns, every few seconds, what the session on the screen does not tell: what waits and works in others, how full
the model's window is, and what that model takes and costs.

Only one session is followed; following all of them would bring every word of every agent here. A node that is away
is not asked, and never started for it.
"""

import contextlib
from typing import TYPE_CHECKING, Final

from mcp_cli.statusline import Beyond
from mcp_interface.client import Client
from mcp_interface.commands import ListSessions
from mcp_interface.conversing import GetWindow, WindowStatus
from mcp_interface.errors import UmbrellaError
from mcp_interface.provider import ModelInfo

if TYPE_CHECKING:
    from mcp_cli.repl import Repl

LOOK_S: Final = 4.0
ANSWER_S: Final = 10.0
"""Seconds that a node may take for one answer."""
MOST: Final = 100
"""Sessions that are looked at."""


class Survey:
    """Keeps `Repl.beyond` current."""

    def __init__(self, repl: "Repl") -> None:
        self._repl = repl
        self._window: WindowStatus | None = None
        self._measured: tuple[str, int] | None = None
        """Session, and place in it, for which the window was asked."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._repl.invocation.clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask once, and say when something is news."""
        repl = self._repl
        client = repl.attachment.present
        if client is None:
            return
        before = repl.beyond, repl.questions, repl.errands.approvals
        with contextlib.suppress(UmbrellaError):
            await repl.errands.look()
            present = repl.session_id
            page = await client.request(ListSessions(limit=MOST), ANSWER_S)
            repl.beyond = Beyond(
                window=await self._measure(client),
                model=await self._model(),
                elsewhere=sum(1 for one in repl.errands.approvals if one.session_id != present),
                working_elsewhere=sum(1 for one in page.items if one.busy and one.id != present),
            )
        if before != (repl.beyond, repl.questions, repl.errands.approvals):
            repl.face.changed()

    async def _measure(self, client: Client) -> WindowStatus | None:
        """The window as it was after the latest turn; nothing changes it meanwhile."""
        session_id = self._repl.session_id
        if session_id is None:
            return None
        place = session_id, self._repl.answered
        if place != self._measured:
            self._window = None
            with contextlib.suppress(UmbrellaError):
                self._window = await client.request(GetWindow(session_id=session_id), ANSWER_S)
            self._measured = place
        return self._window

    async def _model(self) -> ModelInfo | None:
        known = await self._repl.models()
        name = self._repl.transcript.model or self._repl.model
        return next((one for one in known if (one.name == name if name else one.default)), None)
