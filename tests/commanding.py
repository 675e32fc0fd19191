"""`umbrella` commands as a person gives them: each in a process of its own, attached to a node that runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 60.0


def program(folder: Path) -> list[str]:
    """How `umbrella` is started at a data directory."""
    return [sys.executable, "-c", "from mcp_cli.main import main; main()", "--data-dir", str(folder)]


def umbrella(folder: Path, *words: str, code: int = 0) -> Any:
    """What a command answers, as JSON; what it complains about, where it is to fail.

    Args:
        folder: The data directory.
        words: The command.
        code: With which it has to end.
    """
    done = subprocess.run(
        [*program(folder), "--format", "json", *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout or done.stderr)
