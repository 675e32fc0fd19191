"""Runs a program in a cage, and without one, and says how it ended."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp_core.protocol.cage import start_caged
from mcp_interface.server import Cage, ServerSpec

PYTHON = "/usr/bin/python3"
"""The system's own: it is in every cage."""
SECONDS = 60.0


class Ended:
    """How a program ended."""

    def __init__(self, code: int, out: str, err: str, words: str = "") -> None:
        self.code, self.out, self.err, self.words = code, out, err, words


async def caged(
    cage: Cage, *words: str, said: bytes = b"", closed: Sequence[Path] = (), **fields: Any
) -> Ended:
    """Run a command in a cage to its end."""
    spec = ServerSpec(command=words[0], args=list(words[1:]), cage=cage, **fields)
    theirs, ours = os.pipe()
    with tempfile.TemporaryFile("w+") as errlog:
        try:
            made = await start_caged(spec, errlog, (theirs, ours), closed)  # type: ignore[arg-type]
            os.write(ours, said)
        finally:
            os.close(theirs)
            os.close(ours)
        assert made.process.stdout is not None
        try:
            async with asyncio.timeout(SECONDS):
                out = await made.process.stdout.read()
                code = await made.process.wait()
        finally:
            if made.process.returncode is None:
                made.process.kill()
            made.release()
        errlog.seek(0)
        return Ended(code, out.decode(), errlog.read(), made.words)


def run_caged(cage: Cage, *words: str, **options: Any) -> Ended:
    return asyncio.run(caged(cage, *words, **options))


def run_free(*words: str) -> Ended:
    """The same without a cage: the control."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    return Ended(done.returncode, done.stdout, done.stderr)
