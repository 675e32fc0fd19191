"""The assistant of a session: reads the conversation, asks a model, runs the tools it wants, until it is done.

One turn runs as a task beside the mailbox, so that a cancel always gets through. Everything it says or does
is committed to the session before the next step builds on it; only the text on its way passes by unrecorded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from mcp_core.agents.choice import FIND_TOOLS, Choice
from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.providers.lender import Lent
from mcp_interface.agent import AgentRecord, Ok, Reply, Skill, Stop
from mcp_interface.capability import Capability
from mcp_interface.client import Passing, TextDelta
from mcp_interface.clock import Clock, Entropy
from mcp_interface.codec import from_external, to_external
from mcp_interface.commands import CallOutcome
from mcp_interface.envelope import Envelope
from mcp_interface.errors import (
    CallerMistaken,
    Interrupted,
    OurBug,
    StorageUnavailable,
    TooMuch,
    UmbrellaError,
    WrongState,
)
from mcp_interface.events import (
    AssistantMessage,
    ExecutionChanged,
    SessionEvent,
    ToolCall,
    TurnEnded,
    TurnStarted,
)
from mcp_interface.ids import AgentId, ExecutionId, MessageId, PrincipalId, SessionId, TurnId, new_id
from mcp_interface.provider import (
    ChatMessage,
    Completion,
    Finished,
    TextChunk,
    ToolUse,
    ToolUseChunk,
)
from mcp_interface.session import Session, check_open
from mcp_interface.store import Record
from mcp_interface.telemetry import Telemetry
from mcp_interface.tool import ToolInfo, ToolResult, text_result

SYSTEM_PROMPT: Final = (
    "You are the assistant of an Umbrella session. Tools belong to servers; each call is checked against the "
    "rights you hold, and a person may be asked. When a call is denied you are told why: explain it to the "
    "person instead of trying to get around it. Answer in Markdown, briefly."
)
log = logging.getLogger(__name__)

DELTA_BYTES: Final = 64
"""Text is passed on in pieces of about this size, so that a fast model does not flood the followers."""
DELTA_S: Final = 0.1
"""Seconds after which a smaller piece is passed on too: a slow model is read word by word."""
JOURNAL_AGAIN_S: Final = 1.0
"""Seconds until a turn is tried again that the journal refused."""


class Begin(msgspec.Struct, frozen=True):
    """Payload: a person has spoken."""


class Cancel(msgspec.Struct, frozen=True):
    """Payload: stop the turn; the reply is whether there was one."""


class AssistantState(msgspec.Struct, frozen=True):
    """Nothing: all that an assistant knows is in the session."""


class OpenTurn(Protocol):
    """A turn that has not ended."""

    id: TurnId
    agent_id: AgentId
    answered: bool
    """Whether nothing is left of it but its end."""


class OpenCall(Protocol):
    """A tool call that has not ended."""

    @property
    def call(self) -> ToolCall:
        """As it was journaled."""
        ...


class Conversation(Protocol):
    """A session as its assistant sees it."""

    window: list[ChatMessage]
    """What was said, as a model reads it."""
    spoken: int
    """How many messages of people there are."""

    @property
    def running(self) -> Mapping[ExecutionId, OpenCall]:
        """The tool calls that have not ended."""
        ...

    @property
    def turn_goes_on(self) -> bool:
        """Whether the turn survives its process, as a call of it waits for a person."""
        ...

    @property
    def turn(self) -> "OpenTurn | None":
        """The turn that is going on."""
        ...

    @property
    def unanswered(self) -> bool:
        """Whether a person has said something that no turn has taken up."""
        ...


class Conversations(Protocol):
    """Where sessions are read and continued (`mcp_core.gateway.sessions`)."""

    def get(self, session_id: SessionId) -> Session:
        """The session as listed."""
        ...

    async def state(self, session_id: SessionId) -> Conversation:
        """A copy of the conversation as it is now."""
        ...

    async def add(self, session_id: SessionId, *events: SessionEvent) -> Sequence[Record]:
        """Commit events."""
        ...


class Offer(Protocol):
    """Which tools there are (`mcp_core.gateway.toolbox`)."""

    def listed(self) -> list[ToolInfo]:
        """Every tool that is known now."""
        ...


class Calls(Protocol):
    """How tool calls are made (`tool_executor.Caller`)."""

    async def call(self, request: ToolRequest) -> CallOutcome:
        """Run one tool call."""
        ...


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What an assistant works with."""

    sessions: Conversations
    toolbox: Offer
    calls: Calls
    model: Callable[[str], Awaitable[Lent]]
    """From a session's model choice to a model that can be asked; raises `ModelUnavailable`."""
    publish: Callable[[Passing], None]
    telemetry: Telemetry
    clock: Clock
    entropy: Entropy
    max_steps: int
    stopping: Callable[[], bool]
    """Whether the node is about to stop, so that nobody has cancelled what is cut off now."""


class Assistant:
    """An `Agent` over one session."""

    def __init__(self, record: AgentRecord, around: Surroundings) -> None:
        if record.session_id is None:
            raise CallerMistaken("an assistant needs a session", "give it a session id")
        self._id = record.id
        self._session_id = record.session_id
        self._around = around
        self._turn: asyncio.Task[None] | None = None
        self._again = False
        self._detached = False
        self._cancelled = False
        """Whether somebody has cancelled the turn; its end may come when the node is stopping already."""

    async def init(self, args: Mapping[str, Any]) -> Ok[AssistantState] | Stop[AssistantState]:
        """Begin idle."""
        return Ok(AssistantState())

    async def handle_message(
        self, envelope: Envelope, state: AssistantState
    ) -> Ok[AssistantState] | Reply[AssistantState] | Stop[AssistantState]:
        """Begin or cancel a turn. Speaking during a turn is heard at its next step."""
        match envelope.payload:
            case Begin():
                self._begin()
                return Ok(state)
            case Cancel():
                running = self._turn is not None and not self._turn.done()
                if self._turn is not None and running:
                    self._cancelled = True
                    self._turn.cancel()
                return Reply(running, state)
        raise CallerMistaken("an assistant takes Begin and Cancel")

    async def handle_capability(
        self, capability: Capability, state: AssistantState
    ) -> Ok[AssistantState] | Stop[AssistantState]:
        """A new right is used the next time it is needed."""
        return Ok(state)

    async def terminate(self, reason: str, state: AssistantState) -> None:
        """Stop the turn that is going on."""
        self._again = False
        if self._turn is not None:
            self._turn.cancel()
            await asyncio.gather(self._turn, return_exceptions=True)

    def is_busy(self, state: AssistantState) -> bool:
        """While a turn goes on."""
        return self._turn is not None and not self._turn.done()

    def detach(self) -> None:
        """Leave the turn as it is: its calls go on, and the successor goes on with it."""
        self._detached = True
        self._again = False
        if self._turn is not None:
            self._turn.cancel()

    def export_state(self, state: AssistantState) -> Mapping[str, Any]:
        """The state as plain data."""
        exported: Mapping[str, Any] = to_external(state)
        return exported

    def import_state(self, data: Mapping[str, Any]) -> AssistantState:
        """The state from plain data; a turn that a predecessor has left is taken up.

        Raises:
            InvalidRecord: It is not one.
        """
        state: AssistantState = from_external(data, AssistantState)
        self._begin()
        return state

    def skills(self) -> list[Skill]:
        """Conversation."""
        return [Skill(name="converse", description="Answer a person, with tools where they help")]

    def _begin(self) -> None:
        if self._turn is None or self._turn.done():
            self._cancelled = False
            self._turn = asyncio.get_running_loop().create_task(self._work())
            self._turn.add_done_callback(self._worked)
        else:
            self._again = True  # it may be on its way out already

    def _worked(self, turn: asyncio.Task[None]) -> None:
        if not turn.cancelled() and turn.exception() is not None:
            log.error("a turn of %s failed: %r", self._session_id, turn.exception())
        if turn.cancelled() and self._cancelled and not self._detached:
            self._cancelled = False  # perhaps before it had taken up a turn that was left: that ends too
            self._turn = asyncio.get_running_loop().create_task(self._cut_off_left())
            self._turn.add_done_callback(self._worked)
        elif self._again:
            self._again = False
            self._begin()

    async def _work(self) -> None:
        """Take up what people have said, until nothing is left; while nothing can be recorded, wait."""
        while True:
            state = await self._around.sessions.state(self._session_id)
            left = self._mine(state)
            if left is None and not state.unanswered:
                return
            try:
                await self._one_turn(left)
            except StorageUnavailable as error:
                log.warning("the assistant of %s waits for the journal: %s", self._session_id, error)
                await self._around.clock.sleep(JOURNAL_AGAIN_S)
            except WrongState:
                return  # suspended, or over; what is unanswered is taken up when it is resumed

    async def _one_turn(self, left: OpenTurn | None) -> None:
        """Take a turn, or go on with one that was left."""
        turn_id = TurnId(new_id("turn", self._around.entropy)) if left is None else left.id
        began = left is not None
        try:
            if left is None:
                await self._add(TurnStarted(timestamp=self._now(), turn_id=turn_id, agent_id=self._id))
                began = True
            else:
                await self._answer_calls()
            if left is None or not left.answered:
                await self._steps(turn_id)
        except asyncio.CancelledError:
            if not self._detached:
                await asyncio.shield(self._cut_off(turn_id))
            raise
        except WrongState as error:
            if not began:
                raise
            await self._end(turn_id, "cancelled", error)
        except UmbrellaError as error:
            if not began:
                raise
            await self._end(turn_id, "failed", error)
        except Exception as error:
            await self._end(turn_id, "failed", OurBug(f"the turn failed unexpectedly: {error!r}"[:500]))
            raise
        else:
            await self._end(turn_id, "completed")

    async def _answer_calls(self) -> None:
        """Run, or join, the tool calls of the last message that have no outcome yet."""
        state = await self._around.sessions.state(self._session_id)
        window = state.window
        # those of an earlier process are known by their use: their servers may not have listed their tools yet
        left = {each.call.tool_use_id: each.call for each in state.running.values()}
        answered = {output.tool_use_id for said in window for output in said.tool_outputs}
        uses = [use for said in window for use in said.tool_uses if use.id not in answered]
        choice = Choice(self._around.toolbox.listed())
        await asyncio.gather(*(self._run(use, choice, left.get(use.id)) for use in uses))

    async def _steps(self, turn_id: TurnId) -> None:
        for _ in range(self._around.max_steps):
            check_open(self._around.sessions.get(self._session_id))
            choice = Choice(self._around.toolbox.listed())
            uses = await self._think(turn_id, choice)
            if not uses:
                return
            await asyncio.gather(*(self._run(use, choice) for use in uses))
        raise TooMuch(
            f"the turn was stopped after {self._around.max_steps} steps", "send a message to let it go on"
        )

    async def _think(self, turn_id: TurnId, choice: Choice) -> list[ToolUse]:
        """Ask the model once and commit what it said; answers the tools it wants."""
        around = self._around
        state = await around.sessions.state(self._session_id)
        session = around.sessions.get(self._session_id)
        lent = await around.model(session.model)
        provider, model = lent.provider, lent.model
        message_id = MessageId(new_id("msg", around.entropy))
        window = state.window
        completion = Completion(
            model=model, system=SYSTEM_PROMPT, messages=window, tools=choice.shown(window)
        )
        text, waiting, uses, finished = "", "", list[ToolUse](), Finished(stop_reason="other")
        began = passed_on = around.clock.monotonic()

        def flush() -> None:
            if waiting:
                around.publish(
                    TextDelta(
                        session_id=self._session_id, turn_id=turn_id, message_id=message_id, text=waiting
                    )
                )

        try:
            async for chunk in provider.stream(completion):
                match chunk:
                    case TextChunk():
                        text += chunk.text
                        waiting += chunk.text
                        now = around.clock.monotonic()
                        if len(waiting) >= DELTA_BYTES or "\n" in chunk.text or now - passed_on >= DELTA_S:
                            flush()
                            waiting, passed_on = "", now
                    case ToolUseChunk():
                        uses.append(chunk.tool_use)
                    case Finished():
                        finished = chunk
        except asyncio.CancelledError:
            if text and not self._detached:
                # What the person has already read stays in the conversation.
                await asyncio.shield(self._say(turn_id, message_id, text, [], finished, state.spoken))
            raise
        flush()
        around.telemetry.emit(
            "mcp.model.stop",
            {
                "duration_s": around.clock.monotonic() - began,
                "input_tokens": finished.usage.input_tokens,
                "output_tokens": finished.usage.output_tokens,
            },
            {"model": finished.model or model, "session_id": self._session_id},
        )
        await self._say(turn_id, message_id, text, uses, finished, state.spoken)
        return uses

    async def _say(
        self,
        turn_id: TurnId,
        message_id: MessageId,
        text: str,
        uses: list[ToolUse],
        finished: Finished,
        heard: int,
    ) -> None:
        await self._add(
            AssistantMessage(
                timestamp=self._now(),
                message_id=message_id,
                turn_id=turn_id,
                agent_id=self._id,
                text=text,
                tool_uses=uses,
                model=finished.model,
                usage=finished.usage,
                heard=heard,
            )
        )

    async def _run(self, use: ToolUse, choice: Choice, left: ToolCall | None = None) -> None:
        """Run one tool the model wants, or join a call that was left; its outcome reaches the model through the events."""
        try:
            if use.problem:
                raise CallerMistaken(
                    f"the arguments of {use.name} cannot be read: {use.problem}", "send valid JSON"
                )
            if use.name == FIND_TOOLS:
                found = await asyncio.to_thread(choice.find, use.arguments)
                await self._answered(use, result=text_result(found))
                return
            server, tool = choice.names.resolve(use.name) if left is None else (left.server, left.tool)
        except UmbrellaError as error:
            await self._answered(use, error=error)
            return
        request = ToolRequest(
            session_id=self._session_id,
            principal_id=PrincipalId(self._id),
            server=server,
            tool=tool,
            arguments=use.arguments,
            tool_use_id=use.id,
            may_ask=True,
        )
        try:
            await self._call(request)
        except UmbrellaError as error:
            if self._around.stopping() and not self._cancelled:
                raise asyncio.CancelledError from error  # it is cut off, and so is the turn
            window = (await self._around.sessions.state(self._session_id)).window
            if not any(use.id == output.tool_use_id for said in window for output in said.tool_outputs):
                await self._answered(use, error=error)  # refused before anything was journaled

    async def _call(self, request: ToolRequest) -> None:
        """Make a call that outlives this agent, but not its turn."""
        call = asyncio.ensure_future(self._around.calls.call(request))
        try:
            await asyncio.shield(call)
        except asyncio.CancelledError:
            if not self._detached:
                call.cancel()
            raise
        finally:
            if not self._detached:
                await asyncio.gather(call, return_exceptions=True)

    async def _answered(
        self, use: ToolUse, *, result: ToolResult | None = None, error: UmbrellaError | None = None
    ) -> None:
        """Record the outcome of a wish that no tool was run for."""
        await self._add(
            ExecutionChanged(
                timestamp=self._now(),
                execution_id=ExecutionId(new_id("exec", self._around.entropy)),
                session_id=self._session_id,
                principal_id=PrincipalId(self._id),
                status="completed" if error is None else "failed",
                call=ToolCall(server="", tool=use.name, arguments=use.arguments, tool_use_id=use.id),
                result=result,
                error=None if error is None else error.body(),
            )
        )

    def _mine(self, state: Conversation) -> OpenTurn | None:
        return state.turn if state.turn is not None and state.turn.agent_id == self._id else None

    async def _cut_off_left(self) -> None:
        left = self._mine(await self._around.sessions.state(self._session_id))
        if left is not None:
            await self._cut_off(left.id)

    async def _cut_off(self, turn_id: TurnId) -> None:
        """Record the end of a turn that somebody cancelled, or that the node does not wait for.

        One that waits for a person goes on in the next process.
        """
        if self._around.stopping() and not self._cancelled:
            if (await self._around.sessions.state(self._session_id)).turn_goes_on:
                return
            error = Interrupted("the node was stopped in the middle of this turn", "send a message to go on")
            await self._end(turn_id, "interrupted", error)
        else:
            await self._end(turn_id, "cancelled")

    async def _end(self, turn_id: TurnId, status: Any, error: UmbrellaError | None = None) -> None:
        body = None if error is None else error.body()
        await self._add(TurnEnded(timestamp=self._now(), turn_id=turn_id, status=status, error=body))

    async def _add(self, event: Any) -> None:
        await self._around.sessions.add(self._session_id, event)

    def _now(self) -> Any:
        return self._around.clock.now()
