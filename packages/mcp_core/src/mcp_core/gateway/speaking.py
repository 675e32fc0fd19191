"""Who may have the node's own model speak: its owner, who pays for it, and whoever holds the right to ask the assistant."""

from typing import Any, Final

from mcp_core.gateway.rights import denial
from mcp_core.tools.assistant import SERVER as ASSISTANT
from mcp_interface.address import Resource, tool_resource
from mcp_interface.capability import Context, Facts, SecurityKernel
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.trace import current_trace_id

NEEDED: Final[Resource] = tool_resource(ASSISTANT, "ask")
_COVERS: Final = frozenset({"allowed", "constraint_violated"})
"""Limits may allow other words than none."""


class Speaking:
    """Judges what is said to the node's own model.

    Args:
        kernel: Judges, counts uses, and puts it on record.
        owner: Of the node, who needs no right.
    """

    def __init__(self, kernel: SecurityKernel, owner: PrincipalId) -> None:
        self._kernel = kernel
        self._owner = owner

    def offered(self, who: PrincipalId) -> bool:
        """Whether somebody holds a right with which the model can be spoken to in some way; nothing is recorded."""
        if who == self._owner:
            return True
        handles = [self._kernel.handle_of(held.id, who) for held in self._kernel.held_by(who)]
        return any(self._kernel.validate(handle, who, NEEDED).reason in _COVERS for handle in handles)

    async def require(self, who: PrincipalId, session_id: SessionId, arguments: dict[str, Any]) -> None:
        """Return if somebody may say this; it is one use of their right, and on record before the model hears it.

        Args:
            who: The person for whom the model would speak.
            session_id: In which session.
            arguments: As the tool `assistant/ask` takes them: what limits are kept to.

        Raises:
            NotPermitted: They may not; the remedy is the grant.
        """
        if who == self._owner:
            return
        context = Context(session_id=session_id, trace_id=current_trace_id(), note="the node's own model")
        verdict = await self._kernel.authorize(who, NEEDED, context, facts=Facts(arguments=arguments))
        if not verdict.allowed:
            raise denial(who, NEEDED, verdict)
