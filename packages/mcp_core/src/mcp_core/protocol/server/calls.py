"""tools/call: a call becomes an execution of the node, and its end the answer.

Meanwhile its progress and what it says go to the client. What it wants to know is asked in the client's own era: on the
back channel, or by answering with the questions and a sealed state, with which the client comes back. Who hangs up
cancels the execution; one whose questions were handed over waits on its own.

Source: Model Context Protocol 2025-11-25 and 2026-07-28, tools, progress, cancellation, multi-round-trip requests.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any

from mcp.server.connection import allowed_log_levels
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_core.protocol.server import wire
from mcp_core.protocol.server.backchannel import ask_client, lowest_level
from mcp_core.protocol.server.feed import Feed, Lost, Queue, Told
from mcp_core.protocol.server.portal import Portal
from mcp_core.protocol.server.seal import Seal, Waiting
from mcp_core.protocol.server.tasks import created, patience
from mcp_interface.client import ToolProgress, ToolSaid
from mcp_interface.errors import CallerMistaken, NotFound, UmbrellaError
from mcp_interface.events import ExecutionChanged, QuestionAnswered, QuestionAsked
from mcp_interface.execution import AnswerQuestion, Execution, GetExecution, ListQuestions
from mcp_interface.ids import ExecutionId, QuestionId
from mcp_interface.question import Question
from mcp_interface.store import Record
from mcp_interface.tool import ToolInfo

log = logging.getLogger(__name__)

Context = ServerRequestContext[Any, Any]
Opening = AbstractAsyncContextManager[Feed]
"""Of the feed in which a call is told of."""


class ToolCalls:
    """Carries calls between clients and the node.

    Args:
        seal: Seals what clients of the stateless era carry.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    async def call(self, ctx: Context, params: CallToolRequestParams, portal: Portal) -> dict[str, Any]:
        """Run a tool, or go on with a call that had questions.

        Raises:
            MCPError: As `wire.tool_failure`; or the name or the state is none of ours.
        """
        given = {
            key: each.model_dump(mode="json", by_alias=True, exclude_none=True)
            for key, each in (params.input_responses or {}).items()
        }
        fresh = params.request_state is None
        try:
            tool = await portal.catalogue.tool(params.name)
            seconds = patience(ctx, tool, portal, asked=not fresh)
            if fresh:
                opening, execution_id = await self._begun(ctx, portal, params, tool)
            else:
                opening, execution_id = await self._taken_up(portal, params)
        except UmbrellaError as error:
            return wire.tool_failure(error.body())
        waiting = _Wait(ctx, portal, execution_id, given)
        try:
            async with opening as feed:
                with feed.attend(execution_id) as told:
                    if not fresh:
                        await waiting.look()
                    await waiting.until(told, seconds)
            always = seconds is not None and tool.task_support == "required"
            if not waiting.unanswered and (always or not waiting.over):
                return await created(portal, execution_id)
        except asyncio.CancelledError:
            portal.cancel(execution_id)
            raise
        except UmbrellaError as error:
            return wire.tool_failure(error.body())
        finally:
            await waiting.close()
        if waiting.unanswered:
            state = Waiting(
                principal_id=await portal.principal(), target=f"tool {params.name}", execution_id=execution_id
            )
            return {
                "resultType": "input_required",
                "inputRequests": {
                    each.inquiry.key: wire.inquiry(each.inquiry) for each in waiting.unanswered
                },
                "requestState": self._seal.close(state),
            }
        return waiting.outcome()

    async def _begun(
        self, ctx: Context, portal: Portal, params: CallToolRequestParams, tool: ToolInfo
    ) -> "tuple[Opening, ExecutionId]":
        answers = wire.answerable(ctx.session.client_capabilities)
        if not _is_modern(ctx) and not ctx.session.can_send_request:
            answers = []
        starting = asyncio.ensure_future(portal.start(tool, params.arguments or {}, answers))
        try:
            feed, execution = await asyncio.shield(starting)
        except asyncio.CancelledError:
            portal.later(_undo(portal, starting))
            raise
        return nullcontext(feed), execution.id

    async def _taken_up(self, portal: Portal, params: CallToolRequestParams) -> "tuple[Opening, ExecutionId]":
        """The call that a state waits for.

        Raises:
            MCPError: The state is none that was given to this principal for this tool.
            NotFound: The call is not known any more.
        """
        try:
            waiting = self._seal.open(
                params.request_state or "", await portal.principal(), f"tool {params.name}"
            )
        except CallerMistaken as error:
            raise MCPError(INVALID_PARAMS, error.message) from error
        execution_id = ExecutionId(waiting.execution_id)
        found = await portal.line.look(GetExecution(execution_id=execution_id))
        return portal.feed_of(found.session_id), execution_id


class _Wait:
    """One request that waits for one execution."""

    def __init__(
        self, ctx: Context, portal: Portal, execution_id: ExecutionId, given: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._ctx = ctx
        self._portal = portal
        self._execution_id = execution_id
        self._given = dict(given)
        self._progress = -1.0
        self._levels = allowed_log_levels(ctx.protocol_version, ctx.meta) & lowest_level(ctx)
        self._seen: set[QuestionId] = set()
        self._asking: dict[QuestionId, asyncio.Task[None]] = {}
        self._end: ExecutionChanged | Execution | None = None
        self._kept = False
        """Whether its server works for it as a task of its own."""
        self.unanswered: list[Question] = []

    @property
    def over(self) -> bool:
        """Whether there is something to answer with."""
        return self._end is not None or bool(self.unanswered)

    def outcome(self) -> dict[str, Any]:
        """The answer.

        Raises:
            MCPError: As `wire.tool_failure`.
        """
        end = self._end
        if end is not None and end.result is not None:
            return wire.tool_result(end.result)
        error = None if end is None else end.error
        if error is None:
            raise NotFound("the call has ended without a result, and nobody knows why", "report it")
        return wire.tool_failure(error)

    async def until(self, told: Queue, seconds: float | None) -> None:
        """Take in what happens, until there is something to answer with or the seconds are over; None: however long.

        Patience also ends when the tool's own server has made a task of it.
        """
        now = asyncio.get_running_loop().time
        end = None if seconds is None else now() + seconds
        while not self.over:
            if end is not None and (self._kept or now() >= end):
                return
            try:
                async with asyncio.timeout_at(end):
                    notice = await told.get()
            except TimeoutError:
                return
            await self.hear(notice)

    async def hear(self, told: Told) -> None:
        """Take in one thing that happened to the execution."""
        if isinstance(told, Lost):
            await self.look()
        elif isinstance(told, ToolProgress):
            await self._report(told)
        elif isinstance(told, ToolSaid):
            await self._say(told)
        elif isinstance(told, Record):
            match told.event:
                case ExecutionChanged(status="completed" | "failed") as end:
                    self._end = end
                case ExecutionChanged(status="kept"):
                    self._kept = True
                case QuestionAsked(question=question) if question.id not in self._seen:
                    await self._ask()
                case QuestionAnswered(question_id=question_id):
                    self._seen.add(question_id)
                    asking = self._asking.pop(question_id, None)
                    if asking is not None and asking is not asyncio.current_task():
                        asking.cancel()  # somebody else was quicker

    async def look(self) -> None:
        """See how it is, instead of hearing of it."""
        found = await self._portal.line.look(GetExecution(execution_id=self._execution_id))
        if found.over:
            self._end = found
        elif found.questions:
            await self._ask()

    async def close(self) -> None:
        """Ask the client nothing more."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self) -> None:
        """Have the open questions answered: by what the request brought, by the back channel, or by another request."""
        page = await self._portal.line.look(ListQuestions(execution_id=self._execution_id, limit=1000))
        for question in page.items:
            if question.id in self._seen:
                continue
            self._seen.add(question.id)
            if await self._answered_already(question):
                continue
            if _is_modern(self._ctx):
                self.unanswered.append(question)
            else:
                work = ask_client(self._ctx, self._portal, question)
                self._asking[question.id] = asyncio.get_running_loop().create_task(work)

    async def _answered_already(self, question: Question) -> bool:
        """Answer by what the client sent along; what does not fit is asked again."""
        given = self._given.pop(question.inquiry.key, None)
        if given is None:
            return False
        try:
            response = wire.response(question.inquiry, given)
            await self._portal.line.ask(AnswerQuestion(question_id=question.id, response=response))
        except (CallerMistaken, KeyError):
            return False
        except NotFound:
            return True  # somebody else was quicker
        return True

    async def _report(self, told: ToolProgress) -> None:
        if told.progress <= self._progress:  # each has to be more than the one before
            return
        self._progress = told.progress
        await self._ctx.session.report_progress(told.progress, 100.0, told.message or None)

    async def _say(self, told: ToolSaid) -> None:
        line = told.line
        if line.level not in self._levels:
            return
        level: Any = line.level
        params = LoggingMessageNotificationParams(level=level, data=line.data, logger=line.logger or None)
        await self._ctx.session.send_notification(
            LoggingMessageNotification(params=params), related_request_id=self._ctx.request_id
        )


async def _undo(portal: Portal, starting: "asyncio.Future[tuple[Feed, Execution]]") -> None:
    """Stop a call whose client left before its id was known."""
    with suppress(UmbrellaError):
        portal.cancel((await starting)[1].id)


def _is_modern(ctx: Context) -> bool:
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
