"""Secrets that a server's entry spells out: found by the names of their keys, and kept out of the journal; pure."""

import re
from collections.abc import Mapping
from itertools import count
from typing import Final

import msgspec

from mcp_core.protocol.configuration import Configuration, secret_name
from mcp_core.protocol.expansion import has_reference, reference_to
from mcp_interface.errors import CallerMistaken
from mcp_interface.server import ServerSpec

_SECRET: Final = re.compile(r"token|secret|password|passwd|key|authorization|credential", re.IGNORECASE)
_PLACE: Final = re.compile(r"_(path|file|dir|url|id|name)$", re.IGNORECASE)
"""How a variable ends that says where a secret is, or whose, and is none itself."""


def refuse_secrets(name: str, spec: ServerSpec) -> None:
    """Keep secrets out of what is journaled.

    Raises:
        CallerMistaken: A value of env or headers looks like a secret written out; names its key only.
    """
    for part, values in (("env", spec.env), ("header", spec.headers)):
        for key in filter(lambda key: _is_secret(key, values[key]), values):
            secret = secret_name(name, key)
            raise CallerMistaken(
                f"server {name!r}: the value of {part} {key!r} looks like a secret written out",
                f"keep it in the vault with: umbrella secret set {secret}; and refer to it: "
                f"umbrella mcp add {name} --{part} {key}='{reference_to(secret)}' …",
                {"server": name, "secret": secret},
            )


def without_secrets(found: Configuration) -> Configuration:
    """Put a reference `${secret:<server>/<key>}` in place of every secret that is written out.

    Returns:
        The configuration with references, a note about each, and all secrets to be put into the vault.
    """
    secrets = dict(found.secrets)
    notes = list(found.notes)

    def referring(name: str, values: dict[str, str]) -> dict[str, str]:
        kept = dict(values)
        for key, value in values.items():
            if _is_secret(key, value):
                secret = _free(secret_name(name, key), value, secrets)
                secrets[secret], kept[key] = value, reference_to(secret)
                notes.append(f"server {name!r}: the secret in {key!r} is kept in the vault, as {secret}")
        return kept

    servers = {
        name: msgspec.structs.replace(
            spec, env=referring(name, spec.env), headers=referring(name, spec.headers)
        )
        for name, spec in found.servers.items()
    }
    return Configuration(servers, notes, secrets)


def _is_secret(key: str, value: str) -> bool:
    return bool(value and _SECRET.search(key) and not _PLACE.search(key) and not has_reference(value))


def _free(secret: str, value: str, taken: Mapping[str, str]) -> str:
    """The name, numbered when another value has it already: keys that differ in odd letters are written alike."""
    numbered = (secret if number == 1 else f"{secret}_{number}" for number in count(1))
    return next(name for name in numbered if taken.get(name, value) == value)
