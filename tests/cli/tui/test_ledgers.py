"""The screens of rights and of the audit trail, over a real node."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.widgets import DataTable, Static

from mcp_cli.tui.audit import AuditScreen
from mcp_cli.tui.ledger import Ledger
from mcp_cli.tui.palette import DARK, palette
from mcp_cli.tui.rights import RightsScreen
from mcp_interface.commands import GrantCapability, ListCapabilities, SpawnAgent

Open = Callable[..., Any]


def said(ledger: Ledger[Any], part: str) -> str:
    return str(ledger.query_one(f"#ledger-{part}", Static).render().plain)  # type: ignore[attr-defined]


async def shown(screen: Any, ledger: Ledger[Any]) -> DataTable[Any]:
    await screen.app.push_screen(ledger)
    await screen.until(lambda: bool(ledger.things))
    table: DataTable[Any] = ledger.query_one(DataTable)
    return table


def test_a_right_is_taken_back_only_when_it_was_named_and_confirmed(
    open_screen: Open, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            ask = screen.app.repl.attachment.request
            agent = await ask(SpawnAgent(type="worker", name="ann"))
            await ask(GrantCapability(agent=agent.id, resource_uri="mcp://fs/read/tmp/**"))
            ledger = RightsScreen(ask, palette(DARK), screen.app.repl.invocation.clock)
            table = await shown(screen, ledger)
            place = next(at for at, each in enumerate(ledger.things) if each.principal_id == agent.id)
            table.move_cursor(row=place)
            await screen.pilot.press("y")
            await screen.pilot.press("r")
            assert "mcp://fs/read/tmp/**" in said(ledger, "note")
            # the mark moves on: what was asked about is not asked about any more
            await screen.pilot.press("up", "y")
            await screen.pilot.pause()
            count = len((await ask(ListCapabilities(limit=1000))).items)
            assert count == len(ledger.things)
            await screen.pilot.press("down", "r", "y")
            await screen.until(lambda: "revoked" in said(ledger, "note"))
            assert (await ask(ListCapabilities(principal=agent.id))).items == []
            await screen.until(lambda: len(ledger.things) == count - 1)
            await screen.pilot.press("escape")
            await screen.until(lambda: len(screen.app.screen_stack) == 1)

    asyncio.run(scenario())


def test_the_trail_is_read_filtered_and_checked(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            ledger = AuditScreen(screen.app.repl.attachment.request, palette(DARK))
            table = await shown(screen, ledger)
            assert table.row_count == len(ledger.things) > 1
            assert ledger.things[0].seq > ledger.things[-1].seq
            await screen.pilot.press("v")
            await screen.until(lambda: "the record is whole" in said(ledger, "note"))
            await screen.pilot.press("d")
            await screen.until(lambda: all(each.decision == "denied" for each in ledger.things))
            await screen.pilot.press("m")
            assert "nothing older" in said(ledger, "note")

    asyncio.run(scenario())


def test_the_bare_commands_open_them(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            for typed, kind in (("/caps", RightsScreen), ("/audit", AuditScreen)):
                await screen.sends(typed)
                await screen.until(lambda kind=kind: isinstance(screen.app.screen, kind))
                await screen.pilot.press("escape")
                await screen.until(lambda: len(screen.app.screen_stack) == 1)

    asyncio.run(scenario())
