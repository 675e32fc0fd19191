"""The steps by which a server's URL is reached, each tried by itself: name, connection, TLS, HTTP."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from mcp_interface.server import Diagnosis, ServerSpec

STEP_SECONDS: Final = 10.0
_ACCEPT: Final = "application/json, text/event-stream"


async def web_steps(spec: ServerSpec) -> AsyncGenerator[Diagnosis]:
    """Every step up to the first that fails.

    Args:
        spec: Expanded, with a URL.
    """
    try:
        parts = urlsplit(spec.url or "")
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        yield Diagnosis(step="url", ok=False, detail=f"it is no URL: {error}", remedy="write it out")
        return
    step = await _name(host, port)
    yield step
    if step.ok:
        step = await _connection(host, port)
        yield step
    if step.ok and parts.scheme == "https":
        step = await _tls(host, port)
        yield step
    if step.ok:
        yield await _http(spec)


async def _name(host: str, port: int) -> Diagnosis:
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), STEP_SECONDS)
    except (OSError, UnicodeError, TimeoutError) as error:
        return _failed(
            "name", error, f"{host!r} cannot be resolved", "check the address, and this machine's DNS"
        )
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    return Diagnosis(step="name", ok=True, detail=f"{host} is {', '.join(list(addresses)[:4])}")


async def _connection(host: str, port: int) -> Diagnosis:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), STEP_SECONDS)
    except (OSError, TimeoutError) as error:
        return _failed(
            "connection",
            error,
            f"nothing answers on port {port}",
            "start the server; check the port and firewalls",
        )
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Diagnosis(step="connection", ok=True, detail=f"port {port} answers")


async def _tls(host: str, port: int) -> Diagnosis:
    try:
        context = await asyncio.to_thread(ssl.create_default_context)
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(host, port, ssl=context, server_hostname=host), STEP_SECONDS
        )
    except ssl.SSLCertVerificationError as error:
        return _failed(
            "TLS",
            error,
            "its certificate is not trusted",
            "set SSL_CERT_FILE to your authority's certificate, or mend the server's",
        )
    except (OSError, TimeoutError) as error:
        return _failed("TLS", error, "it does not speak TLS", "write http:// if it speaks none")
    held = writer.get_extra_info("ssl_object")
    version = held.version() if held is not None else ""
    writer.close()
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1.0)
    return Diagnosis(step="TLS", ok=True, detail=f"{version}, the certificate is trusted")


async def _http(spec: ServerSpec) -> Diagnosis:
    """Ask without saying anything; which status is right for that, servers disagree over."""
    import httpx2

    headers = {"accept": _ACCEPT, **spec.headers}
    try:
        async with (
            asyncio.timeout(STEP_SECONDS),
            httpx2.AsyncClient(timeout=STEP_SECONDS) as client,
            client.stream("GET", spec.url or "", headers=headers) as response,
        ):
            status, where = response.status_code, response.headers.get("location", "")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
        return _failed("HTTP", error, "it does not answer over HTTP", "check the address and the port")
    detail = f"status {status}"
    if status in (404, 410):
        return Diagnosis(
            step="HTTP",
            ok=False,
            detail=f"{detail}: nothing is at this path",
            remedy="check the path, often /mcp or /sse",
        )
    if 300 <= status < 400:
        return Diagnosis(
            step="HTTP", ok=False, detail=f"{detail}: it has moved to {where}", remedy="write the new address"
        )
    if status >= 500:
        return Diagnosis(
            step="HTTP", ok=False, detail=detail, remedy="see the server's own log, or try again later"
        )
    login = ", so it may want a login" if status in (401, 403) else ""
    return Diagnosis(step="HTTP", ok=True, detail=f"{detail}{login}")


def _failed(step: str, error: BaseException, detail: str, remedy: str) -> Diagnosis:
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Diagnosis(step=step, ok=False, detail=f"{detail}: {reason[:300]}", remedy=remedy)
