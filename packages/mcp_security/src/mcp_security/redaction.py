"""Takes secrets out of what is about to be written down, at any depth; leaves the rest readable.

It judges by names (a key that speaks of a secret) and by shape (a bearer token, a `key=value` in a text).
It may hide too much; it is not proof against a secret under an innocent name.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from mcp_interface.capability import Sealed

REDACTED: Final = "[redacted]"
MAX_DEPTH: Final = 16
MAX_TEXT: Final = 4000
"""Characters of one text that are kept."""

_SECRET_NAMES: Final = (
    "password", "passwd", "passphrase", "secret", "token", "authorization", "apikey", "accesskey",
    "privatekey", "signingkey", "credential", "cookie", "bearer", "handle", "signature",
)  # fmt: skip
_WORDS = (
    r"passw(?:or)?d|passphrase|secret|token|authorization|api[_-]?key|access[_-]?key|private[_-]?key|cookie"
)
# every repetition is bounded or begins at a fixed word: no text can make these slow
_ASSIGNED = re.compile(
    rf"""(?i)((?:{_WORDS})[\w-]{{0,40}}["']?\s{{0,4}}[=:]\s{{0,4}}["']?)(?!\[redacted)[^\s"'&,;}}]+"""
)
_SIGNS: Final = frozenset("=: \t\n\r\f\v")
"""Each of the patterns needs one of them."""
_BEARER = re.compile(r"(?i)\b(bearer|basic)([ \t\r\n\f\v]{1,4})[A-Za-z0-9._~+/=-]{8,}")
_USERINFO = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)")


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Tell whether a key speaks of a secret, however it is spelt: `api_key`, `Api-Key`, `apiKey`."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    return any(word in plain for word in _SECRET_NAMES)


def redact_text(text: str) -> str:
    """Return a text without the secrets that show by their shape, valid as UTF-8, of bounded length."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    if not _SIGNS.intersection(text):
        return text
    text = _BEARER.sub(rf"\1\2{REDACTED}", text)
    text = _ASSIGNED.sub(rf"\1{REDACTED}", text)
    return _USERINFO.sub(rf"\1{REDACTED}\2", text)


def redact(value: Any, depth: int = 0) -> Any:
    """Return JSON-compatible data without secrets.

    Args:
        value: Anything; what is not JSON-compatible becomes the name of its type.
        depth: How deep `value` already lies; beyond `MAX_DEPTH` the rest is cut off.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping | list | tuple):
        return "[too deep]" if depth >= MAX_DEPTH else _redact_inside(value, depth + 1)
    if isinstance(value, datetime):
        return value.isoformat()
    return REDACTED if isinstance(value, Sealed) else f"[{type(value).__name__}]"


def _redact_inside(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...], depth: int) -> Any:
    if isinstance(value, Mapping):
        return {
            redact_text(str(key)): REDACTED if is_secret_name(str(key)) else redact(item, depth)
            for key, item in value.items()
        }
    return [redact(item, depth) for item in value]
