"""The two databases beside the segments: making them for their owner alone, and throwing them away."""

import os
from pathlib import Path
from typing import Final

from mcp_persistence.sqlite.connection import translate

INDEX: Final = "index.db"
SNAPSHOTS: Final = "snapshots.db"


def touch(path: Path) -> None:
    """Have a file of its owner's alone, which SQLite then fills.

    Raises:
        StorageUnavailable: The disk refused.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise translate(error) from error


def remove(path: Path) -> None:
    """Remove a database, if it is there, and what SQLite keeps beside it.

    Raises:
        StorageUnavailable: The disk refused.
    """
    try:
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise translate(error) from error
