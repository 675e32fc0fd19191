"""All tools of the server `fs`; a new one is named here."""

from mcp_core.tools.filesystem.changing import CreateDirectory, DeleteFile, MoveFile
from mcp_core.tools.filesystem.gate import FileGate
from mcp_core.tools.filesystem.looking import Sees
from mcp_core.tools.filesystem.reading import ListDirectory, ReadFile
from mcp_core.tools.filesystem.searching import SearchFiles
from mcp_core.tools.filesystem.writing import EditFile, WriteFile
from mcp_interface.tool import Tool


def filesystem_tools(gate: FileGate, sees: Sees | None = None) -> list[Tool]:
    """All tools of the server `fs`.

    Args:
        gate: The only way to a file.
        sees: Judges what a person may look at who is asked about a call; see `looking`.
    """
    return [
        ReadFile(gate),
        WriteFile(gate, sees),
        EditFile(gate, sees),
        ListDirectory(gate),
        SearchFiles(gate),
        MoveFile(gate, sees),
        DeleteFile(gate, sees),
        CreateDirectory(gate),
    ]
