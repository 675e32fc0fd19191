"""The files of a data directory that say who runs on it: lock, socket, token; and the detached node.

Loads quickly: the command line reads this to find a running node.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import signal
import stat
import sys
import tempfile
import time
from io import TextIOWrapper
from pathlib import Path

from mcp_interface.clock import Entropy
from mcp_interface.errors import LostRace, NodeUnavailable, StorageCorrupt, StorageUnavailable

SOCKET_LIMIT = 100
"""Bytes; the kernel's limit for the path of a Unix socket is 107."""
START_TIMEOUT = 30.0
BUSY = os.EX_TEMPFAIL
"""Exit code of a node that found another one on its data directory."""
SHOWN = 600
"""Characters of its log that are shown of a start that failed; what is shown begins with a whole line."""
LOCK_ATTEMPTS = 20
LOCK_PAUSE = 0.01


class DataDir:
    """Names the files of one data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = root / "journal"
        self.old_journal = root / "journal.db"
        """Where the first versions kept it."""
        self.audit = root / "audit.jsonl"
        self.blobs = root / "blobs"
        """What resources hold, by its hash."""
        self.prompts = root / "prompts"
        """Prompts that are files; a person's folder, which the node only reads."""
        self.skills = root / "skills"
        """Skills that are folders; as well."""
        self.logs = root / "logs"
        self.log = self.logs / "node.log"
        self.token = root / "node.token"
        self.lock_file = root / "node.lock"

    @property
    def socket(self) -> Path:
        """The node's socket; a data directory with a long path keeps it in the runtime folder instead.

        Raises:
            StorageUnavailable: Somebody else could reach into the runtime folder.
        """
        near = self.root / "node.sock"
        if len(os.fsencode(near)) <= SOCKET_LIMIT:
            return near
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return runtime_dir() / f"{name}.sock"

    def make(self) -> None:
        """Create the folders, readable by their owner only.

        Raises:
            StorageUnavailable: They cannot be made, or are not ours alone.
        """
        try:
            fresh = [each for each in (self.root, *self.root.parents) if not each.exists()]
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in fresh:
                _sync_names(each.parent)  # what rests in a folder is as durable as the folder's name
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable(
                f"the data directory {self.root} cannot be made: {error}", "choose another with --data-dir"
            ) from error

    def lock(self) -> TextIOWrapper:
        """Take the directory for this process; closing the file gives it back.

        Raises:
            LostRace: Another node has it.
            StorageUnavailable: It cannot be made.
        """
        self.make()
        file = self.lock_file.open("a+", encoding="ascii")
        # Whoever only looks whether a node runs holds the lock for an instant, too.
        for _ in range(LOCK_ATTEMPTS):
            if _taken(file):
                break
            time.sleep(LOCK_PAUSE)
        else:
            file.close()
            raise LostRace(
                f"a node is already running on {self.root}",
                "attach to it, or stop it with: umbrella node stop",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file

    def is_locked(self) -> bool:
        """Whether a node runs here now."""
        try:
            with self.lock_file.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def make_token(self, entropy: Entropy) -> str:
        """A fresh secret that only the owner of the directory can read."""
        token = entropy.token(32).hex()
        with contextlib.suppress(FileNotFoundError):
            self.token.unlink()
        descriptor = os.open(self.token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token)
        return token

    def read_token(self) -> str:
        """The running node's token.

        Raises:
            NodeUnavailable: There is none.
        """
        try:
            return self.token.read_text()
        except OSError as error:
            raise NodeUnavailable(
                f"no node has run on {self.root}", "start one with: umbrella node start"
            ) from error


def check_journal_is_there(place: DataDir) -> None:
    """See that a journal which once was is not begun anew, in silence and empty.

    The audit is made behind the journal: where there is one, there was a journal.

    Raises:
        StorageCorrupt: It was taken away, or its disk is not mounted.
    """
    begun = place.old_journal.exists() or (place.journal.is_dir() and any(place.journal.iterdir()))
    if place.audit.exists() and not begun:
        raise StorageCorrupt(
            f"there is no journal in {place.journal}, but {place.audit} says that there was one",
            "mount its disk, or put the data directory back from a backup; to begin anew, take another one",
        )


def _sync_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(file: TextIOWrapper) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def runtime_dir() -> Path:
    """A short folder for sockets that only this user can enter; it need not be there yet.

    Raises:
        StorageUnavailable: It is there and somebody else could put a socket of his own into it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"umbrella-{os.getuid()}"
    try:
        found = folder.lstat()  # not stat: a link may lead anywhere tomorrow
    except FileNotFoundError:
        return folder
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StorageUnavailable(
            f"{folder} is not a folder that only you can enter",
            "remove it, or choose a data directory with a shorter path",
        )
    return folder


async def start_detached(place: DataDir) -> None:
    """Start a node in a process of its own that outlives this one, and wait until it answers.

    A node that is still ending is waited for.

    Raises:
        NodeUnavailable: It did not come up; the message has the end of what it logged.
    """
    began = logged(place)
    process, code = launch(place), None
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while not await answers(place):
                if code is None:
                    code = exit_code(process)
                if code == BUSY and not place.is_locked():
                    began = logged(place)
                    process, code = launch(place), None
                elif code not in (None, BUSY):
                    break
                await asyncio.sleep(0.05)
            else:
                if code is None and place.lock_file.read_text() != str(process):
                    # Another start was faster. Ours must not come up when that node is stopped.
                    abandon(process)
                return
    except TimeoutError:
        pass
    said = last_lines(place.log.read_bytes()[began:].decode(errors="replace"), SHOWN)
    raise NodeUnavailable(f"the node on {place.root} did not come up: {said}", f"see {place.log}")


def logged(place: DataDir) -> int:
    """Bytes in the log by now: what stands before belongs to earlier lives."""
    return place.log.stat().st_size if place.log.exists() else 0


def last_lines(text: str, limit: int) -> str:
    """As many whole lines from the end as fit into a number of characters; the last one in any case."""
    lines = text.strip().splitlines()
    while len(lines) > 1 and len("\n".join(lines)) > limit:
        del lines[0]
    return "\n".join(lines)


def launch(place: DataDir) -> int:
    """Begin a node in a session of its own; its output goes to the node's log. Answers its process id."""
    place.make()
    command = [sys.executable, "-m", "mcp_core", "--data-dir", str(place.root)]
    with place.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
        files = [
            (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
        ]
        # Not subprocess: its object insists on being waited for, and this child outlives us.
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=files, setsid=True)


def abandon(process: int) -> None:
    """End a child of ours, unless it has ended already."""
    if exit_code(process) is None:
        os.kill(process, signal.SIGTERM)


def exit_code(process: int) -> int | None:
    """How a child of ours ended; None while it runs."""
    try:
        found, status = os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return -1  # somebody else has waited for it
    return os.waitstatus_to_exitcode(status) if found else None


async def answers(place: DataDir) -> bool:
    """Whether a node accepts connections here."""
    try:
        _, writer = await asyncio.open_unix_connection(place.socket)
    except OSError:
        return False
    writer.close()
    return True
