"""The card of an open question, between the conversation and the prompt: nothing is hidden behind it.

The whole arguments are shown and scroll. Keys answer only while the card has the focus, and not in its first
moments: a key that was meant for the prompt must not approve anything.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static

from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line, readable_arguments, revealed
from mcp_interface.approval import Answer, Approval
from mcp_interface.clock import Clock

ARMED_AFTER_S: Final = 0.5
"""Seconds of focus before a key counts."""
ANSWERS: Final = {
    "y": Answer(allow=True, remember="once"),
    "s": Answer(allow=True, remember="session"),
    "a": Answer(allow=True, remember="always"),
    "S": Answer(allow=True, remember="session", any_arguments=True),
    "A": Answer(allow=True, remember="always", any_arguments=True),
    "n": Answer(allow=False),
}
BECAUSE: Final = {
    "d": (Answer(allow=False), "why not? Enter sends, Esc goes back"),
    "x": (Answer(allow=False, remember="always"), "why never? Enter sends, Esc goes back"),
}
"""Answers that take a reason, which the agent is told."""
_SAYS_ALL: Final = ("mcp://fs/read/", "mcp://fs/list/")
"""Rights that say themselves what is done; of all others the arguments are part of the answer."""


class ApprovalCard(Vertical, can_focus=True):
    """Asks about the oldest open question."""

    DEFAULT_CSS = """
    ApprovalCard {
        height: auto; max-height: 60%; display: none; margin: 0 1; padding: 0 1;
        border: round $warning 50%; background: $background;
    }
    ApprovalCard:focus, ApprovalCard:focus-within { border: round $warning; }
    ApprovalCard VerticalScroll { height: auto; max-height: 12; scrollbar-size-vertical: 1; }
    ApprovalCard Static { height: auto; }
    ApprovalCard Input { display: none; border: none; height: 1; padding: 0; background: $panel; }
    """

    class Given(Message):
        """The person answered."""

        def __init__(self, approval: Approval, answer: Answer) -> None:
            super().__init__()
            self.approval = approval
            self.answer = answer

    class Left(Message):
        """The person wants to go on typing first."""

    def __init__(self, palette: Palette, clock: Clock) -> None:
        super().__init__(id="approval")
        self.palette = palette
        self._clock = clock
        self._approval: Approval | None = None
        self._others = 0
        self._focused_at = 0.0
        self._refusal = BECAUSE["d"][0]

    def compose(self) -> ComposeResult:
        """The parts of the card."""
        yield Static(id="approval-head", markup=False)
        with VerticalScroll(can_focus=False):
            yield Static(id="approval-arguments", markup=False)
        yield Static(id="approval-why", markup=False)
        yield Static(id="approval-keys", markup=False)
        yield Input(id="approval-reason")

    @property
    def approval(self) -> Approval | None:
        """What is asked."""
        return self._approval

    def ask(self, questions: Sequence[Approval]) -> bool:
        """Show the oldest question, or hide when there is none; tells whether it is a new one."""
        first = questions[0] if questions else None
        fresh = first is not None and (self._approval is None or first.id != self._approval.id)
        if first == self._approval and self._others == len(questions):
            return False
        self._approval, self._others = first, len(questions)
        self.display = first is not None
        if fresh:
            self._reason.display = False
            self._focused_at = self._clock.monotonic()
        if first is not None:
            self._draw(first)
        return fresh

    @property
    def _reason(self) -> Input:
        return self.query_one("#approval-reason", Input)

    def _draw(self, approval: Approval) -> None:
        colours = self.palette
        head = Text("May ", style=colours.text)
        head.append(
            f"{one_line(revealed(approval.server))}.{one_line(revealed(approval.tool))}",
            style=f"bold {colours.warn}",
        )
        head.append(" run?", style=colours.text)
        if self._others > 1:
            head.append(f"  (1 of {self._others})", style=colours.dim)
        self.query_one("#approval-head", Static).update(head)
        arguments = Text(readable_arguments(approval.arguments), style=colours.accent)
        self.query_one("#approval-arguments", Static).update(arguments)
        why = Text("needs ", style=colours.dim)
        why.append(revealed(approval.resource_uri), style=colours.text)
        self.query_one("#approval-why", Static).update(why)
        self._keys()

    def _keys(self) -> None:
        line = Text()
        focused = self.has_focus
        if not focused:
            line.append("Tab to answer", style=f"bold {self.palette.warn}")
        for key, text in self._choices():
            line.append("  " if line else "")
            line.append(key, style=f"bold {self.palette.primary if focused else self.palette.dim}")
            line.append(f" {text}", style=self.palette.text if focused else self.palette.dim)
        self.query_one("#approval-keys", Static).update(line)

    def _choices(self) -> list[tuple[str, str]]:
        same = [("y", "once"), ("s", "this session"), ("a", "always")]
        if self._approval is not None and not self._approval.resource_uri.startswith(_SAYS_ALL):
            same += [("S", "session, any arguments"), ("A", "always, any arguments")]
        return [*same, ("n", "no"), ("d", "no, because…"), ("x", "never"), ("Esc", "later")]

    def watch_has_focus(self, value: bool) -> None:
        """Show for whom the keys are now; they count a moment after the focus came."""
        super().watch_has_focus(value)
        self._focused_at = self._clock.monotonic()
        if self._approval is not None:
            self._keys()

    def on_key(self, event: events.Key) -> None:
        """Answer, once the card was there long enough to be read as such."""
        if self._reason.has_focus:
            if event.key == "escape":
                event.stop()
                self._reason.display = False
                self.focus()
            return
        if event.key in {"escape", "tab"}:
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())
        elif event.key in {"up", "down", "pageup", "pagedown"}:
            event.stop()
            step = {"up": -1, "down": 1, "pageup": -8, "pagedown": 8}[event.key]
            self.query_one(VerticalScroll).scroll_relative(y=step, animate=False)
        elif event.key in {*ANSWERS, *BECAUSE}:
            event.stop()
            self._answer(event.key)

    def _answer(self, key: str) -> None:
        if self._approval is None or self._clock.monotonic() - self._focused_at < ARMED_AFTER_S:
            return
        if key in BECAUSE:
            self._refusal, self._reason.placeholder = BECAUSE[key]
            self._reason.value = ""
            self._reason.display = True
            self._reason.focus()
            return
        self.post_message(self.Given(self._approval, ANSWERS[key]))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Refuse with a reason, which the agent is told."""
        event.stop()
        if self._approval is not None:
            answer = msgspec.structs.replace(self._refusal, reason=event.value)
            self.post_message(self.Given(self._approval, answer))
