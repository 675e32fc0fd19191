"""One turn of the assistant with nobody at the keyboard: post, stream, answer no to what would need a person.

Everything that is seen is folded into a `Transcript`, told as it happens (`streaming_json`), and the report is read
off it at the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from mcp_cli.following import following
from mcp_cli.interview import Interview
from mcp_cli.streaming_json import (
    Begin,
    CallReport,
    Line,
    Note,
    Question,
    Refusal,
    Refused,
    Text,
    Tool,
    TurnReport,
)
from mcp_cli.transcript import Answered, ToolCard, Transcript, fold
from mcp_interface.approval import Answer, Approval
from mcp_interface.client import Client, Notice, TextDelta
from mcp_interface.commands import (
    AnswerApproval,
    CancelTurn,
    GetStatus,
    GrantCapability,
    ListAgents,
    PostMessage,
    RevokeCapability,
)
from mcp_interface.errors import (
    DeadlineExceeded,
    NodeUnavailable,
    NotFound,
    UmbrellaError,
)
from mcp_interface.events import (
    ApprovalAsked,
    AssistantMessage,
    QuestionAnswered,
    QuestionAsked,
    TurnEnded,
    TurnStarted,
)
from mcp_interface.ids import AgentId, CapabilityId, MessageId, TurnId
from mcp_interface.provider import Usage
from mcp_interface.session import Session
from mcp_interface.store import Record

NOBODY: Final = "nobody can be asked in a headless run"
LEAVE_S: Final = 5.0
"""Seconds to tidy up: stop the turn, take the lent rights back."""
LENT_BEYOND_S: Final = 60.0
"""How much longer than the turn a lent right may live if this process dies."""


class Turn:
    """Runs one turn in a session.

    Args:
        client: Connected.
        session: Where.
        allow: Resource patterns lent to the assistant for this turn.
        timeout: Seconds for the whole turn.
        tell: Is told what happens, as it happens.
        interview: Is given what the tools of the turn want to know.
    """

    def __init__(
        self,
        client: Client,
        session: Session,
        allow: Sequence[str],
        timeout: float,
        tell: Callable[[Line], None],
        interview: Interview,
    ) -> None:
        self._client = client
        self._session = session
        self._allow = allow
        self._timeout = timeout
        self._tell = tell
        self._interview = interview
        self._state = Transcript(session_id=session.id)
        self._refused: list[Refusal] = []
        self._written: dict[MessageId, int] = {}
        self._turn: TurnId | None = None
        self._usage = Usage()
        self._cost: float | None = 0.0
        self._heard = False
        """Whether the assistant has turned to our message."""

    async def run(self, prompt: str) -> TurnReport:
        """Post the prompt and wait for the end of the turn.

        Raises:
            DeadlineExceeded: It took too long; the turn was cancelled.
            NodeUnavailable: The node went away.
        """
        lent: list[CapabilityId] = []
        self._tell(Begin(session_id=self._session.id, model=self._session.model))
        try:
            async with asyncio.timeout(self._timeout) as limit:
                await self._lend(lent)
                ended = await self._follow(prompt)
        except TimeoutError as error:
            await self._cancel()
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"the turn did not end within {self._timeout:g} s", "give it more time with --timeout"
            ) from error
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel())
            raise
        finally:
            await self._interview.end()
            await asyncio.shield(self._take_back(lent))
        return self._report(ended)

    async def _lend(self, lent: list[CapabilityId]) -> None:
        if not self._allow:
            return
        assistant = await self._assistant()
        for pattern in self._allow:
            order = GrantCapability(
                agent=assistant, resource_uri=pattern, expires_in_s=self._timeout + LENT_BEYOND_S
            )
            lent.append((await self._client.request(order)).id)

    async def _assistant(self) -> AgentId:
        page = await self._client.request(ListAgents(session_id=self._session.id))
        found = next((agent.id for agent in page.items if agent.type == "llm"), None)
        if found is None:
            raise NotFound(f"{self._session.id} has no assistant", "begin a new session")
        return found

    async def _follow(self, prompt: str) -> TurnEnded:
        after = (await self._client.request(GetStatus())).position
        message = asyncio.create_task(
            self._client.request(PostMessage(session_id=self._session.id, text=prompt))
        )
        try:
            async with following(self._client, self._session.id, after) as notices:
                async for notice in notices:
                    if message.done():
                        message.result()  # not accepted: there is nothing to wait for
                    await self._take(notice)
                    if isinstance(notice, Record) and isinstance(notice.event, TurnEnded) and self._heard:
                        return notice.event
        finally:
            message.cancel()
            await asyncio.gather(message, return_exceptions=True)
        raise NodeUnavailable("the node stopped during the turn", "look at its log: umbrella logs")

    async def _take(self, notice: Notice) -> None:
        before = self._state
        self._state = fold(before, notice)
        match notice:
            case TextDelta():
                self._write(notice.message_id, notice.text)
            case Record(event=TurnStarted() | AssistantMessage() as event):
                self._heard, self._turn = True, event.turn_id
                if isinstance(event, AssistantMessage):
                    self._write(event.message_id, event.text[self._written.get(event.message_id, 0) :])
                    self._count(event)
            case Record(event=ApprovalAsked() as event):
                await self._refuse(event.approval)
            case Record(event=QuestionAsked() as event):
                asked = event.question
                self._tell(
                    Question(
                        question_id=asked.id,
                        server=asked.server,
                        tool=asked.tool,
                        message=asked.inquiry.message,
                    )
                )
                self._interview.open(asked)
            case Record(event=QuestionAnswered() as event):
                self._interview.close(event.question_id)
        if self._state.blocks is not before.blocks:
            self._tell_of_tools(before)

    def _write(self, message_id: MessageId, text: str) -> None:
        if text:
            self._written[message_id] = self._written.get(message_id, 0) + len(text)
            self._tell(Text(message_id=message_id, text=text))

    def _count(self, answer: AssistantMessage) -> None:
        known, more = self._usage, answer.usage
        self._usage = Usage(
            input_tokens=known.input_tokens + more.input_tokens,
            output_tokens=known.output_tokens + more.output_tokens,
            cached_tokens=known.cached_tokens + more.cached_tokens,
            cache_written_tokens=known.cache_written_tokens + more.cache_written_tokens,
        )
        # of what is not known no sum is made
        self._cost = None if self._cost is None or answer.cost is None else self._cost + answer.cost

    def _tell_of_tools(self, before: Transcript) -> None:
        states = {block.execution_id: block.state for block in before.blocks if isinstance(block, ToolCard)}
        for block in self._state.blocks:
            if isinstance(block, ToolCard) and states.get(block.execution_id) != block.state:
                self._tell(Tool(execution_id=block.execution_id, call=_report_of(block)))

    async def _refuse(self, approval: Approval) -> None:
        remedy = f"--allow '{approval.resource_uri}'"
        refusal = Refusal(
            server=approval.server,
            tool=approval.tool,
            resource_uri=approval.resource_uri,
            remedy=remedy,
        )
        self._refused.append(refusal)
        self._tell(Refused(refusal=refusal))
        answer = Answer(allow=False, reason=f"{NOBODY}; the person can allow it with {remedy}")
        try:
            await self._client.request(AnswerApproval(approval_id=approval.id, answer=answer))
        except NotFound:
            return  # another client was first

    async def _cancel(self) -> None:
        try:
            await self._client.request(CancelTurn(session_id=self._session.id), timeout=LEAVE_S)
        except UmbrellaError:
            return  # it ended by itself, or the node is gone: there is nothing left to stop

    async def _take_back(self, lent: Sequence[CapabilityId]) -> None:
        for capability in lent:
            try:
                await self._client.request(
                    RevokeCapability(capability_id=capability, reason="the headless turn is over"),
                    timeout=LEAVE_S,
                )
            except UmbrellaError as error:
                text = f"{capability} could not be taken back and ends by itself: {error.message}"
                self._tell(Note(text=text))

    def _report(self, ended: TurnEnded) -> TurnReport:
        words = [block.text for block in self._state.blocks if isinstance(block, Answered)]
        cards = [block for block in self._state.blocks if isinstance(block, ToolCard)]
        return TurnReport(
            session_id=self._session.id,
            turn_id=self._turn,
            status=ended.status,
            text="\n\n".join(words),
            model=self._state.answered_by,
            usage=self._usage,
            cost=self._cost,
            tool_calls=[_report_of(card) for card in cards],
            refused=self._refused,
            error=ended.error,
        )


def _report_of(card: ToolCard) -> CallReport:
    return CallReport(
        server=card.server,
        tool=card.tool,
        arguments=card.arguments,
        state=card.state,
        seconds=card.seconds,
        result=card.result,
        error=card.error,
    )
