"""Server configuration as other hosts write it: `mcpServers` JSON and VS Code's `servers`; pure.

What an entry says beyond our fields is left out with a note, never silently; what we could not honour
(`${input:id}`, the old `sse` transport) is refused by name.
"""

import json
import re
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import msgspec

from mcp_core.protocol.expansion import has_reference
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_interface.server import SERVER_NAME, ServerSpec

MAX_SERVERS: Final = 200
"""Of one file, and of one node."""
MAX_TEXT: Final = 1_000_000

_FIELDS: Final = frozenset(ServerSpec.__struct_fields__)
_INPUT: Final = re.compile(r"\$\{input:([^}]*)\}")
_SECRET: Final = re.compile(r"token|secret|password|passwd|key|authorization|credential", re.IGNORECASE)
_PLACE: Final = re.compile(r"_(path|file|dir|url|id|name)$", re.IGNORECASE)
"""How a variable ends that says where a secret is, or whose, and is none itself."""


class Configuration(msgspec.Struct, frozen=True):
    """What a configuration text says."""

    servers: dict[str, ServerSpec]
    notes: list[str] = []
    """For a person: what was left out or done differently."""


def read_configuration(text: str) -> Configuration:
    """Read a configuration text.

    Raises:
        CallerMistaken: Not JSON, no `mcpServers` or `servers`, or an entry that cannot be used; names both
            the server and the rule.
    """
    if len(text) > MAX_TEXT:
        raise CallerMistaken("the configuration is longer than a million characters", "split it")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CallerMistaken(
            f"the configuration is not JSON: {error}", "check it with a JSON linter"
        ) from error
    entries = _entries(data)
    if len(entries) > MAX_SERVERS:
        raise CallerMistaken(f"{len(entries)} servers are more than {MAX_SERVERS}", "split the file")
    notes: list[str] = []
    servers = {name: _server(name, entry, notes) for name, entry in entries.items()}
    return Configuration(servers, notes)


def format_configuration(servers: Mapping[str, ServerSpec]) -> str:
    """Write servers in the `mcpServers` shape; `read_configuration` gives them back equal."""
    entries = {name: msgspec.to_builtins(spec) for name, spec in servers.items()}
    return json.dumps({"mcpServers": entries}, indent=2, ensure_ascii=False) + "\n"


def check_name(name: str) -> None:
    """Check that a server may be called so.

    Raises:
        InvalidRecord: invalid_server_name.
    """
    if SERVER_NAME.fullmatch(name) is None:
        raise InvalidRecord(
            "invalid_server_name",
            f"{name[:80]!r} cannot be the name of a server",
            "use 1 to 63 letters, digits, '_', '.', '-', beginning with a letter or digit",
        )


def refuse_secrets(name: str, spec: ServerSpec) -> None:
    """Keep secrets out of what is journaled.

    Raises:
        CallerMistaken: A value of env or headers looks like a secret written out; names its key only.
    """
    for part, values in (("env", spec.env), ("header", spec.headers)):
        for key in filter(lambda key: _is_secret(key, values[key]), values):
            variable = _variable(key)
            raise CallerMistaken(
                f"server {name!r}: the value of {part} {key!r} looks like a secret written out",
                f"export it as {variable} and write ${{{variable}}}, as in: "
                f"umbrella mcp add {name} --{part} {key}='${{{variable}}}' …",
                {"server": name, "variable": variable},
            )


def without_secrets(found: Configuration) -> tuple[Configuration, dict[str, str]]:
    """Put a reference `${UMBRELLA_<SERVER>_<KEY>}` in place of every secret that is written out.

    Returns:
        The configuration with references and a note about each, and the value of each variable.
    """
    lent: dict[str, str] = {}
    notes = list(found.notes)

    def referring(name: str, values: dict[str, str]) -> dict[str, str]:
        kept = dict(values)
        for key, value in values.items():
            if _is_secret(key, value):
                variable = _free(_variable(f"umbrella_{name}_{key}"), value, lent)
                lent[variable], kept[key] = value, f"${{{variable}}}"
                notes.append(
                    f"server {name!r}: the secret in {key!r} became {kept[key]}, which the node keeps in memory "
                    f"only; once it is restarted, set {variable} in its environment or import again"
                )
        return kept

    servers = {
        name: msgspec.structs.replace(
            spec, env=referring(name, spec.env), headers=referring(name, spec.headers)
        )
        for name, spec in found.servers.items()
    }
    return Configuration(servers, notes), lent


def _is_secret(key: str, value: str) -> bool:
    return bool(value and _SECRET.search(key) and not _PLACE.search(key) and not has_reference(value))


def _free(variable: str, value: str, taken: Mapping[str, str]) -> str:
    """The variable, numbered when another value has its name already: `a-b` and `a.b` are written alike."""
    numbered = (variable if number == 1 else f"{variable}_{number}" for number in count(1))
    return next(name for name in numbered if taken.get(name, value) == value)


def _variable(key: str) -> str:
    name = re.sub(r"\W+", "_", key, flags=re.ASCII).strip("_").upper() or "SECRET"
    return f"_{name}" if name[0].isdigit() else name


def _entries(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        for key in ("mcpServers", "servers"):
            found = data.get(key)
            if isinstance(found, dict):
                return found
            if found is not None:
                raise CallerMistaken(f"{key!r} is not an object", "map each server's name to its entry")
    raise CallerMistaken(
        "the configuration has neither 'mcpServers' nor 'servers'",
        'write {"mcpServers": {"name": {"command": "...", "args": []}}}',
    )


def _server(name: str, entry: Any, notes: list[str]) -> ServerSpec:
    try:
        check_name(name)
    except InvalidRecord as error:
        raise CallerMistaken(error.message, error.remedy) from error
    if not isinstance(entry, dict):
        raise CallerMistaken(f"server {name!r} is not an object", "give a command or a url")
    if entry.get("type") == "sse":
        raise CallerMistaken(
            f"server {name!r} uses the transport 'sse', which MCP gave up in 2025",
            "use the server's Streamable HTTP address with type 'http'",
        )
    asked = _INPUT.search(json.dumps(entry))
    if asked is not None:
        raise CallerMistaken(
            f"server {name!r} asks for the editor's input {asked[1]!r}",
            f"put the value into an environment variable and write ${{{_variable(asked[1])}}}",
        )
    notes.extend(f"server {name!r}: {key!r} is not used" for key in sorted(entry.keys() - _FIELDS))
    try:
        spec = msgspec.convert({key: value for key, value in entry.items() if key in _FIELDS}, ServerSpec)
        spec.validate()
    except msgspec.ValidationError as error:
        raise CallerMistaken(f"server {name!r}: {error}", "see the mcpServers shape") from error
    except InvalidRecord as error:
        raise CallerMistaken(f"server {name!r}: {error.message}", error.remedy, error.details) from error
    return spec
