"""Carrying plans out: one step at a time, each on record before and after, over any death of the node.

What is to be done next is read off the plan's events (`state.next_move`), so a process that dies leaves nothing
behind that the next one would have to guess: a step that has begun is attended to, not begun again. Its tool call
is a journaled one of the plan's own agent (`mcp_core.gateway.executions`), which the next process takes up,
repeats, or closes as interrupted; in the last case the plan has failed.
"""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

from mcp_core.gateway.plans.conditions import holds
from mcp_core.gateway.plans.ledger import PlanLedger
from mcp_core.gateway.plans.rights import PlanRights
from mcp_core.gateway.plans.state import (
    Ask,
    Attend,
    Begin,
    Finish,
    GiveUp,
    Held,
    Look,
    Rest,
    Wait,
    next_move,
)
from mcp_core.gateway.plans.steps import Outcome, Steps
from mcp_core.gateway.sessions import Sessions
from mcp_interface.errors import (
    ErrorBody,
    Interrupted,
    NodeUnavailable,
    StorageUnavailable,
    UmbrellaError,
    WrongState,
)
from mcp_interface.events import (
    ExecutionChanged,
    PlanMoved,
    SessionEnded,
    SessionEnding,
    SessionEvent,
    SessionResumed,
    StepMoved,
    TurnEnded,
)
from mcp_interface.ids import SYSTEM, PlanId, PrincipalId, SessionId
from mcp_interface.plan import PLAN_ENDED, ConditionalStep, Plan, StepStatus
from mcp_interface.session import Session, check_open
from mcp_interface.store import Record

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
"""Seconds until something is tried again that the journal did not take."""
LOOK_S: Final = 60.0
"""Seconds after which a plan that waits looks around, should it have missed something."""
STIRS: Final = (
    ExecutionChanged,
    TurnEnded,
    SessionResumed,
    SessionEnding,
    SessionEnded,
    PlanMoved,
    StepMoved,
)
"""Events of a session at which its plans look whether they can go on."""


class PlanRuns:
    """Carries the plans of one node out.

    Args:
        ledger: Where their moves are put on record.
        sessions: Say whether something may begin.
        rights: Takes back what the steps needed.
        steps: Begins steps and sees them end.
    """

    def __init__(self, ledger: PlanLedger, sessions: Sessions, rights: PlanRights, steps: Steps) -> None:
        self._ledger = ledger
        self._index = ledger.index
        self._sessions = sessions
        self._rights = rights
        self._steps = steps
        self._runs: dict[PlanId, asyncio.Task[None]] = {}
        self._stirred: dict[PlanId, asyncio.Event] = {}
        self._taking_up: asyncio.Task[None] | None = None
        self._closing = False
        sessions.watch(self._heard)

    async def settle(self) -> None:
        """End what an earlier process left of plans that are over, or whose approval was cut off.

        To be awaited before any tool call of that process goes on: one that belongs to no step any more finds no
        right, and is cancelled before it begins.
        """
        for agent, plan_id in self._rights.agents():
            held = self._index.get(plan_id)
            known = self._index.session_of(plan_id) == agent.session_id
            if known and (
                held is None or held.plan.status in PLAN_ENDED or held.runs_as != PrincipalId(agent.id)
            ):
                await self._rights.dismiss(PrincipalId(agent.id), "its plan is over")
        for held in self._index.open():
            self._steps.drop_strays(held)

    def go_on(self, connected: "asyncio.Future[Any]") -> None:
        """Take up the plans that an earlier process was carrying out, once their tools can be found."""
        self._taking_up = asyncio.get_running_loop().create_task(self._take_up(connected))

    async def _take_up(self, connected: "asyncio.Future[Any]") -> None:
        await asyncio.wait([connected])
        for held in self._index.open():
            self.ensure(held.plan.id)

    async def close(self) -> None:
        """Carry on with nothing; what is under way is taken up at the next start."""
        self._closing = True
        tasks = [*self._runs.values(), *([] if self._taking_up is None else [self._taking_up])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._steps.close()

    def ensure(self, plan_id: PlanId) -> None:
        """See that a plan is carried on that was approved."""
        held = self._index.get(plan_id)
        if self._closing or held is None or held.plan.status not in {"approved", "executing"}:
            return
        if plan_id not in self._runs:
            self._stirred[plan_id] = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._run(plan_id))
            self._runs[plan_id] = task
            task.add_done_callback(lambda done: self._ended(plan_id, done))

    def stir(self, plan_id: PlanId) -> None:
        """Have a plan look whether it can go on."""
        if plan_id in self._stirred:
            self._stirred[plan_id].set()

    async def begin(self, held: Held, session: Session, number: int, *before: SessionEvent) -> None:
        """Put the beginning of a step on record, its words in the same breath; the plan's lock is held.

        Raises:
            NotPermitted: The person may not have the model speak.
            UmbrellaError: As `PlanLedger.add`.
        """
        said = await self._steps.words(held.plan.steps[number].work, session)
        running = self._ledger.step(held.plan, number, "running")
        await self._ledger.add(session.id, *before, running, *said)
        if said:
            self._steps.wake(session)

    def _ended(self, plan_id: PlanId, done: asyncio.Task[None]) -> None:
        del self._runs[plan_id], self._stirred[plan_id]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("%s is carried out no further: %r", plan_id, error)

    def _heard(self, record: Record) -> None:
        event = record.event
        if not isinstance(event, STIRS):
            return
        if isinstance(event, PlanMoved) and event.status == "executing":
            self.ensure(event.plan_id)  # also one whose approval was reported as refused, and was not
        session_id = SessionId(record.stream.removeprefix("session:"))
        for plan_id in self._runs:
            if self._index.session_of(plan_id) == session_id:
                self.stir(plan_id)

    # -- one plan, on its way ----------------------------------------------------------------------------

    async def _run(self, plan_id: PlanId) -> None:
        """Carry a plan on until it is over, then end its rights."""
        while (held := self._index.get(plan_id)) is not None:
            if held.plan.status in PLAN_ENDED:
                if held.runs_as is None:
                    return
                if await self._tried(self._rights.dismiss(held.runs_as, "its plan is over")):
                    return
                continue
            self._stirred[plan_id].clear()
            try:
                waits = await self._go(held)
            except NodeUnavailable:
                return  # the node stops
            except StorageUnavailable:
                await self._ledger.clock.sleep(AGAIN_S)
                await self._tried(self._index.catch_up(plan_id))
                continue
            except WrongState as error:  # the session is suspended, or ended in this moment
                log.info("%s waits: %s", plan_id, error)
                waits = True
            if waits:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._stirred[plan_id].wait()

    async def _go(self, held: Held) -> bool:
        """Do what comes next; answers whether nothing can be done until something happens."""
        plan, ledger = held.plan, self._ledger
        by = held.runs_as or SYSTEM
        move = next_move(plan)
        if isinstance(move, Ask | Begin | Look):
            check_open(self._sessions.get(plan.session_id))
        match move:
            case Wait():
                return True
            case Attend(step=number):
                return await self._attend(held, number)
            case Begin(step=number):
                await self._begin(held, number)
            case Ask(question=question):
                await ledger.commit(plan, lambda now: [ledger.moved(now, by, waits=question)])
            case Look(step=number):
                await ledger.commit(plan, lambda now: self._looked(now, number))
            case GiveUp(step=number):
                await ledger.commit(plan, lambda now: [self._failed(now, number)])
            case Finish():
                await ledger.commit(plan, lambda now: [ledger.moved(now, by, "completed")])
            case Rest():  # approved, and its agent is not known: no release does that
                error = Interrupted(f"{plan.id} has nobody to carry it out", "draft it again").body()
                await ledger.commit(plan, lambda now: [ledger.moved(now, SYSTEM, "failed", error=error)])
        return False

    async def _begin(self, held: Held, number: int) -> None:
        plan = held.plan
        async with self._ledger.lock(plan.id):
            now = self._ledger.known(plan.id)
            if next_move(now.plan) != Begin(number):
                return
            try:
                await self.begin(now, self._sessions.get(plan.session_id), number)
            except (StorageUnavailable, WrongState, NodeUnavailable):
                raise
            except UmbrellaError as error:
                failed = self._ledger.step(now.plan, number, "failed", error=error.body())
                await self._ledger.add(plan.session_id, failed)

    async def _attend(self, held: Held, number: int) -> bool:
        """See a step to its end, as far as that is there; its tool call is made if there is none yet."""
        plan = held.plan
        if self._steps.is_call(held, number) and plan.steps[number].execution_id is None:
            outcome = await self._start(held, number)
        else:
            outcome = await self._steps.outcome(held, number)
            if outcome is None:
                return True
        if outcome is not None:
            ended = outcome
            await self._ledger.commit(plan, lambda now: self._outcome(now, number, ended))
            if plan.stepwise and held.runs_as is not None:
                await self._rights.take_back(held.runs_as)  # it was the right of that step
        return False

    async def _start(self, held: Held, number: int) -> Outcome | None:
        check_open(self._sessions.get(held.plan.session_id))
        async with self._ledger.lock(held.plan.id):
            now = self._ledger.known(held.plan.id)
            step = now.plan.steps[number]
            if step.status != "running" or step.execution_id is not None:
                return None  # it was cancelled, or is known by now
            started = await self._steps.start(now, number)
            if isinstance(started, Outcome):
                return started
            self._index.called(now.plan.id, started)
            return None

    def _outcome(self, plan: Plan, number: int, outcome: Outcome) -> list[SessionEvent]:
        if plan.status != "executing" or plan.steps[number].status != "running":
            return []
        ended: StepStatus = "failed" if outcome.failed else "completed"
        return [self._ledger.step(plan, number, ended, result=outcome.result, error=outcome.error)]

    def _looked(self, plan: Plan, number: int) -> list[SessionEvent]:
        step = plan.steps[number]
        if not isinstance(step.work, ConditionalStep) or next_move(plan) != Look(number):
            return []
        if holds(step.work, plan.steps):
            return [self._ledger.step(plan, number, "completed", result="it is as said")]
        left_out = range(number + 1, number + 1 + step.work.skip)
        return [
            self._ledger.step(plan, number, "completed", result="it is not as said"),
            *(self._ledger.step(plan, each, "skipped") for each in left_out),
        ]

    def _failed(self, plan: Plan, number: int) -> PlanMoved:
        why = plan.steps[number].error or ErrorBody(code="unavailable", message="its tool says so")
        error = ErrorBody(
            code=why.code,
            message=f"step {number + 1} failed: {why.message}"[:1000],
            remedy=why.remedy or "look at its result, then draft a new plan with the steps that are left",
            details={"step": number},
        )
        return self._ledger.moved(plan, SYSTEM, "failed", error=error)

    async def _tried(self, work: Awaitable[None]) -> bool:
        try:
            await work
        except UmbrellaError as error:
            log.warning("what is left of a plan could not be seen to yet: %s", error)
            await self._ledger.clock.sleep(AGAIN_S)
            return False
        return True
