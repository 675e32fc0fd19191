"""Who wants to be told of changes in the catalog, and the telling: passing notices, never journaled."""

from collections.abc import Callable
from typing import Final

from mcp_interface.catalog import Item
from mcp_interface.client import OffersChanged, Passing, ResourceChanged
from mcp_interface.errors import TooMuch
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import CATALOG

MAX_WATCHED: Final = 1_000
"""Resources that one person watches."""


class Watches:
    """Tells of changes.

    Args:
        publish: Gives a notice to whoever follows the node.
    """

    def __init__(self, publish: Callable[[Passing], None]) -> None:
        self._publish = publish
        self._watched: dict[PrincipalId, set[str]] = {}

    def watch(self, who: PrincipalId, uri: str) -> None:
        """Have changes of a resource told; harmless when repeated.

        Raises:
            TooMuch: They watch too many.
        """
        watched = self._watched.setdefault(who, set())
        if uri not in watched and len(watched) >= MAX_WATCHED:
            raise TooMuch(f"you watch {MAX_WATCHED} resources already", "unwatch one")
        watched.add(uri)

    def unwatch(self, who: PrincipalId, uri: str) -> None:
        """No longer have changes told; harmless when repeated."""
        watched = self._watched.get(who, set())
        watched.discard(uri)
        if not watched:
            self._watched.pop(who, None)

    def item_changed(self, item: Item, public: bool) -> None:
        """A resource was added, changed or taken away; its URI is told only if somebody watches who may read it.

        Args:
            item: As it is now, or was.
            public: Whether others could read it before the change, or can now.
        """
        whose = None if public else item.owner_id
        self._publish(OffersChanged(server=CATALOG, kind="resources", principal_id=whose))
        for who, uris in self._watched.items():
            if item.uri in uris and (item.visibility == "public" or who == item.owner_id):
                self._publish(ResourceChanged(server=CATALOG, uri=item.uri))
                return

    def prompts_changed(self, owner: PrincipalId, public: bool) -> None:
        """Somebody's prompts are others; `public` as in `item_changed`."""
        whose = None if public else owner
        self._publish(OffersChanged(server=CATALOG, kind="prompts", principal_id=whose))
