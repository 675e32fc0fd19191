"""`umbrella` without a command: chooses the surface of the REPL and says goodbye."""

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from mcp_cli import terminal
from mcp_cli.attachment import DoorOpener
from mcp_cli.headless import guarded
from mcp_cli.history import InputHistory
from mcp_cli.invocation import Invocation
from mcp_cli.remembering import Kept, ReplState


def wants_lines() -> bool:
    """Whether the terminal cannot, or its person does not want to, show a full screen."""
    return (
        not (sys.stdin.isatty() and sys.stdout.isatty())
        or os.environ.get("TERM", "") in {"", "dumb"}
        or os.environ.get("ACCESSIBLE", "0") not in {"", "0"}
    )


def open_repl(invocation: Invocation, *, resume: str | None, latest: bool, plain: bool) -> int:
    """Run the REPL until the person leaves; returns the exit code."""
    from mcp_cli import configuring

    opener = DoorOpener(invocation)
    place, ui = _place(invocation), configuring.load().ui
    usual = Kept(theme=ui.theme, mouse=ui.mouse, notify=ui.notifications)
    state = ReplState(place / "repl_state", usual)
    if plain or wants_lines():
        from mcp_cli.plain import run_plain

        lines = partial(run_plain, invocation, opener, resume, latest, state=state)
        return guarded(invocation, lambda: asyncio.run(lines()))
    from mcp_cli.tui.app import UmbrellaApp

    app = UmbrellaApp(
        invocation,
        opener,
        InputHistory(place / "repl_history"),
        resume=resume,
        latest=latest,
        theme=os.environ.get("UMBRELLA_THEME", ""),
        state=state,
    )
    app.run()
    farewell = app.repl.farewell()
    if farewell:
        terminal.say(farewell)
    return app.return_code or 0


def open_observer(invocation: Invocation) -> int:
    """Run the observer until the person leaves; returns the exit code."""
    from mcp_cli.attachment import Opened

    opener = DoorOpener(invocation)

    async def whole() -> int:
        opened: Opened = await opener.open(start=False)  # without a node there is nothing to draw
        from mcp_cli.observer.app import ObserverApp

        app = ObserverApp(opener, invocation.clock, opened)
        try:
            await app.run_async()
        finally:
            await app.connection.close()
        return app.return_code or 0

    return guarded(invocation, lambda: asyncio.run(whole()))


def _place(invocation: Invocation) -> Path:
    from mcp_core import Settings

    return Settings.load(invocation.data_dir).data_dir
