"""What a person holds at one server by OAuth, as it is kept in the vault; pure.

One record holds all of it, so that a token is never kept without the client that it belongs to.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_interface.ids import PrincipalId

PREFIX: Final = "oauth/"
"""How the names of these records begin in the vault; nobody may refer to one as `${secret:…}`."""
EARLY: Final = timedelta(seconds=20)
"""A token that ends so soon is renewed before it is used; at most a tenth of its life."""


class Held(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens, the client that they were given to, and who gave them."""

    url: str
    """The server that they are for; they are shown to no other."""
    access_token: str = ""
    refresh_token: str = ""
    scope: str = ""
    """What was granted, separated by spaces."""
    asked: str = ""
    """What was asked for; an authorization server may grant less."""
    expires_at: datetime | None = None
    """None: it was not said."""
    renew_at: datetime | None = None
    client: dict[str, Any] | None = None
    """How we are registered, in OAuth's wire form."""
    server: dict[str, Any] | None = None
    """Metadata of the authorization server."""
    resource: dict[str, Any] | None = None
    """Metadata of the protected resource."""
    version: str = ""
    """MCP version under which they were got; older ones know no resource indicators."""

    def __repr__(self) -> str:
        return f"Held({self.url!r}, scope={self.scope!r}, expires_at={self.expires_at})"

    @property
    def issuer(self) -> str:
        """Who gave the tokens; empty when it published nothing."""
        return str((self.server or {}).get("issuer", ""))

    @property
    def scopes(self) -> frozenset[str]:
        """What was granted or, at least, asked for."""
        return frozenset(self.scope.split()) | frozenset(self.asked.split())

    def due(self, now: datetime) -> bool:
        """Whether the access token has to be renewed before it is used."""
        return self.renew_at is not None and now >= self.renew_at

    def without_tokens(self) -> "Held":
        """The same after the login has ended: how we are registered stays known."""
        return msgspec.structs.replace(
            self, access_token="", refresh_token="", scope="", asked="", expires_at=None, renew_at=None
        )


def ending(now: datetime, seconds: float | None) -> tuple[datetime | None, datetime | None]:
    """When a token of that many seconds ends, and when it is to be renewed."""
    if seconds is None:
        return None, None
    life = timedelta(seconds=max(0.0, seconds))
    return now + life, now + life - min(EARLY, life / 10)


def secret_name(person: PrincipalId, server: str) -> str:
    """Under which name the vault keeps a record."""
    return f"{PREFIX}{person}/{server}"


def encode(held: Held) -> str:
    """The record as the vault keeps it."""
    return msgspec.json.encode(held).decode()


def decode(text: str, server: str) -> Held:
    """Read a record.

    Raises:
        StorageCorrupt: It is none; its text is not repeated.
    """
    try:
        return msgspec.json.decode(text, type=Held)
    except msgspec.MsgspecError:
        raise StorageCorrupt(
            f"the login kept for server {server!r} cannot be read",
            f"log in again: umbrella mcp login {server}",
        ) from None
