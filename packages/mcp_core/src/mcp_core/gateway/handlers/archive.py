"""Commands about what was said before: finding it, and bringing it in from elsewhere."""

from collections.abc import Awaitable, Callable
from functools import partial

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.importing import IMPORTED, check, events_of
from mcp_core.gateway.searching import Searching
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.speaking import Speaking
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import CreateSession, EndSession, Page
from mcp_interface.conversing import FoundMessage, ImportSession, SearchMessages
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.session import Session

Create = Callable[[PrincipalId, CreateSession], Awaitable[Session]]
End = Callable[[PrincipalId, EndSession], Awaitable[None]]


class ArchiveCommands:
    """Handlers over the past.

    Args:
        searching: Finds words.
        create: Begins a session with its assistant, within the bounds of whoever wants it.
        end: Ends it, with its assistant.
        sessions: Keep what is brought in.
        speaking: Judges what people want the node's own model to read.
        clock: Source of time.
        entropy: Source of ids.
    """

    def __init__(
        self,
        searching: Searching,
        create: Create,
        end: End,
        sessions: Sessions,
        speaking: Speaking,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._searching = searching
        self._create = create
        self._end = end
        self._sessions = sessions
        self._speaking = speaking
        self._clock = clock
        self._entropy = entropy

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {SearchMessages: self.search, ImportSession: self.bring_in}

    async def search(self, who: PrincipalId, command: SearchMessages) -> Page[FoundMessage]:
        """What the caller's sessions hold of some words."""
        return await self._searching.search(who, command)

    async def bring_in(self, who: PrincipalId, command: ImportSession) -> Session:
        """Begin a session with messages from elsewhere; a session that cannot hold them is ended again."""
        check(command.messages)
        metadata = {**command.metadata, IMPORTED: "true"}
        session = await self._create(who, CreateSession(title=command.title, metadata=metadata))
        try:
            # a model will read these words, whoever is said to have said them; one look at all of them together
            words = "\n\n".join(message.content for message in command.messages)
            await self._speaking.require(who, session.id, {"text": words, "conversation": session.id})
            events = events_of(
                command.messages,
                author=who,
                agent=session.agents[0],
                now=self._clock.now(),
                new=partial(new_id, entropy=self._entropy),
            )
            await self._sessions.add(session.id, *events)
        except UmbrellaError:
            await self._end(who, EndSession(session_id=session.id, reason="nothing could be brought in"))
            raise
        return self._sessions.get(session.id)
