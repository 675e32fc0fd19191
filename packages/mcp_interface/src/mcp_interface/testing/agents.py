"""The smallest useful agent: it says back what it is told and counts."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mcp_interface.agent import Ok, Reply, Skill, SkillParameter, Stop
from mcp_interface.capability import Capability
from mcp_interface.codec import from_external, to_external
from mcp_interface.envelope import Envelope
from mcp_interface.ids import CapabilityId


class EchoState(msgspec.Struct, frozen=True, kw_only=True):
    """What an echo agent remembers."""

    greeting: str
    handled: int
    rights: list[CapabilityId]


class EchoAgent:
    """Replies with the payload; the payload `"stop"` ends it, `"fail"` crashes it."""

    def __init__(self) -> None:
        self.ended_because: str | None = None

    async def init(self, args: Mapping[str, Any]) -> Ok[EchoState] | Stop[EchoState]:
        """Begin with the argument `greeting`, or decline when `decline` gives a reason."""
        if "decline" in args:
            return Stop(str(args["decline"]))
        return Ok(EchoState(greeting=str(args.get("greeting", "")), handled=0, rights=[]))

    async def handle_message(
        self, envelope: Envelope, state: EchoState
    ) -> Ok[EchoState] | Reply[EchoState] | Stop[EchoState]:
        """Reply with the payload, and count."""
        if envelope.payload == "fail":
            raise RuntimeError("asked to fail")
        counted = msgspec.structs.replace(state, handled=state.handled + 1)
        if envelope.payload == "stop":
            return Stop("normal", counted)
        return Reply(envelope.payload, counted)

    async def handle_capability(self, capability: Capability, state: EchoState) -> Ok[EchoState]:
        """Remember the id of the new right."""
        return Ok(msgspec.structs.replace(state, rights=[*state.rights, capability.id]))

    async def terminate(self, reason: str, state: EchoState) -> None:
        """Remember why it ended, for the test to see."""
        self.ended_because = reason

    def is_busy(self, state: EchoState) -> bool:
        """Never: it only answers."""
        return False

    def detach(self) -> None:
        """Nothing goes on beside its messages."""

    def export_state(self, state: EchoState) -> Mapping[str, Any]:
        """Return the state as plain data."""
        exported: Mapping[str, Any] = to_external(state)
        return exported

    def import_state(self, data: Mapping[str, Any]) -> EchoState:
        """Rebuild an exported state."""
        state: EchoState = from_external(data, EchoState)
        return state

    def skills(self) -> list[Skill]:
        """The one thing it can do."""
        return [
            Skill(
                name="echo",
                description="Say back what it is told.",
                parameters=[SkillParameter(name="payload", description="Anything.")],
            )
        ]
