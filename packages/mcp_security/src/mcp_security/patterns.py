"""Sets of paths, and whether one lies inside another. Pure; knows nothing of capabilities or files.

A path, concrete or pattern, is read as a set: a plain path is a set of one, `*` stands for any run of
characters within one segment, and a last `**` or a trailing slash is the directory with everything below it.
With only these signs inclusion can be decided exactly: the outer pattern includes the inner one if and only
if it matches the inner *text*, because a `*` of the inner text can only be absorbed by a `*` of the outer one,
and that one absorbs whatever else the inner `*` may stand for. Exact means transitive, and transitive is what
makes "child allows, so parent allows" true for chains of any length.
"""

from typing import Self

import msgspec

from mcp_interface.address import resource
from mcp_interface.errors import CallerMistaken, InvalidAddress


def glob_matches(pattern: str, text: str) -> bool:
    """Match a text from end to end; `*` is any run of characters, also none, and all else is itself.

    Linear in the text for each `*`: no pattern can make it explode.
    """
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == text
    last = middle.pop()
    end = len(text) - len(last)
    if end < len(first) or not text.startswith(first) or not text.endswith(last):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class Paths(msgspec.Struct, frozen=True):
    """A set of paths in parsed form."""

    segments: tuple[str, ...]
    """Each a literal or a glob; empty only for the whole tree."""
    subtree: bool
    """Whether everything below belongs to it as well."""

    @classmethod
    def of(cls, path: str) -> Self:
        """Read the path of a `Resource`, which is canonical already."""
        if path.endswith("/"):
            return cls(tuple(path[:-1].split("/")), True)
        segments = tuple(path.split("/"))
        return cls(segments[:-1], True) if segments[-1] == "**" else cls(segments, False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a path that somebody typed, with or without its leading slash.

        Raises:
            InvalidAddress: It is not in canonical form.
        """
        return cls.of(resource("fs", "read", text).path)

    @property
    def literal(self) -> bool:
        """Whether no segment is a glob."""
        return not any("*" in segment for segment in self.segments)

    @property
    def reach(self) -> tuple[str, str] | None:
        """What the path of a `Resource` begins with to be included, and the one path that need not.

        With a glob it takes more to tell, and this is None.
        """
        if not self.literal:
            return None
        exact = "/".join(self.segments)
        if not self.subtree:
            return "\0", exact  # no resource begins with a control character
        return (f"{exact}/" if exact else ""), exact

    def includes(self, inner: "Paths") -> bool:
        """Tell whether every path of `inner` is one of these, component by component."""
        mine, theirs = self.segments, inner.segments
        if self.subtree:
            if len(mine) > len(theirs):
                return False
        elif inner.subtree or len(mine) != len(theirs):
            return False
        return all(
            ours == other or ("*" in ours and glob_matches(ours, other))
            for ours, other in zip(mine, theirs, strict=False)
        )

    def shared_with(self, other: "Paths") -> int:
        """Count the leading segments that both have in common; for finding the nearest grant."""
        shared = 0
        for ours, theirs in zip(self.segments, other.segments, strict=False):
            if not glob_matches(ours, theirs):
                break
            shared += 1
        return shared


class Exclusion(msgspec.Struct, frozen=True):
    """A glob of paths that are out of bounds, with everything below them.

    Anchored at both ends; here `**` may stand anywhere and is any number of whole segments.
    """

    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one, with or without its leading slash.

        Raises:
            CallerMistaken: A segment is empty, `.`, `..`, or holds `**` beside other characters.
        """
        segments = tuple(text.removeprefix("/").removesuffix("/").split("/"))
        for segment in segments:
            if segment == "**":
                continue
            try:
                resource("fs", "read", segment)
            except InvalidAddress as error:
                raise CallerMistaken(
                    f"segment {segment[:200]!r} of the glob {text[:200]!r} is not allowed: {error.message}",
                    "write an absolute path, with '*' inside a segment or '**' as a whole one",
                ) from error
        return cls(segments)

    def touches(self, paths: Paths) -> bool:
        """Tell whether any of the paths may be out of bounds; when in doubt, it is."""
        states = self._skip({0})
        for segment in paths.segments:
            if len(self.segments) in states:
                return True
            states = self._skip({at for state in states for at in self._step(state, segment)})
        return len(self.segments) in states or (paths.subtree and bool(states))

    def _step(self, state: int, segment: str) -> list[int]:
        wanted = self.segments[state]
        if wanted == "**":
            return [state]
        return [state + 1] if _may_meet(wanted, segment) else []

    def _skip(self, states: set[int]) -> set[int]:
        """Add the states behind each `**`, which may stand for no segment at all."""
        found = set(states)
        for state in states:
            at = state
            while at < len(self.segments) and self.segments[at] == "**":
                at += 1
                found.add(at)
        return found


def _may_meet(one: str, other: str) -> bool:
    """Whether two segment globs may have a name in common; two globs are taken to."""
    if "*" in one and "*" in other:
        return True
    return glob_matches(one, other) or glob_matches(other, one)
