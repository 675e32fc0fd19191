"""The command for the node's figures."""

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.observe.exporters import Exporters
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
