"""A journal without a node: looked at, read back, and explained when no node can start on it."""

import asyncio
import shutil
from pathlib import Path

import pytest

from core.refusing import flip
from mcp_core import DataDir, Node, Settings, inspect_storage, rebuild_storage, report_storage
from mcp_interface.client import ClientInfo
from mcp_interface.commands import CreateSession, ListSessions
from mcp_interface.errors import LostRace, NotFound, StorageCorrupt

MARK = "harpsichord"
"""A word that is nowhere in a journal but where a test put it."""


def lived(place: Path) -> None:
    """A node that has been there, with a few sessions."""

    async def scenario() -> None:
        async with Node(Settings.load(place, {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            for number in range(5):
                await client.request(CreateSession(title=f"{MARK} {number}"))

    asyncio.run(scenario())


def test_looking_for_a_journal_where_none_is_leaves_nothing_behind(tmp_path: Path) -> None:
    for look in (inspect_storage, report_storage, rebuild_storage):
        with pytest.raises(NotFound):
            asyncio.run(look(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_journal_that_was_taken_away_is_named_as_lost(tmp_path: Path) -> None:
    lived(tmp_path)
    journal = DataDir(tmp_path).journal
    shutil.rmtree(journal)
    for look in (report_storage, rebuild_storage):
        with pytest.raises(StorageCorrupt, match="says that there was one"):
            asyncio.run(look(tmp_path))
    check = asyncio.run(inspect_storage(tmp_path))
    assert not check.ok
    assert str(journal) in check.problem
    assert not journal.exists(), "looking has not begun a new one"


def test_a_resting_journal_is_told_read_back_and_rebuilt_and_a_node_starts_on_it(tmp_path: Path) -> None:
    lived(tmp_path)
    report = asyncio.run(report_storage(tmp_path))
    assert report.head > 5
    check = asyncio.run(inspect_storage(tmp_path))
    assert (check.ok, check.events) == (True, report.head)
    assert asyncio.run(rebuild_storage(tmp_path)).head == report.head

    async def sessions() -> int:
        async with Node(Settings.load(tmp_path, {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="test", token=node.owner_token))
            return len((await client.request(ListSessions())).items)

    assert asyncio.run(sessions()) == 5


def test_a_running_node_keeps_its_journal_for_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(Settings.load(tmp_path, {})):
            for look in (inspect_storage, report_storage, rebuild_storage):
                with pytest.raises(LostRace):
                    await look(tmp_path)

    asyncio.run(scenario())


def test_damage_is_an_answer_also_where_no_node_can_start_and_nothing_is_repaired(tmp_path: Path) -> None:
    lived(tmp_path)
    assert flip(DataDir(tmp_path).journal, MARK.encode())
    first = asyncio.run(inspect_storage(tmp_path))
    assert not first.ok
    assert first.problem
    assert first.remedy
    assert asyncio.run(inspect_storage(tmp_path)) == first, "looking has changed nothing"


def test_a_journal_that_cannot_even_be_opened_is_explained_too(tmp_path: Path) -> None:
    lived(tmp_path)
    spoil(DataDir(tmp_path).journal)
    with pytest.raises(StorageCorrupt):
        asyncio.run(report_storage(tmp_path))
    check = asyncio.run(inspect_storage(tmp_path))
    assert not check.ok
    assert check.problem


def spoil(journal: Path) -> None:
    """Overwrite the beginning of every file of a journal."""
    files = [journal] if journal.is_file() else [file for file in journal.rglob("*") if file.is_file()]
    for file in files:
        with file.open("r+b") as opened:
            opened.write(b"\xa5" * min(64, file.stat().st_size))
