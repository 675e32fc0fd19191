"""A small file put in the old one's place, all of it or none, readable by its owner only."""

import os
from pathlib import Path

from mcp_interface.errors import StorageUnavailable


def put_in_place(path: Path, data: bytes) -> None:
    """Write beside it, make that durable, rename it, make the name durable.

    Whoever is killed in between leaves the old content.

    Args:
        path: In a folder that only its owner can enter, with one writer at a time.
        data: The whole content.

    Raises:
        StorageUnavailable: The disk refused; the old content is untouched unless only its name is not durable yet.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)  # of a writer that was killed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be written: {error}", "mend the disk") from error
