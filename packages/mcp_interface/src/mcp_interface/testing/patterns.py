"""Which resource covers which: the plain reading of the grammar in `address`, for the fake kernel."""

import re
from functools import lru_cache

import msgspec

from mcp_interface.address import Resource


class _Shape(msgspec.Struct, frozen=True):
    """A path as segments and how far it reaches beyond them."""

    segments: tuple[str, ...]
    below: bool


def covers(pattern: Resource, other: Resource) -> bool:
    """Tell whether everything that `other` stands for is also something that `pattern` stands for.

    `other` may be a pattern itself, so the same question judges an access and a delegation. `x/**` and `x/` are
    `x` and what lies below it. A doubtful case is not covered.
    """
    if (pattern.type, pattern.operation) != (other.type, other.operation):
        return False
    ours, theirs = _shape(pattern), _shape(other)
    known = len(ours.segments)
    if not _begin_alike(ours.segments, theirs.segments[:known]):
        return False
    return ours.below or (not theirs.below and len(theirs.segments) == known)


def _shape(resource: Resource) -> _Shape:
    segments = resource.segments
    if segments[-1] == "**":
        return _Shape(segments[:-1], below=True)
    return _Shape(segments, below=resource.path.endswith("/"))


def _begin_alike(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    # A star of theirs is read as a character that only a star of ours can match: sound for patterns, too.
    return len(ours) == len(theirs) and all(
        _segment(mine).fullmatch(yours) is not None for mine, yours in zip(ours, theirs, strict=True)
    )


@lru_cache(maxsize=1024)
def _segment(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in glob.split("*")), re.DOTALL)
