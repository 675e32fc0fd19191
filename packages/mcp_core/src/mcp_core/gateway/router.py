"""Brings an envelope to the agent it is addressed to, or to everyone who listens to its topic.

Whoever sends names an address and never holds an actor. A message is judged before it is delivered; what is not
delivered is a dead letter with the reason. An agent that sleeps is woken by its first message.
"""

from typing import Any, Final

from mcp_core.agents.base import Refused
from mcp_core.agents.directory import Directory
from mcp_core.gateway.passes import Passes
from mcp_core.runtime.cell import CALL_TIMEOUT_S, Ref
from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.groups import Groups
from mcp_interface.address import Address, parse_address
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, NotPermitted, UmbrellaError
from mcp_interface.ids import AgentId
from mcp_interface.telemetry import Telemetry
from mcp_interface.trace import current_trace

OPEN_TO_ALL: Final = "tool_executor"
"""Agents of this type judge what is inside a message themselves."""


class Router:
    """Delivers on one node.

    Args:
        directory: Where the agents are.
        passes: Who may send to whom.
        groups: Who listens to which topic.
        letters: Where messages go that reach nobody.
        telemetry: Told of each message.
    """

    def __init__(
        self,
        directory: Directory,
        passes: Passes,
        groups: Groups,
        letters: DeadLetters,
        telemetry: Telemetry,
    ) -> None:
        self._directory = directory
        self._passes = passes
        self._groups = groups
        self._letters = letters
        self._sent = telemetry.emitter("mcp.message.sent")

    async def tell(self, envelope: Envelope) -> int:
        """Deliver without an answer.

        Returns:
            How many got it; more than one for a topic only.

        Raises:
            InvalidRecord: The envelope breaks a rule.
            CallerMistaken: It is for the tool executor, which is asked.
            NotFound: No such agent is running, or nobody listens to the topic.
            NotPermitted: The sender may not send there.
            TooMuch: The agent's mailbox is full.
        """
        envelope = _traced(envelope)
        try:
            return await self._tell(envelope)
        except UmbrellaError as error:
            self._lose(envelope, error)
            raise

    async def tell_again(self, envelope: Envelope, only: AgentId | None = None) -> int:
        """As `tell`, of a dead letter: judged anew, and not kept a second time when it is not delivered.

        Args:
            envelope: As it was sent.
            only: The one of those it was for who did not get it; None are all.
        """
        return await self._tell(envelope, only)

    async def _tell(self, envelope: Envelope, only: AgentId | None = None) -> int:
        address = await self._admit(envelope)
        count = 1
        if only is not None:
            self._directory.ref(only).tell(envelope)
        elif address.kind == "broadcast":
            count = self._groups.publish_to(envelope.to, envelope, envelope.sender)
        elif self._is_open(address):  # whom everybody may send to, nobody may send what it cannot refuse
            raise CallerMistaken(f"{envelope.to} answers each message", "ask it, and wait for the answer")
        else:
            self._ref(address).tell(envelope)
        self._note_sent(envelope)
        return count

    async def ask(self, envelope: Envelope, timeout: float = CALL_TIMEOUT_S) -> Any:
        """Deliver and wait for the answer.

        Args:
            envelope: What to deliver, to one agent.
            timeout: Seconds for everything together.

        Raises:
            InvalidRecord: The envelope breaks a rule.
            CallerMistaken: It is addressed to a topic.
            NotFound: No such agent is running.
            NotPermitted: The sender may not send there.
            UmbrellaError: What the agent raised, `CallerMistaken` if it does not take this; or no answer in time.
        """
        envelope = _traced(envelope)
        try:
            address = await self._admit(envelope)
            if address.kind == "broadcast":
                raise CallerMistaken(f"{envelope.to} has many who could answer", "tell it, or ask one agent")
            ref = self._ref(address)
        except UmbrellaError as error:
            self._lose(envelope, error)
            raise
        self._note_sent(envelope)
        reply = await ref.call(envelope, timeout=timeout)
        if isinstance(reply, Refused):
            raise reply.error
        return reply

    async def _admit(self, envelope: Envelope) -> Address:
        envelope.validate()
        address = parse_address(envelope.to)
        if not self._passes.holds(envelope) and not self._is_open(address):
            await self._passes.check(envelope, address)
        return address

    def _is_open(self, address: Address) -> bool:
        return address.kind == "agent" and self._directory.type_of(AgentId(address.name)) == OPEN_TO_ALL

    def _ref(self, address: Address) -> Ref[Any]:
        return self._directory.ref(AgentId(address.name))

    def _lose(self, envelope: Envelope, error: UmbrellaError) -> None:
        """Keep what was not delivered; what its sender may not send is on record in the audit instead."""
        if not isinstance(error, NotPermitted):
            self._letters.record(envelope.to, envelope, error.code, envelope.sender)

    def _note_sent(self, envelope: Envelope) -> None:
        if self._sent.on:
            names = {"to": envelope.to, "sender": envelope.sender, "session_id": envelope.session_id}
            self._sent.emit({}, names)


def _traced(envelope: Envelope) -> Envelope:
    """Let an envelope that names no trace carry that of its sender across the mailbox."""
    trace = current_trace()
    return envelope if trace is None or envelope.trace_id is not None else envelope.within(trace)
