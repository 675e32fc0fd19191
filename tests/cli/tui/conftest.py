"""The full-screen REPL without a terminal, over a real node in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from mcp_cli.attachment import Opened
from mcp_cli.history import InputHistory
from mcp_cli.invocation import Invocation
from mcp_cli.remembering import ReplState
from mcp_cli.tui.app import UmbrellaApp
from mcp_core import Node, Settings
from mcp_interface.client import ClientInfo

PATIENCE_S = 15.0


class NodeOpener:
    """Opens clients of a node in this process."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def open(self, start: bool) -> Opened:
        client = self.node.client()
        welcome = await client.connect(ClientInfo(name="test", token=self.node.owner_token))
        return Opened(client, welcome, client.disconnect)

    async def crashed(self) -> bool:
        return True


class Screen:
    """An open REPL, as a test drives it."""

    def __init__(self, app: UmbrellaApp, pilot: Pilot[None], node: Node) -> None:
        self.app = app
        self.pilot = pilot
        self.node = node

    @property
    def text(self) -> str:
        """Everything that the transcript shows."""
        return "\n".join(strip.text.rstrip() for strip in self.app.pane._lines)

    @property
    def status(self) -> str:
        return self.app.query_one("StatusBar").render().plain  # type: ignore[attr-defined]

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    await self.pilot.pause(0.02)
        except TimeoutError as error:
            raise AssertionError(f"still not so; the screen shows:\n{self.text}\n{self.status}") from error

    async def sees(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.text for text in texts))

    async def tells(self, text: str) -> None:
        """Wait until the status line says so."""
        await self.until(lambda: text in self.status)

    async def types(self, text: str) -> None:
        self.app.prompt.insert(text)
        await self.pilot.pause()

    async def sends(self, text: str) -> None:
        await self.types(text)
        self.app.popup.offer(())
        await self.pilot.press("enter")


@asynccontextmanager
async def opened(
    node: Node,
    *,
    resume: str | None = None,
    latest: bool = False,
    size: tuple[int, int] = (100, 32),
    state: ReplState | None = None,
) -> AsyncIterator[Screen]:
    """Open a REPL over a node."""
    app = UmbrellaApp(
        Invocation(), NodeOpener(node), InputHistory(), resume=resume, latest=latest, state=state
    )
    async with app.run_test(size=size) as pilot:
        screen = Screen(app, pilot, node)
        await screen.until(lambda: app.repl.status is not None)
        yield screen


@asynccontextmanager
async def screen(
    tmp_path: Path, environ: dict[str, str] | None = None, size: tuple[int, int] = (100, 32)
) -> AsyncIterator[Screen]:
    """Open a REPL over a fresh node."""
    async with (
        Node(Settings.load(tmp_path / "node", environ or {})) as node,
        opened(node, size=size) as open_screen,
    ):
        yield open_screen


@pytest.fixture
def open_screen() -> Callable[..., object]:
    return screen


@pytest.fixture
def open_on() -> Callable[..., object]:
    return opened
