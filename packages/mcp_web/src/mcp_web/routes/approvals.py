"""/api/approvals: questions that wait for a person. /api/refusals: those that are never asked again."""

from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from mcp_interface.approval import Answer, Approval
from mcp_interface.commands import (
    AnswerApproval,
    ForgetRefusal,
    ListApprovals,
    ListRefusals,
    Page,
    Refusal,
)
from mcp_interface.ids import ApprovalId, PrincipalId, SessionId
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


@get("/approvals", responses=PROBLEMS, summary="List open questions, oldest first")
async def list_approvals(
    caller: CallerDependency,
    session_id: FromQuery[str | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Approval]:
    """Of one session or of all."""
    within = SessionId(session_id) if session_id else None
    return await caller.ask(ListApprovals(session_id=within, limit=limit, cursor=cursor))


@post("/approvals/{approval_id:str}", status_code=204, responses=PROBLEMS, summary="Answer an open question")
async def answer_approval(
    caller: CallerDependency, approval_id: FromPath[str], data: JSONBody[Answer]
) -> None:
    """The first answer counts; a later one finds nothing."""
    await caller.ask(AnswerApproval(approval_id=ApprovalId(approval_id), answer=data))


@get("/refusals", responses=PROBLEMS, summary='List questions that were answered with "never", oldest first')
async def list_refusals(caller: CallerDependency, limit: Limit = 50, cursor: Cursor = None) -> Page[Refusal]:
    """They are answered with no without asking."""
    return await caller.ask(ListRefusals(limit=limit, cursor=cursor))


@delete(
    "/refusals/{principal_id:str}/{fingerprint:str}",
    responses=PROBLEMS,
    summary="Let a question be asked again",
)
async def forget_refusal(
    caller: CallerDependency, principal_id: FromPath[str], fingerprint: FromPath[str]
) -> None:
    """Harmless when repeated."""
    await caller.ask(ForgetRefusal(principal_id=PrincipalId(principal_id), fingerprint=fingerprint))


ROUTES = [list_approvals, answer_approval, list_refusals, forget_refusal]
