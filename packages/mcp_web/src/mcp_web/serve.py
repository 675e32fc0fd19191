"""The command `umbrella serve`: node, API and dashboard in the foreground, until somebody stops it.

Everything heavy is imported inside the functions, because the command line loads this module for its help.
"""

import asyncio
import ipaddress
import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import click

from mcp_interface.errors import CallerMistaken, NodeUnavailable, WorldBroken

if TYPE_CHECKING:
    import uvicorn

    from mcp_core import Door, Settings
    from mcp_interface.commands import LoginCode

GRACE_S: Final = 3
"""Seconds that requests and streams get to end once the server is told to stop."""
BACKLOG: Final = 256
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8420, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@click.pass_context
def serve(context: click.Context, host: str, port: int) -> None:
    """Serve the dashboard, the REST API and the WebSocket.

    Attaches to the node of the data directory, or runs one in this process. Prints a one-time login link.
    """
    from mcp_core import Settings

    settings = Settings.load(getattr(context.obj, "data_dir", None))
    as_json = getattr(context.obj, "format", "table") == "json"
    if not is_loopback(host):
        click.echo(
            f"warning: listening on {host} without encryption; logins and data can be read on the way. "
            "Put a TLS proxy in front, or use 127.0.0.1 with an SSH tunnel.",
            err=True,
        )
    _run(run(settings, host, port, lambda url, login: _announce(url, login, as_json)))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def run(settings: "Settings", host: str, port: int, ready: "Callable[[str, LoginCode], None]") -> None:
    """Serve until SIGINT or SIGTERM, or until a node of this process is stopped; everything is closed when this returns.

    Args:
        settings: Of the node.
        host: Address to listen on.
        port: Zero takes a free one.
        ready: Called once with the base URL and a login code, when connections are accepted.

    Raises:
        CallerMistaken: The address cannot be listened on.
        NodeUnavailable: No node answers and none can be run here.
    """
    from mcp_core import read_entrance
    from mcp_interface.client import ClientInfo
    from mcp_interface.commands import CreateLogin
    from mcp_web.app import Entry, make_app

    with _Stop() as stop, closing(listen(host, port)) as listener:
        door = await _open(settings)
        try:
            owner = door.client()
            await owner.connect(ClientInfo(name="serve", token=door.owner_token))
            hosts, any_address = allowed_hosts(host)
            mcp, oauth = read_entrance(settings.data_dir)
            if mcp.anonymous_principal and is_loopback(host):
                click.echo(
                    f"warning: whoever reaches /mcp from this machine acts as {mcp.anonymous_principal} without a "
                    "key. Do not put a proxy or tunnel in front; to end this, remove anonymous_principal from "
                    "[mcp] in config.toml.",
                    err=True,
                )
            entry = Entry(folder=settings.data_dir, mcp=mcp, oauth=oauth, loopback=is_loopback(host))
            app = make_app(door, hosts=hosts, any_address=any_address, entry=entry)
            login = await owner.request(CreateLogin(), 10.0)
            await owner.disconnect("ready")
            url = base_url(host, listener.getsockname()[1])
            server = make_server(app, lambda: ready(url, login))
            stop.hold(server)
            ending = asyncio.create_task(stop.with_node(door))
            try:
                await server.serve([listener])
            finally:
                ending.cancel()
        finally:
            await door.close()
    if not server.started:
        raise WorldBroken("the web server did not start", "look at what it logged")


class _Stop:
    """What signals do, from the first moment until the node is closed.

    The first one ends the server once its requests have ended, the second at once; a third one kills, as
    signals do where nobody listens.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server: uvicorn.Server | None = None
        self._asked = 0

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number in SIGNALS:
            self._loop.remove_signal_handler(number)

    def hold(self, server: "uvicorn.Server") -> None:
        """Stop this server, at once if somebody has asked already."""
        self._server = server
        self._apply()

    async def with_node(self, door: "Door") -> None:
        """Stop when the node that runs in this process is asked to, as by `umbrella node stop`."""
        await door.stopped()
        self._ask()

    def _ask(self) -> None:
        self._asked += 1
        self._apply()
        if self._asked == 2:
            for number in SIGNALS:
                self._loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)

    def _apply(self) -> None:
        if self._server is not None and self._asked:
            self._server.should_exit = True
            self._server.force_exit = self._asked > 1


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Raises:
        CallerMistaken: The address is taken, not ours, or unknown.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CallerMistaken(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            "choose another --port (0 takes a free one) or --host",
        ) from error


def allowed_hosts(host: str) -> tuple[frozenset[str], bool]:
    """The names to answer to, and whether any literal address will do, for a server on this address."""
    wildcard = host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    names = {socket.gethostname(), socket.getfqdn()} if not is_loopback(host) else set()
    return frozenset(names if wildcard else {*names, host}), wildcard


def base_url(host: str, port: int) -> str:
    """The URL that a person on this machine opens."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


async def _open(settings: "Settings") -> "Door":
    from mcp_core import open_door

    with suppress(NodeUnavailable):
        return await open_door(settings, start=False, embed=False)
    return await open_door(settings, start=False, embed=True)


def make_server(app: Any, ready: Callable[[], None]) -> "uvicorn.Server":
    """A uvicorn server that calls `ready` once it accepts connections and installs no signal handlers."""
    import uvicorn

    from mcp_interface.client import MAX_FRAME

    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME,
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )

    class Server(uvicorn.Server):
        """Says when it is ready, and leaves signals to us: uvicorn raises them again before the node closes."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and not self.should_exit:
                ready()

    return Server(config)


def _announce(url: str, login: "LoginCode", as_json: bool) -> None:
    link = f"{url}login?code={login.code}"
    if as_json:
        told = {"url": url, "login_url": link, "expires_at": login.expires_at.isoformat()}
        click.echo(json.dumps(told))
    else:
        until = login.expires_at.astimezone().strftime("%H:%M")
        click.echo(f"Umbrella is at {url}")
        click.echo(f"Log in (works once, until {until}): {link}")
        click.echo("Ctrl-C stops it.")


def _run(work: Any) -> None:
    try:
        import uvloop
    except ImportError:  # uvloop is not made for every platform
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)
