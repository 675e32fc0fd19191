"""The child at work: started, listened to, and ended in any case."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[2]
SEGMENT_BYTES = 64 << 10
PATIENCE = 60.0
"""Seconds after which a child that says nothing has hung."""


class Load:
    """One run of `appending_child.py`; a context manager that kills it at the end.

    Args:
        kind: Which journal.
        path: Where.
        events: After how many each appender stops; None for never.
        faults: The library that interposes, and what it shall do; see `faults.c`.
        under: How the names begin of the files that it concerns; all of the journal's unless given.
        patience: Seconds to wait for a journal that refused; zero to give up at once.
        stamp: Called after lines were read; its value is kept with them.
        options: For `subprocess.Popen`.
    """

    def __init__(
        self,
        kind: str,
        path: Path,
        events: int | None = None,
        *,
        faults: tuple[Path, str] | None = None,
        under: Path | None = None,
        patience: float = 0,
        stamp: Callable[[], int] = lambda: 0,
        **options,
    ) -> None:
        search = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": search, "UMBRELLA_TEST_SEGMENT_BYTES": str(SEGMENT_BYTES)}
        if faults is not None:
            environment |= {"LD_PRELOAD": str(faults[0]), "UMBRELLA_FAULT": faults[1]}
            environment["UMBRELLA_FAULT_UNDER"] = str(under or path.parent)
        environment["UMBRELLA_TEST_PATIENCE"] = str(patience)
        limit = [] if events is None else [str(events)]
        command = [sys.executable, "-B", "-m", "persistence.appending_child", kind, path, *limit]
        self._child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **options
        )
        self._stamp = stamp
        self._lines: list[tuple[int, str]] = []
        self._said = threading.Condition()
        self._silent = False
        self.complaints = ""
        """What it wrote to its standard error; complete once `finish` or the context has ended."""
        self._listeners = [
            threading.Thread(target=listen) for listen in (self._listen, self._listen_to_errors)
        ]

    def __enter__(self) -> "Load":
        for listener in self._listeners:
            listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def wait_for(self, lines: int) -> None:
        """Return when it has said so much, or ended."""
        self._wait(lambda: len(self._lines) >= lines)

    def wait_until(self, remark: str) -> None:
        """Return when it has said this, or ended."""
        self._wait(lambda: any(line == remark for _, line in reversed(self._lines)))

    def _wait(self, done: Callable[[], bool]) -> None:
        with self._said:
            if not self._said.wait_for(lambda: self._silent or done(), PATIENCE):
                raise AssertionError(f"the child said {len(self._lines)} lines and then nothing")

    def finish(self) -> int:
        """Let it come to its own end; gives the exit code."""
        code = self._child.wait(PATIENCE)
        self.kill()
        return code

    def kill(self) -> None:
        """kill -9, and hear what it had said until then; harmless when repeated."""
        self._child.kill()
        self._child.wait(PATIENCE)
        for listener in self._listeners:
            listener.join(PATIENCE)

    @property
    def heard(self) -> list[tuple[int, str]]:
        """All lines so far, each with its stamp."""
        with self._said:
            return list(self._lines)

    @property
    def lines(self) -> list[str]:
        """All lines so far."""
        return [line for _, line in self.heard]

    @property
    def remarks(self) -> list[str]:
        """What it said besides acknowledgements."""
        return [line for line in self.lines if not line.startswith(("session:", "put "))]

    def _listen(self) -> None:
        with self._child.stdout as pipe:
            rest = b""
            while chunk := os.read(pipe.fileno(), 65536):
                # After the read: what was acknowledged was logged before it was said, hence before this stamp.
                stamp = self._stamp()
                *whole, rest = (rest + chunk).split(b"\n")
                with self._said:
                    self._lines += [(stamp, line.decode()) for line in whole]
                    self._said.notify_all()
        with self._said:
            self._silent = True
            self._said.notify_all()

    def _listen_to_errors(self) -> None:
        with self._child.stderr as pipe:
            self.complaints = pipe.read().decode(errors="replace")
