"""Real programs for the tests of the gate to them, and how to see whether anything of them is left."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from mcp_security.validators.processes import Outcome
from mcp_security.validators.shell import ShellGate

with suppress(ImportError):
    import uvloop

    uvloop.new_event_loop().close()  # its first loop opens a pipe that stays

PYTHON = os.path.realpath(sys.executable)
DASH = os.path.realpath("/bin/sh")
ANY = "mcp://shell/execute/**"
GATE = ShellGate(grace_s=0.2)
_marks = count(int(time.time() * 1000) % 10_000_000)


def real(name: str) -> str:
    return os.path.realpath(f"/usr/bin/{name}")


async def start(program: str, *argv: str, **options: Any) -> Outcome:
    return await GATE.run(options.pop("covering", ANY), options.pop("limits", {}), program, argv, **options)


def run(program: str, *argv: str, **options: Any) -> Outcome:
    return asyncio.run(start(program, *argv, **options))


def sh(text: str, **options: Any) -> Outcome:
    """What a program might do, told to a shell: the program that runs here is the shell itself."""
    return run(DASH, "-c", text, **options)


def script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path.resolve())


def python(path: Path, text: str) -> str:
    return script(path, f"#!{PYTHON} -IS\n{text}")


def processes(mark: str) -> list[int]:
    """Every live process that has the mark among its arguments."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with suppress(OSError):
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
                if mark.encode() in words and state != "Z":
                    found.append(int(entry))
    return found


def children() -> set[str]:
    return {
        child
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    }


def eventually(holds: Callable[[], object]) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.01)
    return False


def stopped(enough: Callable[[Outcome], bool], program: str, *argv: str, **options: Any) -> Outcome:
    """Let the deadline pass, a later one where the machine was too busy for the program to get going."""
    for timeout_s in (0.3, 2.0, 20.0):
        outcome = run(program, *argv, timeout_s=timeout_s, **options)
        assert outcome.timed_out
        if enough(outcome):
            break
    return outcome


def new_mark() -> str:
    """Seconds to sleep that nobody else sleeps."""
    return f"9{next(_marks)}.{os.getpid()}"


@contextmanager
def nothing_left(folders: Path) -> Iterator[None]:
    """Check that no descriptor, child or private folder stays behind."""
    kept, tempfile.tempdir = tempfile.tempdir, str(folders)
    descriptors, before = set(os.listdir("/proc/self/fd")), children()
    try:
        yield
    finally:
        tempfile.tempdir = kept
    assert set(os.listdir("/proc/self/fd")) == descriptors
    assert children() <= before, "children, or zombies"
    assert not os.listdir(folders)
