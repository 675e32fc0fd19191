"""A file system that turns read-only under an open journal, as ext4 does after an error.

A remount by hand would be refused while a file is open for writing; so the kernel is asked to find an error. It
lets nobody undo that: the disk is unmounted under the journal, checked, and mounted anew in the same place. What
the running journal holds is the old mount, and it must not go over to another folder by itself, which somebody
else may have locked. How a journal comes back when the same files take writes again is shown over the simulated
disk and by calls that fail, in `test_simulated_disk.py` and `test_failing_calls.py`.
"""

import asyncio
import contextlib
import gc
import subprocess
from pathlib import Path

import pytest

import mcp_persistence
from mcp_interface.errors import StorageUnavailable
from mcp_interface.testing import ManualClock
from mcp_persistence.front import LAST_LOOK
from persistence.appending_child import an_event
from persistence.crash.checker import Told, examine
from persistence.crash.conftest import absent
from persistence.crash.disks import TIMEOUT, command, make_image
from persistence.engines import ENGINES, place

STREAM = "session:0"
KEY = "key/0"
EVENTS = 20


class Disk:
    """An ext4 that can be broken and mended while its files are open."""

    def __init__(self, folder: Path) -> None:
        self._image, self.point = folder / "disk.img", folder / "disk"
        self._loops: list[str] = []
        self.point.mkdir()
        make_image(self._image, 32)

    def mount(self, options: str = "errors=remount-ro") -> None:
        loop = command("losetup", "--find", "--show", self._image)
        self._loops.append(loop)
        command("mount", "-o", options, loop, self.point)

    def unmount(self) -> None:
        command("umount", self.point)
        command("losetup", "--detach", self._loops.pop())

    def turn_read_only(self) -> None:
        """Let the kernel find an error, upon which it takes no more writes."""
        name = Path(self._loops[-1]).name
        assert name.startswith("loop"), "never a disk of the machine"
        trigger = Path("/sys/fs/ext4") / name / "trigger_fs_error"
        if not trigger.exists():
            absent(f"this kernel cannot be asked for an error: there is no {trigger}")
        trigger.write_text("1")

    def mend(self) -> None:
        """Check the disk and mount it anew in its own place; who has files open keeps those of the old mount."""
        command("umount", "--lazy", self.point)
        # 1: it was mended
        checked = subprocess.run(["e2fsck", "-f", "-p", self._image], capture_output=True, timeout=TIMEOUT)
        assert checked.returncode in (0, 1), checked.stdout
        self.mount()

    def remove(self) -> None:
        gc.collect()  # a file that nobody holds any more would keep the old mount, and its device
        subprocess.run(["umount", "--lazy", self.point], capture_output=True, timeout=TIMEOUT)
        for loop in self._loops:
            subprocess.run(["losetup", "--detach", loop], capture_output=True, timeout=TIMEOUT)
        self._image.unlink()


@pytest.fixture
def disk(disks, tmp_path):
    made = Disk(tmp_path)
    try:
        yield made
    finally:
        made.remove()


async def fill(journal, told):
    epoch = await journal.claim()
    for version in range(1, EVENTS + 1):
        await journal.append(STREAM, [an_event(STREAM, version)], expected=version - 1, epoch=epoch)
        told.events[STREAM] = version
        await journal.put(KEY, version)
        told.keys[KEY] = version
    return epoch


async def refused(work):
    with pytest.raises(StorageUnavailable) as caught:
        await work
    assert caught.value.remedy
    return caught.value


async def see_all(journal, told):
    """Reading goes on, and so does checking."""
    records = await journal.read(STREAM)
    assert [record.event for record in records] == [
        an_event(STREAM, version) for version in range(1, told.events[STREAM] + 1)
    ]
    assert await journal.read_all() == records
    assert await journal.get(KEY) == told.keys[KEY]
    assert await journal.verify() == len(records)


@contextlib.asynccontextmanager
async def opened(kind, path, clock):
    journal = await getattr(mcp_persistence, ENGINES[kind]).open(path, clock, hot_bytes=0)
    try:
        yield journal
    finally:
        await journal.close()


def test_a_file_system_that_turns_read_only_stops_writing_only_and_once_mended_everything_is_there(
    kind, disk
):
    told = Told()

    async def body():
        clock = ManualClock()
        disk.mount()
        path = place(kind, disk.point)
        async with opened(kind, path, clock) as journal:
            epoch = await fill(journal, told)
            disk.turn_read_only()
            await refused(
                journal.append(STREAM, [an_event(STREAM, EVENTS + 1)], expected=EVENTS, epoch=epoch)
            )
            await refused(journal.put(KEY, 0))
            await see_all(journal, told)
            for _ in range(3):  # it looks again and again, and nothing has changed
                await turn(clock)
            report = await journal.report()
            assert report.state == "read_only"
            assert "read-only" in report.reason.lower(), report.reason
            assert report.head == EVENTS
            await see_all(journal, told)
            disk.mend()
            await turn(clock)
            assert (await journal.report()).state == "read_only"
            await see_all(journal, told)
        return path

    path = asyncio.run(body())
    assert asyncio.run(examine(kind, path, told)).problems == []


async def turn(clock):
    """Let the journal look at its disk once more, and see what it makes of it."""
    clock.advance(LAST_LOOK)
    for _ in range(20):
        await asyncio.sleep(0.005)


def test_opening_on_a_read_only_file_system_says_so_names_the_path_and_changes_nothing(kind, disk):
    told = Told()

    async def write():
        async with opened(kind, path, ManualClock()) as journal:
            await fill(journal, told)

    async def open_it():
        async with opened(kind, path, ManualClock()):
            raise AssertionError("it cannot write, and says nothing")

    disk.mount()
    path = place(kind, disk.point)
    asyncio.run(write())
    disk.unmount()
    disk.mount("ro")
    error = asyncio.run(refused(open_it()))
    assert "read-only" in error.message.lower(), error.message
    assert str(disk.point) in error.message, error.message
    disk.unmount()
    disk.mount()
    assert asyncio.run(examine(kind, path, told)).problems == []
