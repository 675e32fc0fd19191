"""The WebSocket over a real socket: the same frames, a login, our own pages only, and bounds."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mcp_interface.client import TextDelta
from mcp_interface.commands import GetSession, GetStatus, ListSessions, Page
from mcp_interface.errors import LoginRequired, NodeUnavailable, NotFound
from mcp_interface.events import UserMessage
from mcp_interface.ids import MessageId, PrincipalId, SessionId, TurnId
from mcp_interface.store import Record
from mcp_interface.testing import ManualClock
from mcp_web import stream
from mcp_web.clients import WATCH_S

S = SessionId("session_" + "1" * 32)
U = PrincipalId("user_" + "a" * 32)
EVENT = UserMessage(
    timestamp=datetime(2026, 1, 1, tzinfo=UTC), message_id=MessageId("msg_1"), author=U, text="hello"
)
RECORD = Record(position=8, stream=f"session:{S}", version=1, epoch=1, event=EVENT)
DELTA = TextDelta(session_id=S, turn_id=TurnId("turn_1"), message_id=MessageId("msg_2"), text="wor")
HELLO = {"type": "hello", "client": {"name": "test", "token": "key-1"}, "protocol": 1}
ANONYMOUS = {"type": "hello", "client": {"name": "test"}, "protocol": 1}


class Line:
    """One connection, frame by frame."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, frame: Any) -> None:
        await self.socket.send(frame if isinstance(frame, str) else json.dumps(frame))

    async def hear(self) -> Any:
        async with asyncio.timeout(10):
            return json.loads(await self.socket.recv())

    async def end(self) -> int:
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionClosed):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code


def talk(listening: Callable[[], Any], scenario: Callable[[Line], Any], **headers: str) -> None:
    given = {name.replace("_", "-"): value for name, value in headers.items()}

    async def run() -> None:
        async with (
            listening() as port,
            connect(f"ws://127.0.0.1:{port}/api/ws", additional_headers=given) as socket,
        ):
            await scenario(Line(socket))

    asyncio.run(run())


def test_a_request_gets_its_result_and_a_bad_one_its_failure(listening: Callable[[], Any], door: Any) -> None:
    door.answers[ListSessions] = Page(items=[])
    door.answers[GetSession] = NotFound("no such session", "list them")

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        welcome = await line.hear()
        assert (welcome["type"], welcome["principal_id"], welcome["position"]) == ("welcome", U, 7)
        await line.say({"type": "request", "id": 5, "command": {"command": "session.list"}})
        assert await line.hear() == {"type": "result", "id": 5, "value": {"items": [], "cursor": None}}
        await line.say({"type": "request", "id": 6, "command": {"command": "session.get", "session_id": S}})
        failure = await line.hear()
        assert (failure["type"], failure["id"]) == ("failure", 6)
        assert (failure["error"]["code"], failure["error"]["remedy"]) == ("not_found", "list them")

    talk(listening, scenario)
    assert door.commands() == [ListSessions(), GetSession(session_id=S)]


def test_a_follow_brings_records_and_passing_notices(listening: Callable[[], Any], door: Any) -> None:
    door.notices = [RECORD, DELTA]

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        await line.say({"type": "follow", "id": 3, "session_id": S, "after": 4})
        happened = await line.hear()
        assert (happened["type"], happened["id"], happened["record"]["position"]) == ("happened", 3, 8)
        assert happened["record"]["event"]["event"] == "message.user"
        passing = await line.hear()
        assert (passing["type"], passing["id"], passing["passing"]["text"]) == ("passing", 3, "wor")

    talk(listening, scenario)
    assert door.followed == [(S, 4)]


def test_the_cookie_logs_in_a_browser(listening: Callable[[], Any]) -> None:
    async def scenario(line: Line) -> None:
        await line.say(ANONYMOUS)
        assert (await line.hear())["type"] == "welcome"

    talk(listening, scenario, cookie="umbrella_login=key-1")


@pytest.mark.parametrize("hello", [ANONYMOUS, {**HELLO, "client": {"name": "x", "token": "wrong"}}])
def test_without_a_login_it_says_why_and_closes(listening: Callable[[], Any], hello: Any) -> None:
    async def scenario(line: Line) -> None:
        await line.say(hello)
        failure = await line.hear()
        assert (failure["id"], failure["error"]["code"]) == (0, "login_required")
        assert await line.end() == stream.CLOSE_LOGIN

    talk(listening, scenario)


@pytest.mark.parametrize(
    "frame", ["{", "[]", {"type": "nonsense"}, {"type": "follow", "id": 1}, {**HELLO, "protocol": 99}]
)
def test_a_bad_first_frame_closes_the_connection(listening: Callable[[], Any], frame: Any) -> None:
    async def scenario(line: Line) -> None:
        await line.say(frame)
        assert (await line.hear())["error"]["code"] in {"invalid_input", "invalid_record"}
        assert await line.end() == stream.CLOSE_BAD_FRAME

    talk(listening, scenario)


def test_silence_is_not_waited_for_without_end(
    listening: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HELLO_S", 0.05)

    async def scenario(line: Line) -> None:
        assert (await line.hear())["error"]["code"] == "invalid_input"
        assert await line.end() == stream.CLOSE_BAD_FRAME

    talk(listening, scenario)


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example", "cookie": "umbrella_login=key-1"}, {"origin": "null"}]
)
def test_a_foreign_page_does_not_get_a_connection(
    listening: Callable[[], Any], headers: dict[str, str]
) -> None:
    async def run() -> None:
        async with listening() as port:
            with pytest.raises(InvalidStatus) as refusal:
                await connect(f"ws://127.0.0.1:{port}/api/ws", additional_headers=headers)
            assert refusal.value.response.status_code == 403

    asyncio.run(run())


def test_our_own_page_does(listening: Callable[[], Any]) -> None:
    async def run() -> None:
        async with listening() as port:
            origin: Any = f"http://127.0.0.1:{port}"
            async with connect(f"ws://127.0.0.1:{port}/api/ws", origin=origin) as socket:
                line = Line(socket)
                await line.say(HELLO)
                assert (await line.hear())["type"] == "welcome"

    asyncio.run(run())


def test_an_id_in_use_is_refused_and_the_rest_goes_on(listening: Callable[[], Any], door: Any) -> None:
    door.answers[ListSessions] = Page(items=[])

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        await line.say({"type": "request", "id": 0, "command": {"command": "session.list"}})
        assert (await line.hear())["error"]["code"] == "invalid_input"
        await line.say({"type": "request", "id": 1, "command": {"command": "session.list"}})
        assert (await line.hear())["type"] == "result"

    talk(listening, scenario)


def test_more_work_than_the_bound_is_refused(
    listening: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_WORK", 0)

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        await line.say({"type": "request", "id": 1, "command": {"command": "session.list"}})
        assert (await line.hear())["error"]["code"] == "overloaded"

    talk(listening, scenario)


def test_a_reader_that_is_too_slow_is_closed_instead_of_filling_memory(
    listening: Callable[[], Any], door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUEUE", 1)
    monkeypatch.setattr(stream, "SEND_S", 0.05)
    big = UserMessage(timestamp=EVENT.timestamp, message_id=EVENT.message_id, author=U, text="x" * 1_000_000)
    door.notices = [
        Record(position=number, stream=RECORD.stream, version=number, epoch=1, event=big)
        for number in range(1, 60)
    ]

    async def run() -> None:
        async with (
            listening() as port,
            connect(f"ws://127.0.0.1:{port}/api/ws", max_queue=1, max_size=None) as socket,
        ):
            line = Line(socket)
            await line.say(HELLO)
            await line.hear()
            await line.say({"type": "follow", "id": 1})
            # Nothing is read until the server has given up on us.
            async with asyncio.timeout(20):
                while door.connected > 1:
                    await asyncio.sleep(0.01)
            assert await line.end() == stream.CLOSE_TOO_SLOW

    asyncio.run(run())


def test_a_failure_inside_shows_nothing_of_itself(listening: Callable[[], Any], door: Any) -> None:
    door.answers[GetStatus] = RuntimeError("password=hunter2")

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        await line.say({"type": "request", "id": 1, "command": {"command": "node.status"}})
        failure = await line.hear()
        assert failure["error"]["code"] == "internal"
        assert "hunter2" not in json.dumps(failure)

    talk(listening, scenario)


def test_when_the_node_goes_the_connection_goes_so_that_a_new_one_finds_it_again(
    listening: Callable[[], Any], door: Any
) -> None:
    door.follow_error = NodeUnavailable("gone")

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        await line.say({"type": "follow", "id": 1})
        assert await line.end() == stream.CLOSE_RESTART

    talk(listening, scenario)


def test_when_the_login_ends_the_connection_ends_with_it_at_once(
    listening: Callable[[], Any], door: Any
) -> None:
    door.follow_error = LoginRequired("the key was revoked")

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        await line.say({"type": "follow", "id": 1})
        assert await line.end() == stream.CLOSE_LOGIN

    talk(listening, scenario)


def test_a_follow_that_fails_says_so_and_the_connection_stays(
    listening: Callable[[], Any], door: Any
) -> None:
    door.follow_error = NotFound("no such session")
    door.answers[ListSessions] = Page(items=[])

    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        await line.say({"type": "follow", "id": 1})
        failure = await line.hear()
        assert (failure["id"], failure["error"]["code"]) == (1, "not_found")
        await line.say({"type": "request", "id": 2, "command": {"command": "session.list"}})
        assert (await line.hear())["type"] == "result"

    talk(listening, scenario)


def test_a_stream_ends_soon_after_its_login_was_ended_elsewhere(
    listening: Callable[[], Any], door: Any, clock: ManualClock
) -> None:
    async def scenario(line: Line) -> None:
        await line.say(HELLO)
        await line.hear()
        door.keys.clear()
        clock.advance(WATCH_S + 1)
        assert await line.end() == stream.CLOSE_LOGIN

    talk(listening, scenario)


def test_leaving_closes_the_connection_to_the_node(listening: Callable[[], Any], door: Any) -> None:
    async def run() -> None:
        async with listening() as port:
            async with connect(f"ws://127.0.0.1:{port}/api/ws") as socket:
                line = Line(socket)
                await line.say(HELLO)
                await line.hear()
                assert door.connected == 2
            async with asyncio.timeout(10):
                while door.connected > 1:
                    await asyncio.sleep(0.005)
        assert door.connected == 0

    asyncio.run(run())


def test_logging_out_closes_the_streams_of_that_login(listening: Callable[[], Any]) -> None:
    async def run() -> None:
        async with (
            listening() as port,
            connect(f"ws://127.0.0.1:{port}/api/ws") as socket,
            httpx.AsyncClient() as http,
        ):
            line = Line(socket)
            await line.say(HELLO)
            await line.hear()
            bearer = {"authorization": "Bearer key-1"}
            out = await http.post(f"http://127.0.0.1:{port}/api/logout", headers=bearer)
            assert out.status_code == 204
            assert await line.end() == stream.CLOSE_LOGIN

    asyncio.run(run())


def test_what_waits_for_a_browser_is_bounded_in_bytes_and_passing_notices_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "QUEUE_BYTES", 100)

    async def scenario() -> None:
        outbox = stream._Outbox()
        await outbox.put(b"a" * 1_000)  # a single frame always fits
        outbox.offer(b"passing")
        putting = [asyncio.create_task(outbox.put(letter * 60)) for letter in (b"b", b"c")]
        await asyncio.sleep(0)
        assert [await outbox.take(), await outbox.take()] == [b"a" * 1_000, b"b" * 60]
        assert await outbox.take() == b"c" * 60  # first come, first served
        await asyncio.gather(*putting)
        outbox.offer(b"passing")
        outbox.offer(b"p" * 100)
        assert await outbox.take() == b"passing"
        assert not outbox._frames and outbox._size == 0

    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())
