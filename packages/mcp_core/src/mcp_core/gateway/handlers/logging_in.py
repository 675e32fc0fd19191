"""Commands by which a person logs in to a server that asks for it. Nothing of it is journaled: the vault keeps it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.protocol.expansion import resolve
from mcp_core.protocol.reach import did_you_mean
from mcp_interface.errors import NotFound
from mcp_interface.ids import PrincipalId
from mcp_interface.secret import FinishLogin, LoginServer, Vault
from mcp_interface.server import ServerSpec, ServerStatus


async def ready_to_log_in(environment: Mapping[str, str], vault: Vault, spec: ServerSpec) -> ServerSpec:
    """An entry with its references replaced, but for those in `auth`.

    Raises:
        ServerUnavailable: A variable or secret is not there.
    """
    return (await resolve(spec, environment, vault)).spec


class Logins(Protocol):
    """What these handlers need of the logins (`mcp_core.protocol.oauth.OAuth`)."""

    async def begin(self, person: PrincipalId, name: str, spec: ServerSpec, redirect_url: str) -> str:
        """Begin a login; answers with the page to open."""
        ...

    async def finish(self, person: PrincipalId, name: str, spec: ServerSpec, callback_url: str) -> None:
        """Hand over what came back."""
        ...


class Servers(Protocol):
    """What they need of the host (`mcp_core.protocol.Host`)."""

    def statuses(self) -> list[ServerStatus]:
        """All servers."""
        ...

    async def add(self, name: str, spec: ServerSpec) -> ServerStatus:
        """Connect again one that could not be connected."""
        ...


class LoginCommands:
    """Handlers of the logins to servers.

    Args:
        logins: Where they are made.
        servers: Which servers there are.
        ready: Puts values in place of the references of an entry, but for those in `auth`.
        owner: Of the node; its servers are connected with their login.
    """

    def __init__(
        self,
        logins: Logins,
        servers: Servers,
        ready: Callable[[ServerSpec], Awaitable[ServerSpec]],
        owner: PrincipalId,
    ) -> None:
        self._logins = logins
        self._servers = servers
        self._ready = ready
        self._owner = owner

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {LoginServer: self.begin, FinishLogin: self.finish}

    async def begin(self, who: PrincipalId, command: LoginServer) -> str:
        """Answer with the page to open."""
        require_owner(who, self._owner, "log in to servers")
        spec = await self._ready(self._entry(command.name))
        return await self._logins.begin(who, command.name, spec, command.redirect_url)

    async def finish(self, who: PrincipalId, command: FinishLogin) -> None:
        """Keep the login, then connect with it; a server that does not come up has its own status for that."""
        require_owner(who, self._owner, "log in to servers")
        entry = self._entry(command.name)
        await self._logins.finish(who, command.name, await self._ready(entry), command.callback_url)
        await self._servers.add(command.name, entry)

    def _entry(self, name: str) -> ServerSpec:
        known = {status.name: status.spec for status in self._servers.statuses() if status.spec is not None}
        if name not in known:
            raise NotFound(f"there is no server {name[:80]!r}", did_you_mean(name, known), {"server": name})
        return known[name]
