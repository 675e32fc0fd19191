"""The card of a tool's question, between the conversation and the prompt: a form to fill in, or a yes or no.

Everything in it was written by a server: nothing is read as markup, nothing is invisible, a link is never opened by
itself. As with approvals, a key counts only while the card has the focus, and not in its first moments.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Button, Input, Static

from mcp_cli import forms
from mcp_cli.questioning import AGAIN, asked
from mcp_cli.tui.approval import ARMED_AFTER_S
from mcp_cli.tui.fields import FieldRow
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line, printable, revealed
from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken, ErrorBody
from mcp_interface.question import Inquiry, Question, Response

YES_NO: Final[Mapping[str, tuple[str, str]]] = {
    "url": ("I open it", "no"),
    "sampling": ("yes, it may", "no"),
    "roots": ("", "no"),
}
"""What yes and no mean, by kind; an empty one is not offered."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person is to answer."""

    inquiry: Inquiry
    title: str
    """Who asks."""
    question: Question | None = None
    """None: no node waits for it."""
    elsewhere: bool = False
    """Whether it belongs to another session than the one on the screen."""

    @property
    def key(self) -> str:
        """What tells it apart."""
        return self.question.id if self.question is not None else f"{id(self.inquiry)}"


class QuestionCard(Vertical, can_focus=True):
    """Asks the first of what is wanted."""

    DEFAULT_CSS = """
    QuestionCard {
        height: auto; max-height: 70%; display: none; margin: 0 1; padding: 0 1;
        border: round $accent 50%; background: $background;
    }
    QuestionCard:focus, QuestionCard:focus-within { border: round $accent; }
    QuestionCard VerticalScroll { height: auto; max-height: 10; scrollbar-size-vertical: 1; }
    QuestionCard Static { height: auto; }
    QuestionCard #question-buttons { height: 1; display: none; }
    QuestionCard Button { margin: 0 2 0 0; }
    """

    class Given(Message):
        """The person answered."""

        def __init__(self, wanted: Wanted, response: Response) -> None:
            super().__init__()
            self.wanted = wanted
            self.response = response

    class Left(Message):
        """The person wants to go on typing first."""

    class Link(Message):
        """The person wants the link: opened, or copied."""

        def __init__(self, url: str, *, opened: bool) -> None:
            super().__init__()
            self.url = url
            self.opened = opened

    def __init__(self, palette: Palette, clock: Clock) -> None:
        super().__init__(id="question")
        self.palette = palette
        self._clock = clock
        self._wanted: Wanted | None = None
        self._others = 0
        self._rows: list[FieldRow] = []
        self._focused_at = 0.0

    def compose(self) -> ComposeResult:
        """The parts of the card."""
        yield Static(id="question-head", markup=False)
        with VerticalScroll(id="question-body", can_focus=False):
            yield Static(id="question-text", markup=False)
        yield Static(id="question-error", markup=False)
        with Horizontal(id="question-buttons"):
            yield Button("Send", id="question-send", variant="primary", compact=True)
            yield Button("Decline", id="question-decline", compact=True)
        yield Static(id="question-keys", markup=False)

    @property
    def wanted(self) -> Wanted | None:
        """What is asked."""
        return self._wanted

    @property
    def rows(self) -> Sequence[FieldRow]:
        """The fields of the form, top to bottom."""
        return self._rows

    def ask(self, wanted: Sequence[Wanted]) -> bool:
        """Show the first, or hide when there is none; tells whether it is a new one."""
        first = wanted[0] if wanted else None
        fresh = first is not None and (self._wanted is None or first.key != self._wanted.key)
        if self._others == len(wanted) and not fresh and (first is None) == (self._wanted is None):
            return False
        self._wanted, self._others = first, len(wanted)
        self.display = first is not None
        if first is None:
            self._rows = []
            return False
        if fresh:
            self._focused_at = self._clock.monotonic()
            self._build(first)
        self._head(first)
        return fresh

    def _build(self, wanted: Wanted) -> None:
        body = self.query_one("#question-body", VerticalScroll)
        for row in body.query(FieldRow):
            row.remove()
        form = forms.fields(wanted.inquiry.schema) if wanted.inquiry.kind == "form" else []
        self._rows = [FieldRow(field, self.palette) for field in form]
        text = Text("\n".join(self._said(wanted)), style=self.palette.text)
        self.query_one("#question-text", Static).update(text)
        if self._rows:
            body.mount_all(self._rows)
        body.scroll_home(animate=False)
        self._say("")
        self.query_one("#question-buttons").display = wanted.inquiry.kind == "form"
        self._keys()

    def _said(self, wanted: Wanted) -> list[str]:
        inquiry = wanted.inquiry
        if inquiry.kind != "form":
            return asked(inquiry)
        return revealed(inquiry.message).split("\n") if inquiry.message else []

    def _head(self, wanted: Wanted) -> None:
        colours = self.palette
        head = Text(f"{one_line(revealed(wanted.title))}", style=f"bold {colours.accent}")
        head.append(" asks", style=colours.text)
        if wanted.elsewhere:
            head.append(" in another session", style=colours.warn)
        if self._others > 1:
            head.append(f"  (1 of {self._others})", style=colours.dim)
        if wanted.question is not None and wanted.question.again:
            head.append(f"\n! {AGAIN}", style=f"bold {colours.warn}")
        self.query_one("#question-head", Static).update(head)

    def _say(self, text: str) -> None:
        error = self.query_one("#question-error", Static)
        error.update(Text(printable(text), style=self.palette.bad))
        error.display = bool(text)

    def _keys(self) -> None:
        line = Text()
        if not self.has_focus_within and not self.has_focus:
            line.append("Tab to answer", style=f"bold {self.palette.warn}")
        for key, text in self._choices():
            line.append("  " if line else "")
            line.append(key, style=f"bold {self.palette.primary if self.has_focus else self.palette.dim}")
            line.append(f" {text}", style=self.palette.text if self.has_focus else self.palette.dim)
        self.query_one("#question-keys", Static).update(line)

    def _choices(self) -> list[tuple[str, str]]:
        if self._wanted is None:
            return []
        kind = self._wanted.inquiry.kind
        if kind == "form":
            return [
                ("Enter", "fill in, next field"),
                ("Ctrl+S", "send"),
                ("Ctrl+X", "decline"),
                ("Esc", "later"),
            ]
        yes, no = YES_NO[kind]
        link = [("o", "open it"), ("c", "copy it")] if kind == "url" else []
        return [*link, *([("y", yes)] if yes else []), ("n", no), ("Esc", "later")]

    def watch_has_focus(self, value: bool) -> None:
        """Show for whom the keys are now; they count a moment after the focus came."""
        super().watch_has_focus(value)
        self._focused_at = self._clock.monotonic()
        if self._wanted is not None:
            self._keys()

    # -- keys ---------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Answer, once the card was there long enough to be read as such."""
        if self._wanted is None or not self._handles(event.key, self._wanted):
            return
        event.stop()
        event.prevent_default()

    def _handles(self, key: str, wanted: Wanted) -> bool:
        form = wanted.inquiry.kind == "form"
        if key == "escape":
            self.post_message(self.Left())
        elif form and key == "ctrl+s":
            self.send()
        elif form and key == "ctrl+x" and self._armed():
            self._give(Response(action="decline"))
        elif not self.has_focus:
            return False
        elif key in {"up", "down"} and not form:
            step = -1 if key == "up" else 1
            self.query_one("#question-body", VerticalScroll).scroll_relative(y=step, animate=False)
        elif form and key in {"enter", "down", "tab"}:
            self._next(None)
        elif key == "tab":
            self.post_message(self.Left())
        else:
            return not form and self._decides(key, wanted)
        return True

    def _decides(self, key: str, wanted: Wanted) -> bool:
        inquiry = wanted.inquiry
        if key in {"o", "c"} and inquiry.kind == "url":
            if self._armed():
                self.post_message(self.Link(inquiry.url, opened=key == "o"))
        elif key == "y" and YES_NO[inquiry.kind][0]:
            self._give(Response(action="accept")) if self._armed() else None
        elif key == "n":
            self._give(Response(action="decline")) if self._armed() else None
        else:
            return False
        return True

    def _armed(self) -> bool:
        return self._clock.monotonic() - self._focused_at >= ARMED_AFTER_S

    def _next(self, row: FieldRow | None) -> None:
        place = 0 if row is None else self._rows.index(row) + 1
        if place < len(self._rows):
            self._rows[place].take_focus()
        elif row is None:
            self.query_one("#question-send", Button).focus()
        else:
            self.send()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a field: the next one, or send behind the last."""
        event.stop()
        row = next((row for row in self._rows if row.holds(event.input)), None)
        if row is not None:
            self._next(row)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Send or refuse."""
        event.stop()
        if event.button.id == "question-send":
            self.send()
        else:
            self._give(Response(action="decline"))

    # -- the answer ---------------------------------------------------------------------------------------

    def send(self) -> None:
        """Hand over what is filled in, unless a field cannot be read."""
        if self._wanted is None:
            return
        try:
            content = self._content()
        except CallerMistaken as error:
            self.refused(error.body())
            return
        self._give(Response(action="accept", content=content))

    def _content(self) -> dict[str, Any]:
        form = [row.field for row in self._rows]
        return forms.filled(form, {row.field.name: row.text for row in self._rows})

    def refused(self, error: ErrorBody) -> None:
        """Show an error at the field that it is about, else below the form."""
        name = str(error.details.get("field", "")).partition(".")[0]
        self._say("")
        found = False
        for row in self._rows:
            mine = not found and row.field.name == name
            row.complain(f"{error.message}; {error.remedy}" if mine else "")
            if mine:
                found = True
                row.take_focus()
        if not found:
            self._say(f"{error.message}; {error.remedy}" if error.remedy else error.message)

    def _give(self, response: Response) -> None:
        if self._wanted is not None:
            for row in self._rows:
                row.complain("")
            self._say("")
            self.post_message(self.Given(self._wanted, response))
