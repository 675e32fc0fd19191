"""Runs one command in a process of its own and leaves nothing of it behind. Standard library only.

It stands between the node and the program: `python -I -S launcher.py CONTROL PROGRAM FOLDER GRACE FILES BYTES
PATH [ARGUMENT …]`, the first three being descriptors. What the node cannot do for itself is done here, in a
process with one thread: limits are set before the program begins, and every orphan of the program, whatever
session it fled to, becomes a child of this process and is killed in the end.

The node holds the other end of CONTROL. When the node closes it, or dies, the program is asked to end (SIGTERM)
and after GRACE milliseconds killed; a byte `k` before that means at once. The answer is one line:
`exit N`, `signal N`, or `error ERRNO` when the program could not begin.
"""

import ctypes
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
STUBBORN_S = 5.0
"""Seconds in which what was killed has to be gone."""
_TURN_MS = 5


def main(arguments: list[str]) -> None:
    """Run the command that the arguments describe; see above."""
    control, program, folder, grace, files, size = map(int, arguments[:6])
    for descriptor in (control, program, folder):
        os.set_inheritable(descriptor, False)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the control ends it
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGCHLD, lambda *_: None)
    launcher = os.getpid()
    leader = os.fork()
    if leader == 0:
        _become(control, program, folder, (files, size), launcher, arguments[6:])
    status = _wait(leader, control, woken, grace / 1000)
    told = f"signal {-status}" if status < 0 else f"exit {status}"
    if not _clear(woken):
        told = "left"
    try:
        os.write(control, told.encode() + b"\n")
    finally:  # also when nobody is there to hear it
        os._exit(0)


def _become(
    control: int, program: int, folder: int, limits: tuple[int, int], launcher: int, argv: list[str]
) -> None:
    """Turn the child into the program; never returns."""
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        if os.getppid() != launcher:
            os._exit(127)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for kind, wanted in ((resource.RLIMIT_NOFILE, limits[0]), (resource.RLIMIT_FSIZE, limits[1])):
            hard = resource.getrlimit(kind)[1]
            bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (bound, bound))
        environment = _environment()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        try:
            os.execve(program, argv, environment)  # noqa: S606 - that is the point
        except FileNotFoundError:
            # A script: its interpreter opens the descriptor by name, so it has to live on.
            os.set_inheritable(program, True)
            os.execve(program, argv, environment)  # noqa: S606
    except OSError as error:
        os.write(control, f"error {error.errno}\n".encode())
    finally:
        os._exit(127)


def _environment() -> dict[bytes, bytes]:
    """What this process was given; Python itself may have added to its own copy (LC_CTYPE)."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123
        pairs = (pair.partition(b"=") for pair in file.read().split(b"\0") if pair)
        return {name: value for name, _, value in pairs}


def _wait(leader: int, control: int, woken: int, grace: float) -> int:
    """Return the program's exit code, negative for a signal, once it has ended by itself or been made to."""
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(control, select.POLLIN)
    kill_at: float | None = None
    while True:
        status = _reap(leader)
        if status is not None:
            return os.waitstatus_to_exitcode(status)
        left = None if kill_at is None else kill_at - time.monotonic()
        if left is not None and left <= 0:
            _signal_all(signal.SIGKILL)
            left = _TURN_MS / 1000
        ready = dict(poll.poll(None if left is None else left * 1000 + 1))
        if woken in ready:
            _drain(woken)
        if control in ready:
            poll.unregister(control)
            at_once = os.read(control, 1) == b"k"
            kill_at = time.monotonic() + (0 if at_once else grace)
            if not at_once:
                _signal_all(signal.SIGTERM)


def _clear(woken: int) -> bool:
    """Kill whatever the program left behind; tell whether all of it is gone."""
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    end = time.monotonic() + STUBBORN_S
    while time.monotonic() < end:
        _signal_all(signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        if poll.poll(_TURN_MS):
            _drain(woken)
    return False


def _reap(leader: int) -> int | None:
    """Bury every child that has ended; return the leader's status when it is among them."""
    found = None
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if child == 0:
            return found
        if child == leader:
            found = status


def _signal_all(number: int) -> None:
    for process in _descendants():
        try:  # noqa: SIM105 - each import makes every command start later
            os.kill(process, number)
        except (ProcessLookupError, PermissionError):
            pass


def _descendants() -> list[int]:
    """Everything that descends from this process, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and (parent := _parent(name)) is not None:
            children.setdefault(parent, []).append(int(name))
    found = list(children.get(os.getpid(), ()))
    for process in found:
        found += children.get(process, ())
    return found


def _parent(process: str) -> int | None:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123
            # the name before may hold spaces and brackets
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _drain(pipe: int) -> None:
    try:
        while os.read(pipe, 4096):
            pass
    except BlockingIOError:
        pass


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    main(sys.argv[1:])
