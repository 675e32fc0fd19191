"""What a client can ask of a node. Each command names the type of its result; those about executions are in `execution`.

A command travels as JSON with its tag in the field `command`. New commands may be added; fields of old ones
only with defaults. Lists are bounded and paginated: pass a page's `cursor` back to get the next one.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from mcp_interface.agent import AgentRecord, AgentType
from mcp_interface.approval import Answer, Approval
from mcp_interface.budget import Budget
from mcp_interface.capability import AuditEntry, Capability, Explanation
from mcp_interface.clock import Instant
from mcp_interface.ids import (
    AgentId,
    ApprovalId,
    CapabilityId,
    ExecutionId,
    MessageId,
    PrincipalId,
    SessionId,
)
from mcp_interface.server import Diagnosis, ServerSpec, ServerStatus
from mcp_interface.session import Cleanup, Limits, Profile, Session, Strategy
from mcp_interface.store import Record, StoreReport
from mcp_interface.tool import ToolInfo, ToolResult

R = TypeVar("R")
T = TypeVar("T")

Limit = Annotated[int, Meta(ge=1, le=1000)]


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A bounded part of a list."""

    items: list[T]
    cursor: str | None = None
    """Pass it on to get the next page; None when this was the last."""


class Command(msgspec.Struct, Generic[R], frozen=True, kw_only=True, tag_field="command"):
    """A request whose answer has type `R`."""


# -- the node --------------------------------------------------------------------------------------------


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the assistant can think."""

    ready: bool
    provider: str = ""
    model: str = ""
    hint: str = ""
    """What exactly to set when it is not ready."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One measured fact about the node's health."""

    name: str
    status: Literal["ok", "warning", "error"]
    detail: str
    remedy: str = ""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The node at a glance."""

    version: str
    pid: int
    data_dir: str
    started_at: Instant
    epoch: int
    position: int
    owner: PrincipalId
    sessions: int
    agents: int
    servers: int
    pending_approvals: int
    model: ModelStatus
    recovered: int = 0
    """Sessions in which something was found open at start, and was interrupted or taken up again."""
    pending_questions: int = 0
    """Of tools, to people."""


class GetStatus(Command[NodeStatus], frozen=True, kw_only=True, tag="node.status"):
    """How is the node."""


class GetHealth(Command[list[Check]], frozen=True, kw_only=True, tag="node.health"):
    """Measure the node's health now: disk, journal, audit chain, servers, model."""


class GetMetrics(Command[str], frozen=True, kw_only=True, tag="node.metrics"):
    """The node's figures now, as text that Prometheus reads."""


class StopNode(Command[None], frozen=True, kw_only=True, tag="node.stop"):
    """Finish what is running (bounded) and end the process."""


class ShareVariables(Command[ModelStatus], frozen=True, kw_only=True, tag="node.share"):
    """Lend the node environment variables: model keys, and what `${VAR}` references of servers name.

    They replace older ones of the same name, stay in memory only, and are never journaled or logged.
    """

    variables: dict[str, str]


# -- logins ----------------------------------------------------------------------------------------------


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated person."""

    principal_id: PrincipalId
    expires_at: Instant
    key_name: str = ""
    """Of an API key; empty for a person who has logged in."""


class LoginCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code that can be exchanged once for a key."""

    code: str
    expires_at: Instant


class LoginKey(msgspec.Struct, frozen=True, kw_only=True):
    """The secret of a login; shown once, stored hashed."""

    key: str
    login: Login


class CreateLogin(Command[LoginCode], frozen=True, kw_only=True, tag="login.create"):
    """Make a one-time login code for the caller."""


class RedeemLogin(Command[LoginKey], frozen=True, kw_only=True, tag="login.redeem"):
    """Exchange a code for a key; works once. Needs no login."""

    code: str


class CheckLogin(Command[Login], frozen=True, kw_only=True, tag="login.check"):
    """Who holds this key. Needs no login."""

    key: str


class EndLogin(Command[None], frozen=True, kw_only=True, tag="login.end"):
    """Forget a key; harmless when repeated."""

    key: str


# -- sessions --------------------------------------------------------------------------------------------


class CreateSession(Command[Session], frozen=True, kw_only=True, tag="session.create"):
    """Begin a conversation."""

    title: str = ""
    profile: Profile = "careful"
    model: str = ""
    metadata: dict[str, Any] = {}
    limits: Limits = Limits()
    system: str = ""
    """What the assistant is told beside what every assistant is told."""


class ListSessions(Command[Page[Session]], frozen=True, kw_only=True, tag="session.list"):
    """The caller's sessions, latest activity first."""

    limit: Limit = 50
    cursor: str | None = None
    ended: bool = False
    """Also those that have ended."""


class GetSession(Command[Session], frozen=True, kw_only=True, tag="session.get"):
    """One session."""

    session_id: SessionId


class ReadSession(Command[Page[Record]], frozen=True, kw_only=True, tag="session.events"):
    """A session's events in order."""

    session_id: SessionId
    limit: Limit = 200
    cursor: str | None = None
    """The version behind which to begin, as text."""


class EndSession(Command[None], frozen=True, kw_only=True, tag="session.end"):
    """End a session, its agents and their rights; harmless when repeated."""

    session_id: SessionId
    reason: str = "ended by user"
    cleanup: Cleanup = "immediate"


class SuspendSession(Command[Session], frozen=True, kw_only=True, tag="session.suspend"):
    """Let nothing more begin: tool calls that run may finish, then the turn stops and all of it leaves memory.

    Harmless when repeated. Answered when it is at rest; calls that take longer than the node waits are cancelled.
    """

    session_id: SessionId
    reason: str = ""


class ResumeSession(Command[Session], frozen=True, kw_only=True, tag="session.resume"):
    """Go on with a suspended session; what a person said before that nobody answered is taken up now."""

    session_id: SessionId


class ForkSession(Command[Session], frozen=True, kw_only=True, tag="session.fork"):
    """Begin a session with a copy of another one's history; the other one stays as it is, ended ones too.

    What was going on there is not going on here: no turn, no tool call, no question, and no right of its agents.
    """

    session_id: SessionId
    version: Annotated[int, Meta(ge=1)] | None = None
    """The last event that is carried over; None is the latest."""
    position: Annotated[int, Meta(ge=1)] | None = None
    """The same by its place in the journal: the last event up to there. Give one of the two, or none."""
    title: str | None = None
    """None: as the other one was called then."""


class ChangeSession(Command[Session], frozen=True, kw_only=True, tag="session.change"):
    """Change settings; None leaves them as they are."""

    session_id: SessionId
    profile: Profile | None = None
    model: str | None = None
    title: str | None = None
    system: Annotated[str, Meta(max_length=100_000)] | None = None
    strategy: Strategy | None = None
    budget: Budget | None = None


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A message is durable and will be worked on."""

    session_id: SessionId
    message_id: MessageId
    position: int


class PostMessage(Command[Posted], frozen=True, kw_only=True, tag="session.post"):
    """Say something to the assistant of a session; its answer comes as events."""

    session_id: SessionId
    text: Annotated[str, Meta(min_length=1, max_length=1_000_000)]


class CancelTurn(Command[bool], frozen=True, kw_only=True, tag="session.cancel"):
    """Stop what the session's assistant is doing; False when it was idle."""

    session_id: SessionId


# -- approvals -------------------------------------------------------------------------------------------


class ListApprovals(Command[Page[Approval]], frozen=True, kw_only=True, tag="approval.list"):
    """Open questions, oldest first."""

    session_id: SessionId | None = None
    limit: Limit = 50
    cursor: str | None = None


class AnswerApproval(Command[None], frozen=True, kw_only=True, tag="approval.answer"):
    """Answer an open question; the first answer counts."""

    approval_id: ApprovalId
    answer: Answer


# -- servers and tools -----------------------------------------------------------------------------------


class AddServer(Command[ServerStatus], frozen=True, kw_only=True, tag="server.add"):
    """Add or replace a server, and wait for its first connection attempt."""

    name: str
    spec: ServerSpec


class RemoveServer(Command[None], frozen=True, kw_only=True, tag="server.remove"):
    """Disconnect and forget a server."""

    name: str


class RestartServer(Command[ServerStatus], frozen=True, kw_only=True, tag="server.restart"):
    """Disconnect a server and connect it again; calls that run on it are interrupted."""

    name: str


class ListServers(Command[Page[ServerStatus]], frozen=True, kw_only=True, tag="server.list"):
    """All servers, built-in ones first."""

    limit: Limit = 200
    cursor: str | None = None


class DiagnoseServer(Command[list[Diagnosis]], frozen=True, kw_only=True, tag="server.diagnose"):
    """Go step by step through what it takes to start a server, and say what fails."""

    name: str


class ListTools(Command[Page[ToolInfo]], frozen=True, kw_only=True, tag="tool.list"):
    """Tools of one server, or of all that are connected; searched, the best match first."""

    server: str | None = None
    query: str = ""
    """Words to be found in names, descriptions and schemas."""
    limit: Limit = 200
    cursor: str | None = None


class CallOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished tool call."""

    execution_id: ExecutionId
    session_id: SessionId
    result: ToolResult
    duration_ms: float
    capability_id: CapabilityId | None = None


class CallTool(Command[CallOutcome], frozen=True, kw_only=True, tag="tool.call"):
    """One tool call through the whole path: judged, journaled, run, journaled."""

    server: str
    tool: str
    arguments: dict[str, Any] = {}
    as_agent: AgentId | None = None
    """Act with what this agent holds; None acts as the caller."""
    session_id: SessionId | None = None
    """Where it is recorded; None is the caller's command-line session."""
    timeout_ms: Annotated[int, Meta(ge=1)] | None = None


class ToolChange(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that is not what it was when its definition was pinned; its calls are refused."""

    server: str
    tool: str
    before: ToolInfo
    now: ToolInfo | None
    """None: the server does not offer it at the moment."""
    fingerprint: str
    """Hash of the definition as it is now, hex; empty when it is not offered."""
    diff: str
    """What changed, as a unified diff in which nothing is invisible."""


class ListToolChanges(Command[Page[ToolChange]], frozen=True, kw_only=True, tag="tool.changes"):
    """Tools whose definition changed since it was pinned."""

    limit: Limit = 50
    cursor: str | None = None


class AcceptTool(Command[ToolInfo], frozen=True, kw_only=True, tag="tool.accept"):
    """Say that the changed definition was looked at and may be used."""

    server: str
    tool: str
    fingerprint: str
    """Of the definition that was looked at; refused if it has changed again."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is refused without asking, whatever rights are held."""

    principal_id: PrincipalId
    """The person whose agents are bound by it: the owner of the session in which it was said."""
    server: str
    tool: str
    fingerprint: str
    reason: str
    by: PrincipalId
    since: Instant
    arguments: dict[str, Any] = {}
    """To what it was said."""


class ListRefusals(Command[Page[Refusal]], frozen=True, kw_only=True, tag="refusal.list"):
    """Questions that were answered with "never", oldest first."""

    limit: Limit = 50
    cursor: str | None = None


class ForgetRefusal(Command[None], frozen=True, kw_only=True, tag="refusal.forget"):
    """Let the question be asked again; harmless when repeated."""

    principal_id: PrincipalId
    fingerprint: str


# -- agents ----------------------------------------------------------------------------------------------


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A right to be handed on, with its limits."""

    resource_uri: str
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None
    constraints: dict[str, Any] = {}


class SpawnAgent(Command[AgentRecord], frozen=True, kw_only=True, tag="agent.spawn"):
    """Start an agent that holds nothing but what is handed to it here, all of it or it does not start."""

    type: AgentType = "worker"
    name: str = ""
    session_id: SessionId | None = None
    parent: str | None = None
    """The agent, by id or name, that it comes from and whose rights are handed on; None: the caller's."""
    grants: Annotated[list[Wish], Meta(max_length=100)] = []
    metadata: dict[str, Any] = {}


class ListAgents(Command[Page[AgentRecord]], frozen=True, kw_only=True, tag="agent.list"):
    """Agents, oldest first."""

    session_id: SessionId | None = None
    stopped: bool = False
    """Also those that have ended."""
    limit: Limit = 200
    cursor: str | None = None


class GetAgent(Command[AgentRecord], frozen=True, kw_only=True, tag="agent.get"):
    """One agent, by id or by unique name."""

    agent: str


class StopAgent(Command[None], frozen=True, kw_only=True, tag="agent.stop"):
    """End an agent; its rights end with it, with everything derived from them."""

    agent: str
    reason: str = "stopped by user"


class SendMessage(Command[int], frozen=True, kw_only=True, tag="agent.send"):
    """Tell an agent something, or all who listen to a topic; answered with how many got it.

    Assistants and the tool executor are spoken to otherwise: with `PostMessage` and `CallTool`.
    """

    to: str
    """`mcp://agent/<id>`, or, for the owner of the node, `mcp://broadcast/<topic>`."""
    payload: Any = None


# -- capabilities and audit ------------------------------------------------------------------------------


class GrantCapability(Command[Capability], frozen=True, kw_only=True, tag="cap.grant"):
    """Hand an agent a right that the caller holds."""

    agent: str
    resource_uri: str
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None
    max_uses: Annotated[int, Meta(ge=1)] | None = None
    constraints: dict[str, Any] = {}
    """Further limits by name."""


class ListCapabilities(Command[Page[Capability]], frozen=True, kw_only=True, tag="cap.list"):
    """Live capabilities, of one holder or of all."""

    principal: str | None = None
    limit: Limit = 200
    cursor: str | None = None


class RevokeCapability(Command[list[CapabilityId]], frozen=True, kw_only=True, tag="cap.revoke"):
    """Take back a capability and everything derived from it; at most 1,000 of the ended ids are listed."""

    capability_id: CapabilityId
    reason: str = ""


class ExplainAccess(Command[Explanation], frozen=True, kw_only=True, tag="cap.explain"):
    """Why may this principal do that, or why not."""

    principal: str
    resource_uri: str


class ReadAudit(Command[Page[AuditEntry]], frozen=True, kw_only=True, tag="audit.read"):
    """Audit entries, newest first unless asked otherwise."""

    principal: str | None = None
    capability_id: CapabilityId | None = None
    resource_uri: str | None = None
    """A glob."""
    kind: str | None = None
    denied_only: bool = False
    since: Instant | None = None
    """The first instant that is wanted."""
    until: Instant | None = None
    """The first instant that is not wanted any more."""
    oldest_first: bool = False
    limit: Limit = 50
    cursor: str | None = None


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of checking the whole chain."""

    ok: bool
    entries: int
    head: str
    """Hash of the last entry."""
    sealed: int = 0
    """How many entries, from the first, a signed seal covers."""
    problem: str = ""
    """The first thing that is wrong, with its line."""


class VerifyAudit(Command[AuditReport], frozen=True, kw_only=True, tag="audit.verify"):
    """Check the audit chain on the node."""


# -- storage ---------------------------------------------------------------------------------------------


class StorageCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of reading the whole journal back."""

    ok: bool
    events: int = 0
    """Sound ones."""
    problem: str = ""
    """What is wrong, where, and what is sound besides."""
    remedy: str = ""
    details: dict[str, Any] = {}


class GetStorage(Command[StoreReport], frozen=True, kw_only=True, tag="storage.status"):
    """How the journal is, and what its last opening found."""


class VerifyStorage(Command[StorageCheck], frozen=True, kw_only=True, tag="storage.verify"):
    """Read the whole journal back and compare it with what was written."""


class RebuildStorage(Command[StoreReport], frozen=True, kw_only=True, tag="storage.rebuild"):
    """Make anew, from the journal, whatever is derived from it."""


def result_type(command: Command[Any] | type[Command[Any]]) -> Any:
    """The type `R` that a command declares."""
    kind = command if isinstance(command, type) else type(command)
    bases: tuple[Any, ...] = vars(kind)["__orig_bases__"]
    return get_args(bases[0])[0]
