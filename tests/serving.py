"""A real `umbrella serve` at a node of its own, in a process that can be killed and started again."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mcp_core import Settings, open_door
from mcp_interface.access import CreateKey, Publish, RevokeKey
from mcp_interface.client import ClientInfo
from mcp_interface.commands import CheckLogin, Command, GrantCapability, Wish
from mcp_interface.ids import PrincipalId
from mcp_interface.key import Publication

R = TypeVar("R")


class Running:
    """`umbrella serve`, which is the node as well, and its owner's hand on it.

    Args:
        folder: Its data directory.
        config: What `config.toml` in it says.
    """

    def __init__(self, folder: Path, config: str = "") -> None:
        self.folder = folder
        self.url = ""
        """Under which it is served now."""
        (folder / "config.toml").write_text(config)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Serve, on a port of its own."""
        program = [sys.executable, "-c", "from mcp_cli.main import main; main()"]
        options = ["--data-dir", str(self.folder), "--format", "json", "serve", "--port", "0"]
        with (self.folder / "serve.err").open("a") as errors:
            self._process = subprocess.Popen(
                [*program, *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self.folder / "serve.err").read_text()[-2000:]
        self.url = str(json.loads(line)["url"])

    def kill(self) -> None:
        """As by kill -9; harmless when it does not run."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> None:
        """As by Ctrl-C; harmless when it does not run."""
        self._end(subprocess.Popen.terminate)

    def ask(self, command: Command[R]) -> R:
        """Ask the node as its owner."""

        async def asked() -> R:
            door = await open_door(Settings(data_dir=self.folder), start=False)
            client = door.client()
            try:
                await client.connect(ClientInfo(name="test", token=door.owner_token))
                return await client.request(command, timeout=60)
            finally:
                await client.disconnect("asked")
                await door.close()

        return asyncio.run(asked())

    def grant(self, principal: str, *rights: str) -> None:
        """Give somebody rights."""
        for right in rights:
            self.ask(GrantCapability(agent=principal, resource_uri=right))

    def key(self, name: str, *rights: str) -> str:
        """The secret of a new key, of a new principal with these rights."""
        wishes = [Wish(resource_uri=right) for right in rights]
        return self.ask(CreateKey(name=name, grants=wishes)).secret

    def principal(self, key: str) -> PrincipalId:
        """Whose a key is."""
        return self.ask(CheckLogin(key=key)).principal_id

    def revoke(self, key: str) -> None:
        """Make a key useless."""
        self.ask(RevokeKey(key=key))

    def publish(self, publication: Publication) -> None:
        """Offer a virtual server."""
        self.ask(Publish(publication=publication))

    def _end(self, how: Callable[[Any], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            how(process)
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def running(folder: Path, config: str = "") -> Iterator[Running]:
    """One that runs meanwhile."""
    server = Running(folder, config)
    server.start()
    try:
        yield server
    finally:
        server.stop()
