"""Where a right allows to act: a root directory and a way beneath it. Pure; looks at no file.

A path is judged as it is spelt: what is not canonical is refused, never repaired, and two spellings of a
name (case, Unicode forms) are two names, as they are to Linux.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

from mcp_interface.address import Resource, parse_resource, resource
from mcp_interface.errors import CallerMistaken, NotPermitted
from mcp_security.patterns import Paths

RESERVED: Final = ".umbrella-"
"""How the names of files begin that are being written; no right reaches them."""

_DOTS: Final = re.compile(rf"/(?:\.{{1,2}}(?:/|\Z)|{re.escape(RESERVED)})")
"""Dot segments and reserved names, in a path that is canonical otherwise."""


class Place(msgspec.Struct, frozen=True):
    """Where to act."""

    path: str
    root: str
    """Absolute; nothing of it may be a link."""
    beneath: str
    """Relative; `.` is the root itself."""
    whole: bool
    """Whether everything beneath the root is granted, so that links within it may be followed."""

    def parent(self) -> tuple["Place", str]:
        """The directory that the last name lies in, and the name."""
        above, _, name = self.path.rpartition("/")
        above = above or "/"
        if self.beneath == ".":  # the granted directory itself: what lies above it is not granted
            return Place(above, above, ".", False), name
        return Place(above, self.root, self.beneath.rpartition("/")[0] or ".", self.whole), name


class Covered(msgspec.Struct, frozen=True):
    """The pattern of a right, read once."""

    resource: Resource
    paths: Paths
    stem: str | None = None
    """Of a plain subtree: what every path in it begins with."""
    only: str | None = None
    """Of a plain path: itself."""

    def includes(self, path: str) -> bool:
        """Tell quickly whether a path is plainly canonical and covered; False means: ask `place`."""
        return (
            (path == self.only or (self.stem is not None and path.startswith(self.stem)))
            and path.isprintable()  # neither control characters nor surrogates
            and "//" not in path
            and "*" not in path
            and path[-1] != "/"
            and ("/." not in path or _DOTS.search(path) is None)
        )

    def place(self, path: str, *, with_below: bool = False) -> Place:
        """Decide where to act for a path, and refuse what is not canonical or not covered.

        Args:
            path: Absolute.
            with_below: Everything below it has to be covered too.

        Raises:
            CallerMistaken: The path is not canonical.
            NotPermitted: It is not covered.
        """
        wanted = _canonical(self.resource.operation, path)
        # here the path is a name, not a pattern: a file may well be called "*"
        if not self.paths.includes(Paths(wanted.segments, with_below)):
            grant = f"{wanted.uri}/" if with_below else wanted.uri
            raise NotPermitted(
                f"{path} is not covered by {self.resource.uri} for {wanted.operation}",
                f"ask for a grant of {grant}",
                {"reason": "path_not_allowed", "grant": grant},
            )
        fixed = next((at for at, part in enumerate(self.paths.segments) if "*" in part), None)
        whole = self.paths.subtree and fixed is None
        at = len(self.paths.segments) if fixed is None else fixed
        if not whole:
            at = min(at, len(wanted.segments) - 1)
        root, beneath = "/" + "/".join(wanted.segments[:at]), "/".join(wanted.segments[at:]) or "."
        return Place(path, root, beneath, whole)


@lru_cache(1024)
def covered(covering: str, operation: str) -> Covered:
    """Read `Verdict.covering`; remembered for the patterns used last, which changes nothing.

    Raises:
        InvalidAddress: It is no resource.
        NotPermitted: It is for something else than the operation on files.
    """
    pattern = parse_resource(covering)
    if pattern.type != "fs" or pattern.operation != operation:
        raise NotPermitted(
            f"{covering} does not cover {operation} on files",
            f"ask for a grant of mcp://fs/{operation}/…",
            {"reason": "resource_mismatch"},
        )
    paths = Paths.of(pattern.path)
    if not paths.literal:
        return Covered(pattern, paths)
    path = "".join(f"/{part}" for part in paths.segments)
    return Covered(pattern, paths, stem=f"{path}/") if paths.subtree else Covered(pattern, paths, only=path)


def _canonical(operation: str, path: str) -> Resource:
    if not path.startswith("/"):
        raise CallerMistaken(
            f"path {path[:200]!r} is not absolute", "write it from the root, beginning with /"
        )
    if path.endswith("/"):
        raise CallerMistaken(f"path {path[:200]!r} ends with an empty segment", "leave out the last slash")
    wanted = resource("fs", operation, path)
    if any(part.startswith(RESERVED) for part in wanted.segments):
        raise CallerMistaken(
            f"path {path[:200]!r}: names that begin with {RESERVED} belong to files that are being written",
            "use another name",
        )
    return wanted
