"""`${VAR}`, `${VAR:-default}` and `${secret:NAME}` in a server's configuration; pure but for asking the vault.

Journaled configuration keeps the reference, the started server gets the value, and the value is taken out of
every text that goes back: what came from a variable or the vault is treated as a secret. `${env:VAR}`, as VS Code
writes it, is the same as `${VAR}`.

A secret of the vault is never a word of a command line, nor a folder: those of a process can be read by everybody on
the machine.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from mcp_core.protocol.oauth_record import PREFIX
from mcp_core.protocol.pieces import without_pieces
from mcp_interface.errors import NotFound, ServerUnavailable
from mcp_interface.secret import Vault
from mcp_interface.server import ServerSpec

_REFERENCE: Final = re.compile(
    r"\$\{(?:secret:(?P<secret>[A-Za-z0-9][A-Za-z0-9_.:/-]{0,200})"
    r"|(?:env:)?(?P<variable>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}"
)
_SHORTEST_SECRET: Final = 4
_VAULT: Final = "${secret:"
_SHORTEST_IN_DATA: Final = 8
"""Results are data: what is shorter is taken for a coincidence there."""


SHOWN: Final = "the secret {0!r} stands in {1}, which everybody on the machine can read"
SHOWN_REMEDY: Final = "pass it by env: --env NAME='${secret:…}'; most programs read it from a variable"


class Expanded(msgspec.Struct, frozen=True):
    """A specification ready to be started, and what must not be shown of it."""

    spec: ServerSpec
    hidden: dict[str, str] = {}
    """Each value that was put in, and the reference it came from."""

    def redact(self, text: str) -> str:
        """Put the references back in place of their values, also of pieces; values under four characters stay.

        A piece is what is left where a text was cut: 16 characters of a value in a row, or more.
        """
        longest_first = sorted(self.hidden.items(), key=lambda pair: -len(pair[0]))
        for value, reference in longest_first:
            text = text.replace(value, reference)
        for value, reference in longest_first:
            text = without_pieces(text, value, reference)
        return text

    def redact_data(self, data: Any) -> Any:
        """The same data without secrets of the vault of eight characters or more, in whatever text in it.

        Variables stay: they are folders and names as often as secrets, and a path that is written otherwise is another
        path. Bytes and keys stay as they are, too, and so do pieces: what a tool answers may be long.
        """
        secrets = {
            value: reference
            for value, reference in self.hidden.items()
            if reference.startswith(_VAULT) and len(value) >= _SHORTEST_IN_DATA
        }
        return _without(data, sorted(secrets.items(), key=lambda pair: -len(pair[0]))) if secrets else data

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
        ServerUnavailable: A variable or secret is not there, or a secret stands where others could read it; `details`
            names it.
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
        ServerUnavailable: A variable without a default or a secret is not there, or a secret stands in a word of the
            command line; `details["variable"]` or `details["secret"]` names it.
    """
    shown = shown_secret(spec)
    if shown is not None:
        raise ServerUnavailable(SHOWN.format(*shown), SHOWN_REMEDY, {"secret": shown[0]})
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


def shown_secret(spec: ServerSpec) -> tuple[str, str] | None:
    """The first secret of the vault that everybody on the machine could read, and where it stands."""
    words = [("command", spec.command), *(("args", each) for each in spec.args), ("cwd", spec.cwd)]
    for part, text in words:
        for match in _REFERENCE.finditer(text or ""):
            if match["secret"] is not None:
                return match["secret"], part
    return None


def has_reference(text: str) -> bool:
    """Whether the text takes anything from a variable or the vault."""
    return _REFERENCE.search(text) is not None


def _without(data: Any, secrets: Sequence[tuple[str, str]]) -> Any:
    if isinstance(data, str):
        for value, reference in secrets:
            data = data.replace(value, reference)
        return data
    if isinstance(data, Mapping):
        return {key: _without(each, secrets) for key, each in data.items()}
    if isinstance(data, list | tuple):
        return [_without(each, secrets) for each in data]
    if isinstance(data, msgspec.Struct):
        fields = {name: _without(getattr(data, name), secrets) for name in data.__struct_fields__}
        return msgspec.structs.replace(data, **fields)
    return data


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
