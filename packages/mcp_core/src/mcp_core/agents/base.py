"""The actor that hosts an agent: runs its callbacks, keeps its exported state, ends when it says so."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mcp_core.runtime.light import Actor
from mcp_interface.agent import Agent, AgentRecord, Ok, Reply, Stop
from mcp_interface.capability import Capability
from mcp_interface.clock import Clock
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.store import KeyValueStore
from mcp_interface.telemetry import Telemetry
from mcp_interface.trace import tracing

log = logging.getLogger(__name__)


class Learn(msgspec.Struct, frozen=True):
    """Tell: a right has been granted to this agent."""

    capability: Capability


class Refused(msgspec.Struct, frozen=True):
    """Reply: the agent does not take this message, and is as it was.

    A value, because what an actor raises over a message that nobody waits for ends it: whoever may send to an agent
    could end it with nonsense.
    """

    error: CallerMistaken


class AgentActor(Actor):
    """Hosts one `Agent`. Its exported state is saved after each message, in order, and restored at a restart."""

    passivates = True
    interruptible = False  # a message that an agent has begun to handle is handled

    def __init__(
        self,
        record: AgentRecord,
        agent: Agent[Any],
        states: KeyValueStore,
        ended: Callable[[str], None],
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        super().__init__()
        self._record = record
        self._agent = agent
        self._states = states
        self._ended = ended
        self._received = telemetry.emitter("mcp.message.received")
        self._handled = telemetry.emitter("mcp.agent.message_handled")
        self._clock = clock
        self._key = f"agent-state:{record.id}"
        self._state: Any = None
        self._saved: Mapping[str, Any] | None = None
        self._reason = "normal"

    async def on_start(self) -> None:
        """Run the agent's own start, or restore what was saved."""
        try:
            self._saved = await self._states.get(self._key)
        except NotFound:
            outcome = await self._agent.init({"id": self._record.id, **self._record.metadata})
            await self._settle(outcome)
        else:
            self._state = self._agent.import_state(self._saved or {})

    async def on_receive(self, message: Any) -> Any:
        """Hand envelopes and rights to the agent; an envelope's trace holds until it is done with.

        Returns:
            The agent's reply; `Refused` when the sender is mistaken.
        """
        match message:
            case Envelope():
                with tracing(message.trace):
                    try:
                        outcome = await self._handle(message)
                    except CallerMistaken as error:
                        return self._refuse(error)
                    return await self._settle(outcome)
            case Learn():
                return await self._settle(
                    await self._agent.handle_capability(message.capability, self._state)
                )
        return self._refuse(CallerMistaken(f"agents take envelopes, not {type(message).__name__}"))

    def _refuse(self, error: CallerMistaken) -> Refused:
        log.warning(
            "%s refuses a message: %s", self._record.id, error
        )  # a sender that only told hears nothing
        return Refused(error)

    async def _handle(self, envelope: Envelope) -> Ok[Any] | Reply[Any] | Stop[Any]:
        if self._received.on:
            names = {"to": envelope.to, "sender": envelope.sender, "session_id": envelope.session_id}
            self._received.emit({}, names)
        began = self._clock.monotonic()
        outcome = await self._agent.handle_message(envelope, self._state)
        if self._handled.on:
            self._handled.emit(
                {"duration_s": self._clock.monotonic() - began},
                {"agent_id": self._record.id, "type": self._record.type},
            )
        return outcome

    def may_rest(self) -> bool:
        """Not while the agent does something by itself."""
        return not self._agent.is_busy(self._state)

    def on_leave(self) -> None:
        """End what the agent does beside its messages: its successor goes on with it."""
        self._agent.detach()

    async def on_stop(self) -> None:
        """Let the agent clean up."""
        await self._agent.terminate(self._reason, self._state)

    async def _settle(self, outcome: Ok[Any] | Reply[Any] | Stop[Any]) -> Any:
        if isinstance(outcome, Stop):
            self._state = self._state if outcome.state is None else outcome.state
            self._reason = outcome.reason
            self._ended(outcome.reason)
            return None
        self._state = outcome.state
        exported = dict(self._agent.export_state(self._state))
        if exported != self._saved:
            await self._states.put(self._key, exported)
            self._saved = exported
        return outcome.value if isinstance(outcome, Reply) else None
