"""The assistant of a session: an agent that takes turns in it (`mcp_core.agents.turning`), one after the other.

A turn runs as a task beside the mailbox, so that a cancel always gets through. How it ended is recorded here, by
whoever lives then: the assistant itself, its successor, or the session when the node did not survive it.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_core.agents.summarizing import Summarizing
from mcp_core.agents.surroundings import Conversation, OpenTurn, Surroundings
from mcp_core.agents.turning import Cuts, Turning, complaint
from mcp_interface.agent import AgentRecord, Ok, Reply, Skill, Stop
from mcp_interface.capability import Capability
from mcp_interface.codec import from_external, to_external
from mcp_interface.envelope import Envelope
from mcp_interface.errors import (
    CallerMistaken,
    Interrupted,
    OurBug,
    StorageUnavailable,
    UmbrellaError,
    WrongState,
)
from mcp_interface.events import TurnEnded, TurnStarted
from mcp_interface.ids import TurnId, new_id

log = logging.getLogger(__name__)

JOURNAL_AGAIN_S: Final = 1.0
"""Seconds until a turn is tried again that the journal refused."""


class Begin(msgspec.Struct, frozen=True):
    """Payload: a person has spoken, or wants an answer once more."""


class Cancel(msgspec.Struct, frozen=True):
    """Payload: stop the turn; the reply is whether there was one."""


class AssistantState(msgspec.Struct, frozen=True):
    """Nothing: all that an assistant knows is in the session."""


class Assistant:
    """An `Agent` over one session.

    Args:
        record: Which agent it is, in which session.
        around: What it works with.
        summarizing: Makes room in windows.
    """

    def __init__(self, record: AgentRecord, around: Surroundings, summarizing: Summarizing) -> None:
        if record.session_id is None:
            raise CallerMistaken("an assistant needs a session", "give it a session id")
        self._id = record.id
        self._session_id = record.session_id
        self._around = around
        self._summarizing = summarizing
        self._turn: asyncio.Task[None] | None = None
        self._again = False
        self._cuts = Cuts()

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
                    self._cuts.cancelled = True
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
        self._cuts.detached = True
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
            self._cuts.cancelled = False
            self._turn = asyncio.get_running_loop().create_task(self._work())
            self._turn.add_done_callback(self._worked)
        else:
            self._again = True  # it may be on its way out already

    def _worked(self, turn: asyncio.Task[None]) -> None:
        if not turn.cancelled() and turn.exception() is not None:
            log.error("a turn of %s failed: %r", self._session_id, turn.exception())
        if turn.cancelled() and self._cuts.cancelled and not self._cuts.detached:
            self._cuts.cancelled = False  # perhaps before it had taken up a turn that was left: that ends too
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
            await self._take(turn_id, left)
        except asyncio.CancelledError:
            if not self._cuts.detached:
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

    async def _take(self, turn_id: TurnId, left: OpenTurn | None) -> None:
        turning = Turning(self._id, self._session_id, turn_id, self._around, self._summarizing, self._cuts)
        if left is not None:
            await turning.answer_calls()
        if left is None or not left.answered:
            await turning.steps()
        wrong = complaint((await self._around.sessions.state(self._session_id)).turn)
        if wrong is not None:
            raise wrong

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
        if self._around.stopping() and not self._cuts.cancelled:
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
