"""What the tools of `fs` expect of the one way to a file. They know no rights and open no name themselves."""

import os
from collections.abc import Iterator, Sequence
from typing import Protocol


class EntryLike(Protocol):
    """One name in a directory."""

    @property
    def name(self) -> str:
        """The name alone, from a walk the relative path; printable or not."""
        ...

    @property
    def kind(self) -> str:
        """file, directory, symlink or other."""
        ...

    @property
    def size(self) -> int:
        """Bytes; zero for what is not a file."""
        ...


class FileGate(Protocol):
    """Reaches what a right covers and nothing else; the real one is `mcp_security`'s `FilesystemGate`.

    `covering` is always the pattern of the right that allowed it, for the operation that is named here.
    """

    def open_file(self, covering: str, path: str) -> int:
        """Return a descriptor of a regular file, for reading; `read`."""
        ...

    def replace_file(self, covering: str, path: str, data: bytes, seen: os.stat_result | None = None) -> None:
        """Create a file or replace all of it at once, if need be only as it was seen; `write`."""
        ...

    def rename(
        self, covering_old: str, covering_new: str, old: str, new: str, *, replace: bool = False
    ) -> None:
        """Move a file; `delete` on the old path, `write` on the new."""
        ...

    def unlink(self, covering: str, path: str) -> None:
        """Remove a file; `delete`."""
        ...

    def make_directory(self, covering: str, path: str) -> None:
        """Create a directory in one that exists; `write`."""
        ...

    def list_directory(self, covering: str, path: str, limit: int) -> Sequence[EntryLike]:
        """Return the first entries by name; `list`."""
        ...

    def walk(self, covering: str, path: str, limit: int) -> Iterator[EntryLike]:
        """Go through everything below a directory, links not followed; `list` on all of it."""
        ...
