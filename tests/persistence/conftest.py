import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from mcp_interface.testing import ManualClock
from mcp_persistence import SqliteStore

Opener = Callable[..., AbstractAsyncContextManager[SqliteStore]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def opened(path: Path) -> Opener:
    """Opens the test's journal, and closes it again."""

    @asynccontextmanager
    async def open_it(telemetry=None):
        store = await SqliteStore.open(path, ManualClock(), telemetry)
        try:
            yield store
        finally:
            await store.close()

    return open_it


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
