"""Names of running things, with an index by type and one by type and key."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from threading import RLock
from typing import Any, Generic, TypeVar, cast

from mcp_interface.errors import LostRace, NotFound
from mcp_interface.registry import Mortal, Registered
from mcp_interface.store import PAGE

R = TypeVar("R")


class LocalRegistry(Generic[R]):
    """The `Registry` of one node; used on its event loop, but refs may end on any thread."""

    def __init__(self) -> None:
        self._entries: dict[str, Registered[R]] = {}
        self._by_type: dict[str, dict[str, Registered[R]]] = {}
        self._by_key: dict[tuple[str, str], str] = {}
        self._mortals: dict[int, _Names] = {}
        """By identity, of the refs that have names."""
        self._lock = RLock()  # a ref that has ended says so while it is being registered

    def __len__(self) -> int:
        return len(self._entries)

    def register(self, name: str, ref: R, metadata: Mapping[str, Any]) -> None:
        """Give a name to a ref; a `Mortal` one has it until it ends.

        Raises:
            LostRace: The name is taken, or the virtual name of type and key.
        """
        entry = Registered(name, ref, dict(metadata))
        with self._lock:
            if name in self._entries:
                raise LostRace(f"the name {name!r} is taken", "choose another or stop its owner")
            self._take_key(entry)
            self._entries[name] = entry
            self._by_type.setdefault(_type(entry), {})[name] = entry
        if hasattr(
            ref, "on_exit"
        ):  # and not by `isinstance`: asking a protocol takes longer than all the rest
            self._watch(cast("Mortal", ref), name)

    def unregister(self, name: str) -> None:
        """Forget a name; unknown names are ignored."""
        with self._lock:
            entry = self._forget(name)
            names = None if entry is None else self._mortals.get(id(entry.ref))
            if entry is not None and names is not None:
                names.all.discard(name)
                if not names.all:
                    del self._mortals[id(entry.ref)]
                    names.take_back()

    def update(self, name: str, changes: Mapping[str, Any]) -> Registered[R]:
        """Change metadata, all or nothing; what is not named stays.

        Raises:
            NotFound: Nothing has that name.
            LostRace: The virtual name that it would get is taken.
        """
        with self._lock:
            before = self._entry(name)
            after = Registered(name, before.ref, {**before.metadata, **changes})
            if _key(after) != _key(before):
                self._take_key(after)
                self._drop_key(before)
            self._entries[name] = after
            if _type(after) != _type(before):
                self._drop_type(before)
            self._by_type.setdefault(_type(after), {})[name] = after
            return after

    def lookup(self, name: str) -> Registered[R] | None:
        """Find the entry of a name."""
        return self._entries.get(name)

    def lookup_key(self, type: str, key: str) -> Registered[R] | None:
        """Find the entry of a virtual name."""
        name = self._by_key.get((type, key))
        return None if name is None else self._entries.get(name)

    def whereis(self, name: str) -> R:
        """Find the ref of a name.

        Raises:
            NotFound: Nothing has that name.
        """
        return self._entry(name).ref

    def list_by_type(self, type: str) -> Sequence[Registered[R]]:
        """Entries of one type, in order of registration."""
        return list(self._by_type.get(type, {}).values())

    def match(self, metadata: Mapping[str, Any], *, limit: int = PAGE) -> Sequence[Registered[R]]:
        """Entries that have all of these metadata, in order of registration, so many at most."""
        kind = metadata.get("type")
        among = self._by_type.get(kind, {}) if isinstance(kind, str) else self._entries
        fits = (entry for entry in list(among.values()) if metadata.items() <= entry.metadata.items())
        return list(islice(fits, limit))

    def _entry(self, name: str) -> Registered[R]:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"nothing is registered as {name!r}", "list what is running")
        return entry

    def _forget(self, name: str) -> Registered[R] | None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._drop_key(entry)
            self._drop_type(entry)
        return entry

    def _take_key(self, entry: Registered[R]) -> None:
        key = _key(entry)
        if key is None:
            return
        owner = self._by_key.setdefault(key, entry.name)
        if owner != entry.name:
            raise LostRace(
                f"{key[0]} {key[1]!r} is taken by {owner!r}", "choose another key or stop its owner"
            )

    def _drop_key(self, entry: Registered[R]) -> None:
        key = _key(entry)
        if key is not None:
            del self._by_key[key]

    def _drop_type(self, entry: Registered[R]) -> None:
        kind = _type(entry)
        self._by_type[kind].pop(entry.name)
        if not self._by_type[kind]:
            del self._by_type[kind]

    def _watch(self, ref: Mortal, name: str) -> None:
        with self._lock:
            names = self._mortals.get(id(ref))
            if names is not None:
                names.all.add(name)
                return
            names = self._mortals[id(ref)] = _Names(name)
            names.take_back = ref.on_exit(self._ended)

    def _ended(self, ref: Mortal, reason: object) -> None:
        with self._lock:
            names = self._mortals.pop(id(ref), None)
            for name in () if names is None else names.all:
                self._forget(name)


class _Names:
    """What one mortal ref is called."""

    __slots__ = ("all", "take_back")

    def __init__(self, first: str) -> None:
        self.all = {first}
        self.take_back: Callable[[], object] = lambda: None


def _type(entry: Registered[Any]) -> str:
    return str(entry.metadata.get("type", ""))


def _key(entry: Registered[Any]) -> tuple[str, str] | None:
    key = entry.metadata.get("key")
    return None if key is None else (_type(entry), str(key))
