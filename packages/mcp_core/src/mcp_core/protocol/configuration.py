"""Server configuration as other hosts write it: `mcpServers` JSON, and VS Code's `servers` with `inputs`; pure.

What an entry says beyond our fields is left out with a note, never silently (`dialects`); what it spells out of
secrets is taken out (`plain_secrets`).
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_core.protocol.dialects import Place, in_our_words, substitute
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_interface.server import SERVER_NAME, ServerSpec

MAX_SERVERS: Final = 200
"""Of one file, and of one node."""
MAX_TEXT: Final = 1_000_000

_SECTIONS: Final = ("mcpServers", "servers")
_COMMENTS: Final = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=\s*[}\]])', re.DOTALL)
"""A text in quotes, to be passed over; a comment; a comma behind the last item."""
_INPUT: Final = re.compile(r"\$\{input:([^}]*)\}")


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a VS Code configuration asks a person for."""

    id: str
    description: str = ""
    password: bool = True
    """Whether the answer is a secret; one that is not declared is taken for one."""
    default: str = ""
    options: list[str] = []
    """Among which to choose; empty: any text."""


class Configuration(msgspec.Struct, frozen=True):
    """What a configuration text says."""

    servers: dict[str, ServerSpec]
    notes: list[str] = []
    """For a person: what was left out or done differently."""
    secrets: dict[str, str] = {}
    """To be put into the vault: what the servers refer to as `${secret:NAME}`, and the text spelled out."""

    def __repr__(self) -> str:
        return f"Configuration({sorted(self.servers)}, {len(self.secrets)} secrets)"


def read_configuration(
    text: str, place: Place | None = None, answers: Mapping[str, str] | None = None
) -> Configuration:
    """Read a configuration text; comments and a comma too many are forgiven, as editors do.

    Args:
        text: The content of a file.
        place: What `${workspaceFolder}` and its like stand for; None: they cannot be used.
        answers: To the `inputs_of` the text, by id.

    Raises:
        CallerMistaken: Not JSON, no `mcpServers` or `servers`, or an entry that cannot be used; names both
            the server and the rule.
    """
    data = _parsed(text)
    entries = _entries(data)
    if len(entries) > MAX_SERVERS:
        raise CallerMistaken(f"{len(entries)} servers are more than {MAX_SERVERS}", "split the file")
    declared = {each.id: each for each in _declared(data)}
    notes = [f"{key!r} of the file is not used" for key in sorted(data.keys() - {*_SECTIONS, "inputs"})]
    secrets: dict[str, str] = {}
    servers = {}
    for name, entry in entries.items():
        reading = _Reading(name, declared, answers or {}, place, notes, secrets)
        servers[name] = reading.server(entry)
    return Configuration(servers, notes, secrets)


def inputs_of(text: str) -> list[Input]:
    """What a person has to be asked before the text can be read, in the order of its use.

    Raises:
        CallerMistaken: As `read_configuration`, for the text as a whole.
    """
    data = _parsed(text)
    used = dict.fromkeys(_INPUT.findall(json.dumps(_entries(data), ensure_ascii=False)))
    declared = {each.id: each for each in _declared(data)}
    return [declared.get(each, Input(id=each)) for each in used]


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


def secret_name(server: str, key: str) -> str:
    """Under which name the vault keeps what a server's entry spells out."""
    return re.sub(r"[^A-Za-z0-9_.:/-]", "_", f"{server}/{key}")[:180]


class _Reading(msgspec.Struct):
    """One entry while it is read; notes and secrets are those of the whole file."""

    name: str
    declared: dict[str, Input]
    answers: Mapping[str, str]
    place: Place | None
    notes: list[str]
    secrets: dict[str, str]

    def server(self, entry: Any) -> ServerSpec:
        try:
            check_name(self.name)
        except InvalidRecord as error:
            raise CallerMistaken(error.message, error.remedy) from error
        if not isinstance(entry, dict):
            raise CallerMistaken(f"server {self.name!r} is not an object", "give a command or a url")
        fields, notes, login_secret = in_our_words(self.filled(entry), self.reference("client_secret"))
        if login_secret is not None:
            self.secrets[secret_name(self.name, "client_secret")] = login_secret
        self.notes += [f"server {self.name!r}: {note}" for note in notes]
        try:
            spec = msgspec.convert(fields, ServerSpec)
            spec.validate()
        except msgspec.ValidationError as error:
            raise CallerMistaken(f"server {self.name!r}: {error}", "see the mcpServers shape") from error
        except InvalidRecord as error:
            raise CallerMistaken(
                f"server {self.name!r}: {error.message}", error.remedy, error.details
            ) from error
        return spec

    def filled(self, value: Any) -> Any:
        """The same with the answers and the place put in, in every text."""
        if isinstance(value, str):
            return substitute(_INPUT.sub(self.answer, value), self.place, self.name)
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        return [self.filled(item) for item in value] if isinstance(value, list) else value

    def answer(self, match: re.Match[str]) -> str:
        asked = self.declared.get(match[1], Input(id=match[1]))
        given = self.answers.get(asked.id, asked.default)
        if asked.id not in self.answers and not given:
            raise CallerMistaken(
                f"server {self.name!r} asks for the input {asked.id!r}", f"give it: --input {asked.id}=…"
            )
        if not asked.password or not given:
            return given
        self.secrets[secret_name(self.name, asked.id)] = given
        return self.reference(asked.id)

    def reference(self, key: str) -> str:
        return f"${{secret:{secret_name(self.name, key)}}}"


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise CallerMistaken("the configuration is longer than a million characters", "split it")
    try:
        try:
            data = json.loads(text)
        except ValueError:
            data = json.loads(_COMMENTS.sub(lambda match: match[0] if match[0][0] == '"' else " ", text))
    except (ValueError, RecursionError) as error:
        raise CallerMistaken(
            f"the configuration is not JSON: {error}", "check it with a JSON linter"
        ) from error
    if isinstance(data, dict) and isinstance(data.get("mcp"), dict) and not data.keys() & {*_SECTIONS}:
        data = data["mcp"]  # VS Code's settings.json
    return data if isinstance(data, dict) else {}


def _entries(data: dict[str, Any]) -> dict[str, Any]:
    for key in _SECTIONS:
        found = data.get(key)
        if isinstance(found, dict):
            return found
        if found is not None:
            raise CallerMistaken(f"{key!r} is not an object", "map each server's name to its entry")
    raise CallerMistaken(
        "the configuration has neither 'mcpServers' nor 'servers'",
        'write {"mcpServers": {"name": {"command": "...", "args": []}}}',
    )


def _declared(data: dict[str, Any]) -> list[Input]:
    found = []
    given = data.get("inputs") or []
    if not isinstance(given, list):
        raise CallerMistaken("'inputs' is not a list", "see VS Code's 'inputs'")
    for each in given:
        kind = each.get("type") if isinstance(each, dict) else None
        if kind == "command":
            continue  # a command of the editor answers it; here a person does
        try:
            asked = msgspec.convert({"password": False, **each} if isinstance(each, dict) else each, Input)
        except msgspec.ValidationError as error:
            raise CallerMistaken(f"an input cannot be read: {error}", "see VS Code's 'inputs'") from error
        found.append(asked)
    return found
