"""Secrets that servers need, kept encrypted and by name; and how a person logs in to a server that asks for it.

A secret is given by reference, `${secret:NAME}`, and its value is in no event, no log and no answer.
"""

from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from mcp_interface.commands import Command, Limit, Page


class Vault(Protocol):
    """Keeps secrets; all of it durable when it returns.

    Production: `mcp_security.EncryptedVault` (a file, its key beside it or in the system's keyring).
    """

    async def put(self, name: str, value: str) -> None:
        """Keep or replace one.

        Raises:
            StorageUnavailable: The disk or the keyring refused.
        """
        ...

    async def get(self, name: str) -> str:
        """One secret.

        Raises:
            NotFound: None has this name.
            StorageCorrupt: It cannot be decrypted.
        """
        ...

    async def remove(self, name: str) -> None:
        """Forget one; harmless when repeated."""
        ...

    def names(self) -> list[str]:
        """Every name, sorted."""
        ...

    @property
    def kept_in(self) -> Literal["keyring", "file"]:
        """Where the key to them is."""
        ...


class SecretInfo(msgspec.Struct, frozen=True, kw_only=True):
    """That a secret is kept; never the secret."""

    name: str
    kept_in: Literal["keyring", "file"]
    """Where the key to it is."""


class PutSecret(Command[SecretInfo], frozen=True, kw_only=True, tag="secret.put"):
    """Keep a secret, encrypted; servers refer to it as `${secret:NAME}`."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,200}$(?!\n)")]
    value: Annotated[str, Meta(min_length=1, max_length=65_536)]

    def __repr__(self) -> str:
        return f"PutSecret({self.name!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What Rich shows instead, in a traceback with locals for example."""
        return [("name", self.name)]


class ListSecrets(Command[Page[SecretInfo]], frozen=True, kw_only=True, tag="secret.list"):
    """Names of the secrets that are kept."""

    limit: Limit = 200
    cursor: str | None = None


class RemoveSecret(Command[None], frozen=True, kw_only=True, tag="secret.remove"):
    """Forget a secret; harmless when repeated."""

    name: str


# -- logging in to a server -------------------------------------------------------------------------------


class LoginServer(Command[str], frozen=True, kw_only=True, tag="server.login"):
    """Begin the OAuth login of a server that needs one; answers with the page that a person has to open.

    The page leads back to `redirect_url`, which hands what it got to `FinishLogin`.
    """

    name: str
    redirect_url: str


class FinishLogin(Command[None], frozen=True, kw_only=True, tag="server.logged_in"):
    """Hand over what came back from the page of `LoginServer`."""

    name: str
    callback_url: str
    """The whole URL that was opened at the end, with its query."""
