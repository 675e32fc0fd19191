"""Everything that is remembered: the families of journaled events, one tagged struct each.

State is what you get by applying a stream's events in order. Stream chunks, typing and UI state are never
events; they pass by as `client.Passing`. A field may be added with a default; a tag never changes meaning.
"""

from typing import Any, Literal

import msgspec

from mcp_interface.agent import AgentType
from mcp_interface.approval import Answer, Approval
from mcp_interface.budget import Budget
from mcp_interface.capability import Capability
from mcp_interface.catalog import Item, Prompt
from mcp_interface.clock import Instant
from mcp_interface.envelope import Envelope
from mcp_interface.errors import ErrorBody, InvalidRecord
from mcp_interface.ids import (
    AgentId,
    ApprovalId,
    CapabilityId,
    ExecutionId,
    KeyId,
    MessageId,
    PlanId,
    PrincipalId,
    QuestionId,
    SessionId,
    TaskId,
    TurnId,
)
from mcp_interface.key import ApiKey, Publication
from mcp_interface.plan import Plan, PlanStatus, StepStatus
from mcp_interface.provider import StopReason, ToolUse, Usage
from mcp_interface.question import InquiryKind, Question, Response
from mcp_interface.server import ServerSpec
from mcp_interface.session import Cleanup, ForkPoint, Limits, Profile, Strategy
from mcp_interface.task import Lineage, Task, TaskStatus
from mcp_interface.tool import ToolInfo, ToolResult


class EventBase(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event"):
    """What every event has."""

    timestamp: Instant


# -- sessions: stream "session:<id>" ---------------------------------------------------------------------


class SessionCreated(EventBase, frozen=True, kw_only=True, tag="session.created"):
    """A conversation began; a fork begins with copies of another one's events behind this."""

    session_id: SessionId
    created_by: PrincipalId
    title: str = ""
    profile: Profile = "careful"
    model: str = ""
    metadata: dict[str, Any] = {}
    limits: Limits = Limits()
    forked_from: ForkPoint | None = None
    system: str = ""
    lineage: Lineage | None = None


class SessionSuspended(EventBase, frozen=True, kw_only=True, tag="session.suspended"):
    """From now on nothing begins: no turn, no tool call, no question; what runs may come to its end."""

    by: PrincipalId
    """`system` when nothing had happened for as long as the session's limit says."""
    reason: str = ""


class SessionResumed(EventBase, frozen=True, kw_only=True, tag="session.resumed"):
    """A suspended session goes on."""

    by: PrincipalId


class SessionEnding(EventBase, frozen=True, kw_only=True, tag="session.ending"):
    """The end has begun; a node that dies on the way finishes it when it starts again."""

    by: PrincipalId
    reason: str = ""
    cleanup: Cleanup = "immediate"


class SessionEnded(EventBase, frozen=True, kw_only=True, tag="session.ended"):
    """A conversation is over; nothing can be added to it."""

    reason: str = ""


class SessionChanged(EventBase, frozen=True, kw_only=True, tag="session.changed"):
    """A setting of the session was changed; None leaves it as it was."""

    profile: Profile | None = None
    model: str | None = None
    title: str | None = None
    system: str | None = None
    strategy: Strategy | None = None
    budget: Budget | None = None
    by: PrincipalId


class AgentJoined(EventBase, frozen=True, kw_only=True, tag="session.agent_joined"):
    """An agent now belongs to the session."""

    agent_id: AgentId


class UserMessage(EventBase, frozen=True, kw_only=True, tag="message.user"):
    """A person said something."""

    message_id: MessageId
    author: PrincipalId
    text: str


class AssistantMessage(EventBase, frozen=True, kw_only=True, tag="message.assistant"):
    """The model's final words of one step, and the tools it asked for."""

    message_id: MessageId
    turn_id: TurnId
    agent_id: AgentId
    text: str
    tool_uses: list[ToolUse] = []
    model: str = ""
    usage: Usage = Usage()
    heard: int = 0
    """How many messages of people the model had read when it said this."""
    stop: StopReason | Literal["interrupted"] = "end"
    """Why it ends here; interrupted: it was cancelled, or the model's endpoint failed, in the middle."""
    duration_s: float = 0.0
    first_token_s: float = 0.0
    """Seconds until the first piece of it came."""
    cost: float | None = None
    """US dollars; None: the model's price is not known."""
    provider: str = ""


class TurnStarted(EventBase, frozen=True, kw_only=True, tag="turn.started"):
    """An agent began to work on the conversation."""

    turn_id: TurnId
    agent_id: AgentId


class RetryAsked(EventBase, frozen=True, kw_only=True, tag="turn.retry_asked"):
    """The last message shall be answered once more; what was said to it by a cut turn the model sees no more."""

    by: PrincipalId


class WindowCompacted(EventBase, frozen=True, kw_only=True, tag="session.compacted"):
    """What the model sees of the older part of the conversation is a summary from now on."""

    summary: str
    replaced: int
    """How many messages, the oldest of what the model saw, it stands for."""
    model: str = ""
    usage: Usage = Usage()
    cost: float | None = None


class TaskGiven(EventBase, frozen=True, kw_only=True, tag="task.given"):
    """An agent below shall work on something."""

    task: Task


class TaskMoved(EventBase, frozen=True, kw_only=True, tag="task.moved"):
    """A task began or came to its end."""

    task_id: TaskId
    status: TaskStatus
    agent_id: AgentId | None = None
    child_id: SessionId | None = None
    result: str = ""
    error: ErrorBody | None = None


class PlanDrafted(EventBase, frozen=True, kw_only=True, tag="plan.drafted"):
    """Work was laid out; or, with the id of a draft, laid out anew."""

    plan: Plan


class PlanMoved(EventBase, frozen=True, kw_only=True, tag="plan.moved"):
    """A plan was approved, is being carried out, waits for a person, or is over."""

    plan_id: PlanId
    status: PlanStatus
    by: PrincipalId
    stepwise: bool = False
    waits: str = ""
    """What a person is asked before it goes on."""
    error: ErrorBody | None = None


class StepMoved(EventBase, frozen=True, kw_only=True, tag="plan.step"):
    """A step began or came to its end."""

    plan_id: PlanId
    step: int
    status: StepStatus
    execution_id: ExecutionId | None = None
    result: str = ""
    error: ErrorBody | None = None


class TurnEnded(EventBase, frozen=True, kw_only=True, tag="turn.ended"):
    """The agent stopped; `interrupted` means that the process died and nothing was resumed by itself."""

    turn_id: TurnId
    status: Literal["completed", "failed", "cancelled", "interrupted"]
    error: ErrorBody | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """Which tool with which arguments, by which right."""

    server: str
    tool: str
    arguments: dict[str, Any]
    capability_id: CapabilityId | None = None
    audit_seq: int | None = None
    tool_use_id: str = ""
    """The model's call id; empty when a person called."""
    may_ask: bool = False
    """Whether a person may be asked for a right that is missing."""
    timeout_s: float | None = None
    answers: list[InquiryKind] | None = None
    """What whoever began the call can answer by itself; None: what a person can."""
    detached: bool = False
    """Whether it was answered for before its end, and so is taken up again by the next process."""
    repeatable: bool = False
    """Whether its tool, as it was defined when it started, may be run again: it only reads, or is idempotent."""


class ExecutionChanged(EventBase, frozen=True, kw_only=True, tag="execution"):
    """A tool call moved on. Journaled before it starts and after it ends; progress only passes by.

    One that is answered for before it has its turn is journaled as queued first, so that no crash forgets it.
    """

    execution_id: ExecutionId
    session_id: SessionId
    principal_id: PrincipalId
    status: Literal["queued", "started", "progress", "kept", "completed", "failed"]
    """kept: there is a new handle by which another process can resume it."""
    call: ToolCall | None = None
    """Given when queued, when started, and when it ended without a start."""
    progress: float = 0.0
    message: str = ""
    handle: str = ""
    """With `kept`."""
    result: ToolResult | None = None
    error: ErrorBody | None = None

    def validate(self) -> None:
        """Check the rules between the fields.

        Raises:
            InvalidRecord: invalid_progress, result_without_completion or error_without_failure.
        """
        if not 0 <= self.progress <= 100:
            raise InvalidRecord("invalid_progress", f"progress {self.progress} is not within 0 to 100")
        if (self.result is not None) != (self.status == "completed"):
            raise InvalidRecord("result_without_completion", "a result comes with 'completed' and only then")
        if (self.error is not None) != (self.status == "failed"):
            raise InvalidRecord("error_without_failure", "an error comes with 'failed' and only then")


class QuestionAsked(EventBase, frozen=True, kw_only=True, tag="question.asked"):
    """A tool wants to know something, and waits; several of one moment share their execution and handle."""

    question: Question
    handle: str = ""
    """By which the tool can go on with the answers in another process; empty when it cannot."""


class QuestionAnswered(EventBase, frozen=True, kw_only=True, tag="question.answered"):
    """Somebody answered, or time ran out (`by` is then `system`)."""

    question_id: QuestionId
    response: Response
    by: PrincipalId


class ApprovalAsked(EventBase, frozen=True, kw_only=True, tag="approval.asked"):
    """A person is asked."""

    approval: Approval


class ApprovalAnswered(EventBase, frozen=True, kw_only=True, tag="approval.answered"):
    """Somebody answered, or time ran out (`by` is then `system`)."""

    approval_id: ApprovalId
    answer: Answer
    by: PrincipalId


# -- agents: stream "agent:<id>" -------------------------------------------------------------------------


class AgentStarted(EventBase, frozen=True, kw_only=True, tag="agent.started"):
    """An agent came to life for the first time."""

    agent_id: AgentId
    type: AgentType
    name: str = ""
    parent_id: AgentId | None = None
    session_id: SessionId | None = None
    metadata: dict[str, Any] = {}


class AgentStopped(EventBase, frozen=True, kw_only=True, tag="agent.stopped"):
    """An agent ended for good."""

    agent_id: AgentId
    reason: str


class AgentRestarted(EventBase, frozen=True, kw_only=True, tag="agent.restarted"):
    """An agent crashed or was killed, and its supervisor brought it back under the same id.

    In its own stream, and in that of its session, where it goes on with what it did.
    """

    agent_id: AgentId
    reason: str
    restarts: int


class MessageSent(EventBase, frozen=True, kw_only=True, tag="agent.message_sent"):
    """A message was accepted for an agent."""

    envelope: Envelope


# -- security: stream "security" -------------------------------------------------------------------------


class CapabilityGranted(EventBase, frozen=True, kw_only=True, tag="capability.granted"):
    """A right came into being, as a root grant or by delegation."""

    capability: Capability
    audit_seq: int | None = None
    """Number of its entry in the audit trail, which was there first."""


class CapabilityRevoked(EventBase, frozen=True, kw_only=True, tag="capability.revoked"):
    """Rights ended, and with each of them everything derived from it."""

    capability_ids: list[CapabilityId]
    """Those that were taken back; that what was derived from them ended is not said again."""
    by: PrincipalId
    reason: str = ""
    audit_seq: int | None = None
    """Number of the last of their entries in the audit trail."""


class RevocationSettled(EventBase, frozen=True, kw_only=True, tag="capability.revocation_settled"):
    """Each end that followed from a revocation is in the audit trail."""

    capability_ids: list[CapabilityId]
    """Those that were taken back."""
    ended: int
    """How many had been derived from them."""


class CapabilityUsed(EventBase, frozen=True, kw_only=True, tag="capability.used"):
    """A counted right was used; journaled so that a restart does not refill it."""

    capability_id: CapabilityId
    uses: int


# -- tools: stream "tools" -------------------------------------------------------------------------------


class ToolPinned(EventBase, frozen=True, kw_only=True, tag="tool.pinned"):
    """From now on this is what the tool is; if its server says otherwise, somebody has to look at it."""

    tool: ToolInfo
    fingerprint: str
    """Hash of the definition, hex."""
    by: PrincipalId
    """Who looked at it; `system` when it was the first that was seen."""


class RefusalRemembered(EventBase, frozen=True, kw_only=True, tag="tool.refusal_remembered"):
    """A person said no to this call for good."""

    principal_id: PrincipalId
    """The person whose agents are bound by it: the owner of the session in which it was said."""
    server: str
    tool: str
    fingerprint: str
    """Hash of server, tool and arguments, hex; the definition does not count."""
    reason: str
    by: PrincipalId
    arguments: dict[str, Any] = {}
    """To what it was said."""


class RefusalForgotten(EventBase, frozen=True, kw_only=True, tag="tool.refusal_forgotten"):
    """The question may be asked again."""

    principal_id: PrincipalId
    fingerprint: str
    by: PrincipalId


# -- servers: stream "servers" ---------------------------------------------------------------------------


class ServerConfigured(EventBase, frozen=True, kw_only=True, tag="server.configured"):
    """A server was added or its entry replaced."""

    name: str
    spec: ServerSpec
    by: PrincipalId


class ServerRemoved(EventBase, frozen=True, kw_only=True, tag="server.removed"):
    """A server was taken out."""

    name: str
    by: PrincipalId


# -- who comes in, and what they find: stream "access" -----------------------------------------------------


class KeyCreated(EventBase, frozen=True, kw_only=True, tag="key.created"):
    """A secret opens the node from now on."""

    key: ApiKey
    digest: str
    """SHA-256 of the secret, hex."""
    by: PrincipalId


class KeyRevoked(EventBase, frozen=True, kw_only=True, tag="key.revoked"):
    """A secret opens nothing any more."""

    key_id: KeyId
    by: PrincipalId


class Published(EventBase, frozen=True, kw_only=True, tag="publication.put"):
    """A virtual server is offered, or another one under its name."""

    publication: Publication
    by: PrincipalId


class Unpublished(EventBase, frozen=True, kw_only=True, tag="publication.removed"):
    """A virtual server is gone."""

    name: str
    by: PrincipalId


# -- the catalog: stream "catalog:<owner>" ---------------------------------------------------------------


class ItemStored(EventBase, frozen=True, kw_only=True, tag="catalog.item"):
    """A resource was added or changed; what it holds is kept by its hash."""

    item: Item
    by: PrincipalId


class ItemDeleted(EventBase, frozen=True, kw_only=True, tag="catalog.item_deleted"):
    """A resource is gone."""

    uri: str
    by: PrincipalId


class PromptStored(EventBase, frozen=True, kw_only=True, tag="catalog.prompt"):
    """There is a new version of a prompt."""

    prompt: Prompt
    by: PrincipalId


class PromptDeleted(EventBase, frozen=True, kw_only=True, tag="catalog.prompt_deleted"):
    """A prompt is gone, with all its versions."""

    name: str
    by: PrincipalId


SessionEvent = (
    SessionCreated
    | SessionSuspended
    | SessionResumed
    | SessionEnding
    | SessionEnded
    | SessionChanged
    | AgentJoined
    | AgentRestarted
    | UserMessage
    | AssistantMessage
    | TurnStarted
    | TurnEnded
    | RetryAsked
    | WindowCompacted
    | TaskGiven
    | TaskMoved
    | PlanDrafted
    | PlanMoved
    | StepMoved
    | ExecutionChanged
    | QuestionAsked
    | QuestionAnswered
    | ApprovalAsked
    | ApprovalAnswered
)
AgentEvent = AgentStarted | AgentStopped | AgentRestarted | MessageSent
SecurityEvent = CapabilityGranted | CapabilityRevoked | RevocationSettled | CapabilityUsed
ToolEvent = ToolPinned | RefusalRemembered | RefusalForgotten
ServerEvent = ServerConfigured | ServerRemoved
AccessEvent = KeyCreated | KeyRevoked | Published | Unpublished
CatalogEvent = ItemStored | ItemDeleted | PromptStored | PromptDeleted
Event = SessionEvent | AgentEvent | SecurityEvent | ToolEvent | ServerEvent | AccessEvent | CatalogEvent
