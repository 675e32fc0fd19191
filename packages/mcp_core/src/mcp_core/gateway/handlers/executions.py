"""Commands about tool calls: make one and wait, start one, look, wait for it, cancel it, answer what it asks."""

from mcp_core.agents.directory import Directory
from mcp_core.agents.tool_executor import Caller, ToolRequest
from mcp_core.gateway.executions import Executions
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import Owning
from mcp_core.gateway.handlers.paging import Place, page_behind, place_at
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.sight import Sight
from mcp_interface.commands import CallOutcome, CallTool, Page
from mcp_interface.execution import (
    AnswerQuestion,
    CancelExecution,
    Execution,
    GetExecution,
    ListExecutions,
    ListQuestions,
    StartExecution,
)
from mcp_interface.ids import PrincipalId
from mcp_interface.question import Question


class ExecutionCommands:
    """Handlers over the tool calls of a node."""

    def __init__(
        self,
        executions: Executions,
        questions: OpenQuestions,
        sessions: Sessions,
        directory: Directory,
        caller: Caller,
        owner: PrincipalId,
        sight: Sight,
    ) -> None:
        self._sight = sight
        self._executions = executions
        self._questions = questions
        self._sessions = sessions
        self._directory = directory
        self._caller = caller
        self._owning = Owning(owner, sessions, directory)

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            CallTool: self.call,
            StartExecution: self.start,
            GetExecution: self.get,
            ListExecutions: self.listed,
            CancelExecution: self.cancel,
            ListQuestions: self.questions,
            AnswerQuestion: self.answer,
        }

    async def call(self, who: PrincipalId, command: CallTool) -> CallOutcome:
        """One tool call, waited for; its execution can be asked about like any other."""
        return await self._caller.call(await self._request(who, command))

    async def start(self, who: PrincipalId, command: StartExecution) -> Execution:
        """One tool call that goes on by itself."""
        return await self._executions.start(await self._request(who, command), self._caller.call)

    async def get(self, who: PrincipalId, command: GetExecution) -> Execution:
        """One tool call, perhaps after its end."""
        return await self._executions.get(command.execution_id, who, command.wait_s)

    async def listed(self, who: PrincipalId, command: ListExecutions) -> Page[Execution]:
        """The caller's tool calls."""
        if command.session_id is not None:
            await self._sessions.find(command.session_id, who)
        found = self._executions.listed(who, command.session_id, command.status)
        return page_behind(found, _place_of, command.limit, command.cursor, falling=True)

    async def cancel(self, who: PrincipalId, command: CancelExecution) -> Execution:
        """Stop one tool call."""
        return await self._executions.cancel(command.execution_id, who)

    async def questions(self, who: PrincipalId, command: ListQuestions) -> Page[Question]:
        """What the caller may answer."""
        if command.session_id is not None:
            await self._sessions.find(command.session_id, who)
        found = await self._questions.pending(who, command.session_id, command.execution_id)
        return page_behind(found, _place_of_question, command.limit, command.cursor)

    async def answer(self, who: PrincipalId, command: AnswerQuestion) -> None:
        """Answer what a tool asks."""
        await self._questions.answer(command.question_id, who, command.response)

    async def _request(self, who: PrincipalId, command: CallTool | StartExecution) -> ToolRequest:
        """What is to be run with whose rights; acting as an agent never asks anybody, it is allowed or denied."""
        self._sight.check(who, command.server, command.tool)
        principal = who
        if command.as_agent is not None:
            agent = self._owning.agent(who, command.as_agent)
            self._directory.ref(agent.id)
            principal = PrincipalId(agent.id)
        if command.session_id is None:
            session = await self._sessions.console(who)
        else:
            session = await self._sessions.find(command.session_id, who)
        return ToolRequest(
            session_id=session.id,
            principal_id=principal,
            server=command.server,
            tool=command.tool,
            arguments=command.arguments,
            timeout_s=None if command.timeout_ms is None else command.timeout_ms / 1000,
            answers=command.answers if isinstance(command, StartExecution) else None,
            detached=isinstance(command, StartExecution),
        )


def _place_of_question(question: Question) -> Place:
    return place_at(question.asked_at, question.id)


def _place_of(execution: Execution) -> Place:
    return place_at(execution.accepted_at, execution.id)
