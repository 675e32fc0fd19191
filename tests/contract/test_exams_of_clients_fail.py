"""Broken clients that the exams find."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from mcp_interface.client import ClientInfo, Notice, Welcome
from mcp_interface.commands import (
    Command,
    ForkSession,
    GetHealth,
    ListSessions,
    Page,
    PostMessage,
    ResumeSession,
)
from mcp_interface.errors import (
    NodeUnavailable,
    TooMuch,
    UmbrellaError,
)
from mcp_interface.execution import GetExecution, ListExecutions, StartExecution
from mcp_interface.ids import SessionId
from mcp_interface.store import Record
from mcp_interface.testing import (
    FakeClient,
    FakeNode,
    check_client,
)
from mcp_interface.testing.exams.asserting import within

ECHO = StartExecution(server="fake", tool="echo", arguments={"text": "hello"})


class RepeatsARecord(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(session_id, after):
            yield notice
            if isinstance(notice, Record) and notice.version == 3:
                yield notice


class SkipsARecord(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(session_id, after):
            if not (isinstance(notice, Record) and notice.version == 3):
                yield notice


class StartsFromNow(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(session_id, max(after, await self._node._store.head() - 3)):
            yield notice


class FollowsEverything(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(None, after):
            yield notice


class FlattensErrors(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        try:
            return await super().request(command, timeout)
        except UmbrellaError as error:
            raise UmbrellaError(error.message) from error


class RaisesTimeouts(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        async with asyncio.timeout(timeout):
            return await super().request(command, None)


class AcceptsAnyToken(FakeClient):
    async def connect(self, info: ClientInfo) -> Welcome:
        return await super().connect(msgspec.structs.replace(info, token=self._node.owner_token))


class WorksUnconnected(FakeClient):
    async def disconnect(self, reason: str = "") -> None:
        return None


class SaysEverythingTwice(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        if isinstance(command, PostMessage):
            await super().request(command, timeout)
        return await super().request(command, timeout)


class ForgetsTheCursor(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        answer = await super().request(command, timeout)
        return Page(items=answer.items) if isinstance(command, ListSessions) else answer


class LeavesWaitersHanging(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        try:
            return await super().request(command, timeout)
        except NodeUnavailable:
            if isinstance(command, GetHealth):
                return []
            raise


class GoesOnLater(FakeClient):
    """Cuts slow readers off, and leaves out one record when they come back."""

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(session_id, after and after + 1):
            yield notice


class CutsOffWithoutAPlace(FakeClient):
    """Cuts every reader off after a while, and does not say where to go on."""

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        given = 0
        async for notice in super().follow(session_id, after):
            yield notice
            given += 1
            if given > 50:
                raise TooMuch("this reader was too slow", "follow again")


class NeverCutsOff(FakeClient):
    """Keeps what nobody reads for ever."""


class GoesOnTalking(FakeClient):
    """Resumes whatever is suspended when somebody talks."""

    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        if isinstance(command, PostMessage):
            await super().request(ResumeSession(session_id=command.session_id), timeout)
        return await super().request(command, timeout)


class ForksAtTheEnd(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        if isinstance(command, ForkSession):
            command = ForkSession(session_id=command.session_id, title=command.title)
        return await super().request(command, timeout)


class LosesResults(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        answer = await super().request(command, timeout)
        return msgspec.structs.replace(answer, result=None) if isinstance(command, GetExecution) else answer


class ListsEveryState(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        if isinstance(command, ListExecutions):
            command = msgspec.structs.replace(command, status=None)
        return await super().request(command, timeout)


class CallsElsewhere(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        if isinstance(command, StartExecution):
            command = msgspec.structs.replace(command, session_id=None)
        return await super().request(command, timeout)


class EndsByItself(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        for _ in range(3):
            async for notice in super().follow(session_id, after):
                yield notice
                break


@pytest.mark.parametrize(
    "client",
    [
        EndsByItself,
        RepeatsARecord,
        SkipsARecord,
        StartsFromNow,
        FollowsEverything,
        FlattensErrors,
        RaisesTimeouts,
        AcceptsAnyToken,
        WorksUnconnected,
        SaysEverythingTwice,
        ForgetsTheCursor,
        LeavesWaitersHanging,
        GoesOnLater,
        CutsOffWithoutAPlace,
        NeverCutsOff,
        GoesOnTalking,
        ForksAtTheEnd,
        LosesResults,
        ListsEveryState,
        CallsElsewhere,
    ],
)
def test_check_client_finds(client: type[FakeClient]) -> None:
    class BrokenNode(FakeNode):
        def client(self) -> FakeClient:
            return client(self)

    @asynccontextmanager
    async def opened() -> AsyncIterator[FakeNode]:
        async with BrokenNode(stalled=(GetHealth,)) as node:
            yield node

    with pytest.raises(AssertionError):
        asyncio.run(check_client(opened, stalled=GetHealth(), overrun_by=60, call=ECHO))


def test_an_exam_does_not_wait_for_ever() -> None:
    with pytest.raises(AssertionError, match=r"a client: still not done after 0\.01 s"):
        asyncio.run(within(asyncio.sleep(60), "a client", 0.01))
