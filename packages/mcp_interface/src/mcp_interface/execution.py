"""An execution: one tool call as it can be asked about, while it runs and after, and the commands that do so.

It is what the `ExecutionChanged` events of its session add up to, with the progress that passes by besides.
Whoever may see the session may see it, and so may the principal that began it; its id alone grants nothing.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from mcp_interface.clock import Instant
from mcp_interface.commands import Command, Limit, Page
from mcp_interface.errors import ErrorBody, InvalidRecord
from mcp_interface.events import ExecutionChanged, QuestionAnswered, QuestionAsked
from mcp_interface.ids import AgentId, ExecutionId, PrincipalId, QuestionId, SessionId, is_id, is_principal
from mcp_interface.question import InquiryKind, Question, Response
from mcp_interface.tool import ToolResult

RunStatus = Literal["PENDING", "RUNNING", "SUCCESS", "FAILED", "CANCELLED", "TIMEOUT", "INTERRUPTED"]
"""How a run is doing. Cancelled: somebody stopped it; interrupted: its server or node died, or stopped."""
_OVER: Final = frozenset({"SUCCESS", "FAILED", "CANCELLED", "TIMEOUT", "INTERRUPTED"})
"""The states that nothing follows."""
REASON_CANCELLED: Final = "cancelled"
"""`details["reason"]` of the error of a call that somebody stopped."""


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call."""

    id: ExecutionId
    session_id: SessionId
    principal_id: PrincipalId
    """With whose rights it runs."""
    server: str
    tool: str
    status: RunStatus = "PENDING"
    """Pending: accepted, and waiting for its turn, for a right or for an answer."""
    progress: float = 0.0
    """0 to 100, as the tool says."""
    message: str = ""
    """What the tool last said about it."""
    accepted_at: Instant
    started_at: Instant | None = None
    """When the tool began; None: not yet, or it never did."""
    ended_at: Instant | None = None
    questions: list[QuestionId] = []
    """Those that are open: it waits for their answers."""
    result: ToolResult | None = None
    """When it came to its end; with status `FAILED` the tool itself says that it failed. Lists leave it out."""
    error: ErrorBody | None = None
    """Why there is no result."""

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.status in _OVER

    def validate(self) -> None:
        """Check the rules between the fields.

        Raises:
            InvalidRecord: invalid_execution_id, invalid_principal_id, invalid_progress, ended_without_end or
                result_and_error.
        """
        if not is_id("exec", self.id):
            raise InvalidRecord("invalid_execution_id", f"{self.id!r} is not the id of an execution")
        if not is_principal(self.principal_id):
            raise InvalidRecord("invalid_principal_id", f"{self.principal_id!r} cannot call a tool")
        if not 0 <= self.progress <= 100:
            raise InvalidRecord("invalid_progress", f"progress {self.progress} is not within 0 to 100")
        if self.over != (self.ended_at is not None):
            raise InvalidRecord("ended_without_end", f"{self.status} and an end at {self.ended_at}")
        if self.result is not None and self.error is not None:
            raise InvalidRecord("result_and_error", f"{self.id} has both a result and an error")


def advance_execution(execution: Execution | None, event: ExecutionChanged) -> Execution:
    """Move an execution on by one of its events; None before the first. What is over stays as it is. Pure."""
    if execution is None:
        call = event.call
        execution = Execution(
            id=event.execution_id,
            session_id=event.session_id,
            principal_id=event.principal_id,
            server="" if call is None else call.server,
            tool="" if call is None else call.tool,
            accepted_at=event.timestamp,
        )
    if execution.over:
        return execution
    match event.status:
        case "queued" | "kept":
            return execution
        case "started":
            return msgspec.structs.replace(execution, status="RUNNING", started_at=event.timestamp)
        case "progress":
            return msgspec.structs.replace(execution, progress=event.progress, message=event.message)
        case "completed":
            failed = event.result is not None and event.result.is_error
            return msgspec.structs.replace(
                execution,
                status="FAILED" if failed else "SUCCESS",
                progress=execution.progress if failed else 100.0,
                ended_at=event.timestamp,
                questions=[],
                result=event.result,
            )
        case _:  # failed
            return msgspec.structs.replace(
                execution,
                status=_failure(event.error),
                ended_at=event.timestamp,
                questions=[],
                error=event.error,
            )


def advance_questions(execution: Execution, event: QuestionAsked | QuestionAnswered) -> Execution:
    """Move an execution on by a question that was asked for it, or answered. What is over stays as it is. Pure."""
    if execution.over:
        return execution
    if isinstance(event, QuestionAsked):
        key = event.question.id
        if event.question.execution_id != execution.id or key in execution.questions:
            return execution
        return msgspec.structs.replace(execution, questions=[*execution.questions, key])
    left = [key for key in execution.questions if key != event.question_id]
    return msgspec.structs.replace(execution, questions=left)


def _failure(error: ErrorBody | None) -> RunStatus:
    code = "" if error is None else error.code
    if code == "timeout":
        return "TIMEOUT"
    if error is not None and code == "interrupted":
        return "CANCELLED" if error.details.get("reason") == REASON_CANCELLED else "INTERRUPTED"
    return "FAILED"


# -- commands --------------------------------------------------------------------------------------------


class StartExecution(Command[Execution], frozen=True, kw_only=True, tag="execution.start"):
    """As `CallTool`, without waiting: the call is durable, goes on when its client leaves, and is asked about by id.

    So many of a principal's calls run at once in a session; others wait for their turn, and beyond a bound they
    are refused.
    """

    server: str
    tool: str
    arguments: dict[str, Any] = {}
    as_agent: AgentId | None = None
    """Act with what this agent holds; None acts as the caller."""
    session_id: SessionId | None = None
    """Where it is recorded; None is the caller's command-line session."""
    timeout_ms: Annotated[int, Meta(ge=1)] | None = None
    """For the run itself; waiting for a turn or for an answer does not count."""
    answers: list[InquiryKind] | None = None
    """What the caller can answer by itself; None: what a person can, in any client."""


class GetExecution(Command[Execution], frozen=True, kw_only=True, tag="execution.get"):
    """One tool call of the caller's sessions, anybody's who called there; with its result when it has one."""

    execution_id: ExecutionId
    wait_s: Annotated[float, Meta(ge=0, le=300)] = 0.0
    """Seconds to wait for its end or for an open question; then it is given as it is."""


class ListExecutions(Command[Page[Execution]], frozen=True, kw_only=True, tag="execution.list"):
    """Tool calls of the caller's sessions, latest first, without results; the oldest are in the sessions' events only."""

    session_id: SessionId | None = None
    status: RunStatus | None = None
    limit: Limit = 50
    cursor: str | None = None


class CancelExecution(Command[Execution], frozen=True, kw_only=True, tag="execution.cancel"):
    """Stop a tool call; answers with how it is then. Harmless when it has ended.

    A tool that is slow to let go is still `RUNNING` in the answer, and `CANCELLED` when it has.
    """

    execution_id: ExecutionId


class ListQuestions(Command[Page[Question]], frozen=True, kw_only=True, tag="question.list"):
    """Open questions of tools that the caller may answer, oldest first."""

    session_id: SessionId | None = None
    execution_id: ExecutionId | None = None
    limit: Limit = 50
    cursor: str | None = None


class AnswerQuestion(Command[None], frozen=True, kw_only=True, tag="question.answer"):
    """Answer an open question; the first answer counts. The fields are checked against its schema."""

    question_id: QuestionId
    response: Response
