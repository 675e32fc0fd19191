"""All that has to do with plans, put together for the node."""

from collections.abc import Sequence
from typing import Protocol

from mcp_core.agents.directory import Directory
from mcp_core.agents.tool_executor import Caller
from mcp_core.gateway.executions import Executions
from mcp_core.gateway.handlers.plans import PlanCommands
from mcp_core.gateway.plans.deciding import PlanDecisions
from mcp_core.gateway.plans.drafting import Drafting
from mcp_core.gateway.plans.dry_run import DryRuns
from mcp_core.gateway.plans.index import PlanIndex
from mcp_core.gateway.plans.ledger import PlanLedger
from mcp_core.gateway.plans.rights import PlanRights
from mcp_core.gateway.plans.running import PlanRuns
from mcp_core.gateway.plans.steps import Conversations, Steps
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.sight import Sight
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.tool_book import ToolBook
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.runtime.commit import Journal
from mcp_interface.capability import SecurityKernel
from mcp_interface.clock import Clock, Entropy
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.plan import Plan
from mcp_interface.planning import Step


class Rooms(Protocol):
    """What the node has built before (`mcp_core.node.Frame`)."""

    @property
    def sessions(self) -> Sessions:
        """In which plans are."""
        ...

    @property
    def directory(self) -> Directory:
        """Where the plans' agents live."""
        ...

    @property
    def toolbox(self) -> Toolbox:
        """Finds tools."""
        ...

    @property
    def book(self) -> ToolBook:
        """Pins tools, and knows refusals."""
        ...

    @property
    def executions(self) -> Executions:
        """Makes tool calls that outlive the process."""
        ...

    @property
    def plans(self) -> PlanIndex:
        """Has seen all sessions' events."""
        ...


class Below(Protocol):
    """What is below all rooms (`mcp_core.ground.Ground`)."""

    @property
    def kernel(self) -> SecurityKernel:
        """Mints and explains."""
        ...

    @property
    def journal(self) -> Journal:
        """Holds the sessions' streams."""
        ...

    @property
    def owner(self) -> PrincipalId:
        """Of the node, from whom nothing is hidden."""
        ...


class Planner:
    """The plans of one node.

    Args:
        rooms: What is there already.
        below: What that stands on.
        caller: Brings tool calls to the executor.
        conversations: Runs the assistants' turns.
        clock: Dates the events.
        entropy: Makes ids.
    """

    def __init__(
        self,
        rooms: Rooms,
        below: Below,
        caller: Caller,
        conversations: Conversations,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        sessions, index = rooms.sessions, rooms.plans
        ledger = PlanLedger(index, sessions, clock)
        drafting = Drafting(rooms.toolbox, Sight(below.kernel, rooms.toolbox, below.owner))
        speaking = Speaking(below.kernel, below.owner)
        rights = PlanRights(below.kernel, rooms.directory, drafting, rooms.book)
        steps = Steps(
            sessions, rooms.executions, caller, conversations, speaking, below.journal, clock, entropy
        )
        self.runs = PlanRuns(ledger, sessions, rights, steps)
        self._decisions = PlanDecisions(ledger, sessions, drafting, rights, self.runs, steps, entropy)
        dry_runs = DryRuns(below.kernel, drafting, rooms.book)
        self.commands = PlanCommands(index, sessions, self._decisions, dry_runs)

    async def draft(self, session_id: SessionId, by: PrincipalId, title: str, steps: Sequence[Step]) -> Plan:
        """Lay work out in a session, for the tool that agents have; as `PlanDecisions.draft`."""
        return await self._decisions.draft(session_id, by, title, steps)
