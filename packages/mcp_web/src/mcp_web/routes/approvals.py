"""/api/approvals: questions that wait for a person."""

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from mcp_interface.approval import Answer, Approval
from mcp_interface.commands import AnswerApproval, ListApprovals, Page
from mcp_interface.ids import ApprovalId, SessionId
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


ROUTES = [list_approvals, answer_approval]
