"""Commands about API keys and virtual servers."""

from datetime import timedelta

from mcp_core.gateway.delegation import bundle_from_holdings, withdraw
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.handlers.paging import page_of
from mcp_core.gateway.keys import Keys
from mcp_core.gateway.publications import Publications
from mcp_core.gateway.sight import Sight
from mcp_interface.access import CreateKey, ListKeys, ListPublications, Publish, RevokeKey, Unpublish
from mcp_interface.address import parse_resource
from mcp_interface.capability import Ask, GrantOptions, SecurityKernel
from mcp_interface.clock import Entropy
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import PrincipalId, is_id, new_id
from mcp_interface.key import ApiKey, NewKey, Publication


class AccessCommands:
    """Handlers over who comes in and what they find.

    Args:
        keys: Of the node.
        publications: Its virtual servers.
        kernel: Hands a key's principal its rights.
        entropy: Makes principals.
        owner: Of the node.
        sight: Says which virtual servers somebody finds.
    """

    def __init__(
        self,
        keys: Keys,
        publications: Publications,
        kernel: SecurityKernel,
        entropy: Entropy,
        owner: PrincipalId,
        sight: Sight,
    ) -> None:
        self._keys = keys
        self._publications = publications
        self._kernel = kernel
        self._entropy = entropy
        self._owner = owner
        self._sight = sight

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            CreateKey: self.create,
            ListKeys: self.keys,
            RevokeKey: self.revoke,
            Publish: self.publish,
            Unpublish: self.unpublish,
            ListPublications: self.publications,
        }

    async def create(self, who: PrincipalId, command: CreateKey) -> NewKey:
        """Make a key; its principal gets all the rights that are granted with it, or there is no key."""
        require_owner(who, self._owner, "make keys")
        principal = command.principal_id or PrincipalId(new_id("user", self._entropy))
        if not is_id("user", principal):
            raise CallerMistaken(
                f"{principal!r} is no person", "name a user_…, or leave it out for a new one"
            )
        if principal == self._owner and command.grants:
            raise CallerMistaken("the owner of the node holds everything", "leave the grants out")
        try:
            span = None if command.expires_in_s is None else timedelta(seconds=command.expires_in_s)
            asks = [
                Ask(
                    resource=parse_resource(wish.resource_uri),
                    options=GrantOptions(
                        expires_in=None
                        if wish.expires_in_s is None
                        else timedelta(seconds=wish.expires_in_s),
                        constraints=wish.constraints,
                    ),
                )
                for wish in command.grants
            ]
        except OverflowError as error:
            raise CallerMistaken("a time is longer than all time", "leave it out for no end") from error
        grants = (
            await bundle_from_holdings(self._kernel, who, principal, asks, in_person=True) if asks else []
        )
        try:
            return await self._keys.create(command.name, principal, span, who)
        except BaseException:
            await withdraw(self._kernel, grants)
            raise

    async def keys(self, who: PrincipalId, command: ListKeys) -> Page[ApiKey]:
        """All keys that work."""
        require_owner(who, self._owner, "list its keys")
        return page_of(self._keys.listed(), command.limit, command.cursor)

    async def revoke(self, who: PrincipalId, command: RevokeKey) -> ApiKey:
        """Make a key useless."""
        require_owner(who, self._owner, "revoke keys")
        return await self._keys.revoke(command.key, who)

    async def publish(self, who: PrincipalId, command: Publish) -> Publication:
        """Offer a virtual server."""
        require_owner(who, self._owner, "publish virtual servers")
        return await self._publications.put(command.publication, who)

    async def unpublish(self, who: PrincipalId, command: Unpublish) -> None:
        """Take a virtual server away."""
        require_owner(who, self._owner, "take virtual servers away")
        await self._publications.remove(command.name, who)

    async def publications(self, who: PrincipalId, command: ListPublications) -> Page[Publication]:
        """Those the caller finds; to others but the owner it is not told for whom else they are."""
        found = [each for each in self._publications.listed() if self._sight.publication(who, each)]
        return page_of(found, command.limit, command.cursor)
