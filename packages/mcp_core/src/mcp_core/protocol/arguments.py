"""Checks a tool's arguments against its JSON Schema before anything is sent.

References are resolved within the schema alone, so that a server cannot make us fetch a URL. A schema that is
itself unusable checks nothing: the server is the judge then.
"""

import json
from functools import lru_cache
from typing import Any, Final

from mcp_interface.errors import CallerMistaken

_LONGEST: Final = 300


class ArgumentCheck:
    """The compiled schema of one tool.

    Args:
        server: Named in errors.
        tool: Named in errors.
        schema: JSON Schema of the arguments; 2020-12 unless it says otherwise.
    """

    def __init__(self, server: str, tool: str, schema: dict[str, Any]) -> None:
        self._name = f"{server}/{tool}"
        self._validator = _compile(json.dumps(schema))

    def __call__(self, arguments: dict[str, Any]) -> None:
        """Return, or name the argument that is wrong.

        Raises:
            CallerMistaken: `details["argument"]` is the path of the argument, empty for the whole.
        """
        if self._validator is None:
            return
        from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
        from referencing.exceptions import Unresolvable

        try:
            error = best_match(self._validator.iter_errors(arguments))
        except (Unresolvable, RecursionError, ValueError, TypeError):
            return
        if error is None:
            return
        where = _argument(error)
        told = error.message if len(error.message) <= _LONGEST else error.message[:_LONGEST] + "…"
        subject = f"argument {where!r} of {self._name}" if where else f"the arguments of {self._name}"
        raise CallerMistaken(
            f"{subject}: {told}", "see the tool's parameters", {"argument": where, "tool": self._name}
        )


@lru_cache(maxsize=1_000)
def _compile(text: str) -> Any:
    """Compiled once for equal schemas: checking a schema takes a hundred times as long as using it."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]
    from referencing import Registry

    schema = json.loads(text)
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except (SchemaError, RecursionError):
        return None
    return kind(schema, registry=Registry())


def _argument(error: Any) -> str:
    path = list(error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        path += [name for name in error.validator_value if name not in error.instance][:1]
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        path += [name for name in error.instance if name not in known][:1]
    return ".".join(str(part) for part in path)
