"""A disk in memory that loses what a real one may lose. Implements `mcp_persistence.segment.Disk`.

Each file has what is durable and, in order, what was written since the last sync. A power cut keeps, drops,
reorders or tears that by a seed: writes at sectors of 512 bytes, and changes of names that no folder sync
covers. A failed sync behaves as Linux does: some of the writes are lost, all of them count as clean, and the
process goes on reading them from its cache. Names and sizes are kept by the journal of the file system,
which does not forget a change because one sync of it failed.
"""

import errno
import os
import random
from pathlib import Path

SECTOR = 512
SHORT = "short"
"""A write that takes only a part."""


class PowerCut(BaseException):
    """The machine stops in the middle of a call."""


class _Inode:
    def __init__(self):
        self.content = bytearray()
        self.durable = bytearray()
        self.pending = []

    def write(self, offset, data):
        _put(self.content, offset, data)
        self.pending.append((offset, data))

    def truncate(self, size):
        _cut(self.content, size)
        self.pending.append((size, None))

    def sync(self):
        for change in self.pending:
            _apply(self.durable, *change)
        self.pending.clear()

    def fail_sync(self, chance):
        for offset, data in self.pending:
            if data is None or chance.random() < 0.3:
                _apply(self.durable, offset, data)
        self.pending.clear()

    def crash(self, chance):
        changes = [piece for change in self.pending for piece in _sectors(*change)]
        match chance.choice(("drop", "keep", "prefix", "some", "few", "reorder")):
            case "drop":
                changes = []
            case "prefix":
                changes = changes[: chance.randrange(len(changes) + 1)]
            case "some":
                changes = [each for each in changes if chance.random() < 0.5]
            case "few":
                changes = [each for each in changes if chance.random() < 0.1]
            case "reorder":
                chance.shuffle(changes)
                changes = changes[: chance.randrange(len(changes) + 1)]
        for change in changes:
            _apply(self.durable, *change)
        self.content = bytearray(self.durable)
        self.pending.clear()


class _Folder:
    def __init__(self):
        self.names = {}
        self.durable = {}
        self.pending = []

    def change(self, removed, name=None, inode=None):
        change = (removed, name, inode)
        _rename(self.names, change)
        self.pending.append(change)

    def sync(self):
        for change in self.pending:
            _rename(self.durable, change)
        self.pending.clear()

    def crash(self, chance):
        match chance.choice(("drop", "keep", "prefix", "some")):
            case "drop":
                self.pending.clear()
            case "prefix":
                del self.pending[chance.randrange(len(self.pending) + 1) :]
            case "some":
                self.pending = [each for each in self.pending if chance.random() < 0.5]
        self.sync()
        self.names = dict(self.durable)


class SimulatedFile:
    def __init__(self, disk, inode):
        self._disk = disk
        self._inode = inode
        self._life = disk.life

    def pread(self, length, offset):
        self._check()
        return bytes(self._inode.content[offset : offset + length])

    def pwritev(self, buffers, offset):
        self._check()
        data = b"".join(buffers)
        fault = self._disk.step()
        if fault is not None:
            part = self._disk.chance.randrange(len(data)) if data else 0
            if fault != errno.ENOSPC and part:
                self._inode.write(offset, data[:part])
            if fault == SHORT and part:
                return part
            self._disk.raise_fault(errno.ENOSPC if fault == SHORT else fault)
        self._inode.write(offset, data)
        return len(data)

    def fdatasync(self):
        self._sync()

    def fsync(self):
        self._sync()

    def start_writing(self, offset, length):
        self._check()

    def ftruncate(self, size):
        self._check()
        self._disk.check_fault()
        self._inode.truncate(size)

    def size(self):
        self._check()
        return len(self._inode.content)

    def _sync(self):
        self._check()
        fault = self._disk.step()
        if fault is not None and fault != SHORT:
            if fault is not PowerCut:
                self._inode.fail_sync(self._disk.chance)
            self._disk.raise_fault(fault)
        if not self._disk.lies:
            self._inode.sync()

    def _check(self):
        assert self._life == self._disk.life, "this descriptor died with its process"


class SimulatedDisk:
    """Start it anew with `crash` (the machine stops) or `restart` (only the process does).

    Args:
        lies: Syncs do nothing, as with a cache that is never written out.
    """

    def __init__(self, *, seed=0, lies=False):
        self.chance = random.Random(seed)
        self.lies = lies
        self.life = 0
        self.calls = 0
        self.fault = None
        self._folders = {}

    def fail(self, after, fault):
        """Let one call fail: an errno, SHORT, or PowerCut; `after` calls that change or sync something."""
        self.fault = (self.calls + after, fault)

    def restart(self):
        self.life += 1
        self.fault = None

    def crash(self, seed):
        self.restart()
        chance = random.Random(seed)
        for folder in self._folders.values():
            inodes = {id(each): each for each in (*folder.names.values(), *folder.durable.values())}
            inodes |= {id(each): each for _, _, each in folder.pending if each is not None}
            folder.crash(chance)
            for inode in inodes.values():
                inode.crash(chance)

    def step(self):
        self.calls += 1
        if self.fault is not None and self.calls > self.fault[0]:
            fault, self.fault = self.fault[1], None
            return fault
        return None

    def raise_fault(self, fault):
        if fault is PowerCut:
            raise PowerCut
        raise OSError(fault, os.strerror(fault))

    def check_fault(self):
        fault = self.step()
        if fault is not None and fault != SHORT:
            self.raise_fault(fault)

    def make_folder(self, folder):
        self._folders.setdefault(folder, _Folder())

    def names(self, folder):
        return list(self._folders[folder].names) if folder in self._folders else []

    def open(self, path, *, write):
        return SimulatedFile(self, self.inode(path))

    def create(self, path):
        self.check_fault()
        folder = self._folders[path.parent]
        if path.name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        inode = _Inode()
        folder.change(None, path.name, inode)
        return SimulatedFile(self, inode)

    def rename(self, old, new):
        self.check_fault()
        self._folders[old.parent].change(old.name, new.name, self.inode(old))

    def unlink(self, path):
        self.check_fault()
        self.inode(path)
        self._folders[path.parent].change(path.name)

    def sync_folder(self, folder):
        self.check_fault()
        if not self.lies:
            self._folders[folder].sync()

    def inode(self, path: Path):
        """For tests that damage a file: its `content` is what a process reads."""
        try:
            return self._folders[path.parent].names[path.name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None

    def content(self, folder):
        """Every file of a folder as a process reads it."""
        return {name: bytes(inode.content) for name, inode in self._folders[folder].names.items()}


def _rename(names, change):
    removed, name, inode = change
    if removed is not None:
        names.pop(removed, None)
    if name is not None:
        names[name] = inode


def _apply(target, offset, data):
    if data is None:
        _cut(target, offset)
    else:
        _put(target, offset, data)


def _put(target, offset, data):
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _cut(target, size):
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))


def _sectors(offset, data):
    if data is None:
        return [(offset, data)]
    pieces = []
    at = 0
    while at < len(data):
        end = min(len(data), at + SECTOR - (offset + at) % SECTOR)
        pieces.append((offset + at, data[at:end]))
        at = end
    return pieces
