"""A `Registry` over two dictionaries."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from mcp_interface.errors import LostRace, NotFound
from mcp_interface.registry import Registered
from mcp_interface.store import PAGE

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
        self._check_key(entry)
        self._by_name[name] = entry
        if "type" in metadata:
            self._by_type.setdefault(metadata["type"], {})[name] = entry
        if hasattr(ref, "on_exit"):
            ref.on_exit(lambda ended, _: self._ended(name, ended))

    def unregister(self, name: str) -> None:
        """Forget a name; see `Registry.unregister`."""
        entry = self._by_name.pop(name, None)
        if entry is not None and "type" in entry.metadata:
            del self._by_type[entry.metadata["type"]][name]

    def update(self, name: str, changes: Mapping[str, Any]) -> Registered[R]:
        """Change metadata; see `Registry.update`."""
        before = self._by_name.get(name)
        if before is None:
            raise NotFound(f"nothing is called {name!r}")
        after = Registered(name, before.ref, {**before.metadata, **changes})
        self._check_key(after)
        self._by_name[name] = after
        kinds = [entry.metadata.get("type") for entry in (before, after)]
        if kinds[0] != kinds[1] and kinds[0] is not None:
            del self._by_type[kinds[0]][name]
        if kinds[1] is not None:
            self._by_type.setdefault(kinds[1], {})[name] = after
        return after

    def lookup(self, name: str) -> Registered[R] | None:
        """Find the entry of a name; see `Registry.lookup`."""
        return self._by_name.get(name)

    def lookup_key(self, type: str, key: str) -> Registered[R] | None:
        """Find the entry of a virtual name; see `Registry.lookup_key`."""
        entries = self._by_type.get(type, {}).values()
        return next((entry for entry in entries if entry.metadata.get("key") == key), None)

    def whereis(self, name: str) -> R:
        """Find the ref of a name; see `Registry.whereis`."""
        entry = self._by_name.get(name)
        if entry is None:
            raise NotFound(f"nothing is called {name!r}")
        return entry.ref

    def list_by_type(self, type: str) -> Sequence[Registered[R]]:
        """Entries of one type in order of registration; see `Registry.list_by_type`."""
        return list(self._by_type.get(type, {}).values())

    def match(self, metadata: Mapping[str, Any], *, limit: int = PAGE) -> Sequence[Registered[R]]:
        """Entries that have all of these metadata; see `Registry.match`."""
        fits = [e for e in self._by_name.values() if metadata.items() <= e.metadata.items()]
        return fits[:limit]

    def _check_key(self, entry: Registered[R]) -> None:
        kind, key = entry.metadata.get("type"), entry.metadata.get("key")
        owner = None if kind is None or key is None else self.lookup_key(kind, key)
        if owner is not None and owner.name != entry.name:
            raise LostRace(f"{kind} {key!r} is taken by {owner.name!r}", "choose another key")

    def _ended(self, name: str, ref: Any) -> None:
        entry = self._by_name.get(name)
        if entry is not None and entry.ref is ref:
            self.unregister(name)
