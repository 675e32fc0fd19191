"""The card of open questions, between the conversation and the prompt: nothing is hidden behind it.

One question is shown whole: what would change, the arguments, the rights, what was said last time. Keys answer only
while the card has the focus, and not in its first moments, nor in those of another question: a key that was meant for
something else must not approve anything.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static

from mcp_cli import rights
from mcp_cli.answering import ALIKE, ANSWERS, BECAUSE, Leaning
from mcp_cli.diffing import FOLDED, preview_lines
from mcp_cli.presenters import span
from mcp_cli.sheet import Cell
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line, revealed
from mcp_interface.approval import Answer, Approval
from mcp_interface.clock import Clock
from mcp_interface.ids import SessionId

ARMED_AFTER_S: Final = 0.5
"""Seconds of focus before a key counts."""
TOUCHED: Final = 3
"""Further rights that are shown until somebody wants to see all."""


class ApprovalCard(Vertical, can_focus=True):
    """Asks about one open question at a time; the others are a key away."""

    DEFAULT_CSS = """
    ApprovalCard {
        height: auto; max-height: 80%; display: none; margin: 0 1; padding: 0 1;
        border: round $warning 50%; background: $background;
    }
    ApprovalCard:focus, ApprovalCard:focus-within { border: round $warning; }
    ApprovalCard VerticalScroll { height: auto; max-height: 40vh; scrollbar-size-vertical: 1; }
    ApprovalCard.whole { max-height: 90%; }
    ApprovalCard.whole VerticalScroll { max-height: 55vh; }
    ApprovalCard Static { height: auto; }
    ApprovalCard Input, ApprovalCard Input:focus {
        border: none; height: 1; padding: 0; background: $panel;
    }
    ApprovalCard Input { display: none; }
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
        self._questions: tuple[Approval, ...] = ()
        self._here: SessionId | None = None
        self._focused_at = 0.0
        self._leaning: Leaning | None = None
        self._refusal: tuple[Approval, Answer] | None = None
        """What the reason is for that is being written."""
        self._all: tuple[Approval, ...] = ()
        """Those that are about to be answered alike, and no others that come meanwhile."""
        self._alike = ""
        """The key of the answer to all of them that waits for Enter."""

    def compose(self) -> ComposeResult:
        """The parts of the card."""
        yield Static(id="approval-head", markup=False)
        with VerticalScroll(can_focus=False):
            yield Static(id="approval-preview", markup=False)
            yield Static(id="approval-arguments", markup=False)
            yield Static(id="approval-why", markup=False)
        yield Static(id="approval-keys", markup=False)
        yield Input(id="approval-reason")

    def on_mount(self) -> None:
        """Show how time runs out."""
        self.set_interval(1.0, self._tick)

    @property
    def approval(self) -> Approval | None:
        """What is asked."""
        return self._approval

    def ask(self, questions: Sequence[Approval], here: SessionId | None = None) -> bool:
        """Show a question, or hide when there is none; tells whether it is a new one.

        The one that is shown stays while it is open: another one never slips under the person's fingers.

        Args:
            questions: All that are open, in the order in which they are gone through.
            here: The session on the screen; what is of another one says so. None: nothing is said.
        """
        if tuple(questions) == self._questions and here == self._here:
            return False
        self._questions, self._here = tuple(questions), here
        shown = self._approval
        kept = next((each for each in questions if shown is not None and each.id == shown.id), None)
        first = kept or (questions[0] if questions else None)
        fresh = first is not None and kept is None
        still_open = {each.id for each in questions}
        if self._all and not all(each.id in still_open for each in self._all):
            self._one_by_one()  # somebody else has answered one of them
        self._show(first, fresh=fresh)
        return fresh

    def _show(self, approval: Approval | None, *, fresh: bool) -> None:
        self._approval = approval
        self.display = approval is not None
        if fresh:
            self._reason.display, self._refusal = False, None
            self._leaning = None if approval is None else Leaning(approval)
            self._one_by_one()
            self.remove_class("whole")
            self._rearm()
        if approval is not None:
            self._draw()

    def _rearm(self) -> None:
        self._focused_at = self._clock.monotonic()

    def _one_by_one(self) -> None:
        self._all, self._alike = (), ""

    @property
    def _reason(self) -> Input:
        return self.query_one("#approval-reason", Input)

    # -- drawing ------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._approval is not None and not self._all:
            self._put("why", self._why(self._approval))

    def _put(self, part: str, text: Text) -> None:
        widget = self.query_one(f"#approval-{part}", Static)
        widget.display = bool(text.plain)
        widget.update(text)

    def _text(self, cells: Sequence[Cell]) -> Text:
        tones = self.palette.tones
        return Text("\n").join(Text(cell.text, style=tones[cell.tone]) for cell in cells)

    def _draw(self) -> None:
        approval = self._approval
        if approval is None:
            return
        if self._all:
            self._draw_all()
        else:
            most = None if self.has_class("whole") else FOLDED
            preview = [] if approval.preview is None else preview_lines(approval.preview, most)
            self._put("head", self._head(approval))
            self._put("preview", self._text(preview))
            self._put("arguments", self._text(rights.argument_lines(approval)))
            self._put("why", self._why(approval))
        self._keys()

    def _head(self, approval: Approval) -> Text:
        colours = self.palette
        head = Text("May ", style=colours.text)
        if approval.agent_name:
            head.append(f"{one_line(revealed(approval.agent_name))} run ", style=colours.text)
        head.append(_name(approval), style=f"bold {colours.warn}")
        head.append("?  " if approval.agent_name else " run?  ", style=colours.text)
        effect = rights.effect(approval)
        head.append(effect.text, style=colours.tones[effect.tone])
        if len(self._questions) > 1:
            at = next(at for at, each in enumerate(self._questions, 1) if each.id == approval.id)
            head.append(f"  {at} of {len(self._questions)}", style=f"bold {colours.text}")
        if self._elsewhere(approval):
            head.append("  in another session", style=colours.warn)
        return head

    def _elsewhere(self, approval: Approval) -> bool:
        return self._here is not None and approval.session_id != self._here

    def _why(self, approval: Approval) -> Text:
        now = self._clock.now()
        handed = ", to hand it on to an agent below" if approval.hands_on else ""
        lines = [Cell(f"needs {revealed(approval.resource_uri)}{handed}", "plain")]
        others = rights.also_touched(approval)
        shown = others if self.has_class("whole") else others[:TOUCHED]
        lines += [Cell(f"also touches {uri}", "dim") for uri in shown]
        if len(shown) < len(others):
            lines.append(Cell(f"and {len(others) - len(shown)} more rights", "warn"))
        before = rights.precedent_lines(approval, now)
        lines += [Cell(f"last time {line}" if not at else line, "dim") for at, line in enumerate(before)]
        leaning = self._leaning or Leaning(approval)
        if leaning.pattern:
            lines.append(Cell(f"s and a are for all of {revealed(leaning.pattern)}, any arguments", "warn"))
        if leaning.ends is not None:
            lines.append(Cell(f"s and a end after {span(leaning.ends)}", "warn"))
        ends = rights.ending(approval, now)
        looked = f"  what would change is as of {approval.asked_at:%H:%M:%S} UTC" if approval.preview else ""
        text = self._text(lines)
        text.append("\nthe question ends ", style=self.palette.dim)
        text.append(ends.text, style=self.palette.tones[ends.tone])
        text.append(looked, style=self.palette.dim)
        return text

    def _draw_all(self) -> None:
        lines: list[Cell] = []
        for number, each in enumerate(self._all, 1):
            who = f" for {one_line(revealed(each.agent_name))}" if each.agent_name else ""
            where = ", in another session" if self._elsewhere(each) else ""
            effect = rights.effect(each)
            lines.append(Cell(f"{number}. {_name(each)}{who}{where}", "strong"))
            lines.append(Cell(f"   {effect.text}; needs {revealed(each.resource_uri)}", effect.tone))
            lines += [Cell(f"   {line.text}", line.tone) for line in rights.argument_lines(each)]
        head = Text(f"Answer these {len(self._all)} alike?", style=f"bold {self.palette.warn}")
        self._put("head", head)
        self._put("preview", Text())
        self._put("arguments", self._text(lines))
        why = f"{ALIKE[self._alike].format(len(self._all))}: Enter does it" if self._alike else ""
        self._put("why", Text(why, style=f"bold {self.palette.warn}"))

    def _keys(self) -> None:
        line = Text()
        focused = self.has_focus or self._reason.display
        if not focused:
            line.append("Tab to answer", style=f"bold {self.palette.warn}")
        for key, text in self._choices():
            line.append("  " if line else "")
            line.append(key, style=f"bold {self.palette.primary if focused else self.palette.dim}")
            line.append(f" {text}", style=self.palette.text if focused else self.palette.dim)
        self.query_one("#approval-keys", Static).update(line)

    def _choices(self) -> list[tuple[str, str]]:
        if self._reason.display:
            return [("Enter", "say no for this reason"), ("Esc", "back")]
        if self._alike:
            return [("Enter", "yes, all of them"), ("Esc", "back")]
        if self._all:
            return [("y", "once"), ("s", "session"), ("a", "always"), ("n", "no"), ("Esc", "back")]
        if self._leaning is None:
            return []
        wider = rights.wider_patterns(self._leaning.approval)
        more = [("p", "more than this")] if wider else []
        more += [("e", "with an end"), ("v", "less" if self.has_class("whole") else "all of it")]
        if len(self._questions) > 1:
            more += [("←→", "others"), ("*", "all alike")]
        return [*self._leaning.choices(), *more, ("Esc", "later")]

    def watch_has_focus(self, value: bool) -> None:
        """Show for whom the keys are now; they count a moment after the focus came."""
        super().watch_has_focus(value)
        self._rearm()
        if self._approval is not None:
            self._keys()

    # -- keys ---------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Answer, once the card was there long enough to be read as such."""
        if self._reason.has_focus:
            if event.key == "escape":
                event.stop()
                self._reason.display = False
                self.focus()
                self._keys()
            return
        key = event.character if event.character in {"*"} else event.key
        step = {"up": -1, "down": 1, "pageup": -8, "pagedown": 8}.get(key)
        if step is not None:
            event.stop()
            self.query_one(VerticalScroll).scroll_relative(y=step, animate=False)
        elif self._all and key != "tab":
            event.stop()
            event.prevent_default()
            self._answer_alike(key)
        elif key in {"escape", "tab"}:
            event.stop()
            event.prevent_default()
            self._one_by_one()
            self.post_message(self.Left())
        elif key in {*ANSWERS, *BECAUSE}:
            event.stop()
            self._answer(key)
        elif key in self._others:
            event.stop()
            self._others[key]()
            self._draw()

    @property
    def _others(self) -> dict[str, Callable[[], None]]:
        return {
            "left": lambda: self._move(-1),
            "right": lambda: self._move(1),
            "p": self._widen,
            "e": self._end,
            "v": self._unfold,
            "*": self._together,
        }

    def _move(self, step: int) -> None:
        """Show the next question, or the one before."""
        ids = [each.id for each in self._questions]
        if self._approval is not None and len(ids) > 1:
            at = (ids.index(self._approval.id) + step) % len(ids)
            self._show(self._questions[at], fresh=True)

    def _widen(self) -> None:
        if self._leaning is not None:
            self._leaning = self._leaning.wider()
            self._rearm()

    def _end(self) -> None:
        if self._leaning is not None:
            self._leaning = self._leaning.ending()
            self._rearm()

    def _unfold(self) -> None:
        self.toggle_class("whole")

    def _together(self) -> None:
        """Let all that are open now be answered alike."""
        if len(self._questions) > 1:
            self._all, self._alike = self._questions, ""
            self._rearm()

    @property
    def _armed(self) -> bool:
        return self._clock.monotonic() - self._focused_at >= ARMED_AFTER_S

    def _answer_alike(self, key: str) -> None:
        """Choose one answer to all, and give it once Enter has confirmed it."""
        if key == "escape":
            self._all, self._alike = (self._all, "") if self._alike else ((), "")
        elif not self._armed:
            return
        elif self._alike and key == "enter":
            answer, questions = ANSWERS[self._alike], self._all
            self._one_by_one()
            for each in questions:
                self.post_message(self.Given(each, answer))
        elif not self._alike and key in ALIKE:
            self._alike = key
            self._rearm()
        self._draw()

    def _answer(self, key: str) -> None:
        approval, leaning = self._approval, self._leaning
        if approval is None or leaning is None or not self._armed:
            return
        if key in BECAUSE:
            answer, self._reason.placeholder = BECAUSE[key]
            self._refusal = (approval, answer)
            self._reason.value = ""
            self._reason.display = True
            self._reason.focus()
            self._keys()
            return
        given = leaning.answer(key)
        if given is not None:
            self.post_message(self.Given(approval, given))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Refuse with a reason, which the agent is told; only what it was written for."""
        event.stop()
        if self._refusal is not None:
            approval, answer = self._refusal
            self._refusal = None
            self.post_message(self.Given(approval, msgspec.structs.replace(answer, reason=event.value)))


def _name(approval: Approval) -> str:
    return one_line(revealed(f"{approval.server}.{approval.tool}"))
