import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from mcp_interface.testing import ManualClock
from mcp_persistence import SqliteJournal
from persistence.projections.rows import ALL_KINDS, run

Opener = Callable[..., AbstractAsyncContextManager[SqliteJournal]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def opened(path: Path) -> Opener:
    """Opens the test's journal, and closes it again; `hot_bytes=0` makes it read what is in the file."""

    @asynccontextmanager
    async def open_it(telemetry=None, **options):
        store = await SqliteJournal.open(path, ManualClock(), telemetry, **options)
        try:
            yield store
        finally:
            await store.close()

    return open_it


@pytest.fixture(params=ALL_KINDS)
def with_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Runs a test's body at the `Desk` of its module, over every kind of store."""

    def with_it(body, **options):
        async def at_desk():
            async with request.module.Desk(request.param, tmp_path, **options) as desk:
                await body(desk)

        run(at_desk)

    return with_it


@pytest.fixture
def flip() -> Callable[[Path, int], None]:
    """Flips one bit of a file, counted from its beginning."""

    def flip_it(file: Path, bit: int) -> None:
        content = bytearray(file.read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)

    return flip_it


@pytest.fixture
def fingerprint() -> Callable[[Path], str]:
    return lambda file: hashlib.sha256(file.read_bytes()).hexdigest()
