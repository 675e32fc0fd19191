"""Tools that change names: a file moved or deleted, a directory made."""

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mcp_core.tools.filesystem.looking import removal
from mcp_core.tools.filesystem.tool import AbsolutePath, FilesystemTool, PathArgs, in_thread
from mcp_interface.address import resource
from mcp_interface.capability import Need
from mcp_interface.tool import Preview, ToolContext, ToolResult, text_result


class MoveArgs(PathArgs, frozen=True, forbid_unknown_fields=True):
    """Arguments of `move_file`."""

    new_path: AbsolutePath
    overwrite: Annotated[bool, Meta(description="Replace a file that has the new path already.")] = False


class MoveFile(FilesystemTool[MoveArgs]):
    """Gives a file another path."""

    _name = "move_file"
    _title = "Move file"
    _description = "Move or rename a file within one disk; the new directory must exist. Directories stay."
    _args = MoveArgs
    _operations = ("delete", "write", "read")
    _destructive = True
    _idempotent = False

    def _paths(self, given: MoveArgs) -> tuple[str, ...]:
        return given.path, given.new_path

    def _rights(self, given: MoveArgs) -> list[Need]:
        """To take it away here and write it there, and to read it: there somebody may read who may not here.

        How large it is, is not known, so a right with a limit on the size does not do.
        """
        return [
            Need(resource("fs", "delete", given.path)),
            Need(resource("fs", "write", given.new_path)),
            Need(resource("fs", "read", given.path)),
        ]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Move, at once and without a moment in which it is nowhere.

        Raises:
            UmbrellaError: As the gate; the file is where it was.
        """
        given = self._read(args)
        taking, putting, _ = (self._allow(context, number)[0] for number in range(3))
        await in_thread(
            lambda: self._gate.rename(taking, putting, given.path, given.new_path, replace=given.overwrite),
            given.path,
        )
        told = text_result(f"moved {given.path} to {given.new_path}")
        return msgspec.structs.replace(told, structured={"path": given.path, "new_path": given.new_path})

    async def preview(self, args: dict[str, Any], context: ToolContext) -> Preview | None:
        """What is moved, and over what; see `Previews.preview`."""
        given = self._read(args)
        seen = await self._look(args, context, given.path, given.new_path)
        if seen is None:
            return None
        old, new = seen
        if not old.exists:
            return Preview(summary=f"finds nothing to move at {given.path}")
        there = "where nothing is yet"
        if new.exists:
            there = (
                f"{'in place of' if given.overwrite else 'which is refused, as there is'} {new.size} bytes"
            )
        return Preview(summary=f"moves {given.path}, {old.size} bytes, to {given.new_path}, {there}")


class DeleteFile(FilesystemTool[PathArgs]):
    """Deletes one file."""

    _name = "delete_file"
    _title = "Delete file"
    _description = "Delete a file, or a symbolic link itself. Directories stay."
    _args = PathArgs
    _operations = ("delete",)
    _destructive = True
    _idempotent = False

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Delete; there is no way back.

        Raises:
            UmbrellaError: As the gate.
        """
        given = self._read(args)
        covering, _ = self._allow(context)
        await in_thread(lambda: self._gate.unlink(covering, given.path), given.path)
        return msgspec.structs.replace(text_result(f"deleted {given.path}"), structured={"path": given.path})

    async def preview(self, args: dict[str, Any], context: ToolContext) -> Preview | None:
        """What would be gone; see `Previews.preview`."""
        given = self._read(args)
        seen = await self._look(args, context, given.path)
        return None if seen is None else await asyncio.to_thread(removal, given.path, seen[0])


class CreateDirectory(FilesystemTool[PathArgs]):
    """Creates one directory."""

    _name = "create_directory"
    _title = "Create directory"
    _description = "Create a directory in one that exists."
    _args = PathArgs
    _operations = ("write",)
    _idempotent = False

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Create it.

        Raises:
            UmbrellaError: As the gate.
        """
        given = self._read(args)
        covering, _ = self._allow(context)
        await in_thread(lambda: self._gate.make_directory(covering, given.path), given.path)
        return msgspec.structs.replace(text_result(f"created {given.path}/"), structured={"path": given.path})

    async def preview(self, args: dict[str, Any], context: ToolContext) -> Preview | None:
        """What it makes: nothing on the disk is looked at for that."""
        return Preview(summary=f"makes a new directory {self._read(args).path}")
