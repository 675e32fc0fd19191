"""A client's trace reaches the node with each command, from a header or from a frame."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from websockets.asyncio.client import connect

from mcp_core import Node, Settings
from mcp_interface.client import ClientInfo, Failure, Hello, NodeFrame, Request, Result
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.commands import CreateLogin, ListSessions, Page, RedeemLogin
from mcp_interface.trace import current_traceparent
from mcp_web import make_app

BASE = "http://127.0.0.1:8420"
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def seen(door: Any) -> list[str | None]:
    """The trace in which the node was asked for its sessions, each time."""
    seen: list[str | None] = []

    def answer(_: ListSessions) -> Page[Any]:
        seen.append(current_traceparent())
        return Page(items=[])

    door.answers[ListSessions] = answer
    return seen


@pytest.mark.parametrize(
    ("headers", "arrived"),
    [
        ({"traceparent": GIVEN}, GIVEN),
        ({}, None),
        ({"traceparent": "not one"}, None),
        ({"traceparent": GIVEN.upper()}, None),
    ],
)
def test_a_request_is_a_part_of_the_trace_in_its_header(
    browse: Callable[..., Any], seen: list[str | None], headers: dict[str, str], arrived: str | None
) -> None:
    async def scenario() -> None:
        async with browse() as http:
            answer = await http.get("/api/sessions", headers=headers)
            assert answer.status_code == 200, "a trace that cannot be read is no reason to refuse"

    asyncio.run(scenario())
    assert seen == [arrived]


def test_a_header_that_was_sent_twice_counts_as_none(
    browse: Callable[..., Any], seen: list[str | None]
) -> None:
    async def scenario() -> None:
        async with browse() as http:
            twice = [("traceparent", GIVEN), ("traceparent", GIVEN.replace("4bf9", "4bf8"))]
            assert (
                await http.get("/api/sessions", headers=[*http.headers.items(), *twice])
            ).status_code == 200

    asyncio.run(scenario())
    assert seen == [None]


def test_a_frame_carries_its_own_trace_and_a_wrong_one_is_its_senders_mistake(
    listening: Callable[[], Any], seen: list[str | None]
) -> None:
    async def scenario() -> list[NodeFrame]:
        async with listening() as port, connect(f"ws://127.0.0.1:{port}/api/ws") as socket:
            await socket.send(encode_json(Hello(client=ClientInfo(name="test", token="key-1"))).decode())
            await socket.recv()
            answers: list[NodeFrame] = []
            for number, trace in enumerate([GIVEN, None, "not one"], 1):
                frame = Request(id=number, command=ListSessions(), trace=trace)
                await socket.send(encode_json(frame).decode())
                answers.append(decode_json(await socket.recv(), NodeFrame))
            return answers

    first, second, third = asyncio.run(scenario())
    assert isinstance(first, Result) and isinstance(second, Result) and seen == [GIVEN, None]
    assert isinstance(third, Failure) and "traceparent" in third.error.message


class NodeDoor:
    """The way to a node in this process."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def owner_token(self) -> str:
        return self._node.owner_token

    def client(self) -> Any:
        return self._node.client()

    async def close(self) -> None:
        """The node is the test's."""


def test_a_tool_call_over_rest_leaves_the_trace_of_its_header_in_the_journal(tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("read me")
    call = {"server": "fs", "tool": "read_file", "arguments": {"path": str(file)}}

    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            app = make_app(NodeDoor(node), assets=tmp_path / "none")
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            code = (await client.request(CreateLogin())).code
            key = (await client.request(RedeemLogin(code=code))).key
            headers = {"authorization": f"Bearer {key}", "traceparent": GIVEN}
            async with AsyncClient(transport=ASGITransport(app), base_url=BASE) as http:
                outcome = (await http.post("/api/tools/call", json=call, headers=headers)).json()
                events = f"/api/sessions/{outcome['session_id']}/events"
                records = (await http.get(events, headers=headers)).json()["items"]
            calls = [record for record in records if record["event"]["event"] == "execution"]
            assert [record["event"]["status"] for record in calls] == ["started", "completed"]
            assert {record["trace_id"] for record in calls} == {f"trace_{GIVEN.split('-')[1]}"}

    asyncio.run(scenario())
