"""The system calls that a caged process is refused, as a program for the kernel; pure.

Namespaces alone leave doors open: tracing the cage's own first process hangs it for ever, the keyrings and
AF_VSOCK know no namespace, io_uring opens sockets past every filter, and a typed-in character (TIOCSTI) is a
command to whoever reads the terminal. What can be closed by number is closed here. Calls that this table does
not know yet, of kernels to come and of other instruction sets, do not exist for the process.

Source: seccomp(2); linux/filter.h (classic BPF); linux/audit.h; the two tables asm/unistd.
"""

import struct
from typing import Final

import msgspec

from mcp_interface.errors import ServerUnavailable


class _Machine(msgspec.Struct, frozen=True, kw_only=True):
    """How one instruction set numbers its system calls."""

    audit: int
    refused: tuple[int, ...]
    clone: int
    ioctl: int
    socket: int
    socketpair: int


# fmt: off
_LATE: Final = (
    425, 426, 427,  # io_uring_setup, _enter, _register
    428, 429, 430, 431, 432, 433, 442, 467,  # open_tree … fspick, mount_setattr, open_tree_attr
    438, 440, 443,  # pidfd_getfd, process_madvise, quotactl_fd
)
"""Those that have one number everywhere."""
_MACHINES: Final = {
    "x86_64": _Machine(
        audit=0xC000003E,
        refused=(
            101, 310, 311, 312,  # ptrace, process_vm_readv, process_vm_writev, kcmp
            248, 249, 250,  # add_key, request_key, keyctl
            298, 321, 323, 300,  # perf_event_open, bpf, userfaultfd, fanotify_init
            165, 166, 155, 161, 272, 308,  # mount, umount2, pivot_root, chroot, unshare, setns
            175, 313, 174, 176, 246, 320, 169,  # modules, kexec, reboot
            167, 168, 163, 179, 103, 153,  # swapon, swapoff, acct, quotactl, syslog, vhangup
            164, 227, 159, 305, 170, 171,  # the clock and the names of the host
            303, 304, 212, 154, 172, 173,  # file handles, lookup_dcookie, modify_ldt, iopl, ioperm
            180, 134, 139, 156, 256, 279,  # nfsservctl, uselib, sysfs, _sysctl, migrate_pages, move_pages
        ),
        clone=56, ioctl=16, socket=41, socketpair=53,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        refused=(
            117, 270, 271, 272, 217, 218, 219, 241, 280, 282, 262, 40, 39, 41, 51, 97, 268,
            105, 273, 106, 104, 294, 142, 224, 225, 89, 60, 116, 58, 170, 112, 171, 266, 161, 162,
            264, 265, 18, 42, 238, 239,
        ),
        clone=220, ioctl=29, socket=198, socketpair=199,
    ),
}
# fmt: on
_NEWEST: Final = 466
"""The last call of the tables that a process may use; the higher ones are not there."""
_CLONE3: Final = 435
"""Not there either: its flags lie in memory, where no filter sees them, and libraries take `clone` instead."""
_NAMESPACES: Final = 0x7E020000
"""The flags of clone(2) that make namespaces."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _SEQPACKET = 1, 5

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
"""Where the number, the instruction set and the low halves of the first arguments lie in `seccomp_data`."""

_Step = tuple[int, int, int, int]


def call_filter(machine: str, network: bool) -> bytes:
    """The filter as bubblewrap's `--seccomp` takes it.

    The process makes no Unix sockets but connected pairs, which can reach nobody else: a socket of the host may lie in
    any folder that is lent, also one that is lent for reading, and with the network of the host come its abstract ones.

    Args:
        machine: As `platform.machine()` names it.
        network: Whether it shares the network of the host.

    Raises:
        ServerUnavailable: The calls of this machine are not known.
    """
    known = _MACHINES.get(machine)
    if known is None:
        raise ServerUnavailable(
            f"there is no cage for the machine {machine!r}",
            f"run the server on {' or '.join(_MACHINES)}, or without a cage",
        )
    steps = [
        *_unless(_ARCHITECTURE, known.audit, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _NEWEST + 1),
        _refuse(_ENOSYS),
        *_on(_CLONE3, [_refuse(_ENOSYS)]),
        *[step for number in (*known.refused, *_LATE) for step in _on(number, [_refuse(_EPERM)])],
        *_on(known.clone, [(_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, _NAMESPACES), _refuse(_EPERM), _allow()]),
        *_on(known.ioctl, [(_LOAD, 0, 0, _SECOND), *_on(_TIOCSTI, [_refuse(_EPERM)]),
                           *_on(_TIOCLINUX, [_refuse(_EPERM)]), _allow()]),
        *_on(known.socket, _families(network)),
        *_on(known.socketpair, _pairs()),
        _allow(),
    ]  # fmt: skip
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _families(network: bool) -> list[_Step]:
    known = (_INET, _INET6, _NETLINK) if network else (_INET, _INET6)
    allowed = [step for family in known for step in _on(family, [_allow()])]
    return [(_LOAD, 0, 0, _FIRST), *allowed, _refuse(_EAFNOSUPPORT)]


def _pairs() -> list[_Step]:
    kinds = [(_LOAD, 0, 0, _SECOND), (_AND, 0, 0, 0xF)]
    kinds += [step for kind in (_STREAM, _SEQPACKET) for step in _on(kind, [_allow()])]
    return [(_LOAD, 0, 0, _FIRST), *_on(_UNIX, [*kinds, _refuse(_EPERM)]), _refuse(_EAFNOSUPPORT)]


def _unless(place: int, value: int, end: int) -> list[_Step]:
    return [(_LOAD, 0, 0, place), (_EQUAL, 1, 0, value), (_RETURN, 0, 0, end)]


def _on(value: int, then: list[_Step]) -> list[_Step]:
    """Do it if the loaded word is the value; it must end, or leave what was loaded."""
    return [(_EQUAL, 0, len(then), value), *then]


def _refuse(error: int) -> _Step:
    return (_RETURN, 0, 0, _ERRNO | error)


def _allow() -> _Step:
    return (_RETURN, 0, 0, _ALLOW)
