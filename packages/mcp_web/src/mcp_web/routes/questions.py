"""/api/questions: what tools that run want to know, and the answers."""

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from mcp_interface.commands import Page
from mcp_interface.execution import AnswerQuestion, ListQuestions
from mcp_interface.ids import ExecutionId, QuestionId, SessionId
from mcp_interface.question import Question, Response
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit


@get("/questions", responses=PROBLEMS, summary="List open questions of tools, oldest first")
async def list_questions(
    caller: CallerDependency,
    session_id: FromQuery[str | None] = None,
    execution_id: FromQuery[str | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Question]:
    """Of one session, of one call, or all that you may answer."""
    return await caller.ask(
        ListQuestions(
            session_id=SessionId(session_id) if session_id else None,
            execution_id=ExecutionId(execution_id) if execution_id else None,
            limit=limit,
            cursor=cursor,
        )
    )


@post(
    "/questions/{question_id:str}",
    status_code=204,
    responses=PROBLEMS,
    summary="Answer an open question of a tool",
)
async def answer_question(
    caller: CallerDependency, question_id: FromPath[str], data: JSONBody[Response]
) -> None:
    """The first answer counts. One that does not fit is refused, and `details.field` names the field."""
    await caller.ask(AnswerQuestion(question_id=QuestionId(question_id), response=data))


ROUTES = [list_questions, answer_question]
