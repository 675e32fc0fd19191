"""The file that a stdio server's stderr goes to: private, bounded, never a terminal."""

import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, TextIO

LIMIT: Final = 4 * 1024 * 1024
_TAIL: Final = 2_000
_LINE: Final = 300
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class ServerLog:
    """One server's log file.

    Args:
        folder: Made with mode 0700 when it is missing.
        name: A valid server name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"mcp-{name}.log"
        self._start = 0

    @contextmanager
    def opened(self, now: datetime) -> Generator[TextIO]:
        """Open it for appending with mode 0600, and note the start.

        Raises:
            OSError: The folder or file cannot be written, or a link stands in its place.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            self.shorten()
            file.write(f"--- started {now.isoformat()}\n")
            file.flush()
            self._start = self.path.stat().st_size
            yield file

    def shorten(self) -> None:
        """Empty the file once it passes its limit; whoever appends to it goes on undisturbed."""
        if self.path.stat().st_size > LIMIT:
            os.truncate(self.path, 0)
            self._start = 0

    def last_line(self, redact: Callable[[str], str]) -> str:
        """The last line that the server wrote since it was started; empty when there is none.

        Args:
            redact: Takes secrets out of a text; done before anything is cut, else a long one would not be known again.
        """
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._start, end - _TAIL))
                text = file.read(_TAIL).decode("utf-8", "replace")
        except OSError:
            return ""
        return _plain(text, 1, redact)


def last_lines(file: TextIO, count: int, redact: Callable[[str], str]) -> str:
    """The last lines of an open file, as one; `redact` as for `ServerLog.last_line`."""
    size = os.fstat(file.fileno()).st_size
    read = os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))
    return _plain(read.decode("utf-8", "replace"), count, redact)


def _plain(text: str, count: int, redact: Callable[[str], str]) -> str:
    text = redact(
        _CONTROL.sub("", redact(text))
    )  # before, since it may hold such characters, and once they are gone
    lines = [line.strip()[:_LINE] for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:])
