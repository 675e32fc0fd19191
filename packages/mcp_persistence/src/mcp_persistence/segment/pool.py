"""Open files for reading, as few as are in use: a log may have more segments than a process may have files."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from mcp_persistence.segment.disk import Disk, File

KEPT: Final = 32
"""Most files kept open when nobody reads from them."""


class Pool:
    """Opens files of one folder on demand. May be used by several threads."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._files: OrderedDict[str, File] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> File:
        """Open a file for reading, or give the one that is open.

        Raises:
            OSError: As the disk gives it.
        """
        with self._lock:
            file = self._files.get(name)
            if file is None:
                file = self._files[name] = self._disk.open(self._folder / name, write=False)
                if len(self._files) > KEPT:
                    self._files.popitem(last=False)  # whoever reads from it still holds it
            else:
                self._files.move_to_end(name)
            return file

    def forget(self, name: str) -> None:
        """Open it anew next time, because another file has taken the name."""
        with self._lock:
            self._files.pop(name, None)

    def clear(self) -> None:
        """Let go of all files."""
        with self._lock:
            self._files.clear()
