"""A node and its clients in memory, for the client exam and for tests of what people see.

The node answers the commands about sessions and tool calls, and `GetStatus`; anything else is not found. Requests and answers pass
through the same JSON frames as on a socket, so nothing is shared between the two sides by accident.
"""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import msgspec

from mcp_interface.client import AnyCommand, ClientInfo, Failure, Notice, Request, Result, Welcome
from mcp_interface.clock import Clock, Entropy
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import Command, GetStatus, ModelStatus, NodeStatus, result_type
from mcp_interface.errors import (
    DeadlineExceeded,
    LoginRequired,
    NodeUnavailable,
    UmbrellaError,
    error_from,
)
from mcp_interface.ids import PrincipalId, SessionId, new_id
from mcp_interface.store import Record
from mcp_interface.testing.executions import FakeExecutions
from mcp_interface.testing.sessions import FakeSessions, stream_of
from mcp_interface.testing.stores import MemoryStore
from mcp_interface.testing.time import ManualClock, SeededEntropy

R = TypeVar("R")
VERSION: Final = "0.0.0"


class FakeNode:
    """One node without a disk; open it with `async with`.

    Args:
        clock: Stamps the events.
        entropy: Makes ids and the token.
        stalled: Commands of these kinds are accepted and never answered.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        stalled: tuple[type[Command[Any]], ...] = (),
    ) -> None:
        self._clock = clock or ManualClock()
        self._entropy = entropy or SeededEntropy()
        self._stalled = stalled
        self._store = MemoryStore()
        self._moved = asyncio.Event()
        self._work: set[asyncio.Task[bytes]] = set()
        self._clients: list[FakeClient] = []
        self.owner = PrincipalId(new_id("user", self._entropy))
        self.owner_token = self._entropy.token(16).hex()

    async def __aenter__(self) -> Self:
        self._epoch = await self._store.claim()
        self._started_at = self._clock.now()
        self._sessions = FakeSessions(self._store, self._epoch, self.owner, self._clock, self._entropy)
        self._executions = FakeExecutions(self._sessions, self.owner, self._clock, self._entropy)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.disconnect("the node ends")
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._store.close()

    def client(self) -> "FakeClient":
        """Make a client that is not connected yet."""
        client = FakeClient(self)
        self._clients.append(client)
        return client

    async def welcome(self, info: ClientInfo) -> Welcome:
        """Let somebody in, or raise as `Client.connect` says."""
        if info.token != self.owner_token:
            raise LoginRequired("this is not the node's token", "read the token of the data directory")
        if info.session_id is not None:
            self._sessions.get(info.session_id)
        return Welcome(
            principal_id=self.owner,
            session_id=info.session_id,
            version=VERSION,
            position=await self._store.head(),
        )

    def start(self, frame: bytes) -> asyncio.Task[bytes]:
        """Begin to answer one request; the work goes on when nobody waits for it."""
        task = asyncio.create_task(self._answer(decode_json(frame, Request)))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def check_session(self, session_id: SessionId) -> None:
        """Raise `NotFound` unless there is such a session."""
        self._sessions.get(session_id)

    async def records(self, session_id: SessionId | None, after: int) -> list[Record]:
        """What is remembered behind a position, of one session or of all."""
        streams = "*" if session_id is None else stream_of(session_id)
        return await self._store.read_all(after=after, streams=streams)

    @property
    def moved(self) -> asyncio.Event:
        """Is set, and replaced, as soon as there may be something new."""
        return self._moved

    def stir(self) -> None:
        """Wake everybody who waits for something new."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def _answer(self, request: Request) -> bytes:
        try:
            if isinstance(request.command, self._stalled):
                await asyncio.Event().wait()
            value = await self._do(request.command)
        except UmbrellaError as error:
            return encode_json(Failure(id=request.id, error=error.body()))
        self.stir()
        return encode_json(Result(id=request.id, value=msgspec.Raw(encode_json(value))))

    async def _do(self, command: Command[Any]) -> Any:
        if self._executions.answers(command):
            return await self._executions.answer(command)
        if not isinstance(command, GetStatus):
            return await self._sessions.answer(command)
        return NodeStatus(
            version=VERSION,
            pid=0,
            data_dir="",
            started_at=self._started_at,
            epoch=self._epoch,
            position=await self._store.head(),
            owner=self.owner,
            sessions=len(self._sessions),
            agents=0,
            servers=0,
            pending_approvals=0,
            model=ModelStatus(ready=True, provider="echo", model="echo"),
        )


class FakeClient:
    """A `Client` of a `FakeNode`; get one from `FakeNode.client`."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self._gone: asyncio.Future[None] | None = None
        """Done when the connection ends; None before it begins."""
        self._requests = 0

    async def connect(self, info: ClientInfo) -> Welcome:
        """Say who you are; see `Client.connect`."""
        welcome = await self._node.welcome(info)
        self._gone = asyncio.get_running_loop().create_future()
        return welcome

    async def request(self, command: Command[R], timeout: float | None = 60.0) -> R:
        """Ask and wait for the answer; see `Client.request`."""
        gone = self._check_connected()
        self._requests += 1
        request = Request(id=self._requests, command=cast("AnyCommand", command))
        task = self._node.start(encode_json(request))
        waited: tuple[asyncio.Future[Any], ...] = (task, gone)
        await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        self._check_connected()
        if not task.done():
            raise DeadlineExceeded(f"no answer within {timeout} s", "the work may go on; look again")
        answer: Result | Failure = decode_json(task.result(), Result | Failure)
        if isinstance(answer, Failure):
            raise error_from(answer.error)
        value: R = decode_json(bytes(answer.value), result_type(command))
        return value

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        """Everything behind `after`, then what happens; see `Client.follow`."""
        self._check_connected()
        if session_id is not None:
            self._node.check_session(session_id)
        while True:
            moved = self._node.moved
            records = await self._node.records(session_id, after)
            for record in records:
                self._check_connected()
                after = record.position
                yield record
            if not records:
                self._check_connected()
                await moved.wait()

    async def disconnect(self, reason: str = "") -> None:
        """Leave; see `Client.disconnect`."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
            self._node.stir()

    def _check_connected(self) -> "asyncio.Future[None]":
        if self._gone is None or self._gone.done():
            raise _gone()
        return self._gone


def _gone() -> NodeUnavailable:
    return NodeUnavailable("the connection to the node is gone", "connect again")
