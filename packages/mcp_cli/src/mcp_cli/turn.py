"""One turn of the assistant with nobody at the keyboard: post, stream, answer no to what would need a person.

Everything that is seen is folded into a `Transcript`; the report is read off it at the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from mcp_cli.exit_codes import DENIED, FAILED, INTERRUPTED, OK, exit_code
from mcp_cli.following import following
from mcp_cli.interview import Interview
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
    ErrorBody,
    NodeUnavailable,
    NotFound,
    UmbrellaError,
    error_from,
)
from mcp_interface.events import (
    ApprovalAsked,
    AssistantMessage,
    QuestionAnswered,
    QuestionAsked,
    TurnEnded,
    TurnStarted,
)
from mcp_interface.ids import AgentId, CapabilityId, MessageId, SessionId, TurnId
from mcp_interface.provider import Usage
from mcp_interface.session import Session
from mcp_interface.store import Record
from mcp_interface.tool import ToolResult

NOBODY: Final = "nobody can be asked in a headless run"
LEAVE_S: Final = 5.0
"""Seconds to tidy up: stop the turn, take the lent rights back."""
LENT_BEYOND_S: Final = 60.0
"""How much longer than the turn a lent right may live if this process dies."""


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call of the turn."""

    server: str
    tool: str
    arguments: dict[str, Any]
    state: str
    seconds: float | None = None
    result: ToolResult | None = None
    error: ErrorBody | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A question that could not be put to anybody."""

    server: str
    tool: str
    resource_uri: str
    remedy: str


class TurnReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn went; the JSON document of `umbrella ask`."""

    session_id: SessionId
    turn_id: TurnId | None
    status: Literal["completed", "failed", "cancelled", "interrupted"]
    text: str
    model: str
    usage: Usage
    tool_calls: list[CallReport]
    refused: list[Refusal]
    error: ErrorBody | None = None

    @property
    def code(self) -> int:
        """The exit code: 3 also for a turn that ended well although something was refused."""
        if self.status == "completed":
            return DENIED if self.refused else OK
        if self.status == "failed":
            return exit_code(error_from(self.error)) if self.error is not None else FAILED
        return INTERRUPTED


class Turn:
    """Runs one turn in a session.

    Args:
        client: Connected.
        session: Where.
        allow: Resource patterns lent to the assistant for this turn.
        timeout: Seconds for the whole turn.
        on_text: Is given the answer's text as it comes.
        on_step: Is told of tool calls and refusals, for people.
        interview: Is given what the tools of the turn want to know.
    """

    def __init__(
        self,
        client: Client,
        session: Session,
        allow: Sequence[str],
        timeout: float,
        on_text: Callable[[str], None],
        on_step: Callable[[str], None],
        interview: Interview,
    ) -> None:
        self._client = client
        self._session = session
        self._allow = allow
        self._timeout = timeout
        self._on_text = on_text
        self._on_step = on_step
        self._interview = interview
        self._state = Transcript(session_id=session.id)
        self._refused: list[Refusal] = []
        self._written: dict[MessageId, int] = {}
        self._turn: TurnId | None = None
        self._heard = False
        """Whether the assistant has turned to our message."""

    async def run(self, prompt: str) -> TurnReport:
        """Post the prompt and wait for the end of the turn.

        Raises:
            DeadlineExceeded: It took too long; the turn was cancelled.
            NodeUnavailable: The node went away.
        """
        lent: list[CapabilityId] = []
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
            case Record(event=ApprovalAsked() as event):
                await self._refuse(event.approval)
            case Record(event=QuestionAsked() as event):
                self._interview.open(event.question)
            case Record(event=QuestionAnswered() as event):
                self._interview.close(event.question_id)
        if self._state.blocks is not before.blocks:
            self._tell(before)

    def _write(self, message_id: MessageId, text: str) -> None:
        if not text:
            return
        if message_id not in self._written and self._written:
            self._on_text("\n\n")
        self._written[message_id] = self._written.get(message_id, 0) + len(text)
        self._on_text(text)

    def _tell(self, before: Transcript) -> None:
        known = set(map(id, before.blocks))
        for block in self._state.blocks[-8:]:
            if isinstance(block, ToolCard) and block.state != "running" and id(block) not in known:
                problem = f": {block.error.message}" if block.error is not None else ""
                self._on_step(f"{block.server}.{block.tool} {block.state}{problem}")

    async def _refuse(self, approval: Approval) -> None:
        remedy = f"--allow '{approval.resource_uri}'"
        self._refused.append(
            Refusal(
                server=approval.server,
                tool=approval.tool,
                resource_uri=approval.resource_uri,
                remedy=remedy,
            )
        )
        self._on_step(f"{approval.server}.{approval.tool} needs a person's approval; allow it with {remedy}")
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
                self._on_step(f"{capability} could not be taken back and ends by itself: {error.message}")

    def _report(self, ended: TurnEnded) -> TurnReport:
        words = [block.text for block in self._state.blocks if isinstance(block, Answered)]
        cards = [block for block in self._state.blocks if isinstance(block, ToolCard)]
        return TurnReport(
            session_id=self._session.id,
            turn_id=self._turn,
            status=ended.status,
            text="\n\n".join(words),
            model=self._state.answered_by,
            usage=Usage(input_tokens=self._state.input_tokens, output_tokens=self._state.output_tokens),
            tool_calls=[
                CallReport(
                    server=card.server,
                    tool=card.tool,
                    arguments=card.arguments,
                    state=card.state,
                    seconds=card.seconds,
                    result=card.result,
                    error=card.error,
                )
                for card in cards
            ],
            refused=self._refused,
            error=ended.error,
        )
