"""Who is running under which name. Production: `mcp_core.runtime.registry`; in memory: `testing.DictRegistry`."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

R = TypeVar("R")


class Registered(msgspec.Struct, Generic[R], frozen=True):
    """One entry."""

    name: str
    ref: R
    metadata: dict[str, Any]


class Registry(Protocol[R]):
    """Unique names for running things; every operation is O(1) except `list_by_type`, which uses an index."""

    def register(self, name: str, ref: R, metadata: Mapping[str, Any]) -> None:
        """Give a name to a ref. `metadata["type"]` is what `list_by_type` finds.

        Raises:
            LostRace: The name is taken.
        """
        ...

    def unregister(self, name: str) -> None:
        """Forget a name; unknown names are ignored."""
        ...

    def lookup(self, name: str) -> Registered[R] | None:
        """Find the entry of a name."""
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
