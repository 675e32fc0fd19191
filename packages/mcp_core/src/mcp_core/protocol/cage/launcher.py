"""Run as root in a process of its own: lends the allowed paths to an unprivileged user and becomes bubblewrap as that user.

Under root itself bubblewrap would hold little: whoever is root outside keeps the owner's hand on every file of
root, the kernel's switches below /proc included. So it is started as a user who owns nothing. That user sees
each allowed path through an id-mapped mount, in which root's files are this user's; nothing on the disk changes.

It is started by its path with `-I -S`, so it imports nothing but the standard library. Standard input is the
server's; the order comes as JSON through a descriptor, whose number is the only argument.

Source: mount_setattr(2), "ID-mapped mounts"; open_tree(2) and move_mount(2) of Linux 5.12.
"""

import ctypes
import json
import os
import signal
import stat
import struct
import sys
from typing import Final

STAGE: Final = "/tmp"  # noqa: S108 (hidden by a file system of this process's own)
"""Where the lent paths lie, each under its number, for this process and its children only."""
FAILED: Final = 125

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV = 0x4000, 1 << 18, 2, 4
_AT_EMPTY_PATH, _AT_RECURSIVE, _AT_FDCWD = 0x1000, 0x8000, -100
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _MOUNT_ATTR_IDMAP = 1, 4, 0x00100000
_ALL: Final = 4294967295

_libc = ctypes.CDLL(None, use_errno=True)


def main(descriptor: int) -> None:
    """Stage the paths, drop everything, become bubblewrap."""
    with os.fdopen(descriptor, "rb") as file:
        order = json.load(file)
    user = int(order["user"])
    _must(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE)
    mapped = _mapping(user)
    trees = [_lent(path, mapped) for path in order["paths"]]
    _mount(b"stage", STAGE.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755,size=1m")
    for number, tree in enumerate(trees):
        _place(tree, f"{STAGE}/{number}")
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and that would be inherited
    os.execve(order["program"], order["arguments"], {})  # noqa: S606 (a shell is what is to be avoided)


def _lent(path: str, mapped: int) -> int:
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    tree = _must(_libc.syscall(_OPEN_TREE, _AT_FDCWD, path.encode(), flags), path)
    wanted = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, mapped)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    _must(_libc.syscall(_MOUNT_SETATTR, tree, b"", flags, wanted, len(wanted)), f"lending {path}")
    return tree


def _place(tree: int, target: str) -> None:
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.mkdir(target)  # noqa: PTH102
    else:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444))
    _must(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH), target)


def _mapping(user: int) -> int:
    """A user namespace in which root's files are the user's and everybody else's stay theirs."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"." if _libc.unshare(_CLONE_NEWUSER) == 0 else b"!")
        os.read(go[0], 1)
        os._exit(0)
    try:
        if os.read(ready[0], 1) != b".":
            raise OSError("the system makes no user namespaces")
        lines = f"0 {user} 1\n1 1 {user - 1}\n{user + 1} {user + 1} {_ALL - user - 1}\n"
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w") as file:  # noqa: PTH123
                file.write(lines)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (*ready, *go):
            os.close(end)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    _must(_libc.mount(source, target, kind, flags, data), target.decode())


def _must(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (OSError, ValueError, KeyError) as error:
        print(f"the cage cannot be prepared: {error}", file=sys.stderr)
        os._exit(FAILED)
