"""Secrets that a server's entry spells out: found by the names of their keys and by their form, and kept out of the
journal; pure.

Looked at are the values of env and headers, the address, and the arguments. What refers to a variable or to the vault is
no secret; nor is a plain word such as `true` or `oauth`, or a small number, under a name that only may be a secret's.
"""

import re
from collections.abc import Callable, Mapping
from itertools import count, zip_longest
from typing import Final

import msgspec

from mcp_core.protocol.configuration import Configuration, secret_name
from mcp_core.protocol.expansion import SHOWN, SHOWN_REMEDY, has_reference, reference_to, shown_secret
from mcp_interface.errors import CallerMistaken
from mcp_interface.server import ServerSpec

_SECRET: Final = re.compile(
    r"token|secret|password|passwd|passphrase|key|authorization|credential|cookie|bearer|pgpass",
    re.IGNORECASE,
)
_PERHAPS: Final = re.compile(
    r"(?:^|[^a-z])(?:pat|dsn|pass|pwd|auth|session|sessionid|sid|jwt|sas|connection[_-]?string)(?:$|[^a-z])",
    re.IGNORECASE,
)
"""Short words, which count only where they stand alone; under them stand settings, too."""
_SETTING: Final = re.compile(
    r"[_-](type|mode|method|timeout|ttl|enabled|host|port|user|username|domain|audience|scopes?|issuer|region)$",
    re.IGNORECASE,
)
_PLAIN: Final = re.compile(
    r"true|false|yes|no|on|off|none|null|auto|oauth2?|basic|bearer|\d{1,5}", re.IGNORECASE
)
_PLACE: Final = re.compile(r"_(path|file|dir|url|id|name)$", re.IGNORECASE)
"""How a variable ends that says where a secret is, or whose, and is none itself."""
_LOGIN: Final = re.compile(r"(?<=://)(?P<user>[^/?#@\s:]*):(?P<value>[^/?#\s]+)(?=@)")
"""User and password in a URL."""
_USER: Final = re.compile(r"(?<=://)(?P<value>[^/?#@\s:]+)(?=@)")
"""A user alone, which may be a token."""
_QUERY: Final = re.compile(r"(?<=[?&;])(?P<key>[\w.~%-]+)=(?P<value>[^&;#\s]+)")
_ARGUMENT: Final = re.compile(r"-{0,2}(?P<key>[A-Za-z][\w.-]*)(?:=|\s*:\s+)(?P<value>\S.*)", re.DOTALL)
"""An option, a variable or a header with its value, in one word."""
_OPTION: Final = re.compile(r"--?(?P<key>[A-Za-z][\w.-]*)")
_COUNTED: Final = re.compile(r"tokens|keys", re.IGNORECASE)
"""A number of something, as in --max-tokens."""

Found = Callable[[str, str], str]
"""Told the key and the value of a secret; gives what to write instead."""


def refuse_secrets(name: str, spec: ServerSpec) -> None:
    """Keep secrets out of what is journaled, and those of the vault out of what everybody on the machine can read.

    Raises:
        CallerMistaken: A value of env or headers, a part of the address or an argument looks like a secret written out;
            names its key only. Or a secret of the vault stands in the command line.
    """
    for part, values in (("env", spec.env), ("header", spec.headers)):
        for key in filter(lambda key: _is_secret(key, values[key]), values):
            _refuse(name, f"the value of {part} {key!r}", key, f"--{part} {key}=")
        for key, value in values.items():
            _in_url(value, lambda _, found, part=part, key=key: _refuse(  # type: ignore[misc]
                name, f"a part of {part} {key!r}", key, f"--{part} {key}=…"
            ))  # fmt: skip
    if spec.url is not None:
        _in_url(
            spec.url,
            lambda key, _: _refuse(name, f"{key!r} in its address", key, "--url https://…"),
            with_user=True,
        )
    for key in _in_arguments(spec.args):
        secret = secret_name(name, key)
        raise CallerMistaken(
            f"server {name!r}: the argument {key!r} looks like a secret written out",
            f"keep it in the vault with: umbrella secret set {secret}; and pass it by env: "
            f"umbrella mcp add {name} --env NAME='{reference_to(secret)}' …",
            {"server": name, "secret": secret},
        )
    shown = shown_secret(spec)
    if shown is not None:
        raise CallerMistaken(
            f"server {name!r}: {SHOWN.format(*shown)}", SHOWN_REMEDY, {"server": name, "secret": shown[0]}
        )


def without_secrets(found: Configuration) -> Configuration:
    """Put a reference `${secret:<server>/<key>}` in place of every secret that is written out.

    Those in arguments stay, because nothing can be put in their place: `refuse_secrets` says what to do.

    Returns:
        The configuration with references, a note about each, and all secrets to be put into the vault.
    """
    secrets = dict(found.secrets)
    notes = list(found.notes)

    def kept(name: str, key: str, value: str) -> str:
        secret = _free(secret_name(name, key), value, secrets)
        secrets[secret] = value
        notes.append(f"server {name!r}: the secret in {key!r} is kept in the vault, as {secret}")
        return reference_to(secret)

    def referring(name: str, values: dict[str, str]) -> dict[str, str]:
        return {
            key: kept(name, key, value)
            if _is_secret(key, value)
            else _in_url(value, lambda _, part, key=key: kept(name, key, part))  # type: ignore[misc]
            for key, value in values.items()
        }

    def addressed(name: str, url: str) -> str:
        return _in_url(url, lambda key, value: kept(name, key, value), with_user=True)

    servers = {
        name: msgspec.structs.replace(
            spec,
            env=referring(name, spec.env),
            headers=referring(name, spec.headers),
            url=None if spec.url is None else addressed(name, spec.url),
        )
        for name, spec in found.servers.items()
    }
    return Configuration(servers, notes, secrets)


def _refuse(server: str, what: str, key: str, option: str) -> str:
    secret = secret_name(server, key)
    raise CallerMistaken(
        f"server {server!r}: {what} looks like a secret written out",
        f"keep it in the vault with: umbrella secret set {secret}; and refer to it: "
        f"umbrella mcp add {server} {option}'{reference_to(secret)}' …",
        {"server": server, "secret": secret},
    )


def _is_secret(key: str, value: str) -> bool:
    if not value or has_reference(value):
        return False
    if _SECRET.search(key):
        return not _PLACE.search(key)
    return bool(_PERHAPS.search(key) and not _SETTING.search(key) and not _PLAIN.fullmatch(value)) and (
        "session" in key.lower() or not _PLACE.search(key)
    )


def _in_url(text: str, found: Found, *, with_user: bool = False) -> str:
    """The text with the secrets of the URLs in it replaced."""
    if "://" not in text:
        return text

    def login(match: re.Match[str]) -> str:
        value = match["value"]
        return match[0] if has_reference(value) else f"{match['user']}:{found('password', value)}"

    def user(match: re.Match[str]) -> str:
        return match[0] if has_reference(match[0]) else found("user", match[0])

    def query(match: re.Match[str]) -> str:
        key, value = match["key"], match["value"]
        return f"{key}={found(key, value)}" if _is_secret(key, value) else match[0]

    text = _QUERY.sub(query, _LOGIN.sub(login, text))
    return _USER.sub(user, text) if with_user else text


def _in_arguments(args: list[str]) -> list[str]:
    """The keys of the arguments that look like secrets."""
    keys: list[str] = []
    for each, following in zip_longest(args, args[1:], fillvalue=""):
        _in_url(each, lambda key, _: keys.append(key) or "")  # type: ignore[func-returns-value]
        match = _ARGUMENT.fullmatch(each)
        value = "" if match is None else match["value"]
        if match is None:
            match = _OPTION.fullmatch(each)
            value = "" if following.startswith("-") else following
        if (
            match is not None
            and not (_COUNTED.search(match["key"]) and value.isdigit())
            and not _PLAIN.fullmatch(value)
        ):
            key = match["key"].replace("-", "_")
            if _is_secret(key, value) and not value.startswith(("/", "./", "~")):
                keys.append(match["key"])
    return keys


def _free(secret: str, value: str, taken: Mapping[str, str]) -> str:
    """The name, numbered when another value has it already: keys that differ in odd letters are written alike."""
    numbered = (secret if number == 1 else f"{secret}_{number}" for number in count(1))
    return next(name for name in numbered if taken.get(name, value) == value)
