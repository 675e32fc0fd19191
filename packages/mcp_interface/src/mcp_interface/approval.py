"""A question to a person: may this principal do this, once, for this session, or always?"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from mcp_interface.capability import GrantOptions
from mcp_interface.clock import Instant
from mcp_interface.ids import ApprovalId, ExecutionId, PrincipalId, SessionId
from mcp_interface.tool import Preview, ToolInfo

Remember = Literal["once", "session", "always"]

HANDING_ON: Final = "handing on"
"""Under `for` in the metadata of a right that was given to be handed on: no use is allowed by it.

A kernel passes over it where no handle is presented. It is not inherited: whoever gets the right may use it.
"""


Effect = Literal["reads", "writes", "destroys"]


class Precedent(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody answered before."""

    at: Instant
    allow: bool
    arguments: dict[str, Any]


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One open question. The answer is bound to the hash of tool and arguments, and to the principal."""

    id: ApprovalId
    session_id: SessionId
    execution_id: ExecutionId
    principal_id: PrincipalId
    server: str
    tool: str
    arguments: dict[str, Any]
    resource_uri: str
    """The right that is missing."""
    reason: str
    """Why it was not allowed without asking."""
    fingerprint: str
    """Hash of tool definition and arguments, hex."""
    asked_at: Instant
    expires_at: Instant
    """Unanswered by then means no."""
    effect: Effect = "destroys"
    """The worst that the tool may do, by what it says of itself."""
    touches: list[str] = []
    """Every right that the call needs, not only the missing one; for the eyes, they are part of the arguments' hash."""
    agent_name: str = ""
    """Of the agent that wants it; empty for a person's own call."""
    preview: Preview | None = None
    """What it would change, if the tool can tell and whoever is asked may see it."""
    precedent: Precedent | None = None
    """The last answer to the same tool in the name of the same person."""
    suggestions: list[str] = []
    """Patterns, from narrow to wide, that a yes may be one to; each covers `resource_uri`, and the person holds it."""
    hands_on: bool = False
    """Whether the right is to be handed on to an agent below, and not to be used by who asks."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the person said."""

    allow: bool
    remember: Remember = "once"
    """Also for a no: "always" answers the same question with no from now on."""
    any_arguments: bool = False
    """Whether a yes is also one to other arguments of the same tool."""
    reason: str = ""
    """Shown to the agent when denied."""
    resource_uri: str = ""
    """A yes is one to this pattern, one of the suggestions; empty: to the very right that is missing."""
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None
    """When a yes that is remembered ends by itself; None: as `remember` says."""


class ApprovalDesk(Protocol):
    """Open questions and who waits for them. Remembers nothing across restarts: the session's events do.

    Production: `mcp_security.Approvals`.
    """

    def fingerprint(self, tool: ToolInfo, arguments: dict[str, Any]) -> str:
        """Hash that changes when the tool's definition or any argument does."""
        ...

    def open(self, approval: Approval) -> None:
        """Make a question answerable."""
        ...

    async def wait(self, approval_id: ApprovalId) -> tuple[Answer, PrincipalId]:
        """Wait for the answer and who gave it; at the deadline it is no, by `system`.

        Cancelling the waiter withdraws the question.

        Raises:
            NotFound: The question is not open.
        """
        ...

    def answer(self, approval_id: ApprovalId, answer: Answer, by: PrincipalId) -> None:
        """Answer; the first answer counts.

        Raises:
            NotFound: The question is not open (any more).
        """
        ...

    def pending(self, session_id: SessionId | None = None) -> Sequence[Approval]:
        """Open questions, oldest first."""
        ...

    def terms(self, approval: Approval, answer: Answer) -> GrantOptions:
        """What an allowed answer turns into: one use, the life of the session, or no end.

        Raises:
            NotPermitted: The arguments cannot be bound.
        """
        ...
