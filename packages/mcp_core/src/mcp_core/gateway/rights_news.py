"""Tells people whose rights have changed to look again at what they are offered.

The owner of a node sees everything in any case; of an agent the tools are looked up at each step. So this concerns other
people, mostly those who come with an API key over MCP, whose client would show the old lists until it is started anew.
"""

from collections.abc import Callable
from typing import Final, Literal

from mcp_interface.capability import Capability, SecurityKernel
from mcp_interface.client import OffersChanged, Passing
from mcp_interface.events import CapabilityGranted, CapabilityRevoked
from mcp_interface.ids import CapabilityId, PrincipalId, is_id
from mcp_interface.store import Record

ANY: Final = ""
"""As the server of a notice: what anybody offers may look otherwise now."""
_KINDS: Final[tuple[Literal["tools", "resources", "prompts"], ...]] = ("tools", "resources", "prompts")


class RightsNews:
    """Watches the records of rights; a projection of what each such person holds.

    Args:
        kernel: Knows the rights.
        publish: Where notices go on to.
        owner: Of the node, who is told nothing.
    """

    def __init__(
        self, kernel: SecurityKernel, publish: Callable[[Passing], None], owner: PrincipalId
    ) -> None:
        self._kernel = kernel
        self._publish = publish
        self._owner = owner
        self._held: dict[PrincipalId, set[CapabilityId]] = {}
        for capability in kernel.capabilities():
            self._keep(capability)

    def heard(self, record: Record) -> None:
        """Take in what has happened."""
        match record.event:
            case CapabilityGranted(capability=capability):
                if self._keep(capability):  # the kernel itself knows it a moment later
                    self._tell(capability.principal_id)
            case CapabilityRevoked():
                # a right is gone for the kernel before that is on record, with all that was derived from it
                for person, before in list(self._held.items()):
                    now = {capability.id for capability in self._kernel.held_by(person)}
                    if before - now:
                        self._held[person] = before & now
                        self._tell(person)

    def _keep(self, capability: Capability) -> bool:
        """Remember what somebody holds; False for those whom this does not concern."""
        person = capability.principal_id
        if person == self._owner or not is_id("user", person):
            return False
        self._held.setdefault(person, set()).add(capability.id)
        return True

    def _tell(self, person: PrincipalId) -> None:
        for kind in _KINDS:
            self._publish(OffersChanged(server=ANY, kind=kind, principal_id=person))
