"""The tool that finds files by name and by a piece of their text, within bounds, and says when they were met."""

import os
from collections.abc import Mapping
from contextlib import closing
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta

from mcp_core.tools.filesystem.content import encode, entry_line, is_binary, printable, read_up_to
from mcp_core.tools.filesystem.gate import EntryLike, FileGate
from mcp_core.tools.filesystem.tool import SENDS_NOTHING, FilesystemTool, PathArgs, in_thread
from mcp_interface.address import resource
from mcp_interface.capability import Need
from mcp_interface.errors import UmbrellaError
from mcp_interface.tool import ToolContext, ToolResult, text_result

MAX_WALKED: Final = 20_000
MAX_FOUND: Final = 500
MAX_FILE: Final = 4 * 1024 * 1024
MAX_SEARCHED: Final = 64 * 1024 * 1024
_LONGEST_LINE: Final = 300


class SearchArgs(PathArgs, frozen=True, forbid_unknown_fields=True):
    """Arguments of `search_files`."""

    name: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="Glob that the last part of the path matches: *.py"),
    ] = "*"
    text: Annotated[
        str | None,
        Meta(
            description="Also look for this exact text (1 to 1000 characters) in the files; "
            "needs the right to read all of the directory."
        ),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_FOUND, description="Return at most so many matches.")] = 100

    def __post_init__(self) -> None:
        """Check what the schema of "text or nothing" cannot say."""
        if self.text is not None and not 1 <= len(self.text) <= 1000:
            raise ValueError("text has 1 to 1000 characters")


class SearchFiles(FilesystemTool[SearchArgs]):
    """Finds names, or lines, below a directory."""

    _name = "search_files"
    _title = "Search files"
    _description = (
        "Find files below a directory by name, and lines in them by a piece of text. Follows no links."
    )
    _args = SearchArgs
    _operations = ("list", "read")

    def _rights(self, given: SearchArgs) -> list[Need]:
        """On the directory with all below it: a right with holes in it does not do."""
        operations = ("list",) if given.text is None else ("list", "read")
        return [Need(resource("fs", operation, f"{given.path}/"), SENDS_NOTHING) for operation in operations]

    def _read(self, args: dict[str, Any]) -> SearchArgs:
        given = super()._read(args)
        if given.text is not None:
            encode(given.text, "text")
        return given

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Return what was found in the order of the directories, and what was left out.

        Raises:
            UmbrellaError: As the gate, for the directory; a file that cannot be read is passed over.
        """
        given = self._read(args)
        listing, _ = self._allow(context)
        reading, limits = (None, {}) if given.text is None else self._allow(context, 1)
        search = _Search(self._gate, given, reading, limits)
        await in_thread(lambda: search.run(listing), given.path)
        return search.result()


class _Search:
    """One search, and how far it came."""

    def __init__(
        self, gate: FileGate, given: SearchArgs, reading: str | None, limits: Mapping[str, Any]
    ) -> None:
        self._gate = gate
        self._given = given
        self._reading = reading
        self._needle = encode(given.text or "", "text")
        bounds = [limits[key] for key in ("max_file_size", "max_bytes") if key in limits]
        self._max_file = min([MAX_FILE, *bounds])
        self._left = MAX_SEARCHED
        self._lines: list[str] = []
        self._found: list[dict[str, Any]] = []
        self._skipped = 0
        self._cut = ""

    def run(self, listing: str) -> None:
        walk = self._gate.walk(listing, self._given.path, MAX_WALKED + 1)
        with closing(cast("Any", walk)):
            for number, entry in enumerate(walk):
                if number >= MAX_WALKED:
                    self._cut = f"after {MAX_WALKED} names"
                elif fnmatchcase(entry.name.rpartition("/")[2], self._given.name):
                    self._look_at(entry)
                if self._cut:
                    return

    def result(self) -> ToolResult:
        lines = list(self._lines)
        if self._skipped:
            lines.append(f"[{self._skipped} files not searched: too large, binary, or not readable]")
        if self._cut:
            lines.append(f"[cut {self._cut}; there may be more]")
        structured = {
            "path": self._given.path,
            "matches": self._found,
            "skipped": self._skipped,
            "truncated": bool(self._cut),
        }
        return msgspec.structs.replace(
            text_result("\n".join(lines) or "nothing was found"), structured=structured
        )

    def _look_at(self, entry: EntryLike) -> None:
        if self._reading is None:
            self._add(entry_line(entry), {"path": entry.name, "kind": entry.kind, "size": entry.size})
        elif entry.kind == "file":
            data = self._load(self._reading, entry)
            if data is None:
                self._skipped += 1
            else:
                self._look_in(entry.name, data)

    def _load(self, reading: str, entry: EntryLike) -> bytes | None:
        if entry.size > self._max_file:
            return None
        if entry.size > self._left:
            self._cut = f"after {MAX_SEARCHED // 1024 // 1024} MiB of text"
            return b""
        try:
            file = self._gate.open_file(reading, f"{self._given.path}/{entry.name}")
        except UmbrellaError:  # gone, swapped for something else, or without permission
            return None
        try:
            data = read_up_to(file, self._max_file + 1)
        except OSError:
            return None
        finally:
            os.close(file)
        self._left -= len(data)
        return None if len(data) > self._max_file or is_binary(data) else data

    def _look_in(self, name: str, data: bytes) -> None:
        """Add each line in which the text begins, once."""
        number, counted = 1, 0
        at = data.find(self._needle)
        while at >= 0 and not self._cut:
            number, counted = number + data.count(b"\n", counted, at), at
            begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            end = len(data) if end < 0 else end
            # of a very long line the part around the match
            begin = max(begin, at - _LONGEST_LINE // 2)
            line = data[begin : min(end, begin + _LONGEST_LINE)].decode("utf-8", "replace").rstrip("\r")
            self._add(f"{printable(name)}:{number}: {line}", {"path": name, "line": number, "text": line})
            at = data.find(self._needle, end + 1)

    def _add(self, line: str, match: dict[str, Any]) -> None:
        if len(self._found) >= self._given.limit:
            self._cut = f"after {self._given.limit} matches"
            return
        self._lines.append(line)
        self._found.append(match)
