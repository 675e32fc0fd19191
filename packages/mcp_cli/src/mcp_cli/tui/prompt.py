"""Where a person types: several lines, earlier inputs, completion of slash commands."""

from typing import Final

from textual import events
from textual.message import Message
from textual.widgets import TextArea

from mcp_cli.history import InputHistory
from mcp_cli.pasting import Folds
from mcp_cli.tui.popup import Popup

NEWLINE: Final = {"shift+enter", "ctrl+j", "alt+enter"}


class Prompt(TextArea):
    """A text area in which Enter sends."""

    DEFAULT_CSS = """
    Prompt {
        height: auto; min-height: 3; max-height: 12; padding: 0 1;
        border: round $panel; background: $background;
        scrollbar-size-vertical: 1;
    }
    Prompt:focus { border: round $primary; }
    """

    class Submitted(Message):
        """The person pressed Enter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Asked(Message):
        """The person pressed ? on an empty line."""

    class Tabbed(Message):
        """The person pressed Tab, and there was nothing to complete."""

    def __init__(self, history: InputHistory, popup: Popup) -> None:
        super().__init__(
            id="prompt",
            placeholder="Say something, / for commands, ? for keys",
            compact=False,
            highlight_cursor_line=False,
            tab_behavior="focus",
        )
        self._history = history
        self._popup = popup
        self._folds = Folds()

    async def _on_key(self, event: events.Key) -> None:
        if self._handles(event.key):
            event.stop()
            event.prevent_default()
            return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.paste(event.text)

    def paste(self, text: str) -> None:
        """Take a paste in; a long one as one word that is opened when it is sent."""
        pasted = text.replace("\r\n", "\n").replace("\r", "\n")
        done = self.replace(self._folds.fold(pasted, self.text), *self.selection)
        self.move_cursor(done.end_location)
        self.focus()

    @property
    def whole(self) -> str:
        """What is typed, with its folds opened."""
        return self._folds.unfold(self.text)

    def _handles(self, key: str) -> bool:
        if key == "enter":
            self._enter()
        elif key in NEWLINE:
            self.insert("\n")
        elif key == "tab":
            if self._popup.marked is not None:
                self._take()
            else:
                self.post_message(self.Tabbed())
        elif key in {"up", "down"}:
            return self._arrow(key)
        elif key == "escape" and self._popup.choices:
            self._popup.offer(())
        elif key == "question_mark" and not self.text:
            self.post_message(self.Asked())
        elif key == "backspace":
            return self._drop_fold()
        else:
            return False
        return True

    def _enter(self) -> None:
        marked = self._popup.marked
        typed = self.text
        if marked is not None and marked.line.rstrip() != typed.rstrip():
            begun = " " not in typed and marked.label.startswith(typed) and not self._known(typed)
            if self._popup.moved or begun:  # a typo is sent as it is and answered with "did you mean"
                self._take()
                if not marked.whole:
                    return
        self._send()

    def _known(self, typed: str) -> bool:
        """Whether what was typed is a command's name already, so that Enter means that one."""
        return any(choice.label == typed.strip() for choice in self._popup.choices)

    def _take(self) -> None:
        marked = self._popup.marked
        if marked is not None:
            self.fill(marked.line)

    def _send(self) -> None:
        if not self.text.strip():
            return
        text = self._folds.sent(self.text)
        self._history.add(self.whole)
        self._popup.offer(())
        self.fill("")
        self.post_message(self.Submitted(text))

    def _drop_fold(self) -> bool:
        """Take a whole fold away when the cursor is right behind it."""
        if not self.selection.is_empty:
            return False
        row, column = self.cursor_location
        mark = self._folds.ending(self.document.get_line(row)[:column])
        if mark:
            self.delete((row, column - len(mark)), (row, column))
        return bool(mark)

    def _arrow(self, key: str) -> bool:
        step = -1 if key == "up" else 1
        if self._popup.choices:
            self._popup.move(step)
            return True
        row, last = self.cursor_location[0], self.document.line_count - 1
        if key == "up" and row == 0:
            earlier = self._history.earlier(self.text)
            if earlier is not None:
                self.fill(earlier)
            return True
        if key == "down" and row == last:
            later = self._history.later()
            if later is not None:
                self.fill(later)
            return True
        return False

    def fill(self, text: str) -> None:
        """Replace what is typed, with the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)
