"""The command for the models that can be chosen."""

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.speaking import NEEDED, Speaking
from mcp_core.providers.lender import Lender
from mcp_interface.conversing import ListModels
from mcp_interface.errors import NotPermitted
from mcp_interface.ids import PrincipalId
from mcp_interface.provider import ModelInfo


class ModelCommands:
    """Handlers over the models of a node: for its owner, and for whoever may have one speak.

    Args:
        models: Knows which there are.
        speaking: Judges who may have one speak.
    """

    def __init__(self, models: Lender, speaking: Speaking) -> None:
        self._models = models
        self._speaking = speaking

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {ListModels: self.listed}

    async def listed(self, who: PrincipalId, command: ListModels) -> list[ModelInfo]:
        """The models of every endpoint; none of what an endpoint needs, such as its address or key, is told."""
        if not self._speaking.offered(who):
            raise NotPermitted(
                "the models of the node are for its owner, and for whoever may ask the assistant",
                f"its owner can allow that: umbrella grant {who} {NEEDED.uri}",
            )
        return await self._models.list_models()
