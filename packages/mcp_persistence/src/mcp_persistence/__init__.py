"""Where what happened is kept: a journal with snapshots and small facts; acknowledged means synced."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_interface.testing import MemoryStore
    from mcp_persistence.blobs import FileBlobs
    from mcp_persistence.migrate import open_journal
    from mcp_persistence.outbox import Outbox
    from mcp_persistence.projections.projection import Projection
    from mcp_persistence.projections.projector import Projector
    from mcp_persistence.projections.text import TextIndex
    from mcp_persistence.stores.segments import SegmentJournal
    from mcp_persistence.stores.sqlite import SqliteJournal
    from mcp_persistence.timers import Timers
    from mcp_persistence.upcast import EventCodec, Upcaster, Upcasters

__all__ = [
    "EventCodec",
    "FileBlobs",
    "MemoryStore",
    "Outbox",
    "Projection",
    "Projector",
    "SegmentJournal",
    "SqliteJournal",
    "TextIndex",
    "Timers",
    "Upcaster",
    "Upcasters",
    "open_journal",
]

_HOMES = {
    "EventCodec": "mcp_persistence.upcast",
    "FileBlobs": "mcp_persistence.blobs",
    "MemoryStore": "mcp_interface.testing",
    "Outbox": "mcp_persistence.outbox",
    "Projection": "mcp_persistence.projections.projection",
    "Projector": "mcp_persistence.projections.projector",
    "SegmentJournal": "mcp_persistence.stores.segments",
    "SqliteJournal": "mcp_persistence.stores.sqlite",
    "TextIndex": "mcp_persistence.projections.text",
    "Timers": "mcp_persistence.timers",
    "Upcaster": "mcp_persistence.upcast",
    "Upcasters": "mcp_persistence.upcast",
    "open_journal": "mcp_persistence.migrate",
}


def __getattr__(name: str) -> Any:
    # Late: the command line imports this package's name long before it opens a file, if ever.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
