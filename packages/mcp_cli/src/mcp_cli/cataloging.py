"""What resources and prompts look like, in lists and one by one, and how they are called. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from mcp_cli.naming import short
from mcp_cli.presenters import ago, more
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, facts, row
from mcp_cli.untrusted import compact_json, one_line, printable
from mcp_interface.catalog import Item, Prompt
from mcp_interface.cataloging import ItemUri, PromptName
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.offers import Contents, PromptInfo, PromptResult, ResourceInfo


def items(page: Page[Item], now: datetime) -> Sheet:
    """List resources of the catalog."""
    rows = [
        row(
            Cell(one_line(item.uri, 60), "accent"),
            Cell(one_line(item.name, 40), "strong"),
            item.kind,
            Cell(one_line(item.mime_type, 30), "dim"),
            size(item.size),
            Cell(one_line(", ".join(item.tags), 30), "dim"),
            _seen_by(item.visibility),
            Cell(short(item.owner_id), "dim"),
            Cell(ago(item.updated_at, now), "dim"),
        )
        for item in page.items
    ]
    return Sheet(
        columns=("uri", "name", "kind", "type", "#size", "tags", "seen by", "owner", "changed"),
        rows=rows,
        empty="no resources; add one: umbrella resource add NAME --text TEXT",
        note=more(page),
    )


def item(found: Item, now: datetime) -> Facts:
    """One resource, without what it holds."""
    return facts(
        ("uri", Cell(printable(found.uri), "accent")),
        ("name", Cell(one_line(found.name), "strong")),
        ("kind", found.kind),
        ("description", printable(found.description)),
        ("type", one_line(found.mime_type)),
        ("source", one_line(found.source)),
        ("size", size(found.size)),
        ("tags", one_line(", ".join(found.tags))),
        ("properties", compact_json(found.properties) if found.properties else ""),
        ("seen by", _seen_by(found.visibility)),
        ("owner", found.owner_id),
        ("created", ago(found.created_at, now)),
        ("changed", ago(found.updated_at, now)),
    )


def offered_resources(page: Page[ResourceInfo]) -> Sheet:
    """List what servers offer to read."""
    rows = [
        row(
            Cell(one_line(each.server, 30), "strong"),
            Cell(one_line(each.uri, 80), "accent"),
            one_line(each.title or each.name, 40),
            Cell(one_line(each.mime_type, 30), "dim"),
            size(each.size),
        )
        for each in page.items
    ]
    return Sheet(
        columns=("server", "uri", "name", "type", "#size"),
        rows=rows,
        empty="it offers no resources that you may read",
        note=more(page),
    )


def holding(parts: Sequence[Contents]) -> Prose:
    """What a resource holds, as far as it can be shown."""
    told = [
        f"[{size(len(part.blob or b''))} of {one_line(part.mime_type) or 'unknown type'}; save with --output FILE]"
        if part.text is None
        else printable(part.text)
        for part in parts
    ]
    return Prose("\n".join(told))


def prompts(page: Page[Prompt], now: datetime) -> Sheet:
    """List prompts of the catalog, or versions of one."""
    rows = [
        row(
            Cell(prompt.name, "accent"),
            str(prompt.version),
            Cell(one_line(prompt.title or prompt.description, 50), "strong"),
            Cell(one_line(" ".join(argument.name for argument in prompt.arguments), 40), "dim"),
            str(prompt.uses),
            _seen_by(prompt.visibility),
            Cell(short(prompt.owner_id), "dim"),
            Cell(ago(prompt.updated_at, now), "dim"),
        )
        for prompt in page.items
    ]
    return Sheet(
        columns=("prompt", "#version", "title", "arguments", "#uses", "seen by", "owner", "changed"),
        rows=rows,
        empty="no prompts; add one: umbrella prompt add NAME --template TEXT",
        note=more(page),
    )


def prompt(found: Prompt, now: datetime) -> Facts:
    """One version of a prompt."""
    return facts(
        ("prompt", Cell(found.name, "accent")),
        ("version", str(found.version)),
        ("title", Cell(one_line(found.title), "strong")),
        ("description", printable(found.description)),
        *((f"  {each.name}", _argument(each)) for each in found.arguments),
        ("tags", one_line(", ".join(found.tags))),
        ("uses", str(found.uses)),
        ("file", one_line(found.source)),
        ("seen by", _seen_by(found.visibility)),
        ("owner", found.owner_id),
        ("changed", ago(found.updated_at, now)),
        ("warning", Cell(printable("\n".join(found.warnings)), "warn")),
        ("template", printable(found.template)),
    )


def offered_prompts(page: Page[PromptInfo]) -> Sheet:
    """List what servers offer to say."""
    rows = [
        row(
            Cell(one_line(each.server, 30), "strong"),
            Cell(one_line(each.name, 60), "accent"),
            one_line(each.title or each.description, 60),
            Cell(one_line(" ".join(argument.name for argument in each.arguments), 40), "dim"),
        )
        for each in page.items
    ]
    return Sheet(
        columns=("server", "prompt", "title", "arguments"),
        rows=rows,
        empty="it offers no prompts that you may read",
        note=more(page),
    )


def said(result: PromptResult) -> Prose:
    """What a prompt says with its values in place; who says it only where it is not the user alone."""
    mixed = any(message.role != "user" for message in result.messages)
    parts = [
        (f"{message.role}: " if mixed else "") + printable(_content(message.content))
        for message in result.messages
    ]
    return Prose("\n\n".join(parts))


def item_uri(text: str) -> str:
    """The URI of a resource of the catalog, as it was typed.

    Raises:
        CallerMistaken: It is none.
    """
    try:
        return msgspec.convert(text, ItemUri)
    except msgspec.ValidationError as error:
        raise CallerMistaken(
            f"{text[:200]!r} is no URI", "write a scheme and no blanks, for example note:shopping"
        ) from error


def prompt_name(text: str) -> str:
    """The name of a prompt of the catalog, as it was typed.

    Raises:
        CallerMistaken: It is none.
    """
    try:
        return msgspec.convert(text, PromptName)
    except msgspec.ValidationError as error:
        raise CallerMistaken(
            f"{text[:100]!r} cannot name a prompt", "use letters, digits, '-', '_' and '.', at most 100"
        ) from error


def size(number: int | None) -> str:
    """Bytes in their largest unit."""
    if number is None:
        return ""
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"


def _argument(each: Any) -> str:
    word = "required" if each.required and each.default is None else "optional"
    default = "" if each.default is None else f", else {compact_json(each.default, 60)}"
    return one_line(f"{word}{default}{': ' + each.description if each.description else ''}")


def _seen_by(visibility: str) -> Cell:
    return Cell("everybody", "warn") if visibility == "public" else Cell("its owner", "dim")


def _content(block: dict[str, Any]) -> str:
    text = block.get("text")
    return text if isinstance(text, str) else compact_json(block, 200)
