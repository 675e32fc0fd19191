"""Tools that only look: the text of a file, the names in a directory."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from mcp_core.tools.filesystem.content import (
    MAX_READ,
    decode,
    entry_line,
    is_binary,
    read_up_to,
    require_within,
)
from mcp_core.tools.filesystem.tool import FilesystemTool, PathArgs, in_thread
from mcp_interface.tool import ToolContext, ToolResult, text_result

MAX_ENTRIES: Final = 1_000


class ReadArgs(PathArgs, frozen=True, forbid_unknown_fields=True):
    """Arguments of `read_file`."""

    max_bytes: Annotated[
        int, Meta(ge=1, le=MAX_READ, description="Read at most so many bytes from the beginning.")
    ] = MAX_READ


class ListArgs(PathArgs, frozen=True, forbid_unknown_fields=True):
    """Arguments of `list_directory`."""

    limit: Annotated[int, Meta(ge=1, le=MAX_ENTRIES, description="Return at most so many names.")] = 200


class ReadFile(FilesystemTool[ReadArgs]):
    """Reads text; says so when it is not text."""

    _name = "read_file"
    _title = "Read file"
    _description = "Read a text file. A binary file is only described."
    _args = ReadArgs
    _operations = ("read",)

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Return the text, cut at `max_bytes`; bytes that are not UTF-8 become U+FFFD.

        Raises:
            UmbrellaError: As the gate, a limit of the right was exceeded, or the disk failed.
        """
        given = self._read(args)
        covering, limits = self._allow(context)
        data, size = await in_thread(lambda: self._load(covering, limits, given), given.path)
        facts: dict[str, Any] = {"path": given.path, "size": size, "truncated": size > len(data)}
        if is_binary(data):
            told = text_result(f"{given.path} is a binary file of {size} bytes; it is not shown")
            return msgspec.structs.replace(told, structured={**facts, "binary": True})
        text, damaged = decode(data, whole=size <= len(data))
        if facts["truncated"]:
            text += f"\n[cut after {len(data)} of {size} bytes]"
        return msgspec.structs.replace(
            text_result(text), structured={**facts, "binary": False, "undecodable": damaged}
        )

    def _load(self, covering: str, limits: Mapping[str, Any], given: ReadArgs) -> tuple[bytes, int]:
        file = self._gate.open_file(covering, given.path)
        try:
            data = read_up_to(file, given.max_bytes)
            size = max(os.fstat(file).st_size, len(data))
        finally:
            os.close(file)
        require_within(limits, given.path, size=size, taken=len(data))
        return data, size


class ListDirectory(FilesystemTool[ListArgs]):
    """Lists names with their kind and size."""

    _name = "list_directory"
    _title = "List directory"
    _description = "List the names in a directory with their kind and size."
    _args = ListArgs
    _operations = ("list",)

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Return the first `limit` names in order, one a line; directories end with a slash.

        Raises:
            UmbrellaError: As the gate.
        """
        given = self._read(args)
        covering, _ = self._allow(context)
        found = await in_thread(
            lambda: self._gate.list_directory(covering, given.path, given.limit + 1), given.path
        )
        shown = found[: given.limit]
        lines = [entry_line(entry) for entry in shown]
        if len(found) > given.limit:
            lines.append(f"[more than {given.limit} entries; the rest is not shown]")
        entries = [{"name": entry.name, "kind": entry.kind, "size": entry.size} for entry in shown]
        return msgspec.structs.replace(
            text_result("\n".join(lines) or "the directory is empty"),
            structured={"path": given.path, "entries": entries, "truncated": len(found) > given.limit},
        )
