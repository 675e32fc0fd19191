"""The full-screen REPL: the transcript, the card of an open question, the prompt and the status line.

All it knows comes from `Repl`; only this class touches widgets. What streams in is drawn at most thirty times
a second, however fast it comes.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.screen import ModalScreen
from textual.widgets import TextArea

from mcp_cli.attachment import Opener
from mcp_cli.completing import (
    Completion,
    Known,
    complete,
    complete_mention,
    mentioned,
    wish,
    with_values,
)
from mcp_cli.finding import best, project_files
from mcp_cli.grammar import Fill, Order, parse
from mcp_cli.history import InputHistory
from mcp_cli.including import files_like
from mcp_cli.invocation import Invocation
from mcp_cli.mentions import escaped
from mcp_cli.naming import short
from mcp_cli.remembering import ReplState
from mcp_cli.repl import Repl, first_steps, known_names
from mcp_cli.sheet import Prose, Shown
from mcp_cli.transcript import Said
from mcp_cli.tui.approval import ApprovalCard
from mcp_cli.tui.blocks import Echo, Painter
from mcp_cli.tui.inbox import Inbox
from mcp_cli.tui.palette import palette
from mcp_cli.tui.pane import TranscriptPane
from mcp_cli.tui.popup import Popup
from mcp_cli.tui.prompt import Prompt
from mcp_cli.tui.question import QuestionCard, Wanted
from mcp_cli.tui.stage import StageApp
from mcp_cli.tui.status import StatusBar
from mcp_cli.untrusted import one_line
from mcp_interface.commands import AnswerApproval
from mcp_interface.errors import CallerMistaken, ErrorBody, UmbrellaError
from mcp_interface.question import Inquiry, Question, Response

FRAME_S: Final = 1 / 30
FILES_KEPT_S: Final = 15.0
"""Seconds for which it is not looked anew which files there are."""
FOUND: Final = 30
"""Files that fit some letters, at most."""
SUGGEST_S: Final = 5.0
"""Seconds that a server may take to suggest values."""
TWICE_S: Final = 2.0
"""Seconds within which a second Ctrl-C leaves."""


def _slash_commands() -> type[Provider]:
    from mcp_cli.tui.commands import SlashCommands

    return SlashCommands


class UmbrellaApp(StageApp):
    """The REPL on a whole terminal.

    Args:
        invocation: The global options.
        opener: Ways to the node.
        history: Earlier inputs.
        resume: Session to begin with: an id, prefix or title.
        latest: Begin with the latest session.
        theme: Colours to begin with; empty is what was chosen last, else ours.
        state: What is remembered of the person.
    """

    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_slash_commands}
    COMMAND_PALETTE_BINDING = "ctrl+backslash"
    TITLE = "Umbrella"
    CSS = """
    Screen { background: $background; layout: vertical; }
    ModalScreen { background: $background 60%; }
    #transcript { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "leave", priority=True, show=False),
        Binding("ctrl+d", "leave", "leave", priority=True, show=False),
        Binding("escape", "stop_turn", "stop the assistant", show=False),
        Binding("ctrl+right_square_bracket", "detach", "leave", priority=True, show=False),
        Binding("ctrl+r", "search", "search the inputs", priority=True, show=False),
        Binding("ctrl+g", "edit", "write in an editor", priority=True, show=False),
        Binding("ctrl+p", "sessions", "sessions", priority=True, show=False),
        Binding("ctrl+o", "fold", "open and fold results", priority=True, show=False),
        Binding("pageup", "scroll(-1)", "scroll up", priority=True, show=False),
        Binding("pagedown", "scroll(1)", "scroll down", priority=True, show=False),
    ]

    def __init__(
        self,
        invocation: Invocation,
        opener: Opener,
        history: InputHistory,
        *,
        resume: str | None = None,
        latest: bool = False,
        theme: str = "",
        state: ReplState | None = None,
    ) -> None:
        super().__init__(invocation, history, state, theme=theme)
        self.repl = Repl(opener, invocation, self, self.state)
        self.inbox = Inbox()
        self._begin = (resume, latest)
        self._known = Known()
        self._stale = False
        self._pressed_at = self._escaped_at = float("-inf")
        self._files: Sequence[str] = ()
        self._files_until = float("-inf")
        self._welcomed = False
        self._forms: list[tuple[Wanted, asyncio.Future[Response]]] = []
        """What only this REPL wants to know."""
        self._first = ""
        """The question that the person chose to answer."""
        self._attached = ""

    def compose(self) -> ComposeResult:
        """The parts of the screen, from top to bottom."""
        popup = Popup(self._colours)
        yield TranscriptPane(Painter(self._colours))
        yield ApprovalCard(self._colours, self._clock)
        yield QuestionCard(self._colours, self._clock)
        yield popup
        yield Prompt(self._history, popup)
        yield StatusBar(self._colours)

    def on_mount(self) -> None:
        """Draw first, connect then."""
        self.pane, self.card = self.query_one(TranscriptPane), self.query_one(ApprovalCard)
        self.question = self.query_one(QuestionCard)
        self.prompt, self.popup = self.query_one(Prompt), self.query_one(Popup)
        self.status = self.query_one(StatusBar)
        self.prompt.focus()
        self.status.tell(self.repl)
        self.apply_state()
        self._keep_attached()
        self._start()

    @work(exclusive=True, group="attachment")
    async def _keep_attached(self) -> None:
        await self.repl.attachment.run()

    @work(group="orders")
    async def _start(self) -> None:
        resume, latest = self._begin
        try:
            await self.repl.refresh()
        except UmbrellaError as error:
            self.complain(error.body())
        else:
            if resume is None and not latest:
                self._welcome()
            try:
                await self.repl.open(resume, latest)
            except UmbrellaError as error:
                self.complain(error.body())
            await self._learn()
        self._watch()

    async def _learn(self) -> None:
        """Learn anew which names completion may offer."""
        known = await known_names(self.repl)
        self._known = msgspec.structs.replace(known, themes=dict.fromkeys(sorted(self.colours()), ""))

    @work(exclusive=True, group="watch")
    async def _watch(self) -> None:
        await asyncio.gather(self.repl.storage.run(), self.repl.survey.run())

    @work(exclusive=True, group="refresh")
    async def _refresh(self) -> None:
        """Learn anew what a node says of itself: it may be another one than before."""
        try:
            await self.repl.refresh()
        except UmbrellaError as error:
            self.complain(error.body())

    def _welcome(self) -> None:
        if self._welcomed or not self.pane.is_blank:
            return
        self._welcomed = True
        self.show(first_steps(self.repl.status))
        earlier = self.repl.earlier
        if earlier is not None:
            title = one_line(earlier.title, 50)
            self.show(
                Prose(f"\nearlier: {title or 'untitled'}   go on with it: /resume {short(earlier.id)}", "dim")
            )

    # -- Face: what the REPL tells ------------------------------------------------------------------------

    def show(self, shown: Shown) -> None:
        """Place something below what is there."""
        self.pane.sync(self.repl.transcript.blocks)
        self.pane.add(shown)

    def complain(self, error: ErrorBody) -> None:
        """Place an error below what is there."""
        self.pane.sync(self.repl.transcript.blocks)
        self.pane.add(error)

    def changed(self) -> None:
        """Note that there is something to draw with the next frame."""
        if not self._stale:
            self._stale = True
            self.set_timer(FRAME_S, self._frame)

    def opened(self) -> None:
        """Begin with an empty transcript."""
        self.pane.reset()

    def clear(self) -> None:
        """Empty the screen."""
        self.pane.sync(self.repl.transcript.blocks)
        self.pane.sweep()

    def leave(self) -> None:
        """End; the agents go on."""
        self.keep_state()
        self.exit()

    @property
    def mentions(self) -> bool:
        """A person types here."""
        return True

    async def form(self, inquiry: Inquiry, title: str) -> Response:
        """Ask for something of ours, before the questions of tools."""
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        entry = (Wanted(inquiry=inquiry, title=title), answer)
        self._forms.append(entry)
        self.changed()
        try:
            return await answer
        finally:
            self._forms.remove(entry)
            self.changed()

    async def answer(self, question: Question) -> None:
        """Bring a question to the front and its card to the keys."""
        self._first = question.id
        self._ask()
        if self.question.wanted is not None:
            self.question.focus()

    async def review(self, text: str) -> None:
        """Put what a prompt says where the person can read and change it; Enter sends."""
        text = escaped(text)
        before = self.prompt.text
        if before.strip():
            text = f"{before}\n\n{text}"
        elif text.startswith("/"):
            text = f"/{text}"
        self.prompt.fill(text)
        self.prompt.focus()
        self.notify("read it, change it; Enter sends", timeout=TWICE_S)

    def _frame(self) -> None:
        self._stale = False
        if not self.is_running:
            return
        if self.repl.attachment.state != self._attached:
            self._attached = self.repl.attachment.state
            if self._attached == "connected":
                self._refresh()
        self.pane.sync(self.repl.transcript.blocks)
        self.status.tell(self.repl)
        self.look_elsewhere()
        self._ask()

    def _ask(self) -> None:
        here, listed = self.repl.session_id, self.repl.errands.approvals
        waiting = self.inbox.waiting(self.repl.transcript.approvals, listed, here, self._clock.now())
        fresh = self.card.ask(waiting, here)
        wanted = self._wanted()
        asked = self.question.ask(wanted)
        free = not self.prompt.text and not self.card.has_focus and not self.question.has_focus_within
        if fresh and self.repl.transcript.approvals and not self.prompt.text:
            self.card.focus()  # one of another session waits until the person goes there
        elif asked and self.card.approval is None and (free or wanted[0].question is None):
            self.question.focus()
        elif self._at_nothing():
            self.prompt.focus()

    def _at_nothing(self) -> bool:
        """Whether the keys go to something that is not there any more."""
        if self.prompt.has_focus or self.focused is self.pane:
            return False
        at_card = self.card.has_focus_within and self.card.approval is not None
        return not at_card and not (self.question.has_focus_within and self.question.wanted is not None)

    def _wanted(self) -> list[Wanted]:
        own = [wanted for wanted, answer in self._forms if not answer.done()]
        asked = sorted(self.repl.questions, key=lambda question: question.id != self._first)
        return own + [
            Wanted(
                inquiry=question.inquiry,
                title=f"{question.server}.{question.tool}",
                question=question,
                elsewhere=question.session_id != self.repl.session_id,
            )
            for question in asked
        ]

    # -- what the person does -----------------------------------------------------------------------------

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        """Carry out a line."""
        self.pane.to_end()
        if isinstance(parse(message.text), Order | Fill):
            self.pane.sync(self.repl.transcript.blocks)
            self.pane.add(Echo(message.text))
        if message.text.strip() == "/observe":
            from mcp_cli.observer.screen import ObserverScreen

            self.push_screen(ObserverScreen(self.repl.attachment.request, self._colours, self._clock))
        else:
            self._submit(message.text)

    @work(group="orders")
    async def _submit(self, text: str) -> None:
        await self.repl.submit(text)
        if text.lstrip().startswith("/"):
            await self._learn()

    def begin(self, text: str, *, whole: bool) -> None:
        """Do a command of the palette, or let the person go on writing it."""
        if whole:
            self.post_message(Prompt.Submitted(text))
        else:
            self.prefill(f"{text} ")

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Offer completions for what is being typed."""
        if event.text_area is self.prompt:
            self.popup.offer(self._completions())
            self._suggest()

    def _completions(self) -> list[Completion]:
        text = self.prompt.text
        if text.startswith("/") and not text.startswith("//"):
            return complete(text, self._known)
        typed = mentioned(text) if self.prompt.cursor_location == self.prompt.document.end else None
        if typed is None:
            return []
        wanted = typed.removeprefix('"')
        files = files_like(wanted, Path.cwd())
        if wanted:
            if self._clock.monotonic() >= self._files_until:
                self._files_until = self._clock.monotonic() + FILES_KEPT_S
                self._find_files()
            files |= {path: "file" for path in best(wanted, self._files, FOUND) if path not in files}
        return complete_mention(text, self._known, files)

    @work(group="files")
    async def _find_files(self) -> None:
        """Look anew which files there are."""
        self._files = await project_files(Path.cwd(), self._clock)
        self.popup.offer(self._completions())

    @work(exclusive=True, group="suggest")
    async def _suggest(self) -> None:
        """Let a server say what could stand for the value that is being typed."""
        text = self.prompt.text
        asked = wish(text, self._known)
        if asked is None:
            return
        try:
            found = await self.repl.attachment.request(asked, SUGGEST_S)
        except UmbrellaError:
            return  # without suggestions one can type, too
        if self.prompt.text == text:
            self.popup.offer([*with_values(text, asked, found), *self._completions()])

    def on_approval_card_given(self, message: ApprovalCard.Given) -> None:
        """Pass an answer on."""
        self.inbox.settle(message.approval.id)
        self._answer(message)
        self.prompt.focus()
        self.changed()

    @work(group="orders")
    async def _answer(self, message: ApprovalCard.Given) -> None:
        try:
            await self.repl.attachment.request(
                AnswerApproval(approval_id=message.approval.id, answer=message.answer)
            )
        except UmbrellaError as error:
            self.inbox.unsettle(message.approval.id)
            self.complain(error.body())

    def on_question_card_given(self, message: QuestionCard.Given) -> None:
        """Pass an answer on."""
        for wanted, answer in self._forms:
            if wanted is message.wanted and not answer.done():
                answer.set_result(message.response)
        if message.wanted.question is not None:
            self._reply(message.wanted.question, message.response)
        else:
            self.prompt.focus()

    @work(group="orders")
    async def _reply(self, question: Question, response: Response) -> None:
        """The card goes when the answer counts; an answer that does not fit is told at its field."""
        try:
            await self.repl.errands.answered(question, response)
        except CallerMistaken as error:
            self.question.refused(error.body())
            return
        except UmbrellaError as error:
            self.complain(error.body())
        self.prompt.focus()

    def on_question_card_left(self, message: QuestionCard.Left) -> None:
        """Go back to the prompt; the question stays open. What only we want to know is not asked for any more."""
        wanted = self.question.wanted
        for mine, answer in self._forms:
            if wanted is not None and mine.key == wanted.key and not answer.done():
                answer.set_result(Response(action="cancel"))
        self.prompt.focus()

    def on_question_card_link(self, message: QuestionCard.Link) -> None:
        """Open or copy a link, because the person said so."""
        if not message.opened:
            self.copy_to_clipboard(message.url)
            self.notify("the link is copied", timeout=TWICE_S)
        elif urlsplit(message.url).scheme in {"http", "https"}:
            self.open_url(message.url)
        else:
            self.notify("only http and https are opened from here; copy it with c", timeout=TWICE_S)

    def on_approval_card_left(self, message: ApprovalCard.Left) -> None:
        """Go back to the prompt; the question stays open."""
        self.prompt.focus()

    def on_paste(self, event: events.Paste) -> None:
        """A paste that lands elsewhere belongs into the prompt."""
        at_card = self.card.has_focus_within or self.question.has_focus_within
        if self.focused is not self.prompt and not at_card:
            self.prompt.paste(event.text)

    # -- actions ------------------------------------------------------------------------------------------

    def action_interrupt(self) -> None:
        """Ctrl-C: leave what is on top, copy a selection, empty the prompt, or leave when pressed twice."""
        if isinstance(self.screen, ModalScreen):
            self.screen.dismiss(None)
            return
        selected = self.screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
            self.screen.clear_selection()
            return
        if self.prompt.text:
            self.prompt.fill("")
            return
        now = self._clock.monotonic()
        if now - self._pressed_at < TWICE_S:
            self.leave()
            return
        self._pressed_at = now
        self.notify("press Ctrl-C again to leave; agents go on", timeout=TWICE_S)

    def action_leave(self) -> None:
        """Ctrl-D: leave, unless there is something in the prompt."""
        if self.prompt.text:
            self.prompt.action_delete_right()
        else:
            self.leave()

    def action_detach(self) -> None:
        """Ctrl-]: leave at once, whatever is typed."""
        self.leave()

    def action_stop_turn(self) -> None:
        """Esc: stop the assistant; pressed twice when it is idle, go back to an earlier message."""
        if self.repl.transcript.working is not None:
            self._stop()
        elif self.prompt.has_focus and not self.prompt.text:
            self._escape()
        self.prompt.focus()

    def _escape(self) -> None:
        if not any(isinstance(block, Said) for block in self.repl.transcript.blocks):
            return
        now = self._clock.monotonic()
        if now - self._escaped_at < TWICE_S:
            self._escaped_at = float("-inf")
            self.clear_notifications()
            self._submit("/rewind")
            return
        self._escaped_at = now
        self.notify("press Esc again to go back to one of your messages", timeout=TWICE_S)

    @work(group="orders")
    async def _stop(self) -> None:
        try:
            await self.repl.stop_turn()
        except UmbrellaError as error:
            self.complain(error.body())

    def action_fold(self) -> None:
        """Open or fold tool results."""
        self.pane.unfolded = not self.pane.unfolded

    def action_scroll(self, pages: int) -> None:
        """Scroll the transcript, wherever the focus is."""
        self.pane.scroll_relative(y=pages * max(1, self.pane.size.height - 2), animate=False)

    def on_prompt_tabbed(self, message: Prompt.Tabbed) -> None:
        """Tab: go to the open question."""
        if self.card.approval is not None:
            self.card.focus()
        elif self.question.wanted is not None:
            self.question.focus()

    def watch_theme(self, *given: Any) -> None:
        """Draw everything in the new colours."""
        if not self.is_running:
            return
        self._colours = palette(self.current_theme)
        self.status.palette = self._colours
        self.card.palette = self.popup.palette = self.question.palette = self._colours
        self.pane.repaint(Painter(self._colours))
        self.changed()
