"""Where the moves of plans are put on record: one writer at a time for each plan, known to the node at once."""

import asyncio
from collections.abc import Callable
from weakref import WeakValueDictionary

from mcp_core.gateway.plans.index import PlanIndex, unknown
from mcp_core.gateway.plans.state import Held
from mcp_core.gateway.sessions import Sessions
from mcp_interface.clock import Clock
from mcp_interface.errors import ErrorBody
from mcp_interface.events import PlanMoved, SessionEvent, StepMoved
from mcp_interface.ids import PlanId, PrincipalId, SessionId
from mcp_interface.plan import PLAN_ENDED, Plan, PlanStatus, StepStatus


class PlanLedger:
    """Writes events of plans.

    Args:
        index: Moved on with each of them.
        sessions: In whose streams they lie.
        clock: Dates them.
    """

    def __init__(self, index: PlanIndex, sessions: Sessions, clock: Clock) -> None:
        self.index = index
        self._sessions = sessions
        self.clock = clock
        self._locks: WeakValueDictionary[PlanId, asyncio.Lock] = WeakValueDictionary()

    def lock(self, plan_id: PlanId) -> asyncio.Lock:
        """Held while something is decided about a plan and put on record."""
        lock = self._locks.get(plan_id)
        if lock is None:
            lock = self._locks[plan_id] = asyncio.Lock()
        return lock

    def known(self, plan_id: PlanId) -> Held:
        """A plan that is not over, or was lately.

        Raises:
            NotFound: There is none.
        """
        held = self.index.get(plan_id)
        if held is None:
            raise unknown(plan_id)
        return held

    async def add(self, session_id: SessionId, *events: SessionEvent) -> None:
        """Journal events of one plan, all or none; finished also when whoever waits is cancelled.

        Raises:
            WrongState: The session takes nothing of this any more.
            StorageUnavailable: They may or may not be in the journal.
        """
        await asyncio.shield(asyncio.ensure_future(self._write(session_id, events)))

    async def _write(self, session_id: SessionId, events: tuple[SessionEvent, ...]) -> None:
        for record in await self._sessions.add(session_id, *events):
            self.index.heard(record)

    async def commit(self, plan: Plan, decide: Callable[[Plan], list[SessionEvent]]) -> None:
        """Journal what is decided by a plan as it is now, if it is not over."""
        async with self.lock(plan.id):
            now = self.known(plan.id).plan
            if now.status not in PLAN_ENDED and (events := decide(now)):
                await self.add(plan.session_id, *events)

    def moved(
        self,
        plan: Plan,
        by: PrincipalId,
        status: PlanStatus = "executing",
        *,
        waits: str = "",
        stepwise: bool = False,
        error: ErrorBody | None = None,
    ) -> PlanMoved:
        """The event of a plan that becomes something, or waits, or waits no longer."""
        return PlanMoved(
            timestamp=self.clock.now(),
            plan_id=plan.id,
            status=status,
            by=by,
            stepwise=stepwise,
            waits=waits,
            error=error,
        )

    def step(
        self,
        plan: Plan,
        number: int,
        status: StepStatus,
        *,
        result: str = "",
        error: ErrorBody | None = None,
    ) -> StepMoved:
        """The event of a step that begins or ends."""
        return StepMoved(
            timestamp=self.clock.now(),
            plan_id=plan.id,
            step=number,
            status=status,
            execution_id=plan.steps[number].execution_id,
            result=result,
            error=error,
        )
