"""A client in the node's own process: the structs are passed as they are."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from mcp_core.gateway.gateway import Gateway
from mcp_interface.client import ClientInfo, Notice, Welcome
from mcp_interface.commands import Command
from mcp_interface.errors import DeadlineExceeded, NodeUnavailable
from mcp_interface.ids import PrincipalId, SessionId

R = TypeVar("R")


class LocalClient:
    """The `Client` of an embedded node."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._principal: PrincipalId | None = None

    async def connect(self, info: ClientInfo) -> Welcome:
        """Say who you are; as `Client.connect`."""
        welcome = await self._gateway.welcome(info)
        self._principal = welcome.principal_id
        return welcome

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask and wait; as `Client.request`. At the deadline the work goes on, as it would behind a socket."""
        work = asyncio.ensure_future(self._gateway.handle(self._connected(), command))
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(work)
        except TimeoutError as error:
            work.add_done_callback(_seen)
            raise DeadlineExceeded(
                f"no answer within {timeout:g} s", "the work may still be going on"
            ) from error
        except asyncio.CancelledError:
            work.cancel()
            raise

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        """What happens; as `Client.follow`."""
        async for notice in self._gateway.follow(self._connected(), session_id, after):
            yield notice
        if self._principal is not None:
            raise NodeUnavailable("the node has stopped", "start it again with: umbrella node start")

    async def disconnect(self, reason: str = "") -> None:
        """Leave; harmless when repeated."""
        self._principal = None

    def _connected(self) -> PrincipalId:
        if self._principal is None:
            raise NodeUnavailable("not connected", "call connect first")
        return self._principal


def _seen(work: "asyncio.Future[R]") -> None:
    if not work.cancelled():
        work.exception()
