"""`${VAR}` and `${VAR:-default}` in a server's configuration; pure.

Journaled configuration keeps the reference, the started server gets the value, and the value is taken out of
every text that goes back: what came from a variable is treated as a secret.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from mcp_interface.errors import ServerUnavailable
from mcp_interface.server import ServerSpec

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SHORTEST_SECRET: Final = 4


class Expanded(msgspec.Struct, frozen=True):
    """A specification ready to be started, and what must not be shown of it."""

    spec: ServerSpec
    hidden: dict[str, str] = {}
    """Value of each variable that was used, and the reference it came from."""

    def redact(self, text: str) -> str:
        """Put the references back in place of their values; values under four characters stay."""
        for value, reference in sorted(self.hidden.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(value, reference)
        return text

    def __repr__(self) -> str:
        return f"Expanded({len(self.hidden)} variables)"


def references(spec: ServerSpec) -> set[str]:
    """The names of the variables that a specification refers to."""
    texts = [spec.command, *spec.args, *spec.env.values(), spec.cwd, spec.url, *spec.headers.values()]
    return {match[1] for text in texts if text is not None for match in _REFERENCE.finditer(text)}


def expand(spec: ServerSpec, environment: Mapping[str, str]) -> Expanded:
    """Replace every reference in command, args, env, cwd, url and headers.

    As in a shell, the default also stands in for an empty variable. Other text, a lone `$` included, stays.

    Raises:
        ServerUnavailable: A variable without a default is not set; `details["variable"]` names it.
    """
    hidden: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        value = environment.get(name)
        if value is None or (value == "" and default is not None):
            if default is None:
                raise ServerUnavailable(
                    f"environment variable {name!r} is not set",
                    f"set {name} where the node is started, or write ${{{name}:-default}}",
                    {"variable": name},
                )
            return default
        if len(value) >= _SHORTEST_SECRET:
            hidden[value] = f"${{{name}}}"
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
    """Whether the text takes anything from a variable."""
    return _REFERENCE.search(text) is not None
