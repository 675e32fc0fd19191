"""What a person types behind `!`, as a call of the tool `shell/run`: judged, recorded and bounded like any other.

That tool reads no shell lines; the person's own shell does, which is a program like others.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Final

from mcp_interface.errors import NotFound

LONGEST_S: Final = 600
"""Seconds that a command may take."""
PLAIN: Final = "/bin/sh"


def arguments(line: str, folder: Path, shell: str = "") -> dict[str, Any]:
    """Arguments of `shell/run` that let a shell read this line in a folder.

    Args:
        line: As it was typed, without the mark.
        folder: Where it runs.
        shell: Path of the shell; empty is the person's ($SHELL), and `/bin/sh` without one.

    Raises:
        NotFound: There is no such shell.
    """
    found = shutil.which(shell or os.environ.get("SHELL") or PLAIN) or shutil.which(PLAIN)
    if found is None:
        raise NotFound(f"there is no shell {shell or PLAIN!r}", "set SHELL to the path of yours")
    # The tool takes one program by one name, the real one; /bin/sh is nearly everywhere a link.
    return {
        "program": os.path.realpath(found),
        "arguments": ["-c", line],
        "cwd": os.path.realpath(folder),
        "timeout_s": LONGEST_S,
    }
