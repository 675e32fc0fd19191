"""What is checked before a journal is trusted: a little at every opening, everything on request.

Opening checks what later reads build on without looking again: the summary, the high-water mark, the last
link of the chain and the sums of the small tables; its price does not grow with the number of events.
`Verification` reads all of it. Both only read, so that what is left of a damaged file stays as it is.
"""

import sqlite3
from typing import Any, Final

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_interface.store import PAGE
from mcp_persistence.sqlite.highwater import Mark
from mcp_persistence.sqlite.integrity import ZERO, Meta, link, toggle
from mcp_persistence.sqlite.reading import check_value, count_streams
from mcp_persistence.sqlite.rows import (
    EVENT_COLUMNS,
    MADE_COLUMNS,
    RESTORE,
    STREAM_COLUMNS,
    check_event,
    head_of,
    made_of,
)
from mcp_persistence.sqlite.schema import VERSION, read_meta

_REBUILD: Final = "the events are sound: rebuild the journal with `umbrella storage rebuild`"
_MADE_SINCE: Final = 2
"""Version of the tables that brought idempotency keys."""


def check_blank(mark: Mark | None) -> None:
    """Refuse to begin anew where a mark says that there was a journal.

    Raises:
        StorageCorrupt: There was.
    """
    if mark is not None and mark.commits > 0:
        raise _behind(mark, Meta())


def check_opened(db: sqlite3.Connection, mark: Mark | None, version: int) -> Meta:
    """Check what reads build on, in a file of this version of the tables.

    Raises:
        StorageCorrupt: The journal lacks something that was acknowledged, or a table is damaged.
    """
    meta = read_meta(db)
    if mark is not None:
        if meta.commits < mark.commits or meta.head < mark.head:
            raise _behind(mark, meta)
        if _link_at(db, mark.head) != mark.chain:
            raise StorageCorrupt(
                f"the event at position {mark.head} is not the one that was acknowledged",
                RESTORE,
                {"position": mark.head},
            )
    if _link_at(db, meta.head) != meta.chain:
        raise StorageCorrupt(
            f"the last event, at position {meta.head}, does not fit the chain",
            RESTORE,
            {"position": meta.head},
        )
    _check_sums(db, meta, version)
    return meta


def describe(db: sqlite3.Connection, meta: Meta, mark: Mark | None, version: int) -> str:
    """One line for people: what the opening found and did."""
    erased = db.execute("SELECT count(*) FROM erased").fetchone()[0]
    streams = count_streams(db)
    told = [f"{_count(meta.head - erased, 'event')} in {_count(streams, 'stream')}"]
    if 0 < version < VERSION:
        told.append(f"brought from format {version} to {VERSION}")
    if mark is None:
        told.append("no high-water mark was there")
    elif (ahead := meta.commits - mark.commits) > 0:
        told.append(f"{_count(ahead, 'commit')} beyond the high-water mark")
    else:
        told.append("just as the high-water mark says")
    return "a new journal" if version == 0 else ", ".join(told)


class Verification:
    """Follows the whole chain, a page at a time, within one read transaction of its own connection."""

    def __init__(self) -> None:
        self._meta = Meta()
        self._position = 0
        self._chain = ZERO
        self._versions: dict[str, int] = {}
        self._indexed: dict[str, int] = {}  # the versions where the tables of streams and places end
        self._placed = 0
        self._records = 0

    def begin(self, db: sqlite3.Connection) -> None:
        """Fix the view that is verified."""
        db.execute("BEGIN")
        self._meta = read_meta(db)

    def step(self, db: sqlite3.Connection) -> bool:
        """Follow the chain for one page; tells whether there is more.

        Raises:
            StorageCorrupt: Names the position that is missing or not as it was written.
        """
        if self._position == self._meta.indexed:
            self._indexed, self._placed = dict(self._versions), self._records
        end = self._meta.indexed if self._position < self._meta.indexed else self._meta.head
        last = min(self._position + PAGE, end)
        window = (self._position, last)
        events = db.execute(
            f"SELECT {EVENT_COLUMNS}, chain FROM events WHERE position > ? AND position <= ?",  # noqa: S608
            window,
        )
        found: dict[int, tuple[Any, ...]] = {row[0]: row for row in events}
        erased = db.execute(
            "SELECT position, digest, chain FROM erased WHERE position > ? AND position <= ?", window
        )
        gone = {row[0]: row[1:] for row in erased}
        for position in range(self._position + 1, last + 1):
            if (position in found) == (position in gone):
                raise _broken(position)
            if position in found:
                self._check_version(found[position])
                content, chain = found[position][6], found[position][-1]
            else:
                content, chain = gone[position]
            if not isinstance(content, bytes) or link(self._chain, content) != chain:
                raise _broken(position)
            self._chain = chain
        self._position = last
        return last < self._meta.head

    def finish(self, db: sqlite3.Connection) -> int:
        """Compare with the summary and the table of streams, and let SQLite check its own trees.

        Returns:
            How many events there are.
        """
        if self._chain != self._meta.chain:
            raise _broken(self._meta.head)
        for table in ("events", "erased"):
            row = db.execute(f"SELECT max(position) FROM {table}").fetchone()  # noqa: S608
            if row[0] is not None and row[0] > self._meta.head:
                raise _broken(row[0])
        _check_sums(db, self._meta, VERSION)
        self._check_index(db)
        complaint = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if complaint != "ok":
            raise StorageCorrupt(f"SQLite finds its file damaged: {complaint}", RESTORE)
        db.rollback()
        return self._records

    def _check_index(self, db: sqlite3.Connection) -> None:
        if self._position == self._meta.indexed:
            self._indexed, self._placed = self._versions, self._records
        heads = {row[0]: row[1] for row in db.execute("SELECT stream, version FROM streams")}
        if heads != self._indexed or not heads_fit(db, self._meta):
            raise StorageCorrupt("the table of streams does not fit the events", _REBUILD)
        right = db.execute(
            """SELECT count(*) FROM places JOIN events USING (position)
               WHERE places.stream = events.stream AND places.version = events.version"""
        ).fetchone()[0]
        places = db.execute("SELECT count(*) FROM places").fetchone()[0]
        if right != self._placed or places != self._placed:
            raise StorageCorrupt("the table of places does not fit the events", _REBUILD)

    def _check_version(self, row: tuple[Any, ...]) -> None:
        check_event(row[:-1])
        position, stream, version = row[:3]
        if version != self._versions.get(stream, 0) + 1:
            raise _broken(position)
        self._versions[stream] = version
        self._records += 1


def _link_at(db: sqlite3.Connection, position: int) -> Any:
    if position == 0:
        return ZERO
    row = db.execute(
        """SELECT chain FROM events WHERE position = ?1
           UNION ALL SELECT chain FROM erased WHERE position = ?1""",
        (position,),
    ).fetchone()
    return None if row is None else row[0]


def heads_fit(db: sqlite3.Connection, meta: Meta) -> bool:
    """Whether the table of streams is as it was written; if not it can be made anew."""
    found = db.execute(f"SELECT {STREAM_COLUMNS} FROM streams")  # noqa: S608
    try:
        return toggle(ZERO, *(head_of(row).digest for row in found)) == meta.streams
    except StorageCorrupt:
        return False


def _check_sums(db: sqlite3.Connection, meta: Meta, version: int) -> None:
    found = db.execute("SELECT key, value, digest FROM keys")
    if toggle(ZERO, *(check_value(*row) for row in found)) != meta.keys:
        raise StorageCorrupt("an entry is missing from the table of keys", RESTORE)
    if version < _MADE_SINCE:
        return
    found = db.execute(f"SELECT {MADE_COLUMNS} FROM made")  # noqa: S608
    if toggle(ZERO, *(made_of(row).digest for row in found)) != meta.made:
        raise StorageCorrupt("an entry is missing from the table of idempotency keys", RESTORE)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _behind(mark: Mark, meta: Meta) -> StorageCorrupt:
    return StorageCorrupt(
        f"the journal ends at position {meta.head} (commit {meta.commits}), but position {mark.head} "
        f"(commit {mark.commits}) was acknowledged",
        "restore it from a backup; if an older copy was put back on purpose, delete the file "
        "that ends in .head beside it",
        msgspec.structs.asdict(mark) | {"chain": mark.chain.hex(), "found": meta.head},
    )


def _broken(position: int) -> StorageCorrupt:
    return StorageCorrupt(
        f"the chain of events is broken at position {position}", RESTORE, {"position": position}
    )
