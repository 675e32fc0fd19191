"""Server configuration as other hosts write it: `mcpServers` JSON and VS Code's `servers`; pure.

What an entry says beyond our fields is left out with a note, never silently; what we could not honour
(`${input:id}`, the old `sse` transport) is refused by name.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_core.protocol.expansion import has_reference
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_interface.server import SERVER_NAME, ServerSpec

MAX_SERVERS: Final = 200
MAX_TEXT: Final = 1_000_000

_FIELDS: Final = frozenset(ServerSpec.__struct_fields__)
_INPUT: Final = re.compile(r"\$\{input:([^}]*)\}")
_SECRET: Final = re.compile(r"token|secret|password|passwd|key|authorization|credential", re.IGNORECASE)


class Configuration(msgspec.Struct, frozen=True):
    """What a configuration text says."""

    servers: dict[str, ServerSpec]
    notes: list[str] = []
    """For a person: keys that were left out, values that look like secrets."""


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


def secret_notes(name: str, spec: ServerSpec) -> list[str]:
    """Warn about values of env and headers that look like secrets written out."""
    return [
        f"server {name!r}: the value of {part} {key!r} looks like a secret written out; "
        f"put it into an environment variable and write ${{{_variable(key)}}}"
        for part, values in (("env", spec.env), ("header", spec.headers))
        for key, value in values.items()
        if value and _SECRET.search(key) and not has_reference(value)
    ]


def _variable(key: str) -> str:
    return re.sub(r"\W+", "_", key, flags=re.ASCII).strip("_").upper() or "SECRET"


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
    if SERVER_NAME.fullmatch(name) is None:
        raise CallerMistaken(
            f"{name[:80]!r} cannot be the name of a server",
            "use 1 to 63 letters, digits, '_', '.', '-', beginning with a letter or digit",
        )
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
    notes.extend(secret_notes(name, spec))
    return spec
