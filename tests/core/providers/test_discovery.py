"""What is found on this machine, and that nothing else is asked."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_core.providers.discovery import MOST, OLLAMA_URL, Discovery, is_trusted, listeners

PATIENCE = 20.0
"""Seconds for a look where nothing makes it wait: the machine may be busy."""


class Place:
    """A little server that answers every request alike, and keeps their first lines."""

    def __init__(self, answer: bytes, *, ends: bool = True) -> None:
        self.asked: list[str] = []
        self.url = ""
        self.serving: list[Any] = []
        self._answer = answer
        self._ends = ends

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.partition(b"\r\n")[0].decode())
            writer.write(self._answer)
            await writer.drain()
            if not self._ends:
                await reader.read()  # until the other side leaves
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def place(answer: bytes, *, ends: bool = True) -> AsyncIterator[Place]:
    made = Place(answer, ends=ends)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield made
        await asyncio.gather(*made.serving)


def page(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def listing(*names: Any) -> bytes:
    return page(json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


def found(answer: bytes, clock: Any, *, ends: bool = True, look_s: float = PATIENCE) -> list[str]:
    async def look() -> list[str]:
        async with asyncio.timeout(60), place(answer, ends=ends) as there:
            return await Discovery(there.url, clock, look_s).look({})

    return asyncio.run(look())


def test_the_models_that_are_offered_are_found_in_their_order(clock: Any) -> None:
    assert found(listing("llama3.2:1b", "qwen3", "llama3.2:1b"), clock) == ["llama3.2:1b", "qwen3"]


def test_a_look_counts_for_some_seconds(clock: Any) -> None:
    async def look() -> None:
        async with asyncio.timeout(60), place(listing("a")) as there:
            discovery = Discovery(there.url, clock, PATIENCE)
            await discovery.look({})
            await discovery.look({})
            assert there.asked == ["GET /v1/models HTTP/1.1"]
            await clock.sleep(6)
            await discovery.look({})
            assert len(there.asked) == 2
            assert discovery.found == ["a"]
            assert await discovery.look({"UMBRELLA_DISCOVER": "0"}) == []
            assert discovery.found == [], "switched off, it forgets"

    asyncio.run(look())


@pytest.mark.parametrize(
    "answer",
    [
        page(b"<html>a dashboard</html>"),
        page(b"[" * 100_000),
        page(b'{"data": [{"name": "a"}]}'),
        page(b"", "404 Not Found"),
        page(b"", "302 Found", location="http://127.0.0.1:9/v1/models"),
        page(b'{"data": []}' + b" " * 2_000_000),
        b"SSH-2.0-OpenSSH_9.6\r\n",
        listing("", "x" * 500, "two\nlines", "\x1b[2Jtitle"),
    ],
)
def test_something_else_that_listens_there_is_no_model_server(answer: bytes, clock: Any) -> None:
    assert found(answer, clock) == []


def test_one_that_never_ends_is_left(clock: Any) -> None:
    assert found(b"HTTP/1.1 200 OK\r\n\r\n{", clock, ends=False, look_s=0.05) == []


def test_names_are_bounded(clock: Any) -> None:
    assert len(found(listing(*[f"m{number}" for number in range(MOST + 50)]), clock)) == MOST


def test_nothing_listens_and_nothing_is_found(clock: Any) -> None:
    async def look() -> None:
        async with place(b"") as there:
            url = there.url
        assert await Discovery(url, clock, PATIENCE).look({}) == []

    asyncio.run(look())


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:11434/v1", "http://ollama.example.org/v1", "", "http://[::1"]
)
def test_another_machine_is_never_asked(url: str, clock: Any) -> None:
    discovery = Discovery(url, clock, PATIENCE)
    assert discovery.url({}) == ""
    assert asyncio.run(discovery.look({})) == []


@pytest.mark.parametrize(
    ("said", "on"), [("0", False), ("off", False), ("No", False), ("1", True), ("", True)]
)
def test_looking_can_be_switched_off(said: str, on: bool, clock: Any) -> None:
    assert bool(Discovery(OLLAMA_URL, clock).url({"UMBRELLA_DISCOVER": said})) is on


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(local: str, state: str, uid: int) -> str:
    queues = "00000000:00000000 00:00000000 00000000"
    return f"   0: {local} 00000000:0000 {state} {queues} {uid:>5}        0 1665 1 0000 100 0 0 10 0\n"


OURS = row("0100007F:2CAA", "0A", os.getuid())
STRANGE = 4711


def test_the_kernels_table_says_whose_sockets_listen() -> None:
    table = [
        HEAD,
        row("0100007F:2CAA", "0A", 998),
        row("00000000:2CAA", "0A", 1000),
        row("0100007F:2CAB", "0A", 1),
        row("0100007F:2CAA", "01", 2),
    ]
    assert listeners(table, 11434) == {998, 1000}
    assert listeners([HEAD, row(f"{'0' * 24}01000000:2CAA", "0A", 5)], 11434) == {5}
    assert listeners([HEAD], 11434) == set()
    for broken in ("0: x 0A\n", row("0100007F:zz", "0A", 1)):
        with pytest.raises(ValueError):
            listeners([HEAD, broken], 11434)


@pytest.mark.parametrize(
    ("tcp", "tcp6", "trusted"),
    [
        (OURS, None, True),
        (row("0100007F:2CAA", "0A", 0), "", True),
        ("", row(f"{'0' * 32}:2CAA", "0A", os.getuid()), True),
        ("", "", False),
        (row("0100007F:2CAA", "0A", STRANGE), "", False),
        (OURS, row(f"{'0' * 32}:2CAA", "0A", STRANGE), False),
        (OURS + "nonsense\n", "", False),
        (OURS, "\u00e9\n", False),
        (None, OURS, False),
    ],
)
def test_in_any_doubt_what_listens_is_not_trusted(
    tmp_path: Path, tcp: str | None, tcp6: str | None, trusted: bool
) -> None:
    for name, text in (("tcp", tcp), ("tcp6", tcp6)):
        if text is not None:
            (tmp_path / name).write_text(HEAD + text, "utf-8")
    assert is_trusted(OLLAMA_URL, tmp_path) is trusted


def test_a_listener_of_our_own_is_trusted_while_it_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        assert is_trusted(url)
    assert not is_trusted(url)


def test_a_stranger_that_listens_is_not_even_asked(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        async with place(listing("theirs")) as there:
            monkeypatch.setattr("mcp_core.providers.discovery.is_trusted", lambda url: False)
            assert await Discovery(there.url, clock, PATIENCE).look({}) == []
            assert there.asked == []

    asyncio.run(look())
