"""A host for one test: real clock, real processes, everything gone afterwards."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from conftest import HttpServer, free_port

from mcp_core.protocol import Host
from mcp_core.protocol.doors import Doors
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.client import OffersChanged, ResourceChanged
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.server import ServerSpec, ServerStatus

SERVERS = Path(__file__).parent / "servers"
News = OffersChanged | ResourceChanged
OpenHost = Callable[..., AbstractAsyncContextManager[Host]]


@pytest.fixture
def news() -> list[ServerStatus]:
    """Every status the host told, in order."""
    return []


@pytest.fixture
def offer_news() -> list[News]:
    """Every change of offers and of watched resources that the host told, in order."""
    return []


@pytest.fixture
def open_host(tmp_path: Path, news: list[ServerStatus], offer_news: list[News]) -> OpenHost:
    """Open a host with servers; fails when a process of theirs outlives it."""

    @asynccontextmanager
    async def opened(
        environment: dict[str, str] | None = None, *, doors: Doors | None = None, **servers: ServerSpec
    ) -> AsyncIterator[Host]:
        supervisor = Supervisor(SystemClock(), SystemEntropy())
        host = Host(
            SystemClock(),
            SystemEntropy(),
            tmp_path / "logs",
            news.append,
            supervisor,
            environment,
            on_news=offer_news.append,
            doors=doors,
        )
        try:
            for name, spec in servers.items():
                await host.add(name, spec)
            yield host
        finally:
            async with asyncio.timeout(20):
                await host.close()

    return opened


@pytest.fixture
def raw() -> Callable[..., ServerSpec]:
    """A server with one bad habit."""
    return lambda *habit: ServerSpec(command=sys.executable, args=[str(SERVERS / "raw_server.py"), *habit])


@pytest.fixture
def modern() -> ServerSpec:
    """The official SDK's server over stdio."""
    return ServerSpec(command=sys.executable, args=[str(SERVERS / "sdk_server.py"), "stdio"])


@pytest.fixture(scope="session")
def asking() -> Iterator[ServerSpec]:
    """A server of the newer era that asks, over HTTP; one for the whole run, because to start it takes a second."""
    port = free_port()
    server = HttpServer([sys.executable, str(SERVERS / "asking_server.py"), "http", str(port)], {}, port)
    server.start()
    yield server.spec
    server.kill()


@pytest.fixture
def asking_stdio() -> ServerSpec:
    """The same over stdio."""
    return ServerSpec(command=sys.executable, args=[str(SERVERS / "asking_server.py"), "stdio"])


@pytest.fixture
def asking_script() -> Path:
    """The same as a script, for HTTP servers that are killed."""
    return SERVERS / "asking_server.py"


@pytest.fixture
def old() -> ServerSpec:
    """A server of the older era that asks, over stdio."""
    return ServerSpec(command=sys.executable, args=[str(SERVERS / "old_server.py")])


@pytest.fixture
def modern_script() -> Path:
    """The same as a script, for HTTP."""
    return SERVERS / "sdk_server.py"


def children() -> set[int]:
    """Process ids of this process's children, zombies apart."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == _me() and fields[0] != "Z":
                found.add(int(entry.name))
    return found


def _me() -> int:
    import os

    return os.getpid()


@pytest.fixture
def child_pids() -> Callable[[], set[int]]:
    return children
