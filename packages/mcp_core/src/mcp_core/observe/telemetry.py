"""The emitter behind `mcp_interface.telemetry`: in process, synchronous, never the emitter's problem.

Who listens to a name is worked out when somebody attaches or detaches, never when something is emitted: each
name holds a finished tuple of handlers, which is replaced as a whole. So emitting takes no lock, and an event
that nobody wants costs a look at a flag.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from mcp_interface.errors import CallerMistaken
from mcp_interface.telemetry import TABLE, Handler

log = logging.getLogger(__name__)


class LocalEmitter:
    """One name and those who listen to it; get one from `LocalTelemetry.emitter`."""

    __slots__ = ("_failed", "_handlers", "_name", "on")

    def __init__(self, name: str, failed: Callable[[str, Handler], None]) -> None:
        self._name = name
        self._failed = failed
        self._handlers: tuple[Handler, ...] = ()
        self.on = False

    def emit(self, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Tell the listeners; a raising one is detached and logged."""
        for handler in self._handlers:
            try:
                handler(self._name, measurements, metadata)
            except Exception:
                self._failed(self._name, handler)

    def point(self, handlers: tuple[Handler, ...]) -> None:
        """Set who listens; for `LocalTelemetry`."""
        self._handlers = handlers
        self.on = bool(handlers)


class LocalTelemetry:
    """Hands each event to the listeners attached at the moment."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Handler]] = []
        self._changing = threading.RLock()  # tools run in threads, and a listener may detach itself
        self._emitters = {name: LocalEmitter(name, self._failed) for name in TABLE}

    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Tell the listeners; a raising one is detached and logged.

        Raises:
            CallerMistaken: The name is not in the table.
        """
        emitter = self._emitters.get(name)
        if emitter is None:
            raise _unknown(name)
        if emitter.on:
            emitter.emit(measurements, metadata)

    def emitter(self, name: str) -> LocalEmitter:
        """Bind a name, for hot paths.

        Raises:
            CallerMistaken: The name is not in the table.
        """
        emitter = self._emitters.get(name)
        if emitter is None:
            raise _unknown(name)
        return emitter

    def attach(self, pattern: str, handler: Handler) -> Callable[[], None]:
        """Listen to names that match a glob; returns the function that stops listening.

        Raises:
            CallerMistaken: No name of the table matches.
        """
        if not any(fnmatchcase(name, pattern) for name in TABLE):
            raise CallerMistaken(
                f"no telemetry event matches {pattern!r}", "see mcp_interface.telemetry.TABLE for the names"
            )
        entry = (pattern, handler)
        with self._changing:
            self._entries.append(entry)
            self._rebuild()

        def stop() -> None:
            self._remove(lambda each: each is entry)

        return stop

    def _remove(self, is_meant: Callable[[tuple[str, Handler]], bool]) -> bool:
        with self._changing:
            kept = [entry for entry in self._entries if not is_meant(entry)]
            changed = len(kept) < len(self._entries)
            if changed:
                self._entries = kept
                self._rebuild()
        return changed

    def _rebuild(self) -> None:
        for name, emitter in self._emitters.items():
            emitter.point(tuple(handler for pattern, handler in self._entries if fnmatchcase(name, pattern)))

    def _failed(self, name: str, broken: Handler) -> None:
        # one that several threads found broken at once is logged once
        if self._remove(lambda entry: entry[1] is broken):
            log.exception("a telemetry handler raised at %s and is detached", name)


def _unknown(name: str) -> CallerMistaken:
    return CallerMistaken(f"{name!r} is not a telemetry event", "add a row to mcp_interface.telemetry.TABLE")
