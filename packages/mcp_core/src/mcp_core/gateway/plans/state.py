"""What the events of a plan add up to, what may follow what, and what comes next. Pure: a replay gives the same."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_core.gateway.plans.conditions import is_excused
from mcp_interface.clock import Instant
from mcp_interface.errors import Interrupted, WrongState
from mcp_interface.events import PlanDrafted, PlanMoved, StepMoved
from mcp_interface.ids import ExecutionId, PrincipalId, is_id
from mcp_interface.plan import (
    PLAN_ENDED,
    CheckpointStep,
    ConditionalStep,
    Plan,
    PlanStatus,
    PlanStep,
    StepStatus,
)
from mcp_interface.store import Record

PLAN_MOVES: Final[Mapping[PlanStatus, frozenset[PlanStatus]]] = {
    "draft": frozenset({"approved", "cancelled"}),
    "approved": frozenset({"executing", "failed", "cancelled"}),
    "executing": frozenset({"executing", "completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""From each status to those that may follow it; a plan that goes on may begin to wait, or wait no longer."""
STEP_MOVES: Final[Mapping[StepStatus, frozenset[StepStatus]]] = {
    "pending": frozenset({"running", "completed", "failed", "skipped"}),
    "running": frozenset({"completed", "failed"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "skipped": frozenset(),
}
"""Nothing begins twice. What only looks, or asks a person, comes to its end without having run."""
_REMEDIES: Final[Mapping[PlanStatus, str]] = {
    "draft": "approve it: umbrella plan approve {id}",
    "approved": "it goes on by itself; end it: umbrella plan cancel {id}",
    "executing": "look how far it is: umbrella plan show {id}; end it: umbrella plan cancel {id}",
    "completed": "draft a new one",
    "failed": "draft a new one with the steps that are left",
    "cancelled": "draft a new one with the steps that are left",
}


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with what only the node has to know of it."""

    plan: Plan
    runs_as: PrincipalId | None = None
    """The agent that holds its rights."""
    version: int = 0
    """Of its latest event, in the stream of its session."""
    began: int = 0
    """Of the event with which the step began that runs."""


def check_move(plan: Plan, wanted: PlanStatus) -> None:
    """Return if a plan may become this.

    Raises:
        WrongState: It may not; says what it is and what helps.
    """
    if wanted not in PLAN_MOVES[plan.status]:
        is_what = f"has {plan.status}" if plan.status == "failed" else f"is {plan.status}"
        raise WrongState(
            f"{plan.id} {is_what} and cannot become {wanted}",
            _REMEDIES[plan.status].format(id=plan.id),
            {"status": plan.status},
        )


def check_draft(plan: Plan) -> None:
    """Return if the steps of a plan may still be changed.

    Raises:
        WrongState: Somebody has decided about it already.
    """
    if plan.status != "draft":
        raise WrongState(
            f"{plan.id} is {plan.status}, and only a draft can be changed",
            "draft a new one",
            {"status": plan.status},
        )


def check_waits(plan: Plan) -> int:
    """The number of the step about which a person is asked.

    Raises:
        WrongState: Nobody is.
    """
    number = next((at for at, step in enumerate(plan.steps) if step.status == "pending"), None)
    if plan.status != "executing" or not plan.waits or number is None:
        raise WrongState(
            f"{plan.id} is {plan.status} and waits for no answer",
            _REMEDIES[plan.status].format(id=plan.id),
            {"status": plan.status},
        )
    return number


# -- the fold --------------------------------------------------------------------------------------------


def advance(held: Held | None, record: Record) -> Held | None:
    """Move a plan on by one event of it; what may not follow changes nothing."""
    event = record.event
    if isinstance(event, PlanDrafted):
        if held is not None and held.plan.status != "draft":
            return held
        return Held(plan=event.plan, version=record.version)
    if held is None or record.version <= held.version:
        return held
    if isinstance(event, PlanMoved):
        return _move(held, event, record.version)
    if isinstance(event, StepMoved):
        return _step(held, event, record.version)
    return held


def _move(held: Held, event: PlanMoved, version: int) -> Held:
    plan = held.plan
    if event.status not in PLAN_MOVES[plan.status]:
        return held
    changes: dict[str, Any] = {"status": event.status, "waits": event.waits}
    if event.status == "approved":
        changes["stepwise"] = event.stepwise
    if event.status in PLAN_ENDED:
        changes |= {"ended_at": event.timestamp, "error": event.error, "waits": ""}
    runs_as = held.runs_as
    if plan.status == "approved" and event.status == "executing" and is_id("agent", event.by):
        runs_as = event.by
    return msgspec.structs.replace(
        held, plan=msgspec.structs.replace(plan, **changes), runs_as=runs_as, version=version
    )


def _step(held: Held, event: StepMoved, version: int) -> Held:
    plan = held.plan
    if plan.status != "executing" or not 0 <= event.step < len(plan.steps):
        return held
    step = plan.steps[event.step]
    if event.status not in STEP_MOVES[step.status]:
        return held
    changed = msgspec.structs.replace(
        step,
        status=event.status,
        execution_id=event.execution_id or step.execution_id,
        result=event.result or step.result,
        error=event.error,
    )
    began = version if event.status == "running" else held.began
    return msgspec.structs.replace(
        held, plan=_with_step(plan, event.step, changed), version=version, began=began
    )


def called(held: Held, execution_id: ExecutionId) -> Held:
    """The plan's agent has a tool call on record: it is that of the step that runs, unless one is known for it.

    What is told late of an earlier step's call changes nothing.
    """
    steps = held.plan.steps
    if any(step.execution_id == execution_id for step in steps):
        return held
    for number, step in enumerate(steps):
        if step.status == "running" and step.execution_id is None:
            made = msgspec.structs.replace(step, execution_id=execution_id)
            return msgspec.structs.replace(held, plan=_with_step(held.plan, number, made))
    return held


def ended_with_session(held: Held, moment: Instant) -> Held:
    """The plan's session has ended, whatever became of its events."""
    plan = held.plan
    if plan.status in PLAN_ENDED:
        return held
    error = Interrupted("its session has ended", "draft it in another session").body()
    steps = [
        msgspec.structs.replace(step, status="failed", error=error) if step.status == "running" else step
        for step in plan.steps
    ]
    over = msgspec.structs.replace(
        plan, steps=steps, status="cancelled", waits="", ended_at=moment, error=error
    )
    return msgspec.structs.replace(held, plan=over)


def _with_step(plan: Plan, number: int, step: PlanStep) -> Plan:
    steps = [*plan.steps[:number], step, *plan.steps[number + 1 :]]
    return msgspec.structs.replace(plan, steps=steps)


# -- what comes next -------------------------------------------------------------------------------------


class Rest(msgspec.Struct, frozen=True):
    """Nothing: it has not been allowed, or is over."""


class Wait(msgspec.Struct, frozen=True):
    """A person is asked."""


class Ask(msgspec.Struct, frozen=True):
    """Ask a person before a step, or at a checkpoint."""

    step: int
    question: str


class Begin(msgspec.Struct, frozen=True):
    """Begin a step."""

    step: int


class Attend(msgspec.Struct, frozen=True):
    """See a step to its end that has begun."""

    step: int


class Look(msgspec.Struct, frozen=True):
    """Judge a condition."""

    step: int


class GiveUp(msgspec.Struct, frozen=True):
    """A step has failed, and so has the plan."""

    step: int


class Finish(msgspec.Struct, frozen=True):
    """All is done."""


Move = Rest | Wait | Ask | Begin | Attend | Look | GiveUp | Finish


def next_move(plan: Plan) -> Move:
    """What is to be done now; steps go in their order, one at a time."""
    if plan.status != "executing":
        return Rest()
    if plan.waits:
        return Wait()
    for number, step in enumerate(plan.steps):
        if step.status == "running":
            return Attend(number)
        if step.status == "failed" and not is_excused(plan.steps, number):
            return GiveUp(number)
        if step.status == "pending":
            return _first(plan, number, step)
    return Finish()


def _first(plan: Plan, number: int, step: PlanStep) -> Move:
    match step.work:
        case ConditionalStep():
            return Look(number)
        case CheckpointStep(question=question):
            return Ask(number, question or step.title)
    if plan.stepwise:
        return Ask(number, f"Step {number + 1} of {len(plan.steps)}: {step.title}")
    return Begin(number)
