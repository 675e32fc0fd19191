"""The journals under test by kind: the one place to name a new one, and every rig runs over it."""

import os
from pathlib import Path
from typing import Any

import mcp_persistence
from mcp_interface.clock import SystemClock

ENGINES = {"sqlite": "SqliteJournal", "segments": "SegmentJournal"}


def place(kind: str, folder: Path) -> Path:
    """Say where a journal of this kind lives inside an existing folder: a file, or a folder of its own."""
    if kind == "sqlite":
        return folder / "journal.db"
    (folder / "journal").mkdir(exist_ok=True)
    return folder / "journal"


def truth(kind: str, path: Path) -> Path:
    """Say how the names begin of the files that cannot be made anew from others."""
    return path if kind == "sqlite" else path / "0"  # segments are named by their first position


async def open_journal(kind: str, path: Path) -> Any:
    """Open a journal; small segments on request, so that rolling to the next one happens often."""
    small = os.environ.get("UMBRELLA_TEST_SEGMENT_BYTES")
    options = {"segment_bytes": int(small)} if small and kind == "segments" else {}
    return await getattr(mcp_persistence, ENGINES[kind]).open(path, SystemClock(), **options)
