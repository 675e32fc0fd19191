"""What was typed before, kept in the data directory so that the next REPL has it too."""

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

MOST: Final = 1000
"""Inputs that are kept."""
LONGEST: Final = 20_000
"""Characters of an input that is worth keeping."""


class InputHistory:
    """Inputs, oldest first, with a place in them.

    Args:
        file: Where they rest, readable by their owner only; None keeps them in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._inputs = self._load()
        self._place = len(self._inputs)
        self._draft = ""

    def add(self, text: str) -> None:
        """Remember an input and step behind the newest; a repetition is kept once."""
        if text.strip() and len(text) <= LONGEST and text != (self._inputs[-1] if self._inputs else None):
            self._inputs = [*self._inputs, text][-MOST:]
            self._save(text)
        self._place, self._draft = len(self._inputs), ""

    @property
    def latest(self) -> list[str]:
        """Inputs, latest first."""
        return self._inputs[::-1]

    def earlier(self, current: str) -> str | None:
        """Step back; keeps what was being typed. None at the oldest."""
        if self._place == 0:
            return None
        if self._place == len(self._inputs):
            self._draft = current
        self._place -= 1
        return self._inputs[self._place]

    def later(self) -> str | None:
        """Step forward, at last to what was being typed. None when there already."""
        if self._place >= len(self._inputs):
            return None
        self._place += 1
        return self._draft if self._place == len(self._inputs) else self._inputs[self._place]

    def _load(self) -> list[str]:
        if self._file is None:
            return []
        try:
            lines = self._file.read_bytes().splitlines()[-MOST:]
        except OSError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                found.append(msgspec.json.decode(line, type=str))
        return found

    def _save(self, text: str) -> None:
        if self._file is None:
            return
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(msgspec.json.encode(text) + b"\n")
        except (OSError, UnicodeEncodeError):
            self._file = None  # a full disk must not stop the conversation
