"""The command for the node's figures."""

from mcp_core.gateway.gateway import Handler
from mcp_core.observe.exporters import Exporters
from mcp_interface.commands import GetMetrics
from mcp_interface.ids import PrincipalId


class MetricsCommands:
    """Handlers over what the node tells about itself."""

    def __init__(self, exporters: Exporters) -> None:
        self._exporters = exporters

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {GetMetrics: self.metrics}

    async def metrics(self, who: PrincipalId, command: GetMetrics) -> str:
        """Every figure, as Prometheus reads it; for everybody who is logged in, for none of it names anybody."""
        return self._exporters.text()
