"""A small real web server on a loopback port, and a network in which names lead to it."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from mcp_security.validators.api import ApiGate
from mcp_security.validators.exchange import connect_tcp

PUBLIC = "93.184.215.14"
OTHER = "151.101.1.6"


class Seen(msgspec.Struct):
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    sni: str | None = None


Handler = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]
Page = bytes | Handler


def reply(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `_` in a header's name stands for `-`."""
    named = {
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def moved(location: str, status: int = 302) -> bytes:
    return reply(status, Location=location)


class Web:
    """What the server serves, and what it was asked."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self.seen: list[Seen] = []
        self.port = 0
        self.sni: str | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first == b"\x16":  # the beginning of TLS, which this server does not speak
                writer.write(reply(400))
                return
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Seen(method, target, headers, body, self.sni)
            self.seen.append(request)
            page = self.pages.get(target.partition("?")[0], reply(404, b"nothing here"))
            if callable(page):
                await page(request, writer)
            else:
                writer.write(page)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()


@asynccontextmanager
async def serving(pages: Mapping[str, Page], tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    web = Web(pages)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: setattr(web, "sni", name)
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()


class Network:
    """Names and addresses that exist only here; every public address leads to the local server.

    Args:
        names: For each name the answers of its lookups, one after the other; the last one stays.
    """

    def __init__(self, web: Web | None, names: Mapping[str, list[list[str]]]) -> None:
        self._web = web
        self._names = {name: list(answers) for name, answers in names.items()}
        self.looked_up: list[str] = []
        self.connected: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        answers = self._names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect(self, address: str, port: int) -> Any:
        self.connected.append((address, port))
        assert self._web is not None, f"nobody may connect to {address}"
        return await connect_tcp("127.0.0.1", self._web.port)

    def gate(self, tls: Callable[[], ssl.SSLContext] | None = None) -> ApiGate:
        return ApiGate(self.resolve, self.connect, *([tls] if tls else []))


def certificates(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server with a certificate for these names, and of a client that trusts only its maker."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    today = datetime.datetime.now(datetime.UTC)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(one)) if one[0].isdigit() else x509.DNSName(one) for one in names
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    return server, ssl.create_default_context(cafile=str(public))
