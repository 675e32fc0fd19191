"""Commands about plans: each for the person whose session it is, and nobody else.

An agent or a model may lay a plan out (`mcp_core.tools.planning`); none of what is here is open to it, least of
all to approve.
"""

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.paging import Place, page_behind, place_at
from mcp_core.gateway.plans.deciding import PlanDecisions
from mcp_core.gateway.plans.dry_run import DryRuns
from mcp_core.gateway.plans.index import PlanIndex, unknown
from mcp_core.gateway.sessions import Sessions
from mcp_interface.commands import Page
from mcp_interface.errors import NotFound, NotPermitted
from mcp_interface.ids import PlanId, PrincipalId, is_id
from mcp_interface.plan import DryStep, Plan
from mcp_interface.planning import (
    AnswerStep,
    ApprovePlan,
    CancelPlan,
    ChangePlan,
    DraftPlan,
    DryRunPlan,
    GetPlan,
    ListPlans,
)
from mcp_interface.session import Session


class PlanCommands:
    """Handlers over the plans of a node.

    Args:
        index: All plans.
        sessions: Say whose they are.
        decisions: Carries out what is decided.
        dry_runs: Looks without touching.
    """

    def __init__(
        self, index: PlanIndex, sessions: Sessions, decisions: PlanDecisions, dry_runs: DryRuns
    ) -> None:
        self._index = index
        self._sessions = sessions
        self._decisions = decisions
        self._dry_runs = dry_runs

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            DraftPlan: self.draft,
            GetPlan: self.get,
            ListPlans: self.listed,
            ChangePlan: self.change,
            DryRunPlan: self.dry_run,
            ApprovePlan: self.approve,
            AnswerStep: self.answer,
            CancelPlan: self.cancel,
        }

    async def draft(self, who: PrincipalId, command: DraftPlan) -> Plan:
        """Lay a plan out in one of the caller's sessions."""
        _require_person(who)
        session = self._sessions.get(command.session_id, who)
        return await self._decisions.draft(session.id, who, command.title, command.steps)

    async def get(self, who: PrincipalId, command: GetPlan) -> Plan:
        """One plan."""
        await self._session(who, command.plan_id)
        return (await self._index.read(command.plan_id)).plan

    async def listed(self, who: PrincipalId, command: ListPlans) -> Page[Plan]:
        """The caller's plans, latest first."""
        if command.session_id is not None:
            await self._sessions.find(command.session_id, who)
        mine = [
            held.plan
            for held in self._index.listed()
            if command.session_id in {None, held.plan.session_id} and self._owns(who, held.plan)
        ]
        mine.sort(key=_place_of, reverse=True)
        return page_behind(mine, _place_of, command.limit, command.cursor, falling=True)

    async def change(self, who: PrincipalId, command: ChangePlan) -> Plan:
        """Replace the steps of a draft."""
        await self._session(who, command.plan_id)
        return await self._decisions.change(command.plan_id, who, command.steps)

    async def dry_run(self, who: PrincipalId, command: DryRunPlan) -> list[DryStep]:
        """What each step would meet."""
        session = await self._session(who, command.plan_id)
        return await self._dry_runs.run((await self._index.read(command.plan_id)).plan, session)

    async def approve(self, who: PrincipalId, command: ApprovePlan) -> Plan:
        """Let a plan be carried out."""
        await self._session(who, command.plan_id)
        return await self._decisions.approve(command.plan_id, who, stepwise=command.stepwise)

    async def answer(self, who: PrincipalId, command: AnswerStep) -> Plan:
        """Say how a plan goes on."""
        await self._session(who, command.plan_id)
        return await self._decisions.answer(command.plan_id, who, command.answer, command.step)

    async def cancel(self, who: PrincipalId, command: CancelPlan) -> Plan:
        """End a plan."""
        await self._session(who, command.plan_id)
        return await self._decisions.cancel(command.plan_id, who)

    async def _session(self, who: PrincipalId, plan_id: PlanId) -> Session:
        """The session of a plan, if it is the caller's.

        Raises:
            NotFound: There is no such plan, or it is somebody else's.
            NotPermitted: The caller is no person.
        """
        session_id = self._index.session_of(plan_id)
        if session_id is None:
            raise unknown(plan_id)
        try:
            session = await self._sessions.find(session_id, who)
        except NotFound:
            raise unknown(plan_id) from None
        _require_person(who)
        return session

    def _owns(self, who: PrincipalId, plan: Plan) -> bool:
        try:
            return self._sessions.get(plan.session_id).created_by == who
        except NotFound:  # it has ended long ago
            return False


def _require_person(who: PrincipalId) -> None:
    if not is_id("user", who):
        raise NotPermitted(f"{who} is no person, and plans are theirs to decide about", "ask the person")


def _place_of(plan: Plan) -> Place:
    return place_at(plan.created_at, plan.id)
