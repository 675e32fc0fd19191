"""How a person types, finds, chooses and leaves in the full-screen REPL."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from mcp_cli.keymap import KEYS
from mcp_cli.remembering import ReplState
from mcp_cli.repl import MEANWHILE
from mcp_cli.tui import notifying
from mcp_cli.tui.app import UmbrellaApp
from mcp_core import Node, Settings
from mcp_interface.client import ClientInfo
from mcp_interface.commands import (
    CreateSession,
    GetSession,
    ListSessions,
    PostMessage,
)
from mcp_interface.ids import SessionId
from scripted_model import scripted_model

Open = Callable[..., Any]
LONG = "\n".join(f"line {number}" for number in range(40))


def shown(screen: Any) -> str:
    """What the list on top shows."""
    top = screen.app.screen
    notes = top.query("#picker-title, #picker-note")
    return "\n".join([str(top.list.render()), *(str(one.render()) for one in notes)])


async def listed(screen: Any, *texts: str) -> None:
    """Wait until the list on top shows these."""
    await screen.until(lambda: len(screen.app.screen_stack) == 2 and hasattr(screen.app.screen, "list"))
    await screen.until(lambda: all(text in shown(screen) for text in texts))


async def closed(screen: Any) -> None:
    await screen.until(lambda: len(screen.app.screen_stack) == 1)


def test_a_long_paste_is_one_word_and_sent_whole(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app = screen.app
            await screen.types("look: ")
            app.prompt.post_message(events.Paste(LONG.replace("\n", "\r")))
            await screen.until(lambda: app.prompt.text == "look: [Pasted #1 +40 lines]")
            await screen.pilot.press("backspace")
            assert app.prompt.text == "look: ", "one key takes the whole paste away again"
            app.prompt.post_message(events.Paste(LONG))
            await screen.until(lambda: app.prompt.text == "look: [Pasted #2 +40 lines]")
            await screen.pilot.press("enter")
            await screen.sees("▌ look: line 0", "▌ line 30")
            await screen.pilot.press("up")
            assert app.prompt.text == f"look: {LONG}"

    asyncio.run(scenario())


def test_earlier_inputs_are_searched(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            for text in ("/status", "/theme", "/keys of the piano"):
                screen.app._history.add(text)
            await screen.types("half a word")
            await screen.pilot.press("ctrl+r")
            await listed(screen, "/status", "/theme")
            await screen.pilot.press(*"sta")
            await screen.until(lambda: "/theme" not in shown(screen))
            await screen.pilot.press("enter")
            await closed(screen)
            assert screen.app.prompt.text == "/status"
            await screen.pilot.press("ctrl+r", "ctrl+r", "escape")
            await closed(screen)
            assert screen.app.prompt.text == "/status"

    asyncio.run(scenario())


def test_an_editor_writes_the_input_and_a_missing_one_is_told(
    open_screen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app = screen.app
            await screen.types("draft")
            monkeypatch.setenv("VISUAL", "/no/such/editor")
            await screen.pilot.press("ctrl+g")
            await screen.sees("there is no editor '/no/such/editor'", "set EDITOR")
            assert app.prompt.text == "draft"
            seen: list[str] = []

            async def edited(app: UmbrellaApp, text: str) -> str:
                seen.append(text)
                return f"{text}\nand more"

            monkeypatch.setattr("mcp_cli.tui.editor.edited", edited)
            await screen.pilot.press("ctrl+g")
            await screen.until(lambda: app.prompt.text == "draft\nand more")
            assert seen == ["draft"]

    asyncio.run(scenario())


def test_files_are_found_by_some_letters_of_their_path(
    open_screen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "project"
    (place / "src" / "orchard").mkdir(parents=True)
    (place / "src" / "orchard" / "harvest.py").write_text("apples = 3\n")
    (place / "node_modules").mkdir()
    (place / "node_modules" / "harvest.js").write_text("x")
    monkeypatch.chdir(place)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app = screen.app
            await screen.types("look at @harv")
            await screen.until(lambda: bool(app.popup.choices))
            assert [one.label for one in app.popup.choices] == ["@src/orchard/harvest.py"]
            await screen.pilot.press("tab")
            assert app.prompt.text == "look at @src/orchard/harvest.py "
            await screen.pilot.press("enter")
            await screen.sees("▌ look at @src/orchard/harvest.py", "apples = 3")

    asyncio.run(scenario())


def test_a_command_of_the_shell_runs_as_the_person_and_is_recorded(
    open_screen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELL", "/bin/sh")
    (tmp_path / "pear.txt").write_text("x")

    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends("!ls *.txt | tr a-z A-Z; exit 3")
            await screen.sees("shell.run", "PEAR.TXT", "exit code 3")
            page = await screen.app.repl.attachment.request(ListSessions())
            assert [one.title for one in page.items] == ["!ls *.txt | tr a-z A-Z; exit 3"]
            await screen.sends("!!not a command")
            await screen.sees("▌ !not a command")

    asyncio.run(scenario())


def test_a_question_mark_shows_the_keys_on_an_empty_line_only(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.pilot.press("question_mark")
            await screen.until(lambda: len(screen.app.screen_stack) == 2)
            await screen.pilot.press("escape")
            await closed(screen)
            assert screen.app.prompt.text == ""
            await screen.pilot.press("w", "question_mark")
            assert screen.app.prompt.text == "w?"
            await screen.pilot.press("ctrl+c")
            await screen.sends("/keys")
            await screen.until(lambda: len(screen.app.screen_stack) == 2)
            await screen.pilot.press("ctrl+c")
            await closed(screen)

    asyncio.run(scenario())


def test_every_key_of_the_screen_is_in_the_list_of_keys() -> None:
    told = {name for key in KEYS for name in key.keys}
    bound = {binding.key for binding in UmbrellaApp.BINDINGS}  # type: ignore[union-attr]  # none is a tuple
    assert bound <= told
    assert UmbrellaApp.COMMAND_PALETTE_BINDING in told


async def begun(node: Node, title: str, *said: str, folder: str = "") -> SessionId:
    client = node.client()
    await client.connect(ClientInfo(name="other", token=node.owner_token))
    session = await client.request(CreateSession(title=title, metadata={"cwd": folder}))
    for text in said:
        await client.request(PostMessage(session_id=session.id, text=text))
    await client.disconnect()
    return session.id


def test_sessions_are_found_renamed_ended_and_opened(
    open_on: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            here = await begun(node, "apples [red]", "about apples", folder=str(tmp_path))
            there = await begun(node, "pears", folder="/elsewhere/orchard")
            async with open_on(node) as screen:
                request = screen.app.repl.attachment.request
                await screen.pilot.press("ctrl+p")
                await listed(screen, "apples [red]", "pears", "orchard", "1 messages", "Ctrl+R rename")
                assert screen.app.screen.marked == here, "those of this folder stand first"
                await screen.pilot.press(*"pear")
                await screen.until(lambda: screen.app.screen.marked == there)
                await screen.pilot.press("ctrl+r", " ", "t", "r", "e", "e", "enter")
                await listed(screen, "pears tree")
                assert (await request(GetSession(session_id=there))).title == "pears tree"
                await screen.pilot.press(*"tree")
                await screen.until(lambda: screen.app.screen.marked == there)
                await screen.pilot.press("ctrl+x")
                assert (await request(GetSession(session_id=there))).status == "active"
                await screen.pilot.press("ctrl+x")
                await listed(screen, "nothing fits")
                assert (await request(GetSession(session_id=there))).status == "terminated"
                await screen.pilot.press("ctrl+t")
                await listed(screen, "pears tree", "ended")
                await screen.pilot.press(*(["backspace"] * 4), "enter")
                await closed(screen)
                await screen.sees("▌ about apples")
                assert screen.app.repl.session_id == here
                await screen.pilot.press("ctrl+p")
                await listed(screen, "on the screen")
                await screen.pilot.press("ctrl+f")
                await closed(screen)
                await screen.until(lambda: screen.app.repl.session_id not in {here, None})
                await screen.sees("▌ about apples")

    asyncio.run(scenario())


def test_escape_twice_goes_back_to_a_message_in_a_copy(open_on: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node, open_on(node) as screen:
            app = screen.app
            await screen.sends("first things")
            await screen.sees("▌ first things", "no language model")
            await screen.sends("second thoughts")
            await screen.sees("▌ second thoughts")
            await screen.until(lambda: app.repl.transcript.working is None)
            before = app.repl.session_id
            await screen.pilot.press("escape", "escape")
            await listed(screen, "go back to before", "first things", "second thoughts")
            await screen.pilot.press("enter")
            await closed(screen)
            await screen.until(lambda: app.prompt.text == "second thoughts")
            assert "▌ second thoughts" not in screen.text
            assert app.repl.session_id != before
            await screen.pilot.press("ctrl+c")
            await screen.sends("/rewind 7")
            await screen.sees("7 messages back, but there are 1")

    asyncio.run(scenario())


def test_what_happened_meanwhile_stands_behind_a_line(open_on: Open, tmp_path: Path) -> None:
    state = ReplState()

    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            async with open_on(node, state=state) as screen:
                await screen.sends("before")
                await screen.sees("▌ before", "no language model")
                session_id = screen.app.repl.session_id
                await screen.until(lambda: screen.app.repl.transcript.working is None)
                await screen.pilot.press("ctrl+right_square_bracket")
                await screen.until(lambda: not screen.app.is_running)
                assert f"--resume {session_id}" in screen.app.repl.farewell()
            async with open_on(node, latest=True, state=state) as screen:
                await screen.sees("▌ before")
                assert MEANWHILE not in screen.text, "nothing has happened"
                client = node.client()
                screen.app.leave()
                await client.connect(ClientInfo(name="other", token=node.owner_token))
                await client.request(PostMessage(session_id=session_id, text="after"))
                await client.disconnect()
            async with open_on(node, latest=True, state=state) as screen:
                await screen.sees("▌ before", MEANWHILE, "▌ after")
                places = [screen.text.index(text) for text in ("▌ before", MEANWHILE, "▌ after")]
                assert places == sorted(places)

    asyncio.run(scenario())


def test_what_waits_in_another_session_is_told(open_on: Open, tmp_path: Path) -> None:
    call = {"name_contains": "write_file", "arguments": {"path": str(tmp_path / "n.txt"), "content": "x"}}

    async def scenario(environ: dict[str, str]) -> None:
        async with Node(Settings.load(tmp_path / "node", environ)) as node, open_on(node) as screen:
            await screen.sends("/profile ask")
            await screen.sends("!true")
            await screen.sees("shell.run")
            await begun(node, "other", "write it")
            await screen.until(lambda: screen.app.repl.beyond.elsewhere == 1)
            await screen.tells("1 waiting elsewhere")
            card = screen.app.card
            await screen.until(lambda: card.approval is not None)
            assert screen.app.prompt.has_focus, "what is of another session takes no keys"
            await screen.pilot.press("tab")
            await screen.until(lambda: card.has_focus)
            card._focused_at = float("-inf")
            await screen.pilot.press("y")
            await screen.until((tmp_path / "n.txt").exists)
            await screen.until(lambda: card.approval is None and screen.app.repl.beyond.elsewhere == 0)

    with scripted_model([{"text": "I write", "tool_call": call}]) as model:
        asyncio.run(scenario(model.environ()))


def test_the_bell_rings_when_the_person_looks_elsewhere(
    open_on: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(notifying, "ring", lambda app, text: rung.append(text))

    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node, open_on(node) as screen:
            app = screen.app

            async def says(text: str) -> None:
                await screen.sends(text)
                await screen.sees(f"▌ {text}")
                await screen.until(lambda: not app.repl.awaits_answer)

            await says("looking on")
            assert rung == []
            app.post_message(events.AppBlur())
            await screen.until(lambda: not app.app_focus)
            await app.repl.submit("looking away")
            await screen.until(lambda: rung == ["the turn failed: looking on"])
            await app.repl.submit("/notify off")
            await app.repl.submit("still away")
            await screen.until(lambda: "▌ still away" in screen.text and not app.repl.awaits_answer)
            assert len(rung) == 1
            app.post_message(events.AppFocus())
            await screen.until(lambda: app.app_focus)
            await screen.sends("/notify")
            await screen.sees("the bell rings when")

    asyncio.run(scenario())


def test_the_palette_holds_every_command(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.pilot.press("ctrl+backslash")
            await screen.until(lambda: len(screen.app.screen_stack) == 2)
            await screen.pilot.press(*"/status")
            await screen.pilot.pause(0.3)
            await screen.pilot.press("enter")
            await closed(screen)
            await screen.sees("journal", "running")
            await screen.pilot.press("ctrl+backslash")
            await screen.until(lambda: len(screen.app.screen_stack) == 2)
            await screen.pilot.press(*"hand an agent a right")
            await screen.pilot.pause(0.3)
            await screen.pilot.press("enter")
            await closed(screen)
            assert screen.app.prompt.text == "/grant "

    asyncio.run(scenario())


def test_colours_and_mouse_are_chosen_and_kept(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app = screen.app
            await screen.sends("/theme")
            await screen.sees("umbrella-dark", "these", "nord")
            assert "ansi" not in screen.text
            for name in app.colours():
                await app.repl.submit(f"/theme {name}")
                assert app.theme == name
                await screen.pilot.pause()
            await screen.sends("/theme nothing")
            await screen.sees("'nothing' is not a theme")
            await screen.sends("/mouse off")
            await screen.sees("the mouse is the terminal's")
            assert (app.state.theme, app.state.mouse) == (app.theme, False)
            again = UmbrellaApp(
                app.repl.invocation, app.repl.attachment._opener, app._history, state=app.state
            )
            assert again.theme == app.theme

    asyncio.run(scenario())


def test_what_was_said_is_copied(open_screen: Open, tmp_path: Path) -> None:
    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            await screen.sends("/copy")
            await screen.sees("has not answered yet")
            await screen.sends("hello")
            await screen.sees("Good day.")
            await screen.until(lambda: not screen.app.repl.awaits_answer)
            await screen.sends("/copy")
            await screen.sees("copied 13 characters")
            assert screen.app.clipboard == "**Good day.**"

    with scripted_model([{"text": "**Good day.**"}]) as model:
        asyncio.run(scenario(model.environ()))


def test_a_session_is_told_bounded_and_named(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            repl = screen.app.repl
            await screen.sends('/system don\'t say "no"')
            await screen.sends("/budget 2.50, 200k tokens")
            await screen.sees("next session's budget: $2.5 and 200,000 tokens")
            await screen.sends("/strategy sliding")
            await screen.sends("hello")
            await screen.sees("▌ hello")
            session = await repl.session()
            assert session.system == 'don\'t say "no"'
            assert (session.limits.budget.max_cost, session.limits.budget.max_tokens) == (2.5, 200_000)
            assert session.strategy == "sliding"
            await screen.sends("/budget off")
            await screen.sees("budget: no bound")
            await screen.sends("/rename it's mine")
            await screen.sees("this session is called it's mine")
            await screen.sends("/system off")
            await screen.sends("/context")
            await screen.sees("messages", "are seen", "outgrown")
            session = await repl.session()
            assert (session.title, session.system) == ("it's mine", "")

    asyncio.run(scenario())


def test_a_narrow_terminal_shows_what_is_marked(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path, size=(40, 12)) as screen:
            app = screen.app
            await screen.types("/")
            await screen.until(lambda: app.popup.display)
            for _ in range(9):
                await screen.pilot.press("down")
            await screen.pilot.pause()
            assert app.popup.region.bottom <= app.prompt.region.y
            assert app.prompt.region.bottom <= 12
            rows = str(app.popup.render()).splitlines()
            assert len(rows) <= app.popup.size.height
            assert any(row.startswith("▸") for row in rows)
            await screen.pilot.press("ctrl+c", "ctrl+p")
            await screen.until(lambda: len(app.screen_stack) == 2)
            note = app.screen.query_one("#picker-note")
            await screen.until(lambda: note.region.bottom <= 12 and note.region.height > 0)
            await screen.pilot.press("escape", "question_mark")
            await screen.until(lambda: len(app.screen_stack) == 2)
            assert app.screen.query_one("VerticalScroll").region.bottom <= 12
            await screen.pilot.press("escape")
            await screen.sends("narrow")
            await screen.sees("▌ narrow")

    asyncio.run(scenario())


def test_without_colours_nothing_is_coloured(
    open_screen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            assert screen.app.no_color
            await screen.sees("/mcp add NAME")
            svg = screen.app.export_screenshot()
            assert "#7aa2f7" not in svg

    asyncio.run(scenario())
    os.environ.pop("NO_COLOR", None)


def test_what_the_shell_knows_is_asked_from_the_prompt(open_screen: Open, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text(
        '[{"role": "user", "content": "quinces are yellow"}, {"role": "assistant", "content": "Yes."}]'
    )

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            await screen.until(lambda: bool(screen.app._known.models))
            await screen.types("/model scrip")
            await screen.until(lambda: bool(screen.app.popup.choices))
            assert screen.app.popup.marked.line.startswith("/model ")
            await screen.pilot.press("ctrl+c")
            await screen.sends(f"/import {old}")
            await screen.sees("messages  2", "go on with it: /resume session_")
            await screen.sends("/search it's quinc")
            await screen.sends("/search quinc")
            await screen.sees("quinces are yellow")
            await screen.sends("/search -x")
            await screen.sends("hello")
            await screen.sees("Good day.")
            await screen.until(lambda: not screen.app.repl.awaits_answer)
            await screen.sends("/usage")
            await screen.sees("scripted-1")
            await screen.sends("/models")
            await screen.sends("/config --origin")
            await screen.sees("ui.theme")
            assert "No such option" not in screen.text
            assert "there is no command" not in screen.text

    with scripted_model([{"text": "Good day."}]) as model:
        asyncio.run(scenario(model.environ()))


def test_a_turn_that_broke_off_is_tried_again_and_a_long_talk_is_summarised(
    open_screen: Open, tmp_path: Path
) -> None:
    steps = [{"text": ["This ", "breaks"], "cut_after": 1}, {"text": "Now whole."}, {"text": "A summary."}]

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            await screen.sends("tell me")
            await screen.sees("This", "!")
            await screen.until(lambda: not screen.app.repl.awaits_answer)
            await screen.sends("/retry")
            await screen.sees("Now whole.")
            await screen.until(lambda: not screen.app.repl.awaits_answer)
            await screen.sends("/context")
            await screen.sees("are seen")
            await screen.sends("/compact")
            await screen.sees("▸ /compact")
            assert "unknown" not in screen.text

    with scripted_model(steps) as model:
        asyncio.run(scenario(model.environ()))
