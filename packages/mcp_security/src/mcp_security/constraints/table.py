"""Every limit this kernel knows, one row each, and how the limits of a right are read, met and made to judge.

A key that is not in the table denies, both when a right is minted and when it is judged, so that an older
kernel never ignores a limit that a newer one wrote. The meet is never above either side, whatever the child
asks for.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_interface.capability import MAX_DEPTH
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotPermitted
from mcp_security.constraints.arguments import Arguments
from mcp_security.constraints.commands import Commands
from mcp_security.constraints.hosts import hosts
from mcp_security.constraints.names import Endings, operations, statements, tables, tools
from mcp_security.constraints.numbers import Number, Rate, Rates, Size
from mcp_security.constraints.paths import Inside, Outside
from mcp_security.constraints.question import Check, Kind, Question
from mcp_security.constraints.values import form, shown
from mcp_security.constraints.windows import NotBefore, TimeWindows

KINDS: Final[Mapping[str, Kind]] = {
    "allowed_extensions": Endings("allowed_extensions"),
    "allowed_hosts": hosts("allowed_hosts"),
    "allowed_methods": operations("allowed_methods", "api"),
    "allowed_paths": Inside(),
    "allowed_statements": statements("allowed_statements"),
    "allowed_tables": tables("allowed_tables"),
    "allowed_tools": tools("allowed_tools"),
    "arguments": Arguments(),
    "commands": Commands(),
    "denied_paths": Outside(),
    "max_bytes": Size("max_bytes", frozenset({"api", "db", "fs", "shell", "tool"})),
    "max_delegation_depth": Number(0, MAX_DEPTH),
    "max_file_size": Size("max_file_size", frozenset({"fs"})),
    "max_uses": Number(1),
    "not_before": NotBefore(),
    "operations": operations("operations"),
    "rate_limit": Rates(),
    "time_window": TimeWindows(),
}
"""Every limit by name, but `delegation_constraints`, which is made of all the others."""

ONWARD: Final = "delegation_constraints"
"""Limits that do not bind the holder, but everything that is derived from the right."""


class Rules(msgspec.Struct, frozen=True):
    """Constraints, read once, ready to judge with."""

    checks: tuple[Check, ...] = ()
    max_uses: int | None = None
    rates: tuple[Rate, ...] = ()
    limits: dict[str, Any] = {}
    """The canonical constraints, a copy of our own: the dict in a `Capability` is in everybody's hands."""


def read(constraints: Mapping[str, Any], type: str | None = None) -> dict[str, Any]:
    """Return constraints in canonical form; reading that again changes nothing, nor does a trip through JSON.

    Args:
        constraints: Limits by name.
        type: Resource type of the right; a limit that cannot bite on it is refused. None asks nothing.

    Raises:
        NotPermitted: A key is unknown; reason `unknown_constraint`.
        InvalidRecord: Rule `invalid_constraint`: a value is not what its key asks for, or the key has no
            meaning on this type.
    """
    if not isinstance(constraints, Mapping):
        raise _invalid("constraints", CallerMistaken(f"{shown(constraints)} is not an object of limits"))
    return {key: _value(key, value, type) for key, value in constraints.items()}


def merge(parent: Mapping[str, Any], child: Mapping[str, Any], type: str | None = None) -> dict[str, Any]:
    """Return the limits of a right that is handed on: at most the parent's, at most what was asked for.

    The parent's `delegation_constraints` bind the child, and are handed on with it.

    Raises:
        NotPermitted: A key is unknown, or a value cannot be narrowed to the parent's.
        InvalidRecord: As `read`.
    """
    mine, asked = read(parent, type), read(child, type)
    onward, further = mine.pop(ONWARD, {}), asked.pop(ONWARD, {})
    merged = dict(mine)
    for key, value in onward.items():
        merged[key] = _tighter(key, mine[key], value) if key in mine and key not in asked else value
    for key, value in asked.items():
        # what was asked for lies inside both, or is refused; the two themselves need not fit each other
        inner = _met(key, onward[key], value) if key in onward else value
        merged[key] = _met(key, mine[key], inner) if key in mine else inner
    if onward or further:
        both = {key: _met(key, onward[key], further[key]) for key in onward.keys() & further.keys()}
        merged[ONWARD] = {**onward, **further, **both}
    return merged


def meets(parent: Mapping[str, Any], child: Mapping[str, Any]) -> bool:
    """Tell whether a child's limits are already at most its parent's."""
    try:
        return form(merge(parent, child)) == form(read(child))
    except (NotPermitted, InvalidRecord):
        return False


def compile_rules(constraints: Mapping[str, Any], type: str | None = None) -> Rules:
    """Prepare constraints for judging.

    Args:
        constraints: Limits by name.
        type: Resource type of the right, as in `read`. Without it each check looks at the type itself.

    Raises:
        NotPermitted: As `read`.
        InvalidRecord: As `read`.
    """
    limits = read(constraints, type)
    checks = [_check(key, value, type) for key, value in limits.items() if key != ONWARD]
    return Rules(
        checks=tuple(check for check in checks if check is not None),
        max_uses=limits.get("max_uses"),
        rates=tuple(Rate(**rate) for rate in limits.get("rate_limit", [])),
        limits=limits,
    )


def _check(key: str, value: Any, type: str | None) -> Check | None:
    types, check = KINDS[key].types, KINDS[key].check(value)
    if check is None or types is None or type is not None:
        return check

    def refuse(question: Question) -> str | None:
        if question.resource.type not in types:
            return f"{key} says nothing about {question.resource.type}, and a limit that cannot bite denies"
        return check(question)

    return refuse


def _value(key: Any, value: Any, type: str | None) -> Any:
    if key == ONWARD:
        return _onward(value, type)
    kind = KINDS.get(key) if isinstance(key, str) else None
    if kind is None:
        raise NotPermitted(
            f"constraint {shown(key)} is not known, and an unknown limit denies",
            f"use one of {', '.join([*KINDS, ONWARD])}",
            {"reason": "unknown_constraint", "constraint": str(key)[:100]},
        )
    if type is not None and kind.types is not None and type not in kind.types:
        raise _invalid(
            key, CallerMistaken(f"it limits {', '.join(sorted(kind.types))}, not {type}", "leave it out")
        )
    try:
        return kind.read(value)
    except CallerMistaken as error:
        raise _invalid(key, error) from error


def _onward(value: Any, type: str | None) -> dict[str, Any]:
    if not isinstance(value, Mapping) or ONWARD in value:
        raise _invalid(ONWARD, CallerMistaken("the value is not an object of limits other than itself"))
    return read(value, type)


def _met(key: str, parent: Any, child: Any) -> Any:
    try:
        return KINDS[key].meet(parent, child)
    except NotPermitted as error:
        error.details.setdefault("constraint", key)
        raise
    except CallerMistaken as error:  # both together are too many
        raise _invalid(key, error) from error


def _tighter(key: str, one: Any, other: Any) -> Any:
    """Meet two limits of which neither was asked for: whichever is inside the other."""
    try:
        return _met(key, one, other)
    except NotPermitted:
        return _met(key, other, one)


def _invalid(key: str, error: CallerMistaken) -> InvalidRecord:
    return InvalidRecord(
        "invalid_constraint", f"constraint {key}: {error.message}", error.remedy, {"constraint": key}
    )
