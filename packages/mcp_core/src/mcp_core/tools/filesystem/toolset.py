"""All tools of the server `fs`; a new one is named here."""

from mcp_core.tools.filesystem.changing import CreateDirectory, DeleteFile, MoveFile
from mcp_core.tools.filesystem.gate import FileGate
from mcp_core.tools.filesystem.reading import ListDirectory, ReadFile
from mcp_core.tools.filesystem.searching import SearchFiles
from mcp_core.tools.filesystem.writing import EditFile, WriteFile
from mcp_interface.tool import Tool


def filesystem_tools(gate: FileGate) -> list[Tool]:
    """All tools of the server `fs`."""
    return [
        ReadFile(gate),
        WriteFile(gate),
        EditFile(gate),
        ListDirectory(gate),
        SearchFiles(gate),
        MoveFile(gate),
        DeleteFile(gate),
        CreateDirectory(gate),
    ]
