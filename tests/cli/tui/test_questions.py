"""What a tool asks, in the full-screen REPL: forms, links, questions from before; prompts and mentions."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Checkbox, Input

from mcp_cli.tui.app import UmbrellaApp
from mcp_core import Node, Settings
from mcp_interface.client import ClientInfo
from mcp_interface.commands import AddServer
from mcp_interface.execution import GetExecution, ListQuestions, StartExecution
from mcp_interface.server import ServerSpec

Open = Callable[..., Any]
SERVER = Path(__file__).parents[2] / "desk_server.py"
DESK = ServerSpec(command=sys.executable, args=[str(SERVER)])


async def connect_desk(screen: Any) -> None:
    status = await screen.app.repl.attachment.request(AddServer(name="desk", spec=DESK), 60)
    assert status.state == "ready", status
    await screen.sends("/mcp")
    await screen.sees("desk", "ready")
    await screen.until(lambda: bool(screen.app._known.prompts))


def arm(screen: Any) -> None:
    screen.app.question._focused_at = float("-inf")


def test_a_form_is_filled_in_and_a_mistake_is_told_at_its_field(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app: UmbrellaApp = screen.app
            await connect_desk(screen)
            await screen.sends("/call desk book {}")
            await screen.until(lambda: app.question.wanted is not None and app.question.has_focus)
            await screen.tells("1 waiting for you")
            await screen.sees("? desk.book asks: Where do you want to go?")
            assert "desk.book asks" in app.question.query_one("#question-head").render().plain  # type: ignore[attr-defined]
            await screen.pilot.press("enter")
            city, seats, window = app.question.rows
            assert city.query_one(Input).has_focus and city.field.required
            assert seats.query_one(Input).value == "2", "the default is there already"
            await screen.pilot.press("X", "enter", "enter")
            assert window.query_one(Checkbox).has_focus
            await screen.pilot.press("space", "ctrl+s")
            await screen.until(lambda: bool(city._wrong.display))
            assert "too short" in city._wrong.render().plain  # type: ignore[union-attr]
            await screen.until(lambda: city.query_one(Input).has_focus)
            city.query_one(Input).value = "Bergen"
            await screen.pilot.press("ctrl+s")
            await screen.sees("● desk.book", "booked 2 to Bergen at the window", "✓ desk.book: answered with")
            await screen.until(lambda: app.question.wanted is None and app.prompt.has_focus)

    asyncio.run(scenario())


def test_a_link_names_its_host_and_is_opened_only_when_the_person_says_so(
    open_screen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(UmbrellaApp, "open_url", lambda self, url, new_tab=True: opened.append(url))

    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app: UmbrellaApp = screen.app
            await connect_desk(screen)
            await screen.sends("/call desk pay {}")
            await screen.until(lambda: app.question.has_focus)
            text = app.question.query_one("#question-text").render().plain  # type: ignore[attr-defined]
            assert "a page of pay.example.org" in text and "https://pay.example.org/bill/7?x=1" in text
            await screen.pilot.press("y", "o")
            assert opened == [] and app.question.wanted is not None, "keys that come at once do nothing"
            arm(screen)
            await screen.pilot.press("o")
            assert opened == ["https://pay.example.org/bill/7?x=1"]
            await screen.pilot.press("y")
            await screen.sees("payment: accept", "✓ desk.pay: you open the page")

    asyncio.run(scenario())


def test_what_was_asked_before_the_client_came_waits_for_it_and_can_be_left_and_declined(
    open_on: Open, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="before", token=node.owner_token))
            await client.request(AddServer(name="desk", spec=DESK), 60)
            call = await client.request(StartExecution(server="desk", tool="book"))
            await client.request(GetExecution(execution_id=call.id, wait_s=20), 30)
            async with open_on(node) as screen:
                app: UmbrellaApp = screen.app
                await screen.sees("a tool waits for your answer: /answer, or see /questions list")
                await screen.until(lambda: app.question.wanted is not None)
                head = app.question.query_one("#question-head").render().plain  # type: ignore[attr-defined]
                assert "in another session" in head
                await screen.pilot.press("escape")
                await screen.until(lambda: app.prompt.has_focus)
                await screen.sends("/questions")
                await screen.sees("desk.book", "Where do you want to go?")
                assert len((await client.request(ListQuestions())).items) == 1, "later is no answer"
                await screen.sends("/answer")
                await screen.until(lambda: app.question.has_focus)
                arm(screen)
                await screen.pilot.press("ctrl+x")
                await screen.until(lambda: app.question.wanted is None)
                ended = await client.request(GetExecution(execution_id=call.id, wait_s=20), 30)
                assert ended.result is not None and ended.result.text == "nothing booked: decline"
                await screen.sends(f"/executions watch {call.id}")
                await screen.sees("success", "nothing booked: decline")

    asyncio.run(scenario())


def test_a_prompt_is_completed_asked_for_what_is_missing_and_read_before_it_is_said(
    open_screen: Open, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app: UmbrellaApp = screen.app
            await connect_desk(screen)
            await screen.types("/desk:gr")
            await screen.until(lambda: bool(app.popup.choices))
            marked = app.popup.marked
            assert marked is not None and marked.label == "/desk:greet"
            assert "Greet somebody" in marked.summary and "name [tone]" in marked.summary
            await screen.pilot.press("tab")
            await screen.types("name=be")
            await screen.until(
                lambda: [one.label for one in app.popup.choices] == ["Bergen", "Bern", "Berlin"]
            )
            app.prompt.fill("")
            await screen.sends("/desk:greet tone=cool")
            await screen.until(lambda: app.question.has_focus)
            assert [row.field.name for row in app.question.rows] == ["name"]
            await screen.pilot.press("enter", "A", "n", "n", "enter")
            await screen.until(lambda: "Write a cool greeting to Ann" in app.prompt.text)
            assert app.prompt.text.endswith("see @@note://today"), "what a server wrote mentions nothing"
            assert "▌" not in screen.text, "nothing is said before it was read"
            await screen.pilot.press("enter")
            await screen.sees("▌ Write a cool greeting to Ann, see @note://today")
            await screen.sends("/desk:nothing")
            await screen.sees("desk has no prompt 'nothing'")

    asyncio.run(scenario())


def test_resources_and_files_are_mentioned_completed_and_included(
    open_screen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.md").write_text("go north")
    monkeypatch.chdir(tmp_path)

    async def scenario() -> None:
        async with open_screen(tmp_path, size=(120, 50)) as screen:
            app: UmbrellaApp = screen.app
            await connect_desk(screen)
            await screen.types("read @desk:no")
            await screen.until(lambda: "@desk:note://today" in [one.label for one in app.popup.choices])
            await screen.pilot.press("tab")
            assert app.prompt.text == "read @desk:note://today "
            await screen.types("and @desk:city://be")
            await screen.until(lambda: "Bergen" in [one.label for one in app.popup.choices])
            await screen.pilot.press("tab")
            assert app.prompt.text.endswith("@desk:city://Bergen/facts ")
            await screen.types("@pl")
            await screen.until(lambda: "@plan.md" in [one.label for one in app.popup.choices])
            await screen.pilot.press("tab")
            await screen.sends("and @desk:note://picture but not @anna")
            await screen.sees(
                "From @desk:note://today (text/plain,",
                "From @desk:city://Bergen/facts",
                "Bergen has a harbor",
            )
            await screen.sees(
                "From @plan.md (8 bytes)", "go north", "is not text and not included: image/png"
            )
            await screen.sends("look at @desk:note://missing")
            await screen.until(lambda: "✗" in screen.text)

    asyncio.run(scenario())
