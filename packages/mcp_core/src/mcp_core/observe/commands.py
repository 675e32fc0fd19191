"""What is seen of a client's command: its place in a trace, how long it took, and how it ended."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import Command
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.telemetry import Telemetry
from mcp_interface.trace import begin_trace, current_trace, tracing

OK: Final = "ok"
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"


class CommandWatch:
    """Watches commands at the gateway's door.

    Args:
        telemetry: Who is told.
        clock: For durations.
        entropy: For the ids of traces and spans.
    """

    def __init__(self, telemetry: Telemetry, clock: Clock, entropy: Entropy) -> None:
        self._stop = telemetry.emitter("mcp.command.stop")
        self._clock = clock
        self._entropy = entropy

    @contextmanager
    def over(self, principal: PrincipalId | None, command: Command[Any]) -> Iterator[None]:
        """Enter a span for one command: below the trace of whoever brings it, or at the root of a new one."""
        with tracing(begin_trace(self._entropy, current_trace())):
            began = self._clock.monotonic()
            outcome = FAILED
            try:
                yield
                outcome = OK
            except UmbrellaError as error:
                outcome = error.code
                raise
            except asyncio.CancelledError:
                outcome = CANCELLED
                raise
            finally:
                if self._stop.on:
                    self._stop.emit(
                        {"duration_s": self._clock.monotonic() - began},
                        {
                            "command": str(type(command).__struct_config__.tag),
                            "outcome": outcome,
                            "principal_id": principal,
                        },
                    )
