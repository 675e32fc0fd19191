"""Who is asking: the login key of a request, checked before anything of the request is read.

The key travels in an HttpOnly, SameSite=Strict cookie or as a bearer token. `Caller` is what a route gets:
a way to ask the node with exactly the rights of that login.
"""

from typing import Any, Final, TypeVar

from litestar.connection import ASGIConnection, Request
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler

from mcp_interface.clock import Clock
from mcp_interface.commands import Command, Login
from mcp_interface.errors import LoginRequired, UmbrellaError
from mcp_interface.trace import Trace, parse_traceparent, tracing
from mcp_web.boundary import COOKIE, bearer, cookie, header
from mcp_web.clients import Clients

R = TypeVar("R")
Connection = ASGIConnection[Any, Any, Any, Any]
AnyRequest = Request[Any, Any, Any]

TRACEPARENT: Final = "traceparent"
REMEDY: Final = "open the login link that `umbrella serve` printed, or send Authorization: Bearer <login key>"


class Caller:
    """A logged-in person, as far as a route needs to know.

    Args:
        clients: The connections to the node.
        key: The login key.
        trace: What the request is a part of; None begins a trace of its own.
    """

    def __init__(self, clients: Clients, key: str, trace: Trace | None = None) -> None:
        self._clients = clients
        self._key = key
        self._trace = trace

    async def ask(self, command: Command[R], timeout: float = 60.0) -> R:
        """Ask the node with the rights of this login.

        Args:
            command: What to do.
            timeout: Seconds.

        Raises:
            UmbrellaError: What the node answered.
        """
        with tracing(self._trace):
            return await self._clients.ask(self._key, command, timeout)

    async def leave(self) -> None:
        """End this login; harmless when repeated."""
        await self._clients.end(self._key)


CallerDependency = NamedDependency[Caller]


def key_of(connection: Connection) -> str | None:
    """The login key of a request; a bearer token counts before a cookie."""
    return bearer(connection.scope) or cookie(connection.scope)


def clients_of(connection: Connection) -> Clients:
    """The connections of the server that got this request."""
    clients: Clients = connection.app.state.clients
    return clients


async def require_login(connection: Connection, _: BaseRouteHandler) -> None:
    """Let only logged-in people through.

    Raises:
        LoginRequired: No key, or one that is unknown or has ended.
    """
    key = key_of(connection)
    if key is None:
        raise LoginRequired("this needs a login", REMEDY)
    await clients_of(connection).check(key)


def provide_caller(request: AnyRequest) -> Caller:
    """The caller of a request that `require_login` has let through.

    Raises:
        LoginRequired: The request carries no key.
    """
    key = key_of(request)
    if key is None:
        raise LoginRequired("this needs a login", REMEDY)
    return Caller(clients_of(request), key, trace_of(request))


def trace_of(connection: Connection) -> Trace | None:
    """The trace that a request belongs to by its `traceparent`; one that cannot be read counts as none.

    It is no reason to refuse a request: proxies set it, and who asked may not know of it.

    Source: W3C Trace Context, section 3.2.2.
    """
    try:
        text = header(connection.scope, TRACEPARENT)
        return None if text is None else parse_traceparent(text)
    except UmbrellaError:
        return None


def login_cookie(key: str, login: Login, clock: Clock, *, secure: bool) -> Cookie:
    """The cookie that carries a login key, as long-lived as the login."""
    return Cookie(
        key=COOKIE,
        value=key,
        path="/",
        httponly=True,
        samesite="strict",
        secure=secure,
        max_age=max(0, int((login.expires_at - clock.now()).total_seconds())),
    )


def no_cookie() -> Cookie:
    """The cookie that takes the login key away."""
    return Cookie(key=COOKIE, value="", path="/", httponly=True, samesite="strict", max_age=0)
