"""Names of what can be observed while it happens, and how to listen.

Telemetry is for operators: it may be lost and is never the record. The table says for each event which
measurements (numbers) and which metadata (names) it carries; exporters derive what they show from it by rule.
Production: `mcp_core.observe.telemetry`; in memory: `testing.RecordingTelemetry`, which also checks every
event against the table.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec


class TelemetryEvent(msgspec.Struct, frozen=True):
    """One row of the table. An event carries all of a row's measurements and metadata, and no others."""

    measurements: tuple[str, ...]
    """Numbers. `…_s` are seconds, `LEVELS` say how much there is now, the rest how much more."""
    labels: tuple[str, ...]
    """Metadata with few values, by which an operator may group."""
    details: tuple[str, ...]
    """Metadata with any number of values: ids, addresses, words of an error. Never a label."""

    @property
    def metadata(self) -> tuple[str, ...]:
        """Every name that comes with the event."""
        return self.labels + self.details


def _row(measurements: str, labels: str, details: str) -> TelemetryEvent:
    return TelemetryEvent(tuple(measurements.split()), tuple(labels.split()), tuple(details.split()))


LEVELS: Final = frozenset({"restarts", "waiting"})
"""Measurements that say how much there is at the moment, so that adding them up means nothing."""

TABLE: Final[Mapping[str, TelemetryEvent]] = {
    # a client's command, from the gateway's door to its answer
    "mcp.command.stop": _row("duration_s", "command outcome", "principal_id"),
    # an agent's life as the directory sees it; each agent is an actor too
    "mcp.agent.start": _row("", "type", "agent_id session_id"),
    "mcp.agent.stop": _row("lifetime_s", "type", "agent_id reason"),
    "mcp.agent.crash": _row("restarts", "type", "agent_id reason"),
    "mcp.agent.message_handled": _row("duration_s", "type", "agent_id"),
    # any actor's life as the runtime sees it; type is the name of its class
    "mcp.actor.start": _row("", "type", "actor"),
    "mcp.actor.stop": _row("", "type", "actor reason"),
    "mcp.actor.crash": _row("", "type", "actor reason"),
    "mcp.actor.restart": _row("restarts pause_s", "type", "actor"),
    "mcp.actor.given_up": _row("restarts", "type", "actor reason"),
    "mcp.actor.passivated": _row("", "type", "actor"),
    "mcp.actor.awakened": _row("", "type", "actor"),
    # a handler that keeps its loop: how long by now, and the line at which it was seen
    "mcp.actor.blocked": _row("duration_s", "type", "actor where"),
    "mcp.supervisor.escalated": _row("restarts", "", "supervisor reason"),
    # one with nobody above it, so that its node ends
    "mcp.supervisor.given_up": _row("", "", "supervisor reason"),
    # a message on its way; reason is the code of the error, and of a dead letter
    "mcp.message.sent": _row("", "", "to sender session_id"),
    "mcp.message.received": _row("", "", "to sender session_id"),
    "mcp.message.dropped": _row("", "reason", "to sender"),
    "mcp.message.expired": _row("late_s", "", "to sender"),
    # an ask as its caller sees it; outcome is ok, error, deadline, deadlock, cancelled or dead
    "mcp.ask.stop": _row("duration_s", "outcome", "to sender"),
    # policy is block, drop_oldest or reject
    "mcp.mailbox.full": _row("waiting", "policy", "to"),
    # state is open, half_open or closed
    "mcp.breaker.state": _row("", "state", "target"),
    "mcp.tool.start": _row("", "server tool", "principal_id execution_id"),
    "mcp.tool.stop": _row("duration_s", "server tool", "principal_id execution_id"),
    "mcp.tool.exception": _row("duration_s", "server tool code", "principal_id execution_id"),
    "mcp.capability.granted": _row("", "", "capability_id principal_id resource_uri"),
    "mcp.capability.denied": _row("", "reason", "principal_id resource_uri"),
    "mcp.capability.revoked": _row("count", "", "capability_id"),
    "mcp.capability.validated": _row("", "", "principal_id resource_uri capability_id"),
    "mcp.persistence.snapshot_saved": _row("bytes duration_s", "", "stream"),
    "mcp.persistence.snapshot_loaded": _row("bytes duration_s", "", "stream"),
    "mcp.persistence.journal_write": _row("events duration_s", "", "stream"),
    "mcp.persistence.recovery_complete": _row("events duration_s", "", ""),
    "mcp.server.state": _row("restarts", "server state", ""),
    "mcp.model.stop": _row("duration_s input_tokens output_tokens", "model", "session_id"),
}
"""Every telemetry event by name."""

Handler = Callable[[str, Mapping[str, float], Mapping[str, Any]], None]


class Emitter(Protocol):
    """One name of the table, bound once by whoever emits it often.

    A flag to read, and not a question to ask: an attribute costs a tenth of a call, and behind it the dicts of
    an event that nobody wants need not even be made. Write `if sent.on: sent.emit({}, {…})`.
    """

    @property
    def on(self) -> bool:
        """Whether anybody listens now."""
        ...

    def emit(self, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """As `Telemetry.emit`; does nothing when nobody listens."""
        ...


class Telemetry(Protocol):
    """A place to emit to and to listen at, from any thread.

    Listeners are called in the emitter's own thread and task, in the order in which they were attached, and
    see its `current_trace`. They must be quick and keep the event's mappings unchanged.
    """

    def emit(self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Tell the listeners. A raising listener is detached and logged; the emitter never notices.

        Raises:
            CallerMistaken: The name is not in `TABLE`.
        """
        ...

    def emitter(self, name: str) -> Emitter:
        """Bind a name, for hot paths; the same object at every call.

        Raises:
            CallerMistaken: The name is not in `TABLE`.
        """
        ...

    def attach(self, pattern: str, handler: Handler) -> Callable[[], None]:
        """Listen to every name that matches a glob; returns the function that stops listening.

        Raises:
            CallerMistaken: No name in `TABLE` matches.
        """
        ...
