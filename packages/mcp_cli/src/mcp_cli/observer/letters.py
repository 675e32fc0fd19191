"""What reached nobody: read it, send it again, forget it."""

from typing import ClassVar, Final, Protocol, TypeVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from mcp_cli.naming import short
from mcp_cli.observer.rows import Rows
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line
from mcp_interface.commands import Command
from mcp_interface.errors import UmbrellaError
from mcp_interface.observe import ForgetLost, ListLost, LostMessage, ResendLost

R = TypeVar("R")
LOOK_S: Final = 1.0


class Asks(Protocol):
    """The way to the node."""

    async def __call__(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """As `Client.request`."""
        ...


class LettersScreen(Screen[None]):
    """The dead letters, the latest first.

    Args:
        ask: The way to the node.
        palette: Colours.
    """

    CSS = """
    LettersScreen { background: $background; layout: vertical; }
    LettersScreen > Static { height: 1; padding: 0 1; }
    LettersScreen > Rows { height: 1fr; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "resend", show=False),
        Binding("f", "forget", show=False),
        Binding("escape,q,d", "leave", show=False),
    ]

    def __init__(self, ask: Asks, palette: Palette) -> None:
        super().__init__()
        self._ask = ask
        self._palette = palette

    def compose(self) -> ComposeResult:
        """The list and its keys."""
        yield Static(id="count", markup=False)
        yield Rows(id="letters")
        yield Static(id="keys", markup=False)

    def on_mount(self) -> None:
        """Read them, again and again."""
        self.rows = self.query_one(Rows)
        self._head = self.query_one("#count", Static)
        self.rows.focus()
        keys = Text(no_wrap=True, overflow="ellipsis")
        for key, rest in (("r", "esend  "), ("f", "orget  "), ("Esc", " back")):
            keys.append(key, style=f"bold {self._palette.accent}")
            keys.append(rest, style=self._palette.dim)
        self.query_one("#keys", Static).update(keys)
        self._read()
        self.set_interval(LOOK_S, self._read)

    @work(exclusive=True, group="letters")
    async def _read(self) -> None:
        try:
            page = await self._ask(ListLost(limit=1000))
        except UmbrellaError as error:
            self._count(error.message)
            return
        letters = list(reversed(page.items))
        count = f"{len(letters)} message{'' if len(letters) == 1 else 's'} reached nobody"
        self._count(count if letters else "every message reached somebody")
        self.rows.fill([(str(letter.number), self._line(letter)) for letter in letters])

    def _count(self, words: str) -> None:
        self._head.update(Text(one_line(words), style=self._palette.text))

    def _line(self, letter: LostMessage) -> Text:
        text = Text(no_wrap=True)
        text.append(f"{letter.number:>5} {letter.at:%H:%M:%S} ", style=self._palette.dim)
        text.append(f"{one_line(_where(letter.to), 34)} ", style=self._palette.accent)
        text.append(f"{one_line(letter.reason, 32)} ", style=self._palette.bad)
        if not letter.can_be_sent:
            text.append("cannot be sent again ", style=self._palette.warn)
        text.append(one_line(letter.message), style=self._palette.text)
        return text

    def action_resend(self) -> None:
        """Send the marked one again."""
        self._do("resend")

    def action_forget(self) -> None:
        """Drop the marked one for good."""
        self._do("forget")

    @work(group="orders")
    async def _do(self, deed: str) -> None:
        if not self.rows.key:
            return
        number = int(self.rows.key)
        try:
            order = ResendLost(number=number) if deed == "resend" else ForgetLost(number=number)
            await self._ask(order)
        except UmbrellaError as error:
            told = ": ".join(filter(None, [error.message, error.remedy]))
            self.app.notify(told, severity="error", timeout=8, markup=False)
        else:
            self.app.notify("sent again" if deed == "resend" else "forgotten", timeout=3)
        self._read()

    def action_leave(self) -> None:
        """Go back to the tree."""
        self.dismiss()


def _where(to: str) -> str:
    """A target as people read it: an address without its scheme, an id in short."""
    kind, _, name = to.removeprefix("mcp://").rpartition("/")
    return f"{kind}/{short(name)}" if kind else short(to)
