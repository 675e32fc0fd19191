"""What the keys of the full-screen REPL do: the only list, read by `/help`, `/keys` and the key panel. Pure."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

Place = Literal["typing", "reading", "sessions", "leaving"]


class KeyHelp(msgspec.Struct, frozen=True):
    """One key, or several that belong together."""

    place: Place
    label: str
    """As a person calls them."""
    text: str
    """What they do."""
    keys: tuple[str, ...] = ()
    """As the terminal names them."""


KEYS: Final[Sequence[KeyHelp]] = (
    KeyHelp("typing", "Enter", "send", ("enter",)),
    KeyHelp("typing", "Shift+Enter, Ctrl+J", "new line", ("shift+enter", "ctrl+j", "alt+enter")),
    KeyHelp("typing", "Up, Down", "earlier and later inputs (on the first and last line)", ("up", "down")),
    KeyHelp("typing", "Ctrl+R", "search what you typed before", ("ctrl+r",)),
    KeyHelp("typing", "Tab", "complete; or go to an open question", ("tab",)),
    KeyHelp("typing", "Ctrl+G", "write in your editor ($VISUAL, $EDITOR)", ("ctrl+g",)),
    KeyHelp("typing", "/", "a command"),
    KeyHelp("typing", "@", "include a file or a resource"),
    KeyHelp("typing", "!", "run a command of your shell, recorded in the session"),
    KeyHelp("typing", "?", "these keys, on an empty line", ("question_mark",)),
    KeyHelp("reading", "PageUp, PageDown", "scroll", ("pageup", "pagedown")),
    KeyHelp("reading", "Ctrl+O", "open and fold tool results", ("ctrl+o",)),
    KeyHelp("reading", "Shift+Tab, then j, k, Enter", "go to one card; open or fold it"),
    KeyHelp("reading", "Esc", "close the list; or stop the assistant", ("escape",)),
    KeyHelp("reading", "on a question: p, e, v", "to what a yes is one, until when; all of it unfolded"),
    KeyHelp("reading", "on a question: ←, →, *", "other questions; answer all alike"),
    KeyHelp("sessions", "Esc twice", "go back to one of your messages", ("escape",)),
    KeyHelp("sessions", "Ctrl+P", "sessions: open, rename, fork, end", ("ctrl+p",)),
    KeyHelp("sessions", "Ctrl+\\", "all commands, by name", ("ctrl+backslash",)),
    KeyHelp("leaving", "Ctrl+]", "leave at once; agents go on", ("ctrl+right_square_bracket",)),
    KeyHelp("leaving", "Ctrl+C twice, Ctrl+D", "leave; agents go on", ("ctrl+c", "ctrl+d")),
)
