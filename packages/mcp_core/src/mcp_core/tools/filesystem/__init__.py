"""The built-in server `fs`: files and directories, read, searched and changed only through a gate."""

from mcp_core.tools.filesystem.changing import CreateDirectory, DeleteFile, MoveFile
from mcp_core.tools.filesystem.gate import EntryLike, FileGate
from mcp_core.tools.filesystem.looking import Sees
from mcp_core.tools.filesystem.reading import ListDirectory, ReadFile
from mcp_core.tools.filesystem.searching import SearchFiles
from mcp_core.tools.filesystem.toolset import filesystem_tools
from mcp_core.tools.filesystem.writing import EditFile, WriteFile

__all__ = [
    "CreateDirectory",
    "DeleteFile",
    "EditFile",
    "EntryLike",
    "FileGate",
    "ListDirectory",
    "MoveFile",
    "ReadFile",
    "SearchFiles",
    "Sees",
    "WriteFile",
    "filesystem_tools",
]
