"""Limits on a right, by name, and how a child's limit and its parent's become one: the meet of a lattice.

Each key is one row of `KINDS`: how its value is read, what the meet is, and what it refuses. The meet is
never above either side, whatever the child asks for. A key that is not in the table denies, both when a right
is minted and when it is judged, so that an older kernel never ignores a limit that a newer one wrote.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from mcp_interface.capability import MAX_DEPTH
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotPermitted
from mcp_security.patterns import Exclusion, Paths

MAX_PATHS: Final = 1000
"""Most entries of one list of paths."""
MAX_COUNT: Final = 2**53
"""Largest count; beyond it JSON readers lose digits."""

Check = Callable[[Paths], str | None]
"""Says why a set of paths is refused, or None."""


class Kind(Protocol):
    """One kind of limit."""

    def read(self, value: Any) -> Any:
        """Return the value in its canonical, JSON-compatible form.

        Raises:
            CallerMistaken: Naming what the value has to be.
        """
        ...

    def meet(self, parent: Any, child: Any) -> Any:
        """Return the limit that both allow, from two canonical values.

        Raises:
            NotPermitted: The child's value is not inside the parent's.
        """
        ...

    def check(self, value: Any) -> Check | None:
        """Return what judges a path; None for a limit that is kept elsewhere (uses, depth)."""
        ...


class _Number:
    """A whole number; the meet is the smaller one."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._high = high

    def read(self, value: Any) -> int:
        # bool is an int to Python; True uses would be one use by accident
        if not isinstance(value, int) or isinstance(value, bool) or not self._low <= value <= self._high:
            raise CallerMistaken(f"{value!r} is not a whole number from {self._low} to {self._high}")
        return value

    def meet(self, parent: int, child: int) -> int:
        return min(parent, child)

    def check(self, value: int) -> Check | None:
        return None


class _Inside:
    """Path patterns that a path must lie in; the meet is the child's list, each inside one of the parent's."""

    def read(self, value: Any) -> list[str]:
        paths = _texts(value)
        if not paths:
            raise CallerMistaken("an empty list of allowed paths allows nothing", "leave the key out")
        for path in paths:
            Paths.parse(path)
        return paths

    def meet(self, parent: list[str], child: list[str]) -> list[str]:
        outer = [Paths.parse(path) for path in parent]
        for path in child:
            if not any(one.includes(Paths.parse(path)) for one in outer):
                raise NotPermitted(
                    f"allowed path {path!r} is not inside {', '.join(parent)}",
                    "ask for paths inside those of the parent",
                    {"reason": "constraint_violated", "constraint": "allowed_paths"},
                )
        return child

    def check(self, value: list[str]) -> Check:
        allowed = [Paths.parse(path) for path in value]

        def refuse(paths: Paths) -> str | None:
            if any(one.includes(paths) for one in allowed):
                return None
            return f"it is not inside allowed_paths {', '.join(value)}"

        return refuse


class _Outside:
    """Globs that no path may touch; the meet is the union."""

    def read(self, value: Any) -> list[str]:
        paths = _texts(value)
        for path in paths:
            Exclusion.parse(path)
        return paths

    def meet(self, parent: list[str], child: list[str]) -> list[str]:
        return self.read([*parent, *child])

    def check(self, value: list[str]) -> Check:
        excluded = [(path, Exclusion.parse(path)) for path in value]

        def refuse(paths: Paths) -> str | None:
            for text, exclusion in excluded:
                if exclusion.touches(paths):
                    return f"denied_paths excludes {text}"
            return None

        return refuse


KINDS: Final[Mapping[str, Kind]] = {
    "allowed_paths": _Inside(),
    "denied_paths": _Outside(),
    "max_delegation_depth": _Number(0, MAX_DEPTH),
    "max_uses": _Number(1, MAX_COUNT),
}
"""Every limit this kernel knows."""


class Rules(msgspec.Struct, frozen=True):
    """Constraints, read once, ready to judge with."""

    checks: tuple[Check, ...] = ()
    max_uses: int | None = None
    limits: dict[str, Any] = {}
    """The canonical constraints, a copy of our own: the dict in a `Capability` is in everybody's hands."""


def read(constraints: Mapping[str, Any]) -> dict[str, Any]:
    """Return constraints in canonical form.

    Raises:
        NotPermitted: A key is unknown; reason `unknown_constraint`.
        InvalidRecord: Rule `invalid_constraint`: a value is not what its key asks for.
    """
    return {key: _value(key, value) for key, value in constraints.items()}


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of a right that is handed on: at most the parent's, at most what was asked for.

    Raises:
        NotPermitted: A key is unknown, or a value cannot be narrowed to the parent's.
        InvalidRecord: As `read`.
    """
    mine, asked = read(parent), read(child)
    both = mine.keys() & asked.keys()
    return {**mine, **asked, **{key: KINDS[key].meet(mine[key], asked[key]) for key in both}}


def meets(parent: Mapping[str, Any], child: Mapping[str, Any]) -> bool:
    """Tell whether a child's limits are already at most its parent's."""
    try:
        return merge(parent, child) == read(child)
    except (NotPermitted, InvalidRecord):
        return False


def compile_rules(constraints: Mapping[str, Any]) -> Rules:
    """Prepare constraints for judging.

    Raises:
        NotPermitted: As `read`.
        InvalidRecord: As `read`.
    """
    limits = read(constraints)
    checks = [KINDS[key].check(value) for key, value in limits.items()]
    return Rules(tuple(check for check in checks if check is not None), limits.get("max_uses"), limits)


def _value(key: str, value: Any) -> Any:
    kind = KINDS.get(key)
    if kind is None:
        raise NotPermitted(
            f"constraint {key[:100]!r} is not known, and an unknown limit denies",
            f"use one of {', '.join(KINDS)}",
            {"reason": "unknown_constraint", "constraint": key[:100]},
        )
    try:
        return kind.read(value)
    except CallerMistaken as error:
        raise InvalidRecord(
            "invalid_constraint", f"constraint {key}: {error.message}", error.remedy, {"constraint": key}
        ) from error


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise CallerMistaken("the value is not a list of paths")
    unique = list(dict.fromkeys(value))
    if len(unique) > MAX_PATHS:
        raise CallerMistaken(f"{len(unique)} paths exceed {MAX_PATHS}", "use patterns")
    return unique
