"""`${VAR}`, `${VAR:-default}` and `${secret:NAME}` in a server's configuration; pure but for asking the vault.

Journaled configuration keeps the reference, the started server gets the value, and the value is taken out of
every text that goes back: what came from a variable or the vault is treated as a secret. `${env:VAR}`, as VS Code
writes it, is the same as `${VAR}`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from mcp_core.protocol.oauth_record import PREFIX
from mcp_interface.errors import NotFound, ServerUnavailable
from mcp_interface.secret import Vault
from mcp_interface.server import ServerSpec

_REFERENCE: Final = re.compile(
    r"\$\{(?:secret:(?P<secret>[A-Za-z0-9][A-Za-z0-9_.:/-]{0,200})"
    r"|(?:env:)?(?P<variable>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}"
)
_SHORTEST_SECRET: Final = 4


class Expanded(msgspec.Struct, frozen=True):
    """A specification ready to be started, and what must not be shown of it."""

    spec: ServerSpec
    hidden: dict[str, str] = {}
    """Each value that was put in, and the reference it came from."""

    def redact(self, text: str) -> str:
        """Put the references back in place of their values; values under four characters stay."""
        for value, reference in sorted(self.hidden.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(value, reference)
        return text

    def __repr__(self) -> str:
        return f"Expanded({len(self.hidden)} variables)"


def references(spec: ServerSpec) -> set[str]:
    """The names of the variables that a specification refers to."""
    return {name for match in _found(spec) if (name := match["variable"]) is not None}


def secret_references(spec: ServerSpec) -> set[str]:
    """The names of the secrets of the vault that a specification refers to."""
    return {name for match in _found(spec) if (name := match["secret"]) is not None}


def reference_to(secret: str) -> str:
    """How a specification refers to a secret of the vault."""
    return f"${{secret:{secret}}}"


async def resolve(spec: ServerSpec, environment: Mapping[str, str], vault: Vault | None) -> Expanded:
    """Replace every reference, those to secrets by what the vault holds now.

    Args:
        spec: As it is journaled.
        environment: Of the node and what clients lent it.
        vault: None has no secrets.

    Raises:
        ServerUnavailable: A variable or secret is not there; `details` names it.
        StorageCorrupt: The vault cannot decrypt a secret.
    """
    secrets: dict[str, str] = {}
    for name in secret_references(spec):
        if vault is not None and not name.startswith(
            PREFIX
        ):  # a person's login is shown to its own server only
            try:
                secrets[name] = await vault.get(name)
            except NotFound:
                continue  # `expand` says which one
    return expand(spec, environment, secrets)


def expand(
    spec: ServerSpec, environment: Mapping[str, str], secrets: Mapping[str, str] | None = None
) -> Expanded:
    """Replace every reference in command, args, env, cwd, url and headers; those in `auth` are for the login to read.

    As in a shell, the default also stands in for an empty variable. Other text, a lone `$` included, stays.

    Raises:
        ServerUnavailable: A variable without a default or a secret is not there; `details["variable"]` or
            `details["secret"]` names it.
    """
    hidden: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        value = _value(match, environment, secrets or {})
        if value is None:
            return str(match["default"])
        if len(value) >= _SHORTEST_SECRET:
            hidden[value] = match[0]
        return value

    def whole(text: str) -> str:
        return _REFERENCE.sub(replace, text)

    ready = msgspec.structs.replace(
        spec,
        command=None if spec.command is None else whole(spec.command),
        args=[whole(argument) for argument in spec.args],
        env={key: whole(value) for key, value in spec.env.items()},
        cwd=None if spec.cwd is None else whole(spec.cwd),
        url=None if spec.url is None else whole(spec.url),
        headers={key: whole(value) for key, value in spec.headers.items()},
    )
    return Expanded(ready, hidden)


def has_reference(text: str) -> bool:
    """Whether the text takes anything from a variable or the vault."""
    return _REFERENCE.search(text) is not None


def _value(match: re.Match[str], environment: Mapping[str, str], secrets: Mapping[str, str]) -> str | None:
    """What a reference stands for; None is its default."""
    name = match["secret"]
    if name is not None:
        if name not in secrets:
            raise ServerUnavailable(
                f"there is no secret {name!r}",
                f"put it into the vault: umbrella secret set {name}",
                {"secret": name},
            )
        return secrets[name]
    name, default = match["variable"], match["default"]
    value = environment.get(name)
    if value is None and default is None:
        raise ServerUnavailable(
            f"environment variable {name!r} is not set",
            f"set {name} where the node is started, or write ${{{name}:-default}}",
            {"variable": name},
        )
    return None if default is not None and not value else value


def _found(spec: ServerSpec) -> Iterator[re.Match[str]]:
    login = () if spec.auth is None else (spec.auth.client_id, spec.auth.client_secret, spec.auth.private_key)
    texts = [spec.command, *spec.args, *spec.env.values(), spec.cwd, spec.url, *spec.headers.values(), *login]
    for text in texts:
        if text is not None:
            yield from _REFERENCE.finditer(text)
