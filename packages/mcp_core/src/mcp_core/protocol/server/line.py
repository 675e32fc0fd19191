"""One principal's line to the node: connected when it is needed, and again when the node was started anew."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar

import msgspec

from mcp_interface.client import Client, Notice, Welcome
from mcp_interface.clock import Clock
from mcp_interface.commands import Command, Page
from mcp_interface.errors import NodeUnavailable, TooMuch
from mcp_interface.ids import SessionId
from mcp_interface.store import Record

R = TypeVar("R")
T = TypeVar("T")
Connect = Callable[[], Awaitable[tuple[Client, Welcome]]]
"""Makes a client that has been welcomed."""

MOST: Final = 10_000
"""Items of a list that are read at most."""
AGAIN_S: Final = 0.5
PATIENCE: Final = 120
"""Attempts to reach a node that is gone, half a second apart, before whoever follows it is told so."""


class Line:
    """A connection that comes back.

    Args:
        connect: Makes a connection.
        clock: For the pauses between attempts.
    """

    def __init__(self, connect: Connect, clock: Clock) -> None:
        self._connect = connect
        self._clock = clock
        self._connecting = asyncio.Lock()
        self._client: Client | None = None
        self._welcome: Welcome | None = None
        self._closed = False

    async def welcome(self) -> Welcome:
        """What the node said when it let us in.

        Raises:
            UmbrellaError: It does not.
        """
        await self._connected()
        if self._welcome is None:
            raise NodeUnavailable("the line is closed", "connect again")
        return self._welcome

    async def ask(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask the node, on a fresh connection when the last one is gone; what may have been done is not repeated.

        Raises:
            UmbrellaError: What the node answered.
        """
        client = await self._connected()
        try:
            return await client.request(command, timeout)
        except NodeUnavailable:
            await self._forget(client)
            raise

    async def look(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """As `ask`, of what changes nothing: tried once more when the connection breaks.

        Raises:
            UmbrellaError: What the node answered.
        """
        try:
            return await self.ask(command, timeout)
        except NodeUnavailable:
            return await self.ask(command, timeout)

    async def every(self, command: Command[Page[T]]) -> list[T]:
        """All items of a list, page by page; at most 10,000.

        Raises:
            UmbrellaError: What the node answered.
        """
        found: list[T] = []
        while True:
            page = await self.look(command)
            found += page.items
            if page.cursor is None or len(found) >= MOST:
                return found[:MOST]
            changed: dict[str, Any] = {"cursor": page.cursor}
            command = msgspec.structs.replace(command, **changed)

    async def follow(self, session_id: SessionId | None) -> AsyncIterator[Notice | None]:
        """What happens from now on; None where something may have been missed.

        Ends with the line. A node that is away is waited for, a minute at most.

        Raises:
            UmbrellaError: It does not come back, or there is no such session.
        """
        after = (await self.welcome()).position
        failed = 0
        while not self._closed:
            try:
                client = await self._connected()
                if failed:
                    yield None
                async with aclosing(client.follow(session_id, after)) as notices:  # type: ignore[type-var]  # every client's is a generator
                    async for notice in notices:
                        failed = 0
                        if isinstance(notice, Record):
                            after = notice.position
                        yield notice
            except TooMuch as error:
                after = int(error.details.get("position", after))
                yield None
            except NodeUnavailable:
                failed += 1
                if self._closed or failed > PATIENCE:
                    raise
                await self._clock.sleep(AGAIN_S)

    async def close(self) -> None:
        """Hang up; harmless when repeated."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.disconnect("the MCP client has left")

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._closed:
                raise NodeUnavailable("the line is closed", "connect again")
            if self._client is None:
                self._client, self._welcome = await self._connect()
            return self._client

    async def _forget(self, client: Client) -> None:
        if self._client is client:
            self._client = None
            await client.disconnect("the node has gone")
