"""What a REPL remembers of its person between two runs: colours, mouse, bell, and how far each session was seen.

Kept beside the history of inputs, readable by its owner only. Nothing here matters enough to stop a conversation:
a file that cannot be read is as none, one that cannot be written is given up.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

MOST_SEEN: Final = 500
"""Sessions whose place is kept; the longest unseen is forgotten first."""
LARGEST: Final = 1024 * 1024
"""Bytes of a file that is read."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """As it is written down."""

    theme: str = ""
    """Empty: the person has not chosen; so are the next two when they are None."""
    mouse: bool | None = None
    notify: bool | None = None
    seen: Mapping[str, int] = {}
    """By session: position of the last record that was on the screen."""


USUAL: Final = Kept(mouse=True, notify=True)


class ReplState:
    """Reads and writes what is kept.

    Args:
        file: Where it rests; None keeps it in memory.
        usual: What the person's settings say, where nothing was chosen here.
    """

    def __init__(self, file: Path | None = None, usual: Kept = USUAL) -> None:
        self._file = file
        self._usual = usual
        self.kept = self._load() or Kept()

    @property
    def theme(self) -> str:
        """Name of the colours; empty: ours."""
        return self.kept.theme or self._usual.theme

    @property
    def mouse(self) -> bool:
        """Whether the mouse works here."""
        return self.kept.mouse if self.kept.mouse is not None else self._usual.mouse is not False

    @property
    def notify(self) -> bool:
        """Whether the bell rings."""
        return self.kept.notify if self.kept.notify is not None else self._usual.notify is not False

    def seen(self, session_id: str) -> int:
        """How far a session was seen; zero: never."""
        return self.kept.seen.get(session_id, 0)

    def see(self, session_id: str, position: int) -> None:
        """Note how far a session was seen; it never becomes less."""
        if position <= 0:
            return
        kept = self._fresh()
        seen = {key: at for key, at in kept.seen.items() if key != session_id}
        seen[session_id] = max(position, kept.seen.get(session_id, 0))
        newest = list(seen.items())[-MOST_SEEN:]
        self._keep(msgspec.structs.replace(kept, seen=dict(newest)))

    def change(self, **changes: Any) -> None:
        """Take over new values of `Kept`'s fields."""
        self._keep(msgspec.structs.replace(self._fresh(), **changes))

    def _fresh(self) -> Kept:
        """As it is now: another REPL may have written meanwhile."""
        return self._load() or self.kept

    def _load(self) -> Kept | None:
        if self._file is None:
            return None
        try:
            with self._file.open("rb") as file:
                return msgspec.json.decode(file.read(LARGEST), type=Kept)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _keep(self, kept: Kept) -> None:
        self.kept = kept
        if self._file is None:
            return
        draft = self._file.with_name(f"{self._file.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(kept))
            draft.replace(self._file)
        except OSError:
            self._file = None
            draft.unlink(missing_ok=True)
