"""An MCP server that somebody wants connected, and how its connection is doing."""

import re
from typing import Literal

import msgspec

from mcp_interface.errors import InvalidRecord

SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
ServerState = Literal["connecting", "ready", "waiting", "failed", "stopped"]
"""waiting: broken, will be tried again after a pause; failed: tried often enough, next call tries again."""


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to reach one server, in the field names of the common `mcpServers` JSON.

    Values may hold `${VAR}` or `${VAR:-default}`; they are expanded when the server is started and journaled
    unexpanded, so that secrets stay references.
    """

    type: Literal["stdio", "http", "streamable-http"] | None = None
    """None: stdio when there is a command, http when there is a URL."""
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    timeout: int | None = None
    """Milliseconds for one call; None is the node's default."""

    @property
    def transport(self) -> Literal["stdio", "http"]:
        """Which of the two transports is meant."""
        return "stdio" if self.command is not None else "http"

    def validate(self) -> None:
        """Check that exactly one way to reach it is given.

        Raises:
            InvalidRecord: command_or_url, type_mismatch, invalid_url or invalid_timeout.
        """
        if (self.command is None) == (self.url is None):
            raise InvalidRecord(
                "command_or_url", "a server needs either a command or a url", "give exactly one of the two"
            )
        if self.type is not None and (self.type == "stdio") != (self.command is not None):
            raise InvalidRecord("type_mismatch", f"type {self.type!r} does not fit", "leave the type out")
        if self.url is not None and not self.url.startswith(("http://", "https://", "${")):
            raise InvalidRecord(
                "invalid_url",
                f"{self.url!r} is not an http or https URL",
                "begin it with http:// or https://",
            )
        if self.timeout is not None and self.timeout <= 0:
            raise InvalidRecord("invalid_timeout", f"timeout {self.timeout} is not a positive number of ms")


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One server as listed."""

    name: str
    spec: ServerSpec | None = None
    """None for the built-in servers."""
    state: ServerState
    protocol: str = ""
    """Negotiated protocol version."""
    tools: int = 0
    restarts: int = 0
    error: str = ""
    log_file: str = ""
