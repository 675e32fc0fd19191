"""A `Registry` over two dictionaries."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from mcp_interface.errors import LostRace, NotFound
from mcp_interface.registry import Registered

R = TypeVar("R")


class DictRegistry(Generic[R]):
    """Names of one process; not for several threads."""

    def __init__(self) -> None:
        self._by_name: dict[str, Registered[R]] = {}
        self._by_type: dict[str, dict[str, Registered[R]]] = {}

    def register(self, name: str, ref: R, metadata: Mapping[str, Any]) -> None:
        """Give a name to a ref; see `Registry.register`."""
        if name in self._by_name:
            raise LostRace(f"the name {name!r} is taken", "choose another name")
        entry = Registered(name, ref, dict(metadata))
        self._by_name[name] = entry
        if "type" in metadata:
            self._by_type.setdefault(metadata["type"], {})[name] = entry

    def unregister(self, name: str) -> None:
        """Forget a name; see `Registry.unregister`."""
        entry = self._by_name.pop(name, None)
        if entry is not None and "type" in entry.metadata:
            del self._by_type[entry.metadata["type"]][name]

    def lookup(self, name: str) -> Registered[R] | None:
        """Find the entry of a name; see `Registry.lookup`."""
        return self._by_name.get(name)

    def whereis(self, name: str) -> R:
        """Find the ref of a name; see `Registry.whereis`."""
        entry = self._by_name.get(name)
        if entry is None:
            raise NotFound(f"nothing is called {name!r}")
        return entry.ref

    def list_by_type(self, type: str) -> Sequence[Registered[R]]:
        """Entries of one type in order of registration; see `Registry.list_by_type`."""
        return list(self._by_type.get(type, {}).values())
