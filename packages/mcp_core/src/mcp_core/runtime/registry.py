"""Names of running things, with an index by type."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from mcp_interface.errors import LostRace, NotFound
from mcp_interface.registry import Registered

R = TypeVar("R")


class LocalRegistry(Generic[R]):
    """The `Registry` of one node; used on its event loop only."""

    def __init__(self) -> None:
        self._entries: dict[str, Registered[R]] = {}
        self._by_type: dict[str, dict[str, Registered[R]]] = {}

    def register(self, name: str, ref: R, metadata: Mapping[str, Any]) -> None:
        """Give a name to a ref.

        Raises:
            LostRace: The name is taken.
        """
        if name in self._entries:
            raise LostRace(f"the name {name!r} is taken", "choose another or stop its owner")
        entry = Registered(name, ref, dict(metadata))
        self._entries[name] = entry
        self._by_type.setdefault(str(metadata.get("type", "")), {})[name] = entry

    def unregister(self, name: str) -> None:
        """Forget a name; unknown names are ignored."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            kind = str(entry.metadata.get("type", ""))
            self._by_type[kind].pop(name)
            if not self._by_type[kind]:
                del self._by_type[kind]

    def lookup(self, name: str) -> Registered[R] | None:
        """Find the entry of a name."""
        return self._entries.get(name)

    def whereis(self, name: str) -> R:
        """Find the ref of a name.

        Raises:
            NotFound: Nothing has that name.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"nothing is registered as {name!r}")
        return entry.ref

    def list_by_type(self, type: str) -> Sequence[Registered[R]]:
        """Entries of one type, in order of registration."""
        return list(self._by_type.get(type, {}).values())
