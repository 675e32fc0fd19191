"""Whether a response fits what was asked. Pure; the same rules for every client that answers.

A form's fields are checked against its JSON Schema, formats included, and what has a default and was left out is
filled in. A link is followed or not: there is nothing to tell. A model's words and folders come in MCP's wire form.

Source: Model Context Protocol 2025-11-25, elicitation, sampling and roots.
"""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from mcp_interface.codec import encode_json
from mcp_interface.errors import CallerMistaken
from mcp_interface.question import Inquiry, Response

MAX_RESPONSE: Final = 4 * 1024 * 1024
"""Bytes of a response; it is journaled."""
_LONGEST: Final = 300
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def check_inquiry(inquiry: Inquiry) -> None:
    """Return if somebody could answer this.

    Raises:
        CallerMistaken: It has no key, its form is no JSON Schema of an object, or its link is none.
    """
    if not inquiry.key:
        raise CallerMistaken("an inquiry without a key", "give each one a key of its own")
    if inquiry.kind == "form" and (
        inquiry.schema.get("type", "object") != "object" or _compiled(_text(inquiry.schema)) is None
    ):
        raise CallerMistaken(
            f"the form of {inquiry.key!r} is not a JSON Schema of an object", "describe its fields"
        )
    if inquiry.kind == "url" and not _is_uri(inquiry.url):
        raise CallerMistaken(f"{inquiry.key!r} asks to open {inquiry.url[:80]!r}", "give a whole URL")


def checked(inquiry: Inquiry, response: Response, *, has_model: bool) -> Response:
    """The response as it is kept, with the defaults of a form filled in.

    Args:
        inquiry: What was asked.
        response: What somebody says.
        has_model: Whether a yes to a wish for a model's words may leave them to the node's own.

    Raises:
        CallerMistaken: `details["field"]` names the field, if it is one, and `details["rule"]` the rule that it breaks.
    """
    content = response.content
    if response.action != "accept":
        if content is not None:
            raise _mistaken("", "content", f"{response.action!r} comes without content", "leave it out")
        return response
    if content is not None and len(encode_json(content)) > MAX_RESPONSE:
        raise _mistaken("", "size", f"a response has at most {MAX_RESPONSE} bytes", "say less")
    match inquiry.kind:
        case "form":
            content = _filled(inquiry.schema, content or {})
            _check_form(inquiry.schema, content)
        case "url":
            if content is not None:
                raise _mistaken("", "content", "a link is followed or not", "leave the content out")
        case "sampling":
            if content is not None or not has_model:
                _check_words(content or {})
        case "roots":
            _check_roots(content or {})
    return msgspec.structs.replace(response, content=content)


def _filled(schema: Mapping[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    fields = schema.get("properties", {})
    given = {
        name: field["default"]
        for name, field in fields.items()
        if isinstance(field, dict) and "default" in field and name not in content
    }
    return {**content, **given}


def _check_form(schema: dict[str, Any], content: dict[str, Any]) -> None:
    unknown = next((name for name in content if name not in schema.get("properties", {})), None)
    if unknown is not None:
        raise _mistaken(unknown, "additionalProperties", "the form has no such field", "leave it out")
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
    from referencing.exceptions import Unresolvable

    try:
        error = best_match(_compiled(_text(schema)).iter_errors(content))
    except (Unresolvable, RecursionError, ValueError, TypeError) as problem:
        raise _mistaken("", "schema", f"the form cannot be checked: {problem}", "decline it") from problem
    if error is None:
        return
    field = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "required":
        field = next((name for name in error.validator_value if name not in content), field)
    raise _mistaken(field, str(error.validator), error.message[:_LONGEST], _remedy(error))


def _remedy(error: Any) -> str:
    if error.validator == "required":
        return "fill it in, or decline"
    rule = f"{error.validator}: {json.dumps(error.validator_value, ensure_ascii=False)}"
    return f"it has to fit {rule[:_LONGEST]}"


def _check_words(content: dict[str, Any]) -> None:
    """Source: CreateMessageResult."""
    if content.get("role") not in {"assistant", "user"}:
        raise _mistaken("role", "enum", "a model's words have a role", "say 'assistant'")
    if not isinstance(content.get("model"), str):
        raise _mistaken("model", "type", "a model's words name the model", "give its name")
    blocks = content.get("content")
    for block in blocks if isinstance(blocks, list) else [blocks]:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise _mistaken("content", "type", "a model's words are content blocks", "give each a type")


def _check_roots(content: dict[str, Any]) -> None:
    """Source: ListRootsResult."""
    roots = content.get("roots")
    if not isinstance(roots, list):
        raise _mistaken("roots", "required", "folders come as a list of roots", "an empty one means none")
    for root in roots:
        uri = root.get("uri") if isinstance(root, dict) else None
        if not isinstance(uri, str) or not uri.startswith("file://"):
            raise _mistaken("roots", "format", "each root is a folder's file:// URI", "begin it with file://")


def _mistaken(field: str, rule: str, why: str, remedy: str) -> CallerMistaken:
    subject = f"field {field!r}" if field else "the response"
    return CallerMistaken(f"{subject}: {why}", remedy, {"field": field, "rule": rule})


def _text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema)


@lru_cache(maxsize=200)
def _compiled(text: str) -> Any:
    """The validator of a form; None where it is no schema."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    schema = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError):
        return None
    # references are resolved within the form alone
    return Draft202012Validator(schema, registry=Registry(), format_checker=_formats())


def _formats() -> Any:
    """Those that a form may ask for; what the library checks by itself is less, or needs further packages."""
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    checker.checkers = {
        "email": (lambda value: not isinstance(value, str) or bool(_EMAIL.fullmatch(value)), ()),
        "uri": (lambda value: not isinstance(value, str) or _is_uri(value), ()),
        "date": (lambda value: not isinstance(value, str) or _is_date(value), ()),
        "date-time": (lambda value: not isinstance(value, str) or _is_moment(value), ()),
    }
    return checker


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
        rest = parts.netloc or parts.path
        return bool(_SCHEME.fullmatch(parts.scheme)) and bool(rest) and not re.search(r"\s", text)
    except ValueError:
        return False


def _is_date(text: str) -> bool:
    try:
        return len(text) == len("2026-01-01") and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_moment(text: str) -> bool:
    """Source: RFC 3339: a date, a time, and how far from UTC."""
    try:
        return "T" in text.upper() and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
