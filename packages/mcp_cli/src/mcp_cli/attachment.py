"""Keeps a REPL attached to its node: connects, follows one session, and comes back when the node went away.

Nothing is shown twice: after a break it follows on from the last position seen. A node that died is started
again; one that somebody stopped on purpose is left alone until the person asks for something.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from mcp_cli.following import following
from mcp_cli.invocation import Invocation
from mcp_interface.client import Client, ClientInfo, Notice, Welcome
from mcp_interface.clock import Clock
from mcp_interface.commands import Command
from mcp_interface.errors import NodeUnavailable, NotFound, TooMuch, UmbrellaError
from mcp_interface.ids import SessionId
from mcp_interface.store import Record

R = TypeVar("R")
State = Literal["connecting", "connected", "lost", "stopped"]
"""lost: trying again; stopped: somebody stopped the node, waiting for the person."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 3.0
ENDING_S: Final = 12.0
"""Seconds that a node may take to end in order."""
STARTS: Final = 3
"""Attempts to start a node before only looking whether one came up."""
PATIENCE_S: Final = 45.0
"""Seconds that a request waits for the node to be there."""


class Opened(msgspec.Struct, frozen=True):
    """A connection that is up."""

    client: Client
    welcome: Welcome
    close: Callable[[], Awaitable[None]]


class Opener(Protocol):
    """Ways to a node."""

    async def open(self, start: bool) -> Opened:
        """Connect, starting a node when asked to.

        Raises:
            NodeUnavailable: None answers.
        """
        ...

    async def crashed(self) -> bool:
        """Whether the node that is gone left without saying so; waits a little for one that is just ending."""
        ...


class DoorOpener:
    """The way through `mcp_core.open_door` to the node of a data directory."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    async def open(self, start: bool) -> Opened:
        """Open the door and connect as the owner; see `Opener.open`."""
        from mcp_core import Settings, open_door

        settings = Settings.load(self._invocation.data_dir)
        door = await open_door(settings, start=start, embed=self._invocation.embed)
        client = door.client()
        try:
            welcome = await client.connect(ClientInfo(name="umbrella repl", token=door.owner_token))
        except BaseException:
            await door.close()
            raise

        async def close() -> None:
            await client.disconnect("leaving")
            await door.close()

        return Opened(client, welcome, close)

    async def crashed(self) -> bool:
        """A node that ends in order takes its socket away; one that was killed cannot."""
        from mcp_core import DataDir, Settings

        place = DataDir(Settings.load(self._invocation.data_dir).data_dir)
        clock = self._invocation.clock
        end = clock.monotonic() + ENDING_S
        while place.is_locked() and clock.monotonic() < end:
            await clock.sleep(FIRST_PAUSE_S)
        return place.socket.exists()


class Listener(Protocol):
    """Who is told."""

    def noticed(self, session_id: SessionId | None, notice: Notice) -> None:
        """Something happened in the session that is followed (None: anywhere)."""
        ...

    def attached(self, state: State, detail: str) -> None:
        """The connection changed; `detail` says why, for a person."""
        ...


class Attachment:
    """One REPL's lasting connection. `run` must be running as a task; everything else may be called any time."""

    def __init__(self, opener: Opener, clock: Clock, listener: Listener) -> None:
        self._opener = opener
        self._clock = clock
        self._listener = listener
        self._opened: Opened | None = None
        self._ready = asyncio.Event()
        self._wanted = asyncio.Event()
        self._switched = asyncio.Event()
        self._session: SessionId | None = None
        self._after = 0
        self.state: State = "connecting"
        self.detail = ""

    def attend(self, session_id: SessionId | None, after: int = 0) -> None:
        """Follow this session from a position on, instead of what was followed before."""
        self._session, self._after = session_id, after
        self._switched.set()

    @property
    def present(self) -> Client | None:
        """The client when the node is there now; asking wakes nothing."""
        return None if self._opened is None else self._opened.client

    async def client(self) -> Client:
        """Return the connected client; waits for a node that is coming back, and wakes a stopped one.

        Raises:
            NodeUnavailable: It did not come back in time.
        """
        self._wanted.set()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self._opened is None:
                    await self._ready.wait()
                return self._opened.client
        except TimeoutError as error:
            raise NodeUnavailable(
                f"the node is away: {self.detail}", "look at its log: umbrella logs"
            ) from error

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask the node; as `Client.request`."""
        return await (await self.client()).request(command, timeout)

    async def run(self) -> None:
        """Connect and follow until cancelled."""
        pause, starts, start = FIRST_PAUSE_S, 0, True
        try:
            while True:
                try:
                    self._opened = await self._opener.open(start)
                except UmbrellaError as error:
                    starts += start
                    self._tell("lost" if start or self.state != "stopped" else "stopped", error.message)
                    pause = await self._rest(pause)
                    start = self._wanted.is_set() or (starts < STARTS and await self._opener.crashed())
                    self._wanted.clear()
                    continue
                pause, starts = FIRST_PAUSE_S, 0
                await self._connected(self._opened)
                start = await self._opener.crashed()
                self._tell(
                    "lost" if start else "stopped", "the node died" if start else "the node was stopped"
                )
                self._wanted.clear()
        finally:
            await self._let_go()

    async def _connected(self, opened: Opened) -> None:
        self._ready.set()
        self._tell("connected", "")
        try:
            await self._watch(opened)
        except UmbrellaError as error:
            self.detail = error.message
        finally:
            self._ready.clear()
            await self._let_go()

    async def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            try:
                await opened.close()
            except UmbrellaError as error:
                self.detail = error.message  # it is gone already

    async def _rest(self, pause: float) -> float:
        waiting = asyncio.ensure_future(self._wanted.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(pause))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()
        return min(pause * 2, LONGEST_PAUSE_S)

    def _tell(self, state: State, detail: str) -> None:
        changed = (state, detail) != (self.state, self.detail)
        self.state, self.detail = state, detail
        if changed:
            self._listener.attached(state, detail)

    async def _watch(self, opened: Opened) -> None:
        """Follow what is to be followed, until the connection ends."""
        while True:
            self._switched.clear()
            follow = asyncio.ensure_future(self._follow(opened))
            switched = asyncio.ensure_future(self._switched.wait())
            try:
                await asyncio.wait({follow, switched}, return_when=asyncio.FIRST_COMPLETED)
                if follow.done():
                    follow.result()
            finally:
                switched.cancel()
                follow.cancel()
                await asyncio.gather(follow, switched, return_exceptions=True)

    async def _follow(self, opened: Opened) -> None:
        session, after = self._session, self._after
        if session is None:
            after = opened.welcome.position
        try:
            async with following(opened.client, session, after) as notices:
                async for notice in notices:
                    if isinstance(notice, Record) and session == self._session and session is not None:
                        self._after = notice.position
                    self._listener.noticed(session, notice)
        except TooMuch:
            return  # too slow: go on from the last position
        except NotFound as error:
            self._session = None
            self._listener.attached(self.state, error.message)
            return
        raise NodeUnavailable("the node closed the connection", "it is looked for again")
