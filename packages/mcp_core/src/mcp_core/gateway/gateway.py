"""The single entry point: who asks, what for, and the room that answers.

Every client, in this process or behind a socket, reaches the node through `Gateway.handle` and
`Gateway.follow`. Each command has one handler; the handlers stand in one file per noun.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from mcp_core.gateway.logins import Logins
from mcp_core.gateway.sessions import Sessions
from mcp_core.observe.commands import CommandWatch
from mcp_core.runtime.bus import Bus
from mcp_interface.client import ClientInfo, Notice, Welcome
from mcp_interface.commands import CheckLogin, Command, RedeemLogin
from mcp_interface.errors import LoginRequired, OurBug, UmbrellaError
from mcp_interface.ids import PrincipalId, SessionId

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
    """

    def __init__(
        self, logins: Logins, sessions: Sessions, bus: Bus, version: str, watch: CommandWatch | None = None
    ) -> None:
        self._logins = logins
        self._sessions = sessions
        self._bus = bus
        self._version = version
        self._watch = watch
        self._handlers: dict[type[Command[Any]], Handler] = {}

    def serve(self, handlers: dict[type[Command[Any]], Handler]) -> None:
        """Add the handlers of one room."""
        self._handlers |= handlers

    async def welcome(self, info: ClientInfo) -> Welcome:
        """Let a client in.

        Raises:
            LoginRequired: Its token opens nothing.
            NotFound: The session it wants to attach to does not exist.
        """
        principal = await self._logins.who(info.token)
        if info.session_id is not None:
            self._sessions.get(info.session_id, principal)
        return Welcome(
            principal_id=principal,
            session_id=info.session_id,
            version=self._version,
            position=self._bus.position,
        )

    async def handle(self, principal: PrincipalId | None, command: Command[R]) -> R:
        """Answer one command, as a part of the caller's `current_trace`, else as the root of a new one.

        Args:
            principal: Who asks; None has not logged in and may only redeem or check a login.
            command: What for.

        Raises:
            UmbrellaError: Typed; anything unforeseen becomes `OurBug`.
        """
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
            raise OurBug(f"{type(command).__name__} failed unexpectedly: {error!r}"[:500]) from error
        return result

    def follow(
        self, principal: PrincipalId, session_id: SessionId | None, after: int
    ) -> AsyncGenerator[Notice, None]:
        """What happens, from a position on.

        Raises:
            NotFound: No such session.
        """
        if session_id is not None:
            self._sessions.get(session_id, principal)
        return self._bus.follow(session_id, after)
