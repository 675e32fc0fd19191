"""The command for the node's figures, and those that are looked up when somebody asks."""

from mcp_core.agents.directory import Directory
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.sessions import Sessions
from mcp_core.observe.exporters import Exporters
from mcp_core.observe.metrics import Gauge
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.roll import ROLL
from mcp_interface.commands import GetMetrics
from mcp_interface.ids import PrincipalId


class MetricsCommands:
    """Handlers over what the node tells about itself."""

    def __init__(self, exporters: Exporters, owner: PrincipalId) -> None:
        self._exporters = exporters
        self._owner = owner

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {GetMetrics: self.metrics}

    async def metrics(self, who: PrincipalId, command: GetMetrics) -> str:
        """Every figure, as Prometheus reads it; labels name tools and models, so they are the owner's to see."""
        require_owner(who, self._owner, "read its figures")
        return self._exporters.text()


def figures(bus: Bus, sessions: Sessions, directory: Directory) -> list[Gauge]:
    """What is so much now, for whoever looks at the metrics."""
    return [
        Gauge(name="mcp_journal_position", help="Events in the journal", read=lambda: bus.position),
        Gauge(name="mcp_sessions_open", help="Sessions that have not ended", read=sessions.count),
        Gauge(name="mcp_agents_active", help="Agents that have not ended", read=directory.count),
        Gauge(name="mcp_actors_alive", help="Actors of this process", read=lambda: len(ROLL)),
    ]
