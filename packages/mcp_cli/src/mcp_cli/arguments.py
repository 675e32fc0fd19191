"""Reads what people type as option values: durations, JSON objects, KEY=VALUE pairs.

Each reader either returns a value or raises `CallerMistaken` naming the input and the rule.
"""

import re
from collections.abc import Iterable
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
