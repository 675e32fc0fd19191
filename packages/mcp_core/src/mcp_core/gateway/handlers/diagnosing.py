"""The command that explains why a server does not start."""

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.protocol.doctor import Doctor
from mcp_core.protocol.reach import did_you_mean
from mcp_interface.commands import DiagnoseServer
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import PrincipalId
from mcp_interface.server import Diagnosis


class DiagnosisCommands:
    """Handler over the servers of a node; for the owner only, because it starts what they configured.

    Args:
        toolbox: Knows the servers.
        doctor: Examines one.
        owner: Of the node.
    """

    def __init__(self, toolbox: Toolbox, doctor: Doctor, owner: PrincipalId) -> None:
        self._toolbox = toolbox
        self._doctor = doctor
        self._owner = owner

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {DiagnoseServer: self.diagnose}

    async def diagnose(self, who: PrincipalId, command: DiagnoseServer) -> list[Diagnosis]:
        """Examine one server beside its live connection."""
        require_owner(who, self._owner, "examine servers")
        if command.name in self._toolbox.builtin:
            raise CallerMistaken(f"{command.name} is built in", "it is there whenever the node is")
        known = {status.name: status.spec for status in self._toolbox.host.statuses()}
        spec = known.get(command.name)
        if spec is None:
            raise NotFound(f"no server {command.name[:80]!r}", did_you_mean(command.name, known))
        return await self._doctor.examine(command.name, spec)
