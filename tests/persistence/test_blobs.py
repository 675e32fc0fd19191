"""Blobs as files: who may read them, what a crash leaves, what a broken disk says."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.errors import NotFound, StorageCorrupt, StorageUnavailable
from mcp_persistence import FileBlobs

ROUNDS = 200 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 4

WRITER = """
import asyncio, sys
from pathlib import Path
from mcp_persistence import FileBlobs

async def work():
    store = await FileBlobs.open(Path(sys.argv[1]))
    print("begun", flush=True)
    for number in range(1_000_000):
        data = f"{sys.argv[2]} {number} ".encode() * (number % 7 * 3000 + 1)
        print(await store.put(data), flush=True)

asyncio.run(work())
"""


def place(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / digest[2:4] / digest


def refuse(*_: Any, **__: Any) -> Any:
    raise OSError(5, "Input/output error")


def test_files_and_folders_are_their_owners_alone(tmp_path: Path) -> None:
    async def work() -> str:
        return await (await FileBlobs.open(tmp_path / "blobs")).put(b"mine")

    digest = asyncio.run(work())
    file = place(tmp_path / "blobs", digest)
    assert file.read_bytes() == b"mine"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for folder in (file.parent, file.parent.parent, tmp_path / "blobs", tmp_path / "blobs" / "new"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((tmp_path / "blobs" / "new").iterdir()) == []


def test_a_killed_writer_loses_nothing_that_it_was_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    told: list[str] = []
    for round_ in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(round_)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        told += [writer.stdout.readline().strip() for _ in range(5 + 17 * round_ % 60)]
        writer.send_signal(signal.SIGKILL)
        told += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.wait(30)
        writer.stdout.close()

    async def look() -> None:
        store = await FileBlobs.open(folder)
        for digest in told:
            assert sha256(await store.get(digest)).hexdigest() == digest

    asyncio.run(look())
    assert list((folder / "new").iterdir()) == [], "what was half written is thrown away"
    for file in folder.glob("??/??/*"):
        assert sha256(file.read_bytes()).hexdigest() == file.name, "nothing half written has a name"


@pytest.mark.parametrize("call", ["fsync", "write", "replace"])
def test_a_disk_that_refuses_keeps_nothing_and_says_so(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        store = await FileBlobs.open(tmp_path)
        await store.put(b"before")
        with monkeypatch.context() as patched:
            patched.setattr(Path if call == "replace" else os, call, refuse)
            with pytest.raises(StorageUnavailable, match="Input/output error"):
                await store.put(b"refused")
        with pytest.raises(NotFound):
            await store.get(sha256(b"refused").hexdigest())
        assert list((tmp_path / "new").iterdir()) == []
        assert await store.get(sha256(b"before").hexdigest()) == b"before"
        assert await store.put(b"refused") == sha256(b"refused").hexdigest()

    asyncio.run(work())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailable):
        asyncio.run(FileBlobs.open(tmp_path / "file"))


@pytest.mark.parametrize("make", [lambda file: file.symlink_to("/etc/hostname"), os.mkfifo])
def test_what_is_no_file_of_ours_is_never_read(make: Callable[[Path], None], tmp_path: Path) -> None:
    async def work() -> None:
        store = await FileBlobs.open(tmp_path)
        digest = await store.put(b"mine")
        place(tmp_path, digest).unlink()
        make(place(tmp_path, digest))
        with pytest.raises((StorageUnavailable, StorageCorrupt)):
            await store.get(digest)

    asyncio.run(work())


def test_put_syncs_the_file_before_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(file: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def renamed(old: Path, new: Path) -> Path:
        steps.append("rename")
        return replace(old, new)

    async def work() -> None:
        store = await FileBlobs.open(tmp_path)
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "replace", renamed)
        digest = await store.put(b"x")
        assert steps[-3:] == ["file", "rename", "folder"]
        assert steps[:-3] == ["folder", "folder"], "the names of both new folders"
        steps.clear()
        await store.put(b"x")
        assert steps == ["folder"], "written once; its name is synced in any case"
        await store.remove(digest)
        assert steps == ["folder", "folder"]

    asyncio.run(work())
