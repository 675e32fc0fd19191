"""The two kinds of steps that take time: a tool call, and something said to the assistant.

Both are known by the journal alone, so that a step which began in an earlier process is looked at in the same way
as one of this: a call by its execution, something said by the turn behind it.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec

from mcp_core.agents.tool_executor import Caller, ToolRequest
from mcp_core.gateway.executions import Executions
from mcp_core.gateway.plans.drafting import call_of
from mcp_core.gateway.plans.state import Held
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.state import stream_of
from mcp_core.runtime.commit import Journal
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import CancelTurn
from mcp_interface.errors import (
    ErrorBody,
    Interrupted,
    NodeUnavailable,
    NotFound,
    OurBug,
    StorageUnavailable,
    UmbrellaError,
    WrongState,
)
from mcp_interface.events import AssistantMessage, TurnEnded, UserMessage
from mcp_interface.execution import Execution
from mcp_interface.ids import ExecutionId, MessageId, PrincipalId, SessionId, new_id
from mcp_interface.plan import MessageStep, Work
from mcp_interface.session import Session

RESULT: Final = 2_000
"""Characters that are kept of what a step gave; the whole is with its call, or in the conversation."""
PAGE: Final = 200


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a step ended."""

    failed: bool
    result: str = ""
    error: ErrorBody | None = None


class Conversations(Protocol):
    """What runs the assistant's turns (`mcp_core.gateway.handlers.sessions`)."""

    def wake(self, session: Session) -> None:
        """Tell the assistant that somebody waits for it."""
        ...

    async def cancel(self, who: PrincipalId, command: CancelTurn) -> bool:
        """Stop its turn."""
        ...


class Steps:
    """Begins steps, looks how they are, and cancels them.

    Args:
        sessions: Where they run.
        executions: Makes tool calls that outlive the process.
        caller: Brings them to the executor.
        conversations: Runs turns.
        speaking: Judges what is said to the node's own model.
        journal: Holds what was said.
        clock: Dates what is said.
        entropy: Makes its ids.
    """

    def __init__(
        self,
        sessions: Sessions,
        executions: Executions,
        caller: Caller,
        conversations: Conversations,
        speaking: Speaking,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._sessions = sessions
        self._executions = executions
        self._caller = caller
        self._conversations = conversations
        self._speaking = speaking
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._dropping: set[asyncio.Task[None]] = set()

    def is_call(self, held: Held, number: int) -> bool:
        """Whether a step is a tool call, rather than something said."""
        return not isinstance(held.plan.steps[number].work, MessageStep)

    async def start(self, held: Held, number: int) -> ExecutionId | Outcome:
        """Make the tool call of a step, with the plan's rights and nothing else; nobody is asked for more.

        Returns:
            Its id, or how it ended if it was not accepted.

        Raises:
            StorageUnavailable: It could not be journaled and was not accepted.
            WrongState: The session takes no call now.
            NodeUnavailable: The node is stopping.
        """
        session = self._sessions.get(held.plan.session_id)
        call = call_of(held.plan.steps[number].work, session)
        if call is None or held.runs_as is None:
            raise OurBug(f"step {number + 1} of {held.plan.id} calls nothing")
        request = ToolRequest(
            session_id=session.id,
            principal_id=held.runs_as,
            server=call.server,
            tool=call.tool,
            arguments=call.arguments,
            detached=True,
        )
        try:
            return (await self._executions.start(request, self._caller.call)).id
        except (StorageUnavailable, WrongState, NodeUnavailable):
            raise
        except UmbrellaError as error:
            return Outcome(failed=True, error=error.body())

    async def words(self, work: Work, session: Session) -> list[UserMessage]:
        """What a step says in its session, as the person who approved it; empty for any other step.

        Raises:
            NotPermitted: The person may not have the model speak.
        """
        if not isinstance(work, MessageStep):
            return []
        arguments: dict[str, Any] = {"text": work.text, "conversation": session.id}
        await self._speaking.require(session.created_by, session.id, arguments)
        message_id = MessageId(new_id("msg", self._entropy))
        return [
            UserMessage(
                timestamp=self._clock.now(), message_id=message_id, author=session.created_by, text=work.text
            )
        ]

    def wake(self, session: Session) -> None:
        """Tell the assistant that something was said."""
        self._conversations.wake(session)

    async def outcome(self, held: Held, number: int) -> Outcome | None:
        """How a step ended that had begun, in this process or an earlier one; None while it goes on."""
        step = held.plan.steps[number]
        if isinstance(step.work, MessageStep):
            return await self._answered(held.plan.session_id, held.began)
        if step.execution_id is None:
            return None
        try:
            return _of_call(await self._executions.get(step.execution_id, held.runs_as or PrincipalId("")))
        except NotFound as error:
            return Outcome(failed=True, error=error.body())

    async def cancel(self, held: Held, number: int) -> None:
        """Stop a step; harmless when it has ended."""
        step = held.plan.steps[number]
        session = self._sessions.get(held.plan.session_id)
        if isinstance(step.work, MessageStep):
            await self._conversations.cancel(session.created_by, CancelTurn(session_id=session.id))
        elif step.execution_id is not None and held.runs_as is not None:
            await self._executions.cancel(step.execution_id, held.runs_as)

    def drop_strays(self, held: Held) -> None:
        """Cancel calls of the plan's agent that are no step's: of one that was journaled while it seemed refused.

        Not waited for: they let go when they reach the executor, which is after this.
        """
        known = {step.execution_id for step in held.plan.steps}
        if held.runs_as is None:
            return
        for execution in self._executions.listed(held.runs_as, held.plan.session_id, None):
            if execution.principal_id == held.runs_as and not execution.over and execution.id not in known:
                task = asyncio.get_running_loop().create_task(self._drop(execution))
                self._dropping.add(task)
                task.add_done_callback(self._dropping.discard)

    async def _drop(self, execution: Execution) -> None:
        with suppress(UmbrellaError):
            await self._executions.cancel(execution.id, execution.principal_id)

    async def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._dropping:
            task.cancel()
        await asyncio.gather(*self._dropping, return_exceptions=True)

    async def _answered(self, session_id: SessionId, after: int) -> Outcome | None:
        """How the turn ended that took up what was said at a place of a session; None while nothing is decided."""
        state = await self._sessions.state(session_id)
        if state.turn is not None or state.unanswered:
            return None
        words, ended = "", None
        while page := await self._journal.read(stream_of(session_id), after=after, limit=PAGE):
            for record in page:
                match record.event:
                    case AssistantMessage(text=text) if text:
                        words = text
                    case TurnEnded() as event:
                        ended = event
            after = page[-1].version
        if ended is None:
            return None
        if ended.status == "completed":
            return Outcome(failed=False, result=words[:RESULT])
        error = ended.error or Interrupted(f"the turn was {ended.status}", "look at the conversation").body()
        return Outcome(failed=True, result=words[:RESULT], error=error)


def _of_call(execution: Execution) -> Outcome | None:
    if not execution.over:
        return None
    result = "" if execution.result is None else execution.result.text[:RESULT]
    return Outcome(failed=execution.status != "SUCCESS", result=result, error=execution.error)
