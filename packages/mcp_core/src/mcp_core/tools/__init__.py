"""Tools of our own, which act only through the validators of the right that allowed them."""

from mcp_core.tools.filesystem import FileGate, ListDirectory, ReadFile, WriteFile, filesystem_tools

__all__ = ["FileGate", "ListDirectory", "ReadFile", "WriteFile", "filesystem_tools"]
