"""`umbrella` without a command: chooses the surface of the REPL and says goodbye."""

import asyncio
import os
import sys
from pathlib import Path

from mcp_cli import terminal
from mcp_cli.attachment import DoorOpener
from mcp_cli.headless import guarded
from mcp_cli.history import InputHistory
from mcp_cli.invocation import Invocation


def wants_lines() -> bool:
    """Whether the terminal cannot, or its person does not want to, show a full screen."""
    return (
        not (sys.stdin.isatty() and sys.stdout.isatty())
        or os.environ.get("TERM", "") in {"", "dumb"}
        or os.environ.get("ACCESSIBLE", "0") not in {"", "0"}
    )


def open_repl(invocation: Invocation, *, resume: str | None, latest: bool, plain: bool) -> int:
    """Run the REPL until the person leaves; returns the exit code."""
    opener = DoorOpener(invocation)
    if plain or wants_lines():
        from mcp_cli.plain import run_plain

        return guarded(invocation, lambda: asyncio.run(run_plain(invocation, opener, resume, latest)))
    from mcp_cli.tui.app import UmbrellaApp

    light = os.environ.get("UMBRELLA_THEME", "") == "light"
    app = UmbrellaApp(
        invocation, opener, InputHistory(_history(invocation)), resume=resume, latest=latest, light=light
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


def _history(invocation: Invocation) -> Path:
    from mcp_core import Settings

    return Settings.load(invocation.data_dir).data_dir / "repl_history"
