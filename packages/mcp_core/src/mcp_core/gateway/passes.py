"""Whether an agent may send a message, judged before it is delivered.

A message needs `mcp://agent/write/<id of the agent>` or `mcp://agent/write/broadcast/<topic>`. People and the node
send by what they may command; the tool executor takes messages from all, because it judges the call inside them.
"""

from collections import OrderedDict
from typing import Final

from mcp_core.gateway.rights import denial
from mcp_interface.address import Address, Resource, parse_address, resource
from mcp_interface.approval import HANDING_ON
from mcp_interface.capability import Context, Sealed, SecurityKernel
from mcp_interface.envelope import Envelope
from mcp_interface.ids import PrincipalId, is_id, is_principal

KEPT: Final = 10_000
"""Pairs of sender and receiver whose right is remembered; it is judged anew for each message."""


class Passes:
    """Judges messages.

    Args:
        kernel: By which rights.
    """

    def __init__(self, kernel: SecurityKernel) -> None:
        self._kernel = kernel
        self._known: OrderedDict[tuple[str, str], tuple[Sealed, Resource]] = OrderedDict()

    def holds(self, envelope: Envelope) -> bool:
        """Whether a right that needs no counting allows this, as far as is known without looking further."""
        if not is_id("agent", envelope.sender):
            return is_principal(envelope.sender)  # an agent may also be named by its address
        known = self._known.get((envelope.sender, envelope.to))
        if known is None:
            return False
        return self._kernel.validate(known[0], PrincipalId(envelope.sender), known[1]).allowed

    async def check(self, envelope: Envelope, address: Address) -> None:
        """Return if the message may be delivered; a denial is on record before it is raised.

        Raises:
            NotPermitted: The sender lacks the right; the remedy is the grant.
        """
        named = envelope.sender
        sender = PrincipalId(named if is_principal(named) else parse_address(named).name)
        path = address.name if address.kind == "agent" else f"broadcast/{address.name}"
        needed = resource("agent", "write", path)
        for held in self._kernel.held_by(sender):
            if held.metadata.get("for") == HANDING_ON:
                continue  # it is for somebody below, and allows its holder nothing
            handle = self._kernel.handle_of(held.id, sender)
            verdict = self._kernel.validate(handle, sender, needed)
            if verdict.allowed and not verdict.limits:
                self._remember((envelope.sender, envelope.to), handle, needed)
                return
        context = Context(session_id=envelope.session_id, trace_id=envelope.trace_id, note="message")
        verdict = await self._kernel.authorize(sender, needed, context)
        if not verdict.allowed:
            raise denial(sender, needed, verdict)

    def _remember(self, pair: tuple[str, str], handle: Sealed, needed: Resource) -> None:
        self._known[pair] = (handle, needed)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
