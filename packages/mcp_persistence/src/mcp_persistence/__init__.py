"""Where what happened is kept: a journal with snapshots and small facts; acknowledged means synced."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_interface.testing import MemoryStore
    from mcp_persistence.stores.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore"]


def __getattr__(name: str) -> Any:
    # Late: the command line imports this package's name long before it opens a file, if ever.
    if name == "SqliteStore":
        from mcp_persistence.stores.sqlite import SqliteStore

        return SqliteStore
    if name == "MemoryStore":
        from mcp_interface.testing import MemoryStore

        return MemoryStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
