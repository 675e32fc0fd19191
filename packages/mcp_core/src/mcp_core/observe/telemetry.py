"""The emitter behind `mcp_interface.telemetry`: in process, synchronous, never the emitter's problem."""

import logging
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from mcp_interface.errors import CallerMistaken
from mcp_interface.telemetry import TABLE, Handler

log = logging.getLogger(__name__)


class LocalTelemetry:
    """Hands each event to the listeners attached at the moment."""

    def __init__(self) -> None:
        self._handlers: list[tuple[str, Handler]] = []

    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Tell the listeners; a raising one is detached and logged.

        Raises:
            CallerMistaken: The name is not in the table.
        """
        if name not in TABLE:
            raise CallerMistaken(
                f"{name!r} is not a telemetry event", "add a row to mcp_interface.telemetry.TABLE"
            )
        for entry in list(self._handlers):
            pattern, handler = entry
            if fnmatchcase(name, pattern):
                try:
                    handler(name, measurements, metadata)
                except Exception:
                    log.exception("a telemetry handler for %s raised and is detached", pattern)
                    self._detach(entry)

    def attach(self, pattern: str, handler: Handler) -> Callable[[], None]:
        """Listen to names that match a glob; returns the function that stops listening."""
        entry = (pattern, handler)
        self._handlers.append(entry)
        return lambda: self._detach(entry)

    def _detach(self, entry: tuple[str, Handler]) -> None:
        if entry in self._handlers:
            self._handlers.remove(entry)
