"""Both journals with nothing beside them but `mcp-umbrella-persistence`.

Run by `wheels.py` in the environment of that wheel: a journal takes what it is given and has it when it is opened
again; a process that is killed at work loses nothing that it was told; a flipped bit is found, said where it
lies, and what was acknowledged is never given back changed.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mcp_interface.clock import SystemClock
from mcp_interface.errors import StorageCorrupt
from mcp_interface.testing.samples import a_message
from mcp_persistence import SegmentJournal, SqliteJournal

KINDS: dict[str, Any] = {"segments": SegmentJournal, "sqlite": SqliteJournal}
STREAM = "session:1"
EVENTS = 100
HEARD = 300
"""Acknowledgements after which the child is killed."""


async def opened(kind: str, path: Path) -> Any:
    return await KINDS[kind].open(path, SystemClock())


async def append_and_reopen(kind: str, path: Path) -> None:
    journal = await opened(kind, path)
    epoch = await journal.claim()
    for version in range(EVENTS):
        await journal.append(STREAM, [a_message(version)], expected=version, epoch=epoch)
    await journal.put("fact", {"is": "kept"})
    await journal.close()
    journal = await opened(kind, path)
    found = [record.event for record in await journal.read(STREAM)]
    assert found == [a_message(version) for version in range(EVENTS)], kind
    assert await journal.get("fact") == {"is": "kept"}, kind
    assert await journal.verify() == EVENTS, kind
    await journal.close()


async def append_for_ever(kind: str, path: Path) -> None:
    """The child: says each version once it was acknowledged."""
    journal = await opened(kind, path)
    epoch, version = await journal.claim(), 0
    while True:
        await journal.append(STREAM, [a_message(version)], expected=version, epoch=epoch)
        version += 1
        print(version, flush=True)


def killed_at_work(kind: str, path: Path) -> int:
    """Let a child work, kill -9 it; gives how many events it was told are durable."""
    command = [sys.executable, "-I", "-W", "error", __file__, kind, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(HEARD)]
        child.kill()
        heard += child.stdout.readlines()
    return sum(line.endswith("\n") for line in heard)


async def kill_and_look(kind: str, path: Path) -> None:
    told = await asyncio.to_thread(killed_at_work, kind, path)
    assert told >= HEARD, kind
    journal = await opened(kind, path)
    total = await journal.verify()
    assert told <= total <= told + 1, f"{kind}: {told} were acknowledged, {total} are there"
    epoch = await journal.claim()
    await journal.append(STREAM, [a_message(total)], expected=total, epoch=epoch)
    await journal.close()


async def flip_and_look(kind: str, path: Path) -> None:
    """The middle of the text of an acknowledged event."""
    file = next(path.glob("*.seg")) if path.is_dir() else path
    content = bytearray(file.read_bytes())
    content[content.index(b"message 50")] ^= 1
    file.write_bytes(content)
    try:
        journal = await opened(kind, path)
    except StorageCorrupt as error:
        assert error.remedy, kind
        return
    try:
        await journal.verify()
    except StorageCorrupt as error:
        assert error.remedy, kind
    else:
        raise AssertionError(f"{kind}: a flipped bit was not found")
    finally:
        await journal.close()


async def main(home: Path) -> None:
    for kind in KINDS:
        for deed in (append_and_reopen, kill_and_look, flip_and_look):
            await deed(kind, home / f"{kind}-{'killed' if deed is kill_and_look else 'closed'}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(append_for_ever(sys.argv[1], Path(sys.argv[2])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main(Path(folder)))
