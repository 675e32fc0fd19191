"""Brings an envelope to the agent it is addressed to.

Whoever sends names an address and never holds an actor. An agent that sleeps since the last start of the node is
woken by its first message.
"""

from typing import Any

from mcp_core.agents.directory import Directory
from mcp_core.runtime.ref import ASK_TIMEOUT, Ref
from mcp_interface.address import parse_address
from mcp_interface.envelope import Envelope
from mcp_interface.errors import NotFound, UmbrellaError
from mcp_interface.ids import AgentId
from mcp_interface.telemetry import Telemetry


class Router:
    """Delivers on one node."""

    def __init__(self, directory: Directory, telemetry: Telemetry) -> None:
        self._directory = directory
        self._telemetry = telemetry

    def tell(self, envelope: Envelope) -> None:
        """Deliver without an answer.

        Raises:
            InvalidRecord: The envelope breaks a rule.
            NotFound: No such agent is running, or nobody listens to the topic.
            TooMuch: Its mailbox is full.
        """
        try:
            self._find(envelope).tell(envelope)
        except UmbrellaError as error:
            self._dropped(envelope, error)
            raise
        self._sent(envelope)

    async def ask(self, envelope: Envelope, timeout: float = ASK_TIMEOUT) -> Any:
        """Deliver and wait for the answer.

        Args:
            envelope: What to deliver.
            timeout: Seconds for everything together.

        Raises:
            InvalidRecord: The envelope breaks a rule.
            NotFound: No such agent is running, or nobody listens to the topic.
            UmbrellaError: What the agent raised, or no answer in time.
        """
        try:
            ref = self._find(envelope)
        except UmbrellaError as error:
            self._dropped(envelope, error)
            raise
        self._sent(envelope)
        return await ref.ask(envelope, timeout)

    def _find(self, envelope: Envelope) -> Ref:
        envelope.validate()
        address = parse_address(envelope.to)
        if address.kind == "broadcast":
            raise NotFound(f"nobody listens to {envelope.to}", "send to an agent: mcp://agent/<id>")
        return self._directory.ref(AgentId(address.name))

    def _sent(self, envelope: Envelope) -> None:
        names = {"to": envelope.to, "sender": envelope.sender, "session_id": envelope.session_id}
        self._telemetry.emit("mcp.message.sent", {}, names)

    def _dropped(self, envelope: Envelope, error: UmbrellaError) -> None:
        names = {"to": envelope.to, "sender": envelope.sender, "reason": error.code}
        self._telemetry.emit("mcp.message.dropped", {}, names)
