"""An MCP server that somebody wants connected, and how its connection is doing."""

import re
from typing import Literal

import msgspec

from mcp_interface.errors import InvalidRecord

SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SECRET = re.compile(r"\$\{secret:[A-Za-z0-9][A-Za-z0-9_.:/-]*\}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_DOCUMENT = re.compile(r"https://[^/\s]+/\S+")
ServerState = Literal["connecting", "ready", "waiting", "failed", "stopped", "resting", "login"]
"""waiting: broken, will be tried again after a pause; failed: tried often enough, next call tries again;
resting: lazy or disabled, and not started; login: a person has to log in first."""


class Cage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the process of a server gets of the machine, in a sandbox; everything else it does not have."""

    read: list[str] = []
    """Files and folders that it may read, absolute; the system's programs and libraries come by themselves."""
    write: list[str] = []
    """Those that it may change, too."""
    network: bool = False
    memory_mb: int | None = None
    processes: int | None = None
    cpu_s: int | None = None
    """Seconds of processor time."""
    file_mb: int | None = None
    """Size of the largest file that it may write."""


class Authorization(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to log in to a server by OAuth; all of it is discovered where nothing is said."""

    client_id: str | None = None
    client_secret: str | None = None
    """A reference, `${secret:NAME}`."""
    private_key: str | None = None
    """A reference to a key in PEM; the client then signs instead of showing a secret (`client_credentials` only)."""
    issuer: str | None = None
    """The authorization server that the client belongs to; None: the first that the server names, from then on."""
    scopes: list[str] = []
    client_metadata_url: str | None = None
    """Our client-id metadata document, where one is published."""
    redirect_url: str | None = None
    """Where the page of the login leads back to; None: whoever begins the login says."""
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"

    def validate(self) -> None:
        """Check that it can work, and that no secret is spelled out.

        Raises:
            InvalidRecord: secret_in_plain, client_without_id, client_without_secret, key_without_grant,
                invalid_issuer, invalid_scope or invalid_client_metadata_url.
        """
        for secret in (self.client_secret, self.private_key):
            if secret is not None and _SECRET.fullmatch(secret) is None:
                raise InvalidRecord(
                    "secret_in_plain", "a secret of auth is spelled out", "keep it, and write ${secret:NAME}"
                )
        if self.client_id is None and (self.client_secret is not None or self.grant == "client_credentials"):
            raise InvalidRecord("client_without_id", "auth has no client_id", "give the one you registered")
        if self.grant == "client_credentials" and (self.client_secret is None) == (self.private_key is None):
            raise InvalidRecord(
                "client_without_secret",
                "auth needs a client_secret or a private_key",
                "give exactly one of the two",
            )
        if self.private_key is not None and self.grant != "client_credentials":
            raise InvalidRecord("key_without_grant", "only client_credentials signs", "leave private_key out")
        if self.issuer is not None and not self.issuer.startswith(("http://", "https://")):
            raise InvalidRecord(
                "invalid_issuer", f"{self.issuer!r} is no issuer", "give its http or https URL"
            )
        if any(_SCOPE.fullmatch(scope) is None for scope in self.scopes):
            raise InvalidRecord("invalid_scope", "a scope is one word without quotes", "give them one by one")
        document = self.client_metadata_url
        if document is not None and _DOCUMENT.fullmatch(document) is None:
            raise InvalidRecord(
                "invalid_client_metadata_url",
                f"{document!r} is no document's address",
                "give an https URL with a path",
            )


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to reach one server, in the field names of the common `mcpServers` JSON.

    Values may hold `${VAR}` or `${VAR:-default}`; they are expanded when the server is started and journaled
    unexpanded, so that secrets stay references.
    """

    type: Literal["stdio", "http", "streamable-http", "sse"] | None = None
    """None: stdio when there is a command, http when there is a URL; sse is the transport of 2024."""
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    timeout: int | None = None
    """Milliseconds for one call, begun anew whenever it reports progress; None is the node's default."""
    roots: list[str] = []
    """Folders that it is told it may work in, absolute."""
    cage: Cage | None = None
    """None: its process may do what the node's may."""
    auth: Authorization | None = None
    """None: OAuth is tried when the server asks for it."""
    lazy: bool = False
    """Start it when it is first needed."""
    disabled: bool = False
    """Kept, but not started."""

    @property
    def transport(self) -> Literal["stdio", "http", "sse"]:
        """Which transport is meant."""
        if self.command is not None:
            return "stdio"
        return "sse" if self.type == "sse" else "http"

    def validate(self) -> None:
        """Check that exactly one way to reach it is given.

        Raises:
            InvalidRecord: command_or_url, type_mismatch, invalid_url, invalid_timeout, cage_without_command or
                auth_without_url; or as `Authorization.validate`.
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
        if self.cage is not None and self.command is None:
            raise InvalidRecord(
                "cage_without_command", "only a process of this machine can be caged", "leave the cage out"
            )
        if self.auth is not None:
            if self.url is None:
                raise InvalidRecord(
                    "auth_without_url", "only a server with a URL is logged in to", "leave auth out"
                )
            self.auth.validate()


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One server as listed."""

    name: str
    spec: ServerSpec | None = None
    """None for the built-in servers."""
    state: ServerState
    protocol: str = ""
    """Negotiated protocol version."""
    tools: int = 0
    resources: int = 0
    prompts: int = 0
    instructions: str = ""
    """What it says of itself, for whoever uses it."""
    caged: str = ""
    """What its process got of the machine, in words; empty when it is not in a cage."""
    restarts: int = 0
    error: str = ""
    log_file: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at because a server does not start."""

    step: str
    ok: bool
    detail: str
    remedy: str = ""
