"""What the whole screen can do for a command (`staging.Stage`): lists to choose from, colours, mouse, editor, bell."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from textual import work
from textual.app import App
from textual.screen import ModalScreen

from mcp_cli.history import InputHistory
from mcp_cli.invocation import Invocation
from mcp_cli.notifying import news
from mcp_cli.remembering import ReplState
from mcp_cli.repl import Repl
from mcp_cli.staging import Ledger, Pick
from mcp_cli.tui import notifying
from mcp_cli.tui.palette import DARK, LIGHT, palette
from mcp_cli.tui.prompt import Prompt
from mcp_interface.errors import UmbrellaError
from mcp_interface.events import Event, TurnEnded, TurnStarted
from mcp_interface.ids import SessionId, TurnId

MOST_TURNS: Final = 100


class StageApp(App[None]):
    """The full screen without what is on it."""

    prompt: Prompt
    repl: Repl

    def __init__(
        self, invocation: Invocation, history: InputHistory, state: ReplState | None, *, theme: str
    ) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.state = state or ReplState()
        wanted = theme or self.state.theme
        chosen = {"light": LIGHT.name, "dark": DARK.name}.get(wanted, wanted)
        self.theme = chosen if chosen in self._themes() else DARK.name
        self._colours = palette(self.current_theme)
        self._clock = invocation.clock
        self._history = history
        self._editing = asyncio.Lock()
        self._turns: dict[TurnId, datetime] = {}
        self._elsewhere = 0

    # -- Stage --------------------------------------------------------------------------------------------

    async def choose(self, title: str, picks: Sequence[Pick]) -> str | None:
        """Put a list on top; what was chosen, or None."""
        from mcp_cli.tui.picker import Picker

        return await self._asked(Picker(self._colours, title, picks))

    async def choose_session(self) -> None:
        """Put the sessions on top, and go on with the chosen one."""
        from mcp_cli.tui.sessions import SessionsScreen

        request = self.repl.attachment.request
        screen = SessionsScreen(self._colours, request, self._clock, Path.cwd(), self.repl.session_id)
        chosen = await self._asked(screen)
        if chosen is not None and chosen != self.repl.session_id:
            await self.repl.open(SessionId(chosen), latest=False)

    async def _asked(self, screen: ModalScreen[str | None]) -> str | None:
        """As `push_screen_wait`, also outside of a worker."""
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def given(chosen: str | None) -> None:
            if not answer.done():
                answer.set_result(chosen)

        await self.push_screen(screen, given)
        return await answer

    def happened(self, event: Event) -> None:
        """Ring when it is worth it."""
        took: float | None = None
        if isinstance(event, TurnStarted):
            self._turns[event.turn_id] = event.timestamp
            while len(self._turns) > MOST_TURNS:
                del self._turns[next(iter(self._turns))]
        elif isinstance(event, TurnEnded):
            began = self._turns.pop(event.turn_id, None)
            took = None if began is None else (event.timestamp - began).total_seconds()
        told = news(event, focused=self.app_focus, took_s=took, title=self.repl.transcript.title)
        self._ring(told)

    def look_elsewhere(self) -> None:
        """Ring when something new waits in another session, and the person looks elsewhere."""
        count = self.repl.beyond.elsewhere
        if count > self._elsewhere and not self.app_focus:
            self._ring("something waits for you in another session")
        self._elsewhere = count

    def _ring(self, told: str) -> None:
        if told and self.state.notify and not self._editing.locked():
            notifying.ring(self, told)

    def prefill(self, text: str) -> None:
        """Put a text where the person types."""
        self.prompt.fill(text)
        self.prompt.focus()

    def copy(self, text: str) -> None:
        """Hand a text to the terminal's clipboard."""
        self.copy_to_clipboard(text)

    def colours(self) -> Sequence[str]:
        """The themes, the present one first."""
        return [self.theme, *(name for name in self._themes() if name != self.theme)]

    def _themes(self) -> list[str]:
        """Those of which the transcript's colours can be read: the terminal's own have no values."""
        return sorted(name for name in self.available_themes if "ansi" not in name)

    def paint(self, theme: str) -> None:
        """Use a theme."""
        self.theme = theme

    def take_mouse(self, on: bool) -> None:
        """Take the mouse, or leave it to the terminal."""
        notifying.take_mouse(self, on=on)

    def show_keys(self) -> None:
        """Put the panel of keys on top."""
        from mcp_cli.tui.keys import KeysScreen

        self.push_screen(KeysScreen(self._colours))

    def show_ledger(self, name: Ledger) -> None:
        """Put the rights or the audit on top."""
        from mcp_cli.tui.audit import AuditScreen
        from mcp_cli.tui.rights import RightsScreen

        request = self.repl.attachment.request
        if name == "caps":
            self.push_screen(RightsScreen(request, self._colours, self._clock))
        else:
            self.push_screen(AuditScreen(request, self._colours))

    # -- keys that open something -------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of the conversation are its own: another screen has other ones."""
        return len(self.screen_stack) == 1 or action in {"interrupt", "command_palette", "help_quit"}

    def on_prompt_asked(self, message: Prompt.Asked) -> None:
        """?: show the keys."""
        self.show_keys()

    @work(group="list")
    async def action_search(self) -> None:
        """Ctrl-R: bring back an earlier input."""
        from mcp_cli.tui.search import SearchScreen

        chosen = await self._asked(SearchScreen(self._colours, self._history.latest))
        if chosen is not None:
            self.prefill(chosen)

    @work(group="list")
    async def action_sessions(self) -> None:
        """Ctrl-P: choose a session."""
        try:
            await self.choose_session()
        except UmbrellaError as error:
            self.repl.face.complain(error.body())

    @work(group="list")
    async def action_edit(self) -> None:
        """Ctrl-G: write the input in an editor."""
        from mcp_cli.tui.editor import edited

        if self._editing.locked():
            return
        async with self._editing:
            try:
                text = await edited(self, self.prompt.whole)
            except UmbrellaError as error:
                self.repl.face.complain(error.body())
                return
            finally:
                if not self.state.mouse:
                    self.take_mouse(False)  # who comes back to the screen has it again
            self.prefill(text)

    def keep_state(self) -> None:
        """Note how far the session on the screen was seen."""
        self.repl.saw()

    def apply_state(self) -> None:
        """Leave the mouse to the terminal when the person wants it so."""
        if not self.state.mouse:
            self.take_mouse(False)

    def get_system_commands(self, screen: Any) -> Any:
        """None of Textual's own: the palette holds the slash commands."""
        return ()
