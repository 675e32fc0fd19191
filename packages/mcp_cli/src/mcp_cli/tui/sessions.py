"""Ctrl-P: sessions, those of this folder first; open, rename, fork or end one."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.widgets import Input

from mcp_cli.naming import short
from mcp_cli.presenters import ago
from mcp_cli.staging import Pick
from mcp_cli.tui.palette import Palette
from mcp_cli.tui.picker import Picker
from mcp_cli.untrusted import one_line
from mcp_interface.clock import Clock
from mcp_interface.commands import ChangeSession, Command, EndSession, ForkSession, ListSessions
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import SessionId
from mcp_interface.session import Session

MOST: Final = 300
KEYS: Final = "Ctrl+T ended too   Ctrl+R rename   Ctrl+F fork   Ctrl+X twice end"


class SessionsScreen(Picker):
    """Gives the id of the session to go on with.

    Args:
        palette: Colours.
        request: Asks the node.
        clock: Source of time.
        folder: Where the person is.
        present: The session on the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "all", priority=True),
        Binding("ctrl+r", "rename", priority=True),
        Binding("ctrl+f", "fork", priority=True),
        Binding("ctrl+x", "end", priority=True),
    ]

    def __init__(
        self,
        palette: Palette,
        request: Callable[[Command[Any]], Awaitable[Any]],
        clock: Clock,
        folder: Path,
        present: SessionId | None,
    ) -> None:
        super().__init__(palette, "sessions", [], KEYS)
        self._request = request
        self._clock = clock
        self._folder = str(folder)
        self._present = present
        self._sessions: dict[str, Session] = {}
        self._ended = False
        self._renaming = ""
        """The session whose title is being typed."""
        self._doomed = ""
        """The session that ends when the key is pressed once more."""

    def on_mount(self) -> None:
        """Ask for the sessions."""
        super().on_mount()
        self._look()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        page = await self._ask(ListSessions(ended=self._ended, limit=MOST))
        if page is not None:
            self._sessions = {session.id: session for session in page.items}
            self.offer(
                [
                    session_pick(session, self._clock, here=self._folder, present=self._present)
                    for session in in_order(page.items, self._folder)
                ]
            )

    async def _ask(self, command: Command[Any]) -> Any:
        try:
            return await self._request(command)
        except UmbrellaError as error:
            self.tell(f"{error.message}; {error.remedy}" if error.remedy else error.message, bad=True)
            return None

    def action_all(self) -> None:
        """Show also those that have ended, or not any more."""
        self._ended = not self._ended
        self._look()

    def action_rename(self) -> None:
        """Let the title of the marked one be typed; Enter takes it."""
        if self.marked is None or self._renaming:
            return
        self._renaming = self.marked
        field = self.query_one(Input)
        field.value = one_line(self._sessions[self._renaming].title)
        field.cursor_position = len(field.value)
        self.tell("type the title; Enter keeps it, Esc leaves it")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what fits, unless it is a title that is typed."""
        self._doomed = ""
        if not self._renaming:
            super().on_input_changed(event)

    def action_take(self) -> None:
        """Go on with the marked one; or keep a title."""
        if not self._renaming:
            super().action_take()
            return
        self._rename(self._renaming, one_line(self.query_one(Input).value, 200))
        self._stop_renaming()

    def action_leave(self) -> None:
        """Leave; or leave a title as it was."""
        if self._renaming:
            self._stop_renaming()
        else:
            super().action_leave()

    def _stop_renaming(self) -> None:
        self._renaming = ""
        field = self.query_one(Input)
        if field.value:
            field.value = ""  # which shows the list anew
        else:
            self._filter()

    @work(group="orders")
    async def _rename(self, key: str, title: str) -> None:
        if await self._ask(ChangeSession(session_id=SessionId(key), title=title)) is not None:
            self._look()

    def action_fork(self) -> None:
        """Go on in a copy of the marked one."""
        if self.marked is not None:
            self._fork(self.marked)

    @work(group="orders")
    async def _fork(self, key: str) -> None:
        made = await self._ask(ForkSession(session_id=SessionId(key)))
        if made is not None:
            self.dismiss(made.id)

    def action_end(self) -> None:
        """End the marked one, when it is asked for twice."""
        key = self.marked
        if key is None or self._sessions[key].status == "terminated":
            return
        if self._doomed != key:
            self._doomed = key
            name = one_line(self._sessions[key].title, 40) or short(key)
            self.tell(f"Ctrl+X again ends {name}, its agents and their rights; what was said stays")
            return
        self._doomed = ""
        self._end(key)

    @work(group="orders")
    async def _end(self, key: str) -> None:
        await self._ask(EndSession(session_id=SessionId(key)))
        self._look()


def in_order(sessions: list[Session], folder: str) -> list[Session]:
    """Conversations of this folder, then of others, each latest first; single calls of tools are none.

    A session in which an agent works on a task stands where its time puts it among those of other folders.
    """
    talks = [one for one in sessions if one.metadata.get("kind") != "console" and "mcp" not in one.metadata]
    return sorted(talks, key=lambda one: one.metadata.get("cwd") != folder or one.lineage is not None)


def session_pick(session: Session, clock: Clock, *, here: str, present: SessionId | None) -> Pick:
    """One line on a session: title, folder, when, state, cost."""
    folder = str(session.metadata.get("cwd", ""))
    where = "" if folder == here or not folder else one_line(Path(folder).name or folder, 24)
    state = "working" if session.busy else "" if session.status == "active" else session.status
    spent = session.spent
    cost = f"${spent.cost:.2f}" if spent.cost >= 0.005 else ""
    parts = [
        "on the screen" if session.id == present else "",
        where,
        ago(session.updated_at, clock.now()),
        state if state != "terminated" else "ended",
        "of an agent" if session.lineage is not None else "",
        f"{session.message_count} messages",
        cost,
        short(session.id),
    ]
    return Pick(
        key=session.id,
        label=one_line(session.title, 60) or "untitled",
        detail=" · ".join(part for part in parts if part),
    )
