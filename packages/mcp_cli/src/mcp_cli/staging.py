"""What only a full screen can do, as commands ask for it; a REPL of lines says what to do instead."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from mcp_interface.errors import CallerMistaken
from mcp_interface.events import Event

Ledger = Literal["caps", "audit"]


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to choose from a list."""

    key: str
    label: str
    detail: str = ""
    """A few words on it, shown dim behind it."""


@runtime_checkable
class Stage(Protocol):
    """A surface that is a whole screen."""

    async def choose(self, title: str, picks: Sequence[Pick]) -> str | None:
        """Let the person choose one; its key, or None when nothing was chosen."""
        ...

    async def choose_session(self) -> None:
        """Let the person choose a session and go on with it."""
        ...

    def happened(self, event: Event) -> None:
        """Hear of everything that is remembered while the REPL follows it."""
        ...

    def prefill(self, text: str) -> None:
        """Put a text where the person types, instead of what is there."""
        ...

    def copy(self, text: str) -> None:
        """Hand a text to the clipboard."""
        ...

    def colours(self) -> Sequence[str]:
        """Names of the themes that there are, the present one first."""
        ...

    def paint(self, theme: str) -> None:
        """Use the colours of a theme."""
        ...

    def take_mouse(self, on: bool) -> None:
        """Take the mouse, or leave it to the terminal."""
        ...

    def show_keys(self) -> None:
        """Show what the keys do."""
        ...

    def show_ledger(self, name: Ledger) -> None:
        """Show who may do what, or what was decided, to be gone through."""
        ...


def stage_of(face: object, what: str, instead: str) -> Stage:
    """Return the surface as a stage.

    Raises:
        CallerMistaken: It is lines only; says what to do instead.
    """
    if not isinstance(face, Stage):
        raise CallerMistaken(f"{what} needs the full screen", instead)
    return face


def switched(words: Sequence[str], present: bool) -> bool:
    """Read `on` or `off`; nothing turns it over.

    Raises:
        CallerMistaken: It is neither.
    """
    if not words:
        return not present
    if words[0] not in {"on", "off"}:
        raise CallerMistaken(f"{words[0]!r} is neither on nor off", "write on or off")
    return words[0] == "on"
