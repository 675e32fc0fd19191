"""The lock on a journal's folder: one process at a time, and always the same folder."""

import fcntl
import os
from pathlib import Path
from typing import Final

from mcp_interface.errors import StorageUnavailable
from mcp_persistence.segment.disk import SystemDisk
from mcp_persistence.sqlite.connection import translate

LOCK: Final = "lock"


def take(folder: Path) -> int:
    """Take a folder for this process; it is made when there is none. Closing the descriptor lets go of it.

    Raises:
        StorageUnavailable: Another one has it, or the disk refused.
    """
    try:
        SystemDisk().make_folder(folder)  # which makes its name durable, too
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise translate(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StorageUnavailable(
            f"another process has the journal in {folder} open", "stop it, or give another folder"
        ) from error
    return lock


def check(folder: Path, lock: int) -> None:
    """See that the folder is still the one that was locked.

    Raises:
        StorageUnavailable: It was taken away or replaced; a journal that is begun in its place would be empty.
    """
    try:
        is_ours = os.path.samestat(os.stat(folder / LOCK), os.fstat(lock))  # noqa: PTH116 beside fstat
    except OSError as error:
        raise translate(error) from error
    if not is_ours:
        raise StorageUnavailable(
            f"{folder} is not the folder that was opened",
            "put it back, or close the journal and open it again",
        )
