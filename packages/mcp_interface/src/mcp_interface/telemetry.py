"""Names of what can be observed while it happens, and how to listen.

Telemetry is for operators: it may be lost and is never the record. The table says for each event which
measurements (numbers) and which metadata (names) it carries. Emitter: `mcp_core.observe`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec


class TelemetryEvent(msgspec.Struct, frozen=True):
    """One row of the table."""

    measurements: tuple[str, ...]
    metadata: tuple[str, ...]


def _row(measurements: str, metadata: str) -> TelemetryEvent:
    return TelemetryEvent(tuple(measurements.split()), tuple(metadata.split()))


TABLE: Final[Mapping[str, TelemetryEvent]] = {
    "mcp.agent.start": _row("", "agent_id type session_id"),
    "mcp.agent.stop": _row("lifetime_s", "agent_id type reason"),
    "mcp.agent.crash": _row("restarts", "agent_id type reason"),
    "mcp.agent.message_handled": _row("duration_s", "agent_id type"),
    "mcp.message.sent": _row("", "to sender session_id"),
    "mcp.message.received": _row("", "to sender session_id"),
    "mcp.message.dropped": _row("", "to sender reason"),
    "mcp.tool.start": _row("", "server tool principal_id execution_id"),
    "mcp.tool.stop": _row("duration_s", "server tool principal_id execution_id"),
    "mcp.tool.exception": _row("duration_s", "server tool principal_id execution_id code"),
    "mcp.capability.granted": _row("", "capability_id principal_id resource_uri"),
    "mcp.capability.denied": _row("", "principal_id resource_uri reason"),
    "mcp.capability.revoked": _row("count", "capability_id"),
    "mcp.capability.validated": _row("", "principal_id resource_uri capability_id"),
    "mcp.persistence.snapshot_saved": _row("bytes duration_s", "stream"),
    "mcp.persistence.snapshot_loaded": _row("bytes duration_s", "stream"),
    "mcp.persistence.journal_write": _row("events duration_s", "stream"),
    "mcp.persistence.recovery_complete": _row("events duration_s", ""),
    "mcp.server.state": _row("restarts", "server state"),
    "mcp.model.stop": _row("duration_s input_tokens output_tokens", "model session_id"),
}
"""Every telemetry event by name."""

Handler = Callable[[str, Mapping[str, float], Mapping[str, Any]], None]


class Telemetry(Protocol):
    """A place to emit to and to listen at."""

    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Tell the listeners. A raising listener is detached and logged; the emitter never notices.

        Raises:
            CallerMistaken: The name is not in `TABLE`.
        """
        ...

    def attach(self, pattern: str, handler: Handler) -> Callable[[], None]:
        """Listen to every name that matches a glob; returns the function that stops listening."""
        ...
