"""The plain worker: a principal with a mailbox, a state and no rights until somebody grants some.

It answers a message with what it has seen so far; what it may do is decided by its capabilities, and it is
used by acting through it (`umbrella call … --as`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from mcp_interface.agent import Ok, Reply, Skill, Stop
from mcp_interface.capability import Capability
from mcp_interface.codec import from_external, to_external
from mcp_interface.envelope import Envelope


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker remembers."""

    messages: int = 0
    rights: list[str] = []
    """Resource URIs in the order they were granted; past ones included."""


class Worker:
    """An `Agent` without a will of its own."""

    async def init(self, args: Mapping[str, Any]) -> Ok[WorkerState] | Stop[WorkerState]:
        """Begin with nothing."""
        return Ok(WorkerState())

    async def handle_message(
        self, envelope: Envelope, state: WorkerState
    ) -> Ok[WorkerState] | Reply[WorkerState] | Stop[WorkerState]:
        """Count it and say so."""
        state = msgspec.structs.replace(state, messages=state.messages + 1)
        return Reply({"messages": state.messages, "rights": state.rights}, state)

    async def handle_capability(
        self, capability: Capability, state: WorkerState
    ) -> Ok[WorkerState] | Stop[WorkerState]:
        """Remember the right."""
        return Ok(msgspec.structs.replace(state, rights=[*state.rights, capability.resource_uri][-100:]))

    async def terminate(self, reason: str, state: WorkerState) -> None:
        """Nothing to clean up."""

    def is_busy(self, state: WorkerState) -> bool:
        """Never: it does nothing by itself."""
        return False

    def detach(self) -> None:
        """Nothing goes on beside its messages."""

    def export_state(self, state: WorkerState) -> Mapping[str, Any]:
        """The state as plain data."""
        exported: Mapping[str, Any] = to_external(state)
        return exported

    def import_state(self, data: Mapping[str, Any]) -> WorkerState:
        """The state from plain data.

        Raises:
            InvalidRecord: It is not one.
        """
        return from_external(data, WorkerState)

    def skills(self) -> list[Skill]:
        """None of its own."""
        return []
