"""Commands about the actors of the node: the live tree, one actor's messages, what was not delivered.

For the owner alone, except that everybody may send to agents of their own.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from mcp_core.agents.directory import Directory
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import Owning, require_owner
from mcp_core.gateway.handlers.paging import position_of
from mcp_core.gateway.router import Router
from mcp_core.gateway.sessions import Sessions
from mcp_core.runtime.cell import Ref
from mcp_core.runtime.dead_letters import DeadLetter
from mcp_core.runtime.observer import Observer, state_of
from mcp_core.runtime.supervisor import Child
from mcp_core.runtime.system import System
from mcp_interface.address import parse_address
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import Page, SendMessage
from mcp_interface.envelope import Envelope
from mcp_interface.errors import CallerMistaken, NotFound, TooMuch
from mcp_interface.ids import AgentId, MessageId, PrincipalId, SessionId, is_id, new_id
from mcp_interface.observe import (
    ForgetLost,
    KillActor,
    ListLost,
    ListSeen,
    LostMessage,
    ObserveRuntime,
    ResendLost,
    RuntimeStatus,
    SeenMessage,
    WatchActor,
)

SPOKEN_TO: Final = {
    "llm": "say it in its session: umbrella --resume SESSION",
    "tool_executor": "call a tool: umbrella call SERVER TOOL",
}
"""Agents that take messages of the node only, and how a person speaks to them."""


class RuntimeCommands:
    """Handlers over the actors of a node.

    Args:
        system: The actors.
        router: Brings messages to agents.
        directory: The agents.
        sessions: Say whose they are.
        owner: Of the node.
        clock: For looks and messages.
        entropy: For the ids of messages.
    """

    def __init__(
        self,
        system: System,
        router: Router,
        directory: Directory,
        sessions: Sessions,
        owner: PrincipalId,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._system = system
        self._observer = Observer(system, clock, naming(directory, sessions))
        self._router = router
        self._owning = Owning(owner, sessions, directory)
        self._owner = owner
        self._clock = clock
        self._entropy = entropy
        self._resending = asyncio.Lock()

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            ObserveRuntime: self.observe,
            WatchActor: self.watch,
            ListSeen: self.seen,
            KillActor: self.kill,
            ListLost: self.lost,
            ResendLost: self.resend,
            ForgetLost: self.forget,
            SendMessage: self.send,
        }

    async def observe(self, who: PrincipalId, command: ObserveRuntime) -> RuntimeStatus:
        """The runtime as it is now."""
        require_owner(who, self._owner, "look at its actors")
        return await self._observer.look(
            order=command.order, limit=command.limit, match=command.match, memory=command.memory
        )

    async def watch(self, who: PrincipalId, command: WatchActor) -> None:
        """Begin to record what an actor receives, or forget it."""
        require_owner(who, self._owner, "watch its actors")
        if command.on:
            self._observer.watch(command.name)
        else:
            self._observer.unwatch(command.name)

    async def seen(self, who: PrincipalId, command: ListSeen) -> list[SeenMessage]:
        """What an actor has received since it is watched."""
        require_owner(who, self._owner, "watch its actors")
        return self._observer.seen(command.name)

    async def kill(self, who: PrincipalId, command: KillActor) -> None:
        """End an actor's incarnation; its supervisor brings it back."""
        require_owner(who, self._owner, "kill its actors")
        child = self._child(command.name)
        if state_of(child.ref) in ("down", "asleep"):
            return  # there is nothing to end
        if not child.owner.answers(child):
            raise TooMuch(
                f"{command.name} has ended {child.owner.max_restarts} times within {child.owner.window_s:g} s; "
                "once more, and its supervisor would give it up",
                "wait until that is over",
                {"restarts": child.restarts},
            )
        child.ref.kill()

    async def lost(self, who: PrincipalId, command: ListLost) -> Page[LostMessage]:
        """Messages that reached nobody, oldest first."""
        require_owner(who, self._owner, "read what was not delivered")
        after = position_of(command.cursor)
        letters = self._system.letters.page(to=command.to, after=after, limit=command.limit)
        more = len(letters) == command.limit and letters[-1].number < self._system.letters.recorded
        return Page(
            items=[_told(letter) for letter in letters], cursor=str(letters[-1].number) if more else None
        )

    async def resend(self, who: PrincipalId, command: ResendLost) -> LostMessage:
        """Send one again; what goes to agents is judged anew."""
        require_owner(who, self._owner, "send again what was not delivered")
        letters = self._system.letters
        async with self._resending:  # two who ask at once send it once
            letter, message = letters.open(command.number)
            if not isinstance(message, Envelope):
                return _told(letters.replay(command.number, self._ref))
            only = AgentId(letter.to) if is_id("agent", letter.to) else None
            await self._router.tell_again(message, only)
            with suppress(NotFound):  # pushed out by later ones meanwhile
                letters.forget(command.number)
            return _told(letter)

    async def forget(self, who: PrincipalId, command: ForgetLost) -> LostMessage:
        """Drop one for good."""
        require_owner(who, self._owner, "forget what was not delivered")
        return _told(self._system.letters.forget(command.number))

    async def send(self, who: PrincipalId, command: SendMessage) -> int:
        """Tell one agent of the caller's, or all who listen to a topic."""
        address = parse_address(command.to)
        if address.kind == "broadcast":
            require_owner(who, self._owner, "send to topics")
        else:
            agent = self._owning.agent(who, address.name)
            if agent.type in SPOKEN_TO:
                raise CallerMistaken(
                    f"agents of type {agent.type!r} take no messages from people", SPOKEN_TO[agent.type]
                )
            address = parse_address(f"mcp://agent/{agent.id}")
        return await self._router.tell(
            Envelope(
                id=MessageId(new_id("msg", self._entropy)),
                to=address.uri,
                sender=who,
                payload=command.payload,
                timestamp=self._clock.now(),
            )
        )

    def _child(self, name: str) -> Child:
        child = self._system.find(name)
        if child is None:
            raise NotFound(f"no actor is named {name[:200]!r}", "look at the tree: umbrella observe")
        return child

    def _ref(self, name: str) -> Ref[Any]:
        return self._child(name).ref


def naming(directory: Directory, sessions: Sessions) -> Callable[[str], str]:
    """Who the actor of a name is to people: an agent's type and name, a session's title."""

    def about(name: str) -> str:
        with suppress(NotFound):
            if is_id("agent", name):
                agent = directory.get(AgentId(name))
                return f"{agent.type} {agent.name}".strip()
            if name.startswith("session:"):
                return sessions.get(SessionId(name.removeprefix("session:"))).title
        return ""

    return about


def _told(letter: DeadLetter) -> LostMessage:
    return LostMessage(
        number=letter.number,
        at=letter.at,
        to=letter.to,
        message=letter.outline,
        reason=letter.reason,
        sender=letter.sender,
        can_be_sent=letter.kept,
    )
