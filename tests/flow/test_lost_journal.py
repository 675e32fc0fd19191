"""A journal that is gone altogether: a node must not begin an empty one in its place and say nothing."""

import asyncio
import shutil
from pathlib import Path

import pytest

from mcp_core import Node, Settings
from mcp_interface.errors import StorageCorrupt


def start_and_stop(data_dir: Path) -> None:
    async def body() -> None:
        async with Node(Settings(data_dir=data_dir)):
            pass

    asyncio.run(body())


@pytest.mark.parametrize("mount_point_stays", [False, True])
def test_a_node_whose_journal_is_gone_does_not_start_and_says_what_is_missing(
    tmp_path: Path, mount_point_stays: bool
) -> None:
    data_dir = tmp_path / "node"
    start_and_stop(data_dir)
    journal = data_dir / "journal"
    journal.rename(tmp_path / "kept")
    if mount_point_stays:
        journal.mkdir()
    with pytest.raises(StorageCorrupt, match="there is no journal") as caught:
        start_and_stop(data_dir)
    assert str(journal) in caught.value.message
    assert caught.value.remedy
    shutil.rmtree(journal, ignore_errors=True)
    (tmp_path / "kept").rename(journal)
    start_and_stop(data_dir)


def test_what_was_left_of_a_first_start_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    start_and_stop(data_dir)
    for file in data_dir.glob("audit*"):
        file.unlink()
    shutil.rmtree(data_dir / "journal")
    start_and_stop(data_dir)
