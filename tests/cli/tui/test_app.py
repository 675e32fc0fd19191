"""What a person sees and does in the full-screen REPL."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_interface.commands import ListApprovals, ListRefusals, ListSessions
from scripted_model import scripted_model

Open = Callable[..., Any]


def test_an_empty_screen_says_what_can_be_done_without_a_model(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sees("/mcp add NAME", "/tools", "/agent spawn", "OPENAI_API_KEY")
            await screen.tells("new session · no model · profile careful · connected")

    asyncio.run(scenario())


def test_opening_and_leaving_creates_no_session(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends("/help")
            await screen.sees("keys", "/grant")
            page = await screen.app.repl.attachment.request(ListSessions())
            assert page.items == []
            assert screen.app.repl.farewell() == ""
            await screen.sends("/quit")
            await screen.until(lambda: not screen.app.is_running)

    asyncio.run(scenario())


def test_a_message_without_a_model_is_answered_with_the_exact_remedy(
    open_screen: Open, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends("hello [bold]there[/bold] \x1b[31m")
            await screen.sees(
                "▌ hello [bold]there[/bold]", "no language model is configured", "→ ", "OPENAI_API_KEY"
            )
            assert "--resume session_" in screen.app.repl.farewell()

    asyncio.run(scenario())


def test_an_error_before_the_call_is_shown_too(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends("/call fs read_file {} --as nobody-here")
            await screen.sees("✗ no agent is called 'nobody-here'")
            await screen.sends("/tols")
            await screen.sees("did you mean /tools?")

    asyncio.run(scenario())


def test_completion_goes_from_a_letter_to_a_call(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app = screen.app
            await screen.until(lambda: bool(app._known.tools))
            await screen.pilot.press("slash", "c", "a", "l")
            await screen.until(lambda: app.popup.display)
            await screen.pilot.press("tab")
            assert app.prompt.text == "/call "
            await screen.types("fs rea")
            await screen.until(lambda: bool(app.popup.choices))
            await screen.pilot.press("tab")
            assert app.prompt.text == "/call fs read_file "
            await screen.until(lambda: bool(app.popup.choices))
            await screen.pilot.press("tab")
            assert app.prompt.text == '/call fs read_file {"path":""}'
            await screen.pilot.press("ctrl+c")
            assert app.prompt.text == ""

    asyncio.run(scenario())


def test_a_typo_is_answered_and_never_taken_for_another_command(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            for key in ("slash", "h", "a", "l", "p", "enter"):
                await screen.pilot.press(key)
            await screen.sees("did you mean", "/help")
            assert "no conversations yet" not in screen.text and "last used" not in screen.text

    asyncio.run(scenario())


def test_the_list_of_completions_is_walked_with_arrows_and_closed_with_escape(
    open_screen: Open, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app = screen.app
            await screen.pilot.press("slash")
            await screen.until(lambda: app.popup.display)
            first = app.popup.marked
            await screen.pilot.press("down", "down", "up")
            assert app.popup.marked != first
            await screen.pilot.press("up")
            assert app.popup.marked == first
            await screen.pilot.press("escape")
            assert not app.popup.display
            await screen.pilot.press("backspace", "slash", "s", "t", "a", "enter")
            await screen.sees("journal", "running")

    asyncio.run(scenario())


def test_several_lines_are_typed_and_earlier_inputs_come_back(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            app = screen.app
            await screen.pilot.press("a", "ctrl+j", "b")
            assert app.prompt.text == "a\nb"
            await screen.pilot.press("enter")
            await screen.sees("▌ a", "▌ b")
            await screen.pilot.press("up")
            assert app.prompt.text == "a\nb"
            await screen.pilot.press("down")
            assert app.prompt.text == ""

    asyncio.run(scenario())


WRITE = {"name_contains": "write_file"}


def test_a_conversation_streams_and_asks_before_it_writes(open_screen: Open, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    call = {**WRITE, "arguments": {"path": str(note), "content": "one\n[red]two[/red]\n"}}
    steps = [{"text": "# I will write", "tool_call": call}, {"text": "All **done**."}]

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            app = screen.app
            await screen.sends("write a note")
            await screen.sees("I will write", "? fs.write_file needs your answer")
            await screen.until(lambda: app.card.has_focus)
            await screen.tells("1 waiting for you")
            arguments = app.card.query_one("#approval-arguments").render().plain
            assert f"path: {note}" in arguments
            assert "  │ [red]two[/red]" in arguments
            await screen.pilot.press("y")
            assert not note.exists(), "a key that comes at once was meant for something else"
            app.card._focused_at = float("-inf")
            await screen.pilot.press("y")
            await screen.sees("✓ fs.write_file allowed once", "● fs.write_file", "All done.")
            assert note.read_text() == "one\n[red]two[/red]\n"
            await screen.until(lambda: app.prompt.has_focus)
            await screen.tells("scripted-1")
            await screen.tells(" in, ")

    with scripted_model(steps) as model:
        asyncio.run(scenario(model.environ()))


def test_a_question_does_not_take_the_keys_from_somebody_who_types_and_is_refused_with_a_reason(
    open_screen: Open, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    call = {**WRITE, "arguments": {"path": str(note), "content": "x"}}
    steps = [{"text": "I write", "tool_call": call, "delay": 0.3}, {"text": "Then not."}]

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            app = screen.app
            await screen.sends("write a note")
            await screen.types("ye")
            await screen.sees("needs your answer")
            assert app.prompt.has_focus
            await screen.pilot.press("s")
            assert app.prompt.text == "yes"
            await screen.pilot.press("tab")
            await screen.until(lambda: app.card.has_focus)
            app.card._focused_at = float("-inf")
            await screen.pilot.press("d", *"later", "enter")
            await screen.sees("✗ fs.write_file denied: later", "Then not.")
            assert not note.exists()

    with scripted_model(steps) as model:
        asyncio.run(scenario(model.environ()))


def test_never_is_remembered_and_undone_from_the_prompt(open_screen: Open, tmp_path: Path) -> None:
    call = {**WRITE, "arguments": {"path": str(tmp_path / "note.txt"), "content": "x"}}
    steps = [
        {"text": "I write", "tool_call": call},
        {"text": "Again", "tool_call": call},
        {"text": "Then never."},
    ]

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            app = screen.app
            await screen.sends("write a note")
            await screen.until(lambda: app.card.has_focus)
            keys = app.card.query_one("#approval-keys").render().plain
            assert "x never" in keys
            assert "A always, any arguments" in keys, "a yes to writing is one to what is written"
            app.card._focused_at = float("-inf")
            await screen.pilot.press("x", *"ask", "enter")
            await screen.sees("Then never.")
            assert screen.text.count("✗ fs.write_file never: ask") == 1, (
                "the second was answered without asking"
            )
            assert "a person said never" in screen.text
            await screen.until(lambda: app.prompt.has_focus)
            await screen.sends("/approvals never")
            await screen.sees("fs/write_file", "forget QUESTION")
            page = await app.repl.attachment.request(ListRefusals())
            assert page.items[0].reason == "ask"
            await screen.sends(f"/approvals forget {page.items[0].fingerprint[:12]}")
            await screen.sees("may be asked about again")
            assert not (await app.repl.attachment.request(ListRefusals())).items

    with scripted_model(steps) as model:
        asyncio.run(scenario(model.environ()))


def test_an_open_question_is_still_there_for_the_next_repl(open_on: Open, tmp_path: Path) -> None:
    from mcp_core import Node, Settings

    call = {**WRITE, "arguments": {"path": str(tmp_path / "note.txt"), "content": "x"}}

    async def scenario(environ: dict[str, str]) -> None:
        async with Node(Settings.load(tmp_path / "node", environ)) as node:
            async with open_on(node) as screen:
                await screen.sends("write")
                await screen.sees("needs your answer")
                await screen.pilot.press("escape")
                await screen.until(lambda: screen.app.prompt.has_focus)
            async with open_on(node, latest=True) as screen:
                await screen.sees("▌ write", "needs your answer")
                await screen.until(lambda: screen.app.card.has_focus)
                page = await screen.app.repl.attachment.request(ListApprovals())
                assert len(page.items) == 1
                await screen.pilot.press("tab")
                await screen.until(lambda: screen.app.prompt.has_focus)
                await screen.sends(f"/approvals deny {page.items[0].id} --reason 'not today'")
                await screen.sees("denied: not today")

    with scripted_model([{"text": "", "tool_call": call}]) as model:
        asyncio.run(scenario(model.environ()))


def test_escape_stops_the_turn_and_keeps_what_was_said(open_screen: Open, tmp_path: Path) -> None:
    words = [{"text": [f"word{number} " for number in range(400)], "chunk_delay": 0.05}]

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            await screen.sends("talk")
            await screen.sees("word5")
            await screen.tells("working, Esc stops")
            await screen.pilot.press("escape")
            await screen.sees("! cancelled")
            assert "word5" in screen.text

    with scripted_model(words) as model:
        asyncio.run(scenario(model.environ()))


def test_an_earlier_session_is_offered_and_resumed_in_full(open_on: Open, tmp_path: Path) -> None:
    from mcp_core import Node, Settings

    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            async with open_on(node) as screen:
                await screen.sends("about fish")
                await screen.sees("no language model")
            async with open_on(node) as screen:
                await screen.sees("earlier: about fish", "/resume session_")
                assert "▌ about fish" not in screen.text
                await screen.sends("/resume")
                await screen.until(lambda: len(screen.app.screen_stack) == 2 and screen.app.screen.marked)
                await screen.pilot.press("enter")
                await screen.sees("▌ about fish", "no language model")
                await screen.sends("/profile open")
                await screen.sees("profile is now open")
                await screen.tells("profile open")
                await screen.sends("/new")
                await screen.sees("a new session begins")
                assert "▌ about fish" not in screen.text
                await screen.tells("new session")
            async with open_on(node, resume="session_nothing") as screen:
                await screen.sees("no session is called")

    asyncio.run(scenario())


def test_ctrl_c_leaves_when_pressed_twice(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.pilot.press("ctrl+c")
            assert screen.app.is_running
            await screen.pilot.press("ctrl+c")
            await screen.until(lambda: not screen.app.is_running)

    asyncio.run(scenario())
