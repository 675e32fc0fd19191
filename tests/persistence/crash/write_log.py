"""Every state that a power cut can leave behind: a disk that logs what reaches it, and a replay up to any point.

    file system -> loop device -> FUSE file -> qemu-storage-daemon (blklogwrites) -> image and log

`recorded` runs a file system on such a disk. `Replay` then makes the disk as it could have been at any moment:
all that was logged up to the last flush is on it, and of what came later only a random part, in no order, with
single writes torn between two sectors. A disk promises no more than that.

Source: the log's format is that of device-mapper's log-writes target, Documentation/admin-guide/device-mapper/
log-writes.rst in the Linux kernel; only this user-space writer needs no kernel module.
"""

import contextlib
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from persistence.crash.disks import command, make_image, mounted

MEGABYTES = 32
FLUSH, FUA, DISCARD = 1, 2, 4
SECTOR = 512
HEAD = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
ENTRIES_AT = 16
SUPERBLOCK = 4096
"""So far from the beginning ext4 keeps its summary, with a checksum that spans two sectors. A disk that tears it
makes ext4 refuse the whole disk; that is its weakness and no journal's."""
PATIENCE = 20.0


@dataclass(frozen=True)
class Write:
    """One entry of the log."""

    at: int
    """Byte on the disk."""
    size: int
    flags: int
    logged_at: int
    """Byte in the log where its content is."""

    @property
    def changes(self) -> bool:
        return self.size > 0 and not self.flags & DISCARD


class Recording:
    """A disk under a folder of its own: as it was before, and all that was written to it."""

    def __init__(self, folder: Path) -> None:
        self.before = folder / "before.img"
        self.log = folder / "writes.log"
        self.folder = folder

    def count(self) -> int:
        """How many entries the log has for certain: it says so itself after each flush."""
        with self.log.open("rb") as file:
            file.seek(ENTRIES_AT)
            return int.from_bytes(file.read(8), "little")

    def writes(self) -> list[Write]:
        """All entries, in order."""
        writes = []
        with self.log.open("rb") as log:
            _, _, count, sector = HEAD.unpack(log.read(HEAD.size))
            place = sector
            for _ in range(count):
                log.seek(place)
                first, sectors, flags, _ = ENTRY.unpack(log.read(ENTRY.size))
                writes.append(Write(first * SECTOR, sectors * SECTOR, flags, place + sector))
                place += sector + (0 if flags & DISCARD else sectors * SECTOR)
        return writes


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[tuple[Recording, Path]]:
    """Mount a fresh ext4 whose disk logs all writes; gives the recording and the mounted folder."""
    folder.mkdir()
    recording = Recording(folder)
    disk, shown = folder / "disk.img", folder / "shown.img"
    make_image(recording.before, MEGABYTES)
    shutil.copyfile(recording.before, disk)
    recording.log.touch()
    os.truncate(recording.log, 4 << 30)  # sparse; the writer does not let it grow
    shown.touch()
    daemon = subprocess.Popen(
        [
            "qemu-storage-daemon",
            *("--blockdev", f"driver=file,node-name=disk,filename={disk}"),
            *("--blockdev", f"driver=file,node-name=log,filename={recording.log}"),
            *(
                "--blockdev",
                f"driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size={SECTOR}",
            ),
            *("--export", f"type=fuse,id=shown,node-name=logged,mountpoint={shown},writable=on"),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        _wait_until_shown(shown, daemon)
        with mounted(shown, folder / "mounted") as point:
            yield recording, point
    finally:
        _end(daemon, shown)


def _wait_until_shown(shown: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while shown.stat().st_size != MEGABYTES << 20:
        if daemon.poll() is not None:
            raise AssertionError(f"qemu-storage-daemon: {daemon.stderr.read().decode().strip()}")
        assert time.monotonic() < deadline, "qemu-storage-daemon shows no disk"
        time.sleep(0.01)


def _end(daemon: subprocess.Popen[bytes], shown: Path) -> None:
    """The daemon writes its log out and takes its file away; if it cannot, both go the hard way."""
    daemon.terminate()
    try:
        daemon.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait(PATIENCE)
    finally:
        daemon.stderr.close()
        if os.path.ismount(shown):
            subprocess.run(["umount", "--lazy", shown], capture_output=True, timeout=PATIENCE)


class Replay:
    """Makes disks as they could have been; crash points must be visited in rising order."""

    def __init__(self, recording: Recording) -> None:
        self._writes = recording.writes()
        self._log = recording.log.open("rb")
        self._durable = recording.folder / "durable.img"
        self._folder = recording.folder
        self._crashed = recording.folder / "crashed.img"
        shutil.copyfile(recording.before, self._durable)
        self._applied = 0

    def __enter__(self) -> "Replay":
        return self

    def __exit__(self, *error: object) -> None:
        self._log.close()
        self._durable.unlink()
        self._crashed.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._writes)

    def disk_at(self, point: int, chance: random.Random) -> tuple[Path, int]:
        """Make the disk after a crash before write number `point`.

        Returns:
            The image, and how many entries of the log are on it for certain.
        """
        flushed = point
        while flushed > 0 and not self._writes[flushed - 1].flags & FLUSH:
            flushed -= 1
        with self._durable.open("r+b") as disk:
            for write in self._writes[self._applied : flushed]:
                self._apply(disk, write)
        self._applied = max(self._applied, flushed)
        # Another file each time: a loop device that still holds the last one would be taken again, with its old content.
        self._crashed.unlink(missing_ok=True)
        self._crashed = self._folder / f"crashed-{point}.img"
        command("cp", "--sparse=always", self._durable, self._crashed)
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        with self._crashed.open("r+b") as disk:
            for write in self._writes[flushed:point]:
                if write.flags & FUA or chance.random() < share:
                    self._apply(disk, write)
                elif chance.random() < 0.2 and write.at >= SUPERBLOCK:
                    self._apply(disk, _torn(write, chance))
        return self._crashed, flushed

    def _apply(self, disk, write: Write) -> None:
        if write.changes:
            self._log.seek(write.logged_at)
            disk.seek(write.at)
            disk.write(self._log.read(write.size))


def _torn(write: Write, chance: random.Random) -> Write:
    """Keep the sectors of a write before some border, or those behind it."""
    border = chance.randrange(write.size // SECTOR + 1) * SECTOR
    if chance.random() < 0.5:
        return Write(write.at, border, write.flags, write.logged_at)
    return Write(write.at + border, write.size - border, write.flags, write.logged_at + border)
