"""Locks, sockets and starts when several want the same data directory."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core import DataDir, Door, Settings, open_door
from mcp_core.daemon import SHOWN, last_lines, runtime_dir, start_detached
from mcp_core.door import lendable
from mcp_core.providers.lender import Lender
from mcp_core.providers.selection import choose
from mcp_interface.client import ClientInfo
from mcp_interface.commands import GetStatus, NodeStatus, StopNode
from mcp_interface.errors import LostRace, NodeUnavailable, StorageUnavailable

PASSERBY = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_MODEL": "small"}


async def _status(door: Door) -> NodeStatus:
    client = door.client()
    await client.connect(ClientInfo(name="test", token=door.owner_token))
    status = await client.request(GetStatus())
    await client.disconnect()
    return status


async def _stop(door: Door, place: DataDir) -> None:
    client = door.client()
    await client.connect(ClientInfo(name="test", token=door.owner_token))
    await client.request(StopNode())
    await client.disconnect()
    async with asyncio.timeout(20):
        while place.is_locked():
            await asyncio.sleep(0.02)


async def _until_one_lost(place: DataDir) -> None:
    async with asyncio.timeout(30):
        while not place.log.exists() or "already running" not in place.log.read_text():
            await asyncio.sleep(0.02)


def test_looking_whether_a_node_runs_never_keeps_one_from_starting(tmp_path: Path) -> None:
    place = DataDir(tmp_path)
    place.lock().close()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            place.is_locked()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(500):
            place.lock().close()
    finally:
        over.set()
        looking.join(10)


def test_a_lock_that_is_held_is_still_refused(tmp_path: Path) -> None:
    file = DataDir(tmp_path).lock()
    with pytest.raises(LostRace, match="already running"):
        DataDir(tmp_path).lock()
    file.close()


def test_a_start_waits_for_the_node_that_is_ending(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = DataDir(tmp_path)
        ending = place.lock()  # as a node does that has closed its socket already
        starting = asyncio.create_task(start_detached(place))
        await _until_one_lost(place)
        ending.close()
        await starting
        await _stop(await open_door(Settings(data_dir=tmp_path), start=False), place)

    asyncio.run(scenario())


def test_a_start_that_fails_says_why_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = DataDir(tmp_path)
        place.make()
        place.journal.write_text("this is no database" * 1000)
        async with asyncio.timeout(20):
            with pytest.raises(NodeUnavailable, match="journal"):
                await start_detached(place)

    asyncio.run(scenario())


def test_a_start_that_fails_shows_whole_lines_of_its_own_and_none_of_earlier_lives(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = DataDir(tmp_path)
        place.make()
        place.log.write_text("INFO an earlier life, epoch 1\n")
        place.journal.write_text("this is no database" * 1000)
        with pytest.raises(NodeUnavailable) as caught:
            await start_detached(place)
        said = caught.value.message.partition(" did not come up: ")[2]
        assert said
        assert "earlier life" not in said
        logged = place.log.read_text().splitlines()
        assert said.splitlines() == logged[-len(said.splitlines()) :]

    asyncio.run(scenario())


@given(lines=st.lists(st.text(alphabet="ab ", max_size=300)), limit=st.integers(0, SHOWN))
def test_the_end_of_a_text_is_whole_lines_and_within_its_limit(lines: list[str], limit: int) -> None:
    text = "\n".join(lines).strip()
    end = last_lines(text, limit)
    assert text.endswith(end)
    assert len(end) == len(text) or text[-len(end) - 1 :][:1] == "\n", "begins with a whole line"
    assert len(end) <= limit or "\n" not in end
    assert bool(end) == bool(text), "the last line is told in any case"


def test_everybody_who_starts_a_node_at_once_gets_the_same_one_and_lends_to_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        plain, lending = Settings(data_dir=tmp_path), Settings(data_dir=tmp_path, environ=PASSERBY)
        doors = await asyncio.gather(open_door(plain), open_door(lending))
        first, second = [await _status(door) for door in doors]
        assert first.pid == second.pid
        assert second.model.ready and second.model.model == "small"
        place = DataDir(tmp_path)
        await _stop(doors[0], place)
        await asyncio.sleep(1.0)  # longer than a start takes
        assert not place.is_locked(), "the start that lost came up after all"

    asyncio.run(scenario())


def test_the_key_of_one_terminal_never_goes_to_the_url_of_another() -> None:
    lender = Lender({})
    lender.lend(lendable(PASSERBY | {"ANTHROPIC_API_KEY": "theirs"}))
    lender.lend(lendable({"OPENAI_API_KEY": "ours", "PATH": "/bin"}))
    choice = choose(lender.variables, "openai:gpt")
    assert (choice.base_url, choice.api_key) == ("", "ours")
    assert lender.variables == {"OPENAI_API_KEY": "ours", "ANTHROPIC_API_KEY": "theirs"}
    assert lendable({"PATH": "/bin", "OPENAI_API_KEY": ""}) == {}


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_runtime_folder_that_others_could_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / f"umbrella-{os.getuid()}"
    match kind:
        case "open to others":
            folder.mkdir()
            folder.chmod(0o770)
        case "a link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            folder.symlink_to(tmp_path / "elsewhere")
        case _:
            folder.write_text("")
    long = DataDir(tmp_path / ("x" * 120))
    for use in (long.make, lambda: long.socket, runtime_dir):
        with pytest.raises(StorageUnavailable, match="only you can enter"):
            use()


def test_a_runtime_folder_of_our_own_is_made_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    long = DataDir(tmp_path / ("x" * 120))
    long.make()
    assert long.socket.parent == runtime_dir() and runtime_dir().stat().st_mode & 0o077 == 0


def test_settings_show_no_variable_of_the_environment(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, {"OPENAI_API_KEY": "sk-secret"})
    for shown in (repr(settings), str(settings), str(settings.__rich_repr__())):
        assert str(tmp_path) in shown and "sk-secret" not in shown
