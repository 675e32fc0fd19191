"""Limits in time: windows of the week by the clock on a wall somewhere, and a first instant.

    {"zone": "Europe/Zurich", "days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00"}

What counts is what the wall shows at the instant of the action. So an hour that daylight saving skips is
never inside, one that it repeats is inside twice, and a window across midnight belongs to the day it begins.
`to` is the first minute outside; "24:00" is the end of the day.
"""

import re
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.question import Check, Question, too_wide
from mcp_security.constraints.values import shown, texts, unique

MAX_WINDOWS: Final = 16
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_ZONE: Final = re.compile(r"UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){1,2}")
"""Names as `Area/City`: `localtime`, `right/…` (other seconds) and `posix/…` beside them are not names."""
_REMEDY: Final = 'write {"zone": "Europe/Zurich", "days": ["mon"], "from": "08:00", "to": "18:00"}'

Window = dict[str, Any]


class TimeWindows:
    """A list of windows, inside all of which an action must fall; the meet is all windows of both."""

    types: frozenset[str] | None = None

    def read(self, value: Any) -> list[Window]:
        """Read one window or a list of them."""
        windows = [value] if isinstance(value, dict) else value
        if not isinstance(windows, list | tuple) or not 0 < len(windows) <= MAX_WINDOWS:
            raise CallerMistaken(f"the value is not a list of 1 to {MAX_WINDOWS} windows", _REMEDY)
        canonical: list[Window] = unique([_window(window) for window in windows])
        if not all(_minutes(canonical).values()):
            raise CallerMistaken("the windows have no minute in common", "write one that begins earlier")
        return canonical

    def meet(self, parent: list[Window], child: list[Window]) -> list[Window]:
        """Return all windows of both; those of different zones are compared only when they are judged."""
        both: list[Window] = unique([*parent, *child])
        if not all(_minutes(both).values()):
            raise too_wide("time_window has no minute in common with the parent's", "ask for one inside it")
        return self.read(both)

    def check(self, value: list[Window]) -> Check:
        """Judge the present instant."""
        zones = [(_zone(name), minutes) for name, minutes in _minutes(value).items()]
        shown_as = "; ".join(_shown(window) for window in value)

        def refuse(question: Question) -> str | None:
            now = question.now
            if now.tzinfo is None:
                return "time_window cannot be judged: the time has no zone"
            for zone, minutes in zones:
                wall = now.astimezone(zone)
                minute = wall.weekday() * _DAY + wall.hour * 60 + wall.minute
                if not minutes >> minute & 1:
                    return f"it is {wall:%a %H:%M} in {zone.key}, outside time_window {shown_as}"
            return None

        return refuse


class NotBefore:
    """The first instant at which a right holds; the meet is the later one."""

    types: frozenset[str] | None = None

    def read(self, value: Any) -> str:
        """Read an instant with its zone; kept in UTC."""
        try:
            instant: datetime = msgspec.convert(value, Instant)
            return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError) as error:  # msgspec.ValidationError is a ValueError
            raise CallerMistaken(
                f"{shown(value)} is not an instant with a zone", "write 2026-01-31T08:00:00Z"
            ) from error

    def meet(self, parent: str, child: str) -> str:
        """Return the later one."""
        return max(parent, child, key=datetime.fromisoformat)

    def check(self, value: str) -> Check:
        """Judge the present instant."""
        begins = datetime.fromisoformat(value)

        def refuse(question: Question) -> str | None:
            if question.now.tzinfo is not None and question.now >= begins:
                return None
            return f"it holds not_before {value}"

        return refuse


def _window(value: Any) -> Window:
    if not isinstance(value, dict) or not {"zone", "from", "to"} <= value.keys() <= {
        "zone",
        "days",
        "from",
        "to",
    }:
        raise CallerMistaken("a window has zone, from, to, perhaps days, and nothing else", _REMEDY)
    days = {day.lower() for day in texts(value.get("days", DAYS), len(DAYS), "days")}
    if not days or not days <= {*DAYS}:
        raise CallerMistaken("days are some of " + ", ".join(DAYS), _REMEDY)
    _zone(value["zone"])
    begin, end = _minute(value["from"]), _minute(value["to"])
    if begin in {end, _DAY}:
        raise CallerMistaken(
            f"from {value['from']} to {value['to']} is no time at all", 'write "00:00" to "24:00"'
        )
    return {
        "zone": value["zone"],
        "days": [day for day in DAYS if day in days],
        "from": value["from"],
        "to": value["to"],
    }


def _zone(name: Any) -> ZoneInfo:
    try:
        if isinstance(name, str) and _ZONE.fullmatch(name) and len(name) <= 64:
            return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        pass
    raise CallerMistaken(f"{shown(name)} is no known time zone", "write an IANA name, such as Europe/Zurich")


def _minute(value: Any) -> int:
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        raise CallerMistaken(f"{shown(value)} is no time of day", "write 00:00 to 24:00")
    return int(value[:2]) * 60 + int(value[3:])


def _minutes(windows: list[Window]) -> dict[str, int]:
    """The minutes of a week that all windows of one zone have in common, by zone, as bits of a number."""
    by_zone: dict[str, list[int]] = {}
    for window in windows:
        begin, end = _minute(window["from"]), _minute(window["to"])
        length = (end - begin) % _DAY or _DAY
        once = (1 << length) - 1
        bits = 0
        for day in window["days"]:
            bits |= once << (DAYS.index(day) * _DAY + begin)
        by_zone.setdefault(window["zone"], []).append((bits | bits >> _WEEK) & ((1 << _WEEK) - 1))
    return {zone: reduce(and_, found) for zone, found in by_zone.items()}


def _shown(window: Window) -> str:
    return f"{'-'.join(window['days'])} {window['from']}-{window['to']} {window['zone']}"
