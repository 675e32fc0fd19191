"""Tries to do harm, each thing by itself, and prints as JSON what happened: null for done, else the error.

Started with a JSON object of what to aim at; without the project, so that it runs in a cage and outside of it.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

AIM = json.loads(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)
ARM = os.uname().machine == "aarch64"


def call(number, *arguments):
    if LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_child(work):
    """Do it in a process of its own, which may end badly."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(writing, b"\0")
        except OSError as error:
            os.write(writing, bytes([error.errno or 255]))
        finally:
            os._exit(0)
    os.close(writing)
    said = os.read(reading, 1)
    os.waitpid(pid, 0)
    if not said or said[0]:
        raise OSError(said[0] if said else 255, "refused")


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(address)


def mount():
    if LIBC.unshare(0x10020000) or LIBC.mount(b"x", b"/mnt", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "refused")


def write_same(path):
    content = Path(path).read_text()
    Path(path).write_text(content)


def type_in(high):
    def work():
        os.setsid()
        _, terminal = os.openpty()
        fcntl.ioctl(terminal, 0x540E, 0)
        letter = ctypes.create_string_buffer(b"x")
        call(29 if ARM else 16, terminal, 0x5412 | high, ctypes.addressof(letter))

    in_child(work)


def trace():
    in_child(lambda: call(117 if ARM else 101, 0, 0, 0, 0))


def read_memory():
    ours = ctypes.create_string_buffer(b"secret")
    copy = ctypes.create_string_buffer(6)
    vectors = [
        ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(each), 6)) for each in (copy, ours)
    ]
    first, second = map(ctypes.addressof, vectors)
    call(270 if ARM else 310, os.getpid(), first, 1, second, 1, 0)


def dgram_pair():
    """An unconnected pair can be pointed at any abstract socket."""
    for each in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        each.close()


def uring():
    parameters = ctypes.create_string_buffer(256)
    call(425, 1, ctypes.addressof(parameters))


def clone():
    number, before = 220 if ARM else 56, os.getpid()
    call(number, 0x10000000 | 17, 0, 0, 0, 0)
    if os.getpid() != before:
        os._exit(0)


ATTACKS = {
    "read a file outside": lambda: Path(AIM["secret"]).read_text(),
    "read through a link": lambda: Path(AIM["link"]).read_text(),
    "read /etc/shadow": lambda: Path("/etc/shadow").read_bytes(),
    "list the home folder": lambda: os.listdir(AIM["home"]),
    "write outside": lambda: Path(AIM["secret"]).write_text("changed"),
    "write what is lent for reading": lambda: Path(AIM["read"], "new").write_text("x"),
    "write into the system": lambda: os.utime("/usr/bin"),
    "connect to loopback": lambda: connect(socket.AF_INET, ("127.0.0.1", AIM["port"])),
    "connect to a Unix socket": lambda: connect(socket.AF_UNIX, AIM["socket"]),
    "connect to a Unix socket that is lent": lambda: connect(socket.AF_UNIX, AIM["lent socket"]),
    "connect to an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + AIM["abstract"]),
    "make a loose pair of sockets": dgram_pair,
    "open a socket to the hypervisor": lambda: socket.socket(40, socket.SOCK_STREAM).close(),
    "open a packet socket": lambda: socket.socket(17, socket.SOCK_RAW).close(),
    "open a netlink socket": lambda: socket.socket(16, socket.SOCK_RAW).close(),
    "see another process": lambda: os.kill(AIM["parent"], 0),
    "read the parent's environment": lambda: Path(f"/proc/{AIM['parent']}/environ").read_bytes(),
    "reach the root of the parent": lambda: Path(
        f"/proc/{AIM['parent']}/root", AIM["secret"][1:]
    ).read_text(),
    "trace": trace,
    "read another's memory": read_memory,
    "mount": mount,
    "make a user namespace": lambda: in_child(lambda: call(97 if ARM else 272, 0x10000000)),
    "make a user namespace by clone": clone,
    "make a user namespace by clone3": lambda: call(435, 0, 0),
    "change a switch of the kernel": lambda: write_same("/proc/sys/kernel/core_pattern"),
    "read a keyring": lambda: call(219 if ARM else 250, 0, -3, 1),
    "type into a terminal": lambda: type_in(0),
    "type into a terminal, high bits": lambda: type_in(1 << 32),
    "make an io_uring": uring,
    "chroot": lambda: in_child(lambda: os.chroot("/usr")),
}


def outcome(attack):
    try:
        attack()
    except OSError as error:
        return error.errno or type(error).__name__
    return None


def found():
    """What can be seen without doing anything."""
    environments = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environments.append((entry / "environ").read_bytes())
            except OSError:
                continue
    devices = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    return {
        "environment": sorted(os.environ),
        "leaked": any(AIM["marker"].encode() in each for each in environments),
        "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
        "processes": sum(entry.name.isdigit() for entry in Path("/proc").iterdir()),
        "devices": devices,
        "uid": os.getuid(),
        "groups": os.getgroups(),
        "status": Path("/proc/self/status").read_text(),
    }


if __name__ == "__main__":
    seen = found()
    attacks = {name: outcome(attack) for name, attack in ATTACKS.items()}
    print(json.dumps({"attacks": attacks, "found": seen}))
