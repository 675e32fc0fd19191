"""Logins to MCP servers by OAuth: one account for each person and server, kept in the vault.

Above: the host, which asks for the `Auth` of a connection, and the handlers of `LoginServer` and `FinishLogin`.
Below: `oauth_account` (keeping, renewing, logging in), `oauth_flow` and `oauth_client` (the SDK's flow), `oauth_rules` and
`oauth_record` (pure). No browser is opened here and nobody is waited for: a connection that needs a person fails
with `LoginNeeded`, and goes on when the login is finished.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from mcp_core.protocol.oauth_account import Account
from mcp_core.protocol.oauth_record import PREFIX
from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken, TooMuch
from mcp_interface.ids import PrincipalId
from mcp_interface.secret import Vault
from mcp_interface.server import ServerSpec

if TYPE_CHECKING:
    import httpx2

MAX_ACCOUNTS: Final = 10_000


class OAuth:
    """The logins of all people at all servers.

    Args:
        vault: Where they are kept.
        clock: Says when a token ends.
    """

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._accounts: dict[tuple[PrincipalId, str], Account] = {}

    def auth_for(self, person: PrincipalId, name: str, spec: ServerSpec) -> "httpx2.Auth | None":
        """What shows a person's token to a server.

        Args:
            person: Whose token.
            name: The server's name.
            spec: Its entry, with its references replaced but for those in `auth`.

        Returns:
            None for a server that is reached otherwise, or that has an `Authorization` header of its own.
        """
        if spec.url is None or any(header.lower() == "authorization" for header in spec.headers):
            return None
        from mcp_core.protocol.oauth_auth import TokenAuth

        return TokenAuth(self._account(person, name, spec))

    async def begin(self, person: PrincipalId, name: str, spec: ServerSpec, redirect_url: str) -> str:
        """Begin a login; answers with the page that the person has to open.

        Args:
            person: Who logs in.
            name: The server's name.
            spec: As for `auth_for`.
            redirect_url: Where the page leads back to; the entry's own one counts more.

        Raises:
            CallerMistaken: The server is no web server, or has an `Authorization` header; or the URL is not safe.
            UmbrellaError: As `Account.begin`.
        """
        if self.auth_for(person, name, spec) is None:
            raise CallerMistaken(
                f"server {name!r} is not one to log in to",
                "it has no URL, or an Authorization header of its own",
            )
        return await self._account(person, name, spec).begin(redirect_url)

    async def finish(self, person: PrincipalId, name: str, spec: ServerSpec, callback_url: str) -> None:
        """Hand over what came back from the page of a login.

        Raises:
            UmbrellaError: As `Account.finish`.
        """
        await self._account(person, name, spec).finish(callback_url)

    async def forget(self, name: str) -> None:
        """Lose everybody's login at a server, as when it is removed; harmless when repeated."""
        for person, server in [key for key in self._accounts if key[1] == name]:
            await self._accounts.pop((person, server)).forget()
        for kept in self._vault.names():
            if kept.startswith(PREFIX) and kept.endswith(f"/{name}"):
                await self._vault.remove(kept)

    async def close(self) -> None:
        """Give up the logins that are under way."""
        await asyncio.gather(*(account.give_up() for account in self._accounts.values()))

    def _account(self, person: PrincipalId, name: str, spec: ServerSpec) -> Account:
        found = self._accounts.get((person, name))
        if found is None:
            if len(self._accounts) >= MAX_ACCOUNTS:
                raise TooMuch(f"there are {MAX_ACCOUNTS} logins already", "restart the node")
            found = Account(self._vault, self._clock, person, name, spec)
            self._accounts[person, name] = found
        found.spec = spec
        return found
