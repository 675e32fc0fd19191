"""The constraint `commands`: which programs may be run, and a schema of the arguments for each.

    {"git": {"subcommands": {"log": {"flags": {"--oneline": false, "-n": {"type": "integer", "maximum": 100}},
                                     "operands": {"max": 3, "type": "relative_path"}},
                             "status": {}}}}

A key is the absolute path of a program, or its name: the last segment of the path, wherever it lies. An entry
by path stands before one by name. Its value is a schema, see `argv.Schema`, or in canonical form the
list of all that have to accept, for that is the meet: what parent and child both allow.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

import msgspec

from mcp_interface.address import Resource, resource
from mcp_interface.capability import Facts
from mcp_interface.errors import CallerMistaken, InvalidAddress, NotPermitted
from mcp_security.argv import MAX_ARGUMENTS, MAX_DEPTH, Schema, depth, refusal

MAX_PROGRAMS: Final = 100
MAX_SCHEMAS: Final = 32
"""Most schemas that one program has to satisfy, after many delegations."""
MAX_BYTES: Final = 256 * 1024
"""Longest value, as JSON."""


class Question(Protocol):
    """What is judged."""

    @property
    def resource(self) -> Resource:
        """The program."""
        ...

    @property
    def facts(self) -> Facts:
        """Its arguments."""
        ...


class Commands:
    """The constraint `commands`: an absent program, flag or operand is refused; the meet is both schemas."""

    types: ClassVar[frozenset[str]] = frozenset({"shell"})

    def read(self, value: Any) -> dict[str, Any]:
        """Return the value with sorted lists of schemas, defaults left out.

        Raises:
            CallerMistaken: Naming what is wrong and where.
        """
        programs = {key: _sorted(schemas) for key, schemas in _programs(value).items()}
        if len(msgspec.json.encode(programs)) > MAX_BYTES:
            raise CallerMistaken(f"the schemas are longer than {MAX_BYTES} bytes", "leave out what is rare")
        return programs

    def meet(self, parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
        """Return the programs that both list, each with the schemas of both.

        Raises:
            NotPermitted: They share no program, or it would become too long.
        """
        keys = [key for key in parent | child if _found(parent, key) and _found(child, key)]
        try:
            if keys:
                return self.read({key: _found(parent, key) + _found(child, key) for key in keys})
            message = f"commands {', '.join(child)} are none of {', '.join(parent)}"
        except CallerMistaken as error:
            message = f"the commands of parent and child together: {error.message}"
        raise NotPermitted(
            message[:500],
            "ask for programs that the parent lists",
            {"reason": "constraint_violated", "constraint": "commands"},
        )

    def check(self, value: dict[str, Any]) -> Callable[[Question], str | None]:
        """Return what judges a program and its arguments."""
        programs = _programs(value)

        def refuse(question: Question) -> str | None:
            argv = question.facts.argv
            if argv is None:
                return "it limits commands, and the arguments are not stated"
            path = f"/{question.resource.path}"
            schemas = _found(programs, path)
            if not schemas or question.resource.type != "shell":
                return f"commands does not list {path}"
            if len(argv) > MAX_ARGUMENTS:
                return f"{len(argv)} arguments exceed {MAX_ARGUMENTS}"
            for schema in schemas:
                if why := refusal(schema, argv):
                    return f"commands refuses the arguments of {path}: {why}"
            return None

        return refuse


def _found(programs: dict[str, Any], key: str) -> Any:
    """The entry of a program, by path before by name; or of a name."""
    return programs.get(key) or programs.get(key.rpartition("/")[2])


def _programs(value: Any) -> dict[str, list[Schema]]:
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_PROGRAMS:
        raise CallerMistaken(
            f"the value is not an object of 1 to {MAX_PROGRAMS} programs with a schema each",
            'write for example {"git": {"subcommands": {"status": {}}}}',
        )
    return {_program(key): _schemas(key, given) for key, given in value.items()}


def _program(key: Any) -> str:
    text = key if isinstance(key, str) else ""
    try:
        concrete = not resource("shell", "execute", text).is_pattern
    except InvalidAddress:
        concrete = False
    if not concrete or (not text.startswith("/") and "/" in text):
        raise CallerMistaken(
            f"{str(key)[:200]!r} is neither the absolute path nor the name of a program",
            "write /usr/bin/git or git",
        )
    return text


def _schemas(key: str, given: Any) -> list[Schema]:
    listed = given if isinstance(given, list | tuple) else [given]
    try:
        schemas = msgspec.convert(listed, list[Schema])
        if not schemas or any(depth(schema) > MAX_DEPTH for schema in schemas):
            raise ValueError(f"give at least one schema, of at most {MAX_DEPTH} levels of subcommands")
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise CallerMistaken(
            f"schema of {key}: {error}"[:500], "see the fields of Schema, Flag and Rule"
        ) from error
    return schemas


def _sorted(schemas: list[Schema]) -> list[Any]:
    """The schemas as plain data, each once, in an order that does not depend on who came first."""
    plain = [msgspec.to_builtins(schema, order="sorted") for schema in schemas]
    unique = {msgspec.json.encode(schema): schema for schema in plain}
    if len(unique) > MAX_SCHEMAS:
        raise CallerMistaken(f"{len(unique)} schemas of one program exceed {MAX_SCHEMAS}", "write one schema")
    return [unique[text] for text in sorted(unique)]
