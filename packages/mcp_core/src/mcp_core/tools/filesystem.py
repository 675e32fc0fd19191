"""The built-in server `fs`: read a file, write a file, list a directory.

Each needs the right to the very path it names, and reaches it only through the gate, which is given the
pattern of the right that allowed it and opens nothing outside. Knows no rights and no file names of its own.
"""

import asyncio
import codecs
import difflib
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from mcp_interface.address import Resource, resource
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, WorldBroken
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult, text_result

SERVER: Final = "fs"
MAX_READ: Final = 1024 * 1024
MAX_WRITE: Final = 4 * 1024 * 1024
MAX_ENTRIES: Final = 1_000
MAX_DIFF_LINES: Final = 200
MAX_COMPARED_LINES: Final = 5_000
_LONGEST_LINE: Final = 400
_SNIFFED: Final = 8_192
_CHUNK: Final = 64 * 1024

T = TypeVar("T", bound="_Args")
R = TypeVar("R")


class EntryLike(Protocol):
    """One name in a directory."""

    @property
    def name(self) -> str:
        """The name alone, printable or not."""
        ...

    @property
    def kind(self) -> str:
        """file, directory, symlink or other."""
        ...

    @property
    def size(self) -> int:
        """Bytes; zero for what is not a file."""
        ...


class FileGate(Protocol):
    """Opens what a right covers and nothing else; the real one is `mcp_security`'s `FilesystemGate`."""

    def open_file(self, covering: str, path: str, *, write: bool = False) -> int:
        """Return a descriptor of a regular file; writing creates or empties it."""
        ...

    def list_directory(self, covering: str, path: str, limit: int) -> Sequence[EntryLike]:
        """Return the first entries by name."""
        ...


_Path = Annotated[str, Meta(min_length=2, max_length=4096, description="Absolute path, beginning with /.")]


class _Args(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: _Path


class _ReadArgs(_Args, frozen=True, forbid_unknown_fields=True):
    max_bytes: Annotated[
        int, Meta(ge=1, le=MAX_READ, description="Read at most so many bytes from the beginning.")
    ] = MAX_READ


class _WriteArgs(_Args, frozen=True, forbid_unknown_fields=True):
    content: Annotated[
        str, Meta(max_length=MAX_WRITE, description="The whole new text of the file, written as UTF-8.")
    ]
    show_diff: Annotated[
        bool, Meta(description="Also return what changed; needs the right to read the file.")
    ] = False


class _ListArgs(_Args, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_ENTRIES, description="Return at most so many names.")] = 200


class _FilesystemTool(Generic[T]):
    """What the three tools share: arguments as a struct, the path's right, work in a thread.

    Args:
        gate: The only way to a file.
    """

    _name: str
    _title: str
    _description: str
    _operation: str
    _args: type[T]

    def __init__(self, gate: FileGate) -> None:
        self._gate = gate

    def info(self) -> ToolInfo:
        """Describe the tool."""
        reads = self._operation != "write"
        return ToolInfo(
            server=SERVER,
            name=self._name,
            title=self._title,
            description=self._description,
            parameters=_schema(self._args),
            required_capabilities=[f"mcp://fs/{self._operation}/**"],
            read_only=reads,
            destructive=not reads,
            idempotent=True,
        )

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types, limits and that the path is absolute and canonical.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        self._read(args)

    def needs(self, args: dict[str, Any]) -> Sequence[Resource]:
        """The right to this operation on this path."""
        return [resource("fs", self._operation, self._read(args).path)]

    def _read(self, args: dict[str, Any]) -> T:
        try:
            given = msgspec.convert(args, self._args)
        except msgspec.ValidationError as error:
            raise CallerMistaken(f"arguments of fs/{self._name}: {error}", "see its parameters") from error
        path = given.path
        if not path.startswith("/"):
            raise CallerMistaken(
                f"path {path[:200]!r} is relative", "write it from the root, beginning with /"
            )
        if path.endswith("/") or "*" in path:
            raise CallerMistaken(
                f"path {path[:200]!r} names more than one thing", "leave out '*' and the last slash"
            )
        resource("fs", self._operation, path)
        return given

    def _covering(self, context: ToolContext, number: int = 0) -> str:
        verdict = context.verdicts[number] if number < len(context.verdicts) else None
        if verdict is None or not verdict.allowed or verdict.covering is None:
            raise NotPermitted(
                f"fs/{self._name} was started without the right it needs", "call it through the node"
            )
        return verdict.covering


class ReadFile(_FilesystemTool[_ReadArgs]):
    """Reads text; says so when it is not text."""

    _name = "read_file"
    _title = "Read file"
    _description = "Read a text file. A binary file is only described."
    _operation = "read"
    _args = _ReadArgs

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Return the text, cut at `max_bytes`; bytes that are not UTF-8 become U+FFFD.

        Raises:
            UmbrellaError: As the gate, or the disk failed.
        """
        given = self._read(args)
        covering = self._covering(context)
        data, size = await _in_thread(lambda: self._load(covering, given), given.path)
        facts: dict[str, Any] = {"path": given.path, "size": size, "truncated": size > len(data)}
        if _is_binary(data):
            told = text_result(f"{given.path} is a binary file of {size} bytes; it is not shown")
            return msgspec.structs.replace(told, structured={**facts, "binary": True})
        text, damaged = _decode(data, whole=size <= len(data))
        if facts["truncated"]:
            text += f"\n[cut after {len(data)} of {size} bytes]"
        return msgspec.structs.replace(
            text_result(text), structured={**facts, "binary": False, "undecodable": damaged}
        )

    def _load(self, covering: str, given: _ReadArgs) -> tuple[bytes, int]:
        file = self._gate.open_file(covering, given.path)
        try:
            data = _read_up_to(file, given.max_bytes)
            return data, max(os.fstat(file).st_size, len(data))
        finally:
            os.close(file)


class WriteFile(_FilesystemTool[_WriteArgs]):
    """Replaces the whole text of a file."""

    _name = "write_file"
    _title = "Write file"
    _description = "Create a file or replace all of its text."
    _operation = "write"
    _args = _WriteArgs

    def needs(self, args: dict[str, Any]) -> Sequence[Resource]:
        """The right to write, and to read when the old text is to be compared: a diff shows it."""
        given = self._read(args)
        operations = ("write", "read") if given.show_diff else ("write",)
        return [resource("fs", operation, given.path) for operation in operations]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Write, and say how much; with `show_diff` also what changed, at most 200 lines of it.

        Raises:
            UmbrellaError: As the gate, or the disk failed; the file may then be cut short.
        """
        given = self._read(args)
        content = _encode(given.content)
        covering = self._covering(context)
        reading = self._covering(context, 1) if given.show_diff else None
        diff = await _in_thread(lambda: self._store(covering, reading, given, content), given.path)
        told = f"wrote {len(content)} bytes to {given.path}"
        if diff is not None:
            told += f"\n{diff}" if diff else "\nthe text is the same as before"
        structured = {"path": given.path, "size": len(content), "diff": diff}
        return msgspec.structs.replace(text_result(told), structured=structured)

    def _store(self, covering: str, reading: str | None, given: _WriteArgs, content: bytes) -> str | None:
        diff = None if reading is None else _diff(self._before(reading, given.path), given)
        file = self._gate.open_file(covering, given.path, write=True)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
        finally:
            os.close(file)
        return diff

    def _before(self, covering: str, path: str) -> bytes | None:
        """The old content, None when it is too long to compare, nothing when there is no file yet."""
        try:
            file = self._gate.open_file(covering, path)
        except NotFound:
            return b""
        try:
            data = _read_up_to(file, MAX_READ + 1)
        finally:
            os.close(file)
        return data if len(data) <= MAX_READ else None


class ListDirectory(_FilesystemTool[_ListArgs]):
    """Lists names with their kind and size."""

    _name = "list_directory"
    _title = "List directory"
    _description = "List the names in a directory with their kind and size."
    _operation = "list"
    _args = _ListArgs

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Return the first `limit` names in order, one a line; directories end with a slash.

        Raises:
            UmbrellaError: As the gate.
        """
        given = self._read(args)
        covering = self._covering(context)
        found = await _in_thread(
            lambda: self._gate.list_directory(covering, given.path, given.limit + 1), given.path
        )
        shown = found[: given.limit]
        lines = [_line(entry) for entry in shown]
        if len(found) > given.limit:
            lines.append(f"[more than {given.limit} entries; the rest is not shown]")
        entries = [{"name": entry.name, "kind": entry.kind, "size": entry.size} for entry in shown]
        return msgspec.structs.replace(
            text_result("\n".join(lines) or "the directory is empty"),
            structured={"path": given.path, "entries": entries, "truncated": len(found) > given.limit},
        )


def filesystem_tools(gate: FileGate) -> list[Tool]:
    """All tools of the server `fs`."""
    return [ReadFile(gate), WriteFile(gate), ListDirectory(gate)]


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([kind])
    found = dict(parts[kind.__name__])
    found.pop("title", None)
    return found


async def _in_thread(work: Callable[[], R], path: str) -> R:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise WorldBroken(
            f"{path}: {error.strerror or error}", "check the disk and the file's permissions"
        ) from error


def _read_up_to(file: int, limit: int) -> bytes:
    parts = []
    while limit > 0 and (part := os.read(file, min(limit, _CHUNK))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:_SNIFFED]


def _decode(data: bytes, *, whole: bool) -> tuple[str, bool]:
    """Text, and whether bytes had to be replaced; a character cut in two at the end is left out."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, whole), False
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), True


def _encode(content: str) -> bytes:
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise CallerMistaken(
            "argument 'content' holds half a surrogate pair", "send valid Unicode"
        ) from error


def _diff(before: bytes | None, given: _WriteArgs) -> str:
    if before is None or _is_binary(before):
        return "[not compared: too long, or binary]"
    old, new = before.decode("utf-8", "replace").splitlines(), given.content.splitlines()
    if max(len(old), len(new)) > MAX_COMPARED_LINES:
        return f"[not compared: more than {MAX_COMPARED_LINES} lines]"
    lines = difflib.unified_diff(old, new, "before", "after", lineterm="", n=2)
    shown = []
    for number, line in enumerate(lines):
        if number >= MAX_DIFF_LINES:
            shown.append(f"[cut after {MAX_DIFF_LINES} lines]")
            break
        shown.append(line[:_LONGEST_LINE])
    return "\n".join(shown)


def _line(entry: EntryLike) -> str:
    if entry.kind == "directory":
        return f"{entry.name}/"
    return f"{entry.name}  {entry.size}" if entry.kind == "file" else f"{entry.name}  ({entry.kind})"
