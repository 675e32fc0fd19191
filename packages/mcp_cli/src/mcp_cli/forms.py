"""A tool's form as fields to fill in, read from its JSON Schema, and what a person typed as the values of it. Pure.

The node checks every answer against the schema again (`AnswerQuestion`); here a mistake is only told sooner. Fields
of a kind that forms do not have are taken as JSON.

Source: Model Context Protocol 2025-11-25, elicitation, requested schema.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from mcp_interface.errors import CallerMistaken

FieldKind = Literal["text", "number", "integer", "yes or no", "one of", "some of", "json"]
FORMATS: Final[Mapping[str, str]] = {
    "email": "an e-mail address",
    "uri": "a whole URL",
    "date": "a date, as 2026-01-31",
    "date-time": "a moment, as 2026-01-31T18:30:00Z",
}
YES: Final = frozenset({"y", "yes", "true", "on", "1"})
NO: Final = frozenset({"n", "no", "false", "off", "0"})


class Option(msgspec.Struct, frozen=True):
    """One choice of a field."""

    value: str
    title: str


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a form."""

    name: str
    kind: FieldKind
    title: str
    description: str = ""
    required: bool = False
    default: Any = None
    options: tuple[Option, ...] = ()
    rules: str = ""
    """What a value has to fit, in words."""


def fields(schema: Mapping[str, Any]) -> list[Field]:
    """The fields of a form, in its order."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return []
    needed = set(map(str, required)) if isinstance(required, list) else set()
    return [
        _field(str(name), part if isinstance(part, dict) else {}, required=name in needed)
        for name, part in properties.items()
    ]


def _field(name: str, part: Mapping[str, Any], *, required: bool) -> Field:
    kind, options = _kind(part)
    return Field(
        name=name,
        kind=kind,
        title=_text(part, "title") or name,
        description=_text(part, "description"),
        required=required,
        default=part.get("default"),
        options=options,
        rules=", ".join(_rules(part)),
    )


_KINDS: Final[Mapping[str, FieldKind]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "yes or no",
}


def _kind(part: Mapping[str, Any]) -> tuple[FieldKind, tuple[Option, ...]]:
    if options := _options(part):
        return "one of", options
    items = part.get("items")
    if part.get("type") == "array" and isinstance(items, dict) and (several := _options(items)):
        return "some of", several
    return _KINDS.get(str(part.get("type")), "json"), ()


def _options(part: Mapping[str, Any]) -> tuple[Option, ...]:
    values = part.get("enum")
    if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
        titles = part.get("enumNames")
        names = titles if isinstance(titles, list) and len(titles) == len(values) else values
        return tuple(Option(value, str(name)) for value, name in zip(values, names, strict=True))
    for key in ("oneOf", "anyOf"):
        branches = part.get(key)
        if isinstance(branches, list) and branches and all(_is_option(branch) for branch in branches):
            return tuple(Option(each["const"], str(each.get("title", each["const"]))) for each in branches)
    return ()


def _is_option(branch: Any) -> bool:
    return isinstance(branch, dict) and isinstance(branch.get("const"), str)


def _text(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""


def _rules(part: Mapping[str, Any]) -> Iterator[str]:
    form = part.get("format")
    if isinstance(form, str) and form in FORMATS:
        yield FORMATS[form]
    for key, words in (
        ("minimum", "at least {}"),
        ("maximum", "at most {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {} of them"),
        ("maxItems", "at most {} of them"),
        ("pattern", "it fits {}"),
    ):
        if key in part:
            yield words.format(part[key])


def wanted(field: Field) -> str:
    """Say in one line what belongs into a field, without its choices."""
    kind = {
        "text": "",
        "number": "a number",
        "integer": "a whole number",
        "yes or no": "yes or no",
        "one of": "one of these",
        "some of": "any of these, with commas between",
        "json": "as JSON",
    }[field.kind]
    return ", ".join(filter(None, [kind, field.rules]))


def shown_default(field: Field) -> str:
    """A field's default as a person would type it; empty when there is none."""
    value = field.default
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.kind == "some of" and isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def filled(form: Sequence[Field], texts: Mapping[str, str]) -> dict[str, Any]:
    """What was typed as the content of an answer; what was left empty is left out.

    Raises:
        CallerMistaken: `details["field"]` names the field that cannot be read, is missing, or is none of the form.
    """
    names = {field.name for field in form}
    stray = next((name for name in texts if name not in names), None)
    if stray is not None:
        raise _mistaken(stray, "the form has no such field", f"its fields: {', '.join(sorted(names))}")
    found = {}
    for field in form:
        text = texts.get(field.name, "")
        if text.strip():
            found[field.name] = value_of(field, text)
        elif field.required and field.default is None:
            raise _mistaken(field.name, "it has to be filled in", "fill it in, or decline")
    return found


def value_of(field: Field, text: str) -> Any:
    """What was typed into one field as its value.

    Raises:
        CallerMistaken: It cannot be read as such; `details["field"]` names the field.
    """
    typed = text.strip()
    match field.kind:
        case "text":
            return text
        case "integer" | "number":
            return _number(field, typed)
        case "yes or no":
            if typed.lower() not in YES | NO:
                raise _mistaken(field.name, f"{typed!r} is neither yes nor no", "write yes or no")
            return typed.lower() in YES
        case "one of":
            return _option(field, typed)
        case "some of":
            return list(
                dict.fromkeys(_option(field, word.strip()) for word in typed.split(",") if word.strip())
            )
        case "json":
            try:
                return msgspec.json.decode(typed)
            except (msgspec.DecodeError, UnicodeEncodeError) as error:
                raise _mistaken(
                    field.name, f"it is not JSON: {error}", 'write for example ["one"]'
                ) from error


def _number(field: Field, typed: str) -> int | float:
    try:
        number = int(typed) if field.kind == "integer" else float(typed)
    except ValueError:
        raise _mistaken(field.name, f"{typed!r} is not {wanted(field)}", "write a number") from None
    if not math.isfinite(number):
        raise _mistaken(field.name, f"{typed!r} is not a number of JSON", "write a number")
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _option(field: Field, typed: str) -> str:
    """By value, by title, or by its number in the list."""
    for option in field.options:
        if typed == option.value or typed.lower() == option.title.lower():
            return option.value
    if typed.isdecimal() and 1 <= int(typed) <= len(field.options):
        return field.options[int(typed) - 1].value
    names = ", ".join(option.value for option in field.options[:20])
    raise _mistaken(field.name, f"{typed!r} is no choice of it", f"choose one of: {names}")


def _mistaken(name: str, why: str, remedy: str) -> CallerMistaken:
    return CallerMistaken(f"field {name!r}: {why}", remedy, {"field": name})
