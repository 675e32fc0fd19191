"""A client in the node's own process: the structs are passed as they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Self, TypeVar

from mcp_core.gateway.gateway import Gateway
from mcp_core.gateway.tickets import Ticket
from mcp_interface.client import ClientInfo, Notice, Welcome
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import Command
from mcp_interface.errors import DeadlineExceeded, NodeUnavailable
from mcp_interface.ids import PrincipalId, SessionId

R = TypeVar("R")


class LocalClient:
    """The `Client` of an embedded node."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._ticket: Ticket | None = None
        self._left = asyncio.Event()

    @classmethod
    def of(cls, gateway: Gateway, principal: PrincipalId) -> Self:
        """A client for the node's own use, connected as somebody whom it knows already."""
        client = cls(gateway)
        client._ticket = Ticket(principal)
        return client

    async def connect(self, info: ClientInfo) -> Welcome:
        """Say who you are; as `Client.connect`."""
        self._ticket, welcome = await self._gateway.welcome(info)
        self._left = asyncio.Event()
        return welcome

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask and wait; as `Client.request`. At the deadline the work goes on, as it would behind a socket."""
        ticket = self._connected()
        # The same checks as on the wire, and nothing shared between the caller and the node.
        command = decode_json(encode_json(command), type(command))
        work = asyncio.ensure_future(self._gateway.handle(ticket, command))
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
        async with aclosing(self._gateway.follow(self._connected(), session_id, after)) as stream:
            leaving = asyncio.ensure_future(self._left.wait())
            step = None
            try:
                while not leaving.done():
                    step = asyncio.ensure_future(_next(stream))
                    await asyncio.wait({step, leaving}, return_when=asyncio.FIRST_COMPLETED)
                    if not step.done():
                        break
                    notice = step.result()
                    if notice is None:
                        raise NodeUnavailable(
                            "the node has stopped", "start it again with: umbrella node start"
                        )
                    yield notice
            finally:
                leaving.cancel()
                if step is not None:
                    # A stream cannot be closed while somebody waits for its next notice.
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)
        raise NodeUnavailable("disconnected", "connect again")

    async def disconnect(self, reason: str = "") -> None:
        """Leave; harmless when repeated."""
        self._ticket = None
        self._left.set()

    def _connected(self) -> Ticket:
        if self._ticket is None:
            raise NodeUnavailable("not connected", "call connect first")
        return self._ticket


async def _next(stream: AsyncIterator[Notice]) -> Notice | None:
    return await anext(stream, None)


def _seen(work: "asyncio.Future[R]") -> None:
    if not work.cancelled():
        work.exception()
