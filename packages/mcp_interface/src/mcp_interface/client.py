"""What stands between a person and a node: frames on the wire, and the contract of a client.

The same frames travel as JSON lines on the node's Unix socket and as WebSocket messages; in one process the
structs are passed as they are. A connection begins with `Hello` and `Welcome`; then requests and answers,
matched by `id`, and follows. Implementations: `mcp_core.gateway` (in process and socket), `mcp_cli.client`
(WebSocket); all pass `testing.check_client`.
"""

from collections.abc import AsyncIterator
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from mcp_interface.access import (
    CreateKey,
    ListKeys,
    ListPublications,
    Publish,
    RevokeKey,
    Unpublish,
)
from mcp_interface.cataloging import (
    ChangeItem,
    ChangePrompt,
    CountItems,
    CountPrompts,
    CreateItem,
    CreatePrompt,
    DeleteItem,
    DeletePrompt,
    GetItem,
    GetStoredPrompt,
    ListItems,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.commands import (
    AcceptTool,
    AddServer,
    AnswerApproval,
    CallTool,
    CancelTurn,
    ChangeSession,
    CheckLogin,
    Command,
    CreateLogin,
    CreateSession,
    DiagnoseServer,
    EndLogin,
    EndSession,
    ExplainAccess,
    ForgetRefusal,
    ForkSession,
    GetAgent,
    GetHealth,
    GetMetrics,
    GetSession,
    GetStatus,
    GetStorage,
    GrantCapability,
    ListAgents,
    ListApprovals,
    ListCapabilities,
    ListRefusals,
    ListServers,
    ListSessions,
    ListToolChanges,
    ListTools,
    PostMessage,
    ReadAudit,
    ReadSession,
    RebuildStorage,
    RedeemLogin,
    RemoveServer,
    RestartServer,
    ResumeSession,
    RevokeCapability,
    SendMessage,
    ShareVariables,
    SpawnAgent,
    StopAgent,
    StopNode,
    SuspendSession,
    VerifyAudit,
    VerifyStorage,
)
from mcp_interface.conversing import (
    CompactWindow,
    GetUsage,
    GetWindow,
    ImportSession,
    ListModels,
    RetryTurn,
    SearchMessages,
)
from mcp_interface.errors import ErrorBody
from mcp_interface.execution import (
    AnswerQuestion,
    CancelExecution,
    GetExecution,
    ListExecutions,
    ListQuestions,
    StartExecution,
)
from mcp_interface.ids import ExecutionId, MessageId, PrincipalId, SessionId, TurnId
from mcp_interface.observe import (
    ForgetLost,
    KillActor,
    ListLost,
    ListSeen,
    ObserveRuntime,
    ResendLost,
    WatchActor,
)
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
from mcp_interface.reading import (
    Complete,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListTemplates,
    ReadResource,
    UnwatchResource,
    WatchResource,
)
from mcp_interface.secret import FinishLogin, ListSecrets, LoginServer, PutSecret, RemoveSecret
from mcp_interface.store import Record
from mcp_interface.team import CancelTask, GiveTask, ListTasks
from mcp_interface.tool import ToolLog

PROTOCOL: Final = 1
"""Version of these frames."""
MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes of the largest frame."""

R = TypeVar("R")
S = TypeVar("S")


class ClientInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who connects."""

    name: str
    """What kind of client, for logs."""
    token: str = ""
    """The node's token or a login key, in one process too; a WebSocket with a login cookie needs none."""
    session_id: SessionId | None = None
    """The session to attach to; must exist."""
    on_behalf_of: PrincipalId | None = None
    """With the node's own token only: with whose rights to act, as a door does that has checked who comes."""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """The node lets the client in."""

    principal_id: PrincipalId
    session_id: SessionId | None
    version: str
    """Version of the node's software."""
    position: int
    """Where the journal is now."""
    protocol: int = PROTOCOL


# -- what passes by without being remembered -------------------------------------------------------------


class TextDelta(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """A piece of an answer that is being written."""

    session_id: SessionId
    turn_id: TurnId
    message_id: MessageId
    text: str


class ToolProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """A tool reports how far it is."""

    session_id: SessionId
    execution_id: ExecutionId
    progress: float
    message: str = ""


class ToolSaid(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """A tool says something while it runs."""

    session_id: SessionId
    execution_id: ExecutionId
    line: ToolLog


class OffersChanged(msgspec.Struct, frozen=True, kw_only=True, tag="offers"):
    """What a server offers is not what it was; the lists say what it is now."""

    server: str
    """Empty: of any, as what somebody may know of has changed."""
    kind: Literal["tools", "resources", "prompts"]
    principal_id: PrincipalId | None = None
    """Whom alone it concerns, as a private resource of the catalog; None: whoever may see the server."""


class ResourceChanged(msgspec.Struct, frozen=True, kw_only=True, tag="resource"):
    """A watched resource holds something else."""

    server: str
    uri: str


class ServerChanged(msgspec.Struct, frozen=True, kw_only=True, tag="server"):
    """A server's connection changed its state."""

    name: str
    state: str
    error: str = ""


Passing = TextDelta | ToolProgress | ToolSaid | ServerChanged | OffersChanged | ResourceChanged
Notice = Record | Passing
"""What a follower sees: remembered events in order, and what passes by between them."""


# -- frames ----------------------------------------------------------------------------------------------

AnyCommand = (
    GetStatus
    | GetHealth
    | GetMetrics
    | StopNode
    | ShareVariables
    | CreateLogin
    | RedeemLogin
    | CheckLogin
    | EndLogin
    | CreateSession
    | ListSessions
    | GetSession
    | ReadSession
    | EndSession
    | SuspendSession
    | ResumeSession
    | ForkSession
    | ChangeSession
    | PostMessage
    | CancelTurn
    | RetryTurn
    | CompactWindow
    | GetWindow
    | SearchMessages
    | ImportSession
    | GetUsage
    | ListModels
    | GiveTask
    | ListTasks
    | CancelTask
    | DraftPlan
    | GetPlan
    | ListPlans
    | ChangePlan
    | DryRunPlan
    | ApprovePlan
    | AnswerStep
    | CancelPlan
    | ListApprovals
    | AnswerApproval
    | AddServer
    | RemoveServer
    | RestartServer
    | ListServers
    | DiagnoseServer
    | LoginServer
    | FinishLogin
    | PutSecret
    | ListSecrets
    | RemoveSecret
    | ListTools
    | CallTool
    | StartExecution
    | GetExecution
    | ListExecutions
    | CancelExecution
    | ListQuestions
    | AnswerQuestion
    | ListResources
    | ListTemplates
    | ReadResource
    | WatchResource
    | UnwatchResource
    | ListPrompts
    | GetPrompt
    | Complete
    | CreateItem
    | ChangeItem
    | DeleteItem
    | GetItem
    | ListItems
    | CountItems
    | CreatePrompt
    | ChangePrompt
    | RevertPrompt
    | DeletePrompt
    | GetStoredPrompt
    | RenderPrompt
    | ListPromptVersions
    | ListStoredPrompts
    | CountPrompts
    | CreateKey
    | ListKeys
    | RevokeKey
    | Publish
    | Unpublish
    | ListPublications
    | ListToolChanges
    | AcceptTool
    | ListRefusals
    | ForgetRefusal
    | SpawnAgent
    | ListAgents
    | GetAgent
    | StopAgent
    | SendMessage
    | GrantCapability
    | ListCapabilities
    | RevokeCapability
    | ExplainAccess
    | ReadAudit
    | VerifyAudit
    | GetStorage
    | VerifyStorage
    | RebuildStorage
    | ObserveRuntime
    | WatchActor
    | ListSeen
    | KillActor
    | ListLost
    | ResendLost
    | ForgetLost
)
"""Every command; what a frame may carry."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """First frame of a client."""

    client: ClientInfo
    protocol: int = PROTOCOL


class Request(msgspec.Struct, frozen=True, kw_only=True, tag="request"):
    """Do this. `id` is chosen by the client, unique on its connection."""

    id: int
    command: AnyCommand
    trace: str | None = None
    """W3C `traceparent` of the wish behind it; None begins a trace of its own."""


class Follow(msgspec.Struct, frozen=True, kw_only=True, tag="follow"):
    """Send what happens: first everything remembered behind `after`, then live, without a gap."""

    id: int
    session_id: SessionId | None = None
    """None follows the whole node."""
    after: int = 0
    """A position (`Record.position`); zero is from the beginning."""


class Unfollow(msgspec.Struct, frozen=True, kw_only=True, tag="unfollow"):
    """Stop a follow."""

    id: int


ClientFrame = Hello | Request | Follow | Unfollow


class Result(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """A request succeeded."""

    id: int
    value: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """A request or follow failed; `id` zero speaks of the connection."""

    id: int
    error: ErrorBody


class Happened(msgspec.Struct, frozen=True, kw_only=True, tag="happened"):
    """A remembered event, to a follower."""

    id: int
    record: Record


class PassedBy(msgspec.Struct, frozen=True, kw_only=True, tag="passing"):
    """Something that is not remembered, to a follower."""

    id: int
    passing: Passing


NodeFrame = Welcome | Result | Failure | Happened | PassedBy


class Client(Protocol):
    """A connection to one node, safe to use from several tasks."""

    async def connect(self, info: ClientInfo) -> Welcome:
        """Say who you are.

        Raises:
            LoginRequired: The token is wrong.
            NotFound: The session to attach to does not exist.
            NodeUnavailable: Nothing answers.
        """
        ...

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask for something and wait for the answer.

        Args:
            command: One of `commands`.
            timeout: Seconds; None waits as long as the connection lives.

        Raises:
            UmbrellaError: What the node answered, rebuilt from its code.
            DeadlineExceeded: No answer in time; the work may go on.
            NodeUnavailable: The connection is gone.
        """
        ...

    def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        """Everything remembered behind `after`, then what happens, without a gap or a repeat.

        All clients see the same records in the same order. A reader that is too slow delays no other one; it
        loses passing notices first, and if records would be lost, the iterator ends with `TooMuch`: its
        `details["position"]` is that of the last record given, and following again from there continues.

        Raises:
            NotFound: No such session.
            NodeUnavailable: The connection is gone.
        """
        ...

    async def disconnect(self, reason: str = "") -> None:
        """Leave; what was asked for goes on. Harmless when repeated."""
        ...


class View(Protocol[S]):
    """The client's own picture of a session, built from what it is told."""

    def handle_event(self, event: Notice, state: S) -> S:
        """Return the picture after one notice; pure, so that a replay gives the same picture."""
        ...
