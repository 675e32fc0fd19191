"""Takes secrets out of what is about to be written down, at any depth; leaves the rest readable.

It judges by names (a key or an option that speaks of a secret) and by shape (a bearer token, a `key=value` in a
text, the form of a well-known kind of token). It may hide too much; it is not proof against a secret under an
innocent name. What comes out can always be encoded as JSON, whatever went in.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from mcp_interface.capability import Sealed

REDACTED: Final = "[redacted]"
MAX_DEPTH: Final = 16
MAX_TEXT: Final = 4000
"""Characters of one text that are kept."""
_MAX_CACHED: Final = 64
"""Characters of the longest name whose judgement is remembered."""
_MAX_BITS: Final = 256
"""Of a whole number that is written in full."""
_SHORT: Final = 20
"""A token is longer than this."""

_SECRET_NAMES: Final = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "authorization", "apikey", "accesskey",
    "privatekey", "signingkey", "credential", "cookie", "bearer", "handle", "signature", "jwt",
)  # fmt: skip
_WORDS = (
    r"passw(?:or)?d|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key"
)
# Each pattern below but the last holds one of these in small letters. Looking for plain pieces first is what keeps ordinary
# texts cheap: a search that ignores case costs ten times as much.
_HINTS: Final = (
    "passw", "pwd", "passphrase", "secret", "token", "key", "authoriz", "cookie", "bearer", "basic",
    "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "akia", "asia", "xox", "eyj",
)  # fmt: skip
# every repetition is bounded or begins at a fixed word: no text can make these slow
_HEADER = re.compile(r"(?i)((?:authorization|cookie)[\"']?\s{0,4}[=:]\s{0,4}[\"']?)[^\"'\r\n]+")
_ASSIGNED = re.compile(
    rf"""(?i)((?:{_WORDS})[\w-]{{0,40}}["']?\s{{0,4}}[=:]\s{{0,4}})"""
    rf"""(?!["']?\[redacted)(?:"[^"]*"?|'[^']*'?|[^\s"'&,;}}]+)"""
)
_OPTION = re.compile(rf"(?i)(--[\w-]{{0,40}}(?:{_WORDS})[\w-]{{0,40}}[ \t]{{1,4}})(?!\[redacted)[^\s-]\S*")
_BEARER = re.compile(r"(?i)\b(bearer|basic)([ \t\r\n\f\v]{1,4})[A-Za-z0-9._~+/=-]{8,}")
_TOKEN = re.compile(
    r"\b(?:sk-[\w-]{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|A[KS]IA[0-9A-Z]{16}|xox[a-z]-[\w-]{10,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"
)
_PEM = re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[^-]*")
_USERINFO = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)")


def is_secret_name(name: str) -> bool:
    """Tell whether a key speaks of a secret, however it is spelt: `api_key`, `Api-Key`, `apiKey`."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    return any(word in plain for word in _SECRET_NAMES)


def redact_text(text: str) -> str:
    """Return a text without the secrets that show by their shape, valid as UTF-8, of bounded length."""
    if len(text) < _SHORT and (text.isidentifier() or not text):
        return text
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    small = text.lower()
    for hint in _HINTS:
        if hint in small:
            text = _redact_shapes(text)
            break
    return _USERINFO.sub(rf"\1{REDACTED}\2", text) if "://" in text and "@" in text else text


def redact(value: Any, depth: int = 0) -> Any:
    """Return JSON-compatible data without secrets, sharing nothing changeable with what was given.

    Args:
        value: Anything; what is not JSON-compatible becomes the name of its type.
        depth: How deep `value` already lies; beyond `MAX_DEPTH` the rest is cut off.
    """
    kind = type(value)
    if kind is str:
        return redact_text(value)
    if kind is dict:
        return "[too deep]" if depth >= MAX_DEPTH else _redact_mapping(value, depth + 1)
    if value is None or kind is bool or kind is float:
        return value
    return _redact_other(value, depth)


def _redact_other(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return "[too deep]" if depth >= MAX_DEPTH else _redact_mapping(value, depth + 1)
    if isinstance(value, list | tuple):
        return "[too deep]" if depth >= MAX_DEPTH else _redact_list(value, depth + 1)
    # subclasses become plain: the encoder knows no others
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if whole.bit_length() <= _MAX_BITS else f"[int of {whole.bit_length()} bits]"
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return redact_text(str.__str__(value))
    return _redact_foreign(value)


def _redact_foreign(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return REDACTED if isinstance(value, Sealed) else f"[{type(value).__name__}]"


def _redact_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        short = type(key) is str and len(key) <= _MAX_CACHED
        name, secret = _judged_name(key) if short else _judge_name(key)
        if secret:
            found[name] = REDACTED
        else:
            found[name] = redact_text(item) if type(item) is str else redact(item, depth)
    return found


def _judge_name(key: Any) -> tuple[str, bool]:
    """Return a key as it is written down, and whether its value is a secret."""
    name = redact(key, MAX_DEPTH)
    return str(name), is_secret_name(key if isinstance(key, str) else str(name))


_judged_name = lru_cache(maxsize=1024)(_judge_name)


def _redact_list(value: Sequence[Any], depth: int) -> list[Any]:
    found: list[Any] = []
    after_option = False
    for item in value:
        found.append(REDACTED if after_option else redact(item, depth))
        # an argument vector: the word behind `--password` is the password
        after_option = (
            isinstance(item, str) and item.startswith("-") and "=" not in item and is_secret_name(item)
        )
    return found


def _redact_shapes(text: str) -> str:
    text = _HEADER.sub(rf"\1{REDACTED}", text)
    text = _BEARER.sub(rf"\1\2{REDACTED}", text)
    text = _ASSIGNED.sub(rf"\1{REDACTED}", text)
    text = _OPTION.sub(rf"\1{REDACTED}", text)
    text = _TOKEN.sub(REDACTED, text)
    return _PEM.sub(rf"\1{REDACTED}", text)
