"""Generated URLs and redirects against the gate; a second judge looks at what really goes over the wire.

The judge knows nothing of the gate's parser, table or patterns: it reads the bytes of each request and the address
of each connection, and says whether the right covers them.
"""

import asyncio
import ipaddress
import os
import random
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import unquote

import httpcore2

from mcp_interface.errors import CallerMistaken, NotPermitted, UmbrellaError
from mcp_security.validators.api import ApiGate
from security.corpora.urls import generated, ordinary

COUNT = 1_000_000 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 6_000

RIGHTS = {
    "mcp://api/get/https/api.example.com/v1/**": (r"https", r"api\.example\.com", "v1/"),
    "mcp://api/get/http/*.example.com/public/**": (r"http", r"[^/]*\.example\.com", "public/"),
    "mcp://api/get/http/localhost:8080/app/**": (r"http", r"localhost:8080", "app/"),
    "mcp://api/get/http/10.1.2.3/**": (r"http", r"10\.1\.2\.3", ""),
    "mcp://api/get/http/*/**": (r"http", r".*", ""),
    "mcp://api/get/**": (r"https?", r".*", ""),
}
PUBLIC, PRIVATE = "93.184.215.14", "10.1.2.4"


class Wire(httpcore2.AsyncNetworkStream):
    """One connection: keeps what is written, answers with a page or with a redirect to the next generated URL."""

    def __init__(self, address: str, port: int, locations: Iterator[str]) -> None:
        self.address, self.port, self.locations = address, port, locations
        self.written = b""
        self.name: str | None = None
        self.answers = [self._answer()]

    def _answer(self) -> bytes:
        location = next(self.locations).encode("utf-8", "replace")
        if len(location) % 2 or re.search(rb"[\x00-\x1f\x7f]", location):
            return b"HTTP/1.1 204 x\r\n\r\n"
        return b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: " + location.strip() + b"\r\n\r\n"

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.answers.pop() if self.answers else b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.written += buffer

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: Any = None
    ) -> "Wire":
        self.name = server_hostname
        return self

    async def aclose(self) -> None:
        pass


def judged(wire: Wire, right: tuple[str, str, str]) -> str | None:
    """Why a connection or its request is outside a right; None when it is inside."""
    scheme_granted, authority_granted, prefix = right
    method, target, _ = wire.written.partition(b"\r\n")[0].decode("ascii").split(" ")
    authority = re.search(rb"\r\nhost: ([^\r]*)\r\n", wire.written)[1].decode("ascii")  # type: ignore[index]
    scheme = "https" if wire.name is not None else "http"
    host = re.sub(r":\d+$", "", authority).strip("[]")
    port = int((re.search(r":(\d+)$", authority) or ["", {"http": 80, "https": 443}[scheme]])[1])
    if method != "GET" or wire.port != port or wire.name not in {None, host}:
        return f"{method} to port {wire.port} as {wire.name}"
    if not re.fullmatch(scheme_granted, scheme) or not re.fullmatch(authority_granted, authority):
        return f"{scheme}://{authority}"
    address = ipaddress.ip_address(wire.address)
    if authority_granted == r"localhost:8080":
        inside = address.is_loopback
    elif authority_granted == r"10\.1\.2\.3":
        inside = wire.address == "10.1.2.3"
    else:
        inside = in_the_open(address)
    path = target.partition("?")[0].lstrip("/") + "/"
    for _ in range(5):
        path = unicodedata.normalize("NFKC", unquote(path, errors="strict"))
        segments = [segment.partition(";")[0] for segment in re.split(r"[/\\]", path)]
        if not inside or not path.startswith(prefix) or {".", ".."} & set(segments) or "\0" in path:
            return f"{target} at {wire.address}"
    return None


def in_the_open(address: Any) -> bool:
    """What the standard library knows, without the holes that it leaves."""
    if address.version == 4:
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped is not None:
        return in_the_open(address.ipv4_mapped)
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return in_the_open(ipaddress.ip_address(int(address) & 0xFFFFFFFF))
    return (
        address.is_global
        and not address.is_multicast
        and address.sixtofour is None
        and address.teredo is None
    )


async def resolve(host: str, port: int) -> list[str]:
    """Names that lead to a good address, to a bad one, or to both; the same name not always to the same."""
    source = random.Random(host)
    return {0: [PRIVATE], 1: [PUBLIC, PRIVATE], 2: [PRIVATE, PUBLIC]}.get(source.randrange(8), [PUBLIC])


async def attack(count: int) -> tuple[int, list[str]]:
    """Try each URL with one of the rights; returns how many connections there were, and the bypasses."""
    wires: list[Wire] = []
    locations = generated(2)

    async def connect(address: str, port: int) -> Wire:
        wires.append(Wire(address, port, locations))
        return wires[-1]

    gate = ApiGate(resolve, connect, tls=lambda: None)  # type: ignore[arg-type,return-value]
    bypasses, connections = [], 0
    for number, url in enumerate(islice(generated(1), count)):
        covering = list(RIGHTS)[number % len(RIGHTS)]
        wires.clear()
        try:
            await gate.fetch(covering, {}, "GET", url, max_bytes=1000, timeout_s=60)
        except (CallerMistaken, NotPermitted):
            assert not wires, f"{url!r} was refused after a connection"
        connections += len(wires)
        for wire in wires:
            problem = judged(wire, RIGHTS[covering])
            if problem is not None:
                bypasses.append(f"{url!r} with {covering}: {problem}")
    return connections, bypasses


def test_no_generated_url_or_redirect_leads_out_of_the_right() -> None:
    connections, bypasses = asyncio.run(attack(COUNT))
    assert bypasses == []
    assert connections >= COUNT // 20, "the corpus also holds what is allowed, or nothing was tried"


def test_the_judge_finds_what_the_gate_would_have_to_miss() -> None:
    def wire(address: str, port: int, request: bytes, name: str | None = None) -> Wire:
        made = Wire(address, port, iter(["x"]))
        made.written, made.name = request, name
        return made

    right = RIGHTS["mcp://api/get/http/*.example.com/public/**"]
    good = b"GET /public/a HTTP/1.1\r\nhost: a.example.com\r\n\r\n"
    assert judged(wire(PUBLIC, 80, good), right) is None
    for bad in (
        wire(PRIVATE, 80, good),
        wire(PUBLIC, 81, good),
        wire(PUBLIC, 443, good, "a.example.com"),
        wire(PUBLIC, 80, good.replace(b"a.example.com", b"evil.example")),
        wire(PUBLIC, 80, good.replace(b"public", b"private")),
        wire(PUBLIC, 80, good.replace(b"public", b"public/%2e%2e")),
        wire(PUBLIC, 80, good.replace(b"public", b"public/..%2f")),
        wire(PUBLIC, 80, good.replace(b"GET", b"POST")),
    ):
        assert judged(bad, right) is not None


def test_ordinary_urls_are_hardly_ever_denied() -> None:
    async def work() -> list[str]:
        sent: list[Wire] = []

        async def connect(address: str, port: int) -> Wire:
            sent.append(Wire(address, port, iter(["x"])))
            return sent[-1]

        async def public(host: str, port: int) -> list[str]:
            return [PUBLIC]

        gate = ApiGate(public, connect, tls=lambda: None)  # type: ignore[arg-type,return-value]
        denied = []
        for url in ordinary():
            # as a person grants it: the host by name, everything below
            scheme, _, rest = url.partition("://")
            authority = (
                re.split(r"[/?#]", rest)[0].lower().encode("idna" if not rest.isascii() else "ascii").decode()
            )
            authority = authority.removesuffix({"http": ":80", "https": ":443"}[scheme.lower()])
            try:
                covering = f"mcp://api/get/{scheme.lower()}/{authority}/**"
                await gate.fetch(covering, {}, "GET", url, max_bytes=9, timeout_s=60)
            except UmbrellaError as error:
                denied.append(error.message)
        assert len(sent) >= 500
        return denied

    denied = asyncio.run(work())
    assert len(denied) <= len(ordinary()) // 100, denied
