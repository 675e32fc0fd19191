"""What a supervisor tells of its work: to the log, to telemetry, and to those who asked to be told.

Nobody who is told can stop it: what a callback raises is logged.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mcp_interface.telemetry import Telemetry

if TYPE_CHECKING:
    from mcp_core.runtime.child import Child

log = logging.getLogger(__name__)


class Reports:
    """The reports of one supervisor.

    Args:
        supervisor: Its name.
        telemetry: Told of everything; None is nobody.
        on_give_up: Told when the supervisor itself gives up.
    """

    def __init__(
        self, supervisor: str, telemetry: Telemetry | None, on_give_up: Callable[[BaseException], None] | None
    ) -> None:
        self._supervisor = supervisor
        self._telemetry = telemetry
        self._on_give_up = on_give_up
        self._restarts = None if telemetry is None else telemetry.emitter("mcp.actor.restart")

    def restarted(self, child: "Child", error: BaseException, pause_s: float) -> None:
        """A child has ended and will be back after so many seconds."""
        log.warning("%s has ended and is restarted: %r", child.spec.name, error)
        if self._restarts is not None and self._restarts.on:
            self._restarts.emit({"restarts": child.restarts, "pause_s": pause_s}, _names(child))
        if child.spec.on_restart is not None:
            _call(child.spec.on_restart, error, child.restarts)

    def given_up(self, child: "Child", error: BaseException) -> None:
        """A child will not come back, though nobody stopped it."""
        log.error("%s is given up: %r", child.spec.name, error)
        names = {**_names(child), "reason": repr(error)}
        self._emit("mcp.actor.given_up", {"restarts": child.restarts}, names)
        if child.spec.on_give_up is not None:
            _call(child.spec.on_give_up, error)

    def passivated(self, child: "Child") -> None:
        """A child has left memory."""
        self._emit("mcp.actor.passivated", {}, _names(child))

    def awakened(self, child: "Child") -> None:
        """A child is back in memory."""
        self._emit("mcp.actor.awakened", {}, _names(child))

    def failed(self, error: BaseException, restarts: int) -> None:
        """The supervisor's members have ended once more than so often: it cannot keep them alive."""
        log.error("the supervisor %r has failed: %r", self._supervisor, error)
        names = {"supervisor": self._supervisor, "reason": repr(error)}
        self._emit("mcp.supervisor.escalated", {"restarts": restarts}, names)

    def ended(self, error: BaseException) -> None:
        """The supervisor will not come back: nobody above it restarts it."""
        log.critical("the supervisor %r has given up: %r", self._supervisor, error)
        if self._on_give_up is not None:
            _call(self._on_give_up, error)

    def broken(self, error: BaseException) -> None:
        """Something of the supervisor's own went wrong."""
        log.error("the supervisor %r could not do its work", self._supervisor, exc_info=error)

    def _emit(self, name: str, measurements: dict[str, float], names: dict[str, str]) -> None:
        if self._telemetry is not None:
            self._telemetry.emit(name, measurements, names)


def _names(child: "Child") -> dict[str, str]:
    return {"type": child.ref.actor_class.__name__, "actor": child.spec.name}


def _call(callback: Callable[..., Any], *what: Any) -> None:
    try:
        callback(*what)
    except Exception:
        log.exception("%r raised when it was told by a supervisor", callback)
