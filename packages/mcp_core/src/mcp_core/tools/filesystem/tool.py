"""What the tools of `fs` share: arguments as a struct, the rights on the very paths, work in a thread."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from mcp_core.tools.filesystem.gate import FileGate
from mcp_core.tools.filesystem.looking import Seen, Sees, look, may_look
from mcp_interface.address import resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.errors import CallerMistaken, NotPermitted, WorldBroken
from mcp_interface.tool import ToolContext, ToolInfo

SERVER: Final = "fs"
SENDS_NOTHING: Final = Facts(size=0)

AbsolutePath = Annotated[
    str, Meta(min_length=2, max_length=4096, description="Absolute path, beginning with /.")
]


class PathArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of a tool that acts on one path."""

    path: AbsolutePath


A = TypeVar("A", bound=PathArgs)
R = TypeVar("R")


class FilesystemTool(Generic[A]):
    """One tool of the server `fs`.

    Args:
        gate: The only way to a file.
        sees: Judges what a person may look at who is asked about a call; None: nobody is shown anything of a file.
    """

    _name: str
    _title: str
    _description: str
    _args: type[A]
    _operations: tuple[str, ...]
    """That it may need on its paths."""
    _destructive = False
    _idempotent = True

    def __init__(self, gate: FileGate, sees: Sees | None = None) -> None:
        self._gate = gate
        self._sees = sees

    def info(self) -> ToolInfo:
        """Describe the tool."""
        return ToolInfo(
            server=SERVER,
            name=self._name,
            title=self._title,
            description=self._description,
            parameters=_schema(self._args),
            required_capabilities=[f"mcp://fs/{operation}/**" for operation in self._operations],
            read_only={"read", "list"}.issuperset(self._operations),
            destructive=self._destructive,
            idempotent=self._idempotent,
        )

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types, limits and that each path is absolute and canonical.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        self._read(args)

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The rights on the very paths that the arguments name."""
        needs = self._rights(self._read(args))
        return [Need(need.resource, msgspec.structs.replace(need.facts, arguments=args)) for need in needs]

    def _rights(self, given: A) -> list[Need]:
        return [Need(resource("fs", operation, given.path), SENDS_NOTHING) for operation in self._operations]

    def _paths(self, given: A) -> tuple[str, ...]:
        return (given.path,)

    def _read(self, args: dict[str, Any]) -> A:
        try:
            given = msgspec.convert(args, self._args)
        except msgspec.ValidationError as error:
            raise CallerMistaken(f"arguments of fs/{self._name}: {error}", "see its parameters") from error
        for path in self._paths(given):
            _require_plain(path)
        return given

    def _allow(self, context: ToolContext, number: int = 0) -> tuple[str, Mapping[str, Any]]:
        """The pattern and the limits of the right that allowed one of the needs."""
        verdict: Verdict | None = context.verdicts[number] if number < len(context.verdicts) else None
        if verdict is None or not verdict.allowed or verdict.covering is None:
            raise NotPermitted(
                f"fs/{self._name} was started without the right it needs", "call it through the node"
            )
        return verdict.covering, verdict.limits

    async def _look(self, args: dict[str, Any], context: ToolContext, *paths: str) -> list[Seen] | None:
        """Files with the eyes of whoever is asked; None unless they may look at each of them."""
        if self._sees is None:
            return None
        allows = [may_look(self._sees, context.principal_id, path, args) for path in paths]
        found = [(path, allow) for path, allow in zip(paths, allows, strict=True) if allow is not None]
        if len(found) < len(paths):
            return None
        return await in_thread(lambda: [look(self._gate, allow, path) for path, allow in found], paths[0])


async def in_thread(work: Callable[[], R], path: str) -> R:
    """Do what may block elsewhere.

    Raises:
        WorldBroken: The disk failed.
    """
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise WorldBroken(
            f"{path}: {error.strerror or error}", "check the disk and the file's permissions"
        ) from error


def _require_plain(path: str) -> None:
    if not path.startswith("/"):
        raise CallerMistaken(f"path {path[:200]!r} is relative", "write it from the root, beginning with /")
    if path.endswith("/") or "*" in path:
        raise CallerMistaken(
            f"path {path[:200]!r} names more than one thing", "leave out '*' and the last slash"
        )
    resource("fs", "read", path)  # the rules are the same for every operation


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([kind])
    found = dict(parts[kind.__name__])
    found.pop("title", None)
    return found
