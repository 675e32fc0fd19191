"""A scripted node for tests of the translation, and the real command with a real browser for tests of the whole.

With UMBRELLA_MEDIA=1 the browser tests also write the README's picture, from the real program.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from mcp_interface.client import ClientInfo, Notice, Welcome
from mcp_interface.commands import (
    Check,
    CheckLogin,
    Command,
    EndLogin,
    GetHealth,
    Login,
    LoginKey,
    RedeemLogin,
)
from mcp_interface.errors import LoginRequired, NotFound
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.testing import ManualClock, SeededEntropy
from mcp_web import make_app
from mcp_web.serve import listen, make_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OWNER_TOKEN = "owner-token"
CODE = "code-1"
KEY = "key-1"
PERSON = PrincipalId("user_" + "a" * 32)
BASE = "http://127.0.0.1:8420"
START_SECONDS = 30

Answers = dict[type[Command[Any]], Any]


class ScriptedDoor:
    """A node that answers what a test says, and remembers what it was asked and by whom."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.owner_token = OWNER_TOKEN
        self.answers: Answers = {}
        self.asked: list[tuple[str, Command[Any]]] = []
        self.notices: list[Notice] = []
        self.follow_error: Exception | None = None
        self.followed: list[tuple[SessionId | None, int]] = []
        self.keys = {KEY}
        self.codes = {CODE}
        self.connected = 0
        self.checks = [Check(name="disk", status="ok", detail="plenty free", remedy="none needed")]

    def client(self) -> "ScriptedClient":
        return ScriptedClient(self)

    async def close(self) -> None:
        """Nothing to close."""

    def login(self) -> Login:
        return Login(principal_id=PERSON, expires_at=self.clock.now() + timedelta(days=1))

    def answer(self, token: str, command: Command[Any]) -> Any:
        self.asked.append((token, command))
        match command:
            case RedeemLogin() if command.code in self.codes:
                self.codes.discard(command.code)
                return LoginKey(key=KEY, login=self.login())
            case CheckLogin() if command.key in self.keys:
                return self.login()
            case RedeemLogin() | CheckLogin():
                raise NotFound("unknown")
            case EndLogin():
                self.keys.discard(command.key)
                return None
            case GetHealth():
                return self.checks
        told = self.answers[type(command)]
        if isinstance(told, Exception):
            raise told
        return told(command) if callable(told) else told

    def commands(self, token: str = KEY) -> list[Command[Any]]:
        """What was asked with one token, login checks apart."""
        return [command for by, command in self.asked if by == token and not isinstance(command, CheckLogin)]


class ScriptedClient:
    """One connection to a scripted node."""

    def __init__(self, door: ScriptedDoor) -> None:
        self._door = door
        self._token: str | None = None

    async def connect(self, info: ClientInfo) -> Welcome:
        if info.token not in {OWNER_TOKEN, *self._door.keys}:
            raise LoginRequired("the token is wrong")
        self._token = info.token
        self._door.connected += 1
        return Welcome(principal_id=PERSON, session_id=info.session_id, version="0", position=7)

    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        assert self._token is not None, "asked before it was connected"
        return self._door.answer(self._token, command)

    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        self._door.followed.append((session_id, after))
        for notice in self._door.notices:
            yield notice
        if self._door.follow_error is not None:
            raise self._door.follow_error

    async def disconnect(self, reason: str = "") -> None:
        if self._token is not None:
            self._token = None
            self._door.connected -= 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def door(clock: ManualClock) -> ScriptedDoor:
    return ScriptedDoor(clock)


@pytest.fixture
def app(door: ScriptedDoor, clock: ManualClock, tmp_path: Path) -> Litestar:
    return make_app(door, assets=tmp_path / "no-dashboard", clock=clock, entropy=SeededEntropy())


@pytest.fixture
def browse(app: Litestar) -> Callable[..., Any]:
    """`async with browse(key=…) as http`: an HTTP client of the app, with a bearer token unless told otherwise."""

    @asynccontextmanager
    async def open_client(key: str | None = KEY, **headers: str) -> AsyncIterator[AsyncTestClient[Litestar]]:
        given = {"authorization": f"Bearer {key}"} if key else {}
        async with AsyncTestClient(app, base_url=BASE) as client:
            client.headers.update({**given, **headers})
            yield client

    return open_client


@pytest.fixture
def listening(app: Litestar) -> Callable[[], Any]:
    """`async with listening() as port`: the app on a real socket, under the real server."""

    @asynccontextmanager
    async def open_port() -> AsyncIterator[int]:
        started = asyncio.Event()
        listener = listen("127.0.0.1", 0)
        server = make_server(app, started.set)
        running = asyncio.create_task(server.serve([listener]))
        try:
            async with asyncio.timeout(START_SECONDS):
                await started.wait()
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            async with asyncio.timeout(START_SECONDS):
                await running
            listener.close()

    return open_port


# -- the real thing ----------------------------------------------------------------------------------------


class Served:
    """`umbrella serve` in a process of its own."""

    def __init__(self, data_dir: Path, environ: dict[str, str]) -> None:
        command = "from mcp_web.serve import serve; serve()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "--port", "0"],
            env={**os.environ, **environ, "UMBRELLA_DATA_DIR": str(data_dir)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(2)]
        assert all(lines), "the server ended before it was ready"
        self.url = lines[0].split()[-1]
        self.link = lines[1].split()[-1]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(START_SECONDS)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def make(environ: dict[str, str] | None = None, data_dir: Path | None = None) -> Served:
        made.append(Served(data_dir or tmp_path / "node", environ or {}))
        return made[-1]

    yield make
    for server in made:
        server.stop()


class Notes:
    """A real MCP server `notes` whose one tool `read` says of itself what a test says, from the next start on."""

    PROGRAM = Path(__file__).parents[1] / "core" / "gateway" / "servers" / "turncoat.py"

    def __init__(self, said: Path) -> None:
        self._said = said
        self.entry = {
            "name": "notes",
            "spec": {"command": sys.executable, "args": [str(self.PROGRAM), str(said)]},
        }
        self.say("Read one note.")

    def say(self, description: str) -> None:
        self._said.write_text(description, "utf-8")


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "description")


FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The machine's own Chromium; skips without one, and fails under CI=1."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        reason = "there is no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def shot() -> Callable[["Page", str], None]:
    """Writes `.github/media/<name>.png` when UMBRELLA_MEDIA=1 asks for the README's pictures."""

    def write(page: "Page", name: str) -> None:
        if os.environ.get("UMBRELLA_MEDIA") == "1":
            folder = Path(__file__).parents[2] / ".github" / "media"
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(folder / f"{name}.png"))

    return write
