"""Limits on paths of files and programs: where they may lie, where not, and how files may end."""

from typing import Any, Final

from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.question import Check, Question, too_wide
from mcp_security.constraints.values import listed, texts
from mcp_security.patterns import Exclusion, Paths

MAX_PATHS: Final = 1000
"""Most entries of one list of paths."""
MAX_NESTING: Final = 256
"""Segments of a path that is looked for in `denied_paths`; a deeper one is denied."""
MAX_SEARCHED: Final = 512
"""Segments of all globs that deny wherever they are found: their product with `MAX_NESTING` is the work."""
_PLACES: Final = frozenset({"fs", "shell"})


class Inside:
    """Path patterns that a path must lie in; the meet is the child's list, each inside one of the parent's."""

    types = _PLACES

    def read(self, value: Any) -> list[str]:
        """Read absolute path patterns; the leading slash may be left out."""
        paths = list(dict.fromkeys(rooted(path) for path in texts(value, MAX_PATHS, "paths")))
        if not paths:
            raise CallerMistaken("an empty list of allowed paths allows nothing", "leave the key out")
        for path in paths:
            Paths.parse(path)
        return paths

    def meet(self, parent: list[str], child: list[str]) -> list[str]:
        """Return the child's list; a path that is not inside is refused, not dropped in silence."""
        known = set(parent)
        outer = [Paths.parse(path) for path in parent]
        for path in child:
            if path not in known and not any(one.includes(Paths.parse(path)) for one in outer):
                raise too_wide(
                    f"allowed path {path[:100]!r} is not inside {listed(parent)}",
                    "ask for paths inside those of the parent",
                )
        return child

    def check(self, value: list[str]) -> Check:
        """Judge that all of the path lies inside one of them."""
        allowed = [Paths.parse(path) for path in value]

        def refuse(question: Question) -> str | None:
            paths = question.paths
            for one in allowed:
                if one.includes(paths):
                    return None
            return f"it is not inside allowed_paths {listed(value)}"

        return refuse


class Outside:
    """Globs that no path may touch; the meet is the union."""

    types = _PLACES

    def read(self, value: Any) -> list[str]:
        """Read absolute globs; the leading slash may be left out."""
        paths = sorted({rooted(path) for path in texts(value, MAX_PATHS, "paths")})
        globs = [Exclusion.parse(path).segments for path in paths]
        if sum(len(segments) for segments in globs if "**" in segments[:-1]) > MAX_SEARCHED:
            raise CallerMistaken(
                f"globs with '**' before the end have more than {MAX_SEARCHED} segments together", "use fewer"
            )
        return paths

    def meet(self, parent: list[str], child: list[str]) -> list[str]:
        """Return all globs of both."""
        return self.read(sorted({*parent, *child}))

    def check(self, value: list[str]) -> Check:
        """Judge that nothing of the path may be touched by any of them."""
        excluded = [(path, Exclusion.parse(path)) for path in value]

        def refuse(question: Question) -> str | None:
            if len(question.paths.segments) > MAX_NESTING:
                return f"denied_paths is not looked up for a path of more than {MAX_NESTING} segments"
            for text, exclusion in excluded:
                if exclusion.touches(question.paths):
                    return f"denied_paths excludes {text[:200]}"
            return None

        return refuse


def rooted(path: str) -> str:
    """Write a path with its leading slash."""
    return path if path.startswith("/") else f"/{path}"
