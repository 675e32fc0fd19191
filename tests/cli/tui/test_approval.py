"""The card of open questions: one, several, of other sessions; and over a real node with a real file."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from asked import FOLDER, HERE, NOW, asked
from textual.app import App, ComposeResult
from textual.widgets import Input, Static

from mcp_cli.tui.approval import ApprovalCard
from mcp_cli.tui.inbox import Inbox
from mcp_cli.tui.palette import DARK, palette
from mcp_interface.approval import Answer, Approval
from mcp_interface.commands import ListCapabilities
from mcp_interface.ids import SessionId
from mcp_interface.testing import ManualClock
from mcp_interface.tool import Preview
from scripted_model import scripted_model

THERE = SessionId("session_" + "2" * 32)


class Table(App[None]):
    """The card alone."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(NOW)
        self.card = ApprovalCard(palette(DARK), self.clock)
        self.given: list[tuple[Approval, Answer]] = []
        self.left = 0

    def compose(self) -> ComposeResult:
        yield self.card

    def on_approval_card_given(self, message: ApprovalCard.Given) -> None:
        self.given.append((message.approval, message.answer))

    def on_approval_card_left(self, message: ApprovalCard.Left) -> None:
        self.left += 1

    def part(self, name: str) -> str:
        return str(self.card.query_one(f"#approval-{name}", Static).render().plain)  # type: ignore[attr-defined]


def at_table(scenario: Callable[[Table, Any, Callable[..., Any]], Any], *questions: Approval) -> Table:
    table = Table()

    async def play() -> None:
        async with table.run_test(size=(100, 40)) as pilot:

            async def press(*keys: str) -> None:
                """As a person who has read what is there."""
                for key in keys:
                    table.clock.advance(1.0)
                    await pilot.press(key)

            assert table.card.ask(questions, SessionId(HERE))
            table.card.focus()
            await pilot.pause()
            await scenario(table, pilot, press)

    asyncio.run(play())
    return table


def test_several_questions_are_gone_through_and_each_gets_its_own_answer() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        assert "1 of 3" in table.part("head") and "another session" not in table.part("head")
        await press("right")
        assert "2 of 3" in table.part("head")
        await press("right")
        assert "3 of 3" in table.part("head") and "in another session" in table.part("head")
        await press("right", "left", "left", "y")
        assert "2 of 3" in table.part("head")

    table = at_table(scenario, asked(1), asked(2), asked(3, session_id=THERE))
    assert table.given == [(asked(2), Answer(allow=True))]


def test_a_key_does_not_count_in_the_first_moments_of_another_question() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        await press("right")
        await pilot.press("y")
        assert table.given == []
        # the one that is shown is answered elsewhere: another one comes under the fingers
        table.card.ask([asked(1), asked(3)], SessionId(HERE))
        await pilot.press("y")
        assert table.given == []
        # a new one does not take the place of the one that is read
        table.clock.advance(1.0)
        shown = table.card.approval
        table.card.ask([asked(0), asked(1), asked(3)], SessionId(HERE))
        assert table.card.approval == shown
        await pilot.press("y")

    table = at_table(scenario, asked(1), asked(2))
    assert table.given == [(asked(1), Answer(allow=True))]


def test_all_are_answered_alike_only_after_a_confirmation_and_none_that_came_later() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        await press("*")
        assert "these 2 alike" in table.part("head")
        assert table.part("arguments").count("path: /proj/a.txt") == 2
        await press("d")
        await press("s")
        assert "allow 2 questions, each for its session: Enter" in table.part("why")
        assert table.given == []
        table.card.ask([asked(1), asked(2, session_id=THERE), asked(3)], SessionId(HERE))
        await press("s", "y")
        assert table.given == []
        await press("enter")

    table = at_table(scenario, asked(1), asked(2, session_id=THERE))
    yes = Answer(allow=True, remember="session")
    assert table.given == [(asked(1), yes), (asked(2, session_id=THERE), yes)]


def test_answering_alike_can_be_left_and_ends_when_one_of_them_is_gone() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        await press("*", "y", "escape")
        assert "these 2 alike" in table.part("head")
        await press("escape")
        assert "1 of 2" in table.part("head")
        await press("*", "y")
        table.card.ask([asked(1), asked(3)], SessionId(HERE))
        await press("enter")
        assert "1 of 2" in table.part("head")
        await press("tab")

    table = at_table(scenario, asked(1), asked(2))
    assert (table.given, table.left) == ([], 1)


def test_a_yes_to_more_with_an_end_is_said_before_it_is_given() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        assert "p more than this" in table.part("keys") and "y once" in table.part("keys")
        await press("p", "e")
        assert f"for all of {FOLDER}, any arguments" in table.part("why")
        assert "end after 1 h" in table.part("why")
        assert "once" not in table.part("keys")
        await press("y", "A", "S")
        assert table.given == []
        await press("s")

    table = at_table(scenario, asked())
    yes = Answer(allow=True, remember="session", resource_uri=FOLDER, expires_in_s=3600.0)
    assert table.given == [(asked(), yes)]


def test_what_one_leans_to_is_not_carried_over_to_another_question() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        await press("p", "e", "right", "a")

    table = at_table(scenario, asked(1), asked(2))
    assert table.given == [(asked(2), Answer(allow=True, remember="always"))]


def test_a_reason_is_given_to_what_it_was_written_for_or_to_nothing() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        await press("d", "n", "o")
        table.card.ask([asked(2)], SessionId(HERE))
        table.card.query_one(Input).post_message(Input.Submitted(table.card.query_one(Input), "no"))
        await pilot.pause()
        assert table.given == []
        table.card.focus()
        await pilot.pause()
        await press("d", "n", "o", "enter")

    table = at_table(scenario, asked(1))
    assert table.given == [(asked(2), Answer(allow=False, reason="no"))]


def test_time_runs_out_before_the_eyes() -> None:
    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        assert "the question ends in 5 min" in table.part("why")
        table.clock.advance(270.0)
        table.card._tick()
        assert "ends in 30 s; then it is a no" in table.part("why")

    at_table(scenario, asked())


def test_many_rights_and_a_long_diff_are_folded_until_asked_for() -> None:
    many = [f"mcp://db/read/main/t{number}" for number in range(9)]
    found = asked(
        touches=many, preview=Preview(summary="changes it", diff="\n".join(f"+{n}" for n in range(50)))
    )

    async def scenario(table: Table, pilot: Any, press: Any) -> None:
        assert "and 6 more rights" in table.part("why")
        assert "as of 11:59:01 UTC" in table.part("why")
        assert "… 36 more lines" in table.part("preview") and "+49" not in table.part("preview")
        await press("v")
        assert "t8" in table.part("why") and "+49" in table.part("preview")

    at_table(scenario, found)


def test_what_waits_elsewhere_comes_behind_what_waits_here() -> None:
    inbox = Inbox()
    here, there = SessionId(HERE), THERE
    old, late = asked(1, session_id=there), asked(2, session_id=there)
    mine = [asked(3), asked(4)]
    assert inbox.waiting(mine, [asked(3), late, old], here, NOW) == [*mine, old, late]
    assert inbox.waiting([], [asked(3), late, old], here, NOW) == [old, late], (
        "its events are newer than a list"
    )
    assert inbox.waiting([], [asked(3), old], None, NOW) == [old, asked(3)]
    assert inbox.waiting(mine, [old], here, NOW + timedelta(hours=1)) == []


def test_what_was_answered_here_is_not_put_again_unless_the_answer_did_not_count() -> None:
    inbox, old = Inbox(), asked(1, session_id=THERE)
    inbox.settle(old.id)
    assert inbox.waiting([asked(3)], [old], SessionId(HERE), NOW) == [asked(3)]
    inbox.unsettle(old.id)
    assert inbox.waiting([], [old], SessionId(HERE), NOW) == [old]
    inbox.settle(old.id)
    assert inbox.waiting([], [], SessionId(HERE), NOW) == []
    assert inbox._settled == set(), "what is gone is forgotten"


def test_a_file_is_shown_as_it_would_change_and_a_folder_is_allowed(
    open_screen: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path.resolve() / "work"
    folder.mkdir()
    (folder / "note.txt").write_text("one\ntwo\n")
    names = ("note.txt", "other.txt")
    calls = [
        {
            "name_contains": "write_file",
            "arguments": {"path": str(folder / name), "content": "one\n2\n"},
        }
        for name in names
    ]
    steps = [
        {"text": "First", "tool_call": calls[0]},
        {"text": "Second", "tool_call": calls[1]},
        {"text": "All done."},
    ]

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            card = screen.app.card
            await screen.sends("write")
            await screen.until(lambda: card.has_focus)
            preview = card.query_one("#approval-preview").render().plain
            assert "-two\n+2" in preview
            assert "assistant" in card.query_one("#approval-head").render().plain
            await screen.pilot.press("p")
            card._focused_at = float("-inf")
            await screen.pilot.press("s")
            await screen.sees("All done.")
            assert (folder / "other.txt").read_text() == "one\n2\n"
            page = await screen.app.repl.attachment.request(ListCapabilities(limit=1000))
            (kept,) = [each for each in page.items if "approval_id" in each.metadata]
            assert kept.resource_uri == f"mcp://fs/write{folder}/**"

    with scripted_model(steps) as model:
        asyncio.run(scenario(model.environ()))


def test_what_waits_in_another_session_shows_up_here(open_screen: Callable[..., Any], tmp_path: Path) -> None:
    call = {"name_contains": "write_file", "arguments": {"path": f"{tmp_path}/a.txt", "content": "x"}}

    async def scenario(environ: dict[str, str]) -> None:
        async with open_screen(tmp_path, environ) as screen:
            app = screen.app
            await screen.sends("write")
            await screen.until(lambda: app.card.has_focus)
            await screen.pilot.press("escape")
            await screen.sends("/new")
            await screen.until(lambda: app.card.approval is not None and app.repl.session_id is None)
            assert not (tmp_path / "a.txt").exists()
            await screen.pilot.press("tab")
            await screen.until(lambda: app.card.has_focus)
            app.card._focused_at = float("-inf")
            await screen.pilot.press("n")
            await screen.until(lambda: app.card.approval is None)

    with scripted_model([{"text": "", "tool_call": call}, {"text": "Then not."}]) as model:
        asyncio.run(scenario(model.environ()))
