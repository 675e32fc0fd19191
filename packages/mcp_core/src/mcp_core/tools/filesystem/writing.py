"""Tools that give a file new text: all of it, or some words for others. The file has the old text or the new."""

import asyncio
import os
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mcp_core.tools.filesystem.content import MAX_READ, MAX_WRITE, diff, encode, read_up_to, require_within
from mcp_core.tools.filesystem.looking import changes
from mcp_core.tools.filesystem.tool import SENDS_NOTHING, FilesystemTool, PathArgs, in_thread
from mcp_interface.address import resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.tool import Preview, ToolContext, ToolResult, text_result


class WriteArgs(PathArgs, frozen=True, forbid_unknown_fields=True):
    """Arguments of `write_file`."""

    content: Annotated[
        str, Meta(max_length=MAX_WRITE, description="The whole new text of the file, written as UTF-8.")
    ]
    show_diff: Annotated[
        bool, Meta(description="Also return what changed; needs the right to read the file.")
    ] = False


class EditArgs(PathArgs, frozen=True, forbid_unknown_fields=True):
    """Arguments of `edit_file`."""

    old_text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_READ,
            description="Exact text to replace, with its spaces and line ends. It must occur exactly once.",
        ),
    ]
    new_text: Annotated[str, Meta(max_length=MAX_READ, description="What to put in its place.")]
    all: Annotated[bool, Meta(description="Replace every occurrence, however many there are.")] = False
    max_bytes: Annotated[
        int, Meta(ge=1, le=MAX_WRITE, description="Refuse when the file would be larger, before or after.")
    ] = MAX_WRITE


class WriteFile(FilesystemTool[WriteArgs]):
    """Replaces the whole text of a file."""

    _name = "write_file"
    _title = "Write file"
    _description = "Create a file or replace all of its text."
    _args = WriteArgs
    _operations = ("write",)
    _destructive = True

    def _rights(self, given: WriteArgs) -> list[Need]:
        """To write so much, and to read when the old text is to be compared: a diff shows it."""
        write = Need(resource("fs", "write", given.path), Facts(size=len(encode(given.content, "content"))))
        read = Need(resource("fs", "read", given.path), SENDS_NOTHING)
        return [write, read] if given.show_diff else [write]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Write, and say how much; with `show_diff` also what changed, at most 200 lines of it.

        Raises:
            UmbrellaError: As the gate, or the disk failed; the file is as it was.
        """
        given = self._read(args)
        content = encode(given.content, "content")
        covering, _ = self._allow(context)
        reading = self._allow(context, 1) if given.show_diff else None

        def store() -> str | None:
            changed = None if reading is None else diff(self._before(*reading, given.path), content)
            self._gate.replace_file(covering, given.path, content)
            return changed

        return _written(given.path, len(content), await in_thread(store, given.path))

    async def preview(self, args: dict[str, Any], context: ToolContext) -> Preview | None:
        """What would be other in the file than it is now; see `Previews.preview`."""
        given = self._read(args)
        content = encode(given.content, "content")
        seen = await self._look(args, context, given.path)
        return None if seen is None else await asyncio.to_thread(changes, given.path, seen[0], content)

    def _before(self, covering: str, limits: Mapping[str, Any], path: str) -> bytes | None:
        """The old content, None when it is too long to compare, nothing when there is no file yet."""
        try:
            file = self._gate.open_file(covering, path)
        except NotFound:
            return b""
        try:
            data = read_up_to(file, MAX_READ + 1)
            size = max(os.fstat(file).st_size, len(data))
        finally:
            os.close(file)
        require_within(limits, path, size=size, taken=len(data))
        return data if len(data) <= MAX_READ else None


class EditFile(FilesystemTool[EditArgs]):
    """Replaces some words of a file by others, as bytes: what is not named is not touched."""

    _name = "edit_file"
    _title = "Edit file"
    _description = "Replace an exact piece of text in a file, which must occur once, and show what changed."
    _args = EditArgs
    _operations = ("write", "read")
    _destructive = True
    _idempotent = False

    def _rights(self, given: EditArgs) -> list[Need]:
        """To write as much as it may become, and to read: a diff shows the text, and so does a match."""
        encode(given.old_text, "old_text")
        encode(given.new_text, "new_text")
        return [
            Need(resource("fs", "write", given.path), Facts(size=given.max_bytes)),
            Need(resource("fs", "read", given.path), SENDS_NOTHING),
        ]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Edit, and return what changed, at most 200 lines of it.

        Raises:
            CallerMistaken: The old text is not there, or more than once; the file is as it was.
            LostRace: Somebody else changed the file meanwhile; it is as they left it.
            UmbrellaError: As the gate, or the disk failed.
        """
        given = self._read(args)
        covering, _ = self._allow(context)
        reading = self._allow(context, 1)

        def edit() -> tuple[bytes, bytes]:
            before, seen = self._load(*reading, given)
            after = _replaced(before, given)
            self._gate.replace_file(covering, given.path, after, seen)
            return before, after

        before, after = await in_thread(edit, given.path)
        return _written(given.path, len(after), diff(before, after))

    async def preview(self, args: dict[str, Any], context: ToolContext) -> Preview | None:
        """What would be other in the file than it is now; see `Previews.preview`."""
        given = self._read(args)
        seen = await self._look(args, context, given.path)
        if seen is None or seen[0].text is None:
            return None
        before = seen[0].text.encode()
        try:
            after = _replaced(before, given)
        except CallerMistaken as error:
            return Preview(summary=f"changes nothing: {error.message}")
        return await asyncio.to_thread(changes, given.path, seen[0], after)

    def _load(
        self, covering: str, limits: Mapping[str, Any], given: EditArgs
    ) -> tuple[bytes, os.stat_result]:
        file = self._gate.open_file(covering, given.path)
        try:
            seen = os.fstat(file)  # before reading, so that a change during it is noticed
            data = read_up_to(file, given.max_bytes + 1)
        finally:
            os.close(file)
        require_within(limits, given.path, size=max(seen.st_size, len(data)), taken=len(data))
        if len(data) > given.max_bytes:
            raise _too_large(given)
        return data, seen


def _replaced(before: bytes, given: EditArgs) -> bytes:
    old, new = encode(given.old_text, "old_text"), encode(given.new_text, "new_text")
    first = before.find(old)
    if first < 0:
        ends = "; its lines end with CR LF" if b"\r\n" in before else ""
        raise CallerMistaken(
            f"{given.path}: old_text does not occur in it{ends}", "read the file and copy the text exactly"
        )
    # one further, not past the end of the match: "aa" occurs twice in "aaa"
    if not given.all and before.find(old, first + 1) >= 0:
        raise CallerMistaken(
            f"{given.path}: old_text occurs more than once",
            "take in more of the text around it, or set 'all'",
        )
    times = before.count(old) if given.all else 1
    if len(before) + times * (len(new) - len(old)) > given.max_bytes:
        raise _too_large(given)
    return before.replace(old, new, times)


def _too_large(given: EditArgs) -> CallerMistaken:
    return CallerMistaken(
        f"{given.path}: it has, or would have, more than {given.max_bytes} bytes", "edit smaller files"
    )


def _written(path: str, size: int, changed: str | None) -> ToolResult:
    told = f"wrote {size} bytes to {path}"
    if changed is not None:
        told += f"\n{changed}" if changed else "\nthe text is the same as before"
    structured = {"path": path, "size": size, "diff": changed}
    return msgspec.structs.replace(text_result(told), structured=structured)
