"""The single entry point: who asks, what for, and the room that answers.

Every client, in this process or behind a socket, reaches the node through `Gateway.handle` and
`Gateway.follow`. Each command has one handler; the handlers stand in one file per noun.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from mcp_core.gateway.logins import Logins
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.sight import Sight
from mcp_core.gateway.tickets import Ticket, ended
from mcp_core.observe.commands import CommandWatch
from mcp_core.runtime.bus import Bus
from mcp_interface.client import ClientInfo, Notice, Welcome
from mcp_interface.commands import CheckLogin, Command, RedeemLogin
from mcp_interface.errors import LoginRequired, OurBug, UmbrellaError
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.store import Record
from mcp_interface.trace import current_trace_id

log = logging.getLogger(__name__)

R = TypeVar("R")
Handler = Callable[[PrincipalId, Any], Awaitable[Any]]


class Gateway:
    """The door of one node.

    Args:
        logins: Who may come in.
        sessions: What can be followed.
        bus: Where to follow it.
        version: Of the node's software.
        watch: Puts commands into traces and tells telemetry of them; None does neither.
        sight: Who may be told what of the node as a whole; None: its owner alone.
    """

    def __init__(
        self,
        logins: Logins,
        sessions: Sessions,
        bus: Bus,
        version: str,
        watch: CommandWatch | None = None,
        sight: Sight | None = None,
    ) -> None:
        self._sight = sight
        self._logins = logins
        self._sessions = sessions
        self._bus = bus
        self._version = version
        self._watch = watch
        self._handlers: dict[type[Command[Any]], Handler] = {}

    def serve(self, handlers: dict[type[Command[Any]], Handler]) -> None:
        """Add the handlers of one room."""
        self._handlers |= handlers

    async def welcome(self, info: ClientInfo) -> tuple[Ticket, Welcome]:
        """Let a client in; the ticket is what it asks by.

        Raises:
            LoginRequired: Its token opens nothing.
            NotFound: The session it wants to attach to does not exist.
        """
        ticket = await self._logins.admit(info.token, info.on_behalf_of)
        if info.session_id is not None:
            await self._sessions.find(info.session_id, ticket.principal_id)
        return ticket, Welcome(
            principal_id=ticket.principal_id,
            session_id=info.session_id,
            version=self._version,
            position=self._bus.position,
        )

    async def handle(self, ticket: Ticket | None, command: Command[R]) -> R:
        """Answer one command, as a part of the caller's `current_trace`, else as the root of a new one.

        Args:
            ticket: Of who asks; None has not logged in and may only redeem or check a login.
            command: What for.

        Raises:
            LoginRequired: The key or login of the ticket has ended.
            UmbrellaError: Typed; anything unforeseen becomes `OurBug`.
        """
        if ticket is not None:
            self._logins.require(ticket)
        principal = None if ticket is None else ticket.principal_id
        if self._watch is None:
            return await self._handle(principal, command)
        with self._watch.over(principal, command):
            return await self._handle(principal, command)

    async def _handle(self, principal: PrincipalId | None, command: Command[R]) -> R:
        if principal is None and not isinstance(command, (RedeemLogin, CheckLogin)):
            raise LoginRequired("this needs a login", "connect with a token first")
        handler = self._handlers.get(type(command))
        if handler is None:
            raise OurBug(f"nothing handles {type(command).__name__}")
        try:
            result: R = await handler(principal or PrincipalId("system"), command)
        except UmbrellaError:
            raise
        except Exception as error:
            raise self._bug(principal, command, error) from error
        return result

    def _bug(self, principal: PrincipalId | None, command: Command[Any], error: Exception) -> OurBug:
        """The log gets it in full; others than the owner are told where to find it, and nothing of the inside."""
        name, trace = type(command).__name__, current_trace_id()
        log.error("%s failed unexpectedly: %s", name, trace, exc_info=error)
        why = f": {error!r}" if principal == self._logins.owner else ""
        return OurBug(
            f"{name} failed unexpectedly ({trace}){why}"[:500],
            "the node's log says more about this trace; please report it",
        )

    def follow(
        self, ticket: Ticket, session_id: SessionId | None, after: int
    ) -> AsyncGenerator[Notice, None]:
        """What happens, from a position on; of the whole node, others than its owner get what concerns them.

        Raises:
            LoginRequired: The key or login of the ticket has ended; also later, while there is nothing to tell.
            NotFound: No such session.
        """
        self._logins.require(ticket)
        notices = self._follow(ticket.principal_id, session_id, after)
        return self._while_good(ticket, notices) if ticket.source else notices

    async def _while_good(
        self, ticket: Ticket, notices: AsyncGenerator[Notice, None]
    ) -> AsyncGenerator[Notice, None]:
        """Notices until the ticket ends, which also ends the wait for the next one."""
        async with aclosing(notices):
            while True:
                left = self._logins.seconds_left(ticket)
                try:
                    notice = await ticket.waiting(anext(notices, None), left)
                except TimeoutError:
                    raise ended() from None
                if notice is None:
                    return
                self._logins.require(ticket)
                yield notice

    def _follow(
        self, principal: PrincipalId, session_id: SessionId | None, after: int
    ) -> AsyncGenerator[Notice, None]:
        if session_id is None and principal != self._logins.owner:
            return self._follow_own(principal, after)
        if session_id is not None and not self._sessions.knows(session_id):
            return self._follow_found(principal, session_id, after)
        if session_id is not None:
            self._sessions.get(session_id, principal)
        return self._bus.follow(session_id, after)

    async def _follow_found(
        self, principal: PrincipalId, session_id: SessionId, after: int
    ) -> AsyncGenerator[Notice, None]:
        """Follow a session that ended so long ago that it has to be looked up in the journal."""
        await self._sessions.find(session_id, principal)
        async with aclosing(self._bus.follow(session_id, after)) as notices:
            async for notice in notices:
                yield notice

    async def _follow_own(self, principal: PrincipalId, after: int) -> AsyncGenerator[Notice, None]:
        """What happens in somebody's sessions, and to the servers they hold a right on."""
        async with aclosing(self._bus.follow(None, after)) as notices:
            async for notice in notices:
                if (told := self._told(principal, notice)) is not None:
                    yield told

    def _told(self, principal: PrincipalId, notice: Notice) -> Notice | None:
        if isinstance(notice, Record):
            stream = notice.stream
            session_id = SessionId(stream.removeprefix("session:")) if stream.startswith("session:") else None
        else:
            session_id = getattr(notice, "session_id", None)
        if session_id is None:
            return None if self._sight is None else self._sight.passing(principal, notice)
        mine = self._sessions.knows(session_id) and self._sessions.get(session_id).created_by == principal
        return notice if mine else None
