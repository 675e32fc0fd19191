"""Commands about secrets. A value comes in and never goes out: not in an answer, an event, a log or a figure."""

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.handlers.paging import page_of
from mcp_core.protocol.oauth_record import PREFIX
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import PrincipalId
from mcp_interface.secret import ListSecrets, PutSecret, RemoveSecret, SecretInfo, Vault


class SecretCommands:
    """Handlers over the vault; for the owner only.

    What the node itself keeps there, the logins of people at servers, is neither seen nor touched.

    Args:
        vault: Where they are.
        owner: Of the node.
    """

    def __init__(self, vault: Vault, owner: PrincipalId) -> None:
        self._vault = vault
        self._owner = owner

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {PutSecret: self.put, ListSecrets: self.listed, RemoveSecret: self.remove}

    async def put(self, who: PrincipalId, command: PutSecret) -> SecretInfo:
        """Keep a secret; servers get it at their next start."""
        require_owner(who, self._owner, "keep secrets")
        _check(command.name)
        if not _is_text(command.value):
            # said here, because the codec's own error would show the value
            raise CallerMistaken(
                f"the value of the secret {command.name!r} is not text", "encode it, as in Base64"
            )
        await self._vault.put(command.name, command.value)
        return SecretInfo(name=command.name, kept_in=self._vault.kept_in)

    async def listed(self, who: PrincipalId, command: ListSecrets) -> Page[SecretInfo]:
        """Names only, sorted."""
        require_owner(who, self._owner, "see which secrets there are")
        kept_in = self._vault.kept_in
        found = [
            SecretInfo(name=name, kept_in=kept_in)
            for name in self._vault.names()
            if not name.startswith(PREFIX)
        ]
        return page_of(found, command.limit, command.cursor)

    async def remove(self, who: PrincipalId, command: RemoveSecret) -> None:
        """Forget a secret; a server that has started keeps what it was given."""
        require_owner(who, self._owner, "remove secrets")
        _check(command.name)
        await self._vault.remove(command.name)


def _check(name: str) -> None:
    if name.startswith(PREFIX):
        raise CallerMistaken(f"{name[:80]!r} is kept by the node itself", "use another name")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value
