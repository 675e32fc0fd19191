"""One SQLite connection with its own thread, and the only place where SQLite's errors become ours.

A piece of work is a function over the raw connection that runs as a whole in that thread. One hop per piece
is what makes a commit cheap: a statement at a time, as aiosqlite's surface offers, pays for four.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from mcp_interface.errors import CallerMistaken, StorageCorrupt, StorageUnavailable, UmbrellaError
from mcp_persistence.names import matches
from mcp_persistence.sqlite.bell import Bell

T = TypeVar("T")
DEADLINE: Final = 60.0
"""Seconds after which a disk that does not answer counts as broken."""
BUSY: Final = 5.0
"""Seconds to wait for another process that writes."""

_DAMAGE: Final = (
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_ERROR",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_RANGE",
)
"""The statements are fixed, so a statement that does not fit means that the file is not as we made it."""


class _Connection(sqlite3.Connection):
    def execute(self, *statement: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*statement)
        except UnicodeDecodeError as error:  # SQLite quotes a damaged table, and that is no text any more
            raise sqlite3.DatabaseError("a table's description is no text") from error


class Worker(aiosqlite.Connection):
    """A connection that runs whole functions in its thread."""

    bell: Bell

    async def run(self, work: Callable[[sqlite3.Connection], T], deadline: float = DEADLINE) -> T:
        """Run `work` in the connection's thread. Cancelling the caller does not stop it.

        Args:
            work: What to do.
            deadline: Seconds after which the disk counts as broken.

        Raises:
            StorageUnavailable: SQLite or the disk refused, or did not answer in time.
            StorageCorrupt: The file is damaged.
        """
        try:
            async with asyncio.timeout(deadline):
                return await self.begin(work)
        except TimeoutError as error:
            raise StorageUnavailable(
                f"the disk did not answer within {deadline:.0f} s", "look at the disk; it is tried again"
            ) from error

    def begin(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Have `work` done like `run`, without a deadline and without a task: for whom each microsecond counts."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        # aiosqlite offers no public way to run a function; the range in pyproject.toml is what was tried.
        if not self._running or self._connection is None:
            future.set_exception(_closed())
        else:
            self._tx.put_nowait((None, partial(_do, work, self._connection, self.bell, future)))
        return future

    async def end(self) -> None:
        """Finish what is queued and end the thread, within `DEADLINE`; harmless when repeated."""
        # ValueError: somebody else is ending it already.
        with contextlib.suppress(sqlite3.Error, TimeoutError, ValueError):
            await asyncio.wait_for(self.close(), DEADLINE)
        self.bell.hang_up()


async def connect(path: Path, *, writable: bool) -> Worker:
    """Open a connection to an existing file.

    Raises:
        StorageUnavailable: It cannot be opened.
    """
    mode = "rw" if writable else "ro"

    def connector() -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY,
            check_same_thread=False,
            cached_statements=64,
            factory=_Connection,
        )
        # A damaged text must reach the comparison with its digest, and never an error message.
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        # Not SQLite's own GLOB: it negates a set with another sign and knows no unclosed bracket.
        db.create_function("matches", 2, matches, deterministic=True)
        return db

    worker = Worker(connector, iter_chunk_size=64)
    worker.bell = Bell(asyncio.get_running_loop())
    try:
        await worker
    except sqlite3.Error as error:
        worker.bell.hang_up()
        raise translate(error) from error
    except BaseException:
        await worker.end()
        raise
    return worker


def translate(error: Exception) -> UmbrellaError:
    """Say in our words what SQLite or the operating system said in theirs."""
    if isinstance(error, UnicodeEncodeError):
        return CallerMistaken("the text is not valid Unicode", "leave out lone surrogates")
    if isinstance(error, sqlite3.ProgrammingError):
        return _closed()
    # No name: the module itself objects, as to a text that is no longer UTF-8.
    name = str(getattr(error, "sqlite_errorname", "SQLITE_ERROR"))
    if isinstance(error, sqlite3.Error) and name.startswith(_DAMAGE):
        return StorageCorrupt(
            f"the journal's file is damaged: {error}", "restore the data directory from a backup"
        )
    if name.startswith("SQLITE_BUSY"):
        return StorageUnavailable(
            f"another process has been writing for {BUSY:.0f} s", "stop it, or try again later"
        )
    return StorageUnavailable(
        f"the disk refused: {error}", "make room or mend the disk, then open the store again"
    )


def _do(
    work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection, bell: Bell, future: asyncio.Future[T]
) -> None:
    bell.ring(future, *_outcome(work, db))


def _outcome(
    work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection
) -> tuple[T | None, BaseException | None]:
    """What came of it. The error's traceback begins here: it must not lead to the future that will hold it."""
    try:
        return work(db), None
    except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
        ours = translate(error)
        ours.__cause__ = error
        return None, ours
    except BaseException as error:
        return None, error


def _closed() -> StorageUnavailable:
    return StorageUnavailable("the store is closed", "open it again")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All statements of the block, or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


def in_one_view(work: Callable[..., T], *args: Any) -> Callable[[sqlite3.Connection], T]:
    """Make a reading function see one consistent state, whatever is committed meanwhile."""

    def looked(db: sqlite3.Connection) -> T:
        db.execute("BEGIN")
        try:
            return work(db, *args)
        finally:
            db.rollback()

    return looked
