"""Reads the options that order a cage for a server."""

import os
from collections.abc import Sequence
from pathlib import Path

from mcp_interface.errors import CallerMistaken
from mcp_interface.server import Cage


def cage_of(
    paths: Sequence[str],
    network: bool | None,
    memory: int | None,
    processes: int | None,
    cpu_time: int | None,
    file_size: int | None,
    wanted: bool,
) -> Cage | None:
    """The cage that some options order; None when none of them was given.

    Args:
        paths: Each with `:ro` or `:rw` behind it, or nothing, which means reading.
        network: None: not said.
        memory: In megabytes.
        processes: How many at most.
        cpu_time: In seconds.
        file_size: In megabytes.
        wanted: A cage even if nothing else is said.

    Raises:
        CallerMistaken: A path is empty.
    """
    limits = (memory, processes, cpu_time, file_size)
    if not wanted and not paths and network is None and all(limit is None for limit in limits):
        return None
    reading: list[str] = []
    writing: list[str] = []
    for text in paths:
        name, mark, right = text.rpartition(":")
        path = name if mark and right in ("ro", "rw") else text
        if not path:
            raise CallerMistaken("--allow-path has an empty path", "write PATH, PATH:ro or PATH:rw")
        (writing if mark and right == "rw" else reading).append(absolute(path))
    return Cage(
        read=reading,
        write=writing,
        network=bool(network),
        memory_mb=memory,
        processes=processes,
        cpu_s=cpu_time,
        file_mb=file_size,
    )


def absolute(path: str) -> str:
    """A path named from here, as the node can use it; links stay."""
    return os.path.normpath(Path(path).expanduser().absolute())


def near_files(words: Sequence[str]) -> list[str]:
    """The words with those made absolute that name a file or folder from here."""
    return [
        absolute(word) if not word.startswith(("/", "-")) and Path(word).exists() else word for word in words
    ]
