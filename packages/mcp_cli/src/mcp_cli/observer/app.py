"""`umbrella observe` as a program: the observer's screen over a connection that is found again when it breaks."""

import os
from typing import TypeVar

from textual.app import App

from mcp_cli.attachment import Opened, Opener
from mcp_cli.observer.screen import ObserverScreen
from mcp_cli.tui.palette import DARK, LIGHT, palette
from mcp_interface.clock import Clock
from mcp_interface.commands import Command
from mcp_interface.errors import NodeUnavailable, UmbrellaError

R = TypeVar("R")


class Connection:
    """Asks a node that may go away and come back; none is started.

    Args:
        opener: The way to it.
        opened: What is open already.
    """

    def __init__(self, opener: Opener, opened: Opened | None = None) -> None:
        self._opener = opener
        self._opened = opened

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """As `Client.request`; connects when there is no connection."""
        if self._opened is None:
            self._opened = await self._opener.open(start=False)
        try:
            return await self._opened.client.request(command, timeout)
        except (NodeUnavailable, ConnectionError) as error:
            await self.close()
            raise NodeUnavailable("the node is away; it is looked for again") from error

    async def close(self) -> None:
        """Let go."""
        opened, self._opened = self._opened, None
        if opened is not None:
            try:
                await opened.close()
            except UmbrellaError:
                return  # it is gone already


class ObserverApp(App[None]):
    """The observer on a whole terminal.

    Args:
        opener: The way to the node.
        clock: For how long there was no answer.
        opened: What is open already.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "Umbrella observer"

    def __init__(self, opener: Opener, clock: Clock, opened: Opened | None = None) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT.name if os.environ.get("UMBRELLA_THEME", "") == "light" else DARK.name
        self._clock = clock
        self.connection = Connection(opener, opened)

    def on_mount(self) -> None:
        """Show the tree; to leave it is to leave."""
        self.view = ObserverScreen(self.connection.request, palette(self.current_theme), self._clock)
        self.push_screen(self.view, self._left)

    async def _left(self, _: None) -> None:
        await self.connection.close()
        self.exit()
