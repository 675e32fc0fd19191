"""Where a person types: several lines, earlier inputs, completion of slash commands."""

from typing import Final

from textual import events
from textual.message import Message
from textual.widgets import TextArea

from mcp_cli.history import InputHistory
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

    class Tabbed(Message):
        """The person pressed Tab, and there was nothing to complete."""

    def __init__(self, history: InputHistory, popup: Popup) -> None:
        super().__init__(
            id="prompt",
            placeholder="Say something, or / for commands",
            compact=False,
            highlight_cursor_line=False,
            tab_behavior="focus",
        )
        self._history = history
        self._popup = popup

    async def _on_key(self, event: events.Key) -> None:
        if self._handles(event.key):
            event.stop()
            event.prevent_default()
            return
        await super()._on_key(event)

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
        text = self.text
        if not text.strip():
            return
        self._history.add(text)
        self._popup.offer(())
        self.fill("")
        self.post_message(self.Submitted(text))

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
