"""Connections to the node: one for each login that is in use, and one of the owner for login commands.

A client speaks with the rights of the login it was connected with, so that nothing here can mix up two
people. Connections that nobody uses are closed after a while; the number of them is bounded.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

import msgspec

from mcp_core import Door
from mcp_interface.client import Client, ClientInfo, Welcome
from mcp_interface.clock import Clock
from mcp_interface.commands import CheckLogin, Command, EndLogin, Login, LoginKey, RedeemLogin
from mcp_interface.errors import (
    LoginRequired,
    NodeUnavailable,
    NotFound,
    NotPermitted,
    TooMuch,
    UmbrellaError,
)

R = TypeVar("R")

NAME: Final = "web"
MAX_LOGINS: Final = 64
"""Logins connected at the same time."""
MAX_STREAMS: Final = 128
"""Open WebSockets."""
IDLE_S: Final = 900.0
WATCH_S: Final = 30.0
"""How often the login of an open stream is looked at again."""
CONNECT_S: Final = 10.0


class _Seat(msgspec.Struct):
    """One login's connection."""

    client: Client
    used: float
    busy: int = 0


class Clients:
    """All connections of one web server."""

    def __init__(self, door: Door, clock: Clock) -> None:
        self._door = door
        self._clock = clock
        self._owner: Client | None = None
        self._seats: dict[str, _Seat] = {}
        self._streams: dict[object, tuple[str, Callable[[], None]]] = {}
        self._connecting = asyncio.Lock()

    async def ask_owner(self, command: Command[R], timeout: float = 10.0) -> R:
        """Ask as the node's owner; for logins and health only.

        Raises:
            UmbrellaError: What the node answered.
        """
        try:
            return await (await self._owner_client()).request(command, timeout)
        except NodeUnavailable:
            # The node may have been started anew behind the same door: one fresh connection is tried.
            self._owner = None
            return await (await self._owner_client()).request(command, timeout)

    async def redeem(self, code: str) -> LoginKey:
        """Exchange a one-time code for a login key.

        Raises:
            LoginRequired: The code is unknown, used or too old.
        """
        try:
            return await self.ask_owner(RedeemLogin(code=code))
        except (NotFound, NotPermitted) as error:
            raise LoginRequired(
                "this login code is unknown, used or too old", "start `umbrella serve` for a new link"
            ) from error

    async def check(self, key: str) -> Login:
        """Who holds this key, as the node says now.

        Raises:
            LoginRequired: Nobody.
        """
        try:
            return await self.ask_owner(CheckLogin(key=key))
        except (NotFound, NotPermitted) as error:
            await self.forget(key)
            raise LoginRequired("this login is unknown or has ended", "log in with a new link") from error

    async def ask(self, key: str, command: Command[R], timeout: float = 60.0) -> R:
        """Ask with the rights of a login; the node judges whether it still has any.

        Raises:
            UmbrellaError: What the node answered.
            TooMuch: Too many logins are in use.
        """
        seat = await self._seat(key)
        seat.busy += 1
        try:
            return await seat.client.request(command, timeout)
        except NodeUnavailable:
            await self._drop(_digest(key))
            raise
        except LoginRequired:
            with suppress(LoginRequired):  # a command may also be refused for another login that it names
                await self.check(key)
            raise
        finally:
            seat.busy -= 1
            seat.used = self._clock.monotonic()

    async def end(self, key: str) -> None:
        """End a login: its key, its connection and its streams; harmless when repeated."""
        await self.ask_owner(EndLogin(key=key))
        await self.forget(key)

    async def forget(self, key: str) -> None:
        """Close the connection and the streams of a login that has ended."""
        digest = _digest(key)
        for owner, close in list(self._streams.values()):
            if owner == digest:
                close()
        await self._drop(digest)

    @asynccontextmanager
    async def stream(
        self, info: ClientInfo, on_end: Callable[[], None]
    ) -> AsyncIterator[tuple[Client, Welcome]]:
        """A connection of its own for one WebSocket, closed with it.

        Args:
            info: Who connects; the token is the login key.
            on_end: Called when the login ends before the WebSocket does.

        Raises:
            LoginRequired: The token is not the key of a login.
            TooMuch: Too many streams are open.
        """
        if len(self._streams) >= MAX_STREAMS:
            raise TooMuch(
                f"{MAX_STREAMS} streams are open, the most there can be", "close a tab and try again"
            )
        mark = object()
        self._streams[mark] = (_digest(info.token), on_end)
        client = self._door.client()
        watch = asyncio.create_task(self._watch(info.token, on_end), name="web: watch a stream's login")
        try:
            await self.check(info.token)
            yield client, await _bounded_connect(client, info)
        finally:
            self._streams.pop(mark, None)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await client.disconnect("stream closed")

    async def sweep(self) -> None:
        """Close connections that nobody has used for a while; runs until it is cancelled."""
        while True:
            await self._clock.sleep(IDLE_S / 10)
            before = self._clock.monotonic() - IDLE_S
            for digest in [key for key, seat in self._seats.items() if not seat.busy and seat.used < before]:
                await self._drop(digest)

    async def close(self) -> None:
        """Close every connection; harmless when repeated."""
        for _, close in list(self._streams.values()):
            close()
        for digest in list(self._seats):
            await self._drop(digest)
        owner, self._owner = self._owner, None
        if owner is not None:
            await owner.disconnect("server stops")

    async def _watch(self, key: str, on_end: Callable[[], None]) -> None:
        """Notice within a minute that a stream's login has expired, or was ended elsewhere."""
        while True:
            await self._clock.sleep(WATCH_S)
            try:
                await self.check(key)
            except LoginRequired:
                on_end()
                return
            except UmbrellaError:
                continue  # the node is away; the stream itself notices that

    async def _owner_client(self) -> Client:
        async with self._connecting:
            if self._owner is None:
                client = self._door.client()
                await _bounded_connect(client, ClientInfo(name=NAME, token=self._door.owner_token))
                self._owner = client
            return self._owner

    async def _seat(self, key: str) -> _Seat:
        digest = _digest(key)
        async with self._connecting:
            seat = self._seats.get(digest)
            if seat is None:
                await self._make_room()
                client = self._door.client()
                await _bounded_connect(client, ClientInfo(name=NAME, token=key))
                seat = self._seats[digest] = _Seat(client=client, used=self._clock.monotonic())
            return seat

    async def _make_room(self) -> None:
        if len(self._seats) < MAX_LOGINS:
            return
        idle = [(seat.used, digest) for digest, seat in self._seats.items() if not seat.busy]
        if not idle:
            raise TooMuch(f"{MAX_LOGINS} logins are busy, the most there can be", "try again in a moment")
        await self._drop(min(idle)[1])

    async def _drop(self, digest: str) -> None:
        seat = self._seats.pop(digest, None)
        if seat is not None:
            await seat.client.disconnect("login closed")


async def _bounded_connect(client: Client, info: ClientInfo) -> Welcome:
    try:
        async with asyncio.timeout(CONNECT_S):
            return await client.connect(info)
    except TimeoutError as error:
        raise NodeUnavailable(
            f"the node did not answer within {CONNECT_S:g} s", "look at `umbrella node status`"
        ) from error


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
