"""The agent through which every tool call goes: one door to the guard, calls side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from mcp_core.agents.left import Left
from mcp_interface.agent import Ok, Reply, Skill, Stop
from mcp_interface.capability import Capability
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import CallOutcome
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, Interrupted, NotPermitted, TooMuch
from mcp_interface.events import ToolCall
from mcp_interface.ids import AgentId, ExecutionId, MessageId, PrincipalId, SessionId, is_id, new_id
from mcp_interface.question import InquiryKind

MAX_CALLS = 256
"""Calls that may run at once."""


class ToolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One wish to run a tool."""

    session_id: SessionId
    principal_id: PrincipalId
    server: str
    tool: str
    arguments: dict[str, Any]
    timeout_s: float | None = None
    """None: what the server's entry says, else the node's default."""
    tool_use_id: str = ""
    may_ask: bool = False
    """Whether the session's profile and a person may supply a missing right."""
    execution_id: ExecutionId | None = None
    """By which id it is asked about; None: it gets one when it begins."""
    answers: list[InquiryKind] | None = None
    """What whoever began it can answer by itself; None: what a person can."""
    detached: bool = False
    """Whether it is answered for before its end."""
    left: Left = Left()
    """How far it had come in an earlier process."""
    call: ToolCall | None = None
    """As it was journaled last, by an earlier process."""

    def noted(self) -> ToolCall:
        """As it is journaled, before anything is known of rights."""
        return ToolCall(
            server=self.server,
            tool=self.tool,
            arguments=self.arguments,
            tool_use_id=self.tool_use_id,
            may_ask=self.may_ask,
            timeout_s=self.timeout_s,
            answers=self.answers,
            detached=self.detached,
        )


class EndCalls(msgspec.Struct, frozen=True):
    """Payload: end every call of one session; the reply is the task that has seen them end."""

    session_id: SessionId
    grace_s: float = 0.0
    """Seconds in which they may end by themselves before they are cancelled."""


class Runner(Protocol):
    """What runs a judged call (`mcp_core.gateway.guard`)."""

    async def run(self, request: ToolRequest) -> CallOutcome:
        """Run one tool call through the whole path."""
        ...


class ExecutorState(msgspec.Struct, frozen=True):
    """Nothing: what has run is in the journal. So no call waits for anything to be kept once it has begun."""


Calls: TypeAlias = "dict[asyncio.Task[CallOutcome], ToolRequest]"
"""Running calls with what was asked for."""


class ToolExecutor:
    """An `Agent` whose messages are `ToolRequest`s; the reply is the task that runs it.

    A call that an assistant asks for again, because it was restarted meanwhile, is joined and not run twice.

    Args:
        guard: Runs a call.
        calls: Those that are running; handed in, because they outlive an executor that crashes.
    """

    def __init__(self, guard: Runner, calls: "Calls") -> None:
        self._guard = guard
        self._calls = calls

    async def init(self, args: Mapping[str, Any]) -> Ok[ExecutorState] | Stop[ExecutorState]:
        """Begin with nothing."""
        return Ok(ExecutorState())

    async def handle_message(
        self, envelope: Envelope, state: ExecutorState
    ) -> Ok[ExecutorState] | Reply[ExecutorState] | Stop[ExecutorState]:
        """Begin one call.

        Raises:
            CallerMistaken: The payload is not a `ToolRequest`.
            NotPermitted: The sender wants a call on somebody else's rights, or is an agent and wants calls ended.
            TooMuch: Too many calls are running.
        """
        request = envelope.payload
        if isinstance(request, EndCalls):
            if is_id("agent", envelope.sender):
                raise NotPermitted("agents end no calls of a session", "end the session instead")
            calls = [call for call, made in self._calls.items() if made.session_id == request.session_id]
            return Reply(asyncio.get_running_loop().create_task(_end(calls, request.grace_s)), state)
        if not isinstance(request, ToolRequest):
            raise CallerMistaken("the tool executor takes tool requests only")
        if envelope.sender != request.principal_id:
            raise NotPermitted(
                f"{envelope.sender} may not call tools as {request.principal_id}",
                "call with rights of its own",
            )
        if request.tool_use_id:
            for call, made in self._calls.items():
                if (made.session_id, made.tool_use_id) == (request.session_id, request.tool_use_id):
                    return Reply(call, state)
        if len(self._calls) >= MAX_CALLS:
            raise TooMuch(f"{MAX_CALLS} tool calls are running", "wait for some to end")
        task = asyncio.get_running_loop().create_task(self._guard.run(request))
        self._calls[task] = request
        task.add_done_callback(lambda done: self._calls.pop(done, None))
        return Reply(task, state)

    async def handle_capability(
        self, capability: Capability, state: ExecutorState
    ) -> Ok[ExecutorState] | Stop[ExecutorState]:
        """It acts for others and needs no right of its own."""
        return Ok(state)

    async def terminate(self, reason: str, state: ExecutorState) -> None:
        """Cancel what is running; each call is journaled as interrupted."""
        await _end(list(self._calls))

    def is_busy(self, state: ExecutorState) -> bool:
        """While calls are running: at a stop somebody has to end them."""
        return bool(self._calls)

    def detach(self) -> None:
        """The calls go on; whoever made them has hold of them, and the next executor knows them."""

    def export_state(self, state: ExecutorState) -> Mapping[str, Any]:
        """The state as plain data."""
        return {}

    def import_state(self, data: Mapping[str, Any]) -> ExecutorState:
        """The state from plain data; what an earlier release kept is no longer needed."""
        return ExecutorState()

    def skills(self) -> list[Skill]:
        """Running tools."""
        return [Skill(name="run_tool", description="Run one tool call for a principal")]


class Mail(Protocol):
    """What brings envelopes to agents (`mcp_core.gateway.router`)."""

    async def ask(self, envelope: Envelope) -> Any:
        """Deliver and wait for the answer."""
        ...


class Caller:
    """How the rest of the node asks the executor for a call.

    Args:
        post: Brings messages to agents.
        find: Gives the executor of the moment, a new one when the last was given up.
        clock: Dates the messages.
        entropy: Makes their ids.
    """

    def __init__(
        self, post: Mail, find: Callable[[], Awaitable[AgentId]], clock: Clock, entropy: Entropy
    ) -> None:
        self._post = post
        self._find = find
        self._clock = clock
        self._entropy = entropy

    async def call(self, request: ToolRequest) -> CallOutcome:
        """Run one tool call; cancelling this cancels the call.

        Raises:
            UmbrellaError: As `Guard.run`.
        """
        asking = asyncio.ensure_future(self._ask(request, request.principal_id, request.session_id))
        try:
            task: asyncio.Task[CallOutcome] = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(_cancel)  # the call may have begun although we have no hold of it yet
            raise
        try:
            return await task
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            raise Interrupted(
                f"{request.server}/{request.tool} was cancelled from elsewhere",
                "it may have taken effect already",
            ) from None

    async def end_calls(self, session_id: SessionId, by: PrincipalId, grace_s: float = 0.0) -> None:
        """Wait until the ends of a session's calls are in the journal; those that outlast the grace are cancelled."""
        task: asyncio.Task[None] = await self._ask(EndCalls(session_id, grace_s), by, session_id)
        await task

    async def _ask(self, payload: Any, sender: PrincipalId, session_id: SessionId) -> Any:
        envelope = Envelope(
            id=MessageId(new_id("msg", self._entropy)),
            to=f"mcp://agent/{await self._find()}",
            sender=sender,
            payload=payload,
            timestamp=self._clock.now(),
            session_id=session_id,
        )
        return await self._post.ask(envelope)


async def _end(calls: Sequence[asyncio.Task[CallOutcome]], grace_s: float = 0.0) -> None:
    if calls and grace_s > 0:
        await asyncio.wait(calls, timeout=grace_s)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def _cancel(asking: "asyncio.Future[asyncio.Task[CallOutcome]]") -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().cancel()
