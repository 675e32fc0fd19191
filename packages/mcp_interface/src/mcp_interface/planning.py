"""Commands about plans."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mcp_interface.commands import Command, Limit, Page
from mcp_interface.ids import PlanId, SessionId
from mcp_interface.plan import DryStep, Plan, Work


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step as somebody writes it."""

    title: str = ""
    work: Work


Steps = Annotated[list[Step], Meta(min_length=1, max_length=200)]


class DraftPlan(Command[Plan], frozen=True, kw_only=True, tag="plan.draft"):
    """Lay out work in a session; nothing of it is done."""

    session_id: SessionId
    title: Annotated[str, Meta(min_length=1, max_length=500)]
    steps: Steps


class GetPlan(Command[Plan], frozen=True, kw_only=True, tag="plan.get"):
    """One plan."""

    plan_id: PlanId


class ListPlans(Command[Page[Plan]], frozen=True, kw_only=True, tag="plan.list"):
    """Plans of one session, or of all of the caller's, latest first."""

    session_id: SessionId | None = None
    limit: Limit = 20
    cursor: str | None = None


class ChangePlan(Command[Plan], frozen=True, kw_only=True, tag="plan.change"):
    """Replace the steps of a draft."""

    plan_id: PlanId
    steps: Steps


class DryRunPlan(Command[list[DryStep]], frozen=True, kw_only=True, tag="plan.dry_run"):
    """Tell what each step would meet now; nothing is done, used up or put on record."""

    plan_id: PlanId


class ApprovePlan(Command[Plan], frozen=True, kw_only=True, tag="plan.approve"):
    """Let a draft be carried out: the rights of all its steps are given at once, or none; or of each when its turn comes.

    They are the plan's only, and end with it.
    """

    plan_id: PlanId
    stepwise: bool = False


class AnswerStep(Command[Plan], frozen=True, kw_only=True, tag="plan.answer"):
    """Say at a checkpoint, or before a step of a plan that is allowed step by step, how it goes on."""

    plan_id: PlanId
    answer: Literal["go_on", "skip", "stop"]
    step: Annotated[int, Meta(ge=0)] | None = None
    """Number of the step that was shown, from 0: an answer to it is none to another. None: whichever it is."""


class CancelPlan(Command[Plan], frozen=True, kw_only=True, tag="plan.cancel"):
    """End a plan; the step that runs is cancelled, its rights end. Harmless when it has ended."""

    plan_id: PlanId
