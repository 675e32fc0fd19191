"""Work that is laid out before anything of it is done, and that a person allows as a whole, in part, or not at all."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from mcp_interface.clock import Instant
from mcp_interface.errors import ErrorBody
from mcp_interface.ids import ExecutionId, PlanId, PrincipalId, SessionId
from mcp_interface.tool import Preview

PlanStatus = Literal["draft", "approved", "executing", "completed", "failed", "cancelled"]
PLAN_ENDED: Final[frozenset[PlanStatus]] = frozenset({"completed", "failed", "cancelled"})
StepStatus = Literal["pending", "running", "completed", "failed", "skipped"]
Risk = Literal["safe", "moderate", "dangerous"]
"""Only reads; changes what can be changed back; destroys, runs commands, or reaches beyond this machine."""


class ToolStep(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="tool"):
    """Call a tool."""

    server: str
    tool: str
    arguments: dict[str, Any] = {}


class MessageStep(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="message"):
    """Say something to the session's assistant, and wait for its answer."""

    text: str


class CommandStep(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="command"):
    """Run a command line, word by word; no shell reads it."""

    command: Annotated[list[str], Meta(min_length=1)]


class CheckpointStep(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="checkpoint"):
    """Wait until a person says that it goes on."""

    question: str


class ConditionalStep(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="conditional"):
    """Look at an earlier step, and leave out the following ones if it is not as said."""

    step: Annotated[int, Meta(ge=0)]
    """Number of the earlier one, from 0."""
    status: Literal["completed", "failed"] = "completed"
    contains: str = ""
    """What its result has to hold, besides."""
    skip: Annotated[int, Meta(ge=1)] = 1
    """How many following steps are left out."""


Work = ToolStep | MessageStep | CommandStep | CheckpointStep | ConditionalStep


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step."""

    title: str = ""
    work: Work
    risk: Risk = "dangerous"
    """Judged by the node from what the tool says of itself; nobody else sets it."""
    needs: list[str] = []
    """The rights that it takes, as resource URIs."""
    status: StepStatus = "pending"
    execution_id: ExecutionId | None = None
    result: str = ""
    """The beginning of what it gave."""
    error: ErrorBody | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in order, and how far they are."""

    id: PlanId
    session_id: SessionId
    by: PrincipalId
    """Who drafted it."""
    title: str
    steps: list[PlanStep]
    status: PlanStatus = "draft"
    waits: str = ""
    """What a person is asked before it goes on; empty: nothing."""
    stepwise: bool = False
    """Whether a person allows each step when its turn has come."""
    created_at: Instant
    ended_at: Instant | None = None
    error: ErrorBody | None = None

    @property
    def risk(self) -> Risk:
        """The highest of its steps."""
        order: tuple[Risk, ...] = ("safe", "moderate", "dangerous")
        return max((step.risk for step in self.steps), key=order.index, default="safe")


class DryStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a step would meet if it ran now."""

    allowed: bool
    why: str = ""
    """Why not, or which right allows it."""
    problem: str = ""
    """What is wrong with its arguments; empty where nothing is."""
    preview: Preview | None = None
