"""What a person sees of a conversation in the full-screen REPL, and how it is drawn."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_cli.transcript import fold
from mcp_interface.client import TextDelta
from mcp_interface.commands import CreateSession
from mcp_interface.ids import MessageId, SessionId, TurnId

Open = Callable[..., Any]


def test_a_node_that_is_away_is_told_first_in_the_status_line(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.tells("connected")
            screen.app.repl.attachment.state = "stopped"
            screen.app.changed()
            await screen.until(
                lambda: screen.status.startswith("node stopped; send something to start it · ")
            )
            assert "connected" not in screen.status

    asyncio.run(scenario())


def test_a_call_shows_a_card_and_a_denied_one_the_grant_that_helps(open_screen: Open, tmp_path: Path) -> None:
    arguments = json.dumps({"path": str(tmp_path)})

    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends(f"/call fs list_directory {arguments}")
            await screen.sees("● fs.list_directory", "node/")
            await screen.sends("/agent spawn scout")
            await screen.sees("nothing: every call is denied")
            await screen.sends(f"/call fs list_directory {arguments} --as scout")
            await screen.sees("⊘ fs.list_directory", "denied", "→ /grant agent_")
            assert screen.text.count("may not list") == 1, "the error is not said twice"
            await screen.sends(f"/grant scout mcp://fs/list{tmp_path} --expires 1h")
            await screen.sees("take it back: /caps revoke")
            await screen.sends(f"/call fs list_directory {arguments} --as scout")
            await screen.until(lambda: screen.text.count("● fs.list_directory") == 2)

    asyncio.run(scenario())


def test_a_long_session_is_opened_at_its_end_and_read_backwards(open_on: Open, tmp_path: Path) -> None:
    from mcp_core import Node, Settings
    from mcp_interface.commands import PostMessage

    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            async with open_on(node) as screen:
                request = screen.app.repl.attachment.request
                session = await request(CreateSession(title="long"))
                for number in range(100):
                    await request(PostMessage(session_id=session.id, text=f"message {number}"))
            async with open_on(node, latest=True) as screen:
                await screen.sees("message 99")
                assert "message 0\n" not in screen.text
                pane = screen.app.pane
                for _ in range(40):
                    await screen.pilot.press("pageup")
                    if "▌ message 0\n" in screen.text:
                        break
                await screen.sees("▌ message 0\n")
                await screen.until(lambda: pane._first == 0)
                await screen.pilot.press("x")
                assert not pane._follow, "typing does not scroll"

    asyncio.run(scenario())


def test_a_resize_keeps_the_end_in_sight_and_clear_empties_the_screen(
    open_screen: Open, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            pane = screen.app.pane
            await screen.sends("/help")
            await screen.sees("keys")
            for size in [(60, 20), (140, 50), (30, 12), (100, 30)]:
                await screen.pilot.resize_terminal(*size)
                await screen.until(lambda: pane.scroll_offset.y >= pane.max_scroll_y - 1)
            await screen.sends("hello")
            await screen.sees("▌ hello")
            await screen.sends("/clear")
            await screen.until(lambda: "hello" not in screen.text)
            await screen.sends("again")
            await screen.sees("▌ again")
            assert "▌ hello" not in screen.text

    asyncio.run(scenario())


def test_results_open_and_fold(open_screen: Open, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"file{number:02}").write_text("")

    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends(f"/call fs list_directory {json.dumps({'path': str(tmp_path)})}")
            await screen.sees("file00", "more lines (click, or Ctrl+O opens all)")
            assert "file29" not in screen.text
            await screen.pilot.press("ctrl+o")
            await screen.sees("file29")
            await screen.pilot.press("ctrl+o")
            await screen.until(lambda: "file29" not in screen.text)

    asyncio.run(scenario())


def test_the_light_colours_draw_everything_again(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends("/help")
            await screen.sees("keys")
            before = screen.text
            screen.app.theme = "umbrella-light"
            await screen.pilot.pause()
            assert screen.text == before

    asyncio.run(scenario())


def test_text_in_the_transcript_can_be_selected(open_screen: Open, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_screen(tmp_path) as screen:
            await screen.sends("a sentence to copy")
            await screen.sees("▌ a sentence to copy")
            pane = screen.app.pane
            pane.text_select_all()
            await screen.pilot.pause()
            assert "a sentence to copy" in (screen.app.screen.get_selected_text() or "")
            await screen.pilot.press("ctrl+c")
            assert screen.app.is_running

    asyncio.run(scenario())


def test_one_card_opens_by_a_click_or_a_key_and_the_others_stay_folded(
    open_screen: Open, tmp_path: Path
) -> None:
    for number in range(30):
        (tmp_path / f"file{number:02}").write_text("")
    call = f"/call fs list_directory {json.dumps({'path': str(tmp_path)})}"

    async def scenario() -> None:
        async with open_screen(tmp_path, size=(100, 40)) as screen:
            pane = screen.app.pane
            for times in (1, 2):
                await screen.sends(call)
                await screen.until(lambda times=times: screen.text.count("● fs.list_directory") == times)
            pane.focus()
            await screen.pilot.press("k", "enter")
            await screen.until(lambda: screen.text.count("file29") == 1)
            await screen.pilot.press("enter")
            await screen.until(lambda: "file29" not in screen.text)
            await screen.pilot.press("k", "k", "j", "space")
            await screen.until(lambda: screen.text.count("file29") == 1)
            await screen.pilot.press("ctrl+o")
            await screen.until(lambda: screen.text.count("file29") == 2)
            await screen.pilot.press("ctrl+o")
            await screen.until(lambda: "file29" not in screen.text)
            pane.to_end()
            await screen.pilot.pause()
            lines = screen.text.split("\n")
            head = max(row for row, line in enumerate(lines) if "● fs.list_directory" in line)
            await screen.pilot.click(pane, offset=(4, head - int(pane.scroll_offset.y)))
            await screen.until(lambda: screen.text.count("file29") == 1)

    asyncio.run(scenario())


def test_answers_that_grow_out_of_sight_are_drawn_when_somebody_looks(
    open_screen: Open, tmp_path: Path
) -> None:
    def words(message: str, text: str) -> TextDelta:
        session, turn = SessionId("session_1"), TurnId("turn_1")
        return TextDelta(session_id=session, turn_id=turn, message_id=MessageId(message), text=text)

    async def scenario() -> None:
        async with open_screen(tmp_path, size=(80, 16)) as screen:
            pane = screen.app.pane

            def says(message: str, text: str) -> None:
                screen.app.repl.transcript = fold(screen.app.repl.transcript, words(message, text))
                pane.sync(screen.app.repl.transcript.blocks)

            pane.reset()
            says("above", "first\n\n")
            for number in range(40):
                says("below", f"line {number}\n\n")
            await screen.pilot.pause()
            says("above", "later\n\n")
            assert "later" not in screen.text, "nobody sees it"
            says("below", "the end")
            assert "  the end ▍" in screen.text
            await screen.pilot.press("pageup")
            await screen.sees("later", "first", "the end")

    asyncio.run(scenario())


def test_the_first_frame_needs_no_markdown() -> None:
    loaded = (
        "import sys, mcp_cli.tui.app\n"
        "print(*sorted({'rich.markdown', 'rich.syntax', 'markdown_it', 'pygments'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""
