"""What people decide about plans: lay one out, change it, allow it, say how it goes on, end it.

Whoever asks is known to be entitled; see `mcp_core.gateway.handlers.plans`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from mcp_core.gateway.plans.drafting import Drafting
from mcp_core.gateway.plans.ledger import PlanLedger
from mcp_core.gateway.plans.rights import PlanRights
from mcp_core.gateway.plans.running import PlanRuns
from mcp_core.gateway.plans.state import Held, check_draft, check_move, check_waits
from mcp_core.gateway.plans.steps import Steps
from mcp_core.gateway.sessions import Sessions
from mcp_interface.clock import Entropy
from mcp_interface.errors import Interrupted, OurBug, TooMuch, WrongState
from mcp_interface.events import PlanDrafted, PlanMoved
from mcp_interface.execution import REASON_CANCELLED
from mcp_interface.ids import PlanId, PrincipalId, SessionId, new_id
from mcp_interface.plan import PLAN_ENDED, CheckpointStep, Plan
from mcp_interface.planning import Step
from mcp_interface.session import Session, check_open

MAX_OPEN: Final = 20
"""Plans of one session that are not over, drafts included: a model that drafts without end is told to stop."""


class PlanDecisions:
    """Lets plans be drafted, allowed, answered and ended.

    Args:
        ledger: Where their moves are put on record.
        sessions: In which they are.
        drafting: Lays them out.
        rights: Gives them what they need.
        runs: Carries them out.
        steps: Cancels what runs of them.
        entropy: Makes ids.
    """

    def __init__(
        self,
        ledger: PlanLedger,
        sessions: Sessions,
        drafting: Drafting,
        rights: PlanRights,
        runs: PlanRuns,
        steps: Steps,
        entropy: Entropy,
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._drafting = drafting
        self._rights = rights
        self._runs = runs
        self._steps = steps
        self._entropy = entropy

    async def draft(self, session_id: SessionId, by: PrincipalId, title: str, steps: Sequence[Step]) -> Plan:
        """Lay work out in a session; durable when this returns, and nothing of it is done.

        Raises:
            CallerMistaken: A step cannot be; names it.
            WrongState: Nothing begins in the session, or nobody is asked there.
            TooMuch: The session has too many plans that are not over.
        """
        session = self._open(session_id)
        if len(self._ledger.index.open(session_id)) >= MAX_OPEN:
            raise TooMuch(
                f"{session_id} has {MAX_OPEN} plans that are not over",
                "end some: umbrella plan cancel ID",
                {"bound": "open_plans", "most": MAX_OPEN},
            )
        plan = Plan(
            id=PlanId(new_id("plan", self._entropy)),
            session_id=session_id,
            by=by,
            title=title,
            steps=await self._drafting.lay_out(steps, session),
            created_at=self._ledger.clock.now(),
        )
        await self._ledger.add(session_id, PlanDrafted(timestamp=plan.created_at, plan=plan))
        return plan

    async def change(self, plan_id: PlanId, by: PrincipalId, steps: Sequence[Step]) -> Plan:
        """Replace the steps of a draft; it is then by who changed it.

        Raises:
            WrongState: It is no draft any more.
            CallerMistaken: As `draft`.
        """
        async with self._ledger.lock(plan_id):
            plan = self._ledger.known(plan_id).plan
            check_draft(plan)
            laid_out = await self._drafting.lay_out(steps, self._open(plan.session_id))
            plan = msgspec.structs.replace(plan, steps=laid_out, by=by)
            await self._ledger.add(
                plan.session_id, PlanDrafted(timestamp=self._ledger.clock.now(), plan=plan)
            )
        return plan

    async def approve(self, plan_id: PlanId, by: PrincipalId, *, stepwise: bool) -> Plan:
        """Let a draft be carried out, with the rights of all steps, or of each when a person says go on.

        Raises:
            WrongState: It is no draft, its session is closed, or a tool is not what it was.
            NotPermitted: The person cannot hand on what the steps need; nothing is handed on then.
        """
        async with self._ledger.lock(plan_id):
            plan = self._ledger.known(plan_id).plan
            check_move(plan, "approved")
            session = self._open(plan.session_id)
            agent = await self._rights.hire(plan, session, () if stepwise else range(len(plan.steps)))
            try:
                await self._ledger.add(
                    plan.session_id,
                    self._ledger.moved(plan, by, "approved", stepwise=stepwise),
                    self._ledger.moved(plan, agent, "executing", stepwise=stepwise),
                )
            except BaseException:
                await asyncio.shield(self._rights.dismiss(agent, "its plan was not approved"))
                raise
        self._runs.ensure(plan_id)
        return self._ledger.known(plan_id).plan

    async def answer(self, plan_id: PlanId, by: PrincipalId, answer: str, shown: int | None = None) -> Plan:
        """Say how a plan goes on that asks: `go_on`, `skip` or `stop`; `shown` is the step that was looked at.

        Raises:
            WrongState: It asks nothing, or about another step by now, or its session is closed.
            NotPermitted: The step's rights cannot be handed on; it asks still.
        """
        if answer == "stop":
            check_waits(self._ledger.known(plan_id).plan)
            return await self.cancel(plan_id, by)
        async with self._ledger.lock(plan_id):
            held = self._ledger.known(plan_id)
            plan, number = held.plan, check_waits(held.plan)
            if shown is not None and shown != number:
                raise WrongState(
                    f"{plan.id} asks about step {number + 1} by now, not about step {shown + 1}",
                    f"look at it: umbrella plan show {plan.id}",
                    {"step": number},
                )
            session = self._open(plan.session_id)
            heard = self._ledger.moved(plan, by)
            if answer == "skip":
                await self._ledger.add(session.id, heard, self._ledger.step(plan, number, "skipped"))
            elif isinstance(plan.steps[number].work, CheckpointStep):
                passed = self._ledger.step(plan, number, "completed", result="a person said to go on")
                await self._ledger.add(session.id, heard, passed)
            else:
                await self._allow(held, session, number, heard)
        self._runs.stir(plan_id)
        return self._ledger.known(plan_id).plan

    async def _allow(self, held: Held, session: Session, number: int, heard: PlanMoved) -> None:
        """Give a step its rights and put its beginning on record with the answer, or neither."""
        if held.runs_as is None:
            raise OurBug(f"{held.plan.id} is carried out by nobody")
        await self._rights.give(held.plan, session, held.runs_as, number)
        try:
            await self._runs.begin(held, session, number, heard)
        except BaseException:
            await asyncio.shield(self._rights.take_back(held.runs_as))
            raise

    async def cancel(self, plan_id: PlanId, by: PrincipalId) -> Plan:
        """End a plan, its rights, and the step that runs; harmless when it has ended.

        Raises:
            NotFound: There is none.
        """
        async with self._ledger.lock(plan_id):
            held = await self._ledger.index.read(plan_id)
            plan = held.plan
            if plan.status in PLAN_ENDED:
                return plan
            reason = {"reason": REASON_CANCELLED}
            error = Interrupted(f"{plan_id} was cancelled", "it may have taken effect already", reason).body()
            running = [number for number, step in enumerate(plan.steps) if step.status == "running"]
            cut = [self._ledger.step(plan, number, "failed", error=error) for number in running]
            await self._ledger.add(plan.session_id, *cut, self._ledger.moved(plan, by, "cancelled"))
        # shielded: what is on record is done, whoever still waits for it
        await asyncio.shield(asyncio.ensure_future(self._let_go(held, running)))
        self._runs.stir(plan_id)
        return self._ledger.known(plan_id).plan

    async def _let_go(self, held: Held, running: Sequence[int]) -> None:
        """Rights first: whatever still runs, nothing begins with them any more."""
        if held.runs_as is not None:
            await self._rights.dismiss(held.runs_as, "its plan was cancelled")
        for number in running:
            await self._steps.cancel(held, number)

    def _open(self, session_id: SessionId) -> Session:
        session = self._sessions.get(session_id)
        check_open(session)
        if session.lineage is not None:
            raise WrongState(
                f"{session_id} belongs to an agent's task, and nobody is asked there",
                "lay the work out in the conversation that the task comes from",
                {"status": session.status},
            )
        return session
