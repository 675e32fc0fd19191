"""The live tree of a node's actors on a whole terminal: look, filter, watch, kill, mend.

It asks once a second and draws what has changed. A node whose loop is blocked cannot answer; then that is said,
and for how long, and afterwards by whom.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, Static

from mcp_cli.naming import short
from mcp_cli.observer.letters import Asks, LettersScreen
from mcp_cli.observer.picture import ASKED, SORTS, Line, Sort, cells, head, remark, title, tree, trouble
from mcp_cli.observer.question import Question
from mcp_cli.observer.rows import Rows
from mcp_cli.presenters import span
from mcp_cli.sheet import Cell
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line
from mcp_interface.clock import Clock
from mcp_interface.errors import NotFound, UmbrellaError
from mcp_interface.observe import (
    KillActor,
    ListSeen,
    ObserveRuntime,
    RuntimeStatus,
    SeenMessage,
    WatchActor,
)

LOOK_S: Final = 1.0
SILENT_S: Final = 1.0
"""Seconds without an answer after which that is told."""
WIDTHS: Final = (11, 7, 6, 6, 4, 6)
"""Columns of type, state, mail, rate, restarts and memory."""
HEADINGS: Final = ("type", "state", "mail", "msg/s", "rst", "bytes")
NARROWEST: Final = 24
"""Columns that a name needs; on a narrower terminal the first of the others are left out."""


class ObserverScreen(Screen[None]):
    """The tree with its keys.

    Args:
        ask: The way to the node.
        palette: Colours.
        clock: For how long there was no answer.
    """

    CSS = """
    ObserverScreen { background: $background; layout: vertical; }
    ObserverScreen > Static { height: 1; padding: 0 1; }
    ObserverScreen > Rows { height: 1fr; padding: 0 1; }
    ObserverScreen > #seen { height: 40%; display: none; border-top: solid $panel; }
    ObserverScreen > #filter { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", show=False),
        Binding("s", "sort", show=False),
        Binding("slash", "filter", show=False),
        Binding("w", "watch", show=False),
        Binding("k", "kill", show=False),
        Binding("d", "letters", show=False),
        Binding("escape", "back", show=False),
    ]

    def __init__(self, ask: Asks, palette: Palette, clock: Clock) -> None:
        super().__init__()
        self._ask = ask
        self._palette = palette
        self._clock = clock
        self._sort: Sort = "mail"
        self._now: RuntimeStatus | None = None
        self._before: RuntimeStatus | None = None
        self._lines: dict[str, Line] = {}
        self._asked_at: float | None = None
        """When the look began that is not answered yet."""
        self._problem = ""
        self._watched = ""
        self._again = asyncio.Event()

    def compose(self) -> ComposeResult:
        """The parts of the screen, from top to bottom."""
        yield Static(id="head", markup=False)
        yield Static(id="trouble", markup=False)
        yield Static(id="columns", markup=False)
        yield Rows(id="tree")
        yield Rows(id="seen", follows=True)
        yield Input(id="filter", placeholder="part of a name, type or title; Enter keeps it, Esc ends it")
        yield Static(id="keys", markup=False)

    def on_mount(self) -> None:
        """Look at once, then again and again."""
        self.rows, self.seen = self.query_one("#tree", Rows), self.query_one("#seen", Rows)
        self.filter = self.query_one("#filter", Input)
        names = ("head", "trouble", "columns", "keys")
        self._static = {name: self.query_one(f"#{name}", Static) for name in names}
        self.rows.focus()
        self._draw_keys()
        self._say("looking…", "dim")
        self._follow()
        self.set_interval(LOOK_S / 2, self._draw_trouble)

    # -- looking ------------------------------------------------------------------------------------------

    @work(exclusive=True, group="looks")
    async def _follow(self) -> None:
        while True:
            self._again.clear()
            self._asked_at = self._clock.monotonic()
            try:
                await self._look()
                self._problem = ""
            except UmbrellaError as error:
                self._problem = error.message
            self._asked_at = None
            self._draw_trouble()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._again.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        wish = ObserveRuntime(order=ASKED[self._sort], match=self.filter.value.strip()[:200], memory=True)
        status = await self._ask(wish)
        # A look that was hurried by a key is no second one: rates over so short a time jump about.
        if self._now is not None and status.uptime_s - self._now.uptime_s >= LOOK_S / 2:
            self._before = self._now
        elif self._now is not None and status.uptime_s < self._now.uptime_s:
            self._before = None  # another node than before
        self._now = status
        self._draw()
        if self._watched:
            await self._look_at_messages()

    async def _look_at_messages(self) -> None:
        try:
            seen = await self._ask(ListSeen(name=self._watched))
        except NotFound as error:
            self._watched = ""
            self.seen.display = False
            self.app.notify(error.message, markup=False)
            return
        self.seen.fill([(str(place), self._message(each)) for place, each in enumerate(seen)])

    # -- drawing ------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        if self._now is None:
            return
        lines = tree(self._now, self._before, self._sort)
        self._lines = {line.key: line for line in lines}
        self.rows.fill([(line.key, self._line(line)) for line in lines])
        parts = head(self._now)
        text = Text(no_wrap=True, overflow="ellipsis")
        for place, (words, tone) in enumerate(parts):
            text.append(" · " if place else "", style=self._palette.dim)
            text.append(words, style=self._palette.tones[tone])
        self._static["head"].update(text)
        self._draw_trouble()

    def _draw_trouble(self) -> None:
        told = trouble(self._now) if self._now is not None else ""
        silent = 0.0 if self._asked_at is None else self._clock.monotonic() - self._asked_at
        if self._problem:
            told = self._problem
        elif silent > SILENT_S:
            told = f"no answer for {span(silent)}: something keeps the node's loop (umbrella logs names it)"
        if told or self._now is not None:
            self._say(told, "bad")

    def _say(self, words: str, tone: str) -> None:
        style = f"bold {self._palette.bad}" if tone == "bad" else self._palette.dim
        self._static["trouble"].update(Text(one_line(words), style=style, no_wrap=True, overflow="ellipsis"))

    def _draw_keys(self) -> None:
        text = Text(no_wrap=True, overflow="ellipsis")
        wanted = self.filter.value.strip()
        keys = [
            ("s", f"ort: {self._sort}"),
            ("/", f" {one_line(wanted, 16)}" if wanted else " filter"),
            ("w", "atch"),
            ("k", "ill"),
            ("d", "ead letters"),
            ("q", "uit"),
        ]
        for place, (key, rest) in enumerate(keys):
            text.append("  " if place else "")
            text.append(key, style=f"bold {self._palette.accent}")
            text.append(rest, style=self._palette.dim)
        self._static["keys"].update(text)
        head = Text(style=self._palette.dim, no_wrap=True)
        self._columns(head, "actor", [Cell(name, "dim") for name in HEADINGS])
        self._static["columns"].update(head)

    def _line(self, line: Line) -> Text:
        text = Text(no_wrap=True)
        indent = "  " * line.depth
        if line.branch is not None:
            text.append(f"{indent}▾ {title(line)}", style=f"bold {self._palette.primary}")
            return text
        self._columns(text, f"{indent}{title(line)}", cells(line))
        told = remark(line)
        if told:
            text.append(f"  {told}", style=self._palette.accent)
        return text

    def _columns(self, text: Text, name: str, cells: Sequence[Cell]) -> None:
        wide = (self.size.width or 80) - 4
        shown = 0
        while shown < len(WIDTHS) - 1 and wide - sum(WIDTHS[shown:]) - len(WIDTHS[shown:]) < NARROWEST:
            shown += 1
        first = Text(name, style=self._palette.text)
        rest = sum(width + 1 for width in WIDTHS[shown:])
        first.truncate(max(8, min(wide - rest, 60)), overflow="ellipsis", pad=True)
        text.append_text(first)
        for place in range(shown, len(WIDTHS)):
            cell = cells[place]
            words = one_line(cell.text, WIDTHS[place])
            words = words.ljust(WIDTHS[place]) if place < 2 else words.rjust(WIDTHS[place])
            text.append(f" {words}", style=self._palette.tones[cell.tone])

    def _message(self, seen: SeenMessage) -> Text:
        text = Text(no_wrap=True)
        text.append(f"{seen.at:%H:%M:%S} ", style=self._palette.dim)
        ok = seen.outcome == "ok"
        text.append(f"{one_line(seen.outcome, 16):<6} ", style=self._palette.ok if ok else self._palette.bad)
        text.append(f"{span(seen.duration_s):>7} ", style=self._palette.dim)
        text.append(f"{short(seen.sender) if seen.sender else 'the node'} ", style=self._palette.accent)
        text.append(one_line(seen.message), style=self._palette.text)
        return text

    def on_resize(self) -> None:
        """Set the columns anew."""
        self._draw_keys()
        self._draw()

    # -- what the person does -----------------------------------------------------------------------------

    def _marked(self) -> str:
        line = self._lines.get(self.rows.key)
        return "" if line is None or line.actor is None else line.actor.name

    def action_sort(self) -> None:
        """Take the next order."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._draw_keys()
        self._draw()
        self._again.set()

    def action_filter(self) -> None:
        """Ask for what is wanted."""
        self.filter.display = True
        self.set_focus(self.filter)  # at once: what is typed next belongs to it

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look for it while it is typed."""
        self._draw_keys()
        self._again.set()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep it."""
        self.filter.display = False
        self.rows.focus()

    def action_back(self) -> None:
        """Esc: end the filter, else the watching."""
        if self.filter.display or self.filter.value:
            self.filter.value = ""
            self.filter.display = False
            self.rows.focus()
        elif self._watched:
            self.action_watch(stop=True)

    def action_watch(self, stop: bool = False) -> None:
        """Show what the marked actor receives; once more ends it."""
        name = self._marked()
        if not stop and not name and not self._watched:
            self.app.notify("choose an actor; a supervisor receives no messages", timeout=3)
            return
        if stop or not name or name == self._watched:
            name = ""
        self._watch(name)

    @work(group="orders")
    async def _watch(self, name: str) -> None:
        before, self._watched = self._watched, ""
        try:
            if before:
                await self._ask(WatchActor(name=before, on=False))
            if name:
                await self._ask(WatchActor(name=name))
                self._watched = name
        except UmbrellaError as error:
            self._complain(error)
        self.seen.fill([])
        self.seen.display = bool(self._watched)
        self.seen.border_title = f"messages of {one_line(short(self._watched))}"
        self._again.set()

    def action_kill(self) -> None:
        """Ask first."""
        line = self._lines.get(self.rows.key)
        if line is None or line.actor is None:
            self.app.notify("choose an actor; a supervisor is not killed", timeout=3)
            return
        question = (
            f"Kill {title(line)}?\nWhat it does now is cancelled. Its supervisor brings it back at once, "
            f"with its mail and what is kept of its state.  Restarts so far: {line.actor.restarts}"
        )
        name = line.actor.name

        def answered(yes: bool | None) -> None:
            if yes:
                self._kill(name)

        self.app.push_screen(Question(question), answered)

    @work(group="orders")
    async def _kill(self, name: str) -> None:
        try:
            await self._ask(KillActor(name=name))
        except UmbrellaError as error:
            self._complain(error)
        else:
            self.app.notify(f"killed {short(name)}", timeout=3, markup=False)
        self._again.set()

    def action_letters(self) -> None:
        """Show what was not delivered."""
        self.app.push_screen(LettersScreen(self._ask, self._palette))

    def action_leave(self) -> None:
        """End; nothing is watched any more."""
        self._leave()

    @work(group="orders")
    async def _leave(self) -> None:
        if self._watched:
            try:
                await self._ask(WatchActor(name=self._watched, on=False), 2.0)
            except UmbrellaError as error:
                self._problem = error.message  # the node is away, and has forgotten it
        self.dismiss()

    def _complain(self, error: UmbrellaError) -> None:
        told = ": ".join(filter(None, [error.message, error.remedy]))
        self.app.notify(told, severity="error", timeout=8, markup=False)
