"""Ctrl-G: writes the input in the person's own editor."""

import asyncio
import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from textual.app import App, SuspendNotSupported

from mcp_interface.errors import CallerMistaken, WorldBroken

USUAL: Final = ("sensible-editor", "nano", "vi")
"""Tried when nothing is set."""
LARGEST: Final = 4 * 1024 * 1024


def editor_words(environ: dict[str, str]) -> list[str]:
    """The command of the person's editor.

    Raises:
        CallerMistaken: None is set, or it cannot be found.
    """
    named = environ.get("VISUAL") or environ.get("EDITOR") or ""
    try:
        words = shlex.split(named)
    except ValueError as error:
        raise CallerMistaken(f"EDITOR is {named!r}, which cannot be read", "close its quote") from error
    if not words:
        words = [name for name in USUAL if shutil.which(name)][:1]
    if not words or shutil.which(words[0]) is None:
        missing = f"there is no editor {words[0]!r}" if words else "no editor is set"
        raise CallerMistaken(missing, "set EDITOR, for example to nano")
    return words


async def edited(app: App[Any], text: str) -> str:
    """Let a person change a text in their editor; the agents and the connection go on meanwhile.

    Raises:
        CallerMistaken: There is no editor, or this is no terminal that can be handed over.
        WorldBroken: The editor failed, or what it wrote cannot be read; the text stays as it was.
    """
    words = editor_words(dict(os.environ))
    descriptor, name = tempfile.mkstemp(prefix="umbrella-", suffix=".md")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        try:
            # Nothing is drawn while the terminal is the editor's, though everything else goes on.
            with app.batch_update(), app.suspend():
                process = await asyncio.create_subprocess_exec(*words, str(path))
                code = await process.wait()
        except SuspendNotSupported as error:
            raise CallerMistaken("this terminal cannot be handed to an editor", "type here") from error
        except OSError as error:
            raise WorldBroken(f"{words[0]} cannot be started: {error.strerror}", "set EDITOR") from error
        app.refresh(layout=True)
        if code != 0:
            raise WorldBroken(f"{words[0]} ended with {code}; nothing was taken over", "try again")
        return _read(path)
    finally:
        path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorldBroken(f"what was written cannot be read: {error.strerror}", "try again") from error
    if len(data) > LARGEST:
        raise WorldBroken(f"what was written has {len(data):,} bytes", f"at most {LARGEST:,} can be sent")
    return data.decode("utf-8", "replace").removesuffix("\n")
