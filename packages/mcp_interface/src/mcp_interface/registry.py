"""Who is running under which name. Production: `mcp_core.runtime.registry`; in memory: `testing.DictRegistry`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from mcp_interface.store import PAGE

R = TypeVar("R")


class Registered(msgspec.Struct, Generic[R], frozen=True):
    """One entry, as it was when it was asked for."""

    name: str
    ref: R
    metadata: dict[str, Any]


class Mortal(Protocol):
    """A ref that tells of its end; it is known by having the method."""

    def on_exit(self, callback: Callable[[Any, Any], object]) -> Callable[[], object]:
        """Call back once, with itself and the reason, when it has ended, at once when it already has.

        Returns:
            What takes the callback back.
        """
        ...


class Registry(Protocol[R]):
    """Unique names for running things; every operation is O(1) except the two that give lists.

    A ref that is `Mortal` loses its names when it ends; one that has ended before gets none. Other refs keep theirs
    until `unregister`.
    """

    def register(self, name: str, ref: R, metadata: Mapping[str, Any]) -> None:
        """Give a name to a ref.

        Args:
            name: Unique.
            ref: What `whereis` gives; may have several names.
            metadata: `type`, a text, is what `list_by_type` finds. Type and `key`, a text, together are a virtual
                name, unique too: what `lookup_key` finds.

        Raises:
            LostRace: The name is taken, or the virtual name.
        """
        ...

    def unregister(self, name: str) -> None:
        """Forget a name; unknown names are ignored."""
        ...

    def update(self, name: str, changes: Mapping[str, Any]) -> Registered[R]:
        """Change metadata, all or nothing; what is not named stays.

        Within its type an entry keeps its place; in a new type it is the last.

        Raises:
            NotFound: Nothing has that name.
            LostRace: The virtual name that it would get is taken.
        """
        ...

    def lookup(self, name: str) -> Registered[R] | None:
        """Find the entry of a name."""
        ...

    def lookup_key(self, type: str, key: str) -> Registered[R] | None:
        """Find the entry of a virtual name."""
        ...

    def whereis(self, name: str) -> R:
        """Find the ref of a name.

        Raises:
            NotFound: Nothing has that name.
        """
        ...

    def list_by_type(self, type: str) -> Sequence[Registered[R]]:
        """Entries of one type, in order of registration."""
        ...

    def match(self, metadata: Mapping[str, Any], *, limit: int = PAGE) -> Sequence[Registered[R]]:
        """Entries that have all of these metadata, in order of registration, so many at most.

        With a type only the entries of that type are looked through, else all.
        """
        ...
