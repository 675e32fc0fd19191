"""What a projection is: something derived from the journal's events, in tables of its own."""

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from mcp_interface.store import Record


class Projection(Protocol):
    """Turns events into rows.

    Each method is run by a `Projector`, in the thread of the projection's own file and within a transaction that
    the projector opens and ends. It touches nothing but its tables, so that doing it once more from an empty
    file gives the same rows; `progress` and `followed` are the projector's own tables.
    """

    name: str
    """Names its file: small letters, digits, `_` and `-`."""
    version: int
    """Raise it whenever other rows would come out; the projection is then made anew."""

    def prepare(self, db: sqlite3.Connection) -> None:
        """Make the tables, in an empty file."""
        ...

    def apply(self, db: sqlite3.Connection, records: Sequence[Record]) -> None:
        """Take records in, one or more, in order of position, each exactly once."""
        ...

    def forget(self, db: sqlite3.Connection, streams: Sequence[str]) -> None:
        """Remove whatever came from these streams: they were deleted. Nothing of them may stay in the file."""
        ...
