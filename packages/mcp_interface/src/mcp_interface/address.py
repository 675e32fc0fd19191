"""Names of things that can be reached or protected, all under `mcp://`.

Two segments are an address (`mcp://agent/<id>`, `mcp://broadcast/<topic>`): where a message goes. Three are
a resource (`mcp://<type>/<operation>/<path>`): what a capability speaks about. An fs path is always absolute
and written without its leading slash: `mcp://fs/read/home/x` is `/home/x`. This module only knows the
grammar; what covers what is decided by the security kernel.

A resource may be a pattern: `*` matches within one segment, a last segment `**` is the directory and
everything below it, and so is a trailing slash. A path is never repaired: `.`, `..`, empty segments
and control characters are refused, so that two spellings of one path cannot be judged differently.
"""

import re
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote

import msgspec

from mcp_interface.errors import InvalidAddress

OPERATIONS: Final[dict[str, frozenset[str]]] = {
    "fs": frozenset({"read", "write", "list", "delete", "execute"}),
    "api": frozenset({"get", "head", "post", "put", "patch", "delete", "options"}),
    "db": frozenset({"query", "read", "write", "delete", "execute", "list"}),
    "tool": frozenset({"execute", "read", "list"}),
    "agent": frozenset({"read", "write", "execute", "list", "delete"}),
    "shell": frozenset({"execute"}),
}
"""Resource types and the operations each knows."""

MAX_URI: Final = 4096

_RESOURCE = re.compile(r"mcp://([a-z]+)/([a-z]+)/(.+)", re.DOTALL)
_ADDRESS = re.compile(r"mcp://(agent|broadcast)/([A-Za-z0-9_.-]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_REMEDY = "write mcp://<type>/<operation>/<path>, for example mcp://fs/read/home/me/**"


class Resource(msgspec.Struct, frozen=True, order=True):
    """One protected thing, or a pattern of them; one that is not in canonical form cannot be made.

    Raises:
        InvalidAddress: The type, the operation or a path segment is wrong; nothing is repaired.
    """

    type: str
    operation: str
    path: str
    """Segments joined by `/`, no leading slash; a trailing slash means a directory."""

    def __post_init__(self) -> None:
        """Check, so that whoever judges a resource need not."""
        allowed = OPERATIONS.get(self.type)
        if allowed is None:
            raise InvalidAddress(
                f"unknown resource type {self.type!r}", f"use one of {', '.join(OPERATIONS)}"
            )
        if self.operation not in allowed:
            raise InvalidAddress(
                f"{self.type} has no operation {self.operation!r}", f"use one of {', '.join(sorted(allowed))}"
            )
        _check_path(self.path)

    @property
    def uri(self) -> str:
        """The canonical text of this resource."""
        return f"mcp://{self.type}/{self.operation}/{self.path}"

    @property
    def is_pattern(self) -> bool:
        """Whether it may stand for more than one thing."""
        return "*" in self.path or self.path.endswith("/")

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's parts, without the empty one of a trailing slash."""
        return tuple(self.path.rstrip("/").split("/"))


class Address(msgspec.Struct, frozen=True):
    """Where a message goes."""

    kind: Literal["agent", "broadcast"]
    name: str

    @property
    def uri(self) -> str:
        """The canonical text of this address."""
        return f"mcp://{self.kind}/{self.name}"


def parse_resource(uri: str) -> Resource:
    """Read a resource URI.

    Raises:
        InvalidAddress: The grammar, the type, the operation or a path segment is wrong; nothing is repaired.
    """
    match = _RESOURCE.fullmatch(uri)
    if match is None or len(uri) > MAX_URI:
        raise InvalidAddress(f"{uri[:200]!r} is not a resource URI", _REMEDY)
    return resource(match[1], match[2], match[3])


def resource(type: str, operation: str, path: str) -> Resource:
    """Make a resource from its parts; an absolute path may keep one leading slash.

    Raises:
        InvalidAddress: As `parse_resource`.
    """
    if type in {"fs", "shell"}:
        path = path.removeprefix("/")
    return Resource(type, operation, path)


def _check_path(path: str) -> None:
    if _CONTROL.search(path):
        raise InvalidAddress(f"control character in path {path[:200]!r}", "remove it")
    inner = path.removesuffix("/").split("/")
    if any(part in {"", ".", ".."} for part in inner):
        raise InvalidAddress(
            f"path {path[:200]!r} has an empty, '.' or '..' segment", "write the plain absolute path"
        )
    if any("**" in part for part in inner[:-1]) or (
        "**" in inner[-1] and (inner[-1] != "**" or path.endswith("/"))
    ):
        raise InvalidAddress(
            f"'**' must be the whole last segment in {path[:200]!r}", "end the path with /**"
        )


def tool_resource(server: str, tool: str) -> Resource:
    """The right to run one tool of one server; odd characters in names are percent-encoded."""
    return resource("tool", "execute", f"{quote(server, safe='')}/{quote(tool, safe='')}")


@lru_cache(maxsize=2048)  # each message's is read several times; what is refused is not kept
def parse_address(uri: str) -> Address:
    """Read an agent or broadcast address.

    Raises:
        InvalidAddress: It is neither.
    """
    match = _ADDRESS.fullmatch(uri)
    if match is None or len(uri) > MAX_URI:
        raise InvalidAddress(
            f"{uri[:200]!r} is not an address", "write mcp://agent/<id> or mcp://broadcast/<topic>"
        )
    return Address("agent" if match[1] == "agent" else "broadcast", match[2])
