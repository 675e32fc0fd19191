"""The HTTP+SSE transport of 2024."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HttpServer, free_port

from hosting import Behind, of, run, until
from mcp_interface.errors import Interrupted, ServerUnavailable
from mcp_interface.server import ServerSpec


@pytest.fixture
def sse_server(modern_script: Path) -> Iterator[HttpServer]:
    port = free_port()
    server = HttpServer([sys.executable, str(modern_script), "sse", str(port)], {}, port)
    yield server
    server.kill()


def spec_of(server: HttpServer, **fields: object) -> ServerSpec:
    return ServerSpec(type="sse", url=server.spec.url.replace("/mcp", "/sse"), **fields)


def test_a_server_over_sse_lists_calls_and_reports_progress(open_host, sse_server, tmp_path) -> None:
    sse_server.start()
    behind = Behind()

    async def work() -> None:
        async with open_host(exam=spec_of(sse_server, headers={"x-key": "${KEY:-v}"})) as host:
            assert of(host, "exam").state == "ready", of(host, "exam").error
            assert of(host, "exam").log_file == ""
            assert (await host.call("exam", "add", {"a": 1, "b": 2})).structured == {"result": 3}
            call = asyncio.create_task(
                host.call("exam", "wait", {"marker": str(tmp_path / "m")}, context=behind.context())
            )
            await behind.told.wait()
            call.cancel()
            await until(lambda: (tmp_path / "m").read_text() == "cancelled")

    run(work)


def test_a_server_over_sse_that_dies_interrupts_and_comes_back(open_host, sse_server, tmp_path) -> None:
    sse_server.start()

    async def work() -> None:
        behind = Behind()
        async with open_host(exam=spec_of(sse_server)) as host:
            call = asyncio.create_task(
                host.call("exam", "wait", {"marker": str(tmp_path / "m")}, context=behind.context())
            )
            await behind.told.wait()
            sse_server.kill()
            with pytest.raises(Interrupted):
                await call
            assert not asyncio.current_task().cancelling()
            with pytest.raises(ServerUnavailable):
                await host.call("exam", "add", {"a": 1, "b": 2})
            await asyncio.to_thread(sse_server.start)
            assert (await host.call("exam", "add", {"a": 1, "b": 2})).structured == {"result": 3}

    run(work)


def test_an_address_that_is_no_sse_server_is_a_status_with_the_reason(open_host, everything_http) -> None:
    wrong = ServerSpec(type="sse", url=everything_http.url.replace("/mcp", "/elsewhere"))

    async def work() -> None:
        async with open_host(wrong=wrong) as host:
            assert of(host, "wrong").state != "ready"
            assert "404" in of(host, "wrong").error

    run(work)


def test_a_server_that_leads_our_words_to_another_origin_is_refused(open_host) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.write(b"event: endpoint\ndata: http://elsewhere.example/post\n\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def work() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(serve, sock=listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/sse"
        async with server, open_host(bad=ServerSpec(type="sse", url=url)) as host:
            assert "another origin" in of(host, "bad").error

    run(work)
