"""Reads what people type as option values: durations, moments, JSON objects, KEY=VALUE pairs, limits.

Each reader either returns a value or raises `CallerMistaken` naming the input and the rule.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from mcp_interface.errors import CallerMistaken

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])")


def duration(text: str) -> float:
    """Read `30s`, `15m`, `1h`, `7d`, `2w` or a sum such as `1h30m`; the result is in seconds.

    Raises:
        CallerMistaken: It is not a positive duration.
    """
    parts = _DURATION.findall(text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise CallerMistaken(f"{text!r} is not a duration", "write for example 30s, 15m, 1h or 7d")
    return seconds


def json_object(text: str) -> dict[str, Any]:
    """Read the arguments of a tool; an empty text is an empty object.

    Raises:
        CallerMistaken: It is not JSON, or not an object.
    """
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise CallerMistaken(
            f"the arguments are not JSON: {error}", 'write an object such as {"path": "/tmp/notes.txt"}'
        ) from error
    except UnicodeEncodeError as error:
        raise CallerMistaken("the arguments hold characters that are not text", "remove them") from error
    if not isinstance(value, dict):
        raise CallerMistaken(
            f"the arguments are a JSON {type(value).__name__}, not an object", 'write {"name": value}'
        )
    return value


def limits(texts: Iterable[str]) -> dict[str, Any]:
    """Read KEY=JSON texts: `allowed_hosts=["example.org"]`, `max_bytes=1000`; a later key wins.

    Raises:
        CallerMistaken: A text has no `=` or no key, or its value is not JSON.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, mark, value = text.partition("=")
        if not mark or not key.strip():
            raise CallerMistaken(f"{text!r} is not KEY=JSON", "write for example max_bytes=1000")
        try:
            found[key.strip()] = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise CallerMistaken(
                f"the value of {key.strip()} is not JSON: {error}",
                """write for example --limit 'allowed_hosts=["example.org"]'""",
            ) from error
    return found


def moment(text: str, now: datetime) -> datetime:
    """Read an instant: a duration before now such as `2h`, or a date or time of ISO 8601, UTC unless it says otherwise.

    Raises:
        CallerMistaken: It is neither.
    """
    try:
        if _DURATION.match(text):
            return now - timedelta(seconds=duration(text))
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, CallerMistaken) as error:
        raise CallerMistaken(
            f"{text!r} is not a moment", "write 2h for two hours ago, or 2026-11-21 or 2026-11-21T14:30 (UTC)"
        ) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Read KEY=VALUE texts; a later key wins. Values may be `${VAR}` references.

    Raises:
        CallerMistaken: A text has no `=` or no key.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, mark, value = text.partition("=")
        if not mark or not key.strip():
            raise CallerMistaken(f"{text!r} is not KEY=VALUE", "write for example TOKEN=${MY_TOKEN}")
        found[key.strip()] = value
    return found
