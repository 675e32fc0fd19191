"""One turn of an assistant: ask the model, run the tools it wants, ask again, until it is done.

Everything it says or does is committed to the session before the next step builds on it; only the text on its way
passes by unrecorded. What is needed to go on after a crash is read from the session: nothing of a turn is kept here.
"""

import asyncio
import logging
from typing import Final, Literal, get_args

import msgspec

from mcp_core.agents.briefing import Notes, briefing, folder_of
from mcp_core.agents.budgeting import check_budgets, cost_of, counted
from mcp_core.agents.choice import FIND_TOOLS, Choice
from mcp_core.agents.preparing import Prepared
from mcp_core.agents.summarizing import KEPT, Summarizing
from mcp_core.agents.surroundings import Conversation, OpenTurn, Surroundings
from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.agents.window import longest_output, overflows, tokens_of
from mcp_core.providers.lender import Lent
from mcp_interface.client import TextDelta
from mcp_interface.clock import Instant
from mcp_interface.errors import CallerMistaken, Interrupted, ModelUnavailable, TooMuch, UmbrellaError
from mcp_interface.events import AssistantMessage, ExecutionChanged, SessionEvent, ToolCall
from mcp_interface.ids import AgentId, ExecutionId, MessageId, PrincipalId, SessionId, TurnId, new_id
from mcp_interface.provider import Finished, StopReason, TextChunk, ToolUse, ToolUseChunk
from mcp_interface.session import Session, check_open
from mcp_interface.tool import ToolResult, text_result

log = logging.getLogger(__name__)

DELTA_BYTES: Final = 64
"""Text is passed on in pieces of about this size, so that a fast model does not flood the followers."""
DELTA_S: Final = 0.1
"""Seconds after which a smaller piece is passed on too: a slow model is read word by word."""
TRIES: Final = 4
"""How often one step is sent to a model for which it is too long, shorter each time."""


class Cuts:
    """Whether a turn that ends from outside was cancelled, or left to a successor."""

    def __init__(self) -> None:
        self.detached = False
        """Its calls go on, and the successor goes on with it."""
        self.cancelled = False
        """Somebody has cancelled it; its end may come when the node is stopping already."""


class _Answer(msgspec.Struct):
    """One answer of a model while it comes."""

    message_id: MessageId
    began: float
    text: str = ""
    waiting: str = ""
    """Not passed on yet."""
    passed_on: float = 0.0
    first: float | None = None
    uses: list[ToolUse] = []
    finished: Finished = Finished(stop_reason="other")


def complaint(turn: OpenTurn | None) -> UmbrellaError | None:
    """What is wrong with the end of a turn whose answers have ended; None: nothing."""
    if turn is None or not turn.answered:
        return None
    match turn.stop:
        case "length":
            return TooMuch(
                "the answer is not complete: it reached the most that the model may say at once",
                "say: go on",
                {"bound": "answer_tokens"},
            )
        case "refused":
            return ModelUnavailable(
                "the model refuses to answer this",
                "say it in other words, or choose another model",
                {"kind": "refused"},
            )
        case "interrupted":
            return Interrupted("the answer broke off in the middle", "let it be answered again: /retry")
    return None


def incomplete(use: ToolUse) -> ToolUse:
    """A tool call of an answer that was cut: one without arguments may have lost them, and is not run."""
    if use.problem or use.arguments:
        return use
    return msgspec.structs.replace(use, problem="the answer reached its allowed length before them")


def _known(reason: StopReason) -> StopReason:
    """A provider that somebody else wrote may say what the journal could not read again."""
    return reason if reason in get_args(StopReason) else "other"


class Turning:
    """One turn.

    Args:
        agent_id: Whose.
        session_id: In which session.
        turn_id: Which.
        around: What it works with.
        summarizing: Makes room.
        cuts: Says how it ended, when it is cancelled.
    """

    def __init__(
        self,
        agent_id: AgentId,
        session_id: SessionId,
        turn_id: TurnId,
        around: Surroundings,
        summarizing: Summarizing,
        cuts: Cuts,
    ) -> None:
        self._agent_id = agent_id
        self._session_id = session_id
        self._turn_id = turn_id
        self._around = around
        self._summarizing = summarizing
        self._cuts = cuts
        self._notes: Notes | None = None
        self._looked = False

    async def answer_calls(self) -> None:
        """Run, or join, the tool calls of the last message that have no outcome yet."""
        state = await self._state()
        window = state.window
        # those of an earlier process are known by their use: their servers may not have listed their tools yet
        left = {each.call.tool_use_id: each.call for each in state.running.values()}
        answered = {output.tool_use_id for said in window for output in said.tool_outputs}
        uses = [use for said in window for use in said.tool_uses if use.id not in answered]
        choice = Choice(self._around.toolbox.listed())
        await asyncio.gather(*(self._run(use, choice, left.get(use.id)) for use in uses))

    async def steps(self) -> None:
        """Ask and run until nothing is left.

        Raises:
            TooMuch: It takes too many steps, or more than the session may cost.
            ModelUnavailable: The model cannot be asked.
        """
        for _ in range(self._around.max_steps):
            check_open(self._around.sessions.get(self._session_id))
            choice = Choice(self._around.toolbox.listed())
            uses = await self._think(choice)
            await asyncio.gather(*(self._run(use, choice) for use in uses))
            turn = (await self._state()).turn
            if turn is None or turn.answered:
                return
        raise TooMuch(
            f"the turn was stopped after {self._around.max_steps} steps", "send a message to let it go on"
        )

    async def _think(self, choice: Choice) -> list[ToolUse]:
        """Ask the model once and commit what it said; answers the tools it wants."""
        for left in range(TRIES - 1, -1, -1):
            session = self._session()
            lent = await self._around.model(session.model)
            system = await self._system(session)
            await self._make_room(session, lent, system, choice)
            state = await self._state()
            check_budgets(self._around.sessions.get, self._session_id, lent.info, *lent.others)
            goes_on = state.turn is not None and state.turn.cuts > 0
            prepared = self._around.preparing.prepare(
                lent.info,
                system,
                state.window,
                choice.shown(state.window),
                summarized=state.summarized,
                model=lent.model,
                goes_on=goes_on,
            )
            try:
                return await self._ask(lent, prepared, state.spoken)
            except ModelUnavailable as error:
                if error.details.get("kind") != "too_long" or not left:
                    raise
                log.info("%s is too long for %s, and made shorter", self._session_id, lent.info.name)
                self._around.preparing.too_long(lent.info, prepared)
        raise AssertionError("at least one try")

    async def _system(self, session: Session) -> str:
        # who works on a task reads nothing by its person's rights, notes of the folder included
        folder = folder_of(session) if session.lineage is None else ""
        if folder and not self._looked:  # once: what a turn is told does not change on its way
            self._notes, self._looked = await self._around.notes(session.created_by, folder), True
        return briefing(session, self._around.clock.now(), self._around.platform, self._notes)

    async def _make_room(self, session: Session, lent: Lent, system: str, choice: Choice) -> None:
        """Let a summary stand for the older part of what does not fit; where that fails, it is left out."""
        if session.strategy != "smart":
            return
        state = await self._state()
        if not self._summarizing.is_due(self._session_id, len(state.window)):
            return
        preparing = self._around.preparing
        budget = preparing.budget(lent.info, system, choice.shown(state.window))
        if not overflows(state.window, budget, longest_output(preparing.room(lent.info).context)):
            return
        try:
            await self._summarizing.compact(self._session_id, lent, budget // KEPT)
        except ModelUnavailable as error:
            log.warning("nothing was summarised of %s: %s", self._session_id, error.message)

    async def _ask(self, lent: Lent, prepared: Prepared, heard: int) -> list[ToolUse]:
        clock = self._around.clock
        now = clock.monotonic()
        answer = _Answer(message_id=MessageId(new_id("msg", self._around.entropy)), began=now, passed_on=now)
        try:
            async for chunk in lent.provider.stream(prepared.completion):
                if answer.first is None and not isinstance(chunk, Finished):
                    answer.first = clock.monotonic()
                match chunk:
                    case TextChunk():
                        self._take(answer, chunk.text)
                    case ToolUseChunk():
                        answer.uses.append(chunk.tool_use)
                    case Finished():
                        answer.finished = chunk
        except (Exception, asyncio.CancelledError):
            if answer.text and not self._cuts.detached:
                # What the person has already read stays in the conversation.
                await asyncio.shield(self._say(answer, lent, prepared, heard, interrupted=True))
            raise
        self._flush(answer)
        self._around.preparing.learn(lent.info, prepared, answer.finished.usage)
        self._tell(answer, lent)
        if answer.finished.stop_reason == "length":
            answer.uses = [incomplete(use) for use in answer.uses]
        await self._say(answer, lent, prepared, heard, interrupted=False)
        return answer.uses

    def _take(self, answer: _Answer, text: str) -> None:
        answer.text += text
        answer.waiting += text
        now = self._around.clock.monotonic()
        if len(answer.waiting) >= DELTA_BYTES or "\n" in text or now - answer.passed_on >= DELTA_S:
            self._flush(answer)
            answer.passed_on = now

    def _flush(self, answer: _Answer) -> None:
        if answer.waiting:
            self._around.publish(
                TextDelta(
                    session_id=self._session_id,
                    turn_id=self._turn_id,
                    message_id=answer.message_id,
                    text=answer.waiting,
                )
            )
            answer.waiting = ""

    def _tell(self, answer: _Answer, lent: Lent) -> None:
        usage = answer.finished.usage
        self._around.telemetry.emit(
            "mcp.model.stop",
            {
                "duration_s": self._around.clock.monotonic() - answer.began,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
            },
            {"model": answer.finished.model or lent.model, "session_id": self._session_id},
        )

    async def _say(
        self, answer: _Answer, lent: Lent, prepared: Prepared, heard: int, *, interrupted: bool
    ) -> None:
        finished = answer.finished
        usage = counted(finished.usage, prepared.tokens, tokens_of(answer.text))
        info = lent.answered_by(finished)
        first = answer.began if answer.first is None else answer.first
        await self._add(
            AssistantMessage(
                timestamp=self._now(),
                message_id=answer.message_id,
                turn_id=self._turn_id,
                agent_id=self._agent_id,
                text=answer.text,
                tool_uses=[] if interrupted else answer.uses,
                model=finished.model or lent.model,
                usage=usage,
                heard=heard,
                stop="interrupted" if interrupted else _known(finished.stop_reason),
                duration_s=self._around.clock.monotonic() - answer.began,
                first_token_s=first - answer.began,
                cost=cost_of(usage, info),
                provider=finished.provider or info.provider,
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
            principal_id=PrincipalId(self._agent_id),
            server=server,
            tool=tool,
            arguments=use.arguments,
            tool_use_id=use.id,
            may_ask=self._session().lineage is None,
        )
        try:
            await self._call(request)
        except UmbrellaError as error:
            if self._around.stopping() and not self._cuts.cancelled:
                raise asyncio.CancelledError from error  # it is cut off, and so is the turn
            window = (await self._state()).window
            if not any(use.id == output.tool_use_id for said in window for output in said.tool_outputs):
                await self._answered(use, error=error)  # refused before anything was journaled

    async def _call(self, request: ToolRequest) -> None:
        """Make a call that outlives this agent, but not its turn."""
        call = asyncio.ensure_future(self._around.calls.call(request))
        try:
            await asyncio.shield(call)
        except asyncio.CancelledError:
            if not self._cuts.detached:
                call.cancel()
            raise
        finally:
            if not self._cuts.detached:
                await asyncio.gather(call, return_exceptions=True)

    async def _answered(
        self, use: ToolUse, *, result: ToolResult | None = None, error: UmbrellaError | None = None
    ) -> None:
        """Record the outcome of a wish that no tool was run for."""
        status: Literal["completed", "failed"] = "completed" if error is None else "failed"
        await self._add(
            ExecutionChanged(
                timestamp=self._now(),
                execution_id=ExecutionId(new_id("exec", self._around.entropy)),
                session_id=self._session_id,
                principal_id=PrincipalId(self._agent_id),
                status=status,
                call=ToolCall(server="", tool=use.name, arguments=use.arguments, tool_use_id=use.id),
                result=result,
                error=None if error is None else error.body(),
            )
        )

    def _session(self) -> Session:
        return self._around.sessions.get(self._session_id)

    async def _state(self) -> Conversation:
        return await self._around.sessions.state(self._session_id)

    async def _add(self, event: SessionEvent) -> None:
        await self._around.sessions.add(self._session_id, event)

    def _now(self) -> Instant:
        return self._around.clock.now()
