"""The end of a login: a browser comes back to the loopback of this terminal, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from mcp_interface.errors import CallerMistaken

MAX_REQUEST: Final = 16_384
PATH: Final = "/callback"
_HERE: Final = "127.0.0.1"
_PAGE: Final = """<!doctype html><meta charset="utf-8"><title>Umbrella</title>
<p>Umbrella has what it needs. You can close this page and go back to the terminal."""


@asynccontextmanager
async def listening(wanted: str | None) -> AsyncIterator[tuple[str, asyncio.Future[str]]]:
    """Wait on the loopback for the browser to come back, once.

    Args:
        wanted: Where the server's entry says that logins lead back to; None: to any free port.

    Raises:
        CallerMistaken: That is not this terminal, or somebody else listens there.
    """
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    parts = urlsplit(wanted or f"http://{_HERE}:0{PATH}")
    if parts.scheme != "http" or parts.hostname not in ("localhost", _HERE):
        raise CallerMistaken(
            f"the logins of this server lead to {wanted!r}, not to this terminal",
            "log in there, or hand over the address that it leads to with --callback",
        )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10.0):
                target = await _target(reader)
                mine = target is not None and urlsplit(target).path == (parts.path or "/")
                writer.write(_response(mine))
                await writer.drain()
            if mine and not came.done() and urlsplit(target or "").query:
                came.set_result(f"{here}?{urlsplit(target or '').query}")
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return  # somebody else knocked; the browser still comes
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, _HERE, parts.port or 0, limit=MAX_REQUEST)
    except OSError as error:
        raise CallerMistaken(
            f"port {parts.port} of this machine is taken: {error}", "end what listens there"
        ) from error
    port = server.sockets[0].getsockname()[1]
    here = wanted or f"http://{_HERE}:{port}{PATH}"
    async with server:
        yield here, came


async def _target(reader: asyncio.StreamReader) -> str | None:
    """What a browser asks for; None when it is no plain request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    words = head.partition("\r\n")[0].split(" ")
    return words[1] if len(words) == 3 and words[0] == "GET" and words[1].startswith("/") else None


def _response(mine: bool) -> bytes:
    body = (_PAGE if mine else "nothing here").encode()
    head = [
        f"HTTP/1.1 {'200 OK' if mine else '404 Not Found'}",
        "content-type: text/html; charset=utf-8",
        f"content-length: {len(body)}",
        "content-security-policy: default-src 'none'",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
