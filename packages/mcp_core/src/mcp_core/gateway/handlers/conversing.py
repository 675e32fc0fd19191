"""Commands about conversations as such: trying again, making room, and what they cost."""

from collections.abc import Callable

from mcp_core.agents.briefing import briefing, folder_of
from mcp_core.agents.choice import Choice
from mcp_core.agents.summarizing import Summarizing
from mcp_core.agents.surroundings import Surroundings
from mcp_core.agents.window import older_part
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.speaking import Speaking
from mcp_core.gateway.spending import Spending
from mcp_core.gateway.state import check_allowed, last_words
from mcp_interface.conversing import CompactWindow, GetUsage, GetWindow, RetryTurn, UsageRow, WindowStatus
from mcp_interface.errors import ModelUnavailable, NotFound, WrongState
from mcp_interface.events import RetryAsked
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.provider import ModelInfo
from mcp_interface.session import Session, check_open


class ConversingCommands:
    """Handlers over the conversations of a node.

    Args:
        sessions: Where they are.
        around: What their assistants work with.
        summarizing: Makes room.
        spending: Knows what was spent.
        speaking: Judges whether somebody may have the model speak.
        wake: Tells the assistant of a session that somebody waits for it.
    """

    def __init__(
        self,
        sessions: Sessions,
        around: Surroundings,
        summarizing: Summarizing,
        spending: Spending,
        speaking: Speaking,
        wake: Callable[[Session], None],
    ) -> None:
        self._sessions = sessions
        self._around = around
        self._summarizing = summarizing
        self._spending = spending
        self._speaking = speaking
        self._wake = wake

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            RetryTurn: self.retry,
            CompactWindow: self.compact,
            GetWindow: self.window,
            GetUsage: self.usage,
        }

    async def retry(self, who: PrincipalId, command: RetryTurn) -> None:
        """Have the last message answered once more; durable when it returns.

        Raises:
            WrongState: Its turn was not cut, or it is being answered.
        """
        session = self._sessions.get(command.session_id, who)
        check_open(session)
        asked = RetryAsked(timestamp=self._around.clock.now(), by=who)
        state = await self._sessions.state(session.id)
        check_allowed(state, [asked])  # before a right is used up
        said = {"text": last_words(state), "conversation": session.id}
        await self._speaking.require(who, session.id, said)
        await self._sessions.add(session.id, asked)
        self._wake(session)

    async def compact(self, who: PrincipalId, command: CompactWindow) -> None:
        """Have the older part of a conversation summarised; the last exchange stays as it is.

        Raises:
            WrongState: A turn is going on, or there is nothing to summarise.
            ModelUnavailable: The model gave no summary.
        """
        session = self._sessions.get(command.session_id, who)
        check_open(session)
        if session.busy:
            raise WrongState(
                f"a turn is going on in {session.id}", "wait for its end, or cancel it", {"busy": True}
            )
        state = await self._sessions.state(session.id)
        if not older_part(state.window, 0, pinned=int(state.summarized)):  # before a right is used up
            raise _nothing(session)
        lent = await self._around.model(session.model)
        said = {"text": "summarise the conversation", "conversation": session.id}
        await self._speaking.require(who, session.id, said)
        if not await self._summarizing.compact(session.id, lent, keep=0):
            raise _nothing(session)

    async def window(self, who: PrincipalId, command: GetWindow) -> WindowStatus:
        """How full the window is that the next message would be sent with."""
        session = await self._sessions.find(command.session_id, who)
        state = await self._sessions.state(session.id)
        try:
            info = (await self._around.model(session.model)).info
        except ModelUnavailable:
            info = ModelInfo(name=session.model)
        folder = folder_of(session) if session.lineage is None else ""
        notes = await self._around.notes(session.created_by, folder) if folder else None
        system = briefing(session, self._around.clock.now(), self._around.platform, notes)
        tools = Choice(self._around.toolbox.listed()).shown(state.window)
        prepared = self._around.preparing.prepare(
            info, system, state.window, tools, summarized=state.summarized
        )
        return WindowStatus(
            tokens=prepared.tokens,
            context_tokens=info.context_tokens,
            messages=len(prepared.fitted.messages),
            left_out=state.left_out + prepared.fitted.left_out,
        )

    async def usage(self, who: PrincipalId, command: GetUsage) -> list[UsageRow]:
        """What the caller's sessions have spent."""
        if command.session_id is not None:
            await self._sessions.find(command.session_id, who)
        return self._spending.report(who, command, self._title)

    def _title(self, session_id: SessionId) -> str:
        try:
            return self._sessions.get(session_id).title
        except NotFound:
            return ""


def _nothing(session: Session) -> WrongState:
    return WrongState(
        f"nothing older than the last exchange of {session.id} can be summarised", "go on talking"
    )
