"""The socket door against clients that misbehave, over real sockets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from mcp_core.gateway.gateway import Gateway
from mcp_core.gateway.listener import Listener
from mcp_core.gateway.tickets import Ticket
from mcp_interface.client import (
    ClientFrame,
    ClientInfo,
    Failure,
    Follow,
    Happened,
    Hello,
    NodeFrame,
    Notice,
    Request,
    Result,
    Unfollow,
    Welcome,
)
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import GetHealth, GetStatus
from mcp_interface.errors import TooMuch
from mcp_interface.events import UserMessage
from mcp_interface.ids import MessageId, PrincipalId, new_id
from mcp_interface.store import Record
from mcp_interface.testing import START, SeededEntropy

OWNER = PrincipalId(new_id("user", SeededEntropy()))


def record(position: int, text: str) -> Record:
    event = UserMessage(timestamp=START, message_id=MessageId(f"msg_{position}"), author=OWNER, text=text)
    return Record(position=position, stream="s", version=position, epoch=1, event=event)


class FakeGateway:
    """Lets everybody in; answers health at once and status when told to, even when cancelled."""

    def __init__(self, *records: Record) -> None:
        self.records = records
        self.begun = 0
        self.go = asyncio.Event()
        self.open_follows = 0

    async def welcome(self, info: ClientInfo) -> tuple[Ticket, Welcome]:
        return Ticket(OWNER), Welcome(principal_id=OWNER, session_id=None, version="1", position=0)

    async def handle(self, ticket: Ticket, command: Any) -> Any:
        if isinstance(command, GetStatus):
            self.begun += 1
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                await self.go.wait()
                raise
        return []

    async def follow(self, *_: Any) -> AsyncGenerator[Notice, None]:
        self.open_follows += 1
        try:
            for each in self.records:
                yield each
            await self.go.wait()
        finally:
            self.open_follows -= 1


class Line:
    """A client that can say anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, *frames: ClientFrame) -> None:
        self.writer.writelines(encode_json(frame) + b"\n" for frame in frames)

    async def hear(self) -> NodeFrame:
        frame: NodeFrame = decode_json(await self.reader.readline(), NodeFrame)
        return frame


def with_line(
    gateway: Callable[[], FakeGateway], folder: Path, use: Callable[[Line, Any], Any], hello: bool = True
) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Line, FakeGateway]]:
        fake = gateway()
        listener = Listener(cast("Gateway", fake))
        await listener.open(folder / "socket")
        line = Line(*await asyncio.open_unix_connection(folder / "socket"))
        try:
            if hello:
                line.say(Hello(client=ClientInfo(name="test")))
                assert isinstance(await line.hear(), Welcome)
            yield line, fake
        finally:
            line.writer.close()
            fake.go.set()
            await listener.close()

    async def scenario() -> None:
        async with asyncio.timeout(20), opened() as (line, fake):
            await use(line, fake)

    asyncio.run(scenario())


def test_a_record_too_large_for_a_frame_ends_its_follow_and_not_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_core.gateway.listener.MAX_FRAME", 2000)

    async def use(line: Line, gateway: FakeGateway) -> None:
        line.say(Follow(id=1))
        first, end = await line.hear(), await line.hear()
        assert isinstance(first, Happened) and first.record.position == 1
        assert isinstance(end, Failure) and (end.id, end.error.code) == (1, TooMuch.code)
        assert "record at 2" in end.error.message and "after 2" in end.error.remedy
        line.say(Request(id=2, command=GetHealth()))
        assert isinstance(await line.hear(), Result)
        assert gateway.open_follows == 0

    with_line(lambda: FakeGateway(record(1, "small"), record(2, "x" * 2000)), tmp_path, use)


def test_thousands_of_bad_frames_are_answered_one_by_one(tmp_path: Path) -> None:
    async def use(line: Line, _: FakeGateway) -> None:
        line.writer.write(b'{"id": 7}\n' * 3000)
        for _ in range(3000):
            answer = await line.hear()
            assert isinstance(answer, Failure) and answer.id == 7
        line.say(Request(id=8, command=GetHealth()))
        assert isinstance(await line.hear(), Result)

    with_line(FakeGateway, tmp_path, use)


@pytest.mark.parametrize("beginning", [b"{}\n", b"hello?\n"])
def test_a_connection_that_begins_with_a_bad_frame_is_ended(tmp_path: Path, beginning: bytes) -> None:
    async def use(line: Line, _: FakeGateway) -> None:
        line.writer.write(beginning * 100)
        assert isinstance(await line.hear(), Failure)
        assert await line.reader.read() == b""

    with_line(FakeGateway, tmp_path, use, hello=False)


def test_an_id_stays_taken_until_what_it_stood_for_has_ended(tmp_path: Path) -> None:
    async def use(line: Line, gateway: FakeGateway) -> None:
        line.say(Request(id=1, command=GetStatus()))
        while not gateway.begun:
            await asyncio.sleep(0.001)
        line.say(Unfollow(id=1), Request(id=1, command=GetHealth()))
        refused = await line.hear()
        assert isinstance(refused, Failure) and refused.error.code == TooMuch.code
        gateway.go.set()
        line.say(Request(id=2, command=GetHealth()))
        assert isinstance(await line.hear(), Result)
        line.say(Request(id=1, command=GetHealth()))
        answer = await line.hear()
        assert isinstance(answer, Result) and answer.id == 1

    with_line(FakeGateway, tmp_path, use)
