"""Finds files of a project by some letters of their path: what git knows of, else what is not hidden or heavy.

`score` and `best` are pure. `project_files` looks at the disk, bounded in files and time, and reads none of them.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from mcp_interface.clock import Clock

MOST_FILES: Final = 5_000
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of git's answer."""
LONGEST_S: Final = 2.0
HEAVY: Final = frozenset({"node_modules", "__pycache__", "target", "dist", "build", "venv", "site-packages"})
"""Folders that hold what was made, not written."""
_LS: Final = ("-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard")


def score(typed: str, text: str) -> tuple[int, int] | None:
    """How well letters fit a path or title; the smaller the better, None: not at all.

    Letters that begin its last part come before those in it, those anywhere, and letters that are only in order.
    Several words all have to fit.
    """
    worst, whole = 0, text.lower()
    name = whole.rpartition("/")[2]
    for word in typed.lower().split():
        if name.startswith(word):
            rank = 0
        elif word in name:
            rank = 1
        elif word in whole:
            rank = 2
        elif _in_order(word, name):
            rank = 3
        elif _in_order(word, whole):
            rank = 4
        else:
            return None
        worst = max(worst, rank)
    return worst, len(text)


def _in_order(letters: str, text: str) -> bool:
    place = -1
    for letter in letters:
        place = text.find(letter, place + 1)
        if place < 0:
            return False
    return True


def best(typed: str, texts: Iterable[str], most: int) -> list[str]:
    """Those that fit, best first; equally good ones stay in their order."""
    found = [(rank, text) for text in texts if (rank := score(typed, text)) is not None]
    found.sort(key=lambda entry: entry[0])
    return [text for _, text in found[:most]]


async def project_files(folder: Path, clock: Clock) -> Sequence[str]:
    """Paths of the files below a folder, seen from it, at most `MOST_FILES`; never raises for what the disk says."""
    known = await _known_to_git(folder)
    if known is not None:
        return known
    return await asyncio.to_thread(_walk, folder, clock, clock.monotonic() + LONGEST_S)


async def _known_to_git(folder: Path) -> Sequence[str] | None:
    """What git knows of there, without what it ignores; None where there is no git."""
    try:
        # The settings of a folder that came from elsewhere could name a program to run; not for a look at names.
        git = await asyncio.create_subprocess_exec(
            "git",
            *_LS,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except OSError:
        return None
    data = bytearray()
    try:
        async with asyncio.timeout(LONGEST_S):
            while git.stdout is not None and len(data) < MOST_BYTES:
                part = await git.stdout.read(65_536)
                if not part:
                    break
                data += part
            else:
                git.kill()  # a part of it is enough
            code = await git.wait()
    except TimeoutError:
        code = 1
    finally:
        if git.returncode is None:
            git.kill()
            await git.wait()
    if code > 0:
        return None
    names = bytes(data).decode("utf-8", "replace").split("\0")[:-1]
    return [name for name in names if name.isprintable() and '"' not in name][:MOST_FILES]


def _walk(folder: Path, clock: Clock, end: float) -> Sequence[str]:
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in HEAVY)
        above = os.path.relpath(place, folder)
        for name in sorted(files):
            path = name if above == "." else f"{above}/{name}"
            if not name.startswith(".") and path.isprintable() and '"' not in path:
                found.append(path)
        if len(found) >= MOST_FILES or clock.monotonic() > end:
            break
    return found[:MOST_FILES]
